//! FlexFEC (RFC 8627).
//!
//! A repair packet has an SSRC and a line of numbers of its own, and names what it protects by its list of contributing sources
//! and by base numbers. Which packets these are it says in one of two ways, and the sender may change from packet to packet: by
//! a mask of 15, 46 or 110 bits, or by L columns and D rows. A third form carries one source packet again.
//!
//! The headers of `flexfec-03`, the draft that browsers speak, are different ones: they are not read here.

mod decoder;
mod encoder;
mod header;
mod sdp;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, DecoderOptions, FlexFec};
pub use encoder::{Encoder, EncoderOptions, Shape};
pub use header::{Header, MAX_MASK, MAX_STREAMS, Pattern, Protected};
pub use sdp::RepairWindow;
