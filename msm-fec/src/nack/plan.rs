//! How many copies of a request to send, and of its answer to ask for.
//!
//! A round of asking fails if all copies of the request are lost, or all of the answer. As long as more rounds fit, a single copy
//! of each does: what it leaves is asked for again. The fewer rounds are left, the more of them have failed, so few packets
//! are still missing and copies of these cost next to nothing, while a failure now is one that the reader sees. So a round takes the
//! cheapest copies with which the rounds behind it, at their best, still reach the target.

use super::{MAX_ANSWERS, MAX_REQUESTS};

/// Copies of request and answer, the cheapest first: a request is a few bytes, an answer a packet.
const OPTIONS: [(u8, u8); 20] = [
    (1, 1),
    (2, 1),
    (3, 1),
    (4, 1),
    (8, 1),
    (12, 1),
    (MAX_REQUESTS, 1),
    (2, 2),
    (3, 2),
    (4, 2),
    (8, 2),
    (12, 2),
    (MAX_REQUESTS, 2),
    (3, 3),
    (4, 3),
    (6, 3),
    (MAX_REQUESTS, 3),
    (4, 4),
    (6, 4),
    (MAX_REQUESTS, MAX_ANSWERS),
];

/// Loss has its price: whoever loses `l` of the packets is not promised less than `l` to this power.
pub(super) const POWER: i32 = 9;

/// What copies cost, as a share of the media, has to be worth it: for each of these shares, half of what would be lost is not.
const HALVES: f64 = 0.08;

/// Where no more than this would be lost, only copies that cost next to nothing are added.
const SOFT: f64 = 2e-6;
/// See [`SOFT`].
const CHEAP: f64 = 0.005;

/// A request, in packets of the media; it names what was lost in a row.
const REQUEST: f64 = 0.075;

/// Runs of losses that are longer than this, on average, are bursts.
const BURST: f64 = 2.0;

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    /// Copies of the request.
    pub(super) requests: u8,
    /// Copies of the answer.
    pub(super) answers: u8,
    /// Probability that it brings nothing.
    pub(super) fails: f64,
    /// Probability that it is the request that does not come.
    unasked: f64,
}

/// Bounds of what a plan may choose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) requests: u8,
    pub(super) answers: u8,
    /// Copies of answers beside the first, as a share of the media.
    pub(super) share: f64,
    pub(super) target: f64,
}

/// The rounds' prospects at a loss rate.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    rounds: [Option<Round>; OPTIONS.len()],
    loss: f64,
    /// Probabilities that a round fails at its best; and that it does behind one whose request was lost: only requests go that way, so
    /// in bursts what took them is still there.
    best: f64,
    stuck: f64,
    share: f64,
    target: f64,
    /// What a request costs for each of the packets that it names.
    request: f64,
}

impl Plan {
    /// For packets lost with probability `loss`, `burst` in a row on average, both ways.
    pub(super) fn new(loss: f64, burst: f64, limits: Limits) -> Self {
        let loss = if loss.is_nan() { 0.9 } else { loss.clamp(1e-6, 0.9) };
        // A copy goes right behind the one before it, so it is lost with it as the next packet of a burst is. Answers to one request
        // go one after the other, and then their copies: these are as far apart as packets were lost in a row.
        let again = (1.0 - 1.0 / burst.max(1.0)).clamp(loss, 0.95);
        let apart = if burst < BURST { again } else { loss + (1.0 - loss) * again.powf(burst) };
        let rounds = OPTIONS.map(|(requests, answers)| {
            let allowed = requests <= limits.requests.max(1) && answers <= limits.answers.max(1);
            let unasked = loss * again.powi(i32::from(requests) - 1);
            let unanswered = loss * apart.powi(i32::from(answers) - 1);
            let fails = 1.0 - (1.0 - unasked) * (1.0 - unanswered);
            allowed.then_some(Round { requests, answers, fails, unasked })
        });
        let best = rounds.iter().flatten().map(|round| round.fails).fold(1.0, f64::min);
        let stuck = again.powi(i32::from(limits.requests.max(1)));
        let stuck = if burst < BURST { best } else { stuck.max(best) };
        let target = limits.target.max(loss.powi(POWER));
        let request = REQUEST / burst.max(1.0);
        Self { rounds, loss, best, stuck, share: limits.share, target, request }
    }

