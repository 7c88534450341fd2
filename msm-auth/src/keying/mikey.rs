//! MIKEY messages (RFC 3830) that hand over an SRTP key in the clear: the pre-shared-key initiator's message with NULL
//! encryption and NULL MAC, as RTSP peers use it within TLS (RFC 4567).
//!
//! There is no response message. Each side sends its own, whose key protects what that side sends:
//!
//! * a server in the SDP that it describes, and some in the response to SETUP as well, which then counts;
//! * a reader, whose reports are encrypted too, in its SETUP request;
//! * a publisher in its SETUP request, and some in the SDP that they announce; GStreamer's server answers ANNOUNCE with
//!   a `KeyMgmt` header for each track, in their order.
//!
//! What peers demand beyond the standard: GStreamer's server at least one stream; live555 AES-CM with a tag of 10 bytes
//! and an MKI of four; gortsplib AES-CM with a tag of 10 bytes and a time at most an hour off.

use zeroize::Zeroizing;

use super::Mki;
use crate::srtp::MasterKey;

mod error;
mod policy;
mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub use error::MikeyError;

/// The longest message that is read, in bytes.
pub const MAX_MESSAGE: usize = 4096;
/// The most streams (crypto sessions) in a message.
pub const MAX_STREAMS: usize = 64;

/// One stream that the key protects: an entry of the SRTP-ID map (RFC 3830 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The number of its security policy within the message.
    pub policy: u8,
    /// Its SSRC; 0 where the writer does not know it yet.
    pub ssrc: u32,
    /// Its rollover counter at the time of the message.
    pub roc: u32,
}

/// What a message says: one key, and the streams that its writer protects with it.
///
/// It can be written only with [`Mikey::write`]: `Debug` leaves the key out, and there is no `Display`.
#[derive(Debug, Clone)]
pub struct Mikey {
    /// The crypto session bundle's identifier: random, the initiator's choice.
    pub csb_id: u32,
    /// The streams that the writer knows of; others have the key too, and begin at a rollover counter of 0. At most
    /// [`MAX_STREAMS`].
    pub streams: Vec<Stream>,
    /// The key, for what the writer of the message sends.
    pub key: MasterKey,
    /// The identifier that follows each packet.
    pub mki: Option<Mki>,
}

/// What is new in every message that is written.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Random bytes (RFC 3830 §6.11). No key comes from them here, but readers want them.
    pub rand: [u8; 16],
    /// The time, in NTP's format (RFC 5905 §6): seconds since 1900, then 32 bits of fraction. Some peers refuse a
    /// message that is an hour off.
    pub ntp_time: u64,
}

impl Mikey {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, or not supported, by name ([`MikeyError`]).
    pub fn read(message: &[u8]) -> Result<Mikey, MikeyError> {
        read::message(message)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// More than [`MAX_STREAMS`] streams, and nothing else.
    pub fn write(&self, fresh: &Fresh) -> Result<Zeroizing<Vec<u8>>, MikeyError> {
        write::message(self, fresh)
    }
}
