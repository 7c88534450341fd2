//! H.265, RFC 7798: single NAL units, aggregation packets, fragmentation units; without decoding order numbers.

use super::Parts;
use crate::codec::aggregated;

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

/// Whether its first unit stands before a picture's first slice, and behind no slice (ITU-T H.265 §7.4.2.4.4).
pub(super) fn begins(payload: &[u8]) -> bool {
    let mut first = None;
    each(payload, |kind| first = first.or(Some(kind)));
    matches!(first, Some(32..=35 | 39))
}

/// Whether a sequence parameter set is in it.
pub(super) fn has_sps(payload: &[u8]) -> bool {
    let mut has = false;
    each(payload, |kind| has |= kind == 33);
    has
}

/// The type of each whole unit.
fn each(payload: &[u8], mut unit: impl FnMut(u8)) {
    match payload.split_first_chunk::<2>() {
        Some(([first, _], rest)) if first >> 1 & 0x3f == AP => {
            aggregated(rest, |own| own.first().into_iter().for_each(|header| unit(header >> 1 & 0x3f)));
        }
        Some(([first, _], _)) => unit(first >> 1 & 0x3f),
        None => {}
    }
}
