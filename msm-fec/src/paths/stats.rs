//! What is known of one path.

use std::time::{Duration, Instant};

/// What a timeout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A path may have died.
    Silence,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Nothing came by the path for a while, while others went on.
    Died {
        /// The path.
        path: usize,
    },
    /// It brings packets again.
    Returned {
        /// The path.
        path: usize,
    },
    /// The line goes on elsewhere.
    Restarted {
        /// The next index.
        next: u64,
    },
}

/// Statistics of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathStats {
    /// Packets that came, each once.
    pub received: u64,
    /// Packets that came by this path first.
    pub first: u64,
    /// Those of them that another path, further on already, had lost or delayed.
    pub recovered: u64,
    /// Packets between the first and the last that did not come by this path.
    pub lost: u64,
    /// Packets behind the window: too late to be told from copies.
    pub late: u64,
    /// Packets that came by this path twice.
    pub duplicates: u64,
    /// How much later than by the first path packets come, smoothed; of one in sixteen.
    pub skew: Duration,
    /// The most of late.
    pub most_skew: Duration,
    /// Whether it brings packets.
    pub alive: bool,
}

/// One path's state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Path {
    /// The first index since the path or the line began, and the one after the highest.
    pub(super) begin: u64,
    pub(super) next: u64,
    pub(super) last: Option<Instant>,
    pub(super) alive: bool,
    pub(super) received: u64,
    /// Of those, since `begin`.
    pub(super) since: u64,
    pub(super) lost_before: u64,
    pub(super) first: u64,
    pub(super) recovered: u64,
    pub(super) late: u64,
    pub(super) duplicates: u64,
    skew: Duration,
    most_skew: Duration,
}

impl Path {
    pub(super) fn lost(&self) -> u64 {
        self.lost_before + (self.next - self.begin).saturating_sub(self.since)
    }

    /// Counts anew from `index`: what the path did not bring while it was dead is told by its death.
    pub(super) fn begin(&mut self, index: u64) {
        self.lost_before = self.lost();
        (self.begin, self.next, self.since) = (index, index, 0);
    }

    pub(super) fn handle_skew(&mut self, skew: Duration) {
        let smoothed = self.skew * 15 / 16 + skew / 16;
        self.skew = if self.skew.is_zero() { skew } else { smoothed };
        // Falls by a 64th with each sample, back to the mean.
        let most = self.most_skew - self.most_skew.saturating_sub(self.skew) / 64;
        self.most_skew = most.max(skew);
    }

    pub(super) const fn skew(&self) -> Duration {
        self.skew
    }

    pub(super) fn stats(&self) -> PathStats {
        PathStats {
            received: self.received,
            first: self.first,
            recovered: self.recovered,
            lost: self.lost(),
            late: self.late,
            duplicates: self.duplicates,
            skew: self.skew,
            most_skew: self.most_skew,
            alive: self.alive,
        }
    }
}
