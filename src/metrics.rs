//! Every instrument of this crate. Pure code counts in plain integers; when somebody asks, the runtime adds what is new
//! to the counters here, so that a packet costs no atomic operation.

mod by_cluster;
mod clusters;
mod decisions;
mod expiry;
mod failovers;
mod handshakes;
mod hops;
mod labels;
mod mirrors;
mod observer;
mod protection;
mod reloads;
mod route;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use msm_core::route::Action;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use self::by_cluster::ByCluster;
pub(crate) use self::clusters::Clusters;
use self::decisions::Decisions;
use self::expiry::Expiry;
use self::failovers::Failovers;
use self::handshakes::Handshakes;
use self::hops::Hops;
pub(crate) use self::hops::{HopCount, PathCount, TCP, UDP};
pub(crate) use self::labels::HopKind;
use self::labels::{OpeningLabels, ReasonLabels, SetupLabels, StatusLabels};
use self::mirrors::Mirrors;
pub(crate) use self::observer::{HubObserver, Sent};
pub(crate) use self::protection::PlanCount;
use self::protection::Protection;
pub(crate) use self::reloads::Outcome;
use self::reloads::Reloads;
pub(crate) use self::route::RouteMetrics;
use self::route::Routes;

/// The process's instruments.
pub(crate) struct Metrics {
    registry: Registry,
    routes: Routes,
    dropped: Family<ReasonLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    requests: Family<StatusLabels, Counter>,
    decisions: Decisions,
    /// What became of configurations.
    pub(crate) reloads: Reloads,
    openings: ByCluster<OpeningLabels, Counter>,
    successions: Family<ReasonLabels, Counter>,
    setup: Family<SetupLabels, Histogram>,
    /// RTSP sessions that are up.
    pub(crate) sessions: Gauge,
    /// TCP connections of the signalling.
    pub(crate) connections: Gauge,
    /// Streams that are up.
    pub(crate) streams: Gauge,
    /// Associations with other members now.
    pub(crate) associations: Gauge,
    /// Epochs that associations have gone on with.
    pub(crate) hop_rekeys: Counter,
    /// Packets lost between members, those that came back counted in.
    pub(crate) hop_lost: Counter,
    /// Clusters and their endpoints.
    pub(crate) clusters: Clusters,
    /// What is done against loss.
    pub(crate) protection: Protection,
    /// What the associations' media goes by.
    pub(crate) hops: Hops,
    /// TLS handshakes.
    pub(crate) handshakes: Handshakes,
    /// Streams that outlived their source.
    pub(crate) failovers: Failovers,
    /// Shadows of streams.
    pub(crate) mirrors: Mirrors,
    /// Identities and certificates.
    pub(crate) expiry: Expiry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("msm");
        let metrics = Self {
            routes: Routes::register(&mut registry),
            dropped: Family::default(),
            refused: Family::default(),
            requests: Family::default(),
            decisions: Decisions::register(&mut registry),
            reloads: Reloads::register(&mut registry),
            openings: ByCluster::default(),
            successions: Family::default(),
            setup: Family::new_with_constructor(latency),
            sessions: Gauge::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
            associations: Gauge::default(),
            hop_rekeys: Counter::default(),
            hop_lost: Counter::default(),
            clusters: Clusters::register(&mut registry),
            protection: Protection::register(&mut registry),
            hops: Hops::register(&mut registry),
            handshakes: Handshakes::register(&mut registry),
            failovers: Failovers::register(&mut registry),
            mirrors: Mirrors::register(&mut registry),
            expiry: Expiry::register(&mut registry),
            registry: Registry::default(),
        };
        registry.register(
            "dropped",
            "Packets dropped here, by reason; hop_stray are those that another worker got",
            metrics.dropped.clone(),
        );
        registry.register(
            "bad_input",
            "What peers sent that was refused, by reason: connections that ended for it, and logins that failed",
            metrics.refused.clone(),
        );
        registry.register(
            "requests",
            "RTSP requests answered, by method and status",
            metrics.requests.clone(),
        );
        registry.register(
            "hop_openings",
            "Answers of mesh clusters' endpoints to the opening of a hop, by what they led to: mesh, rtsps (fallback), none",
            metrics.openings.family.clone(),
        );
        registry.register(
            "publisher_successions",
            "Streams whose readers went over to another publisher's: returned (of one that was lost), standby, priority",
            metrics.successions.clone(),
        );
        registry.register("sessions", "RTSP sessions now", metrics.sessions.clone());
        registry.register("connections", "RTSP connections now", metrics.connections.clone());
        registry.register("streams", "Streams now", metrics.streams.clone());
        registry.register(
            "hop_associations",
            "Associations with other members now",
            metrics.associations.clone(),
        );
        registry.register("hop_rekeys", "Changes of keys on mesh hops", metrics.hop_rekeys.clone());
        registry.register(
            "hop_lost",
            "Packets lost between members, whatever brought them back",
            metrics.hop_lost.clone(),
        );
        registry.register_with_unit(
            "setup",
            "From a session's first request (DESCRIBE or ANNOUNCE before it on its connection, else SETUP) to the \
             answer of its first PLAY or RECORD",
            Unit::Seconds,
            metrics.setup.clone(),
        );
        // The configuration of the start is in force until another one is.
        metrics.reloads.set_applied(SystemTime::now());
        Self { registry, ..metrics }
    }
}

