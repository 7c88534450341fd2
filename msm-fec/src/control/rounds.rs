//! What requests leave of the losses, and what they cost, as a [`Requester`](crate::nack::Requester) makes them.

use super::Conditions;
use super::plan::Round;
use crate::nack::{RequesterConfig, Schedule};

/// The most rounds of requests that are planned: what is lost after so many is lost.
pub const MAX_ROUNDS: usize = 8;

/// What a request costs on the wire beside a packet of the media, in bytes: IP, UDP, SRTCP and the message.
const REQUEST_BYTES: f64 = 90.0;

/// Rounds of requests, and what they do to each packet that is missing before the first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rounds {
    rounds: [Option<Round>; MAX_ROUNDS],
    /// Share of the missing packets that stays missing.
    pub(super) leaves: f64,
    /// The same after each number of rounds.
    after: [f64; MAX_ROUNDS + 1],
    /// Bytes for each missing packet, in packets of the media.
    pub(super) costs: f64,
}

impl Rounds {
    /// No request.
    pub(super) const NONE: Self =
        Self { rounds: [None; MAX_ROUNDS], leaves: 1.0, after: [1.0; MAX_ROUNDS + 1], costs: 0.0 };

    /// `count` rounds under these conditions, of which `most` copies of an answer are sent, however many are asked for.
    pub(super) fn new(conditions: &Conditions, count: usize, most: u32) -> Self {
        let (forward, back) = (conditions.forward.sane(), conditions.back.sane());
        let request = REQUEST_BYTES / conditions.traffic.bytes.max(1.0);
        let schedule = Schedule::new(forward.loss, forward.burst, &RequesterConfig::new(conditions.budget));
        let mut rounds = Self::NONE;
        // Copies of an answer are as far from each other as a request names packets: a run of losses.
        let apart = forward.burst.round().clamp(1.0, 64.0) as u32;
        // Still missing because the request was lost, and because the answer was. Requests are all that goes that way, so what lost
        // the last one is still there for the next.
        let (mut unasked, mut unanswered) = (0.0, 1.0);
        let mut risk = forward.loss;
        let count = count.min(MAX_ROUNDS);
        let places = rounds.rounds.iter_mut().zip(rounds.after.iter_mut().skip(1));
        for ((place, after), behind) in places.zip((0..count).rev()) {
            let (requests, answers, fails) = schedule.round(risk, u32::try_from(behind).unwrap_or(u32::MAX));
            let answers = answers.min(most);
            risk *= fails;
            *place = Some(Round { requests, answers });
            let missing = unasked + unanswered;
            // One request names what a run of losses took.
            rounds.costs += missing / forward.burst * f64::from(requests) * request;
            let lost = unanswered * back.all_lost(requests.saturating_sub(1), 1)
                + unasked * back.stays_lost(requests);
            let asked = missing - lost;
            rounds.costs += asked * f64::from(answers);
            unasked = lost;
            unanswered = asked * forward.all_lost(answers.saturating_sub(1), apart);
            *after = unasked + unanswered;
        }
        rounds.leaves = unasked + unanswered;
        rounds
    }

    /// What stays missing if only the first `fits` rounds come in time.
    pub(super) fn leaves_after(&self, fits: usize) -> f64 {
        self.after.get(fits).copied().unwrap_or(self.leaves)
    }

    pub(super) const fn any(&self) -> bool {
        matches!(self.rounds, [Some(_), ..])
    }

    pub(super) fn to_vec(self) -> Vec<Round> {
        self.rounds.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::{Channel, Traffic};

    fn rounds(loss: f64, burst: f64, count: usize) -> Rounds {
        let channel = Channel { loss, burst }.sane();
        let ms = Duration::from_millis;
        let traffic =
            Traffic { packets: 33.0, interval: ms(40), length: ms(3), bytes: 1200.0, longest: 1200.0 };
        let conditions = Conditions {
            forward: channel,
            back: channel,
            rtt: ms(20),
            detection: ms(2),
            budget: ms(100),
            runs: 1000.0,
            traffic,
        };
        Rounds::new(&conditions, count, u32::MAX)
    }

    #[test]
    fn each_round_leaves_less_and_more_cost_more() {
        assert_eq!((Rounds::NONE.leaves, Rounds::NONE.costs), (1.0, 0.0));
        for (loss, burst) in [(0.01, 1.0), (0.1, 1.0), (0.05, 3.0), (0.05, 10.0)] {
            let all: Vec<_> = (0..=6).map(|count| rounds(loss, burst, count)).collect();
            // Once enough is recovered, more rounds are there to save copies.
            let less = |pair: &[Rounds]| pair[1].leaves < pair[0].leaves || pair[1].leaves * loss < 1e-5;
            assert!(all.windows(2).all(less), "{loss} {burst}");
            assert_eq!(all[4].to_vec().len(), 4);
            assert!((1.0..2.0).contains(&all[6].costs), "{loss} {burst}: {}", all[6].costs);
        }
        assert!(rounds(0.1, 1.0, 4).leaves < 1e-5 && rounds(0.1, 1.0, 4).leaves > 1e-9);
        assert_eq!(rounds(0.1, 1.0, 99).to_vec().len(), MAX_ROUNDS);
    }
}
