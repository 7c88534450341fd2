//! Whether what is sent beside the media is what makes packets be lost.

use std::time::{Duration, Instant};

/// Loss that rises so soon after redundancy was added may come of it: not sooner, as it takes a report to see it.
const AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// A rise: so many times what it was, and at least so much.
const RISE: (f64, f64) = (2.0, 0.03);
/// Loss that has just begun is known from so few packets: what it may really be, by so many standard deviations and losses more, is no rise.
const KNOWN: (f64, f64, f64) = (256.0, 4.0, 2.0);
/// Less of it is used for so long at first, and at most, as each time in a row doubles it.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(160));
/// If after so long the loss is no less than this share of what it was, it did not come of it.
const TRIAL: Duration = Duration::from_secs(4);
/// See [`TRIAL`].
const BETTER: f64 = 0.7;
/// Of what may be used, so much is used all the same.
const LEFT: f64 = 0.25;

/// Loss that rises right after redundancy was added is taken for that of a queue that overflows: less is added for a while. If the
/// loss stays, it was another's, and all is used again.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// When protection grew, from what share, and above what loss that may be why it is lost.
    grown: Option<(Instant, f64, f64)>,
    /// Since when less is used, how much, for how long, and at what loss that began.
    less: Option<Less>,
    /// How long the last time was.
    last: Option<(Instant, Duration)>,
    /// Nothing is taken for congestion before.
    immune: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Less {
    since: Instant,
    share: f64,
    time: Duration,
    loss: f64,
    judged: bool,
}

impl Congestion {
    /// Protection grows from `share`, while so much is lost, in runs of `burst`.
    pub(super) fn handle_growth(&mut self, now: Instant, share: f64, loss: f64, burst: f64) {
        // The first of several steps is what the loss is compared with.
        let recent = |at: Instant| now.saturating_duration_since(at) < AFTER.1;
        if !self.grown.is_some_and(|(at, ..)| recent(at)) {
            let ((times, least), (packets, deviations, more)) = (RISE, KNOWN);
            let may = loss + more / packets;
            let by_chance = may + deviations * (may * burst.max(1.0) / packets).sqrt();
            self.grown = Some((now, share, (loss * times).max(least).max(by_chance)));
        }
    }

    /// So much is lost.
    pub(super) fn handle_loss(&mut self, now: Instant, loss: f64) {
        if let Some(less) = &mut self.less {
            let since = now.saturating_duration_since(less.since);
            if since >= TRIAL && !less.judged {
                less.judged = true;
                if loss > less.loss * BETTER {
                    let until = now + BACK_OFF.1;
                    (self.less, self.last, self.immune) = (None, None, Some(until));
                }
            } else if since >= less.time {
                self.less = None;
            }
            self.grown = None;
            return;
        }
        let Some((at, share, rise)) = self.grown else { return };
        let since = now.saturating_duration_since(at);
        if since >= AFTER.1 {
            self.grown = None;
        } else if since >= AFTER.0 && loss > rise && self.immune.is_none_or(|immune| now >= immune) {
            let (first, most) = BACK_OFF;
            let again = self.last.filter(|(at, _)| now.saturating_duration_since(*at) < 2 * most);
            let time = again.map_or(first, |(_, time)| (time * 2).min(most));
            self.less = Some(Less { since: now, share, time, loss, judged: false });
            self.last = Some((now, time));
            self.grown = None;
        }
    }

    /// The share that may be used of `limit`.
    pub(super) fn allowed(&self, now: Instant, limit: f64) -> f64 {
        let less = self.less.filter(|less| now.saturating_duration_since(less.since) < less.time);
        less.map_or(limit, |less| less.share.max(limit * LEFT).min(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nack::testing::{epoch, ms};

    /// Looks twice a second from `from` to `to`, in ms.
    fn look(congestion: &mut Congestion, from: u64, to: u64, loss: f64) -> f64 {
        for at in (from..=to).step_by(500) {
            congestion.handle_loss(epoch_at(at), loss);
        }
        congestion.allowed(epoch_at(to), 0.5)
    }

    fn epoch_at(at: u64) -> Instant {
        thread_local!(static START: Instant = epoch());
        START.with(|start| *start) + ms(at)
    }

    #[test]
    fn loss_that_follows_what_was_added_takes_it_back() {
        let mut congestion = Congestion::default();
        assert!((congestion.allowed(epoch_at(0), 0.5) - 0.5).abs() < 1e-9);
        congestion.handle_growth(epoch_at(0), 0.2, 0.02, 1.0);
        assert!((look(&mut congestion, 500, 1000, 0.12) - 0.2).abs() < 1e-9);
        // It falls, so that was it: for ten seconds; and for twenty if it comes again.
        assert!((look(&mut congestion, 1500, 10_500, 0.02) - 0.2).abs() < 1e-9);
        assert!((look(&mut congestion, 11_000, 11_500, 0.02) - 0.5).abs() < 1e-9);
        congestion.handle_growth(epoch_at(12_000), 0.2, 0.02, 1.0);
        assert!((look(&mut congestion, 12_500, 13_500, 0.12) - 0.2).abs() < 1e-9);
        assert!((look(&mut congestion, 14_000, 32_500, 0.02) - 0.2).abs() < 1e-9);
        assert!((look(&mut congestion, 33_000, 34_000, 0.02) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn loss_that_stays_is_that_of_the_path() {
        let mut congestion = Congestion::default();
        congestion.handle_growth(epoch_at(0), 0.0, 0.01, 1.0);
        assert!(
            (look(&mut congestion, 500, 1500, 0.1) - 0.125).abs() < 1e-9,
            "a quarter is used all the same"
        );
        assert!((look(&mut congestion, 2000, 5500, 0.1) - 0.5).abs() < 1e-9);
        congestion.handle_growth(epoch_at(6000), 0.2, 0.01, 1.0);
        assert!((look(&mut congestion, 6500, 8000, 0.2) - 0.5).abs() < 1e-9, "not again");
    }

    #[test]
    fn loss_that_has_begun_and_is_not_known_well_yet_is_no_rise() {
        // 5 %, of which the first 256 packets showed 2 %, and of which the first runs of four showed 5 % of 10.
        for (first, really, burst) in [(0.02, 0.05, 1.0), (0.005, 0.04, 1.0), (0.05, 0.11, 4.0)] {
            let mut congestion = Congestion::default();
            congestion.handle_growth(epoch_at(0), 0.1, first, burst);
            assert!((look(&mut congestion, 500, 3000, really) - 0.5).abs() < 1e-9, "{first} {really}");
        }
    }

    #[test]
    fn loss_that_does_not_rise_or_rises_later_is_nothing() {
        let mut congestion = Congestion::default();
        congestion.handle_growth(epoch_at(0), 0.0, 0.05, 1.0);
        assert!((look(&mut congestion, 500, 3000, 0.09) - 0.5).abs() < 1e-9);
        assert!((look(&mut congestion, 3500, 8000, 0.5) - 0.5).abs() < 1e-9);
    }
}
