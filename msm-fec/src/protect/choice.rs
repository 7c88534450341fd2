//! When another plan is taken up: more protection at once, less only after a while.

use std::time::{Duration, Instant};

use crate::control::{Channel, Conditions, Limits, Plan, Traffic};

use super::Report;

/// Less protection is taken up after it has been enough for so long.
const SHRINK_AFTER: Duration = Duration::from_secs(5);
/// From one look at the plan to the next, if the loss did not jump.
const LOOK: Duration = Duration::from_millis(500);
/// A jump of the loss.
const JUMP: f64 = 1.5;
/// What was added made the loss worse: for so long no more than half of it is used.
const BACK_OFF: Duration = Duration::from_secs(10);

/// The plan in force.
#[derive(Debug)]
pub(super) struct Choice {
    limits: Limits,
    budget: Duration,
    plan: Option<Plan>,
    looked: Option<Instant>,
    looked_at: f64,
    enough_since: Option<Instant>,
    /// When protection grew, from what overhead, and at what loss.
    grown: Option<(Instant, f64, f64)>,
    backed_off: Option<(Instant, f64)>,
    why: String,
}

impl Choice {
    pub(super) fn new(limits: Limits, budget: Duration) -> Self {
        Self {
            limits,
            budget,
            plan: None,
            looked: None,
            looked_at: 0.0,
            enough_since: None,
            grown: None,
            backed_off: None,
            why: "nothing measured yet".to_owned(),
        }
    }

    pub(super) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What was decided last, and why, in one line.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// Looks at what the receiver reported. Whether the plan changed.
    pub(super) fn handle_report(&mut self, now: Instant, report: &Report, traffic: Traffic) -> bool {
        let jumped = report.loss > self.looked_at * JUMP + 0.002;
        let fresh = self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK);
        if fresh && !jumped {
            return false;
        }
        (self.looked, self.looked_at) = (Some(now), report.loss);
        self.watch_congestion(now, report.loss);
        let limits = Limits { overhead: self.allowed(now), ..self.limits };
        let channel = Channel { loss: report.loss, burst: report.burst }.sane();
        let conditions = Conditions {
            forward: channel,
            back: channel,
            rtt: report.rtt.unwrap_or(self.budget / 5),
            detection: report.reorder + Duration::from_millis(2),
            budget: self.budget,
            traffic,
        };
        let wanted = conditions.plan(&limits);
        let spends = |plan: Option<&Plan>| {
            plan.and_then(|plan| plan.code).map_or(0.0, |code| code.repair as f64 / code.source.max(1) as f64)
        };
        let (new, old) = (spends(Some(&wanted)), spends(self.plan.as_ref()));
        if new < old && self.plan.is_some() && old <= limits.overhead {
            let since = *self.enough_since.get_or_insert(now);
            if now.saturating_duration_since(since) < SHRINK_AFTER {
                return false;
            }
        }
        self.enough_since = None;
        if new > old {
            self.grown = Some((now, old, report.loss));
        }
        let changed = self
            .plan
            .as_ref()
            .is_none_or(|plan| plan.code != wanted.code || plan.hold_off != wanted.hold_off);
        if changed {
            self.why = format!(
                "loss {:.2} % in runs of {:.1}, round trip {:.0} ms, budget {:.0} ms: {wanted}",
                report.loss * 100.0,
                channel.burst,
                conditions.rtt.as_secs_f64() * 1e3,
                self.budget.as_secs_f64() * 1e3,
            );
        }
        self.plan = Some(wanted);
        changed
    }

    /// Loss that rises right after redundancy was added is taken for a queue that overflows.
    fn watch_congestion(&mut self, now: Instant, loss: f64) {
        let Some((at, before, then)) = self.grown else { return };
        let since = now.saturating_duration_since(at);
        if since >= Duration::from_secs(3) {
            self.grown = None;
        } else if since >= Duration::from_secs(1) && loss > (then * 2.0).max(0.03) {
            self.backed_off = Some((now, before.max(self.limits.overhead / 4.0)));
            self.grown = None;
        }
    }

    fn allowed(&mut self, now: Instant) -> f64 {
        match self.backed_off {
            Some((at, share)) if now.saturating_duration_since(at) < BACK_OFF => {
                share.min(self.limits.overhead)
            }
            _ => {
                self.backed_off = None;
                self.limits.overhead
            }
        }
    }
}
