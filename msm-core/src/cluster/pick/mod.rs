//! Who is next among the endpoints of a cluster.

mod round_robin;

pub use round_robin::RoundRobin;

/// How a cluster's endpoint is picked for an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalanceKind {
    /// One after the other.
    #[default]
    RoundRobin,
}

impl BalanceKind {
    /// A picker of this kind with its own state.
    pub fn picker(self) -> Box<dyn Picker + Send> {
        match self {
            BalanceKind::RoundRobin => Box::new(RoundRobin::default()),
        }
    }
}

/// Picks one endpoint out of `count`. The state belongs to the implementation; there is no clock and no randomness but
/// what its constructor was given.
pub trait Picker {
    /// The index of the next endpoint for which `usable` is true; `None` when there is none. `usable` is asked at most
    /// once for each index.
    fn pick(&mut self, count: usize, usable: &mut dyn FnMut(usize) -> bool) -> Option<usize>;
}
