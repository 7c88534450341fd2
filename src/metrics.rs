//! Every instrument of this crate. Pure code counts in plain integers; once a second the runtime adds what is new to
//! the counters here, so that a packet costs no atomic operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use msm_core::hub::{Fanout, Ingest, TrackStats};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::hub::dest::Dest;

/// Labels of a stream's counters. Routes and clusters come from the configuration, so their number is bounded.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct StreamLabels {
    route: String,
    cluster: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FlowLabels {
    route: String,
    cluster: String,
    hop: &'static str,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OpeningLabels {
    cluster: String,
    hop: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    method: &'static str,
    status: u16,
}

/// The process's instruments.
pub(crate) struct Metrics {
    registry: Registry,
    packets: Family<FlowLabels, Counter>,
    bytes: Family<FlowLabels, Counter>,
    lost: Family<StreamLabels, Counter>,
    unrecovered: Family<StreamLabels, Counter>,
    duplicates: Family<StreamLabels, Counter>,
    reordered: Family<StreamLabels, Counter>,
    reader_lost: Family<StreamLabels, Counter>,
    readers: Family<StreamLabels, Gauge>,
    jitter: Family<StreamLabels, Gauge<f64, AtomicU64>>,
    rtt: Family<StreamLabels, Histogram>,
    dropped: Family<ReasonLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    requests: Family<StatusLabels, Counter>,
    authorization: Family<DecisionLabels, Counter>,
    openings: Family<OpeningLabels, Counter>,
    /// RTSP sessions that are up.
    pub(crate) sessions: Gauge,
    /// TCP connections of the signalling.
    pub(crate) connections: Gauge,
    /// Streams that are up.
    pub(crate) streams: Gauge,
    /// Associations with other members now.
    pub(crate) associations: Gauge,
    /// Unix time at which the own SVID expires; 0 without one.
    pub(crate) identity_expires: Gauge,
    /// Epochs that associations have gone on with.
    pub(crate) hop_rekeys: Counter,
    /// Packets lost between members, a subset of what readers miss.
    pub(crate) hop_lost: Counter,
    /// From a reader's first request for a stream to the answer of its PLAY.
    pub(crate) setup: Histogram,
    /// By labels, and whether they come by mesh hops: of one cluster some endpoints may be members and others not.
    routes: Mutex<BTreeMap<(StreamLabels, bool), Arc<RouteMetrics>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("msm");
        let latency = || Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        let metrics = Self {
            packets: Family::default(),
            bytes: Family::default(),
            lost: Family::default(),
            unrecovered: Family::default(),
            duplicates: Family::default(),
            reordered: Family::default(),
            reader_lost: Family::default(),
            readers: Family::default(),
            jitter: Family::default(),
            rtt: Family::new_with_constructor(latency),
            dropped: Family::default(),
            refused: Family::default(),
            requests: Family::default(),
            authorization: Family::default(),
            openings: Family::default(),
            sessions: Gauge::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
            associations: Gauge::default(),
            identity_expires: Gauge::default(),
            hop_rekeys: Counter::default(),
            hop_lost: Counter::default(),
            setup: latency(),
            routes: Mutex::default(),
            registry: Registry::default(),
        };
        registry.register("packets", "RTP packets", metrics.packets.clone());
        registry.register_with_unit("payload", "RTP packets' bytes", Unit::Bytes, metrics.bytes.clone());
        registry.register("lost", "Packets lost on the way from the publisher", metrics.lost.clone());
        registry.register(
            "unrecovered",
            "Lost packets that nothing brought back",
            metrics.unrecovered.clone(),
        );
        registry.register("duplicates", "Packets received twice, forwarded once", metrics.duplicates.clone());
        registry.register("reordered", "Packets received late and forwarded", metrics.reordered.clone());
        registry.register("reader_lost", "Packets that readers reported lost", metrics.reader_lost.clone());
        registry.register("readers", "Readers now", metrics.readers.clone());
        registry.register_with_unit(
            "jitter",
            "Interarrival jitter of the latest report, largest of the tracks",
            Unit::Seconds,
            metrics.jitter.clone(),
        );
        registry.register_with_unit("rtt", "Round trip to readers", Unit::Seconds, metrics.rtt.clone());
        registry.register("dropped", "Packets dropped here, by reason", metrics.dropped.clone());
        registry.register(
            "bad_input",
            "Connections ended for what their peer sent, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "requests",
            "RTSP requests answered, by method and status",
            metrics.requests.clone(),
        );
        registry.register(
            "authorization",
            "Requests of callers with an identity allowed, and requests denied, by route",
            metrics.authorization.clone(),
        );
        registry.register(
            "hop_openings",
            "Answers of mesh clusters' endpoints to the opening of a hop, by what they led to: mesh, rtsps (fallback), none",
            metrics.openings.clone(),
        );
        registry.register("sessions", "RTSP sessions now", metrics.sessions.clone());
        registry.register("connections", "RTSP connections now", metrics.connections.clone());
        registry.register("streams", "Streams now", metrics.streams.clone());
        registry.register(
            "hop_associations",
            "Associations with other members now",
            metrics.associations.clone(),
        );
        registry.register_with_unit(
            "identity_expires",
            "Unix time at which the own SVID expires, 0 without one",
            Unit::Seconds,
            metrics.identity_expires.clone(),
        );
        registry.register("hop_rekeys", "Changes of keys on mesh hops", metrics.hop_rekeys.clone());
        registry.register("hop_lost", "Packets lost between members", metrics.hop_lost.clone());
        registry.register_with_unit(
            "setup",
            "From a reader's PLAY to its answer",
            Unit::Seconds,
            metrics.setup.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// The instruments of a route's streams of one cluster, which come by mesh hops or not.
    pub(crate) fn route(&self, route: &str, cluster: &str, by_mesh: bool) -> Arc<RouteMetrics> {
        let labels = StreamLabels { route: route.into(), cluster: cluster.into() };
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry((labels.clone(), by_mesh)).or_insert_with(|| {
            let flow = |direction| FlowLabels {
                route: route.into(),
                cluster: cluster.into(),
                hop: if by_mesh && direction == "rx" { "mesh" } else { "plain" },
                direction,
            };
            Arc::new(RouteMetrics {
                received: self.packets.get_or_create_owned(&flow("rx")),
                received_bytes: self.bytes.get_or_create_owned(&flow("rx")),
                sent: self.packets.get_or_create_owned(&flow("tx")),
                sent_bytes: self.bytes.get_or_create_owned(&flow("tx")),
                lost: self.lost.get_or_create_owned(&labels),
                unrecovered: self.unrecovered.get_or_create_owned(&labels),
                duplicates: self.duplicates.get_or_create_owned(&labels),
                reordered: self.reordered.get_or_create_owned(&labels),
                reader_lost: self.reader_lost.get_or_create_owned(&labels),
                jitter: self.jitter.get_or_create_owned(&labels),
                rtt: self.rtt.get_or_create_owned(&labels),
                readers_gauge: self.readers.get_or_create_owned(&labels),
                dropped: self.dropped.clone(),
                readers: AtomicI64::new(0),
            })
        }))
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
        self.authorization.get_or_create(&DecisionLabels { decision, route: route.to_owned() }).inc();
    }

