//! The ends that a run drives: how a protection scheme plugs in.
//!
//! Both are state machines without I/O, of the same contract as those of the pure crates: inputs are `handle_*(now, …)`; after **any**
//! input the world polls [`poll_transmit`](Sender::poll_transmit), and [`Receiver::poll_delivery`], until they are empty; it calls
//! `handle_timeout` at exactly the instant that `poll_timeout` told, never later. A packet that is sent takes half the round-trip
//! time, if the link does not lose it.
//!
//! To add a scheme: write its ends and an `impl Scheme` in a file beside `unprotected.rs`, and name it in
//! [`variants`](super::variants).
//!
//! * [`Scheme::Packet`] is what travels. It may carry bytes ([`Media::write`] makes them), shared ones to be fast, or only say what
//!   it is and how large it would be: the world looks at nothing but [`msm_link::Packet::size`]. **The size is that of the UDP
//!   payload**, tags and feedback headers included; the world adds [`HEADERS`](super::tally::HEADERS) to each.
//! * A receiver hands over each packet of the stream at most once, in order: others are counted, and fail the run.
//! * It measures loss, round-trip time and so on itself. [`Cell`] says them, too: **only schemes that are pinned by hand, as NACK only
//!   and FEC only, may use `loss`, `kind` and `step`**. The controller knows the budget, and what it measured.

use std::time::Instant;

use super::cell::Cell;
use super::ideal::Code;
use super::traffic::Media;

/// The end that has the stream.
pub trait Sender {
    /// What travels, in both directions.
    type Packet;

    /// The stream's next packet, [`PACKET_BYTES`](super::traffic::PACKET_BYTES) long.
    fn handle_media(&mut self, now: Instant, media: Media);

    /// What the receiver sent has arrived on `path`.
    fn handle_arrival(&mut self, now: Instant, path: usize, packet: Self::Packet);

    /// It is as late as [`Self::poll_timeout`] said.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next packet to send, and the path to send it on.
    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Self::Packet)>;

    /// When [`Self::handle_timeout`] is to be called.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The code that it uses at the end of the run, if it uses one: what the ideal is computed for.
    fn code(&self) -> Option<Code> {
        None
    }
}

/// The end that has the reader.
pub trait Receiver {
    /// What travels, in both directions.
    type Packet;

    /// What the sender sent has arrived on `path`.
    fn handle_arrival(&mut self, now: Instant, path: usize, packet: Self::Packet);

    /// It is as late as [`Self::poll_timeout`] said.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next packet to send, and the path to send it on.
    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Self::Packet)> {
        let _ = now;
        None
    }

    /// [`Media::index`] of the next packet that the reader gets.
    fn poll_delivery(&mut self, now: Instant) -> Option<u64>;

    /// When [`Self::handle_timeout`] is to be called.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A way to protect a stream: what makes both ends.
pub trait Scheme {
    /// What travels, in both directions.
    type Packet: msm_link::Packet + Clone;
    /// The end that has the stream.
    type Sender: Sender<Packet = Self::Packet>;
    /// The end that has the reader.
    type Receiver: Receiver<Packet = Self::Packet>;

    /// Both ends for `cell`. What they decide by chance follows from `seed`.
    fn ends(cell: &Cell, seed: u64, now: Instant) -> (Self::Sender, Self::Receiver);
}
