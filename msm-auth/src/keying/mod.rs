//! Messages that give SRTP its keys on plain RTSP hops: [`sdes`] in SDP, [`mikey`] in SDP and RTSP headers
//! ([`key_mgmt`]).
//!
//! Both carry the key in the clear: they are for connections that are themselves encrypted, and a message's text
//! is wiped when dropped. Nothing here takes the time or draws random numbers.

mod armour;
pub mod key_mgmt;
pub mod mikey;
mod mki;
pub mod sdes;

pub use mki::{MAX_MKI, Mki};
