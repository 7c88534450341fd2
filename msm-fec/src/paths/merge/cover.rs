//! Packets that one path brought and another lost.

use std::ops::Range;

use super::Merge;

impl Merge {
    /// `path` goes on behind `passed`, of which it brought nothing.
    #[cold]
    pub(super) fn pass_over(&mut self, path: usize, passed: Range<u64>) {
        let start = passed.start.max((self.next + 64).saturating_sub(self.config.window));
        for index in start..passed.end {
            let covered = self.brought(index, path) && !self.missed(index, path);
            self.covered += u64::from(covered);
        }
    }

    /// `path` brings first what another one may have passed over.
    #[cold]
    pub(super) fn cover(&mut self, path: usize, index: u64) {
        self.covered += u64::from(self.missed(index, path));
    }

    /// `path` brings after all what it had passed over, and another one had brought.
    #[cold]
    pub(super) fn uncover(&mut self, path: usize, index: u64) {
        if !self.missed(index, path) {
            self.covered = self.covered.saturating_sub(1);
        }
    }

    fn word(&self, index: u64) -> Option<&[u64; super::MAX_PATHS]> {
        self.seen.get((index >> 6) as usize & (self.seen.len() - 1))
    }

    /// Whether a path other than `path` brought the packet.
    pub(super) fn brought(&self, index: u64, path: usize) -> bool {
        let bit = 1 << (index & 63);
        let others = |(other, word): (usize, &u64)| other != path && word & bit != 0;
        self.word(index).is_some_and(|words| words.iter().enumerate().any(others))
    }

    /// Whether a path other than `path` is behind the packet, and did not bring it.
    fn missed(&self, index: u64, path: usize) -> bool {
        let bit = 1 << (index & 63);
        let Some(words) = self.word(index) else { return false };
        self.paths.iter().zip(words).enumerate().any(|(other, (own, word))| {
            other != path && own.alive && (own.begin..own.next).contains(&index) && word & bit == 0
        })
    }
}
