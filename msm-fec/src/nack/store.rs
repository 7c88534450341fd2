//! The packets of the last while, for those who keep them nowhere else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes of one piece; a longer packet is not kept.
const CHUNK: usize = 32 << 10;

/// Where a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    chunk: u64,
    at: u32,
    len: u32,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// When the last packet was put in.
    last: Instant,
}

/// Packets of a given time, within a limit of bytes. It takes as much memory as the busiest such time needed, in pieces of 32 KiB that
/// are used again in turn.
#[derive(Debug)]
pub struct Store {
    limit: usize,
    age: Duration,
    chunks: VecDeque<Chunk>,
    /// Serial number of the oldest piece.
    first: u64,
}

impl Store {
    /// One for packets that are asked for `age` after they were sent at the latest, and of `bytes` at most.
    #[must_use]
    pub const fn new(bytes: usize, age: Duration) -> Self {
        Self { limit: bytes, age, chunks: VecDeque::new(), first: 0 }
    }

    /// Copies a packet in; `None` if it is too long.
    #[inline]
    pub fn push(&mut self, now: Instant, packet: &[u8]) -> Option<Kept> {
        let room = self.chunks.back().map_or(0, |chunk| CHUNK.saturating_sub(chunk.bytes.len()));
        if packet.len() > room {
            if packet.len() > CHUNK {
                return None;
            }
            self.next_chunk(now);
        }
        let serial = self.first + (self.chunks.len() as u64).saturating_sub(1);
        let chunk = self.chunks.back_mut()?;
        let at = chunk.bytes.len() as u32;
        chunk.bytes.extend_from_slice(packet);
        chunk.last = now;
        Some(Kept { chunk: serial, at, len: packet.len() as u32 })
    }

    /// The next piece: the oldest, where what is in it is too old, or there may be no more; otherwise a new one.
    fn next_chunk(&mut self, now: Instant) {
        let full = (self.chunks.len() + 1) * CHUNK > self.limit.max(CHUNK);
        let is_old = |chunk: &Chunk| now.saturating_duration_since(chunk.last) > self.age;
        let again = self.chunks.front().is_some_and(|chunk| full || is_old(chunk));
        if let Some(mut oldest) = again.then(|| self.chunks.pop_front()).flatten() {
            self.first += 1;
            oldest.bytes.clear();
            oldest.last = now;
            self.chunks.push_back(oldest);
        } else {
            self.chunks.push_back(Chunk { bytes: Vec::with_capacity(CHUNK), last: now });
        }
    }

    /// The packet, unless its piece is used again.
    #[must_use]
    pub fn get(&self, kept: Kept) -> Option<&[u8]> {
        let chunk = self.chunks.get(usize::try_from(kept.chunk.checked_sub(self.first)?).ok()?)?;
        let start = kept.at as usize;
        chunk.bytes.get(start..start.checked_add(kept.len as usize)?)
    }

    /// Bytes of memory that it has taken.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{epoch, ms};
    use super::*;

    #[test]
    fn packets_are_there_for_their_time_and_memory_is_used_again() {
        let mut store = Store::new(1 << 20, ms(100));
        let mut kept = VecDeque::new();
        for number in 0..5000_u64 {
            let now = epoch() + ms(number);
            let packet = vec![number as u8; 1000 + (number % 200) as usize];
            kept.push_back((number, store.push(now, &packet).unwrap(), packet));
            for (then, place, packet) in &kept {
                let found = store.get(*place);
                assert!(found.is_none() || found == Some(packet), "another one's bytes");
                assert!(found.is_some() || number - then > 100, "{then} was gone at {number}");
            }
            if kept.len() > 300 {
                kept.pop_front();
            }
        }
        // 100 ms of 1100 bytes each are 110 KB.
        assert!(store.capacity() <= 6 * CHUNK, "{}", store.capacity());
    }

    #[test]
    fn the_limit_holds_whatever_comes() {
        let mut store = Store::new(100_000, Duration::MAX);
        let first = store.push(epoch(), &[1; 1000]).unwrap();
        for _ in 0..1000 {
            store.push(epoch(), &[2; 1400]).unwrap();
            assert!(store.capacity() <= 100_000);
        }
        assert_eq!(store.get(first), None);
        assert_eq!(store.push(epoch(), &[0; CHUNK + 1]), None);
        // A limit below one piece is one piece.
        let mut small = Store::new(0, ms(1));
        let place = small.push(epoch(), &[3; 1400]).unwrap();
        assert_eq!(small.get(place), Some(&[3; 1400][..]));
        assert_eq!(small.get(Kept { chunk: u64::MAX, at: u32::MAX, len: u32::MAX }), None);
    }
}
