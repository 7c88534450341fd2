//! Who is next among the endpoints of a cluster.
//!
//! | kind | who is next | a pick costs |
//! |---|---|---|
//! | [`RoundRobin`] | whose turn it is, turns being as frequent as weights say | O(log n) |
//! | [`LeastStreams`] | who has the fewest sessions for its weight | O(1), O(log n) when a session begins or ends |
//! | [`LeastBitrate`] | who sends the least for its weight | the same |
//! | [`Random`] | whoever is drawn, by weight | O(log n) |
//! | [`PowerOfTwo`] | of two that are drawn by weight, who has fewer sessions for it | O(log n) |
//! | [`Maglev`] | whoever the hash of URL or client belongs to | O(1) |

mod least;
mod least_bitrate;
mod least_streams;
mod maglev;
mod power_of_two;
mod random;
mod round_robin;
mod sums;
mod tournament;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use tests::KINDS as KINDS_OF_TESTS;

pub use least_bitrate::LeastBitrate;
pub use least_streams::LeastStreams;
pub use maglev::{MAX_TABLE, Maglev, is_table_size};
pub use power_of_two::PowerOfTwo;
pub use random::Random;
pub use round_robin::RoundRobin;

use super::PickKey;
use crate::rng::Rng;

/// How a cluster's endpoint is picked for an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalanceKind {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest sessions.
    LeastStreams,
    /// The one that sends the least.
    LeastBitrate,
    /// Any.
    Random,
    /// The one with fewer sessions of any two.
    PowerOfTwo,
    /// The same one for the same URL or client, in all processes.
    Maglev {
        /// What stays together.
        on: HashOn,
        /// Entries of the table: a prime, more than a hundred for each endpoint.
        table: u32,
    },
}

/// What is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashOn {
    /// What is asked for.
    #[default]
    Url,
    /// Who asks.
    Client,
}

impl HashOn {
    pub(super) fn of(self, key: PickKey) -> u64 {
        match self {
            HashOn::Url => key.url,
            HashOn::Client => key.client,
        }
    }
}

impl BalanceKind {
    /// A picker of this kind with its own state.
    pub fn picker(self) -> Box<dyn Picker + Send> {
        match self {
            BalanceKind::RoundRobin => Box::new(RoundRobin::default()),
            BalanceKind::LeastStreams => Box::new(LeastStreams::default()),
            BalanceKind::LeastBitrate => Box::new(LeastBitrate::default()),
            BalanceKind::Random => Box::new(Random::default()),
            BalanceKind::PowerOfTwo => Box::new(PowerOfTwo::default()),
            BalanceKind::Maglev { on, table } => Box::new(Maglev::new(on, table)),
        }
    }

    /// The part of a key that decides who is picked, if one does.
    pub(super) fn hash(self, key: PickKey) -> Option<u64> {
        match self {
            BalanceKind::Maglev { on, .. } => Some(on.of(key)),
            _ => None,
        }
    }

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            BalanceKind::RoundRobin => "round_robin",
            BalanceKind::LeastStreams => "least_streams",
            BalanceKind::LeastBitrate => "least_bitrate",
            BalanceKind::Random => "random",
            BalanceKind::PowerOfTwo => "power_of_two",
            BalanceKind::Maglev { .. } => "maglev",
        }
    }
}

/// What a picker knows of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// A hash of where it is: the same in all processes.
    pub place: u64,
    /// Its weight; 0 is never picked.
    pub weight: u32,
    /// How much of its weight it gets now, above 0 and at most 1: less while it is new.
    pub share: f64,
    /// Its sessions.
    pub sessions: u32,
    /// What it sends, as far as known, and what its newest sessions are expected to add, in bits a second.
    pub load: f64,
    /// Whether it may be picked: it is well, and not full.
    pub open: bool,
}

impl Candidate {
    /// The weight now. Never 0 for one that may be picked.
    pub fn weight_now(&self) -> f64 {
        f64::from(self.weight) * self.share
    }

    /// Whether it may be picked.
    pub fn is_open(&self) -> bool {
        self.open && self.weight > 0
    }

    /// The weight now as a whole number of 1024ths, 0 for one that may not be picked.
    fn tickets(&self) -> u64 {
        if self.is_open() { ((self.weight_now() * 1024.0) as u64).max(1) } else { 0 }
    }
}

/// Picks one of a list of candidates. The state belongs to the implementation; there is no clock, and no randomness but what it is given.
pub trait Picker {
    /// These are the candidates now; others before, or none.
    fn set(&mut self, candidates: &[Candidate]);

    /// The candidate at `index` is now like this; its place and its weight are as they were.
    fn update(&mut self, index: usize, candidate: &Candidate);

    /// The index of the next candidate that is open and none of `tried`; `None` when there is none.
    fn pick(&mut self, key: PickKey, rng: &mut Rng, tried: &[usize]) -> Option<usize>;
}
