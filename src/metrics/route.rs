//! The instruments of one route and cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{FlowLabels, HopKind, ReasonLabels, RecoveredLabels, StreamLabels};

/// Those of all routes.
pub(super) struct Routes {
    packets: Family<FlowLabels, Counter>,
    bytes: Family<FlowLabels, Counter>,
    lost: Family<StreamLabels, Counter>,
    unrecovered: Family<StreamLabels, Counter>,
    recovered: Family<RecoveredLabels, Counter>,
    retransmitted: Family<StreamLabels, Counter>,
    duplicates: Family<StreamLabels, Counter>,
    reordered: Family<StreamLabels, Counter>,
    reader_lost: Family<StreamLabels, Counter>,
    readers: Family<StreamLabels, Gauge>,
    jitter: Family<StreamLabels, Gauge<f64, AtomicU64>>,
    rtt: Family<StreamLabels, Histogram>,
    all: Mutex<BTreeMap<StreamLabels, Arc<RouteMetrics>>>,
}

impl Routes {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            packets: Family::default(),
            bytes: Family::default(),
            lost: Family::default(),
            unrecovered: Family::default(),
            recovered: Family::default(),
            retransmitted: Family::default(),
            duplicates: Family::default(),
            reordered: Family::default(),
            reader_lost: Family::default(),
            readers: Family::default(),
            jitter: Family::default(),
            rtt: Family::new_with_constructor(super::latency),
            all: Mutex::default(),
        };
        registry.register(
            "packets",
            "RTP packets by the kind of hop that they came or went by, an application's own being plain; the first of a source \
             counts as received by none (RFC 3550 A.1)",
            own.packets.clone(),
        );
        registry.register_with_unit(
            "payload",
            "Bytes of RTP: the payloads of what came (rx), all of what went (tx)",
            Unit::Bytes,
            own.bytes.clone(),
        );
        registry.register("lost", "Packets lost on the way from the publisher", own.lost.clone());
        registry.register("unrecovered", "Lost packets that nothing brought back", own.unrecovered.clone());
        registry.register(
            "recovered",
            "Lost packets that were brought back, by what did it",
            own.recovered.clone(),
        );
        registry.register(
            "retransmitted",
            "Packets that were sent again to readers who asked for them",
            own.retransmitted.clone(),
        );
        registry.register("duplicates", "Packets received twice, forwarded once", own.duplicates.clone());
        registry.register("reordered", "Packets received late and forwarded", own.reordered.clone());
        registry.register("reader_lost", "Packets that readers reported lost", own.reader_lost.clone());
        registry.register("readers", "Readers now", own.readers.clone());
        registry.register_with_unit(
            "jitter",
            "Interarrival jitter of the latest report, largest of the tracks",
            Unit::Seconds,
            own.jitter.clone(),
        );
        registry.register_with_unit("rtt", "Round trip to readers", Unit::Seconds, own.rtt.clone());
        own
    }

    /// The instruments of a route's streams of one cluster.
    pub(super) fn of(
        &self,
        route: &str,
        cluster: &str,
        dropped: &Family<ReasonLabels, Counter>,
    ) -> Arc<RouteMetrics> {
        let labels = StreamLabels { route: route.into(), cluster: cluster.into() };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(labels.clone()).or_insert_with(|| {
            let flow = |hop: HopKind, direction| {
                let labels =
                    FlowLabels { route: route.into(), cluster: cluster.into(), hop: hop.name(), direction };
                Traffic {
                    packets: self.packets.get_or_create_owned(&labels),
                    bytes: self.bytes.get_or_create_owned(&labels),
                }
            };
            let recovered = |by| {
                let labels = RecoveredLabels { route: route.into(), cluster: cluster.into(), by };
                self.recovered.get_or_create_owned(&labels)
            };
            Arc::new(RouteMetrics {
                recovered_by_nack: recovered("nack"),
                recovered_by_fec: recovered("fec"),
                retransmitted: self.retransmitted.get_or_create_owned(&labels),
                received: HopKind::ALL.map(|hop| flow(hop, "rx")),
                sent: HopKind::ALL.map(|hop| flow(hop, "tx")),
                lost: self.lost.get_or_create_owned(&labels),
                unrecovered: self.unrecovered.get_or_create_owned(&labels),
                duplicates: self.duplicates.get_or_create_owned(&labels),
                reordered: self.reordered.get_or_create_owned(&labels),
                reader_lost: self.reader_lost.get_or_create_owned(&labels),
                jitter: self.jitter.get_or_create_owned(&labels),
                rtt: self.rtt.get_or_create_owned(&labels),
                readers_gauge: self.readers.get_or_create_owned(&labels),
                dropped: dropped.clone(),
                readers: AtomicI64::new(0),
            })
        }))
    }

    /// Forgets those of routes and clusters that are not to be kept and that no stream uses.
    pub(super) fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|labels, own| {
            if keep(&labels.route, &labels.cluster) || Arc::strong_count(own) > 1 {
                return true;
            }
            self.forget(labels);
            false
        });
    }

    fn forget(&self, labels: &StreamLabels) {
        for hop in HopKind::ALL {
            for direction in ["rx", "tx"] {
                let (route, cluster) = (labels.route.clone(), labels.cluster.clone());
                let labels = FlowLabels { route, cluster, hop: hop.name(), direction };
                self.packets.remove(&labels);
                self.bytes.remove(&labels);
            }
        }
        for by in ["nack", "fec"] {
            let (route, cluster) = (labels.route.clone(), labels.cluster.clone());
            self.recovered.remove(&RecoveredLabels { route, cluster, by });
        }
        let counters = [&self.lost, &self.unrecovered, &self.retransmitted, &self.duplicates];
        for family in counters.into_iter().chain([&self.reordered, &self.reader_lost]) {
            family.remove(labels);
        }
        self.readers.remove(labels);
        self.jitter.remove(labels);
        self.rtt.remove(labels);
    }

    /// Brings the gauges up to date.
    pub(super) fn refresh(&self) {
        for route in self.all.lock().unwrap_or_else(PoisonError::into_inner).values() {
            route.readers_gauge.set(route.readers.load(Ordering::Relaxed));
        }
    }
}

