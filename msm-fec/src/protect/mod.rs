//! One direction of one flow, protected: what its sender and its receiver do, put together.
//!
//! ```text
//! Sender    source packet ─┬─► sent by the caller, at once
//!                          └─ history, code, tail ──► Repair, Again, Next
//! Receiver  packet, repair, next ─► window ──► in order         ──► Request, Report
//! ```
//!
//! A sender plans ([`crate::control`]) from what its receiver reports; a receiver that hears of no repair packets keeps none.

mod choice;
mod receiver;
mod report;
mod sender;
mod traffic;
pub mod wire;

pub use receiver::{Receiver, ReceiverConfig, ToSender};
pub use report::{Next, Report};
pub use sender::{Sender, SenderConfig, ToReceiver};
