//! Which packets there have been.

/// A bit for each of the last indices.
#[derive(Debug)]
pub(super) struct Seen {
    words: Box<[u64]>,
    /// One past the newest.
    end: u64,
}

impl Seen {
    /// Of `window` indices at least.
    pub(super) fn new(window: usize) -> Self {
        Self { words: vec![0; window.div_ceil(64).next_power_of_two()].into(), end: 0 }
    }

    /// The bits that there are.
    const fn room(&self) -> u64 {
        self.words.len() as u64 * 64
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

    fn word(&self, index: u64) -> Option<u64> {
        self.words.get((index / 64) as usize & (self.words.len() - 1)).copied()
    }

    /// Marks `index`; whether it is new.
    pub(super) fn insert(&mut self, index: u64) -> bool {
        if self.contains(index) {
            return false;
        }
        if index >= self.end {
            self.forget_until(index);
            self.end = index.saturating_add(1);
        }
        let place = (index / 64) as usize & (self.words.len() - 1);
        if let Some(word) = self.words.get_mut(place) {
            *word |= 1 << (index % 64);
        }
        true
    }

    /// Clears the bits that stand for other indices from the end until `index`, included.
    fn forget_until(&mut self, index: u64) {
        if index - self.end >= self.room() {
            self.words.fill(0);
            return;
        }
        let mut at = self.end;
        while at <= index {
            let place = (at / 64) as usize & (self.words.len() - 1);
            let bits = (64 - at % 64).min(index + 1 - at);
            let mask = (u64::MAX >> (64 - bits)) << (at % 64);
            if let Some(word) = self.words.get_mut(place) {
                *word &= !mask;
            }
            at += bits;
        }
    }
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
        let (mut newest, room) = (0, 512);
        for _ in 0..20_000 {
            let jump = if rng.range(0..200) == 0 { 2000 } else { 40 };
            let index = (newest + rng.range(0..jump)).saturating_sub(20 * rng.range(0..2) * rng.range(0..40));
            let old = newest + 1 > index + room && !set.is_empty();
            assert_eq!(seen.contains(index), old || set.contains(&index), "{index} of {newest}");
            assert_eq!(seen.insert(index), !old && set.insert(index));
            newest = newest.max(index);
            assert_eq!(seen.end(), newest + 1);
        }
    }
}
