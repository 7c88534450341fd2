//! Plans that are looked at: what they leave, and what they cost.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::plan::{Code, MAX_DEPTH, MAX_SOURCE, Round};
use super::rounds::{MAX_ROUNDS, Rounds};
use super::{Channel, Conditions, Limits, Traffic};
use crate::nack::{MAX_ANSWERS, Tail, TailConfig};

/// What a repair packet has more than the longest packet of its block: headers of its own, and tag and MKI of SRTP.
const REPAIR_BYTES: f64 = 42.0;
/// What a tail probe costs with all headers: IP, UDP, SRTCP.
const PROBE_BYTES: f64 = 69.0;
/// Headers of IP and UDP, which packets of the media have, too.
const HEADER_BYTES: f64 = 28.0;
/// What is sent now and then to report, as a share of the media.
const FIXED: f64 = 0.004;
/// A round trip is not hit to the millisecond: what is kept free for each.
const GUARD: Duration = Duration::from_millis(1);
/// Runs of losses that are longer than this, on average, take more than one burst's end in a row.
const LONG: f64 = 5.0;
/// Where the target is out of reach, no more is spent for so little less loss.
const LITTLE: f64 = 1.02;
/// Twice as much loss as the target is worth this share of the media, and less in proportion; more than twice is out of the question.
const DOUBLE: f64 = 0.16;

/// Copies of answers that are looked at, where there is no room for more.
const COPIES: [u32; 3] = [MAX_ANSWERS as u32, 2, 1];

/// Bursts behind the one of which the end was lost, after which it is too late in any case.
const MAX_UNSEEN: u32 = 64;

/// So many repair packets are not all lost: they tell of what is before them, and no probes need to.
pub(crate) const TELLING: usize = 3;

/// A plan that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) code: Option<Code>,
    pub(super) asked: Asked,
    pub(super) delay: Duration,
    pub(super) share: f64,
    pub(super) ahead: f64,
    pub(super) residual: f64,
    pub(super) overhead: f64,
}

impl Candidate {
    /// Takes the place of what is no better.
    pub(super) fn improve(self, best: &mut Option<Self>, target: f64) {
        if best.as_ref().is_none_or(|best| self.beats(best, target)) {
            *best = Some(self);
        }
    }

    /// Whether it is the better one of its kind. Below the target less loss is worth nothing, a little above it something; far above,
    /// any that is not next to nothing.
    fn beats(&self, other: &Self, target: f64) -> bool {
        match (self.price(target), other.price(target)) {
            (Some(price), Some(other_price)) => price < other_price,
            (None, None) if self.overhead > other.overhead => self.residual * LITTLE < other.residual,
            (None, None) => self.residual < other.residual * LITTLE,
            (price, _) => price.is_some(),
        }
    }

    /// Whether it is better than one of another kind: cheaper, or leaves so many `times` less.
    pub(super) fn is_worth(&self, other: &Self, target: f64, times: f64) -> bool {
        match (self.price(target), other.price(target)) {
            (Some(price), Some(other_price)) => price < other_price,
            (None, Some(_)) => false,
            (_, None) => self.residual * times < other.residual,
        }
    }

    /// What it costs, and what it leaves above the target; `None` where that is too much to be weighed.
    fn price(&self, target: f64) -> Option<f64> {
        let above = (self.residual / target.max(1e-12)).max(1.0).log2();
        (above <= 1.0).then_some(self.overhead + above * DOUBLE)
    }
}

/// What is asked for, and what that leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The most rounds that there are.
    most: Rounds,
    /// By the copies of answers that are sent, the most first.
    levels: [Level; COPIES.len()],
}

/// What rounds do to what is missing, on average.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// What they leave and cost, and what they leave of what is seen to be missing when the next burst comes.
    leaves: f64,
    costs: f64,
    late: f64,
}

impl Asked {
    pub(super) const fn any(&self) -> bool {
        self.most.any()
    }

    pub(super) fn rounds(&self) -> Vec<Round> {
        self.most.to_vec()
    }

    fn late(&self) -> f64 {
        let [all, ..] = self.levels;
        all.late
    }

    /// What is done where no more than `afford` can be spent for each missing packet, and how many of them are answered at all. What is
    /// beyond is copies first, as they stand behind the first answers.
    fn within(&self, afford: f64) -> (Level, f64) {
        let [.., last] = self.levels;
        let level = self.levels.into_iter().find(|level| level.costs <= afford);
        level.map_or_else(|| (last, (afford / last.costs).min(1.0)), |level| (level, 1.0))
    }
}

impl Level {
    fn leaves(&self, unseen: f64) -> f64 {
        self.leaves * (1.0 - unseen) + self.late * unseen
    }
}

