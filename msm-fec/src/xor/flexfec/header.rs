//! The FEC header (RFC 8627 §4.2.2).

use crate::xor::recover::{Head, Refusal};

/// The longest mask: a repair packet protects packets up to 109 numbers behind its base (RFC 8627 §4.2.2.1).
pub const MAX_MASK: usize = 110;
/// Streams that one repair packet can protect: contributing sources of an RTP header.
pub const MAX_STREAMS: usize = 15;

const SHORT_MASK: u32 = 15;
const MIDDLE_MASK: u32 = 46;
/// Bytes of what is common to all streams.
const COMMON: usize = 8;

/// Which packets of one stream are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Those whose bit is set; the most significant bit is the base number. The 18 least significant bits are 0.
    Mask(u128),
    /// Rows and columns (RFC 8627 §4.2.2.2).
    Fixed {
        /// L, columns.
        columns: u8,
        /// D: 0 or 1 for a row, more for a column.
        rows: u8,
    },
}

/// One protected stream of a repair packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected {
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// The number that the pattern begins at.
    pub base: u16,
    /// Which packets.
    pub pattern: Pattern,
}

/// The header of a sum of packets (R = 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub(crate) head: Head,
    protected: [Option<Protected>; MAX_STREAMS],
    /// Bytes of the whole header.
    pub(crate) len: usize,
}

impl Header {
    /// The streams, in the order of the contributing sources.
    pub fn protected(&self) -> impl Iterator<Item = Protected> + '_ {
        self.protected.iter().flatten().copied()
    }

    /// Reads the payload of a repair packet with these contributing sources. `None`: it is a source packet once more (R = 1).
    ///
    /// # Errors
    ///
    /// [`Refusal::Short`], [`Refusal::Reserved`] (R = F = 1, L = 0), [`Refusal::OtherStream`] without contributing sources,
    /// [`Refusal::Empty`] of a mask without a bit.
    pub fn parse(payload: &[u8], csrcs: impl Iterator<Item = u32>) -> Result<Option<Self>, Refusal> {
        let common: &[u8; COMMON] = payload.first_chunk().ok_or(Refusal::Short)?;
        let [flags, marker, l0, l1, t0, t1, t2, t3] = *common;
        match (flags & 0x80 != 0, flags & 0x40 != 0) {
            (true, true) => return Err(Refusal::Reserved),
            (true, false) => return Ok(None),
            _ => {}
        }
        let fixed = flags & 0x40 != 0;
        let head = Head {
            flags: [flags & 0x3f, marker],
            length: u16::from_be_bytes([l0, l1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        };
        let mut header = Self { head, protected: [None; MAX_STREAMS], len: COMMON };
        let mut rest = payload.get(COMMON..).unwrap_or_default();
        for (place, ssrc) in header.protected.iter_mut().zip(csrcs) {
            let (base, pattern, behind) = if fixed { fixed_block(rest)? } else { mask_block(rest)? };
            *place = Some(Protected { ssrc, base, pattern });
            rest = behind;
        }
        header.len = payload.len() - rest.len();
        if header.len == COMMON { Err(Refusal::OtherStream) } else { Ok(Some(header)) }
    }

    /// Appends the header of a sum of packets of one stream.
    pub(crate) fn write(head: Head, base: u16, pattern: Pattern, out: &mut Vec<u8>) {
        let [flags, marker] = head.flags;
        let fixed = u8::from(matches!(pattern, Pattern::Fixed { .. })) << 6;
        out.extend([flags & 0x3f | fixed, marker]);
        out.extend(head.length.to_be_bytes());
        out.extend(head.timestamp.to_be_bytes());
        out.extend(base.to_be_bytes());
        match pattern {
            Pattern::Fixed { columns, rows } => out.extend([columns, rows]),
            Pattern::Mask(mask) => {
                let bits = 128 - mask.trailing_zeros().min(128);
                let more = |when: bool, bit: u32| u32::from(when) << bit;
                let word = (mask >> 113) as u32 | more(bits > SHORT_MASK, 15);
                out.extend((word as u16).to_be_bytes());
                if bits > SHORT_MASK {
                    let word = (mask >> 82) as u32 & 0x7fff_ffff | more(bits > MIDDLE_MASK, 31);
                    out.extend(word.to_be_bytes());
                }
                if bits > MIDDLE_MASK {
                    out.extend(((mask >> 18) as u64).to_be_bytes());
                }
            }
        }
    }
}

type Named<'a> = (u16, Pattern, &'a [u8]);

fn fixed_block(bytes: &[u8]) -> Result<Named<'_>, Refusal> {
    let (&[b0, b1, columns, rows], rest) = bytes.split_first_chunk().ok_or(Refusal::Short)?;
    if columns == 0 {
        return Err(Refusal::Reserved);
    }
    Ok((u16::from_be_bytes([b0, b1]), Pattern::Fixed { columns, rows }, rest))
}

fn mask_block(bytes: &[u8]) -> Result<Named<'_>, Refusal> {
    let (&[b0, b1, m0, m1], mut rest) = bytes.split_first_chunk().ok_or(Refusal::Short)?;
    let first = u16::from_be_bytes([m0, m1]);
    let mut mask = u128::from(first & 0x7fff) << 113;
    if first & 0x8000 != 0 {
        let (&word, behind) = rest.split_first_chunk::<4>().ok_or(Refusal::Short)?;
        let second = u32::from_be_bytes(word);
        mask |= u128::from(second & 0x7fff_ffff) << 82;
        rest = behind;
        if second & 0x8000_0000 != 0 {
            let (&words, behind) = rest.split_first_chunk::<8>().ok_or(Refusal::Short)?;
            mask |= u128::from(u64::from_be_bytes(words)) << 18;
            rest = behind;
        }
    }
    if mask == 0 {
        return Err(Refusal::Empty);
    }
    Ok((u16::from_be_bytes([b0, b1]), Pattern::Mask(mask), rest))
}
