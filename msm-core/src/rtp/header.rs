//! The cheap validating parse.

use std::ops::Range;

use super::RtpError;

/// Length of the fixed header in bytes (RFC 3550 §5.1).
pub const HEADER_LEN: usize = 12;

/// The longest packet that is accepted: what the length field of a UDP datagram or an interleaved frame can say.
pub const MAX_PACKET_LEN: usize = 65_535;

/// The fixed header of a validated packet, and where its payload is.
///
/// Small and `Copy`, so that a table of segments can keep one for each packet of a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Header {
    /// The marker bit: with video usually the last packet of a picture.
    pub marker: bool,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Number of contributing sources, 0–15.
    pub csrc_count: u8,
    /// Bytes of padding behind the payload, its count byte included; 0 without padding.
    pub padding_len: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Where the payload starts, in bytes from the packet's first.
    pub payload_offset: u16,
    /// Length of the payload in bytes, without padding.
    pub payload_len: u16,
    /// Media timestamp in ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// Validates `packet` and reads its header: version 2, CSRC list, header extension and padding inside the packet.
    ///
    /// The elements inside an extension are not looked at: see [`super::RtpView::extensions`].
    ///
    /// # Errors
    ///
    /// What is out of place, and at which offset.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let Some(fixed) = packet.first_chunk::<HEADER_LEN>() else {
            return Err(RtpError::TooShort { len: packet.len() });
        };
        let Ok(len) = u16::try_from(packet.len()) else {
            return Err(RtpError::TooLong { len: packet.len() });
        };
        let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
        let mut header = Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            csrc_count: 0,
            padding_len: 0,
            sequence: u16::from_be_bytes([s0, s1]),
            payload_offset: 12,
            payload_len: len.wrapping_sub(12),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        };
        // Nearly all packets have no padding, extension or CSRC: one comparison tells.
        if first == 0x80 {
            return Ok(header);
        }
        header.parse_variable(first, packet, len)?;
        Ok(header)
    }

    /// The parts of variable length; corrects `csrc_count`, `padding_len`, `payload_offset` and `payload_len`.
    fn parse_variable(&mut self, first: u8, packet: &[u8], len: u16) -> Result<(), RtpError> {
        if first >> 6 != 2 {
            return Err(RtpError::Version { version: first >> 6 });
        }
        self.csrc_count = first & 0x0f;
        let len = usize::from(len);
        let mut offset = HEADER_LEN + 4 * usize::from(self.csrc_count);
        if offset > len {
            return Err(RtpError::CsrcList { end: offset, len });
        }
        if first & 0x10 != 0 {
            let start = offset;
            let Some([_, _, high, low]) = packet.get(start..).and_then(|rest| rest.first_chunk()) else {
                return Err(RtpError::Extension { offset: start, end: start + 4, len });
            };
            offset = start + 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
            if offset > len {
                return Err(RtpError::Extension { offset: start, end: offset, len });
            }
        }
        let available = len - offset;
        if first & 0x20 != 0 {
            let padding = packet.last().copied().unwrap_or(0);
            if padding == 0 || usize::from(padding) > available {
                return Err(RtpError::Padding { offset: len - 1, padding, available });
            }
            self.padding_len = padding;
        }
        // Both are at most `len`, which came from a u16.
        self.payload_offset = offset as u16;
        self.payload_len = (available - usize::from(self.padding_len)) as u16;
        Ok(())
    }

    /// The payload's place in its packet, without padding.
    #[inline]
    #[must_use]
    pub fn payload_range(&self) -> Range<usize> {
        let start = usize::from(self.payload_offset);
        start..start + usize::from(self.payload_len)
    }

    /// The payload of `packet`, whose header this is; empty if the packet is shorter than it was.
    #[inline]
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload_range()).unwrap_or_default()
    }

    /// Length of the packet in bytes.
    #[inline]
    #[must_use]
    pub fn packet_len(&self) -> usize {
        self.payload_range().end + usize::from(self.padding_len)
    }

    /// The header's second byte: marker bit and payload type, as [`super::patch_header`] takes it.
    #[inline]
    #[must_use]
    pub const fn marker_pt(&self) -> u8 {
        (self.marker as u8) << 7 | self.payload_type & 0x7f
    }

    /// Where the data of the header extension is, behind its profile and length; `None` without extension.
    #[inline]
    #[must_use]
    pub fn extension_range(&self) -> Option<Range<usize>> {
        let start = HEADER_LEN + 4 * usize::from(self.csrc_count) + 4;
        let end = usize::from(self.payload_offset);
        (start <= end).then_some(start..end)
    }
}
