//! URLs that a cluster has set up.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a URL that was set up counts as one that exists.
pub const KNOWN_FOR: Duration = Duration::from_secs(600);

/// Most URLs that are remembered.
const MOST: usize = 1024;

/// The URLs that were set up last, by their hashes.
#[derive(Debug, Default)]
pub(in super::super) struct Known {
    last: BTreeMap<u64, Instant>,
    /// In the order in which they were first seen.
    order: VecDeque<u64>,
}

impl Known {
    pub(in super::super) fn add(&mut self, now: Instant, url: u64) {
        if self.last.insert(url, now).is_none() {
            self.order.push_back(url);
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.last.remove(&oldest);
            }
        }
    }

    pub(in super::super) fn contains(&self, now: Instant, url: u64) -> bool {
        self.last.get(&url).is_some_and(|at| now.saturating_duration_since(*at) < KNOWN_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_for_a_while() {
        let start = crate::cluster::some_instant();
        let mut own = Known::default();
        own.add(start, 1);
        assert!(own.contains(start, 1) && !own.contains(start, 2));
        assert!(!own.contains(start + KNOWN_FOR, 1));
        own.add(start + KNOWN_FOR, 1);
        assert!(own.contains(start + KNOWN_FOR, 1));
        (0..5000).for_each(|url| own.add(start, url));
        assert_eq!((own.last.len(), own.order.len()), (MOST, MOST));
    }
}
