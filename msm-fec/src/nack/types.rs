//! What a requester is told, and what it tells.

use std::time::Duration;

use super::plan::Limits;
use super::{MAX_ANSWERS, MAX_REQUESTS};

/// What a requester may do.
#[derive(Debug, Clone, Copy)]
pub struct RequesterConfig {
    /// After so long a missing packet is of no use: the hop's latency budget.
    pub budget: Duration,
    /// Missing packets that are tracked, at most; a step of the line beyond it is a new start. Default 4096.
    pub max_gaps: usize,
    /// Copies of a request, at most [`MAX_REQUESTS`].
    pub max_requests: u8,
    /// Copies of an answer that are asked for, at most [`MAX_ANSWERS`].
    pub max_answers: u8,
    /// What copies of answers may take, beside the first of each, as a share of the media. Default 0.25.
    pub copy_share: f64,
    /// Share of packets that may stay lost. Default 1e-9.
    pub target: f64,
}

impl RequesterConfig {
    /// The defaults, for a latency budget.
    #[must_use]
    pub const fn new(budget: Duration) -> Self {
        Self {
            budget,
            max_gaps: 4096,
            max_requests: MAX_REQUESTS,
            max_answers: MAX_ANSWERS,
            copy_share: 0.25,
            target: 1e-9,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            requests: self.max_requests.min(MAX_REQUESTS),
            answers: self.max_answers.min(MAX_ANSWERS),
            share: self.copy_share,
            target: self.target,
        }
    }
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// As it was sent first.
    Media,
    /// As an answer to a request.
    Retransmission,
    /// By forward error correction, or otherwise.
    Repaired,
}

/// What a timeout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To ask, or to give up ([`super::Requester`]).
    Gap,
    /// To tell where the line ends ([`super::Tail`]).
    Tail,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A packet's time is over, after so many rounds of asking.
    GaveUp {
        /// The packet.
        index: u64,
        /// Rounds of asking.
        rounds: u8,
    },
    /// The line goes on elsewhere; what was missing before is not asked for.
    Restarted {
        /// The next index.
        next: u64,
    },
}

/// A request to send: the packets that are wanted once or more, those wanted twice or more, and so on; ascending.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(super) passes: &'a [Vec<u64>; MAX_ANSWERS as usize],
}

impl<'a> Request<'a> {
    /// For [`super::wire::write_request`]. Empty passes are left out.
    pub fn passes(self) -> impl Iterator<Item = &'a [u64]> {
        self.passes.iter().filter(|pass| !pass.is_empty()).map(Vec::as_slice)
    }
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequesterStats {
    /// Packets found missing.
    pub gaps: u64,
    /// Packets asked for, each round counted.
    pub requested: u64,
    /// As many, for copies of requests.
    pub request_copies: u64,
    /// Missing packets that came as answers.
    pub answered: u64,
    /// Missing packets that were repaired otherwise.
    pub repaired: u64,
    /// Missing packets that came by themselves.
    pub late: u64,
    /// Packets asked for that had not been lost: they came by themselves, before the answer or behind it.
    pub spurious: u64,
    /// Missing packets whose time was over.
    pub gave_up: u64,
    /// Missing packets that were forgotten because too many were missing.
    pub overflow: u64,
    /// How often a packet was not asked for in its time, as too many were ([`super::ASKS_PER_PACKET`]).
    pub throttled: u64,
    /// New starts of the line.
    pub restarts: u64,
}
