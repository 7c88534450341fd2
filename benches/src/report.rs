//! The table, the bounds and the JSON.

use serde_json::{Value, json};

use crate::Result;
use crate::cell::Costs;

/// The middle of some numbers.
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50.0)
}

/// The value below which `percent` of the numbers are (nearest rank).
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// What was asked for, and what came out.
#[derive(Debug, Clone)]
struct Bound {
    what: String,
    value: f64,
    /// The value may be at most this, or at least this.
    limit: Limit,
}

/// A limit of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// At most.
    Most(f64),
    /// At least.
    Least(f64),
}

impl Limit {
    fn met(self, value: f64) -> bool {
        match self {
            Self::Most(limit) => value <= limit,
            Self::Least(limit) => value >= limit,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Most(limit) => write!(f, "≤ {limit}"),
            Self::Least(limit) => write!(f, "≥ {limit}"),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
struct Cell {
    readers: usize,
    burst: usize,
    gro: bool,
    costs: Costs,
}

impl Cell {
    fn cost(&self, relay: &str) -> Option<f64> {
        self.costs.get(relay).and_then(|values| median(values))
    }

    /// The median of the rounds' ratios. The two relays of a round ran one right after the other, so what slowed the
    /// machine down for a while is in both.
    fn ratio(&self, over: &str, under: &str) -> Option<f64> {
        let pairs = self.costs.get(over)?.iter().zip(self.costs.get(under)?);
        median(&pairs.map(|(over, under)| over / under).collect::<Vec<_>>())
    }

    fn name(&self) -> String {
        let sinks = if self.gro { "GRO" } else { "plain" };
        format!("{} readers, bursts of {}, {sinks} sinks", self.readers, self.burst)
    }
}

/// Everything that a run found out.
#[derive(Debug, Default)]
pub struct Report {
    cells: Vec<Cell>,
    bounds: Vec<Bound>,
    figures: Vec<(String, f64)>,
    failures: Vec<String>,
}

impl Report {
    /// Prints the head of the table.
    pub fn head() {
        println!(
            "\nCPU time of the relay per delivered packet of 1200 bytes, in ns (medians)\n\
             Ratios are medians of the ratios of neighbouring rounds.\n"
        );
        println!(
            "{:>7} {:>5} {:>5} │ {:>7} {:>11} {:>7} {:>7} │ {:>11} {:>9} {:>13}",
            "readers",
            "burst",
            "sinks",
            "naive",
            "naive-tokio",
            "ceiling",
            "msm",
            "msm/ceiling",
            "naive/msm",
            "naive/ceiling"
        );
    }

    /// Adds and prints one line of the table, and judges it.
    pub fn cell(&mut self, readers: usize, burst: usize, gro: bool, costs: Costs) {
        let cell = Cell { readers, burst, gro, costs };
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        println!(
            "{readers:>7} {burst:>5} {:>5} │ {:>7} {:>11} {:>7} {:>7} │ {:>11} {:>9} {:>13}",
            if gro { "GRO" } else { "plain" },
            number(cell.cost("naive")),
            number(cell.cost("naive-tokio")),
            number(cell.cost("ceiling")),
            number(cell.cost("msm")),
            ratio(cell.ratio("msm", "ceiling")),
            ratio(cell.ratio("naive", "msm")),
            ratio(cell.ratio("naive", "ceiling")),
        );
        self.judge(&cell);
        self.cells.push(cell);
    }

    fn judge(&mut self, cell: &Cell) {
        let name = cell.name();
        let (readers, burst) = (cell.readers, cell.burst);
        if burst >= 16 {
            let ceiling = if readers >= 10 { 1.15 } else { 1.3 };
            self.bound_if(format!("msm/ceiling, {name}"), cell.ratio("msm", "ceiling"), Limit::Most(ceiling));
        }
        if burst >= 16 && readers >= 10 {
            let factor = if cell.gro { 5.0 } else { 3.0 };
            self.bound_if(format!("naive/msm, {name}"), cell.ratio("naive", "msm"), Limit::Least(factor));
        }
        if burst == 1 && readers == 10 {
            self.bound_if(format!("msm/naive, {name}"), cell.ratio("msm", "naive"), Limit::Most(1.15));
        }
        if burst == 1 && readers == 1 {
            let ratio = cell.ratio("msm", "naive-tokio");
            self.bound_if(format!("msm/naive-tokio, {name}"), ratio, Limit::Most(1.25));
        }
        if readers == 1000 {
            let same = |other: &&Cell| other.readers == 10 && other.burst == burst && other.gro == cell.gro;
            let few = self.cells.iter().find(same).and_then(|few| few.cost("msm"));
            let ratio = cell.cost("msm").zip(few).map(|(many, few)| many / few);
            self.bound_if(format!("1000 readers/10 readers, {name}"), ratio, Limit::Most(1.2));
        }
    }

    fn bound_if(&mut self, what: String, value: Option<f64>, limit: Limit) {
        if let Some(value) = value {
            self.bounds.push(Bound { what, value, limit });
        }
    }

    /// Adds a figure that has a limit.
    pub fn bound(&mut self, what: impl Into<String>, value: f64, limit: Limit) {
        self.bounds.push(Bound { what: what.into(), value, limit });
    }

    /// Adds and prints a figure without a limit.
    pub fn figure(&mut self, what: impl Into<String>, value: f64) {
        let what = what.into();
        println!("{what}: {value:.2}");
        self.figures.push((what, value));
    }

    /// Adds and prints something that could not be measured.
    pub fn failure(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("FAILED {what}");
        self.failures.push(what);
    }

    /// Prints which limits are kept, writes the JSON to `file`, and says whether all is well.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub fn finish(&self, file: &std::path::Path) -> Result<bool> {
        if !self.bounds.is_empty() {
            println!("\nBounds");
        }
        for bound in &self.bounds {
            let mark = if bound.limit.met(bound.value) { "met   " } else { "MISSED" };
            println!("  {mark} {:>7.2} {:<7} {}", bound.value, bound.limit.to_string(), bound.what);
        }
        for failure in &self.failures {
            println!("  FAILED {failure}");
        }
        std::fs::write(file, serde_json::to_string_pretty(&self.json())?)?;
        println!("\n{}", file.display());
        Ok(self.failures.is_empty() && self.bounds.iter().all(|bound| bound.limit.met(bound.value)))
    }

    fn json(&self) -> Value {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|cell| {
                let medians: serde_json::Map<_, _> = cell
                    .costs
                    .keys()
                    .filter_map(|relay| Some(((*relay).to_owned(), json!(cell.cost(relay)?))))
                    .collect();
                json!({
                    "readers": cell.readers, "burst": cell.burst, "gro_sinks": cell.gro,
                    "ns_per_packet": medians, "rounds": cell.costs,
                })
            })
            .collect();
        let bounds: Vec<Value> = self
            .bounds
            .iter()
            .map(|bound| {
                json!({
                    "what": bound.what, "value": bound.value,
                    "limit": bound.limit.to_string(), "met": bound.limit.met(bound.value),
                })
            })
            .collect();
        let figures: serde_json::Map<_, _> =
            self.figures.iter().map(|(what, value)| (what.clone(), json!(value))).collect();
        json!({"cells": cells, "bounds": bounds, "figures": figures, "failures": self.failures})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(median(&values), Some(50.0));
        assert_eq!(percentile(&values, 99.0), Some(99.0));
        assert_eq!(percentile(&values, 100.0), Some(100.0));
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn bounds_are_judged_by_cell() {
        let mut report = Report::default();
        let costs =
            |msm: f64| Costs::from([("naive", vec![5000.0]), ("ceiling", vec![600.0]), ("msm", vec![msm])]);
        report.cell(10, 16, true, costs(650.0));
        report.cell(1000, 16, true, costs(1100.0));
        let met: Vec<bool> = report.bounds.iter().map(|bound| bound.limit.met(bound.value)).collect();
        assert_eq!(met, [true, true, false, false, false]);
    }
}
