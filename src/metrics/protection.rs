//! What protection on mesh hops does.

mod plans;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::plans::PlanCount;
use self::plans::Plans;

use crate::hop::protect::Counts;

/// The instruments of all protected flows.
pub(crate) struct Protection {
    recovered: Family<ByLabels, Counter>,
    unrecovered: Counter,
    bytes: Family<KindLabels, Counter>,
    repair_packets: Counter,
    retransmitted: Counter,
    plans: Plans,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, prometheus_client::encoding::EncodeLabelSet)]
struct ByLabels {
    by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, prometheus_client::encoding::EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

impl Protection {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            recovered: Family::default(),
            unrecovered: Counter::default(),
            bytes: Family::default(),
            repair_packets: Counter::default(),
            retransmitted: Counter::default(),
            plans: Plans::register(registry),
        };
        registry.register(
            "hop_recovered",
            "Packets lost between members and brought back in time, by what did it: fec, nack, path",
            own.recovered.clone(),
        );
        registry.register(
            "hop_unrecovered",
            "Packets lost between members that protection did not bring back in time",
            own.unrecovered.clone(),
        );
        registry.register_with_unit(
            "hop_protected",
            "Bytes sent to members on protected flows: media, or what protects it (beside)",
            Unit::Bytes,
            own.bytes.clone(),
        );
        registry.register("hop_repair_packets", "Repair packets sent to members", own.repair_packets.clone());
        registry.register("hop_retransmitted", "Packets sent to members again", own.retransmitted.clone());
        own.add(Counts::default());
        own
    }

    /// Counts a protected flow to a member, for which nothing is decided yet.
    pub(crate) fn flow(&self) -> PlanCount {
        self.plans.enter()
    }

    /// Adds what is new.
    pub(crate) fn add(&self, fresh: Counts) {
        for (by, count) in [("fec", fresh.fec), ("nack", fresh.nack), ("path", fresh.path)] {
            self.recovered.get_or_create(&ByLabels { by }).inc_by(count);
        }
        self.unrecovered.inc_by(fresh.unrecovered);
        for (kind, count) in [("media", fresh.media_bytes), ("beside", fresh.beside_bytes)] {
            self.bytes.get_or_create(&KindLabels { kind }).inc_by(count);
        }
        self.repair_packets.inc_by(fresh.repair_packets);
        self.retransmitted.inc_by(fresh.retransmitted);
    }
}
