//! Clusters and their endpoints.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::DiscoveryLabels;

/// Instruments of clusters. Their names come from the configuration, so their number is bounded.
pub(crate) struct Clusters {
    discovery_errors: Family<DiscoveryLabels, Counter>,
}

impl Clusters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let clusters = Self { discovery_errors: Family::default() };
        registry.register(
            "discovery_errors",
            "Questions for a cluster's endpoints that were not answered as they should, by what was asked: dns, file",
            clusters.discovery_errors.clone(),
        );
        clusters
    }

    /// A source did not answer as it should.
    pub(crate) fn count_discovery_error(&self, cluster: &str, source: &'static str) {
        let labels = DiscoveryLabels { cluster: cluster.to_owned(), source };
        self.discovery_errors.get_or_create(&labels).inc();
    }
}
