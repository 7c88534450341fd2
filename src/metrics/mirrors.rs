//! Shadows of streams.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct MirrorLabels {
    cluster: String,
    outcome: &'static str,
}

/// The instruments of mirrors.
pub(crate) struct Mirrors {
    sessions: Family<MirrorLabels, Counter>,
    /// Those that there are.
    seen: Mutex<BTreeSet<MirrorLabels>>,
}

impl Mirrors {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self { sessions: Family::default(), seen: Mutex::default() };
        registry.register(
            "mirror_sessions",
            "Shadows of streams at a mirror's cluster: each attempt as up, refused, timeout, unreachable, full, no_endpoint or failed, and what \
             ended those that were up: closed (with their stream, or by the configuration), lost, silent, stalled, left",
            own.sessions.clone(),
        );
        own
    }

    /// Counts what has become of one. Clusters come from the configuration.
    pub(crate) fn count(&self, cluster: &str, outcome: &'static str) {
        let labels = MirrorLabels { cluster: cluster.to_owned(), outcome };
        self.sessions.get_or_create(&labels).inc();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(labels);
    }

    /// Forgets clusters that are not to be kept.
    pub(super) fn retain(&self, clusters: &BTreeSet<&str>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|labels| {
            let stays = clusters.contains(labels.cluster.as_str());
            if !stays {
                self.sessions.remove(labels);
            }
            stays
        });
    }
}
