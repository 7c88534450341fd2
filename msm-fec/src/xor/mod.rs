//! Parity codes of standards: a repair packet is the XOR of some source packets, and gives one of them back when all others
//! are there.
//!
//! | module | standard | for |
//! |---|---|---|
//! | [`flexfec`] | RFC 8627 | peers that offer `flexfec` |
//! | [`st2022`] | SMPTE ST 2022-1, Pro-MPEG CoP3 | MPEG transport streams between broadcasters' devices |
//! | [`ulpfec`], [`red`] | RFC 5109, RFC 2198 | peers that offer `ulpfec`, alone or inside `red` |
//!
//! All three protect the same bits of a packet (RFC 5109 §8.1, RFC 8627 §6.2, RFC 6015 §6.2): its first two bytes without the
//! version, its length behind the fixed header, its timestamp, and everything behind the fixed header. They differ in the form of
//! their headers and in the sets of packets that these can name. So there is one place that recovers, [`recover`], and three
//! that read and write.
//!
//! # Receiving
//!
//! The caller keeps source packets under their index, in its order window or in a [`recover::Store`]. For each packet of the
//! stream, in any order, it
//!
//! 1. puts it where [`recover::Sources::get`] finds it, and tells the decoder by `handle_source(index, …)`; a repair packet it
//!    gives to `handle_repair(packet, …)`;
//! 2. then calls `poll_recovered` until that answers `None`. What comes out is a whole RTP packet, and comes once.
//!
//! A decoder works at once, as packets come, and goes round until nothing changes (RFC 8627 §6.3.4). Without loss it does
//! nothing but to mark a bit.
//!
//! # Sending
//!
//! Source packets go out unmodified and at once; the encoder is shown each by `handle_source(index, packet)`, and
//! `poll_transmit` gives the repair packets that are due.

pub mod flexfec;
pub mod recover;
pub mod red;
pub mod st2022;
pub mod ulpfec;

mod block;
mod grid;
mod outbox;
#[cfg(test)]
mod testing;

pub use outbox::{EncodeError, Line};
