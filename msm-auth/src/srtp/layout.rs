//! Where the parts of a packet are.

use super::SrtpError;

/// Length of an RTP packet's header with CSRCs and extension: what stays readable (`RFC 3711 §3.1`).
#[inline]
pub(super) fn rtp_header(packet: &[u8]) -> Result<usize, SrtpError> {
    let first = *packet.first().ok_or(SrtpError::TooShort)?;
    if first >> 6 != 2 {
        return Err(SrtpError::NotRtp);
    }
    let fixed = 12 + 4 * usize::from(first & 0x0f);
    let length = if first & 0x10 == 0 {
        fixed
    } else {
        let words = packet.get(fixed + 2..fixed + 4).ok_or(SrtpError::TooShort)?;
        let [high, low] = words else { return Err(SrtpError::TooShort) };
        fixed + 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]))
    };
    if length > packet.len() { Err(SrtpError::TooShort) } else { Ok(length) }
}

/// Bytes of an RTCP packet that stay readable: header and SSRC of its first packet (`RFC 3711 §3.4`).
pub(super) const RTCP_HEADER: usize = 8;

/// The word behind an SRTCP packet: E flag and index.
pub(super) const RTCP_INDEX: usize = 4;

/// A big-endian word of a packet.
#[inline]
pub(super) fn word(packet: &[u8], at: usize) -> Result<u32, SrtpError> {
    match packet.get(at..at + 4) {
        Some([a, b, c, d]) => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(SrtpError::TooShort),
    }
}

/// The sequence number and source of an RTP packet.
#[inline]
pub(super) fn rtp_numbers(packet: &[u8]) -> Result<(u16, u32), SrtpError> {
    Ok(((word(packet, 0)? & 0xffff) as u16, word(packet, 8)?))
}
