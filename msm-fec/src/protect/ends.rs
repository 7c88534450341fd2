//! What a repair packet tells besides.

use std::ops::Range;

use msm_core::seq;

use crate::rs::payload::Header;

/// The indices from the first to behind the last of the block of a repair packet, `next` being the index behind the newest packet.
pub(super) fn block_of(next: u64, payload: &[u8]) -> Option<Range<u64>> {
    let (header, _) = Header::parse(payload).ok()?;
    let distance = i64::from(seq::distance(next as u16, header.first));
    let first = next.checked_add_signed(distance)?;
    let last = u64::from(header.sources.checked_sub(1)?) * u64::from(header.step);
    let end = first.checked_add(last)?.checked_add(1)?;
    // No block of which nothing came begins far ahead: what lies between would have shown.
    (first <= next.saturating_add(header.span())).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(first: u16, sources: u8, step: u8) -> Vec<u8> {
        let header = Header { first, sources, code: sources, symbol: sources, step };
        [&header.to_bytes()[..], &[0, 0, 1, 2, 3]].concat()
    }

    #[test]
    fn a_block_is_the_nearest_with_its_number() {
        assert_eq!(block_of(95, &payload(90, 10, 1)), Some(90..100));
        assert_eq!(block_of(0x1_0000, &payload(0xfffe, 4, 1)), Some(0xfffe..0x1_0002));
        assert_eq!(block_of(0xfffe, &payload(0xfffe, 4, 3)), Some(0xfffe..0x1_0008));
        assert_eq!(block_of(120, &payload(90, 10, 1)), Some(90..100));
        assert_eq!(block_of(100, &payload(105, 10, 1)), Some(105..115));
        assert_eq!(block_of(100, &payload(300, 10, 1)), None, "far ahead");
        assert_eq!(block_of(2, &payload(0xfff0, 10, 1)), None, "before the first");
        assert_eq!(block_of(2, &[1, 2, 3]), None);
    }
}
