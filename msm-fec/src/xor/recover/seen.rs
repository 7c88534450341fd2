//! Which packets of the window were there already.

/// One bit a packet, from `window` packets behind the newest one to `window` in front of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    words: Vec<u64>,
    window: u64,
    newest: Option<u64>,
}

impl Seen {
    pub(crate) fn new(window: u64) -> Self {
        // A power of two: a packet's bit is found without a division.
        let bits = window.min(1 << 32).saturating_mul(2).saturating_add(2).next_power_of_two().max(64);
        Self { words: vec![0; usize::try_from(bits / 64).unwrap_or(0)], window, newest: None }
    }

    /// The newest source packet.
    pub(crate) const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Whether `index` is so near to the newest packet that it is known whether it came.
    pub(crate) fn near(&self, index: u64) -> bool {
        self.newest.is_some_and(|newest| index.abs_diff(newest) <= self.window)
    }

    fn bit(&self, index: u64) -> (usize, u32) {
        let at = index & (self.words.len() as u64 * 64).wrapping_sub(1);
        ((at / 64) as usize, (at % 64) as u32)
    }

    pub(crate) fn has(&self, index: u64) -> bool {
        let (word, bit) = self.bit(index);
        self.near(index) && self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Marks a packet of the window.
    pub(crate) fn mark(&mut self, index: u64) {
        let (word, bit) = self.bit(index);
        if self.near(index)
            && let Some(word) = self.words.get_mut(word)
        {
            *word |= 1 << bit;
        }
    }

    /// A source packet came. Whether it is within the window, which moves to the newest one.
    pub(crate) fn arrive(&mut self, index: u64) -> bool {
        match self.newest {
            Some(newest) if index > newest => {
                // Bits that come into the window stood for packets that have left it.
                let steps = index - newest;
                if steps > self.window {
                    self.words.fill(0);
                } else {
                    for step in 1..=steps {
                        let (word, bit) = self.bit(newest.saturating_add(self.window).saturating_add(step));
                        if let Some(word) = self.words.get_mut(word) {
                            *word &= !(1 << bit);
                        }
                    }
                }
                self.newest = Some(index);
            }
            Some(_) => {}
            None => self.newest = Some(index),
        }
        self.mark(index);
        self.near(index)
    }

    /// The index nearest to the newest packet whose low bits are `sequence`.
    pub(crate) fn place(&self, sequence: u16) -> Option<u64> {
        let newest = self.newest?;
        newest.checked_add_signed(i64::from(msm_core::seq::distance(newest as u16, sequence)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_placed_across_the_wrap() {
        let mut seen = Seen::new(64);
        assert_eq!(seen.place(3), None);
        assert!(seen.arrive(0x1_fffe));
        assert_eq!(seen.place(1), Some(0x2_0001));
        assert_eq!(seen.place(0xfff0), Some(0x1_fff0));
        let mut first = Seen::new(64);
        first.arrive(3);
        assert_eq!(first.place(0xffff), None, "before the first index that there is");
    }

    proptest! {
        #[test]
        fn it_knows_what_a_list_knows(steps in proptest::collection::vec(-90i64..140, 1..300)) {
            let mut seen = Seen::new(70);
            let mut all = std::collections::BTreeSet::new();
            let mut newest = 1_000_000_u64;
            seen.arrive(newest);
            all.insert(newest);
            for step in steps {
                let index = newest.saturating_add_signed(step);
                let near = index.abs_diff(newest) <= 70;
                newest = newest.max(index);
                let known = seen.arrive(index);
                prop_assert_eq!(known, near || index == newest);
                if known {
                    // What moves out of the window on a leap is forgotten.
                    all.insert(index);
                }
                all.retain(|index| index.abs_diff(newest) <= 70);
                for index in newest - 70..=newest + 70 {
                    prop_assert_eq!(seen.has(index), all.contains(&index), "{} of {}", index, newest);
                }
            }
        }
    }
}
