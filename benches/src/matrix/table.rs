//! The table.

use std::fmt::Write as _;

use super::bounds::CAP;
use super::cell::percent;
use super::ideal::Code;
use super::sweep::Row;
use super::tally::Outcome;
use super::variants::UNPROTECTED;

/// Width of the first column.
const NAME: usize = 38;

/// The table of `rows`, with a column for each of the schemes `names`.
#[must_use]
pub fn table(rows: &[Row], names: &[&str]) -> String {
    let protected = || names.iter().filter(|name| **name != UNPROTECTED);
    let mut out = String::new();
    let _ = write!(out, "{:NAME$} {:>9}", "rate/loss/kind/round trip/budget", "packets");
    for name in names {
        let _ = write!(out, " {name:>11}");
    }
    let _ = write!(out, " {:>17}", "ideal code (k+m)");
    for name in protected() {
        let _ = write!(out, " {:>24}", format!("{name}: overhead p50/p99"));
    }
    out.push('\n');
    for row in rows {
        let packets = row.outcomes.first().map_or(row.cell.packets, |(_, outcome)| outcome.packets);
        let _ = write!(out, "{:NAME$} {packets:>9}", row.cell.name());
        for name in names {
            let residual = row.outcome(name).map_or("–".to_owned(), |outcome| share(outcome.residual()));
            let _ = write!(out, " {residual:>11}");
        }
        let _ = write!(
            out,
            " {:>17}",
            ideal(row).map_or("–".to_owned(), |(code, residual)| {
                format!("{} ({}+{})", share(residual), code.k, code.m)
            })
        );
        for name in protected() {
            let _ = write!(out, " {:>24}", row.outcome(name).map_or("–".to_owned(), cost));
        }
        out.push('\n');
    }
    out
}

/// The ideal code of a row: of the size that the last of its schemes used, or else the largest that fits the budget. None where the
/// loss changes, or where packets have two ways.
#[must_use]
pub fn ideal(row: &Row) -> Option<(Code, f64)> {
    let cell = &row.cell;
    if cell.step.is_some() || cell.path_count() > 1 {
        return None;
    }
    let used = row.outcomes.iter().rev().find_map(|(_, outcome)| outcome.code);
    let code = used.unwrap_or_else(|| Code::of_budget(cell, CAP));
    Some((code, code.residual(cell.kind.loss(cell.loss))))
}

fn cost(outcome: &Outcome) -> String {
    let milliseconds = |delay: std::time::Duration| format!("{:.1}", delay.as_secs_f64() * 1e3);
    let (p50, p99) = (milliseconds(outcome.delay_p50), milliseconds(outcome.delay_p99));
    format!("{} {p50}/{p99} ms", percent(outcome.overhead))
}

/// A share, short.
fn share(share: f64) -> String {
    match share {
        0.0 => "0".to_owned(),
        // Once in longer than anybody watches.
        _ if share < 1e-12 => "<1e-12".to_owned(),
        _ => format!("{share:.1e}"),
    }
}