/// Blocks over some bursts, with any number of repair packets.
#[derive(Debug)]
pub(super) struct Blocks {
    code: Code,
    delay: Duration,
    /// By the number of repair packets.
    residuals: Vec<f64>,
    least: usize,
    /// The most repair packets for each source packet, on average.
    share: f64,
    /// What a repair packet costs, and what everything may.
    repair: f64,
    limit: f64,
    /// What probes cost, where repair packets do not tell what they would.
    probes: f64,
    unseen: f64,
}

impl Blocks {
    /// Blocks over `span` bursts; `None` if their repair packets would be too late for the first packet, or they have too many packets.
    pub(super) fn new(conditions: &Conditions, span: usize, limits: &Limits) -> Option<Self> {
        let traffic = conditions.traffic;
        let packets = (traffic.packets * span as f64).round().max(1.0);
        let depth = (packets / (MAX_SOURCE as f64 + 0.5)).ceil().max(1.0);
        let between = traffic.interval.saturating_mul(u32::try_from(span).ok()?.checked_sub(1)?);
        let delay = between.saturating_add(traffic.length + GUARD);
        if delay > conditions.budget || depth > MAX_DEPTH as f64 {
            return None;
        }
        let source = ((packets / depth).round() as usize).clamp(1, MAX_SOURCE);
        let bytes = traffic.bytes.max(1.0);
        let repair = (traffic.longest.max(bytes) + HEADER_BYTES + REPAIR_BYTES) / (bytes + HEADER_BYTES);
        let share = limits.share.unwrap_or(f64::MAX).min((limits.overhead - FIXED).max(0.0) / repair);
        // Blocks may have one more, if not every block has.
        let most = ((source as f64 * share).ceil() as usize).min(255 - source);
        let depth = depth as usize;
        Some(Self {
            code: Code { source, repair: 0, span, depth },
            delay,
            residuals: conditions.forward.chain(depth as u32).residuals(source, most),
            least: if limits.share.is_some() { most } else { 1 },
            share,
            repair,
            limit: limits.overhead,
            probes: conditions.probe_cost(conditions.late(limits)),
            // What a code leaves of bursts was lost in one that was longer than its repair packets, which are at the end, too.
            unseen: if conditions.forward.is_bursty() { conditions.ends(packets) } else { 0.0 },
        })
    }

    /// No blocks: only what is asked for.
    pub(super) fn none(conditions: &Conditions, limits: &Limits) -> Candidate {
        let again = conditions.forward.stays_lost(1);
        let asked = conditions.asked(limits);
        let blocks = Self {
            code: Code { source: 1, repair: 0, span: 0, depth: 1 },
            delay: Duration::ZERO,
            residuals: vec![conditions.forward.sane().loss],
            least: 0,
            share: 0.0,
            repair: 0.0,
            limit: limits.overhead,
            probes: conditions.probe_cost(conditions.counted_on(&asked)),
            unseen: conditions.ends(conditions.traffic.packets)
                * again.powf(conditions.probes(conditions.counted_on(&asked))),
        };
        Candidate { code: None, ..blocks.candidate(0, &asked) }
    }

    pub(super) fn repairs(&self) -> RangeInclusive<usize> {
        self.least..=self.residuals.len().saturating_sub(1)
    }

    /// The plan with so many repair packets.
    pub(super) fn candidate(&self, repairs: usize, asked: &Asked) -> Candidate {
        let source = self.code.source as f64;
        let share = (repairs as f64 / source).min(self.share);
        // Some blocks have this many, the others one fewer.
        let residual = |repairs: usize| self.residuals.get(repairs).copied().unwrap_or(1.0);
        let (more, fewer) = (residual(repairs), residual(repairs.saturating_sub(1)));
        let part = (repairs as f64 - share * source).clamp(0.0, 1.0);
        let left = more + (fewer - more) * part;
        let ahead = share * self.repair;
        let telling = repairs * self.code.depth >= TELLING || repairs > 0 && !asked.any();
        let probes = if telling { 0.0 } else { self.probes };
        let left_over = (self.limit - ahead - probes).max(0.0);
        let (level, answered) = asked.within(if left > 0.0 { left_over / left } else { f64::MAX });
        Candidate {
            code: Some(Code { repair: repairs, ..self.code }),
            asked: *asked,
            delay: self.delay,
            share,
            ahead,
            residual: left * (1.0 - answered * (1.0 - level.leaves(self.unseen))),
            overhead: ahead + probes + left * level.costs * answered,
        }
    }
}

impl Conditions {
    /// What is asked for at once.
    fn asked(&self, limits: &Limits) -> Asked {
        self.asked_after([Duration::ZERO], limits)
    }

