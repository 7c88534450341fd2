//! What a worker's hops drop, by reason. Counted in plain integers: a flood of forged packets must cost nothing more than
//! one failed opening each.

use std::cell::RefCell;

/// Counts by reason, a handful of them.
#[derive(Default)]
pub(crate) struct HopCounters(RefCell<Vec<(&'static str, u64)>>);

impl HopCounters {
    /// Counts packets dropped for `reason`.
    pub(crate) fn add(&self, reason: &'static str, packets: u64) {
        let mut counts = self.0.borrow_mut();
        match counts.iter_mut().find(|(known, _)| std::ptr::eq(*known, reason)) {
            Some((_, count)) => *count += packets,
            None => counts.push((reason, packets)),
        }
    }

    /// What was counted since the last call.
    pub(crate) fn take(&self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}
