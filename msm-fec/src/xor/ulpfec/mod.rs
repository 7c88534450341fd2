//! ULPFEC (RFC 5109).
//!
//! A repair packet protects up to 16 packets, or 48 with the long mask. It can protect a packet's first bytes better than the rest:
//! each further *level* has a mask of its own, and begins where the one before ends. All levels are read; level 0, as long as the
//! longest packet, is what is written.
//!
//! Repair packets have the SSRC of what they protect. So they travel as a stream of another session, or as blocks of
//! [`red`](super::red) packets. Browsers and GStreamer do it otherwise, and put them into the media's own line of numbers.

mod decoder;
mod encoder;
mod header;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, DecoderOptions, UlpFec};
pub use encoder::{Encoder, EncoderOptions};

/// Packets that the long mask names.
pub const MAX_MASK: usize = 48;
/// Levels that are followed; what has more is refused.
pub const MAX_LEVELS: usize = super::recover::EXTRA_LEVELS + 1;
