//! Times when nothing passes.

use std::time::Instant;

/// A time in which every packet that leaves is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its begin.
    pub from: Instant,
    /// Its end: a packet that leaves then passes.
    pub until: Instant,
}

/// Whether a line is up, and when it will not be.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) up: bool,
    scheduled: Vec<Outage>,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { up: true, scheduled: Vec::new() }
    }

    pub(crate) fn schedule(&mut self, outage: Outage) {
        self.scheduled.push(outage);
    }

    /// Whether what leaves at `at` passes. Outages that were over then are forgotten.
    pub(crate) fn passes(&mut self, at: Instant) -> bool {
        if !self.scheduled.is_empty() {
            self.scheduled.retain(|outage| outage.until > at);
        }
        self.up && !self.scheduled.iter().any(|outage| outage.from <= at)
    }
}
