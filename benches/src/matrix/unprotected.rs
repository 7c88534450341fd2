//! No protection: what the wire loses is lost. The plainest scheme, to compare with and to copy from.

use std::time::Instant;

use super::cell::Cell;
use super::scheme::{Receiver, Scheme, Sender};
use super::traffic::{Media, PACKET_BYTES};

/// Packets go out as they come, on the first path.
#[derive(Debug)]
pub struct Unprotected;

/// A packet of the stream: its number stands for its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Plain(u64);

impl msm_link::Packet for Plain {
    fn size(&self) -> usize {
        PACKET_BYTES
    }
}

/// Either end: one packet that waits to be polled, as each input makes one at most.
#[derive(Debug, Default)]
pub struct End(Option<u64>);

impl Scheme for Unprotected {
    type Packet = Plain;
    type Sender = End;
    type Receiver = End;

    fn ends(_: &Cell, _: u64, _: Instant) -> (End, End) {
        (End::default(), End::default())
    }
}

impl Sender for End {
    type Packet = Plain;

    fn handle_media(&mut self, _: Instant, media: Media) {
        self.0 = Some(media.index);
    }

    fn handle_arrival(&mut self, _: Instant, _: usize, _: Plain) {}

    fn poll_transmit(&mut self, _: Instant) -> Option<(usize, Plain)> {
        self.0.take().map(|index| (0, Plain(index)))
    }
}

impl Receiver for End {
    type Packet = Plain;

    fn handle_arrival(&mut self, _: Instant, _: usize, packet: Plain) {
        self.0 = Some(packet.0);
    }

    fn poll_delivery(&mut self, _: Instant) -> Option<u64> {
        self.0.take()
    }
}
