//! One direction of one flow, protected: what its sender and its receiver do, put together.
//!
//! ```text
//! Sender    source packet ─┬─► sent by the caller, at once, by the paths that it is told
//!                          └─ history, code, tail ──► Repair, Again, Next
//! Receiver  packet, repair, next ─► merge, window ──► in order         ──► Request, Report, by all paths
//! ```
//!
//! A sender plans ([`crate::control`]) from what its receiver reports; a receiver that hears of no repair packets keeps none. Both
//! count what status and metrics show, and say in one line what they do.

mod blocks;
mod choice;
mod congestion;
mod counts;
mod ends;
mod key;
mod receiver;
mod report;
mod reporting;
mod sender;
#[cfg(test)]
mod testing;
mod traffic;
mod types;
mod ways;
pub mod wire;

pub use counts::{ReceiverCounts, SenderCounts};
pub use receiver::Receiver;
pub use report::{Next, Report};
pub use sender::{BURST_BYTES, START_BYTES, Sender};
pub use types::{ReceiverConfig, SenderConfig, SourcePacket, ToReceiver, ToSender};
