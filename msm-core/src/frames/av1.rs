//! AV1, "RTP Payload Format For AV1" §4.4: OBU elements, which may go on in the next packet, to OBUs with sizes (AV1 §5.2).

use super::Parts;
use crate::codec::av1::{CONTINUES, elements};

/// The last element goes on in the next packet.
const GOES_ON: u8 = 0x40;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
/// A temporal delimiter, which begins a temporal unit (AV1 §7.5) and is not sent.
const DELIMITER: [u8; 2] = [0x12, 0];

/// Whether it can be taken.
pub(super) fn append(payload: &[u8], parts: &mut Parts) -> bool {
    let Some(&header) = payload.first() else { return false };
    let continues = header & CONTINUES != 0;
    if continues != parts.fragment.is_some() {
        return false;
    }
    if parts.data.is_empty() {
        parts.data.extend_from_slice(&DELIMITER);
    }
    let mut begun = parts.fragment.take();
    let mut last: Option<Vec<u8>> = None;
    let mut taken = true;
    let is_whole = elements(payload, |element| {
        // The one before was not the last.
        if let Some(before) = last.take() {
            taken &= add(&before, &mut parts.data);
        }
        let mut own = begun.take().unwrap_or_default();
        own.extend_from_slice(element);
        last = Some(own);
    });
    let Some(last) = last.filter(|_| is_whole && taken) else { return false };
    if header & GOES_ON != 0 {
        parts.fragment = Some(last);
        return true;
    }
    add(&last, &mut parts.data)
}

/// An OBU, with its size. Whether it is one.
fn add(obu: &[u8], data: &mut Vec<u8>) -> bool {
    let Some((&header, mut rest)) = obu.split_first() else { return true };
    if matches!(header >> 3 & 0x0f, TEMPORAL_DELIMITER | TILE_LIST) {
        return true;
    }
    data.push(header | HAS_SIZE);
    if header & HAS_EXTENSION != 0 {
        let Some((&extension, after)) = rest.split_first() else { return false };
        data.push(extension);
        rest = after;
    }
    if header & HAS_SIZE != 0 {
        // It has one already, which has to be that of the rest.
        let Some((size, after)) = crate::codec::av1::leb128(rest) else { return false };
        if size != after.len() {
            return false;
        }
        rest = after;
    }
    let mut size = rest.len();
    while size >= 0x80 {
        data.push(size as u8 | 0x80);
        size >>= 7;
    }
    data.push(size as u8);
    data.extend_from_slice(rest);
    true
}
