//! Recovered packets that were not polled before their memory was needed again.

use std::collections::VecDeque;

/// Copies of packets, to be polled in their order.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Index and length of each, the bytes one after the other.
    packets: VecDeque<(u64, usize)>,
    bytes: Vec<u8>,
    /// Bytes of those that have been polled.
    polled: usize,
}

impl Aside {
    /// Keeps a packet within `limit` bytes altogether. How many others it dropped for that.
    pub(super) fn keep(&mut self, index: u64, packet: &[u8], limit: usize) -> u64 {
        let mut dropped = 0;
        if self.packets.is_empty() {
            self.clear();
        } else if self.bytes.len() + packet.len() > limit {
            dropped = self.packets.len() as u64;
            self.clear();
        }
        if self.bytes.capacity() - self.bytes.len() < packet.len() {
            let most = (2 * self.bytes.capacity()).min(limit);
            self.bytes.reserve_exact(most.max(self.bytes.len() + packet.len()) - self.bytes.len());
        }
        self.bytes.extend_from_slice(packet);
        self.packets.push_back((index, packet.len()));
        dropped
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
        self.polled = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The next packet.
    pub(super) fn poll(&mut self) -> Option<(u64, &[u8])> {
        let (index, length) = self.packets.pop_front()?;
        let start = self.polled;
        self.polled += length;
        Some((index, self.bytes.get(start..self.polled).unwrap_or_default()))
    }

    /// Bytes that it keeps.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}
