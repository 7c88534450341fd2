//! Reading a packet where it is.

use super::{Elements, HEADER_LEN, Header, RtpError};

/// A validated RTP packet, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpView<'a> {
    packet: &'a [u8],
    header: Header,
}

impl<'a> RtpView<'a> {
    /// Validates `packet`: see [`Header::parse`].
    ///
    /// # Errors
    ///
    /// What is out of place, and at which offset.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        Ok(Self { packet, header: Header::parse(packet)? })
    }

    /// The fixed header and the payload's place.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The whole packet.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.packet
    }

    /// The marker bit.
    #[inline]
    #[must_use]
    pub const fn marker(&self) -> bool {
        self.header.marker
    }

    /// Payload type, 0–127.
    #[inline]
    #[must_use]
    pub const fn payload_type(&self) -> u8 {
        self.header.payload_type
    }

    /// Sequence number.
    #[inline]
    #[must_use]
    pub const fn sequence(&self) -> u16 {
        self.header.sequence
    }

    /// Media timestamp in ticks of the payload's clock.
    #[inline]
    #[must_use]
    pub const fn timestamp(&self) -> u32 {
        self.header.timestamp
    }

    /// Synchronisation source.
    #[inline]
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.header.ssrc
    }

    /// Contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let end = HEADER_LEN + 4 * usize::from(self.header.csrc_count);
        let list = self.packet.get(HEADER_LEN..end).unwrap_or_default();
        list.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Profile and data of the header extension (RFC 3550 §5.3.1), if there is one.
    #[must_use]
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        let range = self.header.extension_range()?;
        let profile = self.packet.get(range.start.checked_sub(4)?..)?.first_chunk::<2>()?;
        Some((u16::from_be_bytes(*profile), self.packet.get(range)?))
    }

    /// The elements of the header extension (RFC 8285 §4); none without extension or under another profile.
    #[must_use]
    pub fn extensions(&self) -> Elements<'a> {
        let (profile, data) = self.extension().unwrap_or_default();
        Elements::new(profile, data)
    }

    /// The data of the first extension element with the identifier `id`.
    #[must_use]
    pub fn element(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions().map_while(Result::ok).find(|element| element.id == id).map(|element| element.data)
    }

    /// The payload, without padding.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.header.payload(self.packet)
    }

    /// Bytes of padding behind the payload, the count byte included; 0 without padding.
    #[inline]
    #[must_use]
    pub const fn padding_len(&self) -> usize {
        self.header.padding_len as usize
    }
}
