//! What protection reaches, as a table: two ends over a modelled link in virtual time, cell by cell.
//!
//! A [`cell`] says what is sent over what link within which budget. A [`scheme`] is a pair of ends without I/O; [`world::run`] drives
//! it through a cell and counts what the reader missed, what that cost on the wire, and how long packets waited. [`variants`] lists
//! the schemes that are compared: **whoever adds one adds it there**. [`bounds`] are what must be reached, as data; [`ideal`] is what
//! no code of the same size can better.
//!
//! Everything follows from the seed. A run's standard output is the same on every machine; times and speeds are on standard error.

pub mod bounds;
pub mod cell;
pub mod grid;
pub mod ideal;
pub mod plot;
pub mod protected;
pub mod scheme;
pub mod sweep;
pub mod table;
pub mod tally;
pub mod traffic;
pub mod unprotected;
pub mod variants;
pub mod world;

pub use cell::{Budget, Cell, Kind, Paths, Rate, Step};
pub use scheme::{Receiver, Scheme, Sender};
pub use tally::Outcome;
pub use world::run;
