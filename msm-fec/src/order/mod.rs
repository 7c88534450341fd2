//! Packets leave in order, and none waits longer than the budget.
//!
//! ```text
//! expected packet, nothing held ─► on at once, never copied
//! packet behind a gap ─► held (copied) ─► when the gap is filled, or its time is over
//! ```

mod pool;
mod types;
mod window;

pub use types::{Delivered, Event, Limits, Source, Stats, Verdict};
pub use window::{Reason, Window};
