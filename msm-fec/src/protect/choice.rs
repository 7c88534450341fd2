//! When another plan is taken up: more protection at once, less only after a while.

use std::time::{Duration, Instant};

use super::Report;
use super::congestion::Congestion;
use super::key::{Key, Plans};
use crate::control::{Channel, Conditions, Limits, Plan, Traffic};
use crate::estimate::SLOW_PACKETS;

/// Less protection is taken up after it has been enough for so long; for less at first, while what is measured settles.
const SHRINK_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// From one look at the plan to the next, if the loss did not jump.
const LOOK: Duration = Duration::from_millis(500);
/// From one plan that is made to the next at least: it takes some tenths of a millisecond, and who reports decides what is made.
pub(super) const LEAST: Duration = Duration::from_millis(100);
/// A jump of the loss: so many times as much, and so much more.
const JUMP: (f64, f64) = (1.5, 0.002);
/// A jump of the round trip, either way.
const FARTHER: f64 = 1.25;
/// Runs of losses after which their rate is known well enough to tell by it whether it rises.
const SETTLED: f64 = 8.0;

/// The plan in force.
#[derive(Debug)]
pub(super) struct Choice {
    limits: Limits,
    budget: Duration,
    plan: Option<Plan>,
    /// The runs that probes are to tell of.
    probes: f64,
    /// What stays lost of what they do not tell of.
    late: f64,
    plans: Plans,
    made: Option<Instant>,
    #[cfg(test)]
    made_count: u32,
    /// When the first report came, and when one was last looked at: its loss, and its round trip.
    first: Option<Instant>,
    looked: Option<Instant>,
    looked_at: (f64, Option<Duration>),
    /// Since when less has been enough, and the most of it.
    enough: Option<(Instant, Plan)>,
    congestion: Congestion,
    why: String,
}

impl Choice {
    pub(super) fn new(limits: Limits, budget: Duration) -> Self {
        Self {
            limits,
            budget,
            plan: None,
            probes: 1.0,
            late: 1.0,
            plans: Plans::default(),
            made: None,
            #[cfg(test)]
            made_count: 0,
            first: None,
            looked: None,
            looked_at: (0.0, None),
            enough: None,
            congestion: Congestion::default(),
            why: "nothing measured yet".to_owned(),
        }
    }

    /// Other limits, from the next report on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.plans.clear();
        self.looked = None;
        self.enough = None;
    }

    pub(super) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The runs of losses that probes are to tell of.
    pub(super) const fn probes(&self) -> f64 {
        self.probes
    }

    /// Share of what only the next burst tells of that stays lost.
    pub(super) const fn late(&self) -> f64 {
        self.late
    }

    /// What was decided last, and why, in one line.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// The most that everything beside the media may take now.
    pub(super) fn allowed(&self, now: Instant) -> f64 {
        self.congestion.allowed(now, self.limits.overhead)
    }

    /// Looks at what the receiver reported after `packets` were sent. Whether the plan changed.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        report: &Report,
        traffic: Traffic,
        packets: u64,
    ) -> bool {
        self.first.get_or_insert(now);
        let fresh = self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK);
        if fresh && !self.jumped(report) {
            return false;
        }
        self.congestion.handle_loss(now, report.loss);
        // Whether there is time to ask is what all depends on.
        let Some(rtt) = report.rtt else { return false };
        let limits = Limits { overhead: self.allowed(now), ..self.limits };
        let channel = Channel { loss: report.loss, burst: report.burst }.sane();
        let runs = packets.min(SLOW_PACKETS) as f64 * channel.loss / channel.burst;
        let conditions = Conditions {
            runs,
            forward: channel,
            back: channel,
            rtt,
            detection: report.reorder + Duration::from_millis(2),
            budget: self.budget,
            traffic,
        };
        self.probes = conditions.told_by_probes(report.burst);
        self.late = conditions.late(&limits);
        let Some(wanted) = self.look_up(now, &conditions, &limits) else { return false };
        (self.looked, self.looked_at) = (Some(now), (report.loss, report.rtt));
        let old = self.plan.as_ref().map_or(0.0, |plan| plan.share);
        // A limit that has become lower is kept at once.
        let wanted = if wanted.share < old && old <= limits.overhead {
            match self.shrink(now, wanted) {
                Some(enough) => enough,
                None => return false,
            }
        } else {
            self.enough = None;
            wanted
        };
        if wanted.share > old && runs > SETTLED {
            self.congestion.handle_growth(now, old, report.loss, report.burst);
        }
        self.take(wanted, &conditions, limits.overhead < self.limits.overhead)
    }

    fn jumped(&self, report: &Report) -> bool {
        let ((times, more), (loss, rtt)) = (JUMP, self.looked_at);
        let other = match (report.rtt, rtt) {
            (Some(new), Some(old)) => new.max(old) > new.min(old).mul_f64(FARTHER),
            (new, old) => new.is_some() != old.is_some(),
        };
        other || report.loss > loss * times + more
    }

    fn look_up(&mut self, now: Instant, conditions: &Conditions, limits: &Limits) -> Option<Plan> {
        let key = Key::of(conditions, limits);
        if let Some(plan) = self.plans.get(key) {
            return Some(plan);
        }
        if self.made.is_some_and(|at| now.saturating_duration_since(at) < LEAST) {
            return None;
        }
        self.made = Some(now);
        #[cfg(test)]
        {
            self.made_count += 1;
        }
        let plan = key.conditions(self.budget).plan(limits);
        self.plans.insert(key, plan.clone());
        Some(plan)
    }

    /// The most that was wanted since less is enough, once that has been so for long enough.
    fn shrink(&mut self, now: Instant, wanted: Plan) -> Option<Plan> {
        let Some((since, most_wanted)) = &mut self.enough else {
            self.enough = Some((now, wanted));
            return None;
        };
        if wanted.share > most_wanted.share {
            *most_wanted = wanted;
        }
        let age = self.first.map_or(Duration::ZERO, |first| now.saturating_duration_since(first));
        let (least, most) = SHRINK_AFTER;
        if now.saturating_duration_since(*since) < (age / 4).clamp(least, most) {
            return None;
        }
        self.enough.take().map(|(_, most)| most)
    }

    fn take(&mut self, wanted: Plan, conditions: &Conditions, backs_off: bool) -> bool {
        let same = |plan: &Plan| plan.code == wanted.code && plan.hold_off == wanted.hold_off;
        let changed = !self.plan.as_ref().is_some_and(same);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        self.why = format!(
            "loss {:.2} % in runs of {:.1}, round trip {:.0} ms, budget {:.0} ms: {wanted}{}",
            conditions.forward.loss * 100.0,
            conditions.forward.burst,
            ms(conditions.rtt),
            ms(self.budget),
            if backs_off { "; less than allowed, as more made the loss worse" } else { "" },
        );
        self.plan = Some(wanted);
        changed
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
