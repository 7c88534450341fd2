//! What must be reached, as data, and whether it was.

use std::time::Duration;

use super::cell::{Budget, Cell, Kind, Paths, Rate, percent};
use super::ideal::Code;
use super::sweep::Row;
use super::tally::Outcome;
use super::variants::{CONTROLLER, FEC, NACK};

/// Redundancy that the ideal code of a bound has: the most that the controller may spend by default.
pub const CAP: f64 = 0.5;

/// Residual that a cell must reach to count as protected, where no bound asks for more.
pub const TARGET: f64 = 1e-4;

/// So many losses may be chance.
const CHANCE: f64 = 3.0;

/// A figure of the controller that is bounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// No packet is missing.
    Nothing,
    /// Share of packets that is missing.
    Residual(f64),
    /// The same, as a multiple of what an ideal code with [`CAP`] redundancy leaves.
    Ideal(f64),
    /// Overhead: so many times the loss, and so much besides.
    Overhead(f64, f64),
    /// Added delay of 99 of 100 packets.
    Delay(Duration),
    /// Residual: so many times the better of NACK only and FEC only, unless it is within the target or may be chance.
    Better(f64),
    /// Overhead: so many times that of the cheaper of NACK only and FEC only which meets the target, and so much besides.
    Cheaper(f64, f64),
}

/// Cells that a bound is about: those that are in each of the lists.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    rates: &'static [Rate],
    /// From and to, both included.
    losses: (f64, f64),
    kinds: &'static [Kind],
    /// Shortest round-trip time in milliseconds.
    rtt: u64,
    budgets: &'static [Budget],
    paths: Paths,
    limits: &'static [Limit],
}

const RATES: &[Rate] = &[Rate::Eight, Rate::Two];
const EIGHT: &[Rate] = &[Rate::Eight];
const TWO: &[Rate] = &[Rate::Two];
const RANDOM: &[Kind] = &[Kind::Random];
const BURST_3: &[Kind] = &[Kind::Burst(3)];
const BURST_10: &[Kind] = &[Kind::Burst(10)];
const KINDS: &[Kind] = &[Kind::Random, Kind::Burst(3), Kind::Burst(10)];
const ROOMY: &[Budget] = &[Budget::Roomy];
const TIGHT: &[Budget] = &[Budget::Tight];
const SHORT: &[Budget] = &[Budget::NoRoundTrip];
const ROUND_TRIP: &[Budget] = &[Budget::Tight, Budget::Roomy];
const BUDGETS: &[Budget] = &[Budget::Tight, Budget::Roomy, Budget::NoRoundTrip];

/// Every cell with one path and a loss that does not change.
const ANY: Bound = Bound {
    rates: RATES,
    losses: (0.0, 1.0),
    kinds: KINDS,
    rtt: 0,
    budgets: BUDGETS,
    paths: Paths::One,
    limits: &[],
};

/// What must be reached.
pub const BOUNDS: &[Bound] = &[
    // Several round trips fit.
    Bound { kinds: RANDOM, losses: (0.0, 0.1), budgets: ROOMY, limits: &[Limit::Nothing], ..ANY },
    Bound { kinds: RANDOM, losses: (0.2, 0.2), budgets: ROOMY, limits: &[Limit::Residual(1e-4)], ..ANY },
    Bound {
        rates: EIGHT,
        kinds: RANDOM,
        losses: (0.0, 0.2),
        budgets: ROOMY,
        limits: &[Limit::Overhead(2.5, 0.02)],
        ..ANY
    },
    Bound {
        rates: TWO,
        kinds: RANDOM,
        losses: (0.0, 0.2),
        budgets: ROOMY,
        limits: &[Limit::Overhead(2.5, 0.03)],
        ..ANY
    },
    Bound {
        rates: EIGHT,
        kinds: BURST_3,
        losses: (0.001, 0.1),
        rtt: 20,
        budgets: ROOMY,
        limits: &[Limit::Residual(1e-4)],
        ..ANY
    },
    Bound {
        rates: EIGHT,
        kinds: BURST_10,
        losses: (0.05, 0.05),
        rtt: 20,
        budgets: ROOMY,
        limits: &[Limit::Residual(5e-4)],
        ..ANY
    },
    // One fits.
    Bound {
        rates: EIGHT,
        kinds: RANDOM,
        losses: (0.0, 0.1),
        budgets: TIGHT,
        limits: &[Limit::Residual(1e-5), Limit::Overhead(0.0, 0.3)],
        ..ANY
    },
    // None fits.
    Bound { losses: (0.05, 0.05), budgets: SHORT, limits: &[Limit::Overhead(0.0, 0.5)], ..ANY },
    Bound {
        rates: EIGHT,
        kinds: RANDOM,
        losses: (0.05, 0.05),
        budgets: SHORT,
        limits: &[Limit::Residual(1e-4)],
        ..ANY
    },
    Bound {
        rates: EIGHT,
        kinds: BURST_3,
        losses: (0.05, 0.05),
        budgets: SHORT,
        limits: &[Limit::Residual(2e-4)],
        ..ANY
    },
    Bound {
        rates: EIGHT,
        kinds: BURST_10,
        losses: (0.05, 0.05),
        budgets: SHORT,
        limits: &[Limit::Ideal(1.3)],
        ..ANY
    },
    Bound { rates: TWO, losses: (0.05, 0.05), budgets: SHORT, limits: &[Limit::Ideal(1.3)], ..ANY },
    // It is as good as whoever sets it by hand, and then as cheap.
    Bound { limits: &[Limit::Better(1.1), Limit::Cheaper(1.1, 0.01)], ..ANY },
    // Two paths, one of them cut.
    Bound { paths: Paths::TwoWithCuts, limits: &[Limit::Nothing], ..ANY },
    // Without loss it costs nothing.
    Bound {
        losses: (0.0, 0.0),
        budgets: ROUND_TRIP,
        limits: &[Limit::Overhead(0.0, 0.005), Limit::Delay(Duration::from_millis(1))],
        ..ANY
    },
];

