//! Where the line goes on, and how much of it is remembered.

use std::time::Instant;

use super::super::MAX_PATHS;
use super::super::stats::Event;
use super::{Admit, MAX_INDEX, Merge, MergeConfig};

impl Merge {
    /// A packet ahead of the next one, or behind the window, or the first.
    #[cold]
    pub(super) fn handle_far(&mut self, now: Instant, path: usize, index: u64) -> Admit {
        if index >= MAX_INDEX || path >= MAX_PATHS {
            return Admit::Stray;
        }
        if !self.started {
            self.started = true;
            self.start(index);
        } else if index < self.next {
            // Late, unless the next one follows it far behind: then the line has begun anew.
            let far = self.next - index > 4 * self.config.window;
            if !far || self.behind.replace(index + 1) != Some(index) {
                if let Some(own) = self.paths.get_mut(path) {
                    own.late += 1;
                    own.last = Some(now);
                }
                return if far { Admit::Stray } else { Admit::Late };
            }
            self.restart(index);
        } else if index - self.next >= 4 * self.config.window {
            self.restart(index);
        } else {
            self.forget(index);
        }
        self.place(now, path, index)
    }

    /// The packets from the next one up to `index` have not come by any path.
    pub(super) fn forget(&mut self, index: u64) {
        let words = self.seen.len() as u64;
        let last = index >> 6;
        // The word of the next index is clean, or is in use.
        let first = self.next.div_ceil(64).max((last + 1).saturating_sub(words));
        for word in first..=last {
            if let Some(word) = self.seen.get_mut((word & (words - 1)) as usize) {
                *word = [0; MAX_PATHS];
            }
        }
        self.next = index + 1;
    }

    pub(super) fn start(&mut self, index: u64) {
        self.seen.fill([0; MAX_PATHS]);
        self.arrivals.fill((0, None));
        self.next = index;
        for path in &mut self.paths {
            path.begin(index);
        }
        self.behind = None;
    }

    pub(super) fn restart(&mut self, index: u64) {
        self.start(index);
        self.restarts += 1;
        self.tell(Event::Restarted { next: index });
    }

    #[cold]
    pub(super) fn revive(&mut self, path: usize, index: u64) {
        let Some(own) = self.paths.get_mut(path) else { return };
        let known = own.received > 1;
        // What it did not bring is told by its death; that others brought it is told here.
        let passed = own.next..index;
        if known && !passed.is_empty() {
            self.pass_over(path, passed);
        }
        let Some(own) = self.paths.get_mut(path) else { return };
        own.alive = true;
        own.begin(index);
        own.next = index + 1;
        own.since = 1;
        if known {
            self.tell(Event::Returned { path });
        }
    }

    /// Another window, which forgets nothing that fits into it.
    pub fn set_window(&mut self, window: u64) {
        let mut grown = Self::new(MergeConfig { window, ..self.config });
        let words = self.seen.len() as u64;
        let keep = words.min(grown.seen.len() as u64);
        let last = self.next.saturating_sub(1) >> 6;
        let mask = grown.seen.len() as u64 - 1;
        for word in (last + 1).saturating_sub(keep)..=last {
            let from = self.seen.get((word & (words - 1)) as usize).copied().unwrap_or_default();
            if let Some(to) = grown.seen.get_mut((word & mask) as usize) {
                *to = from;
            }
        }
        self.seen = grown.seen;
        self.arrivals = grown.arrivals;
        self.config = grown.config;
    }
}