/// What came or went.
pub(super) struct Traffic {
    pub(super) packets: Counter,
    pub(super) bytes: Counter,
}

/// The instruments of one route and cluster.
pub(crate) struct RouteMetrics {
    /// By [`HopKind::ALL`].
    received: [Traffic; 2],
    sent: [Traffic; 2],
    pub(super) lost: Counter,
    pub(super) unrecovered: Counter,
    pub(super) recovered_by_nack: Counter,
    pub(super) recovered_by_fec: Counter,
    pub(super) retransmitted: Counter,
    pub(super) duplicates: Counter,
    pub(super) reordered: Counter,
    pub(crate) reader_lost: Counter,
    pub(super) jitter: Gauge<f64, AtomicU64>,
    rtt: Histogram,
    readers_gauge: Gauge,
    dropped: Family<ReasonLabels, Counter>,
    pub(crate) readers: AtomicI64,
}

impl RouteMetrics {
    pub(super) fn received(&self, hop: HopKind) -> &Traffic {
        Self::pick(&self.received, hop)
    }

    pub(super) fn sent(&self, hop: HopKind) -> &Traffic {
        Self::pick(&self.sent, hop)
    }

    fn pick([plain, mesh]: &[Traffic; 2], hop: HopKind) -> &Traffic {
        match hop {
            HopKind::Plain => plain,
            HopKind::Mesh => mesh,
        }
    }

    pub(crate) fn add_dropped(&self, reason: &'static str, packets: u64) {
        super::add_dropped(&self.dropped, reason, packets);
    }

    pub(crate) fn observe_rtt(&self, rtt: Duration) {
        self.rtt.observe(rtt.as_secs_f64());
    }
}
