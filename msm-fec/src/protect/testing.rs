//! Two ends and the links between them, in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use msm_link::{Loss, Pair, Settings};

use super::*;
use crate::nack::testing::{epoch, ms};
use crate::order::{Source, Verdict};
use crate::paths::Mode;

/// What travels.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    Media(u64),
    Again(u64),
    Repair(Vec<u8>),
    Next(Next),
    Request(Vec<u16>),
    Report(Report),
}

impl msm_link::Packet for Wire {
    fn size(&self) -> usize {
        match self {
            Self::Media(index) | Self::Again(index) => packet(*index).len(),
            Self::Repair(payload) => payload.len() + 12,
            Self::Next(_) | Self::Report(_) => 50,
            Self::Request(numbers) => 40 + 2 * numbers.len(),
        }
    }
}

/// The packet `index`: RTP, and what nobody would guess.
pub(super) fn packet(index: u64) -> Vec<u8> {
    let mut rng = msm_core::rng::Rng::new(index);
    let length = 900 + rng.range(0..300) as usize;
    let mut packet = vec![0; length];
    rng.fill(&mut packet[12..]);
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet
}

/// A path with these losses, and so long a round trip.
pub(super) fn path(loss: Loss, rtt: u64) -> Settings {
    Settings { loss, delay: ms(rtt) / 2, ..Settings::default() }
}

/// A sender and its receiver.
pub(super) struct Ends {
    pub(super) sender: Sender<u64>,
    pub(super) receiver: Receiver,
    pub(super) paths: Vec<Pair<Wire>>,
    pub(super) now: Instant,
    pub(super) first: u64,
    pub(super) next: u64,
    /// Packets of a frame.
    pub(super) frame: u64,
    /// From one frame to the next.
    pub(super) interval: Duration,
    /// How much earlier the clocks of sender and receiver are: they may jump.
    pub(super) behind: [Duration; 2],
    sent: BTreeMap<u64, Instant>,
    last: Option<u64>,
    pub(super) delivered: u64,
    /// From when each packet was sent to when it left, in order.
    pub(super) delays: Vec<Duration>,
}

impl Ends {
    pub(super) fn new(budget: Duration, links: &[Settings], mode: Mode, seed: u64) -> Self {
        let sender = SenderConfig { paths: links.len(), mode, ..SenderConfig::new(budget) };
        let receiver = ReceiverConfig { paths: links.len(), mode, ..ReceiverConfig::new(budget) };
        Self::of(sender, receiver, links, seed)
    }

    pub(super) fn of(sender: SenderConfig, receiver: ReceiverConfig, links: &[Settings], seed: u64) -> Self {
        let paths = links.iter().zip(0..).map(|(link, path)| Pair::new(*link, seed * 8 + path)).collect();
        Self {
            sender: Sender::new(sender),
            receiver: Receiver::new(receiver),
            paths,
            now: epoch() + Duration::from_secs(86_400),
            first: 1000,
            next: 1000,
            frame: 10,
            interval: ms(40),
            behind: [Duration::ZERO; 2],
            sent: BTreeMap::new(),
            last: None,
            delivered: 0,
            delays: Vec::new(),
        }
    }

    pub(super) fn start_at(&mut self, index: u64) {
        (self.first, self.next) = (index, index);
    }

    fn clocks(&self) -> [Instant; 2] {
        self.behind.map(|behind| self.now.checked_sub(behind).unwrap())
    }

    /// Sends so many frames.
    pub(super) fn run(&mut self, frames: u64) {
        for _ in 0..frames {
            let start = self.now;
            for number in 0..self.frame {
                self.advance(start + Duration::from_micros(100) * number as u32);
                let [now, _] = self.clocks();
                let (index, last) = (self.next, number + 1 == self.frame);
                self.next += 1;
                self.sent.insert(index, self.now);
                self.sender.handle_source(now, index, &packet(index), last, index);
                let paths = self.sender.choose_paths();
                self.put(paths, &Wire::Media(index));
                self.drain();
            }
            self.advance(start + self.interval);
        }
    }

    /// What is under way arrives, or its time passes.
    pub(super) fn settle(&mut self) {
        let wait = self.sender.budget() + Duration::from_secs(1);
        self.advance(self.now + wait);
    }

