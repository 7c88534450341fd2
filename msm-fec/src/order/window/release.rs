//! What does not wait any longer: because its time is over, for lack of room, or as the line is another one.

use std::time::Instant;

use super::super::types::{Event, Source, Verdict};
use super::{MAX_INDEX, MAX_REMEMBERED, Reason, Window};

impl Window {
    pub(super) fn handle_behind(&mut self, index: u64, source: Source) -> Verdict {
        if source == Source::Media && self.next - index > self.room() {
            // A packet of long ago, unless the next one follows it.
            if self.behind != Some(index) {
                self.behind = Some(index + 1);
                self.stats.strays += 1;
                return Verdict::Stray;
            }
            if self.held > 0 {
                self.release_all();
                return Verdict::Again;
            }
            self.restart(index);
            self.pass(source);
            return Verdict::Pass;
        }
        if self.given_up.iter().any(|(first, last)| (*first..=*last).contains(&index)) {
            self.stats.late += 1;
            return Verdict::Late;
        }
        self.stats.duplicates += 1;
        Verdict::Duplicate
    }

    /// Nothing is held: the line goes on at `next`.
    pub(super) fn restart(&mut self, next: u64) {
        let skipped = next.saturating_sub(self.next);
        self.shown.clear();
        self.given_up.clear();
        self.behind = None;
        self.release = 0;
        self.forced = 0;
        self.next = next;
        self.end = next;
        self.stats.restarts += 1;
        self.stats.skipped = self.stats.skipped.saturating_add(skipped);
        self.tell(Event::Restarted { next, skipped });
    }

    /// All that is held leaves.
    pub(super) fn release_all(&mut self) {
        self.release = self.end;
        self.forced = self.end;
    }

    /// What is behind the first gap leaves.
    pub(super) fn release_first(&mut self) {
        self.release = self.first_shown().map_or(self.end, |(below, _)| below);
        self.forced = self.release;
    }

    /// Gives up what is missing before the first held packet, as far as it may.
    pub(super) fn skip(&mut self) {
        let first = self.next;
        while self.next < self.release && self.slot(self.next).is_none() {
            self.next += 1;
        }
        let Some(last) = self.next.checked_sub(1).filter(|last| *last >= first) else { return };
        self.stats.unrecovered += self.next - first;
        self.stats.overflow += self.next.min(self.forced).saturating_sub(first);
        if self.given_up.len() >= MAX_REMEMBERED {
            self.given_up.pop_front();
        }
        self.given_up.push_back((first, last));
        self.tell(Event::Unrecovered { first, last });
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_REMEMBERED {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// When it showed that the next packet is missing, if it is; and below which index others with it.
    pub(super) fn first_shown(&self) -> Option<(u64, Instant)> {
        self.shown.iter().copied().find(|(below, _)| *below > self.next)
    }

    /// Packets below `index` that did not come are missing since `now`.
    pub(super) fn show(&mut self, now: Instant, index: u64) {
        if index > self.end {
            self.shown.push_back((index, now));
        }
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let latency = self.limits.latency;
        let over = self.shown.iter().take_while(|(_, at)| now.saturating_duration_since(*at) >= latency);
        self.release = over.map(|(below, _)| *below).last().unwrap_or(0).max(self.release);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        if self.shown.is_empty() {
            return None;
        }
        let (_, at) = self.first_shown()?;
        Some((at + self.limits.latency, Reason::Deadline))
    }

    /// The sender says that `next` is the index after its last packet.
    pub fn handle_next(&mut self, now: Instant, next: u64) {
        if self.started && next > self.end && next < MAX_INDEX && next - self.next < self.room() {
            self.show(now, next);
            self.end = next;
        }
    }
}