/// From half a millisecond to four seconds.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 14))
}

impl Metrics {
    /// The instruments of a route's streams of one cluster.
    pub(crate) fn route(&self, route: &str, cluster: &str) -> Arc<RouteMetrics> {
        self.routes.of(route, cluster, &self.dropped)
    }

    /// Adds packets dropped for `reason`.
    pub(crate) fn add_dropped(&self, reason: &'static str, packets: u64) {
        add_dropped(&self.dropped, reason, packets);
    }

    /// Counts a connection ended for what its peer sent.
    pub(crate) fn add_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a decision of a route. Routes come from the configuration, so their number is bounded.
    pub(crate) fn count_authorization(&self, decision: &'static str, route: &str) {
        self.decisions.count(decision, route);
    }

    /// Forgets routes and clusters that are not in the configuration any more, unless a stream of them is left: whoever changes
    /// names often does not have all of them kept.
    pub(crate) fn retain(&self, routes: &BTreeSet<&str>, clusters: &BTreeSet<&str>) {
        self.routes.retain(|route, cluster| {
            (routes.contains(route) || route == "direct")
                && (clusters.contains(cluster) || matches!(cluster, "local" | "direct"))
        });
        self.mirrors.retain(clusters);
        self.decisions.retain(routes);
        self.failovers.retain(clusters);
        self.clusters.retain(clusters);
        self.openings.retain(clusters);
    }

    /// Counts what an endpoint's answer to the opening of a mesh hop led to. Clusters come from the configuration.
    pub(crate) fn count_opening(&self, cluster: &str, hop: &'static str) {
        self.openings.at(OpeningLabels { cluster: cluster.to_owned(), hop }).inc();
    }

    /// Counts a publisher's stream that took another one's place.
    pub(crate) fn count_succession(&self, reason: &'static str) {
        self.successions.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts an answered request.
    pub(crate) fn count_request(&self, method: &'static str, status: u16) {
        self.requests.get_or_create(&StatusLabels { method, status }).inc();
    }

    /// A session has begun to read or to publish, so long after its first request.
    pub(crate) fn observe_setup(&self, hop: HopKind, action: Action, took: Duration) {
        let labels = SetupLabels { hop: hop.name(), action: action.name() };
        self.setup.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The OpenMetrics text.
    pub(crate) fn text(&self) -> String {
        self.routes.refresh();
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("metrics could not be written");
        }
        text
    }
}

fn add_dropped(family: &Family<ReasonLabels, Counter>, reason: &'static str, packets: u64) {
    if packets > 0 {
        family.get_or_create(&ReasonLabels { reason }).inc_by(packets);
    }
}
