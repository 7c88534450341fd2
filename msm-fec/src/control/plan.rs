//! The cheapest means that leave no more than the target of the losses, within the budget.

use std::fmt;
use std::time::Duration;

use super::Channel;

/// The most rounds of requests that are planned: what is lost after so many is lost.
pub const MAX_ROUNDS: usize = 8;
/// The most source packets of a block, so that repair packets for half as many fit the code as well.
pub const MAX_SOURCE: usize = 128;
/// The most bursts of the source that one block may span.
const MAX_SPAN: usize = 4;
/// The most copies of an answer.
const MAX_COPIES: u32 = 4;
/// The most copies of a request.
const MAX_REQUESTS: u32 = 8;
/// What a request costs on the wire beside a packet of the media, in bytes: IP, UDP, SRTCP and the message.
const REQUEST_BYTES: f64 = 90.0;
/// What a repair packet has more than the longest packet of its block.
const REPAIR_BYTES: f64 = 22.0;
/// A round trip is not hit to the millisecond: what is kept free for each.
const GUARD: Duration = Duration::from_millis(1);

/// How the source sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Packets that it sends at once, such as those of a video frame.
    pub packets: f64,
    /// From one such burst to the next.
    pub interval: Duration,
    /// How long a burst takes.
    pub length: Duration,
    /// Bytes of a packet.
    pub bytes: f64,
}

/// What is known of the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Losses of media.
    pub forward: Channel,
    /// Losses of requests.
    pub back: Channel,
    /// Round trip, with what has to be allowed for its variation.
    pub rtt: Duration,
    /// From the time at which a packet should have come to the request for it.
    pub detection: Duration,
    /// How much later than without loss a packet may be handed on.
    pub budget: Duration,
    /// How the source sends.
    pub traffic: Traffic,
}

/// What a plan may cost, and is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Everything sent beside the media, as a share of it.
    pub overhead: f64,
    /// Share of packets that may be lost in the end.
    pub target: f64,
    /// Whether repair packets may be used, and whether requests may.
    pub fec: bool,
    /// See [`fec`](Self::fec).
    pub nack: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { overhead: 0.5, target: 5e-6, fec: true, nack: true }
    }
}

/// The size of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Source packets.
    pub source: usize,
    /// Repair packets.
    pub repair: usize,
    /// Bursts of the source that a block spans.
    pub span: usize,
}

/// One round of requests: how many copies of the request, and of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Copies of the request.
    pub requests: u32,
    /// Copies of each answer.
    pub answers: u32,
}

/// What is done, and what is expected of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Repair packets that go ahead.
    pub code: Option<Code>,
    /// Rounds of requests, at most [`MAX_ROUNDS`].
    pub rounds: Vec<Round>,
    /// How long a request waits for repair packets.
    pub hold_off: Duration,
    /// Share of packets that will be lost in the end.
    pub residual: f64,
    /// What it costs, as a share of the media.
    pub overhead: f64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(Code { source, repair, span }) => write!(f, "FEC {source}+{repair} over {span} bursts")?,
            None => write!(f, "no FEC")?,
        }
        match self.rounds.as_slice() {
            [] => write!(f, ", no retransmission")?,
            rounds => {
                let copies =
                    rounds.iter().map(|round| round.answers.to_string()).collect::<Vec<_>>().join("/");
                write!(f, ", {} rounds of retransmission with {copies} copies", rounds.len())?;
            }
        }
        write!(f, ": {:.1e} lost at {:.1} % overhead", self.residual, self.overhead * 100.0)
    }
}

impl Conditions {
    /// The cheapest plan that leaves no more than the target; where there is none, the one that leaves least within the limits.
    pub fn plan(&self, limits: &Limits) -> Plan {
        let mut best = self.evaluate(None, 0, &[]);
        let mut consider = |plan: Plan| {
            let within = plan.overhead <= limits.overhead;
            let meets = |plan: &Plan| plan.residual <= limits.target;
            let better = match (meets(&plan), meets(&best)) {
                (true, true) => plan.overhead < best.overhead,
                (true, false) => true,
                (false, true) => false,
                (false, false) => {
                    // Much more is not spent for a little less loss.
                    plan.residual < best.residual * 0.9
                        || plan.residual < best.residual && plan.overhead < best.overhead
                }
            };
            if within && better {
                best = plan;
            }
        };
        for span in 0..=if limits.fec { MAX_SPAN } else { 0 } {
            let Some(delay) = self.code_delay(span) else { break };
            let source = self.source(span);
            let rounds = if limits.nack { self.rounds(delay) } else { 0 };
            let most = if span == 0 { 0 } else { (source as f64 * limits.overhead) as usize };
            let mut repair = 0;
            while repair <= most {
                let code = (span > 0).then_some(Code { source, repair, span });
                if code.is_none() || repair > 0 {
                    let left = code.map_or(self.forward.sane().loss, |code| {
                        self.forward.after_code(code.source, code.repair, 1)
                    });
                    for used in 0..=rounds {
                        for first in 1..=MAX_COPIES {
                            let schedule = schedule(used, first);
                            consider(self.finish(code, delay, left, &schedule));
                            if used == 0 {
                                break;
                            }
                        }
                    }
                    if left < limits.target / 10.0 {
                        break;
                    }
                }
                // Fine steps where a packet counts, coarse ones where there are many.
                repair += 1 + repair / 12;
            }
        }
        best
    }

    /// How many rounds fit behind a delay.
    fn rounds(&self, delay: Duration) -> usize {
        let left = self.budget.saturating_sub(self.detection).saturating_sub(delay);
        let round = (self.rtt + GUARD).as_secs_f64();
        ((left.as_secs_f64() / round) as usize).min(MAX_ROUNDS)
    }

