//! SRTP and SRTCP (RFC 3711, RFC 7714): packets are protected and opened in place, without an allocation or a clock.

mod master;
mod suite;

pub use master::{InvalidMasterKey, MasterKey};
pub use suite::Suite;
