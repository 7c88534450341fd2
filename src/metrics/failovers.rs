//! Sources of streams that were replaced by others.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::by_cluster::{ByCluster, OfCluster};

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct FailoverLabels {
    cluster: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct AnnounceLabels {
    cluster: String,
    outcome: &'static str,
}

impl OfCluster for FailoverLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

impl OfCluster for ClusterLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

impl OfCluster for AnnounceLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

/// The instruments of failovers.
pub(crate) struct Failovers {
    count: ByCluster<FailoverLabels, Counter>,
    gap: ByCluster<ClusterLabels, Histogram>,
    identical: ByCluster<ClusterLabels, Counter>,
    merged: ByCluster<ClusterLabels, Counter>,
    announces: ByCluster<AnnounceLabels, Counter>,
}

impl Failovers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            count: ByCluster::default(),
            gap: ByCluster::of(Family::new_with_constructor(gaps)),
            identical: ByCluster::default(),
            merged: ByCluster::default(),
            announces: ByCluster::default(),
        };
        registry.register(
            "failovers",
            "Sources of streams that another one took over from, by what had become of them",
            own.count.family.clone(),
        );
        registry.register_with_unit(
            "failover_gap",
            "From the last packet of a source to the first of the one that took over",
            Unit::Seconds,
            own.gap.family.clone(),
        );
        registry.register(
            "failovers_identical",
            "Sources that went on with the very next packet, as they brought the same packets as the ones before",
            own.identical.family.clone(),
        );
        registry.register(
            "standby_packets",
            "Packets that readers have from a standby that brings the same, as it was earlier or the source had lost them",
            own.merged.family.clone(),
        );
        registry.register(
            "announces",
            "Readers whose stream goes on in another form, by what became of them: those that moved read on, others end with what they read",
            own.announces.family.clone(),
        );
        own
    }

    /// A reader was told of another form of its stream, or was not.
    pub(crate) fn count_announce(&self, cluster: &str, outcome: &'static str) {
        self.announces.at(AnnounceLabels { cluster: cluster.to_owned(), outcome }).inc();
    }

    /// Of those counted, one that went on with the very next packet.
    pub(crate) fn count_identical(&self, cluster: &str) {
        self.identical.at(ClusterLabels { cluster: cluster.to_owned() }).inc();
    }

    /// Packets of a standby that went to readers.
    pub(crate) fn add_merged(&self, cluster: &str, packets: u64) {
        if packets > 0 {
            self.merged.at(ClusterLabels { cluster: cluster.to_owned() }).inc_by(packets);
        }
    }

    /// Counts a source that took over. Clusters come from the configuration.
    pub(crate) fn count(&self, cluster: &str, reason: &'static str) {
        self.count.at(FailoverLabels { cluster: cluster.to_owned(), reason }).inc();
    }

    /// Its first packet has come.
    pub(crate) fn observe_gap(&self, cluster: &str, gap: Duration) {
        self.gap.at(ClusterLabels { cluster: cluster.to_owned() }).observe(gap.as_secs_f64());
    }

    /// Forgets clusters that are not to be kept.
    pub(super) fn retain(&self, clusters: &BTreeSet<&str>) {
        self.count.retain(clusters);
        self.gap.retain(clusters);
        self.identical.retain(clusters);
        self.merged.retain(clusters);
        self.announces.retain(clusters);
    }
}

/// From ten milliseconds to twenty seconds.
fn gaps() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 12))
}
