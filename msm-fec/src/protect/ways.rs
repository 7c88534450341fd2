//! Which path what takes, at the sender.

use std::time::{Duration, Instant};

use crate::paths::{MAX_PATHS, Mode, Spread};

/// A path by which nothing came back while so much came back by others, for so long, is taken for dead.
const SILENT: (u32, Duration) = (8, Duration::from_millis(200));

/// The paths of a sender, each one known by what comes back on it.
///
/// Copies take all paths, dead or not: so a path that returns is of use with its first packet. Of a spread stream a dead path would
/// lose a share; so it takes none, until something comes back by it: a receiver sends what it has to say by all paths.
#[derive(Debug)]
pub(super) struct Ways {
    mode: Mode,
    count: usize,
    spread: Spread,
    /// What came back by others since something did by this path, and since when.
    silent: [(u32, Option<Instant>); MAX_PATHS],
    /// Whether the path may be used, as far as the caller knows; and whether it seems alive.
    usable: [bool; MAX_PATHS],
    alive: [bool; MAX_PATHS],
    /// By which path the last request came.
    asked_by: Option<usize>,
}

impl Ways {
    pub(super) fn new(mode: Mode, count: usize) -> Self {
        let count = count.clamp(1, MAX_PATHS);
        Self {
            mode,
            count,
            spread: Spread::new(mode, count),
            silent: [(0, None); MAX_PATHS],
            usable: [true; MAX_PATHS],
            alive: [true; MAX_PATHS],
            asked_by: None,
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Whether a path may be used, as its own probes say.
    pub(super) fn set_usable(&mut self, path: usize, usable: bool) {
        if let Some(place) = self.usable.get_mut(path) {
            *place = usable;
            self.update(path);
        }
    }

    fn update(&mut self, path: usize) {
        let usable = self.usable.get(path).copied().unwrap_or_default();
        let alive = self.mode == Mode::Duplicate || self.alive.get(path).copied().unwrap_or_default();
        self.spread.set_alive(path, usable && alive);
    }

    /// Something came back by `path`; a request, or something else.
    pub(super) fn handle_feedback(&mut self, now: Instant, path: usize, request: bool) {
        if self.count == 1 || path >= self.count {
            return;
        }
        if request {
            self.asked_by = Some(path);
        }
        let (most, long) = SILENT;
        let mut changed = [false; MAX_PATHS];
        for (other, (silent, since)) in self.silent.iter_mut().enumerate().take(self.count) {
            if other == path {
                (*silent, *since) = (0, None);
            } else {
                *silent = silent.saturating_add(1);
                since.get_or_insert(now);
            }
            let quiet = since.is_some_and(|since| now.saturating_duration_since(since) >= long);
            let dead = *silent >= most && quiet;
            if let (Some(alive), Some(changed)) = (self.alive.get_mut(other), changed.get_mut(other)) {
                *changed = *alive == dead;
                *alive = !dead;
            }
        }
        for (path, _) in changed.into_iter().enumerate().filter(|(_, changed)| *changed) {
            self.update(path);
        }
    }

    /// Paths of the next packet or repair packet: bit n is path n.
    #[inline]
    pub(super) fn choose(&mut self) -> u8 {
        if self.count == 1 { 1 } else { self.spread.choose() }
    }

    /// Paths of an answer: all, or the one that is known to pass.
    pub(super) fn answers(&self) -> u8 {
        match (self.mode, self.asked_by) {
            (Mode::Spread, Some(path)) => 1 << path,
            _ => self.all(),
        }
    }

    /// All paths that may be used.
    pub(super) fn all(&self) -> u8 {
        let usable = (0_u8..).zip(&self.usable).take(self.count).filter(|(_, usable)| **usable);
        let all = usable.fold(0, |all, (path, _)| all | 1 << path);
        if all == 0 { (1_u8 << self.count) - 1 } else { all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nack::testing::{epoch, ms};

    #[test]
    fn one_path_takes_everything() {
        let mut ways = Ways::new(Mode::Spread, 1);
        ways.handle_feedback(epoch(), 3, true);
        assert_eq!((ways.choose(), ways.answers(), ways.all()), (1, 1, 1));
    }

    #[test]
    fn a_path_that_nothing_comes_back_by_takes_no_share_until_something_does() {
        let (now, mut ways) = (epoch(), Ways::new(Mode::Spread, 2));
        for at in 0..40 {
            // Each comes by both.
            ways.handle_feedback(now + ms(20 * at), 0, true);
            ways.handle_feedback(now + ms(20 * at), 1, true);
            assert_ne!(ways.choose(), ways.choose());
        }
        for at in 0..9 {
            ways.handle_feedback(now + ms(800 + at), 1, true);
        }
        assert_ne!(ways.choose(), ways.choose(), "many, but at once");
        ways.handle_feedback(now + ms(1000), 1, true);
        assert_eq!((ways.choose(), ways.choose(), ways.answers(), ways.all()), (2, 2, 2, 3));
        ways.handle_feedback(now + ms(1100), 0, false);
        assert_ne!(ways.choose(), ways.choose());
        ways.set_usable(1, false);
        assert_eq!((ways.choose(), ways.choose(), ways.all()), (1, 1, 1));
    }

    #[test]
    fn copies_take_dead_paths_too() {
        let (now, mut ways) = (epoch(), Ways::new(Mode::Duplicate, 2));
        (0..100).for_each(|at| ways.handle_feedback(now + ms(20 * at), 1, true));
        assert_eq!((ways.choose(), ways.answers()), (3, 3));
        ways.set_usable(0, false);
        assert_eq!((ways.choose(), ways.answers()), (2, 2));
        ways.set_usable(1, false);
        assert_eq!(ways.choose(), 3, "none is left: all are tried");
    }
}
