//! Redundant audio data, the frame in which ULPFEC may travel (RFC 2198 §3, RFC 5109 §14).
//!
//! A `red` payload is a list of blocks: those in front have their payload type, the age of their timestamp and their length,
//! the last one, which is the newest, has its payload type only and takes the rest.

use thiserror::Error;

/// The most blocks that a payload may have.
pub const MAX_BLOCKS: usize = 32;
/// The most bytes of a block that is not the last: ten bits.
pub const MAX_BLOCK: usize = 1023;
/// The most ticks that a block can be older than the packet: 14 bits.
pub const MAX_OFFSET: u16 = 16_383;

/// A block of a `red` payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its payload type.
    pub payload_type: u8,
    /// How much older than the packet it is, in ticks. The last block's is 0.
    pub timestamp_offset: u16,
    /// Its payload.
    pub data: &'a [u8],
}

/// Why a payload is no `red` payload, or blocks do not make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedError {
    /// It ends within the headers or a block.
    #[error("red payload of {len} bytes ends too early")]
    Short {
        /// Bytes of the payload.
        len: usize,
    },
    /// More than [`MAX_BLOCKS`], or none.
    #[error("red payload of no or more than {MAX_BLOCKS} blocks")]
    Blocks,
    /// A block that its header cannot describe.
    #[error("block of {len} bytes, {offset} ticks old, does not fit a red header")]
    Block {
        /// Its bytes.
        len: usize,
        /// Its age.
        offset: u16,
    },
}

/// The blocks of a payload, in its order.
///
/// # Errors
///
/// When it ends too early, or has more than [`MAX_BLOCKS`]. Then none of its blocks are given.
pub fn parse(payload: &[u8]) -> Result<impl Iterator<Item = Block<'_>>, RedError> {
    let short = RedError::Short { len: payload.len() };
    let (mut headers, mut in_front) = (0, 0);
    let mut count = 1;
    while payload.get(headers).ok_or(short)? & 0x80 != 0 {
        let header = payload.get(headers..headers + 4).ok_or(short)?;
        let [_, _, high, low] = *header else { return Err(short) };
        in_front += usize::from(high & 3) << 8 | usize::from(low);
        headers += 4;
        count += 1;
        if count > MAX_BLOCKS {
            return Err(RedError::Blocks);
        }
    }
    if payload.len() < headers + 1 + in_front {
        return Err(short);
    }
    let (mut header, mut data) = (0, headers + 1);
    Ok((0..count).map_while(move |_| {
        let first = *payload.get(header)?;
        let (timestamp_offset, len) = match payload.get(header..header + 4) {
            Some(&[_, a, b, c]) if first & 0x80 != 0 => {
                (u16::from(a) << 6 | u16::from(b >> 2), usize::from(b & 3) << 8 | usize::from(c))
            }
            _ => (0, payload.len() - data),
        };
        let block = payload.get(data..data + len)?;
        header += 4;
        data += len;
        Some(Block { payload_type: first & 0x7f, timestamp_offset, data: block })
    }))
}

/// Appends a payload of these blocks to `out`; the last one is the newest.
///
/// # Errors
///
/// When there are no or too many blocks, or one does not fit its header: then `out` is as it was.
pub fn write(blocks: &[Block<'_>], out: &mut Vec<u8>) -> Result<(), RedError> {
    let (newest, older) = blocks.split_last().ok_or(RedError::Blocks)?;
    if blocks.len() > MAX_BLOCKS {
        return Err(RedError::Blocks);
    }
    let fits = |block: &Block<'_>| block.data.len() <= MAX_BLOCK && block.timestamp_offset <= MAX_OFFSET;
    if let Some(block) = older.iter().find(|block| !fits(block)) {
        return Err(RedError::Block { len: block.data.len(), offset: block.timestamp_offset });
    }
    for block in older {
        let rest = u32::from(block.timestamp_offset) << 10 | block.data.len() as u32;
        let word = u32::from(0x80 | block.payload_type) << 24 | rest;
        out.extend(word.to_be_bytes());
    }
    out.push(newest.payload_type & 0x7f);
    for block in blocks {
        out.extend_from_slice(block.data);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_standard_is_read() {
        // RFC 2198 §7: DVI4 at 8 kHz, reduced to LPC that is 160 ticks older, in front.
        let mut payload = vec![];
        let blocks = [
            Block { payload_type: 7, timestamp_offset: 160, data: &[1; 14] },
            Block { payload_type: 5, timestamp_offset: 0, data: &[2; 84] },
        ];
        write(&blocks, &mut payload).unwrap();
        assert_eq!(payload[..5], [0x87, 0x02, 0x80, 14, 5]);
        assert_eq!(parse(&payload).unwrap().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn what_lies_about_its_length_is_refused() {
        for payload in
            [&[][..], &[0x80], &[0x80, 0, 0], &[0x80, 0, 0, 1], &[0x80, 0, 0, 1, 5], &[0x87, 0, 3, 255, 5, 1]]
        {
            assert!(matches!(parse(payload).err(), Some(RedError::Short { .. })), "{payload:?}");
        }
        assert_eq!(parse(&[0x80, 0, 0, 1, 5, 9]).unwrap().count(), 2);
        let many = [[0x80, 0, 0, 0]; MAX_BLOCKS].concat();
        assert_eq!(parse(&many).err(), Some(RedError::Blocks));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut out = vec![7];
        let long = [0; MAX_BLOCK + 1];
        let old = |data, timestamp_offset| Block { payload_type: 1, timestamp_offset, data };
        for blocks in [&[old(&long[..], 0), old(&[], 0)][..], &[old(&[], MAX_OFFSET + 1), old(&[], 0)], &[]] {
            assert!(write(blocks, &mut out).is_err());
            assert_eq!(out, [7]);
        }
        write(&[old(&long, 0)], &mut out).unwrap();
        assert_eq!(out.len(), 2 + long.len(), "the last block may be as long as it likes");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(blocks in proptest::collection::vec((0u8..128, 0u16..=MAX_OFFSET, proptest::collection::vec(any::<u8>(), 0..60)), 1..MAX_BLOCKS)) {
            let last = blocks.len() - 1;
            let blocks: Vec<Block<'_>> = blocks.iter().enumerate().map(|(at, (payload_type, age, data))| {
                Block { payload_type: *payload_type, timestamp_offset: if at == last { 0 } else { *age }, data }
            }).collect();
            let mut payload = Vec::new();
            write(&blocks, &mut payload).unwrap();
            prop_assert_eq!(parse(&payload).unwrap().collect::<Vec<_>>(), blocks);
            for end in 0..payload.len() {
                if let Ok(read) = parse(&payload[..end]) {
                    prop_assert!(read.count() <= MAX_BLOCKS);
                }
            }
        }
    }
}
