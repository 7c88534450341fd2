//! Sources of streams that were replaced by others.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailoverLabels {
    cluster: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AnnounceLabels {
    cluster: String,
    outcome: &'static str,
}

/// The instruments of failovers.
pub(crate) struct Failovers {
    count: Family<FailoverLabels, Counter>,
    gap: Family<ClusterLabels, Histogram>,
    identical: Family<ClusterLabels, Counter>,
    merged: Family<ClusterLabels, Counter>,
    announces: Family<AnnounceLabels, Counter>,
}

impl Failovers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            count: Family::default(),
            gap: Family::new_with_constructor(gaps),
            identical: Family::default(),
            merged: Family::default(),
            announces: Family::default(),
        };
        registry.register(
            "failovers",
            "Sources of streams that another one took over from, by what had become of them",
            own.count.clone(),
        );
        registry.register_with_unit(
            "failover_gap",
            "From the last packet of a source to the first of the one that took over",
            Unit::Seconds,
            own.gap.clone(),
        );
        registry.register(
            "failovers_identical",
            "Sources that went on with the very next packet, as they brought the same packets as the ones before",
            own.identical.clone(),
        );
        registry.register(
            "standby_packets",
            "Packets that readers have from a standby that brings the same, as it was earlier or the source had lost them",
            own.merged.clone(),
        );
        registry.register(
            "announces",
            "Readers whose stream goes on in another form, by what became of them: those that moved read on, others end with what they read",
            own.announces.clone(),
        );
        own
    }

    /// A reader was told of another form of its stream, or was not.
    pub(crate) fn count_announce(&self, cluster: &str, outcome: &'static str) {
        self.announces.get_or_create(&AnnounceLabels { cluster: cluster.to_owned(), outcome }).inc();
    }

    /// Of those counted, one that went on with the very next packet.
    pub(crate) fn count_identical(&self, cluster: &str) {
        self.identical.get_or_create(&ClusterLabels { cluster: cluster.to_owned() }).inc();
    }

    /// Packets of a standby that went to readers.
    pub(crate) fn add_merged(&self, cluster: &str, packets: u64) {
        if packets > 0 {
            self.merged.get_or_create(&ClusterLabels { cluster: cluster.to_owned() }).inc_by(packets);
        }
    }

    /// Counts a source that took over. Clusters come from the configuration.
    pub(crate) fn count(&self, cluster: &str, reason: &'static str) {
        self.count.get_or_create(&FailoverLabels { cluster: cluster.to_owned(), reason }).inc();
    }

    /// Its first packet has come.
    pub(crate) fn observe_gap(&self, cluster: &str, gap: Duration) {
        self.gap.get_or_create(&ClusterLabels { cluster: cluster.to_owned() }).observe(gap.as_secs_f64());
    }
}

/// From ten milliseconds to twenty seconds.
fn gaps() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 12))
}
