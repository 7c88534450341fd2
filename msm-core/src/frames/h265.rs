//! H.265, RFC 7798: single NAL units, aggregation packets, fragmentation units; without decoding order numbers.

use super::Parts;

const AP: u8 = 48;
const FU: u8 = 49;

/// Whether it can be taken.
pub(super) fn append(payload: &[u8], parts: &mut Parts) -> bool {
    let Some((&[first, second], rest)) = payload.split_first_chunk::<2>() else { return false };
    match first >> 1 & 0x3f {
        // A unit within another one's pieces.
        0..=AP if parts.fragment.is_some() => false,
        AP => parts.add_aggregate(rest),
        0..AP => {
            parts.add_unit(&[first, second], rest);
            true
        }
        // `S(1) E(1) type(6)`, RFC 7798 §4.4.3.
        FU => rest.split_first().is_some_and(|(&fu, piece)| {
            let header = [first & 0x81 | (fu & 0x3f) << 1, second];
            parts.add_piece(fu & 0x80 != 0, fu & 0x40 != 0, &header, piece)
        }),
        _ => false,
    }
}
