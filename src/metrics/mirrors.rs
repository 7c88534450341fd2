//! Shadows of streams.

use std::collections::BTreeSet;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::by_cluster::{ByCluster, OfCluster};

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct MirrorLabels {
    cluster: String,
    outcome: &'static str,
}

impl OfCluster for MirrorLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

/// The instruments of mirrors.
#[derive(Default)]
pub(crate) struct Mirrors {
    sessions: ByCluster<MirrorLabels, Counter>,
}

impl Mirrors {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "mirror_sessions",
            "Shadows of streams at a mirror's cluster: each attempt as up, refused, timeout, unreachable, full, no_endpoint or failed, and what \
             ended those that were up: closed (with their stream, or by the configuration), lost, silent, stalled, left",
            own.sessions.family.clone(),
        );
        own
    }

    /// Counts what has become of one. Clusters come from the configuration.
    pub(crate) fn count(&self, cluster: &str, outcome: &'static str) {
        self.sessions.at(MirrorLabels { cluster: cluster.to_owned(), outcome }).inc();
    }

    /// Forgets clusters that are not to be kept.
    pub(super) fn retain(&self, clusters: &BTreeSet<&str>) {
        self.sessions.retain(clusters);
    }
}
