//! Why bytes are not valid RTCP.

use thiserror::Error;

/// Why a datagram, or one packet in it, is not valid RTCP. The sender is to blame for all of them.
///
/// Offsets count bytes from the start of the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// Fewer than four bytes are left where a packet should start.
    #[error("RTCP packet at offset {offset} has {len} bytes, fewer than its header of 4")]
    TooShort {
        /// Where the packet starts.
        offset: usize,
        /// Bytes left.
        len: usize,
    },
    /// Not version 2.
    #[error("RTCP version at offset {offset} is {version}, expected 2")]
    Version {
        /// Where the packet starts.
        offset: usize,
        /// The version found.
        version: u8,
    },
    /// A length field that passes the end of the datagram.
    #[error("RTCP packet at offset {offset} ends at {end}, past the datagram's {len} bytes")]
    Length {
        /// Where the packet starts.
        offset: usize,
        /// Where it would end.
        end: usize,
        /// Length of the datagram.
        len: usize,
    },
    /// A compound packet that does not start with a sender or receiver report (RFC 3550 §6.1).
    #[error("compound RTCP starts with packet type {packet_type}, expected 200 or 201")]
    FirstPacket {
        /// The type found.
        packet_type: u8,
    },
    /// The padding bit on a packet that is not the last (RFC 3550 §6.4.1).
    #[error("RTCP packet at offset {offset} is padded but not the last")]
    PaddingNotLast {
        /// Where the packet starts.
        offset: usize,
    },
    /// A padding count that is zero, no multiple of four, or larger than the packet's body.
    #[error("RTCP padding count at offset {offset} is {padding}, expected a multiple of 4 up to {available}")]
    Padding {
        /// Where the count is.
        offset: usize,
        /// The count found.
        padding: u8,
        /// Bytes behind the packet's header.
        available: usize,
    },
    /// A packet too short for what its type and count say it holds.
    #[error(
        "RTCP packet type {packet_type} with count {count} at offset {offset} has {len} bytes, needs {needed}"
    )]
    Truncated {
        /// The packet's type.
        packet_type: u8,
        /// The five bits of its count or format.
        count: u8,
        /// Where the packet starts.
        offset: usize,
        /// Bytes it must have.
        needed: usize,
        /// Bytes it has, without padding.
        len: usize,
    },
    /// Feedback control information that is no whole number of entries.
    #[error(
        "RTCP packet type {packet_type} with format {format} at offset {offset} has {len} bytes of entries, \
         expected a multiple of {entry}"
    )]
    Entries {
        /// The packet's type.
        packet_type: u8,
        /// The feedback format.
        format: u8,
        /// Where the packet starts.
        offset: usize,
        /// Bytes of entries.
        len: usize,
        /// Bytes of one entry.
        entry: usize,
    },
    /// A source description item that passes the end of its packet.
    #[error("SDES item {item_type} at offset {offset} passes the end of its packet at {end}")]
    SdesItem {
        /// The item's type.
        item_type: u8,
        /// Where the item starts.
        offset: usize,
        /// Where the packet ends.
        end: usize,
    },
    /// A block of an extended report that passes the end of its packet.
    #[error("XR block {block_type} at offset {offset} passes the end of its packet at {end}")]
    XrBlock {
        /// The block's type.
        block_type: u8,
        /// Where the block starts.
        offset: usize,
        /// Where the packet ends.
        end: usize,
    },
}

impl RtcpError {
    /// A stable name of the reason, for the label of a counter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::Version { .. } => "version",
            Self::Length { .. } => "length",
            Self::FirstPacket { .. } => "first_packet",
            Self::PaddingNotLast { .. } => "padding_not_last",
            Self::Padding { .. } => "padding",
            Self::Truncated { .. } => "truncated",
            Self::Entries { .. } => "entries",
            Self::SdesItem { .. } => "sdes_item",
            Self::XrBlock { .. } => "xr_block",
        }
    }
}
