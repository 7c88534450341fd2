//! H.264, RFC 6184: single NAL units, STAP-A, FU-A.

use super::Parts;
use crate::codec::aggregated;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Whether it can be taken.
pub(super) fn append(payload: &[u8], parts: &mut Parts) -> bool {
    let Some((&indicator, rest)) = payload.split_first() else { return false };
    match indicator & 0x1f {
        // A unit within another one's pieces.
        1..=23 | STAP_A if parts.fragment.is_some() => false,
        1..=23 => {
            parts.add_unit(&[indicator], rest);
            true
        }
        STAP_A => parts.add_aggregate(rest),
        // `S(1) E(1) R(1) type(5)`, RFC 6184 §5.8.
        FU_A => rest.split_first().is_some_and(|(&fu, piece)| {
            parts.add_piece(fu & 0x80 != 0, fu & 0x40 != 0, &[indicator & 0xe0 | fu & 0x1f], piece)
        }),
        _ => false,
    }
}

/// Whether its first unit stands before a picture's first slice, and behind no slice (ITU-T H.264 §7.4.1.2.3).
pub(super) fn begins(payload: &[u8]) -> bool {
    let mut first = None;
    each(payload, |kind| first = first.or(Some(kind)));
    matches!(first, Some(6..=9 | 14..=18))
}

/// Whether a sequence parameter set is in it.
pub(super) fn has_sps(payload: &[u8]) -> bool {
    let mut has = false;
    each(payload, |kind| has |= kind == 7);
    has
}

/// The type of each whole unit.
fn each(payload: &[u8], mut unit: impl FnMut(u8)) {
    match payload.split_first() {
        Some((indicator, rest)) if indicator & 0x1f == STAP_A => {
            aggregated(rest, |own| own.first().into_iter().for_each(|header| unit(header & 0x1f)));
        }
        Some((header, _)) => unit(header & 0x1f),
        None => {}
    }
}
