//! What is known of endpoints, for those who show it.

use std::fmt;
use std::time::Instant;

use super::check::CheckFailure;
use super::{Endpoint, EndpointId, EndpointSpec};

/// Why an endpoint is not used.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// Checks failed, the last one by this.
    Check(CheckFailure),
    /// So many sessions in a row could not be set up.
    Failures(u32),
    /// Of so many sessions within the window, so many could not be set up.
    Ratio {
        /// That failed.
        failed: u64,
        /// Of so many.
        of: u64,
    },
    /// The media of so many sessions stopped within the window.
    Silences(u32),
    /// So many connections broke off within the window.
    Resets(u32),
    /// Of so many packets of the window, so many did not come.
    Loss {
        /// That did not come.
        lost: u64,
        /// Of so many.
        of: u64,
    },
    /// So many packets of the window were no media.
    Garbage(u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Check(failure) => write!(f, "checks fail: {failure}"),
            Why::Failures(count) => write!(f, "{count} sessions in a row could not be set up"),
            Why::Ratio { failed, of } => write!(f, "{failed} of {of} sessions could not be set up"),
            Why::Silences(count) => write!(f, "the media of {count} sessions stopped"),
            Why::Resets(count) => write!(f, "{count} connections broke off"),
            Why::Loss { lost, of } => write!(f, "{lost} of {of} packets were lost on the way from it"),
            Why::Garbage(packets) => write!(f, "{packets} packets were no media"),
        }
    }
}

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    /// Not checked, or not yet: it is used.
    Unknown,
    /// Checks succeed.
    Healthy,
    /// Checks fail.
    Unhealthy {
        /// By what.
        why: Why,
    },
    /// Sessions failed too often: it is left out for a while.
    Ejected {
        /// Until then.
        until: Instant,
        /// What failed.
        why: Why,
    },
}

/// An endpoint as it is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndpointView<'c> {
    /// Which one.
    pub id: EndpointId,
    /// As it was given.
    pub spec: &'c EndpointSpec,
    /// Upstream sessions, those that are being set up among them.
    pub sessions: u32,
    /// What they bring, in bits a second.
    pub bitrate: u64,
    /// How it is.
    pub health: Health,
    /// Its weight now: the given one, or less while it is new.
    pub weight: f64,
    /// How often it has been ejected since it became a member.
    pub ejections: u64,
}

/// What changed, for whoever uses an endpoint.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// The endpoint is no longer a member of the cluster: sessions are to leave it.
    Removed {
        /// Which one.
        id: EndpointId,
        /// Where it is.
        endpoint: Endpoint,
    },
    /// Its checks fail: sessions are to leave it.
    Unhealthy {
        /// Which one.
        id: EndpointId,
        /// Where it is.
        endpoint: Endpoint,
        /// By what they fail.
        why: Why,
    },
    /// Its checks succeed, for the first time or again.
    Healthy {
        /// Which one.
        id: EndpointId,
        /// Where it is.
        endpoint: Endpoint,
    },
    /// It is left out for a while: sessions are to leave it.
    Ejected {
        /// Which one.
        id: EndpointId,
        /// Where it is.
        endpoint: Endpoint,
        /// What failed.
        why: Why,
        /// For how long.
        until: Instant,
    },
    /// It is used again.
    Returned {
        /// Which one.
        id: EndpointId,
        /// Where it is.
        endpoint: Endpoint,
    },
    /// So few endpoints are usable that all of them are used, and sessions stay where they are.
    Panic {
        /// How many are usable.
        usable: usize,
        /// Of so many.
        of: usize,
    },
    /// Enough are usable again.
    Calm,
}
