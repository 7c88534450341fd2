//! All cells.

use std::time::Duration;

use super::bounds;
use super::cell::{Budget, Cell, Kind, Paths, Rate, Step};

/// Shares that are lost.
pub const LOSSES: [f64; 6] = [0.0, 0.001, 0.01, 0.05, 0.1, 0.2];

/// How losses follow one another.
pub const KINDS: [Kind; 3] = [Kind::Random, Kind::Burst(3), Kind::Burst(10)];

/// Round-trip times in milliseconds, and the budgets at each.
const RTTS: [(u64, &[Budget]); 3] = [
    (2, &[Budget::Tight, Budget::Roomy]),
    (20, &[Budget::Tight, Budget::Roomy]),
    (80, &[Budget::Tight, Budget::Roomy, Budget::NoRoundTrip]),
];

/// Losses that change, from and to: a path that gets bad, and one that was perfect.
const STEPS: [(f64, f64, Kind); 2] = [(0.01, 0.1, Kind::Random), (0.0, 0.05, Kind::Burst(3))];

/// Packets of a cell.
pub const PACKETS: u64 = 200_000;

/// Packets of a cell that loses them in runs: one run that is not recovered is many packets, so as many as elsewhere would be chance.
pub const BURST_PACKETS: u64 = 600_000;

/// Packets of a cell that must lose nothing, or as good as nothing.
pub const MANY_PACKETS: u64 = 3_000_000;

/// Packets of a cell in a quick run, of which the figures are rough.
pub const QUICK_PACKETS: u64 = 60_000;

/// Every cell, in the order of the table.
#[must_use]
pub fn cells(quick: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for rate in [Rate::Eight, Rate::Two] {
        for (rtt, budgets) in RTTS {
            for &budget in budgets {
                steady(rate, rtt, budget, &mut cells);
                if rtt > 2 {
                    cells.extend(STEPS.map(|(loss, to, kind)| {
                        let step = Some(Step { to, every: Duration::from_secs(10) });
                        Cell { loss, kind, step, ..cell(rate, rtt, budget) }
                    }));
                }
            }
        }
    }
    cells.push(Cell { loss: 0.05, paths: Paths::TwoWithCuts, ..cell(Rate::Eight, 20, Budget::Roomy) });
    for cell in &mut cells {
        cell.packets = match bounds::finest(cell) {
            _ if quick => QUICK_PACKETS,
            Some(residual) if residual <= 1e-5 => MANY_PACKETS,
            _ if cell.kind != Kind::Random => BURST_PACKETS,
            _ => PACKETS,
        };
    }
    cells
}

fn steady(rate: Rate, rtt: u64, budget: Budget, cells: &mut Vec<Cell>) {
    for kind in KINDS {
        for loss in LOSSES {
            // Without loss there is no kind of it.
            if loss > 0.0 || kind == Kind::Random {
                cells.push(Cell { loss, kind, ..cell(rate, rtt, budget) });
            }
        }
    }
}

fn cell(rate: Rate, rtt: u64, budget: Budget) -> Cell {
    let rtt = Duration::from_millis(rtt);
    Cell { rate, loss: 0.0, kind: Kind::Random, step: None, rtt, budget, paths: Paths::One, packets: PACKETS }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cell_is_there_once_and_large_enough() {
        let cells = cells(false);
        let names: BTreeSet<_> = cells.iter().map(Cell::name).collect();
        assert_eq!(names.len(), cells.len());
        // 2 rates × 7 budgets × (1 + 5 × 3), steps at 5 of the budgets, two paths.
        assert_eq!(cells.len(), 2 * 7 * 16 + 2 * 5 * 2 + 1);
        let packets = |name: &str| cells.iter().find(|cell| cell.name() == name).unwrap().packets;
        assert_eq!(packets("8M/10%/random/rtt20/100ms"), MANY_PACKETS);
        assert_eq!(packets("8M/5%/random/rtt20/100ms/two-paths"), MANY_PACKETS);
        assert_eq!(packets("2M/5%/burst10/rtt80/60ms"), BURST_PACKETS);
        assert_eq!(packets("2M/5%/random/rtt80/60ms"), PACKETS);
    }

    #[test]
    fn budgets_are_those_that_were_asked_for() {
        let latency = |rtt, budget| cell(Rate::Two, rtt, budget).latency().as_millis();
        assert_eq!([2, 20, 80].map(|rtt| latency(rtt, Budget::Tight)), [23, 50, 140]);
        assert_eq!([2, 20, 80].map(|rtt| latency(rtt, Budget::Roomy)), [28, 100, 340]);
        assert_eq!(latency(80, Budget::NoRoundTrip), 60);
    }

    #[test]
    fn filters_name_whole_words() {
        let cell = Cell { loss: 0.001, ..cell(Rate::Eight, 20, Budget::Roomy) };
        assert_eq!(cell.name(), "8M/0.1%/random/rtt20/100ms");
        assert!(cell.is_named("8M,rtt20") && cell.is_named("8M/0.1%/random/rtt20/100ms"));
        assert!(!cell.is_named("1%") && !cell.is_named("8M,rtt2"));
    }
}
