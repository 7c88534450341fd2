//! The same packets over several paths: merged by the rules of SMPTE ST 2022-7, sent as copies or spread.

mod merge;
mod spread;
mod stats;

pub use merge::{Admit, Merge, MergeConfig, window_for};
pub use spread::{Mode, Spread};
pub use stats::{Event, PathStats, Reason};

/// Paths of one flow, at most.
pub const MAX_PATHS: usize = 4;
