//! What became of configurations.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::ResultLabels;

/// What became of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in force.
    Applied,
    /// It says what was in force before.
    Unchanged,
    /// Nothing has changed, as something was wrong with it.
    Refused,
}

pub(crate) struct Reloads {
    results: Family<ResultLabels, Counter>,
    last_applied: Gauge,
}

impl Reloads {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self { results: Family::default(), last_applied: Gauge::default() };
        registry.register(
            "config_reloads",
            "Configurations that were to take the place of the one in force, by what became of them: applied, unchanged, refused",
            own.results.clone(),
        );
        registry.register_with_unit(
            "config_last_applied_timestamp",
            "Unix time since which the configuration in force is",
            Unit::Seconds,
            own.last_applied.clone(),
        );
        own
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let result = match outcome {
            Outcome::Applied => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused => "refused",
        };
        self.results.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn set_applied(&self, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last_applied.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}
