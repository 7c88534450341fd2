//! The mesh hop between two members, without its cipher and sockets: labels, numbers, split packets, the path.
//!
//! A packet goes `SendLine` → `split` → (SRTP, UDP, SRTP) → `Rejoin` → `ReceiveLine`. What the hop adds to a packet is a
//! [`Trailer`] behind the payload, inside the encryption.

pub mod label;
pub mod line;
pub mod next;
pub mod path;
pub mod rejoin;
pub mod split;
pub mod trailer;

pub use label::Label;
pub use line::{ReceiveLine, SendLine};
pub use next::NextIndex;
pub use rejoin::Rejoin;
pub use trailer::{Part, Trailer, TrailerError};
