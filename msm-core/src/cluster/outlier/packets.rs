//! Packets of an endpoint, or of all: what came, what did not, and what is no media.

use super::super::{Outcome, percent_of};

/// See the [module](self).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Packets {
    pub(in super::super) lost: u64,
    pub(in super::super) expected: u64,
    /// Beside those that were expected.
    pub(in super::super) garbage: u64,
}

impl Packets {
    /// Counts what an outcome tells of packets, if it does.
    pub(in super::super) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Loss { lost, expected } => {
                self.lost = self.lost.saturating_add((*lost).min(*expected));
                self.expected = self.expected.saturating_add(*expected);
            }
            Outcome::Garbage { packets } => self.garbage = self.garbage.saturating_add(*packets),
            _ => {}
        }
    }

    pub(in super::super) fn sum<'p>(parts: impl IntoIterator<Item = &'p Packets>) -> Packets {
        parts.into_iter().fold(Packets::default(), |sum, part| Packets {
            lost: sum.lost.saturating_add(part.lost),
            expected: sum.expected.saturating_add(part.expected),
            garbage: sum.garbage.saturating_add(part.garbage),
        })
    }

    /// Those of all but one.
    pub(super) fn without(&self, own: &Packets) -> Packets {
        Packets {
            lost: self.lost.saturating_sub(own.lost),
            expected: self.expected.saturating_sub(own.expected),
            garbage: self.garbage.saturating_sub(own.garbage),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.expected == 0 && self.garbage == 0
    }

    /// What did not come of all that should have, in percent.
    pub(in super::super) fn loss(&self) -> f64 {
        percent_of(self.lost, self.expected)
    }

    /// What is no media of all that came, in percent.
    pub(super) fn garbage_share(&self) -> f64 {
        let media = self.expected.saturating_sub(self.lost);
        percent_of(self.garbage, media.saturating_add(self.garbage))
    }
}
