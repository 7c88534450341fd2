//! Retransmission: a receiver asks for what is missing (NACK, RFC 4585 §6.2.1), the sender sends it again (RTX, RFC 4588).
//!
//! ```text
//! sender    History (by reference) ── Responder ──► answers      Tail ──► where the line ends, after each frame
//! receiver  Requester: gaps ── when and how often to ask ──► requests
//! ```
//!
//! Everything counts packets by their extended index; 16-bit numbers are in [`wire`] and [`rtx`] only.

mod allowance;
mod gap;
mod history;
mod plan;
mod requester;
mod responder;
mod ring;
pub mod rtx;
mod store;
mod tail;
mod types;
pub mod wire;

pub use history::{History, HistoryLimits, Pushed};
pub use requester::Requester;
pub use responder::{Answer, Responder, ResponderConfig, ResponderStats};
pub use ring::{ByteRing, Place};
pub use store::{Kept, Store};
pub use tail::{Tail, TailConfig};
pub use types::{Arrival, Event, Reason, Request, RequesterConfig, RequesterStats};

/// Packets that one request names, at most.
pub const MAX_REQUEST: usize = 256;

/// Packets that a receiver asks for, copies counted, for each packet that comes; four times what it tracks at once. So a peer whose
/// numbers jump makes it send no more than a few times what it got.
pub const ASKS_PER_PACKET: u64 = 16;

/// Copies of an answer that are asked for at once, at most; a responder gives no more.
pub const MAX_ANSWERS: u8 = 4;

/// Copies of a request, at most.
pub const MAX_REQUESTS: u8 = 20;

/// How often a [`Requester`] asks for what, for who plans with it.
#[derive(Debug)]
pub(crate) struct Schedule(plan::Plan);

impl Schedule {
    pub(crate) fn new(loss: f64, burst: f64, config: &RequesterConfig) -> Self {
        Self(plan::Plan::new(loss, burst, config.limits()))
    }

    /// Copies of the request and of the answer, and the chance that it brings nothing, with `behind` rounds after it.
    pub(crate) fn round(&self, risk: f64, behind: u32) -> (u32, u32, f64) {
        let round = self.0.round(risk, behind);
        (round.requests.into(), round.answers.into(), round.fails)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::time::{Duration, Instant};

    /// Some instant, with room before it.
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    pub(crate) fn epoch() -> Instant {
        Instant::now() + Duration::from_secs(1_000)
    }

    pub(crate) const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }
}
