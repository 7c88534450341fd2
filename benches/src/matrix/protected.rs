//! `msm_fec::protect`, with all it has and with parts of it.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Instant;

use msm_fec::control::Limits;
use msm_fec::nack::Request;
use msm_fec::order::{Source, Verdict};
use msm_fec::paths::MAX_PATHS;
use msm_fec::protect::{self, Next, ReceiverConfig, Report, SenderConfig, ToReceiver, ToSender};

use super::cell::Cell;
use super::ideal::Code;
use super::scheme::{Receiver, Scheme, Sender};
use super::traffic::{Media, PACKET_BYTES};

/// Bytes that SRTP adds to a packet of a hop: tag and MKI.
const SRTP: usize = 20;
/// Bytes of an SRTCP message on a hop, beside what it says: header, index, tag and MKI.
const SRTCP: usize = 8 + 24;

/// Which of the means are used.
pub trait Means {
    /// Requests.
    const NACK: bool;
    /// Repair packets.
    const FEC: bool;
}

/// Requests alone.
#[derive(Debug)]
pub struct NackOnly;
/// Repair packets alone.
#[derive(Debug)]
pub struct FecOnly;
/// Whatever the controller chooses.
#[derive(Debug)]
pub struct Controlled;

impl Means for NackOnly {
    const NACK: bool = true;
    const FEC: bool = false;
}

impl Means for FecOnly {
    const NACK: bool = false;
    const FEC: bool = true;
}

impl Means for Controlled {
    const NACK: bool = true;
    const FEC: bool = true;
}

/// A scheme of these means.
#[derive(Debug)]
pub struct Protected<M>(PhantomData<M>);

/// What travels.
#[derive(Debug, Clone)]
pub enum Wire {
    /// A packet of the stream; its bytes follow from its number.
    Media(Media),
    /// The same, sent again.
    Again(Media),
    /// A repair payload.
    Repair(Box<[u8]>),
    /// Where the line ends.
    Next(Next),
    /// A request: the numbers, copies as often as they are wanted.
    Request(Box<[u16]>, usize),
    /// What the receiver measured.
    Report(Report),
}

impl msm_link::Packet for Wire {
    fn size(&self) -> usize {
        match self {
            Self::Media(_) => PACKET_BYTES,
            // A number more, and all that a packet of its own has.
            Self::Again(_) => PACKET_BYTES + 2,
            Self::Repair(payload) => 12 + payload.len() + SRTP,
            Self::Next(_) => SRTCP + 9,
            Self::Request(_, fields) => SRTCP + 4 + 4 * fields,
            Self::Report(_) => SRTCP + 16,
        }
    }
}

impl<M: Means + 'static> Scheme for Protected<M> {
    type Packet = Wire;
    type Sender = Sending;
    type Receiver = Receiving;

    fn ends(cell: &Cell, _: u64, _: Instant) -> (Sending, Receiving) {
        let budget = cell.latency();
        let mut sender = SenderConfig::new(budget);
        sender.limits = Limits { nack: M::NACK, fec: M::FEC, ..Limits::default() };
        sender.history.age = budget + cell.rtt;
        sender.paths = cell.path_count();
        let mut receiver = ReceiverConfig { nack: M::NACK, ..ReceiverConfig::new(budget) };
        receiver.paths = cell.path_count();
        let sending = Sending {
            inner: protect::Sender::new(sender),
            out: VecDeque::new(),
            bytes: vec![0; PACKET_BYTES],
        };
        let receiving = Receiving {
            inner: protect::Receiver::new(receiver),
            paths: cell.path_count(),
            out: VecDeque::new(),
            ready: VecDeque::new(),
            bytes: vec![0; PACKET_BYTES],
        };
        (sending, receiving)
    }
}

/// The end that has the stream.
#[derive(Debug)]
pub struct Sending {
    inner: protect::Sender<Media>,
    /// What is to be sent, by each of the paths it takes.
    out: VecDeque<(usize, Wire)>,
    bytes: Vec<u8>,
}

