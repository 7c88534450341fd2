//! What is used when: from what the path does and the latency budget, how much redundancy goes ahead, how often is asked again,
//! and how many copies of each.

mod candidate;
mod chain;
mod channel;
mod conditions;
mod plan;
mod rounds;

pub use chain::Chain;
pub use channel::Channel;
pub use conditions::{Conditions, Limits, Traffic};
pub use plan::{Code, MAX_DEPTH, MAX_SOURCE, MAX_SPAN, Plan, Round};
pub use rounds::MAX_ROUNDS;
