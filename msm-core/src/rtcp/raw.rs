//! One RTCP packet whose header is known, and nothing of what is inside.

use super::RtcpError;

/// Length of the common header in bytes (RFC 3550 §6.4.1).
pub(super) const HEADER_LEN: usize = 4;

/// One RTCP packet with its common header read and its length checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Where the packet starts in its datagram.
    pub offset: usize,
    /// The packet's type: see [`super::packet_type`].
    pub packet_type: u8,
    /// The five bits of the first byte: number of reports or sources, subtype or feedback format.
    pub count: u8,
    /// The packet from its header on, without padding: a whole number of 32-bit words, at least one.
    pub bytes: &'a [u8],
    /// Bytes of padding behind it.
    pub padding_len: u8,
}

impl<'a> Raw<'a> {
    /// Reads the packet at the start of `rest`, which is what is left of the datagram at `offset`.
    pub(super) fn parse(rest: &'a [u8], offset: usize) -> Result<Self, RtcpError> {
        let Some(&[first, packet_type, high, low]) = rest.first_chunk() else {
            return Err(RtcpError::TooShort { offset, len: rest.len() });
        };
        if first >> 6 != 2 {
            return Err(RtcpError::Version { offset, version: first >> 6 });
        }
        let len = HEADER_LEN + 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((bytes, behind)) = rest.split_at_checked(len) else {
            return Err(RtcpError::Length { offset, end: offset + len, len: offset + rest.len() });
        };
        let mut raw = Self { offset, packet_type, count: first & 0x1f, bytes, padding_len: 0 };
        if first & 0x20 != 0 {
            if !behind.is_empty() {
                return Err(RtcpError::PaddingNotLast { offset });
            }
            let padding = bytes.last().copied().unwrap_or(0);
            let available = len - HEADER_LEN;
            raw.bytes = match available.checked_sub(usize::from(padding)) {
                Some(body) if padding > 0 && padding % 4 == 0 => {
                    bytes.get(..HEADER_LEN + body).unwrap_or_default()
                }
                _ => return Err(RtcpError::Padding { offset: offset + len - 1, padding, available }),
            };
            raw.padding_len = padding;
        }
        Ok(raw)
    }

    /// What follows the common header, without padding.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The first word of the body: in all known types the SSRC of the sender, or of the first source.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.body().first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Length in the datagram, padding included.
    pub(super) fn wire_len(&self) -> usize {
        self.bytes.len() + usize::from(self.padding_len)
    }

    /// The packet's body cut behind its first `N` bytes.
    pub(super) fn split_body<const N: usize>(&self) -> Result<(&'a [u8; N], &'a [u8]), RtcpError> {
        self.body().split_first_chunk::<N>().ok_or_else(|| self.truncated(HEADER_LEN + N))
    }

    /// The error of a packet that should have `needed` bytes, header included.
    pub(super) const fn truncated(&self, needed: usize) -> RtcpError {
        RtcpError::Truncated {
            packet_type: self.packet_type,
            count: self.count,
            offset: self.offset,
            needed,
            len: self.bytes.len(),
        }
    }
}

/// The big-endian number in `bytes`.
pub(super) const fn u32_of(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}
