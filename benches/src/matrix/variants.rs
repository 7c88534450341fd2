//! The schemes that are compared, in the order of the table's columns.

use super::cell::Cell;
use super::protected::{Controlled, FecOnly, NackOnly, Protected};
use super::tally::Outcome;
use super::unprotected::Unprotected;
use super::world::{Fault, run};

/// Name of the column of hops without protection.
pub const UNPROTECTED: &str = "unprotected";

/// Name of the column of retransmission alone, set by hand to the cell: each gap is requested while a round trip fits.
pub const NACK: &str = "NACK only";

/// Name of the column of forward error correction alone, set by hand to the cell's loss and budget.
pub const FEC: &str = "FEC only";

/// Name of the column that the bounds are about: it knows the budget, and what it measures.
pub const CONTROLLER: &str = "controller";

/// A scheme and its column.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Name of the column.
    pub name: &'static str,
    /// Runs a cell with a seed.
    pub run: fn(&Cell, u64) -> Result<Outcome, Fault>,
    /// Whether it takes part in cells with two paths.
    pub paths: bool,
}

/// The schemes. A bound on one that is not among them is missed, and the table says so.
pub const VARIANTS: &[Variant] = &[
    Variant { name: UNPROTECTED, run: run::<Unprotected>, paths: true },
    Variant { name: NACK, run: run::<Protected<NackOnly>>, paths: false },
    Variant { name: FEC, run: run::<Protected<FecOnly>>, paths: false },
    Variant { name: CONTROLLER, run: run::<Protected<Controlled>>, paths: true },
];
