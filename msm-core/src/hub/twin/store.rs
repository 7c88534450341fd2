//! The second source's packets, for as long as there is room.

use super::KEPT_BYTES;

/// A ring of bytes, which grows to its limit. Places count on for ever.
#[derive(Debug, Default)]
pub(super) struct Store {
    bytes: Vec<u8>,
    end: u64,
}

impl Store {
    /// Keeps a packet, and says where; older ones make way.
    pub(super) fn push(&mut self, packet: &[u8]) -> u64 {
        let room = KEPT_BYTES as u64;
        let mut at = (self.end % room) as usize;
        if at.saturating_add(packet.len()) > KEPT_BYTES {
            self.end = self.end.saturating_add(room - at as u64);
            at = 0;
        }
        let needed = at.saturating_add(packet.len());
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        if let Some(slot) = self.bytes.get_mut(at..needed) {
            slot.copy_from_slice(packet);
        }
        let place = self.end;
        self.end = self.end.saturating_add(packet.len() as u64);
        place
    }

    /// The packet at `place`, if nothing has been written over it.
    pub(super) fn get(&self, place: u64, len: u16) -> Option<&[u8]> {
        let room = KEPT_BYTES as u64;
        if self.end.saturating_sub(place) > room {
            return None;
        }
        let at = (place % room) as usize;
        self.bytes.get(at..at.checked_add(len.into())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_kept_until_others_need_their_room() {
        let mut store = Store::default();
        let packet = |number: u32| {
            let mut packet = vec![number as u8; 700 + number as usize % 700];
            packet[..4].copy_from_slice(&number.to_be_bytes());
            packet
        };
        let mut places = Vec::new();
        for number in 0..10_000 {
            places.push(store.push(&packet(number)));
        }
        assert!(store.bytes.len() <= KEPT_BYTES);
        let mut kept = 0;
        for (number, place) in (0..).zip(&places) {
            let own = packet(number);
            if let Some(found) = store.get(*place, own.len() as u16) {
                assert_eq!(found, own, "packet {number}");
                kept += own.len();
            }
        }
        assert!(kept > KEPT_BYTES - 4_000 && kept <= KEPT_BYTES, "{kept} bytes are kept");
    }
}
