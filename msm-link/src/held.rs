//! Packets that wait to be overtaken.

use std::time::Instant;

use crate::flight::Flight;
use crate::settings::Reorder;

#[derive(Debug, Clone)]
struct Entry<P> {
    /// When it would have arrived.
    at: Instant,
    /// When it arrives although fewer have overtaken it.
    until: Instant,
    /// How many are still to overtake it: 1 or more.
    ahead: u32,
    packet: P,
}

/// Packets that wait to be overtaken: few, in the order in which they were sent.
#[derive(Debug, Clone)]
pub(crate) struct Held<P> {
    entries: Vec<Entry<P>>,
}

impl<P> Held<P> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Holds back what would have arrived at `at`.
    pub(crate) fn hold(&mut self, at: Instant, packet: P, reorder: Reorder) {
        let until = at.checked_add(reorder.at_most).unwrap_or(at);
        self.entries.push(Entry { at, until, ahead: reorder.distance.max(1), packet });
    }

    /// A packet that arrives at `at` has overtaken all of them: those that wait for no other follow it.
    pub(crate) fn overtaken(&mut self, at: Instant, flight: &mut Flight<P>) {
        for entry in &mut self.entries {
            entry.ahead = entry.ahead.saturating_sub(1);
        }
        for entry in self.entries.extract_if(.., |entry| entry.ahead == 0) {
            flight.insert(at.max(entry.at), entry.packet);
        }
    }

    /// Lets go what has been held back long enough at `now`.
    pub(crate) fn expire(&mut self, now: Instant, flight: &mut Flight<P>) {
        for entry in self.entries.extract_if(.., |entry| entry.until <= now) {
            flight.insert(entry.until, entry.packet);
        }
    }

    /// When the first has been held back long enough.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.until).min()
    }
}
