//! SRTP and SRTCP (RFC 3711, RFC 7714): packets are protected and opened in place, without an allocation or a clock.
//!
//! A [`Sender`] protects what one side sends, a [`Receiver`] opens what the other sent. Both hold the keys of several
//! *epochs*, told apart by the MKI behind each packet, so that keys change without a packet lost; without an MKI there is
//! one epoch at a time.
//!
//! ```
//! use msm_auth::srtp::{MasterKey, Receiver, ReceiverOptions, Sender, SenderOptions, Suite};
//!
//! let key = MasterKey::from_bytes(Suite::AeadAes128Gcm, &[7; 28])?;
//! let mut sender = Sender::new(SenderOptions { mki_len: 1, ..Default::default() });
//! let mut receiver = Receiver::new(ReceiverOptions { mki_len: 1, ..Default::default() });
//! sender.install(&key, &[1])?;
//! sender.switch(&[1])?;
//! receiver.install(&key, &[1])?;
//!
//! let packet = [&[0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3][..], b"payload"].concat();
//! let mut buffer = packet.clone();
//! buffer.resize(packet.len() + sender.rtp_overhead(), 0);
//! let length = sender.protect_rtp(&mut buffer, packet.len())?;
//! let opened = receiver.unprotect_rtp(&mut buffer[..length])?;
//! assert_eq!(buffer[..opened.len], packet);
//! assert_eq!(receiver.unprotect_rtp(&mut buffer[..length]).unwrap_err().name(), "srtp_replayed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cipher;
mod epochs;
mod error;
mod index;
mod kdf;
mod layout;
mod master;
mod receiver;
mod sender;
mod suite;
#[cfg(test)]
mod tests;

pub use error::SrtpError;
pub use index::{MAX_WINDOW, MIN_WINDOW};
pub use master::{InvalidMasterKey, MasterKey};
pub use receiver::{Opened, Receiver, ReceiverOptions};
pub use sender::{Sender, SenderOptions};
pub use suite::Suite;

/// The longest MKI that is used, in bytes.
pub const MAX_MKI: usize = 4;

/// Epochs whose keys one side holds at a time. One more, and the oldest is forgotten.
pub const MAX_EPOCHS: usize = 4;
