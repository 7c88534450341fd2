//! Packets by their numbers.

use super::{Cache, Entry};
use crate::seq;

/// How far from its place in the order of numbers a packet is looked for: packets that overtook each other.
const OUT_OF_ORDER: usize = 32;

/// Packets that are looked at, from the newest back: what 16-bit numbers can tell apart, with room.
const FAR: usize = 30_000;

impl Cache {
    /// The position of the packet with `sequence` in the track's line. What was never there, or is gone, is not found.
    pub(in super::super) fn find(&self, sequence: u16) -> Option<u64> {
        let newest = self.entries.last()?.facts.sequence;
        let from = self.entries.len().saturating_sub(FAR);
        let recent = self.entries.get(from..)?;
        let is = |entry: &Entry| entry.facts.sequence == sequence;
        // Where it is if no number is missing.
        let behind = usize::from(newest.wrapping_sub(sequence));
        let guess = recent.len().checked_sub(1 + behind).filter(|place| recent.get(*place).is_some_and(is));
        let place = match guess {
            Some(place) => place,
            None => {
                let near = recent.partition_point(|entry| seq::distance(sequence, entry.facts.sequence) < 0);
                let start = near.saturating_sub(OUT_OF_ORDER);
                start + recent.iter().skip(start).take(2 * OUT_OF_ORDER).position(is)?
            }
        };
        Some(self.first + (from + place) as u64)
    }

    /// The packet at `position`, as it is kept: the first 12 bytes may be those of some reader.
    pub(in super::super) fn packet(&self, position: u64) -> Option<(&Entry, &[u8])> {
        let entry = self.entry(position)?;
        let start = entry.offset.wrapping_sub(self.base) as usize;
        Some((entry, self.arena.get(start..start.checked_add(usize::from(entry.len))?)?))
    }

    /// The same, to be patched.
    pub(in super::super) fn packet_mut(&mut self, position: u64) -> Option<(Entry, &mut [u8])> {
        let entry = *self.entry(position)?;
        let start = entry.offset.wrapping_sub(self.base) as usize;
        Some((entry, self.arena.get_mut(start..start.checked_add(usize::from(entry.len))?)?))
    }
}
