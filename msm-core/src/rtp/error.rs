//! Why bytes are not a valid RTP packet.

use thiserror::Error;

/// Why bytes are not a valid RTP packet. The sender of the packet is to blame for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtpError {
    /// Shorter than the fixed header.
    #[error("RTP packet of {len} bytes is shorter than its fixed header of 12")]
    TooShort {
        /// Length of the packet in bytes.
        len: usize,
    },
    /// Longer than any UDP datagram or interleaved frame can be.
    #[error("RTP packet of {len} bytes is longer than the largest datagram, 65535")]
    TooLong {
        /// Length of the packet in bytes.
        len: usize,
    },
    /// Not version 2.
    #[error("RTP version at offset 0 is {version}, expected 2")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The CSRC list passes the end of the packet.
    #[error("CSRC list at offset 12 ends at {end}, past the packet's {len} bytes")]
    CsrcList {
        /// Where the list would end.
        end: usize,
        /// Length of the packet in bytes.
        len: usize,
    },
    /// The header extension passes the end of the packet.
    #[error("header extension at offset {offset} ends at {end}, past the packet's {len} bytes")]
    Extension {
        /// Where the extension starts.
        offset: usize,
        /// Where the extension would end.
        end: usize,
        /// Length of the packet in bytes.
        len: usize,
    },
    /// The padding bit is set, and the padding count is zero or larger than what follows the header.
    #[error("padding count at offset {offset} is {padding}, expected 1 to {available}")]
    Padding {
        /// Where the count is: the packet's last byte.
        offset: usize,
        /// The count found.
        padding: u8,
        /// Bytes behind the header.
        available: usize,
    },
    /// An element of the header extension passes the end of the extension (RFC 8285 §4.2, §4.3).
    #[error("extension element {id} at offset {offset} ends at {end}, past the extension's {len} bytes")]
    Element {
        /// The element's identifier.
        id: u8,
        /// Where the element starts, counted from the start of the extension's data.
        offset: usize,
        /// Where the element would end.
        end: usize,
        /// Length of the extension's data in bytes.
        len: usize,
    },
}

impl RtpError {
    /// A stable name of the reason, for the label of a counter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::TooLong { .. } => "too_long",
            Self::Version { .. } => "version",
            Self::CsrcList { .. } => "csrc_list",
            Self::Extension { .. } => "extension",
            Self::Padding { .. } => "padding",
            Self::Element { .. } => "extension_element",
        }
    }
}
