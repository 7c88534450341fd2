//! What a decoder does not take.

use super::super::payload::PayloadError;

/// Why a repair packet is refused, or a block given up. The peer is to blame, but for duplicates and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The payload breaks the format.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Its symbol is longer than packets may be.
    #[error("a symbol of {0} bytes")]
    Long(usize),
    /// Its block is outside of the window.
    #[error("a block from number {first} on is {distance} packets away")]
    Far {
        /// Sequence number of the block's first packet.
        first: u16,
        /// How far it is from the newest packet.
        distance: i64,
    },
    /// Another repair of the block says otherwise.
    #[error("repairs of the block from index {0} on disagree")]
    Disagrees(u64),
    /// It came before.
    #[error("symbol {symbol} of the block from index {first} on came before")]
    Duplicate {
        /// Index of the block's first packet.
        first: u64,
        /// The symbol.
        symbol: u8,
    },
    /// There is no memory for it.
    #[error("no memory for repairs of the block from index {0} on")]
    Memory(u64),
    /// What is recovered from the block is no packet, or another one.
    #[error("the block from index {0} on does not give its packets")]
    Inconsistent(u64),
}

impl Refusal {
    /// A short name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payload(error) => error.name(),
            Self::Long(_) => "long",
            Self::Far { .. } => "far",
            Self::Disagrees(_) => "disagrees",
            Self::Duplicate { .. } => "duplicate",
            Self::Memory(_) => "memory",
            Self::Inconsistent(_) => "inconsistent",
        }
    }
}