    /// When the repair packets of a block are there, counted from its first packet; `None` if that is too late for it.
    fn code_delay(&self, span: usize) -> Option<Duration> {
        if span == 0 {
            return Some(Duration::ZERO);
        }
        let between = self.traffic.interval.checked_mul(u32::try_from(span - 1).ok()?)?;
        let delay = between + self.traffic.length + GUARD;
        (delay <= self.budget && span as f64 * self.traffic.packets <= MAX_SOURCE as f64 + 0.5)
            .then_some(delay)
    }

    fn source(&self, span: usize) -> usize {
        ((self.traffic.packets * span as f64).round() as usize).clamp(1, MAX_SOURCE)
    }

    fn evaluate(&self, code: Option<Code>, span: usize, rounds: &[Round]) -> Plan {
        let delay = self.code_delay(span).unwrap_or_default();
        let left = match code {
            Some(code) => self.forward.after_code(code.source, code.repair, 1),
            None => self.forward.sane().loss,
        };
        self.finish(code, delay, left, rounds)
    }

    fn finish(&self, code: Option<Code>, delay: Duration, left: f64, rounds: &[Round]) -> Plan {
        let bytes = self.traffic.bytes.max(1.0);
        let mut overhead = code.map_or(0.0, |code| {
            code.repair as f64 / code.source.max(1) as f64 * (1.0 + REPAIR_BYTES / bytes)
        });
        // Still missing because the request was lost, and because the answer was. Requests are all that goes that way, so what lost
        // the last one is still there for the next.
        let (mut unasked, mut unanswered) = (0.0, left);
        for round in rounds {
            let residual = unasked + unanswered;
            // One request names what a run of losses took.
            let runs = residual / self.forward.sane().burst;
            overhead += runs * f64::from(round.requests) * REQUEST_BYTES / bytes;
            let lost = unanswered * self.back.all_lost(round.requests.saturating_sub(1), 1)
                + unasked * self.back.stays_lost(round.requests);
            let asked = residual - lost;
            overhead += asked * f64::from(round.answers);
            unasked = lost;
            unanswered = asked * self.forward.all_lost(round.answers.saturating_sub(1), 1);
        }
        let residual = unasked + unanswered;
        let hold_off = if rounds.is_empty() { Duration::ZERO } else { delay };
        Plan { code, rounds: rounds.to_vec(), hold_off, residual, overhead }
    }
}

/// More copies towards the end: few packets get that far.
fn schedule(rounds: usize, first: u32) -> Vec<Round> {
    (0..rounds)
        .map(|round| {
            let copies = first + u32::try_from(round).unwrap_or(MAX_COPIES);
            Round { requests: (2 * copies).min(MAX_REQUESTS), answers: copies.min(MAX_COPIES) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(packets: f64) -> Traffic {
        Traffic {
            packets,
            interval: Duration::from_millis(40),
            length: Duration::from_micros((packets * 100.0) as u64),
            bytes: 1200.0,
        }
    }

    fn at(loss: f64, burst: f64, rtt: u64, budget: u64, packets: f64) -> Conditions {
        let channel = Channel { loss, burst }.sane();
        Conditions {
            forward: channel,
            back: channel,
            rtt: Duration::from_millis(rtt),
            detection: Duration::from_millis(2),
            budget: Duration::from_millis(budget),
            traffic: video(packets),
        }
    }

    #[test]
    fn nothing_is_spent_where_nothing_is_lost() {
        let plan = at(0.0, 1.0, 20, 100, 33.0).plan(&Limits::default());
        assert_eq!((plan.code, plan.overhead), (None, 0.0));
    }

    #[test]
    fn packets_are_asked_for_again_where_round_trips_fit() {
        for packets in [8.0, 33.0] {
            for (rtt, loss) in [(2, 0.1), (20, 0.01), (20, 0.1), (80, 0.1)] {
                let plan = at(loss, 1.0, rtt, 4 * rtt + 20, packets).plan(&Limits::default());
                assert!(plan.residual <= 5e-6, "{rtt} ms, {loss}: {plan}");
                assert!(plan.overhead <= 2.5 * loss + 0.02, "{rtt} ms, {loss}: {plan}");
            }
        }
    }

    #[test]
    fn repair_packets_go_ahead_where_none_fits() {
        let plan = at(0.05, 1.0, 80, 60, 33.0).plan(&Limits::default());
        assert!(plan.rounds.is_empty() && plan.code.is_some(), "{plan}");
        assert!(plan.residual <= 1e-4 && plan.overhead <= 0.5, "{plan}");
    }

    #[test]
    fn both_work_together_where_one_round_trip_fits() {
        let plan = at(0.1, 1.0, 80, 140, 33.0).plan(&Limits { target: 1e-5, ..Limits::default() });
        assert!(plan.rounds.len() == 1 && plan.code.is_some(), "{plan}");
        assert!(plan.residual <= 1e-5 && plan.overhead <= 0.3, "{plan}");
    }

    #[test]
    fn the_limit_is_kept_whatever_is_lost() {
        for loss in [0.01, 0.2, 0.5, 0.9] {
            for burst in [1.0, 10.0] {
                let limits = Limits { overhead: 0.25, ..Limits::default() };
                let plan = at(loss, burst, 80, 60, 8.0).plan(&limits);
                assert!(plan.overhead <= 0.25, "{plan}");
                let pinned = at(loss, burst, 20, 100, 8.0).plan(&Limits { fec: false, ..limits });
                assert!(pinned.code.is_none(), "{pinned}");
            }
        }
    }

    #[test]
    fn a_plan_says_what_it_is() {
        let plan = at(0.05, 1.0, 80, 60, 33.0).plan(&Limits::default());
        assert!(plan.to_string().starts_with("FEC "), "{plan}");
    }
}
