//! Packet indices: which one a sequence number means, and which were used.

use super::SrtpError;

/// The smallest window of packets that are remembered (`RFC 3711 §3.3.2`).
pub const MIN_WINDOW: u64 = 64;
/// The largest.
pub const MAX_WINDOW: u64 = 32_768;

/// Further ahead than this, numbers are about to be mistaken: the nearest one is taken for what is meant.
const FAR: u64 = 1 << 14;

/// One more than the highest index of a packet: 32 bits of rollovers and 16 of sequence number (`RFC 3711 §3.3.1`).
pub(super) const INDEX_END: u64 = 1 << 48;

/// Which of the last indices were seen.
#[derive(Debug, Clone)]
pub(super) struct Window {
    highest: Option<u64>,
    seen: Seen,
}

/// Bit `index % size` of the ring.
#[derive(Debug, Clone)]
enum Seen {
    /// Of the smallest window, which needs no memory of its own.
    Word(u64),
    Words(Box<[u64]>),
}

impl Seen {
    #[inline]
    fn words(&self) -> &[u64] {
        match self {
            Self::Word(word) => std::slice::from_ref(word),
            Self::Words(words) => words,
        }
    }

    #[inline]
    fn words_mut(&mut self) -> &mut [u64] {
        match self {
            Self::Word(word) => std::slice::from_mut(word),
            Self::Words(words) => words,
        }
    }
}

impl Window {
    /// A window of at least so many packets, rounded up to a whole number of words.
    pub(super) fn new(size: u64) -> Self {
        let words = size.clamp(MIN_WINDOW, MAX_WINDOW).div_ceil(64);
        let seen = match usize::try_from(words) {
            Ok(words) if words > 1 => Seen::Words(vec![0; words].into_boxed_slice()),
            _ => Seen::Word(0),
        };
        Self { highest: None, seen }
    }

    fn size(&self) -> u64 {
        self.seen.words().len() as u64 * 64
    }

    #[cfg(test)]
    pub(super) fn set_highest(&mut self, index: u64) {
        self.highest = Some(index);
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Goes on before `next`, which is far ahead: what came before is too old from now on.
    pub(super) fn advance(&mut self, next: u64) {
        let last = next.saturating_sub(1);
        if self.highest.is_none_or(|highest| last.saturating_sub(highest) > self.size().max(FAR)) {
            self.seen.words_mut().fill(0);
            self.highest = Some(last);
        }
    }

    /// The index that a sequence number means: the one that is nearest to the highest (`RFC 3711 §3.3.1`); with `roc`
    /// before there is one. Of two as near, the one of the same round (`RFC 3711 Appendix A`).
    #[inline]
    pub(super) fn estimate(&self, sequence: u16, roc: u32) -> u64 {
        let Some(highest) = self.highest else { return u64::from(roc) << 16 | u64::from(sequence) };
        let last = highest as u16;
        let step = match sequence.wrapping_sub(last) as i16 {
            i16::MIN if sequence > last => 0x8000,
            step => i64::from(step),
        };
        // Before the very first rollover there is nothing to go back to.
        highest.checked_add_signed(step).unwrap_or(u64::from(sequence))
    }

    /// Whether an index is new.
    #[inline]
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        let Some(highest) = self.highest else { return Ok(()) };
        if index > highest {
            return Ok(());
        }
        if highest - index >= self.size() {
            return Err(SrtpError::TooOld);
        }
        let (word, bit) = self.place(index);
        match self.seen.words().get(word) {
            Some(seen) if seen & bit == 0 => Ok(()),
            _ => Err(SrtpError::Replayed),
        }
    }

    /// Enters an index that was [checked](Self::check).
    #[inline]
    pub(super) fn enter(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => {}
            Some(highest) if index - highest < self.size() => {
                for between in highest + 1..index {
                    self.clear(between);
                }
                self.highest = Some(index);
            }
            _ => {
                self.seen.words_mut().fill(0);
                self.highest = Some(index);
            }
        }
        let (word, bit) = self.place(index);
        if let Some(seen) = self.seen.words_mut().get_mut(word) {
            *seen |= bit;
        }
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = self.place(index);
        if let Some(seen) = self.seen.words_mut().get_mut(word) {
            *seen &= !bit;
        }
    }

    #[inline]
    fn place(&self, index: u64) -> (usize, u64) {
        let place = index % self.size();
        ((place / 64) as usize, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(window: &mut Window, index: u64) -> Result<(), SrtpError> {
        window.check(index)?;
        window.enter(index);
        Ok(())
    }

    #[test]
    fn each_index_is_taken_once_while_it_is_in_the_window() {
        let mut window = Window::new(128);
        for index in [1000, 1001, 1005, 1004, 1127, 1002, 1000 + 500, 1500 - 127] {
            assert_eq!(take(&mut window, index), Ok(()), "{index}");
            assert_eq!(take(&mut window, index), Err(SrtpError::Replayed), "{index}");
        }
        assert_eq!(take(&mut window, 1500 - 128), Err(SrtpError::TooOld));
        assert_eq!(take(&mut window, 1499), Ok(()));
    }

    #[test]
    fn a_model_with_a_set_agrees() {
        let mut random = 12345u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let (mut window, mut seen, mut highest) =
            (Window::new(64), std::collections::BTreeSet::new(), 70_000);
        take(&mut window, highest).unwrap();
        seen.insert(highest);
        for _ in 0..20_000 {
            let index = (highest + next(40)).saturating_sub(next(120));
            let wanted = if index + 64 <= highest {
                Err(SrtpError::TooOld)
            } else if seen.contains(&index) {
                Err(SrtpError::Replayed)
            } else {
                Ok(())
            };
            assert_eq!(take(&mut window, index), wanted, "{index} with {highest}");
            seen.insert(index);
            highest = highest.max(index);
        }
    }

    #[test]
    fn sequence_numbers_mean_the_nearest_index() {
        let mut window = Window::new(64);
        assert_eq!(window.estimate(7, 3), 3 << 16 | 7);
        window.enter(3 << 16 | 65_530);
        assert_eq!(window.estimate(65_529, 0), 3 << 16 | 65_529);
        assert_eq!(window.estimate(2, 0), 4 << 16 | 2);
        window.enter(4 << 16 | 2);
        assert_eq!(window.estimate(65_535, 0), 3 << 16 | 65_535);
        let mut first = Window::new(64);
        first.enter(2);
        assert_eq!(first.estimate(65_535, 0), 65_535);
    }
}
