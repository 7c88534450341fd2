//! Recent packets, by index.

use crate::sources::Sources;
use std::collections::VecDeque;

/// How much a [`Store`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of packets.
    pub bytes: usize,
    /// Packets, and how far apart their indices may be.
    pub packets: usize,
}

impl Default for StoreLimits {
    /// 1 MiB, 1024 packets: what a second of 8 Mbit/s is.
    fn default() -> Self {
        Self { bytes: 1 << 20, packets: 1024 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u64,
    at: usize,
    len: usize,
}

/// The latest packets of one stream, in memory that is taken once: when it is full, the oldest give way.
///
/// One store serves any number of decoders.
#[derive(Clone, Debug)]
pub struct Store {
    bytes: Vec<u8>,
    /// By index modulo their number.
    slots: Vec<Option<Entry>>,
    /// In the order of their coming, which is their order in `bytes`.
    order: VecDeque<Entry>,
    end: usize,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        let packets = limits.packets.max(1);
        Self {
            bytes: vec![0; limits.bytes],
            slots: vec![None; packets],
            order: VecDeque::with_capacity(packets),
            end: 0,
        }
    }

    fn slot(&self, index: u64) -> usize {
        (index % (self.slots.len() as u64).max(1)) as usize
    }

    /// Keeps a packet. Whether it does: not one longer than the whole store, one that is kept already, or one that is older than
    /// what took its place.
    pub fn insert(&mut self, index: u64, packet: &[u8]) -> bool {
        let slot = self.slot(index);
        let newer = self.slots.get(slot).copied().flatten().is_none_or(|entry| entry.index < index);
        if !newer || packet.is_empty() || packet.len() > self.bytes.len() {
            return false;
        }
        if packet.len() > self.bytes.len() - self.end {
            // The rest of the memory stays empty this time around.
            while self.order.front().is_some_and(|entry| entry.at >= self.end) {
                self.forget_oldest();
            }
            self.end = 0;
        }
        let range = self.end..self.end + packet.len();
        while self
            .order
            .front()
            .is_some_and(|entry| entry.at < range.end && range.start < entry.at + entry.len)
            || self.order.len() >= self.slots.len()
        {
            self.forget_oldest();
        }
        let Some(place) = self.bytes.get_mut(range.clone()) else { return false };
        place.copy_from_slice(packet);
        let entry = Entry { index, at: range.start, len: packet.len() };
        self.order.push_back(entry);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Some(entry);
        }
        self.end = range.end;
        true
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        let slot = self.slot(oldest.index);
        if let Some(slot) = self.slots.get_mut(slot)
            && slot.is_some_and(|entry| entry.index == oldest.index)
        {
            *slot = None;
        }
    }

    /// Forgets all packets, and keeps the memory.
    pub fn clear(&mut self) {
        self.slots.fill(None);
        self.order.clear();
        self.end = 0;
    }
}

impl Sources for Store {
    fn get(&self, index: u64) -> Option<&[u8]> {
        let entry =
            self.slots.get(self.slot(index)).copied().flatten().filter(|entry| entry.index == index)?;
        self.bytes.get(entry.at..entry.at + entry.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_give_way_to_the_limit_of_bytes() {
        let mut store = Store::new(StoreLimits { bytes: 100, packets: 50 });
        for index in 0..10 {
            assert!(store.insert(index, &[index as u8; 30]));
        }
        let kept: Vec<u64> = (0..10).filter(|index| store.get(*index).is_some()).collect();
        assert_eq!(kept, [7, 8, 9]);
        assert_eq!(store.get(8), Some(&[8; 30][..]));
        assert!(!store.insert(10, &[0; 101]), "more than there is");
        assert_eq!(store.get(9), Some(&[9; 30][..]), "and it costs nothing");
        store.clear();
        assert_eq!(store.get(9), None);
    }

    #[test]
    fn the_oldest_give_way_to_the_limit_of_packets() {
        let mut store = Store::new(StoreLimits { bytes: 1000, packets: 4 });
        for index in 10..20 {
            assert!(store.insert(index, &[1]));
        }
        assert!(store.get(15).is_none() && store.get(16).is_some());
        assert!(!store.insert(15, &[2]), "an old one takes no new one's place");
        assert!(!store.insert(19, &[2]), "nor does a copy");
        assert_eq!(store.get(19), Some(&[1][..]));
    }

    proptest! {
        #[test]
        fn what_it_gives_is_what_it_got(inserts in proptest::collection::vec((0u64..60, 1usize..40), 1..200)) {
            let mut store = Store::new(StoreLimits { bytes: 256, packets: 16 });
            let mut truth = std::collections::BTreeMap::new();
            for (at, (index, len)) in inserts.into_iter().enumerate() {
                let packet = vec![at as u8; len];
                if store.insert(index, &packet) {
                    truth.insert(index, packet);
                    prop_assert!(store.get(index).is_some());
                }
                let mut bytes = 0;
                for index in 0..60 {
                    if let Some(found) = store.get(index) {
                        prop_assert_eq!(Some(found), truth.get(&index).map(Vec::as_slice));
                        bytes += found.len();
                    }
                }
                prop_assert!(bytes <= 256);
                prop_assert!(store.order.len() <= 16);
            }
        }
    }
}
