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
    /// What is kept free before the deadline beside the round trip.
    pub(super) margin: Duration,
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
            let period = timing.overdue.max(GRANULARITY).as_secs_f64();
            let behind = (slack.as_secs_f64() / period) as u32;
            let round = plan.round(self.risk, behind);
            self.risk *= round.fails;
            self.rounds = self.rounds.saturating_add(1);
            self.asked.get_or_insert(now);
            self.copies = round.requests.saturating_sub(1);
            self.answers = round.answers;
            // Copies that would come too late later go out at once.
            self.spacing = COPY_SPACING.min(timing.rtt / 16).min(slack / u32::from(round.requests.max(1)));
            self.round = now + timing.overdue.max(GRANULARITY);
        }
        self.due = if self.copies > 0 { now + self.spacing } else { self.round };
        self.due = self.due.min(self.deadline);
        Step::Ask { answers: self.answers, copy }
    }
}
