//! One endpoint, and all that is known of it.

use std::time::Instant;

use super::check::{Checks, Verdict};
use super::outlier::{Ejections, Outliers};
use super::pick::Candidate;
use super::view::{EndpointView, Health, Why};
use super::{EndpointId, EndpointSpec};
use crate::route::hash;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: EndpointId,
    pub(super) spec: EndpointSpec,
    /// A hash of where it is.
    place: u64,
    /// Upstream sessions.
    pub(super) sessions: u32,
    /// What they bring, as it was last measured.
    pub(super) bitrate: u64,
    /// The same, with what sessions that are newer than that are expected to bring.
    pub(super) load: f64,
    /// Sessions that began after the last measurement.
    pub(super) fresh: u32,
    pub(super) checks: Checks,
    pub(super) outliers: Outliers,
    pub(super) ejections: Ejections,
    /// Since when it gets more and more of its weight.
    pub(super) ramp: Option<Instant>,
    /// When it gets the next step of it.
    pub(super) ramp_due: Option<Instant>,
    /// How much of it that is now.
    pub(super) share: f64,
    /// Its pool's picker knows it by this index.
    pub(super) slot: Slot,
    /// As its pool counts it.
    pub(super) counted: bool,
}

/// Where a member is in the pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot {
    /// The number of its level, from the first priority on.
    pub(super) level: usize,
    /// Whether it is in the pool of the other zones.
    pub(super) far: bool,
    pub(super) index: usize,
}

impl Member {
    pub(super) fn new(id: EndpointId, spec: EndpointSpec, outliers: Outliers) -> Self {
        Member {
            id,
            place: hash(spec.endpoint.to_string().as_bytes()),
            spec,
            sessions: 0,
            bitrate: 0,
            load: 0.0,
            fresh: 0,
            checks: Checks::default(),
            outliers,
            ejections: Ejections::default(),
            ramp: None,
            ramp_due: None,
            share: 1.0,
            slot: Slot::default(),
            counted: false,
        }
    }

    /// Whether neither checks nor sessions speak against it.
    pub(super) fn is_well(&self) -> bool {
        self.ejections.now.is_none() && !matches!(self.checks.verdict, Verdict::Unhealthy(_))
    }

    /// Whether sessions may go there by its health and weight.
    pub(super) fn is_usable(&self) -> bool {
        self.spec.weight > 0 && self.is_well()
    }

    /// As pickers see it. `all` takes those that are ill, too; `most` is how many sessions it may have.
    pub(super) fn candidate(&self, all: bool, most: Option<u32>) -> Candidate {
        Candidate {
            place: self.place,
            weight: self.spec.weight,
            share: self.share,
            sessions: self.sessions,
            load: self.load,
            open: (all || self.is_well()) && most.is_none_or(|most| self.sessions < most),
        }
    }

    pub(super) fn view(&self) -> EndpointView<'_> {
        EndpointView {
            id: self.id,
            spec: &self.spec,
            sessions: self.sessions,
            bitrate: self.bitrate,
            health: match (self.ejections.now, self.checks.verdict) {
                (_, Verdict::Unhealthy(failure)) => Health::Unhealthy { why: Why::Check(failure) },
                (Some((until, why)), _) => Health::Ejected { until, why },
                (None, Verdict::Healthy) => Health::Healthy,
                (None, Verdict::Unknown) => Health::Unknown,
            },
            weight: f64::from(self.spec.weight) * self.share,
            ejections: self.ejections.count,
        }
    }
}
