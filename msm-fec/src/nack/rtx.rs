//! Packets that are sent again (RFC 4588 §4): own SSRC, payload type and sequence line; timestamp, CSRCs, marker and header
//! extension are the original's, and its sequence number stands before its payload.
//!
//! The RFC has the original's padding taken off, and lets the retransmission be padded as any packet. So the padding that is taken
//! off here is put on again: a peer that knows nothing of it takes it off, and between members a packet comes out byte for byte.

use msm_core::rtp::{HEADER_LEN, Header, MAX_PACKET_LEN, RtpError, patch_header};
use thiserror::Error;

/// Bytes that a retransmission is longer by.
pub const OVERHEAD: usize = 2;

/// Why a packet can not be sent again, or a retransmission not be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtxError {
    /// It is no RTP packet.
    #[error(transparent)]
    Rtp(#[from] RtpError),
    /// No original sequence number: senders probe a path with such packets, and they repair nothing.
    #[error("RTX payload of {len} bytes has no room for the original sequence number")]
    Empty {
        /// Bytes of the payload.
        len: usize,
    },
    /// A payload type above 127, or of another stream.
    #[error("payload type {payload_type} is not that of the stream's retransmissions")]
    PayloadType {
        /// The type found.
        payload_type: u8,
    },
    /// Retransmissions of another stream.
    #[error("SSRC {ssrc:#010x} is not that of the stream's retransmissions")]
    Ssrc {
        /// The source found.
        ssrc: u32,
    },
    /// The buffer is too small, or the packet would be longer than a datagram.
    #[error("{needed} bytes do not fit into {available}")]
    Room {
        /// Bytes of the packet.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
}

impl RtxError {
    /// A stable name of the reason, for the label of a counter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rtp(error) => error.name(),
            Self::Empty { .. } => "rtx_empty",
            Self::PayloadType { .. } => "rtx_payload_type",
            Self::Ssrc { .. } => "rtx_ssrc",
            Self::Room { .. } => "rtx_room",
        }
    }
}

/// How the retransmissions of a stream are told from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Their SSRC.
    pub ssrc: u32,
    /// Their payload type.
    pub payload_type: u8,
}

/// Writes retransmissions with a sequence line of their own.
#[derive(Debug, Clone)]
pub struct Writer {
    identity: Identity,
    next: u16,
}

impl Writer {
    /// Retransmissions under `identity`, the first with the number `first`.
    #[must_use]
    pub const fn new(identity: Identity, first: u16) -> Self {
        Self { identity, next: first }
    }

    /// Writes `packet` to the start of `out` as a retransmission; its length, [`OVERHEAD`] more than the packet's. What was not
    /// written takes no number.
    ///
    /// # Errors
    ///
    /// `packet` is no RTP packet, or there is no room.
    pub fn write(&mut self, packet: &[u8], out: &mut [u8]) -> Result<usize, RtxError> {
        let header = Header::parse(packet)?;
        if self.identity.payload_type > 127 {
            return Err(RtxError::PayloadType { payload_type: self.identity.payload_type });
        }
        let needed = packet.len() + OVERHEAD;
        let available = out.len().min(MAX_PACKET_LEN);
        let room = RtxError::Room { needed, available };
        let (head, rest) = packet.split_at_checked(usize::from(header.payload_offset)).ok_or(room)?;
        let written = out.get_mut(..needed).filter(|_| needed <= available).ok_or(room)?;
        let parts = [head, &header.sequence.to_be_bytes(), rest];
        let mut left = &mut *written;
        for part in parts {
            let (place, behind) = left.split_at_mut_checked(part.len()).ok_or(room)?;
            place.copy_from_slice(part);
            left = behind;
        }
        let marker_pt = u8::from(header.marker) << 7 | self.identity.payload_type;
        patch_header(written, marker_pt, self.next, header.timestamp, self.identity.ssrc);
        self.next = self.next.wrapping_add(1);
        Ok(needed)
    }
}

