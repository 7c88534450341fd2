//! FEC header and level headers (RFC 5109 §7.3, §7.4).

use crate::xor::recover::{Cover, EXTRA_LEVELS, Head, Level, Parity, Refusal};

/// Bytes of the FEC header.
const HEADER: usize = 10;

/// What a repair payload says.
pub(crate) struct Header {
    pub(crate) base: u16,
    pub(crate) head: Head,
    /// Masks, whose most significant bit is the base, and where their sums are. The first one is level 0.
    pub(crate) levels: [Option<(u128, usize, usize)>; EXTRA_LEVELS + 1],
}

impl Header {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let fixed: &[u8; HEADER] = payload.first_chunk().ok_or(Refusal::Short)?;
        let [flags, marker, b0, b1, t0, t1, t2, t3, l0, l1] = *fixed;
        if flags & 0x80 != 0 {
            return Err(Refusal::Reserved);
        }
        let long = flags & 0x40 != 0;
        let mut levels = [None; EXTRA_LEVELS + 1];
        let mut at = HEADER;
        let mut places = levels.iter_mut();
        while at < payload.len() {
            let (mask, len, header) = level(payload.get(at..).unwrap_or_default(), long)?;
            at += header;
            if payload.len() < at + len {
                return Err(Refusal::LevelLength);
            }
            *places.next().ok_or(Refusal::Levels)? = Some((mask, at, len));
            at += len;
        }
        let head = Head {
            flags: [flags & 0x3f, marker],
            length: u16::from_be_bytes([l0, l1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        };
        Ok(Self { base: u16::from_be_bytes([b0, b1]), head, levels })
    }

    /// Level 0 and the others, placed.
    pub(crate) fn place(&self, base: u64) -> Result<(Level, [Option<Level>; EXTRA_LEVELS]), Refusal> {
        let place = |(mask, at, len)| Level { cover: Cover::mask(base, mask), at, len };
        let (first, others) = self.levels.split_first().ok_or(Refusal::Short)?;
        let (mask, ..) = first.ok_or(Refusal::Short)?;
        if mask == 0 {
            return Err(Refusal::Empty);
        }
        let mut levels = [None; EXTRA_LEVELS];
        for (level, other) in levels.iter_mut().zip(others) {
            *level = other.map(place);
        }
        Ok((first.map(place).ok_or(Refusal::Short)?, levels))
    }

    /// Appends a payload with level 0 alone, which protects the first `len` bytes behind the fixed header of packets.
    pub(crate) fn write(base: u16, mask: u128, parity: &Parity, len: usize, out: &mut Vec<u8>) {
        let [flags, marker] = parity.head.flags;
        let long = mask << 16 != 0;
        out.extend([flags & 0x3f | u8::from(long) << 6, marker]);
        out.extend(base.to_be_bytes());
        out.extend(parity.head.timestamp.to_be_bytes());
        out.extend(parity.head.length.to_be_bytes());
        let body = parity.body.get(..len).unwrap_or(&parity.body);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(((mask >> 112) as u16).to_be_bytes());
        if long {
            out.extend(((mask >> 80) as u32).to_be_bytes());
        }
        out.extend_from_slice(body);
    }
}

/// Mask, protection length and bytes of a level's header.
fn level(bytes: &[u8], long: bool) -> Result<(u128, usize, usize), Refusal> {
    let &[l0, l1, m0, m1] = bytes.first_chunk().ok_or(Refusal::Short)?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let mask = u128::from(u16::from_be_bytes([m0, m1])) << 112;
    if !long {
        return Ok((mask, len, 4));
    }
    let &[_, _, _, _, more @ ..]: &[u8; 8] = bytes.first_chunk().ok_or(Refusal::Short)?;
    Ok((mask | u128::from(u32::from_be_bytes(more)) << 80, len, 8))
}
