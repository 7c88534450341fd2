//! Changing header fields in place, and nothing else.

use super::{Element, Elements, HEADER_LEN, Header, RtpError};

/// Writes marker and payload type, sequence number, timestamp and SSRC over those of `packet`, in one go.
///
/// The hot path of the fan-out: it is for packets that [`Header::parse`] accepted, and leaves one that is shorter
/// than the fixed header alone. `marker_pt` is the second byte as it goes on the wire: see [`Header::marker_pt`].
#[inline]
pub fn patch_header(packet: &mut [u8], marker_pt: u8, sequence: u16, timestamp: u32, ssrc: u32) {
    if let Some(fixed) = packet.first_chunk_mut::<HEADER_LEN>() {
        let [s0, s1] = sequence.to_be_bytes();
        let [t0, t1, t2, t3] = timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = ssrc.to_be_bytes();
        *fixed = [fixed[0], marker_pt, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3];
    }
}

/// Rewrites single fields of a validated packet in place.
///
/// Only the bytes of the named field change: payload, padding, CSRCs and unnamed extension elements stay as they are.
#[derive(Debug)]
pub struct RtpRewriter<'a> {
    packet: &'a mut [u8],
    header: Header,
}

impl<'a> RtpRewriter<'a> {
    /// Validates `packet`: see [`Header::parse`].
    ///
    /// # Errors
    ///
    /// What is out of place, and at which offset.
    #[inline]
    pub fn parse(packet: &'a mut [u8]) -> Result<Self, RtpError> {
        let header = Header::parse(packet)?;
        Ok(Self { packet, header })
    }

    /// Takes a packet whose `header` was parsed before. With the header of another packet the fields of the fixed
    /// header still land where they belong.
    #[inline]
    #[must_use]
    pub const fn new(packet: &'a mut [u8], header: Header) -> Self {
        Self { packet, header }
    }

    /// The header as it is now.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The packet as it is now.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.packet
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u16) {
        self.header.sequence = sequence;
        self.patch();
    }

    /// Sets the timestamp, in ticks of the payload's clock.
    #[inline]
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.header.timestamp = timestamp;
        self.patch();
    }

    /// Sets the synchronisation source.
    #[inline]
    pub fn set_ssrc(&mut self, ssrc: u32) {
        self.header.ssrc = ssrc;
        self.patch();
    }

    /// Sets the payload type, of which the low 7 bits count.
    #[inline]
    pub fn set_payload_type(&mut self, payload_type: u8) {
        self.header.payload_type = payload_type & 0x7f;
        self.patch();
    }

    /// Sets the marker bit.
    #[inline]
    pub fn set_marker(&mut self, marker: bool) {
        self.header.marker = marker;
        self.patch();
    }

    #[inline]
    fn patch(&mut self) {
        let Header { sequence, timestamp, ssrc, .. } = self.header;
        patch_header(self.packet, self.header.marker_pt(), sequence, timestamp, ssrc);
    }

    /// The data of the first extension element with the identifier `id`, to be changed in place.
    #[must_use]
    pub fn element_mut(&mut self, id: u8) -> Option<&mut [u8]> {
        let range = self.header.extension_range()?;
        let profile = self.packet.get(range.start.checked_sub(4)?..)?.first_chunk::<2>()?;
        let data = self.packet.get(range.clone())?;
        let Element { offset, data, .. } = Elements::new(u16::from_be_bytes(*profile), data)
            .map_while(Result::ok)
            .find(|element| element.id == id)?;
        let start = range.start + offset;
        let end = start + data.len();
        self.packet.get_mut(start..end)
    }

    /// Overwrites the first extension element with the identifier `id`. Returns whether there is one with just as
    /// many bytes as `data`; otherwise nothing changes.
    #[must_use]
    pub fn set_element(&mut self, id: u8, data: &[u8]) -> bool {
        match self.element_mut(id) {
            Some(old) if old.len() == data.len() => {
                old.copy_from_slice(data);
                true
            }
            _ => false,
        }
    }
}
