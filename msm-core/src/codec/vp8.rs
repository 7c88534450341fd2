//! VP8 payloads, RFC 7741 §4.2: a descriptor of 1 to 6 bytes, then, at the start of a frame, the frame tag.

use super::PayloadInfo;

const EXTENDED: u8 = 0x80;
const PARTITION_START: u8 = 0x10;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    parse(payload).unwrap_or_default()
}

/// The frame's bytes.
pub(crate) fn behind_descriptor(payload: &[u8]) -> Option<&[u8]> {
    let (&first, mut rest) = payload.split_first()?;
    if first & EXTENDED != 0 {
        let (&flags, after) = rest.split_first()?;
        rest = after;
        if flags & 0x80 != 0 {
            // PictureID: 7 or, with the M bit, 15 bits.
            let (&id, _) = rest.split_first()?;
            rest = rest.get(if id & 0x80 != 0 { 2 } else { 1 }..)?;
        }
        // TL0PICIDX (L), and one byte shared by TID/Y (T) and KEYIDX (K).
        let more = usize::from(flags & 0x40 != 0) + usize::from(flags & 0x30 != 0);
        rest = rest.get(more..)?;
    }
    Some(rest)
}

fn parse(payload: &[u8]) -> Option<PayloadInfo> {
    let first = *payload.first()?;
    let rest = behind_descriptor(payload)?;
    let frame_start = first & PARTITION_START != 0 && first & 0x07 == 0;
    // The frame tag's lowest bit is 0 for a key frame (RFC 6386 §9.1), which has a start code after the 3-byte tag.
    let key = frame_start
        && rest.first().is_some_and(|tag| tag & 1 == 0)
        && rest.get(3..6).is_none_or(|code| code == [0x9d, 0x01, 0x2a]);
    Some(PayloadInfo { starts_keyframe: key, frame_start, ..PayloadInfo::default() })
}
