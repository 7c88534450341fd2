//! Which source packets one repair packet protects.

/// The most packets that one repair packet can name: a row of 255 columns (RFC 8627 §4.2.2.2).
pub(crate) const POSITIONS: usize = 256;

const WORDS: usize = POSITIONS / 64;

/// A set of positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits([u64; WORDS]);

impl Bits {
    pub(crate) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn clear(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(crate) fn first(&self) -> Option<usize> {
        let (at, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(at * 64 + word.trailing_zeros() as usize)
    }

    fn last(&self) -> Option<usize> {
        let (at, word) = self.0.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        Some(at * 64 + 63 - word.leading_zeros() as usize)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

/// Packets `base`, `base + step`, …: those whose bit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    pub(crate) base: u64,
    step: u64,
    pub(crate) bits: Bits,
}

impl Cover {
    /// `count` packets, `step` apart.
    pub(crate) fn stride(base: u64, step: u64, count: usize) -> Self {
        let mut bits = Bits::default();
        for at in 0..count.min(POSITIONS) {
            bits.set(at);
        }
        Self { base, step: step.max(1), bits }
    }

    /// Those whose bit is set in a mask, whose most significant bit is `base` itself.
    pub(crate) fn mask(base: u64, mask: u128) -> Self {
        let mut bits = Bits::default();
        for at in 0..128 {
            if mask << at >> 127 == 1 {
                bits.set(at);
            }
        }
        Self { base, step: 1, bits }
    }

    pub(crate) fn index(&self, at: usize) -> u64 {
        self.base.saturating_add(self.step.saturating_mul(at as u64))
    }

    /// The place of `index` in it.
    pub(crate) fn position(&self, index: u64) -> Option<usize> {
        let offset = index.checked_sub(self.base)?;
        if !offset.is_multiple_of(self.step) {
            return None;
        }
        let at = usize::try_from(offset / self.step).ok().filter(|at| *at < POSITIONS)?;
        self.bits.has(at).then_some(at)
    }

    /// The last packet in it.
    pub(crate) fn end(&self) -> Option<u64> {
        Some(self.index(self.bits.last()?))
    }

    /// The first packet in it.
    pub(crate) fn start(&self) -> Option<u64> {
        Some(self.index(self.bits.first()?))
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = u64> + '_ {
        self.bits.iter().map(|at| self.index(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_begins_at_its_most_significant_bit() {
        let cover = Cover::mask(100, 0b1010_0000 << 120);
        assert_eq!(cover.indices().collect::<Vec<_>>(), [100, 102]);
        assert_eq!((cover.start(), cover.end()), (Some(100), Some(102)));
        assert_eq!(cover.position(102), Some(2));
        assert_eq!((cover.position(101), cover.position(99)), (None, None));
        assert_eq!(Cover::mask(1, 1).indices().collect::<Vec<_>>(), [128]);
        assert_eq!(Cover::mask(1, 0).end(), None);
    }

    #[test]
    fn a_column_is_every_nth_packet() {
        let cover = Cover::stride(7, 5, 3);
        assert_eq!(cover.indices().collect::<Vec<_>>(), [7, 12, 17]);
        assert_eq!(cover.position(12), Some(1));
        assert_eq!((cover.position(13), cover.position(22)), (None, None));
        assert_eq!(Cover::stride(0, 1, 255).bits.count(), 255);
        assert_eq!(Cover::stride(0, 1, 255).end(), Some(254));
        assert_eq!(Cover::stride(u64::MAX, 255, 9).end(), Some(u64::MAX), "no arithmetic breaks");
    }
}
