//! Which packets there have been.

/// A bit for each of the last indices. Those of a word are cleared when its first index comes, so that the word's old ones, at most 64,
/// are not known any more.
#[derive(Debug)]
pub(super) struct Seen {
    words: Box<[u64]>,
    /// One past the newest.
    end: u64,
}

impl Seen {
    /// Of `window` indices at least.
    pub(super) fn new(window: usize) -> Self {
        Self { words: vec![0; (window.div_ceil(64) + 1).next_power_of_two()].into(), end: 0 }
    }

    /// How far back it knows.
    const fn room(&self) -> u64 {
        (self.words.len() as u64 - 1) * 64
    }

    /// One past the newest.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Whether `index` has been seen, or is too old for that to be known.
    pub(super) fn contains(&self, index: u64) -> bool {
        if index >= self.end {
            return false;
        }
        self.end - index > self.room() || self.word(index).is_none_or(|word| word >> (index % 64) & 1 != 0)
    }

    /// Calls `each` with the position of every index that has not been seen, of `count` that are `step` apart.
    #[inline]
    pub(super) fn unseen(&self, first: u64, step: u8, count: u8, mut each: impl FnMut(u8)) {
        let mut start = 0;
        while start < count {
            let length = (count - start).min(64);
            let index = first + u64::from(start) * u64::from(step);
            let mut bits = if step == 1 {
                !self.run(index)
            } else {
                (0..length).fold(0, |bits, at| {
                    bits | u64::from(!self.contains(index + u64::from(at) * u64::from(step))) << at
                })
            };
            bits &= u64::MAX >> (64 - length);
            while bits != 0 {
                each(start + bits.trailing_zeros() as u8);
                bits &= bits - 1;
            }
            start += length;
        }
    }

    /// A bit for each of 64 indices from `first` on, that [`contains`](Self::contains) has.
    fn run(&self, first: u64) -> u64 {
        let shift = first % 64;
        let low = self.word(first).map_or(0, |word| word >> shift);
        let high = if shift == 0 { 0 } else { self.word(first + 64).map_or(0, |word| word << (64 - shift)) };
        let known = low_bits(self.end.saturating_sub(first));
        let old = low_bits(self.end.saturating_sub(self.room()).saturating_sub(first));
        (low | high) & known | old
    }

    fn word(&self, index: u64) -> Option<u64> {
        self.words.get((index / 64) as usize & (self.words.len() - 1)).copied()
    }

    fn word_mut(&mut self, index: u64) -> Option<&mut u64> {
        let place = (index / 64) as usize & (self.words.len() - 1);
        self.words.get_mut(place)
    }

    /// Marks `index`; whether it is new.
    #[inline]
    pub(super) fn insert(&mut self, index: u64) -> bool {
        if index >= self.end {
            if index != self.end {
                self.skip(index);
            }
            self.end = index.saturating_add(1);
            if let Some(word) = self.word_mut(index) {
                *word = if index.is_multiple_of(64) { 1 } else { *word | 1 << (index % 64) };
            }
            return true;
        }
        let new = !self.contains(index);
        if let Some(word) = self.word_mut(index).filter(|_| new) {
            *word |= 1 << (index % 64);
        }
        new
    }

    /// Clears the words from that of the end, if it begins there, to that of `index`.
    fn skip(&mut self, index: u64) {
        let (first, last) = (self.end.div_ceil(64), index / 64);
        if last.saturating_sub(first) >= self.words.len() as u64 {
            self.words.fill(0);
            return;
        }
        for word in first..=last {
            let place = word as usize & (self.words.len() - 1);
            if let Some(word) = self.words.get_mut(place) {
                *word = 0;
            }
        }
    }
}

/// So many bits, or all.
const fn low_bits(count: u64) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use msm_core::rng::Rng;

    use super::*;

    #[test]
    fn it_knows_what_a_set_knows() {
        let mut rng = Rng::new(9);
        let (mut seen, mut set) = (Seen::new(300), BTreeSet::new());
        let (mut newest, room) = (0, 448);
        for _ in 0..20_000 {
            let jump = if rng.range(0..200) == 0 { 2000 } else { 40 };
            let index = (newest + rng.range(0..jump)).saturating_sub(20 * rng.range(0..2) * rng.range(0..40));
            let old = newest + 1 > index + room && !set.is_empty();
            assert_eq!(seen.contains(index), old || set.contains(&index), "{index} of {newest}");
            assert_eq!(seen.insert(index), !old && set.insert(index));
            newest = newest.max(index);
            assert_eq!(seen.end(), newest + 1);

            let first = (newest + 70).saturating_sub(rng.range(0..700));
            let (step, count) = (rng.range(1..4) as u8, rng.range(0..255) as u8);
            let mut unseen = Vec::new();
            seen.unseen(first, step, count, |position| unseen.push(position));
            let indices = (0..count).filter(|at| !seen.contains(first + u64::from(*at) * u64::from(step)));
            assert_eq!(unseen, indices.collect::<Vec<_>>());
        }
    }
}
