//! Clusters and their endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use msm_core::cluster::{CheckFailure, Why};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::by_cluster::ByCluster;
use super::labels::{CheckLabels, DiscoveryLabels, EjectionLabels, EndpointLabels, EndpointStateLabels};
use crate::cluster::{Cluster, is_usable};
use crate::status::word;

/// Endpoints of one cluster that have a label of their own. Of larger clusters there are sums alone.
pub(crate) const MAX_LABELLED: usize = 100;

/// Instruments of clusters. Their names come from the configuration, so their number is bounded.
#[derive(Clone, Default)]
pub(crate) struct Clusters {
    discovery_errors: ByCluster<DiscoveryLabels, Counter>,
    checks: ByCluster<CheckLabels, Counter>,
    ejections: ByCluster<EjectionLabels, Counter>,
    endpoints: Family<EndpointStateLabels, Gauge>,
    health: Family<EndpointLabels, Gauge>,
}

impl Clusters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "discovery_errors",
            "Questions for a cluster's endpoints that were not answered as they should, by what was asked: dns, file",
            own.discovery_errors.family.clone(),
        );
        registry.register(
            "health_checks",
            "Active checks of a cluster's endpoints, by result: good, unreachable, timeout, refused, protocol, silent",
            own.checks.family.clone(),
        );
        registry.register(
            "ejections",
            "Endpoints that were left out for a while, by what their sessions showed",
            own.ejections.family.clone(),
        );
        registry.register(
            "endpoints",
            "Endpoints of a cluster now, by state: unknown (not checked, and used), healthy, unhealthy, ejected",
            own.endpoints.clone(),
        );
        registry.register(
            "endpoint_health",
            "Whether an endpoint gets sessions, 1 or 0; of clusters with at most 100 endpoints",
            own.health.clone(),
        );
        own
    }

    /// A source did not answer as it should.
    pub(crate) fn count_discovery_error(&self, cluster: &str, source: &'static str) {
        self.discovery_errors.at(DiscoveryLabels { cluster: cluster.to_owned(), source }).inc();
    }

    /// An endpoint was checked.
    pub(crate) fn count_check(&self, cluster: &str, outcome: Result<(), CheckFailure>) {
        let result = match outcome {
            Ok(()) => "good",
            Err(CheckFailure::Unreachable) => "unreachable",
            Err(CheckFailure::TimedOut) => "timeout",
            Err(CheckFailure::Refused { .. }) => "refused",
            Err(CheckFailure::Silent) => "silent",
            Err(_) => "protocol",
        };
        self.checks.at(CheckLabels { cluster: cluster.to_owned(), result }).inc();
    }

    /// An endpoint was ejected.
    pub(crate) fn count_ejection(&self, cluster: &str, why: Why) {
        let reason = match why {
            Why::Check(_) => "check",
            Why::Failures(_) => "failures",
            Why::Ratio { .. } => "failure_ratio",
            Why::Silences(_) => "silence",
            Why::Resets(_) => "reset",
            Why::Loss { .. } => "loss",
            Why::Garbage(_) => "garbage",
            _ => "other",
        };
        self.ejections.at(EjectionLabels { cluster: cluster.to_owned(), reason }).inc();
    }

    /// Forgets clusters that are not to be kept.
    pub(super) fn retain(&self, clusters: &BTreeSet<&str>) {
        self.discovery_errors.retain(clusters);
        self.checks.retain(clusters);
        self.ejections.retain(clusters);
    }

    /// Looks at what the endpoints of all clusters are now. Those that are gone are shown no more.
    pub(crate) fn look<'c>(&self, now: Instant, clusters: impl Iterator<Item = &'c Arc<Cluster>>) {
        self.endpoints.clear();
        self.health.clear();
        for cluster in clusters {
            let name = cluster.name();
            let mut all = Vec::new();
            cluster.view(now, |view| {
                all.push((view.spec.endpoint.to_string(), word(&view.health), is_usable(&view)));
            });
            for state in ["unknown", "healthy", "unhealthy", "ejected"] {
                let count = all.iter().filter(|(_, own, _)| *own == state).count();
                let labels = EndpointStateLabels { cluster: name.to_owned(), state };
                self.endpoints.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            if all.len() > MAX_LABELLED {
                continue;
            }
            for (endpoint, _, usable) in all {
                let labels = EndpointLabels { cluster: name.to_owned(), endpoint };
                self.health.get_or_create(&labels).set(usable.into());
            }
        }
    }
}
