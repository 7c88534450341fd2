//! One of the two sources goes on, where the other one was.

use super::Side;
use super::line::{Entry, ahead};
use super::track::{Taken, Track};

/// Packets behind all that the other source has brought, until none of before is waited for any more.
const PASSED: u32 = 64;

impl Track {
    /// As [`first`](Self::first), without a second.
    pub(super) fn first_alone(&mut self, mut entry: Entry) -> Taken {
        entry.number = self.first.number_of(entry.number as u16);
        if !self.first.put(entry) {
            return Taken { fresh: true, changed: false };
        }
        let fresh = !self.is_given(entry.number);
        if self.out.is_none_or(|(out, _)| ahead(out, entry.number) > 0) {
            self.passed = self.passed.saturating_add(1);
        }
        Taken { fresh, changed: false }
    }

    /// Whether readers lack the packet with this number of the second source.
    pub(super) fn second_alone(&mut self, sequence: u16) -> bool {
        let (Some(tie), Some((out, _))) = (self.tie, self.out) else { return true };
        if self.passed >= PASSED {
            return true;
        }
        let number = self.second.number_of(sequence).wrapping_add(tie.0);
        if ahead(out, number) > 0 {
            self.passed = self.passed.saturating_add(1);
            return true;
        }
        self.first.get(number).is_none() && !self.is_given(number)
    }

    /// Whether this source has come past all that the other one has brought.
    pub(super) fn is_past(&self, side: Side) -> bool {
        let waits = match side {
            Side::First => self.has_given,
            Side::Second => self.tie.is_some(),
        };
        !waits || self.passed >= PASSED
    }
}