impl Bound {
    fn is_about(&self, cell: &Cell) -> bool {
        cell.step.is_none()
            && cell.paths == self.paths
            && self.rates.contains(&cell.rate)
            && (self.losses.0..=self.losses.1).contains(&cell.loss)
            && self.kinds.contains(&cell.kind)
            && cell.rtt >= Duration::from_millis(self.rtt)
            && self.budgets.contains(&cell.budget)
    }
}

/// The limits of a cell.
fn limits(cell: &Cell) -> impl Iterator<Item = Limit> {
    BOUNDS.iter().filter(|bound| bound.is_about(cell)).flat_map(|bound| bound.limits.iter().copied())
}

/// The smallest residual that a bound asks of `cell`: 0 where nothing may be lost.
#[must_use]
pub fn finest(cell: &Cell) -> Option<f64> {
    limits(cell)
        .filter_map(|limit| match limit {
            Limit::Nothing => Some(0.0),
            Limit::Residual(residual) => Some(residual),
            _ => None,
        })
        .reduce(f64::min)
}

/// A line for each bound that `rows` miss. In a `quick` run, whose cells are too small for it, a share of packets may be missed by chance.
#[must_use]
pub fn misses(rows: &[Row], quick: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut not_run = 0;
    for row in rows {
        for (name, outcome) in row.outcomes.iter().filter(|(_, outcome)| outcome.wrong > 0) {
            lines.push(format!(
                "{}: {name}: {} packets came again, out of order or from nowhere",
                row.cell.name(),
                outcome.wrong
            ));
        }
        for limit in limits(&row.cell) {
            let Some(outcome) = row.outcome(CONTROLLER) else {
                not_run += 1;
                continue;
            };
            if let Some((is, bound)) = exceeds(limit, row, outcome, quick) {
                lines.push(format!("{}: {CONTROLLER}: {is}, but {bound}", row.cell.name()));
            }
        }
    }
    if not_run > 0 {
        lines.push(format!("{not_run} bounds on {CONTROLLER}: it did not run"));
    }
    lines
}

/// What is beyond `limit`, and what that is, if something is.
fn exceeds(limit: Limit, row: &Row, outcome: &Outcome, quick: bool) -> Option<(String, String)> {
    let cell = &row.cell;
    let chance = CHANCE / outcome.packets as f64;
    let residual = |at_most: f64, why: &str| {
        let at_most = if quick { at_most.max(chance) } else { at_most };
        (outcome.residual() > at_most).then(|| {
            let is = format!(
                "{} of {} are missing ({:.1e})",
                outcome.missing,
                outcome.packets,
                outcome.residual()
            );
            (is, format!("at most {at_most:.1e} may be{why}"))
        })
    };
    let overhead = |at_most: f64, why: &str| {
        (outcome.overhead > at_most).then(|| {
            let bound = format!("at most {} is allowed{why}", percent(at_most));
            (format!("overhead is {}", percent(outcome.overhead)), bound)
        })
    };
    let by_hand = || [NACK, FEC].into_iter().filter_map(|name| row.outcome(name));
    let target = finest(cell).unwrap_or(TARGET).max(chance);
    match limit {
        Limit::Nothing => (outcome.missing > 0).then(|| {
            (format!("{} of {} are missing", outcome.missing, outcome.packets), "none may be".to_owned())
        }),
        Limit::Residual(at_most) => residual(at_most, ""),
        Limit::Ideal(times) => {
            let ideal = Code::of_budget(cell, CAP).residual(cell.kind.loss(cell.loss));
            residual((times * ideal).max(chance), &format!(": {times} times the ideal code"))
        }
        Limit::Overhead(times, plus) => overhead(times * cell.loss + plus, ""),
        Limit::Delay(at_most) => (outcome.delay_p99 > at_most).then(|| {
            (
                format!("p99 of the added delay is {:?}", outcome.delay_p99),
                format!("at most {at_most:?} is allowed"),
            )
        }),
        Limit::Better(times) => {
            let better = by_hand().map(Outcome::residual).reduce(f64::min)?;
            residual(target.max(times * better), ": it must be as good as when set by hand")
        }
        Limit::Cheaper(times, plus) => {
            let meets = |outcome: &&Outcome| outcome.residual() <= target;
            let cheapest = by_hand().filter(meets).map(|outcome| outcome.overhead).reduce(f64::min)?;
            overhead(times * cheapest + plus, ": set by hand it is cheaper")
        }
    }
}

#[cfg(test)]
mod tests;