    /// Counts what an endpoint's answer to the opening of a mesh hop led to. Clusters come from the configuration.
    pub(crate) fn count_opening(&self, cluster: &str, hop: &'static str) {
        self.openings.get_or_create(&OpeningLabels { cluster: cluster.to_owned(), hop }).inc();
    }

    /// Counts an answered request.
    pub(crate) fn count_request(&self, method: &'static str, status: u16) {
        self.requests.get_or_create(&StatusLabels { method, status }).inc();
    }

    /// The OpenMetrics text.
    pub(crate) fn text(&self) -> String {
        let mut readers: BTreeMap<&StreamLabels, i64> = BTreeMap::new();
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        for ((labels, _), route) in &*routes {
            let sum = readers.entry(labels).or_default();
            *sum += route.readers.load(Ordering::Relaxed);
            route.readers_gauge.set(*sum);
        }
        drop(readers);
        drop(routes);
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

/// The instruments of one route and cluster.
pub(crate) struct RouteMetrics {
    pub(crate) received: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) lost: Counter,
    pub(crate) unrecovered: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) reordered: Counter,
    pub(crate) reader_lost: Counter,
    pub(crate) jitter: Gauge<f64, AtomicU64>,
    pub(crate) rtt: Histogram,
    readers_gauge: Gauge,
    dropped: Family<ReasonLabels, Counter>,
    pub(crate) readers: AtomicI64,
}

