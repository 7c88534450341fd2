//! Instruments with a cluster among their labels, which are forgotten with it: whoever changes names often does not have all of them kept.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::family::Family;

/// Labels that name a cluster.
pub(super) trait OfCluster: Clone + Hash + Ord {
    fn cluster(&self) -> &str;
}

/// See the [module](self). For what is told seldom, as that takes a lock.
#[derive(Clone)]
pub(super) struct ByCluster<L, M> {
    /// What is registered.
    pub(super) family: Family<L, M>,
    seen: Arc<Mutex<BTreeSet<L>>>,
}

impl<L: OfCluster, M: Default> Default for ByCluster<L, M> {
    fn default() -> Self {
        Self::of(Family::default())
    }
}

impl<L: OfCluster, M> ByCluster<L, M> {
    pub(super) fn of(family: Family<L, M>) -> Self {
        Self { family, seen: Arc::default() }
    }

    /// The one with these labels.
    pub(super) fn at(&self, labels: L) -> M
    where
        M: Clone,
    {
        let metric = M::clone(&self.family.get_or_create(&labels));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(labels);
        metric
    }

    /// Forgets clusters that are not among these.
    pub(super) fn retain(&self, clusters: &BTreeSet<&str>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|labels| {
            let stays = clusters.contains(labels.cluster());
            if !stays {
                self.family.remove(labels);
            }
            stays
        });
    }
}