/// Puts `packet` in line for each of the paths that `paths` has a bit of.
fn put(out: &mut VecDeque<(usize, Wire)>, paths: u8, packet: &Wire) {
    let all = (0..MAX_PATHS).filter(|path| paths >> path & 1 != 0);
    out.extend(all.map(|path| (path, packet.clone())));
}

impl Sender for Sending {
    type Packet = Wire;

    fn handle_media(&mut self, now: Instant, media: Media) {
        if self.inner.plan().is_some_and(|plan| plan.code.is_some()) {
            media.write(&mut self.bytes);
        }
        self.inner.handle_source(now, media.index, &self.bytes, media.last, media);
        put(&mut self.out, self.inner.choose_paths(), &Wire::Media(media));
    }

    fn handle_arrival(&mut self, now: Instant, path: usize, packet: Wire) {
        match packet {
            Wire::Request(numbers, _) => self.inner.handle_request_by(now, path, numbers),
            Wire::Report(report) => {
                self.inner.handle_report_by(now, path, &report);
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.inner.handle_timeout(now);
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(usize, Wire)> {
        if self.out.is_empty() {
            let (paths, what) = self.inner.poll_transmit_by()?;
            let packet = match what {
                ToReceiver::Again(answer) => Wire::Again(answer.reference),
                ToReceiver::Next(next) => Wire::Next(next),
                ToReceiver::Repair(repair) => Wire::Repair(repair.payload.into()),
            };
            put(&mut self.out, paths, &packet);
        }
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.inner.poll_timeout()
    }

    fn code(&self) -> Option<Code> {
        let code = self.inner.plan()?.code?;
        Some(Code { k: code.source as u64, m: code.repair as u64 })
    }
}

/// The end that has the reader.
#[derive(Debug)]
pub struct Receiving {
    inner: protect::Receiver,
    paths: usize,
    /// What is to be sent, by all paths.
    out: VecDeque<(usize, Wire)>,
    ready: VecDeque<u64>,
    bytes: Vec<u8>,
}

impl Receiving {
    fn take(&mut self, now: Instant, path: usize, media: Media, source: Source) {
        if self.inner.wants_bytes() {
            media.write(&mut self.bytes);
        }
        loop {
            match self.inner.handle_packet_by(now, path, media.index, source, &self.bytes) {
                Verdict::Pass => self.ready.push_back(media.index),
                Verdict::Again => {
                    self.drain();
                    continue;
                }
                _ => {}
            }
            break;
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(delivered) = self.inner.poll_delivered() {
            self.ready.push_back(delivered.index);
        }
    }
}

/// A request, with the fields that it takes on the wire: one names a packet and 16 behind it.
fn written(request: Request<'_>) -> Wire {
    let mut numbers = Vec::new();
    let mut fields = 0;
    for pass in request.passes() {
        let mut base: Option<u64> = None;
        for index in pass {
            numbers.push(*index as u16);
            if base.is_none_or(|base| index - base > 16) {
                base = Some(*index);
                fields += 1;
            }
        }
    }
    Wire::Request(numbers.into(), fields)
}

impl Receiver for Receiving {
    type Packet = Wire;

    fn handle_arrival(&mut self, now: Instant, path: usize, packet: Wire) {
        match packet {
            Wire::Media(media) => self.take(now, path, media, Source::Media),
            Wire::Again(media) => self.take(now, path, media, Source::Nack),
            Wire::Repair(payload) => self.inner.handle_repair(now, &payload),
            Wire::Next(next) => self.inner.handle_next(now, next),
            Wire::Request(..) | Wire::Report(_) => {}
        }
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.inner.handle_timeout(now);
        self.drain();
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Wire)> {
        if self.out.is_empty() {
            let packet = match self.inner.poll_transmit(now)? {
                ToSender::Report(report) => Wire::Report(report),
                ToSender::Request(request) => written(request),
            };
            put(&mut self.out, (1 << self.paths) - 1, &packet);
        }
        self.out.pop_front()
    }

    fn poll_delivery(&mut self, _: Instant) -> Option<u64> {
        self.ready.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.inner.poll_timeout()
    }
}
