//! Associations with other members: by which way their packets go, and how long that takes.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{PeerLabels, WayLabels};

/// The instruments of all associations.
pub(crate) struct Hops {
    ways: Family<WayLabels, Gauge>,
    fallbacks: Counter,
    rtt: Family<PeerLabels, Histogram>,
}

impl Hops {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            ways: Family::default(),
            fallbacks: Counter::default(),
            rtt: Family::new_with_constructor(super::latency),
        };
        // There from the start, so that an alarm on one of them has something to look at.
        for way in [UNKNOWN, UDP, TCP] {
            own.ways.get_or_create(&WayLabels { way }).set(0);
        }
        registry.register(
            "hops",
            "Associations with other members now, by how their media goes: udp, tcp where UDP does not pass, unknown at first",
            own.ways.clone(),
        );
        registry.register(
            "hop_fallbacks",
            "Times that a hop's media took to the TLS connection because UDP did not pass",
            own.fallbacks.clone(),
        );
        registry.register_with_unit(
            "hop_rtt",
            "Round trip between members by UDP, measured every 10 s; with an empty cluster those that dialled this one",
            Unit::Seconds,
            own.rtt.clone(),
        );
        own
    }

    /// Counts an association that another member dialled.
    pub(crate) fn accepted(&self) -> HopCount {
        self.enter(PeerLabels { cluster: String::new(), direction: "accepted" })
    }

    /// Counts an association with an endpoint of a cluster.
    pub(crate) fn dialled(&self, cluster: &str) -> HopCount {
        self.enter(PeerLabels { cluster: cluster.to_owned(), direction: "dialled" })
    }

    fn enter(&self, peer: PeerLabels) -> HopCount {
        let rtt = self.rtt.get_or_create_owned(&peer);
        let count =
            HopCount { ways: self.ways.clone(), fallbacks: self.fallbacks.clone(), rtt, way: UNKNOWN };
        count.shift(UNKNOWN, 1);
        count
    }
}

const UNKNOWN: &str = "unknown";
/// The way of an association whose packets go by UDP.
pub(crate) const UDP: &str = "udp";
/// The way of an association whose packets go through the TLS connection.
pub(crate) const TCP: &str = "tcp";

/// One association in the instruments, until it is dropped.
pub(crate) struct HopCount {
    ways: Family<WayLabels, Gauge>,
    fallbacks: Counter,
    rtt: Histogram,
    way: &'static str,
}

impl HopCount {
    /// Packets go by this way from now on.
    pub(crate) fn set_way(&mut self, way: &'static str) {
        let before = std::mem::replace(&mut self.way, way);
        self.shift(before, -1);
        self.shift(way, 1);
        if way == TCP && before != TCP {
            self.fallbacks.inc();
        }
    }

    pub(crate) fn observe_rtt(&self, rtt: Duration) {
        self.rtt.observe(rtt.as_secs_f64());
    }

    fn shift(&self, way: &'static str, by: i64) {
        self.ways.get_or_create(&WayLabels { way }).inc_by(by);
    }
}

impl Drop for HopCount {
    fn drop(&mut self) {
        self.shift(self.way, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_association_is_in_one_way_at_a_time_and_in_none_afterwards() {
        let hops = Hops::register(&mut Registry::default());
        let counts = || [UNKNOWN, UDP, TCP].map(|way| hops.ways.get_or_create(&WayLabels { way }).get());
        let (mut first, mut second) = (hops.accepted(), hops.dialled("far"));
        assert_eq!(counts(), [2, 0, 0]);
        first.set_way(UDP);
        second.set_way(TCP);
        second.set_way(TCP);
        assert_eq!((counts(), hops.fallbacks.get()), ([0, 1, 1], 1));
        first.set_way(TCP);
        first.set_way(UDP);
        assert_eq!((counts(), hops.fallbacks.get()), ([0, 1, 1], 2));
        drop(first);
        assert_eq!(counts(), [0, 0, 1]);
        drop(second);
        assert_eq!(counts(), [0, 0, 0]);
    }
}
