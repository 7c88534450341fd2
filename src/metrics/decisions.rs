//! What routes decided.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    route: String,
}

/// Decisions by route.
pub(super) struct Decisions {
    counts: Family<DecisionLabels, Counter>,
    /// Those that there are: of ten thousand routes that a change takes away, few had anybody ask.
    seen: Mutex<BTreeSet<DecisionLabels>>,
}

impl Decisions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self { counts: Family::default(), seen: Mutex::default() };
        registry.register(
            "authorization",
            "Requests of plain clients and of members that a route allowed (allow), refused (deny), sent elsewhere \
             (redirect) or had no room for (limit, limit_readers), by route; what the application asks for itself is not among them",
            own.counts.clone(),
        );
        own
    }

    /// Counts one. Routes come from the configuration, so their number is bounded.
    pub(super) fn count(&self, decision: &'static str, route: &str) {
        let labels = DecisionLabels { decision, route: route.to_owned() };
        if let Some(count) = self.counts.get(&labels) {
            count.inc();
            return;
        }
        self.counts.get_or_create(&labels).inc();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(labels);
    }

    /// Forgets routes that are not among these.
    pub(super) fn retain(&self, routes: &BTreeSet<&str>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|labels| {
            let stays = routes.contains(labels.route.as_str());
            if !stays {
                self.counts.remove(labels);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_are_gone_are_forgotten() {
        let mut registry = Registry::default();
        let decisions = Decisions::register(&mut registry);
        for (decision, route) in [("allow", "a"), ("deny", "a"), ("allow", "b"), ("allow", "b")] {
            decisions.count(decision, route);
        }
        decisions.retain(&BTreeSet::from(["b", "c"]));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("route=\"a\""), "{text}");
        assert!(text.contains("authorization_total{decision=\"allow\",route=\"b\"} 2"), "{text}");
        // It may come back, and be counted anew.
        decisions.count("deny", "a");
        decisions.retain(&BTreeSet::new());
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("route="), "{text}");
    }
}
