//! Packets that are too large for the hop: two of the hop's packets carry one.

use super::trailer::Trailer;
use crate::rtp::Header;

/// Bytes of the second part's header: the fixed one alone (`RFC 3550 §5.1`).
pub const SECOND_HEADER: usize = 12;

/// How a packet is cut so that neither part is longer than `room` bytes with its trailer.
///
/// Yields the bytes of the packet that go into the first part; the rest goes into the second behind
/// [`SECOND_HEADER`] bytes of header. `None` if two parts do not suffice: the header alone has no room, or the packet is
/// more than twice as long as the way takes.
pub fn cut(header: &Header, packet_len: usize, room: usize) -> Option<usize> {
    let room = room.checked_sub(Trailer::MAX_BYTES)?;
    let header_len = header.payload_range().start;
    let payload = packet_len.checked_sub(header_len)?;
    // Both halves alike: neither is the one that is lost more often, and both fit one GSO size class.
    let first = header_len.checked_add(payload.div_ceil(2))?.min(room);
    let second = packet_len.checked_sub(first)?.checked_add(SECOND_HEADER)?;
    (first >= header_len && second <= room).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(packet: &[u8]) -> Header {
        Header::parse(packet).unwrap()
    }

    #[test]
    fn both_parts_fit_and_nothing_is_left_out() {
        let packet = [&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 1460]].concat();
        let header = header(&packet);
        let room = 1400 - 17;
        let first = cut(&header, packet.len(), room).unwrap();
        assert!(first + Trailer::MAX_BYTES <= room);
        assert!(packet.len() - first + SECOND_HEADER + Trailer::MAX_BYTES <= room);
        assert_eq!(cut(&header, packet.len(), 700), None);
        assert_eq!(cut(&header, packet.len(), 3), None);
    }
}
