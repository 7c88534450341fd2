//! VP8, RFC 7741, and VP9, RFC 9628: what stands behind the descriptor.

use super::Parts;
use crate::codec::{vp8, vp9};

/// Whether it can be taken.
pub(super) fn append_vp8(payload: &[u8], parts: &mut Parts) -> bool {
    append(vp8::behind_descriptor(payload), parts)
}

/// Whether it can be taken.
pub(super) fn append_vp9(payload: &[u8], parts: &mut Parts) -> bool {
    append(vp9::behind_descriptor(payload), parts)
}

fn append(data: Option<&[u8]>, parts: &mut Parts) -> bool {
    let Some(data) = data.filter(|data| !data.is_empty()) else { return false };
    parts.data.extend_from_slice(data);
    true
}
