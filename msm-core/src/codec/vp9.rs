//! VP9 payloads, RFC 9628 §4.2: a descriptor `I P L F B E V Z` with optional fields, then, at the start of a frame, the
//! uncompressed header.

use super::PayloadInfo;

const PICTURE_ID: u8 = 0x80;
const INTER: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const STRUCTURE: u8 = 0x02;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    parse(payload).unwrap_or_default()
}

/// The frame's bytes.
pub(crate) fn behind_descriptor(payload: &[u8]) -> Option<&[u8]> {
    descriptor(payload).map(|(_, _, rest)| rest)
}

/// The flags, the spatial layer, and what stands behind the descriptor.
fn descriptor(payload: &[u8]) -> Option<(u8, u8, &[u8])> {
    let mut rest = payload;
    let flags = take(&mut rest)?;
    if flags & PICTURE_ID != 0 && take(&mut rest)? & 0x80 != 0 {
        take(&mut rest)?;
    }
    let mut spatial_layer = 0;
    if flags & LAYERS != 0 {
        spatial_layer = (take(&mut rest)? >> 1) & 0x07;
        if flags & FLEXIBLE == 0 {
            take(&mut rest)?; // TL0PICIDX
        }
    }
    if flags & FLEXIBLE != 0 && flags & INTER != 0 {
        // Up to three P_DIFF, each saying whether another follows.
        for _ in 0..3 {
            if take(&mut rest)? & 1 == 0 {
                break;
            }
        }
    }
    if flags & STRUCTURE != 0 {
        skip_structure(&mut rest)?;
    }
    Some((flags, spatial_layer, rest))
}

fn parse(payload: &[u8]) -> Option<PayloadInfo> {
    let (flags, spatial_layer, rest) = descriptor(payload)?;
    let frame_start = flags & BEGIN != 0 && spatial_layer == 0;
    let key = frame_start && flags & INTER == 0 && rest.first().is_none_or(|&header| is_key(header));
    Some(PayloadInfo { starts_keyframe: key, frame_start, ..PayloadInfo::default() })
}

/// The scalability structure, RFC 9628 §4.2.1: sizes of the spatial layers (Y), then the picture group (G).
fn skip_structure(rest: &mut &[u8]) -> Option<()> {
    let head = take(rest)?;
    if head & 0x10 != 0 {
        *rest = rest.get(4 * (usize::from(head >> 5) + 1)..)?;
    }
    if head & 0x08 != 0 {
        for _ in 0..take(rest)? {
            let references = usize::from((take(rest)? >> 2) & 3);
            *rest = rest.get(references..)?;
        }
    }
    Some(())
}

/// `frame_marker(2)=2, profile_low, profile_high, [reserved if profile 3], show_existing_frame, frame_type`: an
/// intra-only frame is not inter-predicted either, but only `frame_type` 0 resets the decoder.
fn is_key(header: u8) -> bool {
    let after_profile = if header & 0x30 == 0x30 { header << 5 } else { header << 4 };
    header >> 6 == 2 && after_profile & 0xc0 == 0
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}
