//! Ends that a test puts together.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Instant;

use msm_benches::matrix::traffic::Media;
use msm_benches::matrix::{Cell, Receiver, Scheme, Sender};

/// A number, and how large it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered(pub(crate) u64, pub(crate) usize);

impl msm_link::Packet for Numbered {
    fn size(&self) -> usize {
        self.1
    }
}

/// Ends that a test puts together: what to send for each packet of the stream, and what to do with what arrives.
pub(crate) struct Toy {
    pub(crate) transmit: VecDeque<(usize, Numbered)>,
    pub(crate) deliveries: VecDeque<u64>,
    pub(crate) alarm: Option<Instant>,
    pub(crate) alarms: u64,
}

impl Toy {
    fn new() -> Self {
        Self { transmit: VecDeque::new(), deliveries: VecDeque::new(), alarm: None, alarms: 0 }
    }
}

/// A scheme of two toys: one function for each input.
pub(crate) trait Play {
    fn media(_: &mut Toy, _: Instant, _: Media);
    fn arrival(toy: &mut Toy, now: Instant, packet: Numbered);
    fn feedback(_: &mut Toy, _: Instant) {}
    fn timeout(_: &mut Toy, _: Instant) {}
    fn start(_: &mut Toy, _: Instant) {}
}

pub(crate) struct Near<P>(Toy, PhantomData<P>);
pub(crate) struct Far<P>(Toy, PhantomData<P>);
pub(crate) struct Played<P>(PhantomData<P>);

impl<P: Play> Scheme for Played<P> {
    type Packet = Numbered;
    type Sender = Near<P>;
    type Receiver = Far<P>;

    fn ends(_: &Cell, _: u64, now: Instant) -> (Near<P>, Far<P>) {
        let mut far = Toy::new();
        P::start(&mut far, now);
        (Near(Toy::new(), PhantomData), Far(far, PhantomData))
    }
}

impl<P: Play> Sender for Near<P> {
    type Packet = Numbered;

    fn handle_media(&mut self, now: Instant, media: Media) {
        P::media(&mut self.0, now, media);
    }

    fn handle_arrival(&mut self, now: Instant, _: usize, _: Numbered) {
        P::feedback(&mut self.0, now);
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(usize, Numbered)> {
        self.0.transmit.pop_front()
    }
}

impl<P: Play> Receiver for Far<P> {
    type Packet = Numbered;

    fn handle_arrival(&mut self, now: Instant, _: usize, packet: Numbered) {
        P::arrival(&mut self.0, now, packet);
    }

    fn handle_timeout(&mut self, now: Instant) {
        P::timeout(&mut self.0, now);
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(usize, Numbered)> {
        self.0.transmit.pop_front()
    }

    fn poll_delivery(&mut self, _: Instant) -> Option<u64> {
        self.0.deliveries.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.alarm
    }
}
