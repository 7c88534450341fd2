//! Feedback of receivers (RFC 4585, RFC 5104).

use super::RtcpError;
use super::raw::{HEADER_LEN, Raw, u32_of};

/// The sender's SSRC, the media's SSRC, and the feedback control information behind them (RFC 4585 §6.1).
fn split<'a>(raw: &Raw<'a>) -> Result<(u32, u32, &'a [u8]), RtcpError> {
    let (&[s0, s1, s2, s3, m0, m1, m2, m3], fci) = raw.split_body::<8>()?;
    Ok((u32_of([s0, s1, s2, s3]), u32_of([m0, m1, m2, m3]), fci))
}

/// Entries of `N` bytes each: at least one, and nothing left over.
fn entries<'a, const N: usize>(raw: &Raw<'a>, fci: &'a [u8]) -> Result<&'a [[u8; N]], RtcpError> {
    match fci.as_chunks() {
        ([], []) => Err(raw.truncated(HEADER_LEN + 8 + N)),
        (entries, []) => Ok(entries),
        _ => Err(RtcpError::Entries {
            packet_type: raw.packet_type,
            format: raw.count,
            offset: raw.offset,
            len: fci.len(),
            entry: N,
        }),
    }
}

/// A request to send packets again (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The source whose packets are missing.
    pub media_ssrc: u32,
    pairs: &'a [[u8; 4]],
}

/// One entry of a [`Nack`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NackPair {
    /// A missing packet.
    pub packet_id: u16,
    /// Which of the 16 packets behind it are missing too: bit 0 is the next one.
    pub bitmask: u16,
}

impl NackPair {
    /// The missing packets, in order: 1 to 17 sequence numbers.
    pub fn lost(self) -> impl Iterator<Item = u16> {
        let Self { packet_id, bitmask } = self;
        let behind = (0..16_u16).filter(move |bit| bitmask >> bit & 1 == 1);
        std::iter::once(packet_id).chain(behind.map(move |bit| packet_id.wrapping_add(bit + 1)))
    }
}

impl<'a> Nack<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (sender_ssrc, media_ssrc, fci) = split(raw)?;
        Ok(Self { sender_ssrc, media_ssrc, pairs: entries(raw, fci)? })
    }

    /// The entries, in wire order.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = NackPair> + use<'a> {
        self.pairs.iter().map(|&[p0, p1, b0, b1]| NackPair {
            packet_id: u16::from_be_bytes([p0, p1]),
            bitmask: u16::from_be_bytes([b0, b1]),
        })
    }

    /// The missing sequence numbers, in wire order; a peer may name one more than once.
    pub fn lost(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs().flat_map(NackPair::lost)
    }
}

/// A receiver lost a picture and asks for a keyframe (RFC 4585 §6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The source that is to send a keyframe.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn parse(raw: &Raw<'_>) -> Result<Self, RtcpError> {
        let (sender_ssrc, media_ssrc, _) = split(raw)?;
        Ok(Self { sender_ssrc, media_ssrc })
    }
}

/// A request for a keyframe of each source that it names (RFC 5104 §4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// Unused, 0.
    pub media_ssrc: u32,
    entries: &'a [[u8; 8]],
}

/// One entry of a [`Fir`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FirEntry {
    /// The source that is to send a keyframe.
    pub ssrc: u32,
    /// Number of the request: a repetition has the same, a new request the next.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (sender_ssrc, media_ssrc, fci) = split(raw)?;
        Ok(Self { sender_ssrc, media_ssrc, entries: entries(raw, fci)? })
    }

    /// The entries, in wire order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + use<'a> {
        self.entries
            .iter()
            .map(|&[s0, s1, s2, s3, sequence, ..]| FirEntry { ssrc: u32_of([s0, s1, s2, s3]), sequence })
    }
}

/// The bitrate that a receiver believes it can take (draft-alvestrand-rmcat-remb-03 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    /// Unused, 0.
    pub media_ssrc: u32,
    /// Bits a second, in sum for all `ssrcs`; `u64::MAX` when it does not fit.
    pub bitrate: u64,
    ssrcs: &'a [[u8; 4]],
}

impl<'a> Remb<'a> {
    /// Whether application-layer feedback carries the identifier of REMB.
    pub(super) fn is(raw: &Raw<'_>) -> bool {
        raw.body().get(8..12) == Some(b"REMB".as_slice())
    }

    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (&[s0, s1, s2, s3, m0, m1, m2, m3, _, _, _, _, count, high, b0, b1], rest) =
            raw.split_body::<16>()?;
        let len = 4 * usize::from(count);
        let ssrcs = rest.get(..len).ok_or_else(|| raw.truncated(HEADER_LEN + 16 + len))?;
        // Six bits of exponent, 18 of mantissa.
        let exponent = u32::from(high >> 2);
        let mantissa = u64::from(u32_of([0, high & 3, b0, b1]));
        let bitrate = if mantissa.leading_zeros() >= exponent { mantissa << exponent } else { u64::MAX };
        Ok(Self {
            sender_ssrc: u32_of([s0, s1, s2, s3]),
            media_ssrc: u32_of([m0, m1, m2, m3]),
            bitrate,
            ssrcs: ssrcs.as_chunks().0,
        })
    }

    /// The sources that the bitrate is for, at most 255.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.ssrcs.iter().map(|bytes| u32_of(*bytes))
    }
}

/// Arrival times of packets by their transport-wide sequence numbers
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportCc<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    /// The source that is reported on.
    pub media_ssrc: u32,
    /// Transport-wide sequence number of the first packet.
    pub base_sequence: u16,
    /// Number of packets reported on.
    pub status_count: u16,
    /// Reference time in units of 64 ms; 24 bits with sign.
    pub reference_time: i32,
    /// Number of this feedback packet.
    pub feedback_count: u8,
    /// Status chunks and arrival deltas, not looked at.
    pub data: &'a [u8],
}

impl<'a> TransportCc<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (&[s0, s1, s2, s3, m0, m1, m2, m3, q0, q1, c0, c1, r0, r1, r2, feedback_count], data) =
            raw.split_body::<16>()?;
        Ok(Self {
            sender_ssrc: u32_of([s0, s1, s2, s3]),
            media_ssrc: u32_of([m0, m1, m2, m3]),
            base_sequence: u16::from_be_bytes([q0, q1]),
            status_count: u16::from_be_bytes([c0, c1]),
            reference_time: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            feedback_count,
            data,
        })
    }
}
