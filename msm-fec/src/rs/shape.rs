//! How a sender forms blocks.

use super::MAX_SYMBOLS;
use super::payload::MAX_DEPTH;

/// How many sources and repairs a block has, and to how many blocks packets go in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    sources: u8,
    repairs: u8,
    depth: u8,
}

/// Why a shape is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// One of the numbers is zero.
    #[error("a block needs sources and repairs, and a depth of at least 1")]
    Zero,
    /// More symbols than the code has.
    #[error("{0} packets a block: at most {MAX_SYMBOLS}")]
    Symbols(usize),
    /// Interleaved too far.
    #[error("depth {0}: at most {MAX_DEPTH}")]
    Depth(u8),
    /// Its blocks would take more memory than the encoder may have.
    #[error("blocks of {needed} bytes where {allowed} are allowed")]
    Memory {
        /// What it would take.
        needed: usize,
        /// What is allowed.
        allowed: usize,
    },
}

impl Default for Shape {
    /// A copy of each packet.
    fn default() -> Self {
        Self { sources: 1, repairs: 1, depth: 1 }
    }
}

impl Shape {
    /// `sources` + `repairs` packets a block, `depth` blocks filled in turn: a burst of as many losses costs each one.
    ///
    /// # Errors
    ///
    /// One is zero, or they are more than [`MAX_SYMBOLS`] and [`MAX_DEPTH`].
    pub const fn new(sources: u8, repairs: u8, depth: u8) -> Result<Self, ShapeError> {
        let symbols = sources as usize + repairs as usize;
        if sources == 0 || repairs == 0 || depth == 0 {
            Err(ShapeError::Zero)
        } else if symbols > MAX_SYMBOLS {
            Err(ShapeError::Symbols(symbols))
        } else if depth > MAX_DEPTH {
            Err(ShapeError::Depth(depth))
        } else {
            Ok(Self { sources, repairs, depth })
        }
    }

    /// Source packets of a block.
    #[must_use]
    pub const fn sources(self) -> u8 {
        self.sources
    }

    /// Repair packets of a block.
    #[must_use]
    pub const fn repairs(self) -> u8 {
        self.repairs
    }

    /// Blocks that packets go to in turn.
    #[must_use]
    pub const fn depth(self) -> u8 {
        self.depth
    }

    /// Source packets until all its blocks are full.
    #[must_use]
    pub fn packets(self) -> usize {
        usize::from(self.sources) * usize::from(self.depth)
    }
}
