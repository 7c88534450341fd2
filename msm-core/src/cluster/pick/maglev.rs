//! The same one for the same URL or client.

use super::super::PickKey;
use super::{Candidate, HashOn, Picker};
use crate::rng::Rng;

/// Consistent hashing by a table, as in Maglev (Eisenbud et al., NSDI 2016, §3.4): each endpoint has its own order of all entries, from its
/// address alone, and they take turns at taking the first entry of theirs that is free until each has its share. So all processes have
/// the same table, and an endpoint that joins or leaves moves little more than its share.
///
/// The table is of all members, whether they are open or not: a hash whose endpoint is closed goes on to another entry, of its
/// own, until it meets one that is open. So one that is ejected or full moves its hashes and no other, and gets the same ones back.
/// One that is new takes a part of its hashes, which only grows.
#[derive(Debug, Clone)]
pub struct Maglev {
    on: HashOn,
    size: u32,
    table: Vec<u32>,
    entries: Vec<Entry>,
    open: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    place: u64,
    weight: u32,
    share: f64,
    open: bool,
}

impl Entry {
    fn of(candidate: &Candidate) -> Self {
        Entry {
            place: candidate.place,
            weight: candidate.weight,
            share: candidate.share,
            open: candidate.is_open(),
        }
    }

    /// Whether a hash that belongs to it is among those that it takes already.
    fn takes(&self, hash: u64) -> bool {
        self.share >= 1.0 || ((mix(hash ^ self.place) >> 11) as f64 / (1_u64 << 53) as f64) < self.share
    }
}

/// Each bit of the input changes half of those of the output.
fn mix(value: u64) -> u64 {
    Rng::new(value).next_u64()
}

/// The largest table.
pub const MAX_TABLE: u32 = 5_000_011;

/// Entries that a hash is tried with before the table is gone through from the last one on.
const PROBES: u64 = 16;

/// Whether a table can have so many entries: only with a prime does each endpoint's order contain them all.
pub fn is_table_size(size: u32) -> bool {
    let mut divisors = (2_u32..).take_while(|divisor| divisor.saturating_mul(*divisor) <= size);
    (3..=MAX_TABLE).contains(&size) && divisors.all(|divisor| !size.is_multiple_of(divisor))
}

impl Maglev {
    /// With a table of `size` entries, or of 65,537 if that is none that a table can have.
    pub fn new(on: HashOn, size: u32) -> Self {
        let size = if is_table_size(size) { size } else { 65_537 };
        Maglev { on, size, table: Vec::new(), entries: Vec::new(), open: 0 }
    }

    fn slot(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.table.len() as u128) >> 64) as usize
    }

    /// The entry of a slot, if it may be picked.
    fn at(&self, slot: usize, tried: &[usize]) -> Option<(usize, &Entry)> {
        let index = *self.table.get(slot)? as usize;
        let entry = self.entries.get(index)?;
        (entry.open && !tried.contains(&index)).then_some((index, entry))
    }
}

/// How many entries each gets: its share of `size`, rounded down, and one more for those whose share was cut the most.
fn quotas(size: u32, entries: &[Entry]) -> Vec<u32> {
    let total: u64 = entries.iter().map(|entry| u64::from(entry.weight)).sum();
    if total == 0 {
        return vec![0; entries.len()];
    }
    let exact = |entry: &Entry| u64::from(size) * u64::from(entry.weight);
    let mut quotas: Vec<u32> = entries.iter().map(|entry| (exact(entry) / total) as u32).collect();
    let left = size.saturating_sub(quotas.iter().sum());
    let mut order: Vec<usize> = (0..entries.len()).collect();
    let rest = |index: usize| {
        entries.get(index).map_or((0, 0), |entry| (u64::MAX - exact(entry) % total, entry.place))
    };
    order.sort_by_key(|&index| rest(index));
    for index in order.into_iter().take(left as usize) {
        if let Some(quota) = quotas.get_mut(index) {
            *quota += 1;
        }
    }
    quotas
}

/// One endpoint's order of the entries.
struct Turn {
    index: u32,
    next: u32,
    skip: u32,
    left: u32,
}

fn fill(size: u32, entries: &[Entry]) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let mut order: Vec<(usize, &Entry)> = entries.iter().enumerate().collect();
    order.sort_by_key(|(_, entry)| entry.place);
    let quotas = quotas(size, entries);
    let mut turns: Vec<Turn> = order
        .into_iter()
        .map(|(index, entry)| Turn {
            index: index as u32,
            next: (mix(entry.place) % u64::from(size)) as u32,
            skip: (mix(!entry.place) % u64::from(size - 1)) as u32 + 1,
            left: quotas.get(index).copied().unwrap_or(0),
        })
        .filter(|turn| turn.left > 0)
        .collect();
    if turns.is_empty() {
        return Vec::new();
    }
    let mut table = vec![FREE; size as usize];
    while !turns.is_empty() {
        for turn in &mut turns {
            // The quotas are `size` in all, so there is a free one.
            for _ in 0..size {
                let at = turn.next as usize;
                // Both are below `MAX_TABLE`.
                turn.next += turn.skip;
                if turn.next >= size {
                    turn.next -= size;
                }
                if let Some(free) = table.get_mut(at).filter(|entry| **entry == FREE) {
                    *free = turn.index;
                    break;
                }
            }
            turn.left -= 1;
        }
        turns.retain(|turn| turn.left > 0);
    }
    table
}

impl Picker for Maglev {
    fn set(&mut self, candidates: &[Candidate]) {
        let entries: Vec<Entry> = candidates.iter().map(Entry::of).collect();
        let key = |entry: &Entry| (entry.place, entry.weight);
        if self.table.is_empty() || !entries.iter().map(key).eq(self.entries.iter().map(key)) {
            self.table = fill(self.size, &entries);
        }
        self.open = entries.iter().filter(|entry| entry.open).count();
        self.entries = entries;
    }

    fn update(&mut self, index: usize, candidate: &Candidate) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        let now = Entry { weight: entry.weight, ..Entry::of(candidate) };
        match (entry.open, now.open) {
            (false, true) => self.open = self.open.saturating_add(1),
            (true, false) => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        *entry = now;
    }

    fn pick(&mut self, key: PickKey, _rng: &mut Rng, tried: &[usize]) -> Option<usize> {
        let is_open = |index: &&usize| self.entries.get(**index).is_some_and(|entry| entry.open);
        if tried.iter().filter(is_open).count() >= self.open {
            return None;
        }
        let hash = self.on.of(key);
        let mut slot = 0;
        for probe in 0..PROBES {
            let point = mix(hash.wrapping_add(probe));
            slot = self.slot(point);
            if let Some((index, entry)) = self.at(slot, tried)
                && entry.takes(point)
            {
                return Some(index);
            }
        }
        // Few are open, or new: somebody has to.
        (slot..self.table.len()).chain(0..slot).find_map(|slot| self.at(slot, tried)).map(|(index, _)| index)
    }
}

#[cfg(test)]
#[path = "maglev_tests.rs"]
mod tests;
