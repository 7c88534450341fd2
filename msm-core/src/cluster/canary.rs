//! Whether a canary is to be rolled back.
//!
//! A [`Judge`] is told what becomes of the sessions of a canary and of its baseline, the other backends of the same route, and counts both
//! over the same window. It decides when something comes in; it needs no timer. Once it has decided, that stays so until it is made anew, which is when
//! the configuration changes.
//!
//! # When
//!
//! A canary is rolled back when, within the window, one of these is true:
//!
//! * **Set-ups.** At least [`CanaryOptions::min_sessions`] have been tried with it, and with a confidence of 99.9%
//!   * more of them fail than `max_setup_failures` says: so many would fail once in a thousand times at most if that were their share (the exact
//!     binomial test), and
//!   * more of them fail than of the baseline's: the two-proportion z-test, one-sided.
//!
//!   The confidence is that high because it is asked with every session, for hours.
//! * **Loss.** At least [`CanaryOptions::min_packets`] were to come from it; more than `max_loss` of them did not; that is more than twice the
//!   baseline's share; and it is so in at least three tenths of the window by themselves. Packets are lost in bursts, so each is no sample of its own:
//!   one outage says nothing however many packets it took.
//!
//! So a fault that hits both does not roll back: an origin that both pull from, the way to this process, clients that ask for what does not
//! exist. For the same reason every refusal counts as a failure here, whoever's it is. A session that breaks off, or whose media stops, counts as one
//! more that failed.
//!
//! A baseline with fewer than a tenth of the volume that the canary needs says nothing; then only the limits count.

use std::fmt;
use std::time::{Duration, Instant};

use super::outlier::Packets;
use super::window::Window;
use super::{Outcome, percent_of};

/// When a canary is rolled back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanaryOptions {
    /// Lost packets of the source, in percent; `None` does not look at them.
    pub max_loss: Option<f64>,
    /// Sessions that could not be set up, in percent; `None` does not look at them.
    pub max_setup_failures: Option<f64>,
    /// What is older is forgotten.
    pub window: Duration,
    /// So many sessions are needed.
    pub min_sessions: u64,
    /// So many packets are needed.
    pub min_packets: u64,
}

impl Default for CanaryOptions {
    fn default() -> Self {
        CanaryOptions {
            max_loss: Some(1.0),
            max_setup_failures: Some(2.0),
            window: Duration::from_secs(60),
            min_sessions: 10,
            min_packets: 2000,
        }
    }
}

/// Whose session it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The canary's.
    Canary,
    /// The others'.
    Baseline,
}

/// Why a canary is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RollBack {
    /// Its sessions cannot be set up.
    SetUps {
        /// That failed.
        failed: u64,
        /// Of so many.
        of: u64,
        /// The baseline's that failed.
        baseline_failed: u64,
        /// Of so many.
        baseline_of: u64,
    },
    /// Its packets do not come.
    Loss {
        /// That did not come.
        lost: u64,
        /// Of so many.
        of: u64,
        /// The baseline's that did not come.
        baseline_lost: u64,
        /// Of so many.
        baseline_of: u64,
    },
}

impl fmt::Display for RollBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = percent_of;
        match *self {
            RollBack::SetUps { failed, of, baseline_failed, baseline_of } => write!(
                f,
                "{failed} of {of} sessions could not be set up ({:.1}%), of the others' {baseline_failed} of {baseline_of} ({:.1}%)",
                percent(failed, of),
                percent(baseline_failed, baseline_of)
            ),
            RollBack::Loss { lost, of, baseline_lost, baseline_of } => write!(
                f,
                "{lost} of {of} packets were lost ({:.2}%), of the others' {baseline_lost} of {baseline_of} ({:.2}%)",
                percent(lost, of),
                percent(baseline_lost, baseline_of)
            ),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    set_up: u64,
    failed: u64,
    packets: Packets,
}

/// Watches one canary.
#[derive(Debug)]
pub struct Judge {
    options: CanaryOptions,
    canary: Window<Counts>,
    baseline: Window<Counts>,
    decided: Option<RollBack>,
    untold: bool,
}

/// How often chance may look like a fault.
const CHANCE: f64 = 0.001;
/// So many standard deviations are exceeded that often, on one side.
const Z: f64 = 3.09;

/// Parts of the window, a tenth of it each, that are to be lossy by themselves.
const LOSSY_PARTS: usize = 3;

