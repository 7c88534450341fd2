//! RTCP packets as bytes (RFC 3550 §6, RFC 4585, RFC 5104, RFC 5506, RFC 3611): reading in place, writing into a buffer.
//!
//! [`Compound::parse`] validates that a datagram is a row of RTCP packets; what is inside each packet is read while
//! iterating, borrows from the datagram and allocates nothing. A packet that is wrong inside is one error item: the
//! packets behind it are still read, because the lengths were checked first.
//!
//! ```
//! use msm_core::rtcp::{Acceptance, Compound, Packet, Writer};
//!
//! let mut buffer = [0; 128];
//! let mut writer = Writer::new(&mut buffer);
//! writer.receiver_report(0x1234, &[])?.sdes_cname(0x1234, "reader@mesh")?.pli(0x1234, 0x5678)?;
//!
//! let compound = Compound::parse(writer.as_bytes(), Acceptance::Compound)?;
//! let asked = compound.packets().any(|packet| matches!(packet, Ok(Packet::Pli(pli)) if pli.media_ssrc == 0x5678));
//! assert!(asked);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bye;
mod compound;
mod error;
mod feedback;
mod raw;
mod report;
mod sdes;
mod write;
mod xr;

pub use bye::{App, Bye};
pub use compound::{Acceptance, Compound, Packet, Packets, RawPackets};
pub use error::RtcpError;
pub use feedback::{Fir, FirEntry, Nack, NackPair, Pli, Remb, TransportCc};
pub use raw::Raw;
pub use report::{ReceiverReport, ReportBlock, ReportBlocks, SenderInfo, SenderReport};
pub use sdes::{Sdes, SdesChunk, SdesChunks, SdesItem, SdesItems};
pub use write::{RtcpWriteError, Writer};
pub use xr::{Xr, XrBlock, XrBlocks};

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
pub mod packet_type {
    /// Sender report.
    pub const SENDER_REPORT: u8 = 200;
    /// Receiver report.
    pub const RECEIVER_REPORT: u8 = 201;
    /// Source description.
    pub const SDES: u8 = 202;
    /// Goodbye.
    pub const BYE: u8 = 203;
    /// Application-defined.
    pub const APP: u8 = 204;
    /// Transport-layer feedback.
    pub const RTP_FEEDBACK: u8 = 205;
    /// Payload-specific feedback.
    pub const PAYLOAD_FEEDBACK: u8 = 206;
    /// Extended report.
    pub const EXTENDED_REPORT: u8 = 207;
}

/// Feedback message types: the five bits in a feedback packet's first byte.
mod format {
    pub(super) const NACK: u8 = 1;
    pub(super) const TRANSPORT_CC: u8 = 15;
    pub(super) const PLI: u8 = 1;
    pub(super) const FIR: u8 = 4;
    pub(super) const APPLICATION: u8 = 15;
}

/// Item types of source descriptions (RFC 3550 §12.2).
pub mod sdes_type {
    /// Canonical name.
    pub const CNAME: u8 = 1;
    /// User name.
    pub const NAME: u8 = 2;
    /// Electronic mail address.
    pub const EMAIL: u8 = 3;
    /// Phone number.
    pub const PHONE: u8 = 4;
    /// Geographic location.
    pub const LOC: u8 = 5;
    /// Name of the application.
    pub const TOOL: u8 = 6;
    /// Notice about the source.
    pub const NOTE: u8 = 7;
    /// Private extension.
    pub const PRIV: u8 = 8;
}

#[cfg(test)]
mod tests;
