//! What fills a gap, and what is learnt from it.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::super::gap::Gap;
use super::super::types::{Arrival, Event, RequesterStats};
use super::{AMBIGUOUS, MAX_ANSWERED, MAX_EVENTS, Requester};
use crate::estimate::{Loss, Reorder, Rtt};

impl Requester {
    pub(super) fn fill(&mut self, now: Instant, place: usize, arrival: Arrival) {
        let Some(gap) = self.gaps.get_mut(place).filter(|gap| gap.open) else { return };
        gap.open = false;
        let Gap { index, seen, asked, rounds, .. } = *gap;
        match arrival {
            Arrival::Media => {
                self.stats.late += 1;
                self.stats.spurious += u64::from(rounds > 0);
                self.loss.handle_late();
                let late = now.saturating_duration_since(seen);
                self.reorder.handle_late(now, late, self.next.saturating_sub(index));
            }
            Arrival::Repaired => self.stats.repaired += 1,
            Arrival::Retransmission => {
                self.stats.answered += 1;
                if self.answered.len() >= MAX_ANSWERED {
                    self.answered.pop_front();
                }
                self.answered.push_back((index, seen));
                // Which of several requests was answered can not be told (Karn); but if it never can, rounds are too fast.
                self.ambiguous = if rounds > 1 { self.ambiguous + 1 } else { 0 };
                if let Some(asked) = asked
                    && (rounds == 1 || self.ambiguous >= AMBIGUOUS)
                {
                    self.ambiguous = 0;
                    self.rtt.handle_sample(now.saturating_duration_since(asked));
                }
            }
        }
        self.forget_closed();
    }

    /// A packet that is not missing came behind the highest. If it was sent again, it had not been lost: had the requester waited,
    /// it would have come by itself.
    pub(super) fn handle_duplicate(&mut self, now: Instant, index: u64) {
        let place = self.answered.iter().position(|(answered, _)| *answered == index);
        let Some((_, seen)) = place.and_then(|place| self.answered.remove(place)) else {
            self.maybe_restart(index);
            return;
        };
        self.stats.spurious += 1;
        self.loss.handle_late();
        let late = now.saturating_duration_since(seen);
        self.reorder.handle_late(now, late, self.next.saturating_sub(index));
    }

    /// A packet far behind is one of long ago, unless the next one follows it.
    fn maybe_restart(&mut self, index: u64) {
        let most = u64::try_from(self.config.max_gaps.max(1)).unwrap_or(u64::MAX);
        if self.next - index <= most {
            return;
        }
        if self.behind == Some(index) {
            self.restart(index + 1);
        } else {
            self.behind = Some(index + 1);
        }
    }

    /// Repair packets of a block came, and not enough to recover what it lacks: that waits for no more than `wait` for others.
    pub fn handle_unrepaired(&mut self, now: Instant, block: Range<u64>, wait: Duration) {
        let due = now + wait.max(self.reorder.delay(now));
        let start = self.gaps.partition_point(|gap| gap.index < block.start);
        for gap in self.gaps.iter_mut().skip(start).take_while(|gap| gap.index < block.end) {
            gap.hasten(due);
        }
        self.wake_at(due);
    }

    pub(super) fn restart(&mut self, next: u64) {
        self.stats.restarts += 1;
        self.gaps.clear();
        self.answered.clear();
        self.wake = None;
        self.behind = None;
        self.next = next;
        self.tell(Event::Restarted { next });
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(super) fn forget_closed(&mut self) {
        while self.gaps.front().is_some_and(|gap| !gap.open) {
            self.gaps.pop_front();
        }
        if self.gaps.is_empty() {
            self.wake = None;
        }
    }

    /// The index after the highest that came or was told of; none before the first packet.
    #[must_use]
    pub fn next_index(&self) -> Option<u64> {
        self.started.then_some(self.next)
    }

    /// Where the gap of `index` is, if it is open.
    pub(super) fn missing(&self, index: u64) -> Option<usize> {
        let place = self.gaps.binary_search_by_key(&index, |gap| gap.index).ok()?;
        self.gaps.get(place).is_some_and(|gap| gap.open).then_some(place)
    }

    /// Whether `index` is missing, and not given up.
    #[must_use]
    pub fn is_missing(&self, index: u64) -> bool {
        self.missing(index).is_some()
    }

    /// What was learnt of loss.
    #[must_use]
    pub const fn loss(&self) -> &Loss {
        &self.loss
    }

    /// What was learnt of the order of packets.
    #[must_use]
    pub const fn reorder(&self) -> &Reorder {
        &self.reorder
    }

    /// What was learnt of round trips.
    #[must_use]
    pub const fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> RequesterStats {
        self.stats
    }
}
