//! Associations with other members: by which way their packets go, and how long that takes.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{PathLabels, PathStateLabels, RttLabels, WayLabels};

/// The instruments of all associations.
pub(crate) struct Hops {
    ways: Family<WayLabels, Gauge>,
    fallbacks: Counter,
    rtt: Family<RttLabels, Histogram>,
    paths: Family<PathStateLabels, Gauge>,
    path_failures: Family<PathLabels, Counter>,
}

impl Hops {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            ways: Family::default(),
            fallbacks: Counter::default(),
            rtt: Family::new_with_constructor(super::latency),
            paths: Family::default(),
            path_failures: Family::default(),
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
            "Round trip between members by UDP, of each path, measured every 10 s; with an empty cluster those that dialled this one",
            Unit::Seconds,
            own.rtt.clone(),
        );
        registry.register(
            "hop_paths",
            "Paths of associations now, by their number, and whether packets pass: up or down",
            own.paths.clone(),
        );
        registry.register(
            "hop_path_failures",
            "Times that a path of an association went down, by its number",
            own.path_failures.clone(),
        );
        own
    }

    /// Counts an association that another member dialled.
    pub(crate) fn accepted(&self) -> HopCount {
        self.enter(String::new(), "accepted")
    }

    /// Counts an association with an endpoint of a cluster.
    pub(crate) fn dialled(&self, cluster: &str) -> HopCount {
        self.enter(cluster.to_owned(), "dialled")
    }

    fn enter(&self, cluster: String, direction: &'static str) -> HopCount {
        let count = HopCount {
            ways: self.ways.clone(),
            fallbacks: self.fallbacks.clone(),
            rtt: self.rtt.clone(),
            peer: RttLabels { cluster, direction, path: 1 },
            way: UNKNOWN,
        };
        count.shift(UNKNOWN, 1);
        count
    }

    /// Counts a path, which is not up yet; the main one is number 0.
    pub(crate) fn path(&self, number: usize) -> PathCount {
        let path = number as u64 + 1;
        let count = PathCount {
            paths: self.paths.clone(),
            failures: self.path_failures.get_or_create_owned(&PathLabels { path }),
            path,
            is_up: false,
        };
        count.shift(false, 1);
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
    rtt: Family<RttLabels, Histogram>,
    peer: RttLabels,
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

    /// The round trip of a path was measured; the main one is number 0.
    pub(crate) fn observe_rtt(&self, path: usize, rtt: Duration) {
        let labels = RttLabels { path: path as u64 + 1, ..self.peer.clone() };
        self.rtt.get_or_create(&labels).observe(rtt.as_secs_f64());
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

/// One path in the instruments, until it is dropped.
pub(crate) struct PathCount {
    paths: Family<PathStateLabels, Gauge>,
    failures: Counter,
    path: u64,
    is_up: bool,
}

impl PathCount {
    /// Whether packets pass.
    pub(crate) fn set_up(&mut self, is_up: bool) {
        let before = std::mem::replace(&mut self.is_up, is_up);
        if before != is_up {
            self.shift(before, -1);
            self.shift(is_up, 1);
        }
        if before && !is_up {
            self.failures.inc();
        }
    }

    fn shift(&self, is_up: bool, by: i64) {
        let state = if is_up { "up" } else { "down" };
        self.paths.get_or_create(&PathStateLabels { path: self.path, state }).inc_by(by);
    }
}

impl Drop for PathCount {
    fn drop(&mut self) {
        self.shift(self.is_up, -1);
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

    #[test]
    fn a_path_is_up_or_down_and_its_failures_are_counted() {
        let hops = Hops::register(&mut Registry::default());
        let counts = || {
            ["up", "down"].map(|state| hops.paths.get_or_create(&PathStateLabels { path: 2, state }).get())
        };
        let failures = || hops.path_failures.get_or_create(&PathLabels { path: 2 }).get();
        let mut path = hops.path(1);
        assert_eq!(counts(), [0, 1]);
        path.set_up(true);
        path.set_up(true);
        assert_eq!((counts(), failures()), ([1, 0], 0));
        path.set_up(false);
        assert_eq!((counts(), failures()), ([0, 1], 1));
        drop(path);
        assert_eq!(counts(), [0, 0]);
    }
}