    /// What is asked for when the repair packets of a block were not enough: those of its packets that were sent last can wait least for
    /// them, and so be asked for most often.
    pub(super) fn asked_behind(&self, span: usize, limits: &Limits) -> Asked {
        let Traffic { interval, length, .. } = self.traffic;
        let bursts = (0..u32::try_from(span).unwrap_or(u32::MAX)).rev();
        self.asked_after(bursts.map(|later| interval.saturating_mul(later) + length + GUARD), limits)
    }

    fn asked_after(&self, delays: impl IntoIterator<Item = Duration>, limits: &Limits) -> Asked {
        let rounds = |delay, copies| match self.rounds(delay) {
            count if count > 0 && limits.nack => Rounds::new(self, count, copies),
            _ => Rounds::NONE,
        };
        let mut asked = Asked { most: Rounds::NONE, levels: Default::default() };
        let mut count = 0.0;
        for delay in delays {
            for (level, copies) in asked.levels.iter_mut().zip(COPIES).rev() {
                let soon = rounds(delay, copies);
                level.leaves += soon.leaves;
                level.costs += soon.costs;
                // Who finds out late does not know so, and counts on as many rounds.
                level.late += self.seen_late(delay, &soon);
                asked.most = soon;
            }
            count += 1.0;
        }
        let mean = |sum: f64| sum / f64::max(count, 1.0);
        let levels = asked.levels.map(|level| Level {
            leaves: mean(level.leaves),
            costs: mean(level.costs),
            late: mean(level.late),
        });
        Asked { levels, ..asked }
    }

    /// What stays lost of the ends of bursts that no probe tells of: the next burst does, unless the losses go on until it is over, or
    /// the one behind it, and each time fewer rounds fit.
    fn seen_late(&self, delay: Duration, rounds: &Rounds) -> f64 {
        let go_on = self.forward.stays_lost(1).powf(self.traffic.packets.max(1.0));
        let (mut unseen, mut left, mut delay) = (1.0, 0.0, delay);
        for _ in 0..MAX_UNSEEN {
            delay = delay.saturating_add(self.traffic.interval);
            let fits = self.rounds(delay);
            if fits == 0 {
                break;
            }
            left += unseen * (1.0 - go_on) * rounds.leaves_after(fits);
            unseen *= go_on;
        }
        left + unseen
    }

    /// What a round takes.
    fn round(&self) -> Duration {
        self.rtt.saturating_add(GUARD)
    }

    /// How many rounds fit behind a delay: the last one's answer has to come in time.
    fn rounds(&self, delay: Duration) -> usize {
        let left = self.budget.saturating_sub(self.detection).saturating_sub(delay);
        ((left.as_secs_f64() / self.round().as_secs_f64()) as usize).min(MAX_ROUNDS)
    }

    /// The latest delay behind which one round fits.
    pub(super) fn last_ask(&self) -> Duration {
        self.budget.saturating_sub(self.detection).saturating_sub(self.round())
    }

    /// What stays lost of the ends of bursts that only the next burst tells of.
    pub(crate) fn late(&self, limits: &Limits) -> f64 {
        self.counted_on(&self.asked(limits))
    }

    /// The same, as far as probes can be spared for it: with a single round there is no other to mend what is known too little of.
    fn counted_on(&self, asked: &Asked) -> f64 {
        if self.is_roomy() { asked.late() } else { 1.0 }
    }

    /// Whether what the next burst tells of can still be asked for twice.
    fn is_roomy(&self) -> bool {
        self.rounds(self.traffic.interval) >= 2
    }

    /// The runs that probes are to tell of: long ones, and where the next burst comes too late for it shorter ones, too.
    pub(crate) fn told_by_probes(&self, burst: f64) -> f64 {
        if burst < LONG && self.is_roomy() { 1.0 } else { burst }
    }

    /// Share of lost packets that are of a run which took the end of their `packets`, too.
    fn ends(&self, packets: f64) -> f64 {
        let (again, packets) = (self.forward.stays_lost(1), packets.clamp(1.0, 1e4));
        if again < 1.0 { (1.0 - again.powf(packets)) / (1.0 - again) / packets } else { 1.0 }
    }

    /// What they cost, as a share of the media, where something is lost.
    fn probe_cost(&self, late: f64) -> f64 {
        let media = (self.traffic.packets * self.traffic.bytes).max(1.0);
        if self.forward.sane().loss > 0.0 { (self.probes(late) * PROBE_BYTES / media).min(0.1) } else { 0.0 }
    }

    /// Probes behind a burst.
    fn probes(&self, late: f64) -> f64 {
        let Channel { loss, burst } = self.forward.sane();
        let mut tail = Tail::new(TailConfig::new(self.budget));
        tail.set_loss(loss);
        tail.set_burst(self.told_by_probes(burst));
        tail.set_late(late);
        let afforded = self.traffic.packets * self.traffic.bytes * (0.02 + loss / 2.0) / PROBE_BYTES;
        f64::from(tail.probes()).min(afforded.max(0.0))
    }
}
