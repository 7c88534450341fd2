//! Reed-Solomon block FEC for RTP: a block of k source packets, sent unmodified, is followed by m repair packets, and any k of
//! the k + m give the block. `docs/reed-solomon.md` has the wire format to the byte.
//!
//! Everything counts packets by the extended sequence number (`u64`, SRTP's index, RFC 3711 §3.3.1); 16 bits of it are on the wire.

pub mod code;
pub mod decoder;
pub mod encoder;
mod gf;
pub mod kernel;
pub mod payload;
pub mod ring;
mod rows;
pub mod sdp;
mod shape;

/// Most packets of a block, sources and repairs together: each has its own point of the field, which has 256.
pub const MAX_SYMBOLS: usize = 255;