/// Turns the retransmission `packet` into the original where it is, which moves the header and not the payload: the original's
/// sequence number, and the original.
///
/// # Errors
///
/// It is not a retransmission of this stream. `packet` is then unchanged.
pub fn restore(packet: &mut [u8], rtx: Identity, original: Identity) -> Result<(u16, &mut [u8]), RtxError> {
    let header = Header::parse(packet)?;
    if header.payload_type != rtx.payload_type {
        return Err(RtxError::PayloadType { payload_type: header.payload_type });
    }
    if header.ssrc != rtx.ssrc {
        return Err(RtxError::Ssrc { ssrc: header.ssrc });
    }
    let empty = RtxError::Empty { len: usize::from(header.payload_len) };
    let Some(number) = header.payload(packet).first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else {
        return Err(empty);
    };
    let start = usize::from(header.payload_offset);
    debug_assert!(start >= HEADER_LEN);
    packet.get_mut(..start + OVERHEAD).ok_or(empty)?.copy_within(..start, OVERHEAD);
    let restored = packet.get_mut(OVERHEAD..).ok_or(empty)?;
    let marker_pt = u8::from(header.marker) << 7 | original.payload_type & 0x7f;
    patch_header(restored, marker_pt, number, header.timestamp, original.ssrc);
    Ok((number, restored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::rtp::{ExtensionBlock, RtpBuilder, RtpView};

    const RTX: Identity = Identity { ssrc: 0x1111, payload_type: 97 };
    const MEDIA: Identity = Identity { ssrc: 0x2222, payload_type: 96 };

    fn originals() -> Vec<Vec<u8>> {
        let plain = RtpBuilder {
            payload_type: 96,
            sequence: 0xfffe,
            timestamp: 90_000,
            ssrc: MEDIA.ssrc,
            payload: b"payload",
            ..RtpBuilder::default()
        };
        let extension = ExtensionBlock::OneByte(&[(1, b"abc"), (5, b"d")]);
        [
            plain,
            RtpBuilder { marker: true, csrcs: &[7, 8], extension, ..plain },
            RtpBuilder { padding_len: 5, extension, ..plain },
            RtpBuilder { payload: b"", ..plain },
            RtpBuilder { payload: b"", padding_len: 255, ..plain },
        ]
        .iter()
        .map(|builder| {
            let mut packet = vec![0; 512];
            let len = builder.write(&mut packet).unwrap();
            packet.truncate(len);
            packet
        })
        .collect()
    }

    #[test]
    fn what_is_sent_again_comes_out_byte_for_byte() {
        let mut writer = Writer::new(RTX, u16::MAX);
        for (number, original) in originals().iter().enumerate() {
            let mut buffer = [0; 600];
            let len = writer.write(original, &mut buffer).unwrap();
            assert_eq!(len, original.len() + OVERHEAD);
            let (view, before) = (RtpView::parse(&buffer[..len]).unwrap(), RtpView::parse(original).unwrap());
            assert_eq!((view.ssrc(), view.payload_type()), (RTX.ssrc, 97));
            assert_eq!(view.sequence(), u16::MAX.wrapping_add(number as u16), "an own line");
            assert_eq!((view.timestamp(), view.marker()), (before.timestamp(), before.marker()));
            assert_eq!(view.extension(), before.extension());
            assert!(view.csrcs().eq(before.csrcs()));
            assert_eq!(view.payload(), [&[0xff, 0xfe], before.payload()].concat());
            let (sequence, restored) = restore(&mut buffer[..len], RTX, MEDIA).unwrap();
            assert_eq!((sequence, &*restored), (0xfffe, &original[..]));
        }
    }

    #[test]
    fn other_packets_are_refused_and_left_alone() {
        let original = originals().remove(1);
        let mut buffer = [0; 600];
        let mut writer = Writer::new(RTX, 5);
        assert!(matches!(writer.write(&original, &mut [0; 40]), Err(RtxError::Room { .. })));
        assert!(matches!(writer.write(&original[..9], &mut buffer), Err(RtxError::Rtp(_))));
        let len = writer.write(&original, &mut buffer).unwrap();
        assert_eq!(RtpView::parse(&buffer[..len]).unwrap().sequence(), 5, "failures take no number");
        let before = buffer;
        let other = Identity { ssrc: 3, ..RTX };
        assert!(matches!(restore(&mut buffer[..len], other, MEDIA), Err(RtxError::Ssrc { .. })));
        let other = Identity { payload_type: 98, ..RTX };
        assert!(matches!(restore(&mut buffer[..len], other, MEDIA), Err(RtxError::PayloadType { .. })));
        assert_eq!(buffer, before);
        let mut probe = originals().remove(4);
        patch_header(&mut probe, 97, 1, 2, RTX.ssrc);
        let error = restore(&mut probe, RTX, MEDIA).unwrap_err();
        assert_eq!((error, error.name()), (RtxError::Empty { len: 0 }, "rtx_empty"));
        let mut high = Writer::new(Identity { payload_type: 200, ..RTX }, 0);
        assert!(matches!(high.write(&original, &mut buffer), Err(RtxError::PayloadType { .. })));
        let mut long = vec![0x5a; MAX_PACKET_LEN];
        long[0] = 0x80;
        let room = writer.write(&long, &mut vec![0; 70_000]);
        assert!(matches!(room, Err(RtxError::Room { .. })), "{room:?}");
    }
}
