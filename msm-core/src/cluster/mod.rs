//! A cluster: its endpoints, which of them are well, and whose turn it is.
//!
//! A [`Cluster`] is one state machine for all that decides where an upstream session goes. It opens nothing itself: the runtime tells it
//! what discovery says ([`Cluster::set_endpoints`]), what became of sessions and checks, and asks it for the next endpoint.

mod agenda;
pub mod canary;
mod check;
mod endpoint;
mod level;
mod machine;
mod member;
mod options;
mod outcome;
mod outlier;
pub mod pick;
mod pool;
mod sessions;
mod slow_start;
mod view;
mod watch;
mod window;
mod zone;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use check::{ActiveOptions, Check, CheckFailure, CheckKind};
pub use endpoint::{Endpoint, EndpointError};
pub use machine::Cluster;
pub use options::{ClusterLimits, ClusterOptions};
pub use outcome::Outcome;
pub use outlier::{KNOWN_FOR, OutlierOptions};
pub use pick::{BalanceKind, HashOn, Picker};
pub use view::{ClusterEvent, EndpointView, Health, Why};

/// Names an endpoint of one cluster as long as it is a member of it; never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An endpoint as the configuration or discovery has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its share, relative to the others'; 0 gets nothing new.
    pub weight: u32,
    /// The failure domain that it is in, such as a datacentre.
    pub zone: Option<Zone>,
    /// Those with a higher number get nothing new while any with a lower one can be had (RFC 2782).
    pub priority: u16,
}

/// The name of a failure domain.
pub type Zone = Arc<str>;

impl EndpointSpec {
    /// With weight 1, no zone and the first priority.
    pub fn new(endpoint: Endpoint) -> Self {
        EndpointSpec { endpoint, weight: 1, zone: None, priority: 0 }
    }
}

/// What the configuration says of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSpec {
    /// The name that routes refer to.
    pub name: String,
    /// Where the streams are, in the order of the configuration.
    pub endpoints: Vec<EndpointSpec>,
    /// How it behaves.
    pub options: ClusterOptions,
}

/// Who asks, and for what: hashes that are the same for the same client and the same URL, in all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PickKey {
    /// Of the client.
    pub client: u64,
    /// Of the URL.
    pub url: u64,
}

/// Why there is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The cluster has none.
    #[error("the cluster has no endpoint")]
    Empty,
    /// All that there are have been tried.
    #[error("every endpoint of the cluster was tried")]
    Tried,
    /// None of them is usable.
    #[error("none of the cluster's {of} endpoints is usable: unhealthy, ejected, or without a weight")]
    Unhealthy {
        /// How many there are.
        of: usize,
    },
    /// Those that are usable have all the sessions that they may have, or the cluster has.
    #[error("`{limit}` of {of} is reached")]
    Full {
        /// The key of the cluster's configuration.
        limit: &'static str,
        /// Its value.
        of: u32,
    },
}

/// What [`Cluster::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A check is due, or one was not answered.
    Check,
    /// An ejected endpoint is to return.
    Return,
    /// A new endpoint gets more of its weight.
    Ramp,
}

/// How much of `of` it is, in percent; 0 of nothing.
fn percent_of(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
fn some_instant() -> std::time::Instant {
    std::time::Instant::now()
}
