//! What is decided for protected flows.

use std::sync::atomic::AtomicU64;

use msm_fec::control::Plan;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Shares are counted in so many parts of one: a power of two, so that what was added is taken back to the last bit.
const PARTS: f64 = 4096.0;

/// What the plans in force use, of flows that are sent. `measuring`: there is none yet.
const MEANS: [&str; 5] = ["measuring", "none", "fec", "nack", "fec_nack"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, prometheus_client::encoding::EncodeLabelSet)]
struct MeansLabels {
    means: &'static str,
}

type Sum = Gauge<f64, AtomicU64>;

/// The instruments of all plans.
#[derive(Clone)]
pub(super) struct Plans {
    flows: Family<MeansLabels, Gauge>,
    changes: Counter,
    overhead: Sum,
    repair: Sum,
    rounds: Gauge,
}

impl Plans {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            flows: Family::default(),
            changes: Counter::default(),
            overhead: Sum::default(),
            repair: Sum::default(),
            rounds: Gauge::default(),
        };
        for means in MEANS {
            own.flows.get_or_create(&MeansLabels { means }).set(0);
        }
        let ratio = || Unit::Other("ratio".to_owned());
        registry.register(
            "hop_protected_flows",
            "Protected flows to members now, by what their plans use: fec, nack, fec_nack, none, measuring at first",
            own.flows.clone(),
        );
        registry.register(
            "hop_protection_plan_changes",
            "Times that other repair packets, or another wait for them, were decided for a flow to a member",
            own.changes.clone(),
        );
        registry.register_with_unit(
            "hop_planned_overhead",
            "What plans expect to send beside the media, as a share of it: the sum over msm_hop_protected_flows",
            ratio(),
            own.overhead.clone(),
        );
        registry.register_with_unit(
            "hop_planned_repair",
            "Repair packets that plans send for each packet of the media: the sum over msm_hop_protected_flows",
            ratio(),
            own.repair.clone(),
        );
        registry.register(
            "hop_planned_rounds",
            "Rounds of retransmission that plans count on: the sum over msm_hop_protected_flows",
            own.rounds.clone(),
        );
        own
    }

    pub(super) fn enter(&self) -> PlanCount {
        let count = PlanCount { plans: self.clone(), now: Planned::default() };
        count.shift(MEANS[0], 1);
        count
    }
}

/// What is decided for a flow, as the instruments have it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Planned {
    means: &'static str,
    overhead: f64,
    repair: f64,
    rounds: i64,
}

impl Default for Planned {
    fn default() -> Self {
        Self { means: MEANS[0], overhead: 0.0, repair: 0.0, rounds: 0 }
    }
}

impl Planned {
    fn of(plan: &Plan) -> Self {
        let means = match (plan.code.is_some(), plan.rounds.is_empty()) {
            (false, true) => "none",
            (true, true) => "fec",
            (false, false) => "nack",
            (true, false) => "fec_nack",
        };
        let parts = |share: f64| (share * PARTS).round() / PARTS;
        let repair = plan.code.map_or(0.0, |_| plan.share);
        Self {
            means,
            overhead: parts(plan.overhead),
            repair: parts(repair),
            rounds: plan.rounds.len() as i64,
        }
    }
}

/// One protected flow in the instruments, until it is dropped.
pub(crate) struct PlanCount {
    plans: Plans,
    now: Planned,
}

impl PlanCount {
    /// The plan in force, and whether it is another than before in what is sent.
    pub(crate) fn set(&mut self, plan: &Plan, has_changed: bool) {
        if has_changed {
            self.plans.changes.inc();
        }
        self.turn_to(Planned::of(plan));
    }

    fn turn_to(&mut self, planned: Planned) {
        let before = std::mem::replace(&mut self.now, planned);
        if before.means != planned.means {
            self.shift(before.means, -1);
            self.shift(planned.means, 1);
        }
        self.plans.overhead.inc_by(planned.overhead - before.overhead);
        self.plans.repair.inc_by(planned.repair - before.repair);
        self.plans.rounds.inc_by(planned.rounds - before.rounds);
    }

    fn shift(&self, means: &'static str, by: i64) {
        self.plans.flows.get_or_create(&MeansLabels { means }).inc_by(by);
    }
}

impl Drop for PlanCount {
    fn drop(&mut self) {
        self.turn_to(Planned::default());
        self.shift(MEANS[0], -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_fec::control::{Code, Round};
    use std::time::Duration;

    #[test]
    fn a_flow_counts_with_the_plan_that_is_in_force_and_no_longer_than_it_lives() {
        let plans = Plans::register(&mut Registry::default());
        let flows = || MEANS.map(|means| plans.flows.get_or_create(&MeansLabels { means }).get());
        let sums = || (plans.overhead.get(), plans.repair.get(), plans.rounds.get(), plans.changes.get());
        let mut plan = Plan {
            code: None,
            share: 0.0,
            ahead: 0.0,
            rounds: vec![Round { requests: 1, answers: 1 }; 3],
            hold_off: Duration::ZERO,
            residual: 0.0,
            overhead: 0.1,
        };
        let (mut one, mut other) = (plans.enter(), plans.enter());
        assert_eq!(flows(), [2, 0, 0, 0, 0]);
        one.set(&plan, true);
        other.set(&plan, false);
        assert_eq!((flows(), plans.rounds.get()), ([0, 0, 0, 2, 0], 6));
        plan.code = Some(Code { source: 10, repair: 2, span: 1, depth: 1 });
        (plan.share, plan.overhead) = (0.2, 0.3);
        other.set(&plan, true);
        assert_eq!(flows(), [0, 0, 0, 1, 1]);
        let (overhead, repair, rounds, changes) = sums();
        assert!((overhead - 0.4).abs() < 0.001 && (repair - 0.2).abs() < 0.001, "{overhead} {repair}");
        assert_eq!((rounds, changes), (6, 2));
        drop(one);
        drop(other);
        assert_eq!((flows(), sums()), ([0; 5], (0.0, 0.0, 0, 2)));
    }
}
