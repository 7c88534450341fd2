//! The cheapest means that leave no more than the target of the losses, within the budget.

use std::fmt;
use std::time::Duration;

use super::candidate::{Blocks, Candidate};
use super::{Conditions, Limits};

/// The most source packets of a block, so that repair packets for half as many fit the code as well.
pub const MAX_SOURCE: usize = 128;
/// The most bursts of the source that one block may span.
pub const MAX_SPAN: usize = 8;
/// The most blocks that are filled in turn.
pub const MAX_DEPTH: usize = 32;
/// What repair packets have to be worth, as times less loss, where the target is out of reach without and packets can be asked for; and
/// as much more as this by runs of losses that were seen.
const WORTH: f64 = 1.4;
/// See [`WORTH`].
const DOUBT: f64 = 20.0;

/// The size of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Source packets.
    pub source: usize,
    /// Repair packets.
    pub repair: usize,
    /// Bursts of the source that a block spans.
    pub span: usize,
    /// Blocks that packets go to in turn.
    pub depth: usize,
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
    /// Repair packets for each source packet, on average: blocks have one more or fewer.
    pub share: f64,
    /// What they take, as a share of the media's bytes.
    pub ahead: f64,
    /// Rounds of requests, at most [`MAX_ROUNDS`](super::MAX_ROUNDS).
    pub rounds: Vec<Round>,
    /// How long a request waits for repair packets: until they are there, though where packets are lost one by one not until no answer
    /// would come in time any more. As long as can be where nothing is to be asked for.
    pub hold_off: Duration,
    /// Share of packets that will be lost in the end.
    pub residual: f64,
    /// What it costs, as a share of the media.
    pub overhead: f64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(Code { source, repair, span, depth }) => {
                write!(f, "FEC {source}+{repair}")?;
                match depth {
                    0 | 1 => {}
                    depth => write!(f, ", {depth} blocks in turn,")?,
                }
                match span {
                    0 | 1 => write!(f, " a burst")?,
                    span => write!(f, " over {span} bursts")?,
                }
            }
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
    ///
    /// Tells apart a few hundred plans in some tenths of a millisecond, and allocates: it is for reports, not for packets.
    ///
    /// Requests cost next to what is lost and no more, and depend least on what is known of the path. So repair packets have to be worth
    /// it, the more so while that is little.
    pub fn plan(&self, limits: &Limits) -> Plan {
        let target = limits.target_in(self);
        let mut coded = None;
        for span in 1..=if limits.fec { MAX_SPAN } else { 0 } {
            let Some(blocks) = Blocks::new(self, span, limits) else { break };
            let asked = self.asked_behind(span, limits);
            for repairs in blocks.repairs() {
                blocks.candidate(repairs, &asked).improve(&mut coded, target);
            }
        }
        let best = Blocks::none(self, limits);
        let times = if best.asked.any() { WORTH + DOUBT / self.runs.max(0.1) } else { 1.0 };
        let pinned = limits.share.is_some();
        let coded = coded.filter(|coded| pinned || coded.is_worth(&best, target, times));
        Plan::of(coded.unwrap_or(best), self)
    }
}

impl Plan {
    fn of(candidate: Candidate, conditions: &Conditions) -> Self {
        let rounds = candidate.asked.rounds();
        let hold_off = match candidate.delay {
            // Nobody asks for what has no use any more.
            _ if rounds.is_empty() => conditions.budget,
            // Larger blocks were made for runs of losses, and asking early for all of a run costs more than it brings.
            delay if conditions.forward.is_bursty() => delay,
            // What the first packets of a block lost can wait for its repair packets no longer than an answer still comes in time.
            delay => delay.min(conditions.last_ask()),
        };
        let Candidate { code, share, ahead, residual, overhead, .. } = candidate;
        Self { code, share, ahead, rounds, hold_off, residual, overhead }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
