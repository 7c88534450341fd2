//! AV1 payloads, "RTP Payload Format For AV1" §4.4: an aggregation header `Z(1) Y(1) W(2) N(1) -(3)`, then OBU elements.

use super::PayloadInfo;

pub(crate) const CONTINUES: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_FRAME: u8 = 6;
/// A payload holds few OBUs (a temporal unit has about as many as it has layers and tiles); a garbled one could claim
/// thousands of empty elements.
const MAX_ELEMENTS: usize = 32;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    let Some(&header) = payload.first() else { return info };
    let mut picture = header & CONTINUES != 0;
    let mut continues = picture;
    elements(payload, |element| {
        // A first element that continues an OBU of the packet before has no OBU header.
        if std::mem::take(&mut continues) {
            return;
        }
        match element.first().map(|obu| (obu >> 3) & 0x0f) {
            Some(OBU_SEQUENCE_HEADER) => info.parameter_sets = true,
            Some(OBU_FRAME_HEADER..=OBU_FRAME) => {
                picture = true;
                info.frame_start = true;
            }
            _ => {}
        }
    });
    // N is set on the first packet of a coded video sequence, and never together with Z. Packetizers that leave it 0
    // still send the sequence header OBU with each keyframe (AV1 §7.5 requires it to start a sequence).
    info.starts_keyframe = header & CONTINUES == 0 && (header & NEW_SEQUENCE != 0 || info.parameter_sets);
    info.only_parameter_sets = info.parameter_sets && !picture;
    info
}

/// Walks the OBU elements of a payload; stops where a length lies, and says whether none does.
pub(crate) fn elements(payload: &[u8], mut each: impl FnMut(&[u8])) -> bool {
    let Some((&header, mut rest)) = payload.split_first() else { return false };
    let announced = usize::from((header >> 4) & 3);
    for index in 0..MAX_ELEMENTS {
        if rest.is_empty() || (announced != 0 && index == announced) {
            return announced == 0 || index == announced;
        }
        // With W ≠ 0 the last element has no length: it is the rest of the payload.
        let element = if announced != 0 && index + 1 == announced {
            std::mem::take(&mut rest)
        } else {
            let Some((length, after)) = leb128(rest) else { return false };
            let Some((element, next)) = after.split_at_checked(length) else { return false };
            rest = next;
            element
        };
        each(element);
    }
    rest.is_empty()
}

/// Reads an unsigned LEB128 number of at most 5 bytes; returns it and what follows.
pub(crate) fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    let mut rest = bytes;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, rest));
        }
    }
    None
}