impl RouteMetrics {
    pub(crate) fn add_dropped(&self, reason: &'static str, packets: u64) {
        add_dropped(&self.dropped, reason, packets);
    }

    pub(crate) fn observe_rtt(&self, rtt: Duration) {
        self.rtt.observe(rtt.as_secs_f64());
    }
}

/// Remembers what of one stream's counters was added already.
pub(crate) struct HubObserver(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    tracks: Vec<TrackStats>,
    ingest: BTreeMap<&'static str, u64>,
    /// By worker, as each has a fan-out of its own.
    fanout: BTreeMap<(usize, &'static str), u64>,
}

/// Counters of the hub that are not drops.
const NOT_DROPS: &[&str] = &[
    "keyframe_requests",
    "keyframe_requests_merged",
    "source_changes",
    "packets",
    "bytes",
    "rtcp_sent",
    "nacked",
    "cache_overflow",
    "catch_up_overflow",
    "keyframe_timeout",
];

impl HubObserver {
    pub(crate) fn new(tracks: usize) -> Self {
        Self(Mutex::new(Seen { tracks: vec![TrackStats::default(); tracks], ..Seen::default() }))
    }

    /// Adds what the publisher's side counted since the last call.
    pub(crate) fn ingest(&self, metrics: &RouteMetrics, ingest: &Ingest) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jitter = Duration::ZERO;
        for (track, before) in seen.tracks.iter_mut().enumerate() {
            let Some(now) = ingest.stats(track) else { continue };
            metrics.received.inc_by(now.packets.saturating_sub(before.packets));
            metrics.received_bytes.inc_by(now.bytes.saturating_sub(before.bytes));
            metrics.lost.inc_by(now.lost.saturating_sub(before.lost));
            metrics.unrecovered.inc_by(now.lost.saturating_sub(before.lost));
            metrics.duplicates.inc_by(now.duplicates.saturating_sub(before.duplicates));
            metrics.reordered.inc_by(now.reordered.saturating_sub(before.reordered));
            jitter = jitter.max(now.jitter);
            // A packet counted lost may still come: the total only grows when it exceeds what was counted before.
            *before = TrackStats { lost: now.lost.max(before.lost), ..now };
        }
        metrics.jitter.set(jitter.as_secs_f64());
        for (name, count) in ingest.counters().iter() {
            let before = seen.ingest.insert(name, count).unwrap_or(0);
            if !NOT_DROPS.contains(&name) {
                metrics.add_dropped(name, count.saturating_sub(before));
            }
        }
    }

    /// Adds what one worker's fan-out counted since the last call.
    pub(crate) fn fanout(&self, metrics: &RouteMetrics, worker: usize, fanout: &Fanout<Dest>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, count) in fanout.counters().iter() {
            let before = seen.fanout.insert((worker, name), count).unwrap_or(0);
            let fresh = count.saturating_sub(before);
            match name {
                "packets" => {
                    metrics.sent.inc_by(fresh);
                }
                "bytes" => {
                    metrics.sent_bytes.inc_by(fresh);
                }
                _ if NOT_DROPS.contains(&name) => {}
                _ => metrics.add_dropped(name, fresh),
            }
        }
    }

    /// What the status shows of each track.
    pub(crate) fn tracks(&self) -> Vec<TrackStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tracks.clone()
    }
}
