//! What is used when: from what the path does and the latency budget, how much redundancy goes ahead, how often is asked again,
//! and how many copies of each.

pub mod channel;
pub mod plan;

pub use channel::Channel;
pub use plan::{Code, Conditions, Limits, Plan, Traffic};
