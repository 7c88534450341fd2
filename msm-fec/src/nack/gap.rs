//! One missing packet, and when to ask for it.

use std::time::{Duration, Instant};

use super::plan::Plan;

/// Least time between two rounds beside the round trip.
pub(super) const GRANULARITY: Duration = Duration::from_millis(1);

/// Most time between two copies of a request.
const COPY_SPACING: Duration = Duration::from_millis(1);

/// What is known of the way when a round is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// A round trip.
    pub(super) rtt: Duration,
    /// After so long an answer is overdue.
    pub(super) overdue: Duration,
    /// An answer is seldom earlier than so much behind the round trip: no round begins sooner, and with less left before the deadline
    /// none does.
    pub(super) margin: Duration,
}

impl Timing {
    /// After so long an answer has come if it comes at all: what is overdue comes mostly, and a little later.
    fn latest(&self) -> Duration {
        (self.overdue + self.overdue.saturating_sub(self.rtt)).max(self.rtt + self.margin)
    }

    /// The rounds that can follow one that begins now, of which the last comes in time even if it is as late as any, and the time from one
    /// to the next. Rounds begin a little before answers are overdue where that makes room for one more.
    fn rounds_behind(&self, left: Duration) -> (u32, Duration) {
        let period = self.overdue.max(GRANULARITY);
        let least = (self.rtt + self.margin).clamp(GRANULARITY, period);
        let room = left.saturating_sub(self.latest());
        let behind = (room.as_secs_f64() / least.as_secs_f64()) as u32;
        (behind, if behind > 0 { period.min(room / behind) } else { period })
    }
}

/// A missing packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) index: u64,
    /// When a later packet came.
    pub(super) seen: Instant,
    /// When it is of no use any more.
    pub(super) deadline: Instant,
    /// When there is something to do.
    pub(super) due: Instant,
    /// When the next round begins.
    round: Instant,
    /// When it was first asked for.
    pub(super) asked: Option<Instant>,
    pub(super) rounds: u8,
    /// Copies of this round's request that are left, and of the answer that they ask for.
    copies: u8,
    answers: u8,
    spacing: Duration,
    /// Probability of getting here.
    risk: f64,
    pub(super) open: bool,
}

/// What a gap wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// Ask for so many copies.
    Ask { answers: u8, copy: bool },
    /// Its time is over.
    GiveUp,
}

impl Gap {
    pub(super) const fn new(index: u64, seen: Instant, first: Instant, deadline: Instant, risk: f64) -> Self {
        Self {
            index,
            seen,
            deadline,
            due: first,
            round: first,
            asked: None,
            rounds: 0,
            copies: 0,
            answers: 1,
            spacing: Duration::ZERO,
            risk,
            open: true,
        }
    }

    /// Is asked for first no later than `due`.
    pub(super) fn hasten(&mut self, due: Instant) {
        if self.open && self.rounds == 0 {
            self.due = self.due.min(due);
        }
    }

    /// What to do at `now`, and sets when to look again.
    pub(super) fn step(&mut self, now: Instant, timing: &Timing, plan: &Plan) -> Step {
        if now >= self.deadline {
            return Step::GiveUp;
        }
        if now < self.due {
            return Step::Wait;
        }
        let left = self.deadline.saturating_duration_since(now);
        let Some(slack) = left.checked_sub(timing.rtt + timing.margin) else {
            // No answer would come in time; one that is under way still can.
            self.due = self.deadline;
            return Step::Wait;
        };
        let copy = self.copies > 0;
        if copy {
            self.copies -= 1;
        } else {
            let (behind, period) = timing.rounds_behind(left);
            let round = plan.round(self.risk, behind);
            self.risk *= round.fails;
            self.rounds = self.rounds.saturating_add(1);
            self.asked.get_or_insert(now);
            self.copies = round.requests.saturating_sub(1);
            self.answers = round.answers;
            // Copies that would come too late later go out at once.
            self.spacing = COPY_SPACING.min(timing.rtt / 16).min(slack / u32::from(round.requests.max(1)));
            self.round = now + period;
        }
        self.due = if self.copies > 0 { now + self.spacing } else { self.round };
        self.due = self.due.min(self.deadline);
        Step::Ask { answers: self.answers, copy }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RequesterConfig;
    use super::super::testing::{epoch, ms};
    use super::*;

    /// When the rounds of a packet begin that never comes, and how many copies of the answer each asks for.
    fn rounds(budget: Duration, timing: &Timing) -> Vec<(Duration, u8)> {
        let plan = Plan::new(0.1, 1.0, RequesterConfig::new(budget).limits());
        let start = epoch();
        let mut gap = Gap::new(7, start, start, start + budget, 0.1);
        let (mut now, mut rounds) = (start, Vec::new());
        loop {
            match gap.step(now, timing, &plan) {
                Step::GiveUp => return rounds,
                Step::Ask { answers, copy: false } => rounds.push((now - start, answers)),
                Step::Ask { .. } | Step::Wait => {}
            }
            now = gap.due;
        }
    }

    fn timing(rtt: Duration, variation: Duration) -> Timing {
        Timing {
            rtt,
            overdue: rtt + (variation * 4).max(GRANULARITY),
            margin: variation.max(GRANULARITY / 2),
        }
    }

    #[test]
    fn the_last_round_that_is_counted_on_comes_in_time_however_late_its_answer_is() {
        for rtt in (1..=60).map(ms) {
            for variation in (0..=40).map(|tenths| Duration::from_micros(250) * tenths) {
                let timing = timing(rtt, variation);
                let rounds = rounds(ms(100), &timing);
                match rounds.iter().find(|(_, answers)| *answers > 1) {
                    Some((at, _)) => assert!(*at + timing.overdue <= ms(100), "{timing:?}: {rounds:?}"),
                    None => assert!(rounds.len() > 5, "{timing:?}: {rounds:?}"),
                }
                // None begins before most answers to the one before can have come.
                let apart = rounds.windows(2).map(|pair| pair[1].0 - pair[0].0);
                assert!(apart.min().is_none_or(|least| least >= rtt + variation), "{timing:?}: {rounds:?}");
            }
        }
    }

    #[test]
    fn rounds_begin_a_little_early_where_one_more_fits_then() {
        let timing = timing(Duration::from_micros(30_400), Duration::from_micros(850));
        let rounds = rounds(ms(100), &timing);
        assert_eq!(rounds.len(), 3, "{rounds:?}");
        assert_eq!(rounds[2].0, ms(100) + timing.rtt - timing.overdue * 2, "{rounds:?}");
        assert!(rounds[1].0 < timing.overdue && rounds[1].1 == 1 && rounds[2].1 == 4, "{rounds:?}");
    }
}
