//! SMPTE ST 2022-1, which was Pro-MPEG Code of Practice 3.
//!
//! Consecutive packets stand in L columns and D rows; columns and, if wanted, rows are summed. Source packets go to a port,
//! sums of columns to that port + 2, sums of rows to that port + 4, each with a line of numbers of its own.
//!
//! The bits P, X, CC and M in the RTP header of a FEC packet are sums, too, and say nothing about that packet: nobody may read
//! it as RTP. [`FecPacket::parse`] takes its FEC header to begin at byte 12, always.

mod decoder;
mod encoder;
mod header;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, DecoderOptions, Dimensions, St2022};
pub use encoder::{Encoder, EncoderOptions};
pub use header::{Direction, FecPacket};

/// What the standard allows: the columns of a matrix (L).
pub const MAX_COLUMNS: u8 = 20;
/// What the standard allows: the rows of a matrix (D), of which there are four at least.
pub const MAX_ROWS: u8 = 20;
/// What the standard allows: packets of a matrix (L × D).
pub const MAX_MATRIX: u16 = 100;
