//! Source packets for a decoder, where nobody else keeps them.

pub use crate::sources::Sources;

/// Recent source packets, copied once each: the last ones, as many as its memory holds.
#[derive(Debug)]
pub struct Ring {
    bytes: Box<[u8]>,
    slots: Box<[Slot]>,
    /// Bytes that were ever written, gaps at the end of the memory included.
    written: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    index: u64,
    /// What had been written before it.
    start: u64,
    length: usize,
}

impl Ring {
    /// Room for `packets` (the next power of two), in `bytes` altogether.
    #[must_use]
    pub fn new(packets: usize, bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes].into(),
            slots: vec![Slot::default(); packets.next_power_of_two()].into(),
            written: 0,
        }
    }

    /// Keeps a copy of `packet`, over the oldest. False, and nothing kept, if it is larger than the memory.
    pub fn insert(&mut self, index: u64, packet: &[u8]) -> bool {
        let room = self.bytes.len() as u64;
        let length = packet.len() as u64;
        if length > room || length == 0 {
            return false;
        }
        let at = self.written % room;
        // A packet is in one piece.
        let start = if at + length > room { self.written + (room - at) } else { self.written };
        let at = (start % room) as usize;
        let slot = index as usize & (self.slots.len() - 1);
        let (Some(place), Some(slot)) = (self.bytes.get_mut(at..at + packet.len()), self.slots.get_mut(slot))
        else {
            return false;
        };
        place.copy_from_slice(packet);
        *slot = Slot { index, start, length: packet.len() };
        self.written = start + length;
        true
    }
}

impl Sources for Ring {
    fn get(&self, index: u64) -> Option<&[u8]> {
        let slot = self.slots.get(index as usize & (self.slots.len() - 1))?;
        let room = self.bytes.len() as u64;
        if slot.index != index || slot.length == 0 || self.written - slot.start > room {
            return None;
        }
        let at = (slot.start % room) as usize;
        self.bytes.get(at..at + slot.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_packets_are_found_and_no_others() {
        let mut ring = Ring::new(8, 1000);
        assert_eq!(ring.get(0), None);
        for index in 0..100_u64 {
            let length = 1 + (index as usize * 37) % 200;
            assert!(ring.insert(index, &vec![index as u8; length]));
            let mut bytes = 0;
            for back in 0..=index.min(20) {
                let found = ring.get(index - back);
                let expected = 1 + ((index - back) as usize * 37) % 200;
                bytes += expected;
                // A gap of at most a packet is left where the memory begins again.
                assert!(found.is_some() || back >= 8 || bytes > 800, "{back} back from {index}");
                if let Some(found) = found {
                    assert!(back < 8 && bytes <= 1000);
                    assert_eq!(found, vec![(index - back) as u8; expected]);
                }
            }
        }
        assert!(!ring.insert(100, &[0; 1001]) && ring.get(100).is_none());
        assert!(ring.insert(100, &[7; 1000]) && ring.get(99).is_none());
        assert_eq!(ring.get(100), Some(&[7; 1000][..]));
        assert!(!Ring::new(0, 0).insert(0, &[1]));
    }
}
