//! Sessions that broke off: by a connection that ended, or media that stopped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The last breaks of an endpoint's sessions.
#[derive(Debug, Default)]
pub(super) struct Breaks(VecDeque<Break>);

#[derive(Debug, Clone, Copy)]
struct Break {
    at: Instant,
    url: u64,
    alone: bool,
}

/// Most that are kept, whatever the threshold.
const MOST: usize = 1000;

impl Breaks {
    /// One more. As many are kept as the threshold needs.
    pub(super) fn add(&mut self, at: Instant, url: u64, alone: bool, threshold: u32) {
        self.0.push_back(Break { at, url, alone });
        let keep = usize::try_from(threshold).unwrap_or(MOST).clamp(1, MOST);
        while self.0.len() > keep {
            self.0.pop_front();
        }
    }

    /// How many there were within the window, if those are enough to say something of the endpoint.
    pub(super) fn reached(&self, now: Instant, window: Duration, threshold: u32) -> Option<u32> {
        let recent = || self.0.iter().filter(|own| now.saturating_duration_since(own.at) < window);
        let count = u32::try_from(recent().count()).unwrap_or(u32::MAX);
        if threshold == 0 || count < threshold.min(MOST as u32) {
            return None;
        }
        let first = recent().next()?;
        // One stream that comes and goes says nothing of the others there; but where there is no other, it is all that there is.
        let several = recent().any(|own| own.url != first.url);
        (several || recent().all(|own| own.alone)).then_some(count)
    }
}