    /// Packets that were sent and did not leave.
    pub(super) fn missing(&self) -> u64 {
        self.next - self.first - self.delivered
    }

    fn put(&mut self, paths: u8, packet: &Wire) {
        for (number, path) in self.paths.iter_mut().enumerate() {
            if paths >> number & 1 != 0 {
                path.there.handle_send(self.now, packet.clone()).unwrap();
            }
        }
    }

    fn advance(&mut self, to: Instant) {
        let mut turns = 0;
        loop {
            let [sender, receiver] = self.behind;
            let ends = [
                self.sender.poll_timeout().map(|at| at + sender),
                self.receiver.poll_timeout().map(|at| at + receiver),
            ];
            let links = self.paths.iter().map(Pair::poll_timeout);
            let Some(at) = links.chain(ends).flatten().min().filter(|at| *at <= to) else { break };
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < 10_000, "a timeout stays in the past");
            self.now = self.now.max(at);
            self.turn();
        }
        self.now = self.now.max(to);
    }

    fn turn(&mut self) {
        let [sender_now, receiver_now] = self.clocks();
        for path in 0..self.paths.len() {
            while let Some(packet) = self.paths[path].there.poll_arrival(self.now) {
                self.arrive(receiver_now, path, packet);
            }
            while let Some(packet) = self.paths[path].back.poll_arrival(self.now) {
                match packet {
                    Wire::Request(numbers) => self.sender.handle_request_by(sender_now, path, numbers),
                    Wire::Report(report) => {
                        self.sender.handle_report_by(sender_now, path, &report);
                    }
                    _ => {}
                }
                self.drain();
            }
        }
        if self.sender.poll_timeout().is_some_and(|at| at <= sender_now) {
            self.sender.handle_timeout(sender_now);
        }
        if self.receiver.poll_timeout().is_some_and(|at| at <= receiver_now) {
            self.receiver.handle_timeout(receiver_now);
        }
        self.drain();
    }

    fn arrive(&mut self, now: Instant, path: usize, wire: Wire) {
        let (index, source) = match wire {
            Wire::Media(index) => (index, Source::Media),
            Wire::Again(index) => (index, Source::Nack),
            Wire::Repair(payload) => {
                self.receiver.handle_repair(now, &payload);
                return self.drain();
            }
            Wire::Next(next) => {
                self.receiver.handle_next(now, next);
                return self.drain();
            }
            Wire::Request(_) | Wire::Report(_) => return,
        };
        let bytes = packet(index);
        loop {
            match self.receiver.handle_packet_by(now, path, index, source, &bytes) {
                Verdict::Pass => self.leave(index, &bytes),
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

    /// In order, once, and byte for byte what was sent.
    fn leave(&mut self, index: u64, bytes: &[u8]) {
        assert!(self.last.is_none_or(|last| last < index), "{index} after {:?}", self.last);
        assert_eq!(bytes, packet(index));
        self.last = Some(index);
        let sent = self.sent.remove(&index).expect("what was sent");
        self.delivered += 1;
        self.delays.push(self.now - sent);
    }

    fn drain(&mut self) {
        let [_, now] = self.clocks();
        while let Some(delivered) = self.receiver.poll_delivered() {
            let (index, bytes) = (delivered.index, delivered.packet.to_vec());
            self.leave(index, &bytes);
        }
        while let Some((paths, what)) = self.sender.poll_transmit_by() {
            let wire = match what {
                ToReceiver::Repair(repair) => Wire::Repair(repair.payload.to_vec()),
                ToReceiver::Again(answer) => Wire::Again(answer.reference),
                ToReceiver::Next(next) => Wire::Next(next),
            };
            self.put(paths, &wire);
        }
        while let Some(what) = self.receiver.poll_transmit(now) {
            let wire = match what {
                ToSender::Report(report) => Wire::Report(report),
                ToSender::Request(request) => {
                    Wire::Request(request.passes().flatten().map(|index| *index as u16).collect())
                }
            };
            for path in &mut self.paths {
                path.back.handle_send(self.now, wire.clone()).unwrap();
            }
        }
    }
}
