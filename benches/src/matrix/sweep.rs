//! Cells and schemes, over the machine's cores.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cell::Cell;
use super::tally::Outcome;
use super::variants::Variant;
use crate::Result;

/// How often a log that is no terminal gets a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A cell and what came of it, by scheme.
#[derive(Debug, Clone)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// What came of it, by the name of the scheme, in the order of [`VARIANTS`](super::variants::VARIANTS).
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl Row {
    /// What came of it with the scheme `name`.
    #[must_use]
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|(other, _)| *other == name).map(|(_, outcome)| outcome)
    }
}

/// What came of each job, while they run.
type Slots = Mutex<Vec<Option<Outcome>>>;

/// Runs each of `cells` with each of `variants`, as many at a time as the machine has cores. Progress goes to standard error.
///
/// # Errors
///
/// An end does not keep its contract: which, and in which cell.
pub fn sweep(cells: &[Cell], variants: &[Variant], seed: u64) -> Result<Vec<Row>> {
    let mut jobs: Vec<(usize, Cell, &Variant)> = cells
        .iter()
        .flat_map(|cell| variants.iter().map(move |variant| (*cell, variant)))
        .filter(|(cell, variant)| variant.paths || cell.path_count() == 1)
        .enumerate()
        .map(|(slot, (cell, variant))| (slot, cell, variant))
        .collect();
    let slots: Vec<(Cell, &'static str)> =
        jobs.iter().map(|(_, cell, variant)| (*cell, variant.name)).collect();
    // The longest first, so that no core works on one alone at the end.
    jobs.sort_by_key(|(_, cell, _)| std::cmp::Reverse(cell.packets));
    let outcomes: Slots = Mutex::new(vec![None; jobs.len()]);
    let next = AtomicUsize::new(0);
    let progress = Progress::new(&jobs);
    let worker = || -> Result<()> {
        while let Some((slot, cell, variant)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = (variant.run)(cell, seed)
                .map_err(|fault| format!("{}: {}: {fault}", cell.name(), variant.name))?;
            progress.done(&outcome, cell, variant);
            let mut outcomes = outcomes.lock().map_err(|_| "another core's run panicked")?;
            if let Some(place) = outcomes.get_mut(*slot) {
                *place = Some(outcome);
            }
        }
        Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(jobs.len().max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a run panicked")?)
    })?;
    progress.finish();

    let mut rows: Vec<Row> = cells.iter().map(|&cell| Row { cell, outcomes: Vec::new() }).collect();
    let outcomes = outcomes.into_inner().map_err(|_| "a run panicked")?;
    for ((cell, name), outcome) in slots.into_iter().zip(outcomes) {
        if let (Some(outcome), Some(row)) = (outcome, rows.iter_mut().find(|row| row.cell == cell)) {
            row.outcomes.push((name, outcome));
        }
    }
    Ok(rows)
}

/// What is done, as lines on standard error.
struct Progress {
    terminal: bool,
    total: u64,
    began: Instant,
    so_far: Mutex<SoFar>,
}

struct SoFar {
    stream: u64,
    wire: u64,
    busy: Duration,
    said: Instant,
}

impl Progress {
    fn new(jobs: &[(usize, Cell, &Variant)]) -> Self {
        let now = Instant::now();
        Self {
            terminal: std::io::stderr().is_terminal(),
            total: jobs.iter().map(|(_, cell, _)| cell.packets).sum(),
            began: now,
            so_far: Mutex::new(SoFar { stream: 0, wire: 0, busy: Duration::ZERO, said: now }),
        }
    }

    fn done(&self, outcome: &Outcome, cell: &Cell, variant: &Variant) {
        let Ok(mut so_far) = self.so_far.lock() else { return };
        so_far.stream += cell.packets;
        so_far.wire += outcome.wire_packets;
        so_far.busy += outcome.took;
        if self.terminal || so_far.said.elapsed() >= LINE_EVERY {
            so_far.said = Instant::now();
            let share = so_far.stream * 100 / self.total.max(1);
            let (clear, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
            let name = cell.name();
            eprint!(
                "{clear}{share:>3} %, {:.0} s: {name}, {}{end}",
                self.began.elapsed().as_secs_f64(),
                variant.name
            );
        }
    }

    fn finish(&self) {
        let Ok(so_far) = self.so_far.lock() else { return };
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let (wire, busy) = (so_far.wire as f64, so_far.busy.as_secs_f64());
        let took = self.began.elapsed().as_secs_f64();
        eprintln!(
            "{clear}{:.1} million packets on the wire in {took:.1} s: {:.2} million a second and core",
            wire / 1e6,
            wire / 1e6 / busy.max(1e-9)
        );
    }
}