    /// The probability that a packet is missing in the first place.
    pub(super) const fn loss(&self) -> f64 {
        self.loss
    }

    /// The copies of this round, if `behind` more rounds can follow it, for a packet that got here with probability `risk`.
    pub(super) fn round(&self, risk: f64, behind: u32) -> Round {
        let behind = i32::try_from(behind.min(64)).unwrap_or(64);
        let (after, stuck) = (self.best.powi(behind), self.stuck.powi(behind));
        let left = |round: &Round| risk * (round.unasked * stuck + (round.fails - round.unasked) * after);
        let cost =
            |round: &Round| risk * (f64::from(round.answers) + f64::from(round.requests) * self.request);
        let mut chosen = Round { requests: 1, answers: 1, fails: 1.0, unasked: 0.0 };
        let mut least = f64::MAX;
        for round in self.rounds.iter().flatten() {
            let copies = f64::from(round.answers.saturating_sub(1)) * risk;
            if copies > self.share || left(round) >= least {
                continue;
            }
            let more = cost(round) - cost(&chosen);
            let worth = (least / left(round)).log2() * HALVES >= more && (least > SOFT || more <= CHEAP);
            if !worth {
                continue;
            }
            (chosen, least) = (*round, left(round));
            if least <= self.target {
                break;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { requests: MAX_REQUESTS, answers: MAX_ANSWERS, share: 0.1, target: 1e-9 };

    /// What is left after `rounds` rounds, and the answers that it takes for each packet.
    fn prospects(plan: &Plan, rounds: u32) -> (f64, f64) {
        let (mut risk, mut cost) = (plan.loss(), 0.0);
        for behind in (0..rounds).rev() {
            let round = plan.round(risk, behind);
            cost += risk * f64::from(round.answers);
            risk *= round.fails;
        }
        (risk, cost)
    }

    #[test]
    fn four_rounds_leave_next_to_nothing_and_cost_little_more_than_the_loss() {
        for (loss, most, cost) in
            [(0.001, 1e-9, 0.002), (0.01, 2e-9, 0.02), (0.1, 2e-8, 0.2), (0.2, 1e-5, 0.45)]
        {
            let (risk, answers) = prospects(&Plan::new(loss, 1.0, LIMITS), 4);
            assert!(risk <= most && answers <= cost, "{loss}: {risk:e}, {answers}");
        }
    }

    #[test]
    fn copies_wait_for_the_last_rounds() {
        let plan = Plan::new(0.1, 1.0, LIMITS);
        let first = plan.round(0.1, 3);
        assert_eq!((first.requests, first.answers), (1, 1));
        let last = plan.round(1e-4, 0);
        assert_eq!((last.requests, last.answers), (MAX_REQUESTS, MAX_ANSWERS));
        // One round for all: copies of requests are cheap, of answers they are not.
        assert_eq!(plan.round(0.1, 0).answers, 2);
        assert_eq!(Plan::new(0.2, 1.0, LIMITS).round(0.2, 0).answers, 1);
        // Limits hold.
        let plan = Plan::new(0.1, 1.0, Limits { requests: 0, answers: 0, ..LIMITS });
        let only = plan.round(1e-4, 0);
        assert_eq!((only.requests, only.answers, only.fails), (1, 1, plan.best));
    }

    #[test]
    fn bursts_take_more_copies_of_requests() {
        let (random, bursts) = (Plan::new(0.05, 1.05, LIMITS), Plan::new(0.05, 10.0, LIMITS));
        assert!(bursts.round(0.05, 1).requests > random.round(0.05, 1).requests);
        for loss in [0.0, 1.0, f64::NAN] {
            let round = Plan::new(loss, f64::NAN, LIMITS).round(1.0, u32::MAX);
            assert!(round.requests >= 1 && round.answers >= 1);
        }
    }
}
