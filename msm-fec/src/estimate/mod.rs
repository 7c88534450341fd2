//! What a receiver learns of its way: loss and its bursts, round trips, reordering. `O(1)` a packet, and each with decay, so
//! that what is long over is forgotten.

mod loss;
mod reorder;
mod rtt;

pub use loss::{FAST_PACKETS, Loss, SLOW_PACKETS};
pub use reorder::Reorder;
pub use rtt::Rtt;
