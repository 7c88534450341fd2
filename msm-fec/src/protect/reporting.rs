//! When a receiver reports: what does not change once a second, what does at once and several times, as reports can be lost.

use std::time::{Duration, Instant};

use super::report::Report;
use crate::nack::Requester;

/// Reports of what does not change are this far apart.
const REPORT: Duration = Duration::from_secs(1);
/// Reports of what does, and how many of them.
const URGENT: Duration = Duration::from_millis(100);
/// See [`URGENT`].
const TIMES: u8 = 3;
/// A change that is told at once.
const CHANGE: f64 = 1.25;
/// Until round trips are known reports are this far apart.
const FIRST: Duration = Duration::from_millis(25);
/// Round trips after which their mean and variation are known.
pub(super) const SETTLED: u32 = 8;
/// Reports that wait for their echo: as many as are sent in a second.
const WAITING: usize = 16;

/// What was reported, and what is due.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    id: u8,
    sent: [Option<(u8, Instant)>; WAITING],
    told: (f64, f64),
    due: Option<Instant>,
    left: u8,
}

impl Reporting {
    /// Packets come.
    #[inline]
    pub(super) fn handle_packet(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(now + FIRST);
        }
    }

    /// The report `id` was answered: how long that took.
    pub(super) fn handle_echo(&mut self, now: Instant, id: u8) -> Option<Duration> {
        let place = self.sent.get_mut(usize::from(id) % WAITING)?;
        let (_, at) = place.take_if(|(sent, _)| *sent == id)?;
        Some(now.saturating_duration_since(at))
    }

    /// The report that is due.
    pub(super) fn poll(&mut self, now: Instant, requester: &Requester) -> Option<Report> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let (loss, burst) = requester.loss().current();
        let differs = |new: f64, old: f64| new > old * CHANGE || new * CHANGE < old;
        let (told, told_burst) = self.told;
        if differs(loss, told) && (loss - told).abs() > 0.0005 || differs(burst, told_burst) {
            self.told = (loss, burst);
            self.left = TIMES;
        }
        self.left = self.left.saturating_sub(1);
        let settled = requester.rtt().samples() >= SETTLED;
        let wait = match (settled, self.left > 0) {
            (false, _) => FIRST,
            (true, true) => URGENT,
            (true, false) => REPORT,
        };
        self.due = Some(now + wait);
        self.id = self.id.wrapping_add(1);
        if let Some(place) = self.sent.get_mut(usize::from(self.id) % WAITING) {
            *place = Some((self.id, now));
        }
        let rtt = requester.rtt();
        Some(Report {
            id: self.id,
            loss,
            burst,
            rtt: rtt.smoothed().filter(|_| settled).map(|mean| mean + rtt.variation()),
            reorder: requester.reorder().delay(now),
        })
    }

    pub(super) const fn timeout(&self) -> Option<Instant> {
        self.due
    }
}
