//! The server's side: one [`Connection`] for each TCP connection, one [`Session`] for each RTSP session, and the choice
//! among the transports that a client offers.

mod connection;
mod negotiate;
mod players;
mod session;

pub use connection::{Asked, Connection, PUBLIC, ServerConfig, ServerEvent};
pub use negotiate::{Offer, Srtp, negotiate};
pub use players::takes_early_feedback;
pub use session::{Session, SessionId, State};