impl Judge {
    /// One that has seen nothing.
    pub fn new(options: CanaryOptions) -> Self {
        let window = || Window::new(options.window);
        Judge { options, canary: window(), baseline: window(), decided: None, untold: false }
    }

    /// What became of a session, or of the attempt at one.
    pub fn handle_outcome(&mut self, now: Instant, side: Side, outcome: &Outcome) {
        let counts = match side {
            Side::Canary => self.canary.now(now),
            Side::Baseline => self.baseline.now(now),
        };
        match outcome {
            Outcome::SetUp { .. } => counts.set_up += 1,
            Outcome::Loss { .. } => counts.packets.add(outcome),
            Outcome::Refused { status } if *status < 400 => return,
            Outcome::Garbage { .. } => return,
            _ => counts.failed += 1,
        }
        self.canary.advance(now);
        self.baseline.advance(now);
        if self.decided.is_none() {
            self.decided = self.set_ups().or_else(|| self.loss());
            self.untold = self.decided.is_some();
        }
    }

    /// Tells once that the canary is to be rolled back.
    pub fn poll_event(&mut self) -> Option<RollBack> {
        std::mem::take(&mut self.untold).then_some(self.decided)?
    }

    /// Why it has been rolled back, if it has.
    pub fn rolled_back(&self) -> Option<RollBack> {
        self.decided
    }

    fn set_ups(&self) -> Option<RollBack> {
        let limit = self.options.max_setup_failures? / 100.0;
        let count = |window: &Window<Counts>| {
            let sum = |of: fn(&Counts) -> u64| window.parts().iter().map(of).fold(0, u64::saturating_add);
            let failed = sum(|part| part.failed);
            (failed, failed.saturating_add(sum(|part| part.set_up)))
        };
        let (failed, of) = count(&self.canary);
        let (baseline_failed, baseline_of) = count(&self.baseline);
        let compares = baseline_of >= (self.options.min_sessions / 10).max(1);
        let worse = !compares || is_more(failed, of, baseline_failed, baseline_of);
        (of >= self.options.min_sessions.max(1) && exceeds(failed, of, limit) && worse)
            .then_some(RollBack::SetUps { failed, of, baseline_failed, baseline_of })
    }

    fn loss(&self) -> Option<RollBack> {
        let limit = self.options.max_loss?;
        let packets = |window: &Window<Counts>| Packets::sum(window.parts().iter().map(|part| &part.packets));
        let (own, others) = (packets(&self.canary), packets(&self.baseline));
        let share = Packets::loss;
        let compares = others.expected >= (self.options.min_packets / 10).max(1);
        let worse = !compares || share(&own) > 2.0 * share(&others);
        let lossy = self.canary.parts().iter().filter(|part| share(&part.packets) > limit).count();
        (own.expected >= self.options.min_packets.max(1)
            && share(&own) > limit
            && worse
            && lossy >= LOSSY_PARTS)
            .then_some(RollBack::Loss {
                lost: own.lost,
                of: own.expected,
                baseline_lost: others.lost,
                baseline_of: others.expected,
            })
    }
}

/// Whether so many of so many, or more, would hardly fail where each does with a probability of `limit`.
fn exceeds(failed: u64, of: u64, limit: f64) -> bool {
    let count = of as f64;
    if limit >= 1.0 || failed as f64 <= count * limit {
        return false;
    }
    // From here on the binomial distribution is a normal one to three digits, and its first terms are too small for a number.
    if count * limit > 500.0 {
        return failed as f64 - count * limit > Z * (count * limit * (1.0 - limit)).sqrt();
    }
    // The terms for 0, 1, … failures, each from the one before.
    let mut term = (count * (-limit).ln_1p()).exp();
    let mut fewer = 0.0;
    for number in 0..failed {
        fewer += term;
        term *= (count - number as f64) / (number as f64 + 1.0) * limit / (1.0 - limit);
    }
    1.0 - fewer < CHANCE
}

/// Whether the first share is greater than the second one, and not by chance.
fn is_more(failed: u64, of: u64, other_failed: u64, other_of: u64) -> bool {
    if of == 0 || other_of == 0 {
        return of > 0 && failed > 0;
    }
    let (count, other_count) = (of as f64, other_of as f64);
    let pooled = (failed as f64 + other_failed as f64) / (count + other_count);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / count + 1.0 / other_count)).sqrt();
    let difference = failed as f64 / count - other_failed as f64 / other_count;
    difference > Z * deviation && difference > 0.0
}

#[cfg(test)]
#[path = "canary_tests.rs"]
mod tests;
