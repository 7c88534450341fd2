//! A hop of two peers and a way between them that loses, delays, and doubles.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use msm_core::hop::NextIndex;
use msm_core::rng::Rng;
use msm_core::rtcp::{Acceptance, Compound, Writer};
use msm_core::rtp::RtpBuilder;
use msm_fec::nack::rtx::{Identity, restore};
use msm_fec::nack::{
    Arrival, ByteRing, History, HistoryLimits, Place, Requester, RequesterConfig, RequesterStats, Responder,
    ResponderConfig, Tail, TailConfig, rtx, wire,
};
use msm_fec::order::{Limits, Source, Verdict, Window};

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What a way does to packets: the same both ways, each with its own luck.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub loss: f64,
    /// Mean run of lost packets; 0 for independent loss.
    pub burst: f64,
    /// Each packet is later by up to this.
    pub jitter: Duration,
    pub duplicates: f64,
}

impl Default for Way {
    fn default() -> Self {
        Self { loss: 0.0, burst: 0.0, jitter: Duration::ZERO, duplicates: 0.0 }
    }
}

#[derive(Debug)]
struct Direction {
    way: Way,
    rng: Rng,
    bad: bool,
}

impl Direction {
    fn loses(&mut self) -> bool {
        let Way { loss, burst, .. } = self.way;
        if burst <= 1.0 {
            return self.rng.next_f64() < loss;
        }
        let leave = 1.0 / burst;
        let enter = leave * loss / (1.0 - loss);
        self.bad = if self.bad { self.rng.next_f64() >= leave } else { self.rng.next_f64() < enter };
        self.bad
    }
}

#[derive(Debug)]
enum Datagram {
    Media(Vec<u8>),
    Rtx(Vec<u8>),
    /// To the receiver: where the line ends.
    Probe(Vec<u8>),
    /// To the sender.
    Request(Vec<u8>),
}

const MEDIA: Identity = Identity { ssrc: 0xaaaa, payload_type: 96 };
const RTX: Identity = Identity { ssrc: 0xbbbb, payload_type: 97 };
const PACKET: usize = 1200;
/// What SRTCP adds to RTCP: index, tag and MKI.
const SRTCP: u64 = 21;

pub struct Hop {
    now: Instant,
    rtt: Duration,
    budget: Duration,
    frame: u64,
    forth: Direction,
    back: Direction,
    flight: BTreeMap<(Instant, u64), Datagram>,
    serial: u64,
    // The sender.
    next: u64,
    sent_at: BTreeMap<u64, Instant>,
    history: History<Place>,
    ring: ByteRing,
    responder: Responder,
    tail: Tail,
    rtx: rtx::Writer,
    // The receiver.
    requester: Requester,
    window: Window,
    last: Option<u64>,
    delivered: u64,
    delays: Vec<Duration>,
    first: u64,
    /// Bytes of media, of answers, of probes and of requests.
    bytes: [u64; 4],
}

impl Hop {
    pub fn new(seed: u64, way: Way, rtt: Duration, budget: Duration, frame: u64) -> Self {
        let mut requester = Requester::new(RequesterConfig::new(budget));
        for _ in 0..30 {
            requester.handle_rtt(rtt);
        }
        let mut responder = Responder::new(ResponderConfig::default());
        responder.set_rtt(rtt);
        let direction = |seed| Direction { way, rng: Rng::new(seed), bad: false };
        #[allow(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let now = Instant::now();
        Self {
            now,
            rtt,
            budget,
            frame,
            forth: direction(seed),
            back: direction(seed ^ 0x5555_5555),
            flight: BTreeMap::new(),
            serial: 0,
            next: 0x1234,
            sent_at: BTreeMap::new(),
            history: History::new(HistoryLimits { age: budget + rtt, ..HistoryLimits::default() }),
            ring: ByteRing::new(4 << 20),
            responder,
            tail: Tail::new(TailConfig::new(budget)),
            rtx: rtx::Writer::new(RTX, 0xfff0),
            requester,
            window: Window::new(Limits::new(budget)),
            last: None,
            delivered: 0,
            delays: Vec::new(),
            first: 0x1234,
            bytes: [0; 4],
        }
    }

    pub fn start_at(&mut self, index: u64) {
        (self.next, self.first) = (index, index);
    }

    /// Sends so many packets, and waits for what becomes of them. The first packet arrives for sure, as a line has to begin.
    pub fn run(&mut self, packets: u64) {
        let end = self.next + packets;
        let (forth, back) = (self.forth.way, self.back.way);
        if self.last.is_none() {
            (self.forth.way, self.back.way) = (Way::default(), Way::default());
        }
        while self.next < end {
            let start = self.now;
            for number in 0..self.frame {
                self.advance(start + number as u32 * Duration::from_micros(100));
                self.send(number, number + 1 == self.frame);
                (self.forth.way, self.back.way) = (forth, back);
            }
            self.advance(start + ms(40));
        }
        self.advance(self.now + self.budget + 2 * self.rtt + ms(100));
    }

    /// Everything that happens until `to`, in order.
    fn advance(&mut self, to: Instant) {
        loop {
            self.drain();
            let arrival = self.flight.first_key_value().map(|((at, _), _)| *at);
            let timers = [
                self.requester.poll_timeout().map(|(at, _)| at),
                self.window.poll_timeout().map(|(at, _)| at),
                self.tail.poll_timeout().map(|(at, _)| at),
            ];
            let Some(at) = timers.into_iter().chain([arrival]).flatten().min().filter(|at| *at <= to) else {
                break;
            };
            self.now = self.now.max(at);
            if arrival.is_some_and(|arrival| arrival <= at) {
                let (_, datagram) = self.flight.pop_first().unwrap();
                self.receive(datagram);
            } else {
                // A packet that came at the same time as its deadline came first.
                self.requester.handle_timeout(self.now);
                self.window.handle_timeout(self.now);
                self.tail.handle_timeout(self.now);
            }
        }
        self.now = to;
    }

    fn send(&mut self, number: u64, last: bool) {
        let index = self.next;
        self.next += 1;
        let mut packet = vec![0; PACKET];
        let payload: Vec<u8> = index.to_be_bytes().into_iter().cycle().take(PACKET - 12).collect();
        let builder = RtpBuilder {
            marker: last,
            payload_type: MEDIA.payload_type,
            sequence: index as u16,
            timestamp: (number as u32).wrapping_mul(3600),
            ssrc: MEDIA.ssrc,
            payload: &payload,
            ..RtpBuilder::default()
        };
        builder.write(&mut packet).unwrap();
        let place = self.ring.push(&packet).unwrap();
        self.history.push(self.now, index, PACKET, place);
        self.responder.handle_media(PACKET);
        self.tail.handle_packet(self.now, index, PACKET, last);
        self.sent_at.insert(index, self.now);
        self.bytes[0] += PACKET as u64;
        self.put(Datagram::Media(packet));
    }

    fn put(&mut self, datagram: Datagram) {
        let back = matches!(datagram, Datagram::Request(_));
        let direction = if back { &mut self.back } else { &mut self.forth };
        let copies = 1 + u64::from(direction.rng.next_f64() < direction.way.duplicates);
        if direction.loses() {
            return;
        }
        for _ in 0..copies {
            let jitter = direction.rng.range(0..direction.way.jitter.as_nanos() as u64 + 1);
            self.serial += 1;
            let at = self.now + self.rtt / 2 + Duration::from_nanos(jitter);
            let copy = match &datagram {
                Datagram::Media(bytes) => Datagram::Media(bytes.clone()),
                Datagram::Rtx(bytes) => Datagram::Rtx(bytes.clone()),
                Datagram::Probe(bytes) => Datagram::Probe(bytes.clone()),
                Datagram::Request(bytes) => Datagram::Request(bytes.clone()),
            };
            self.flight.insert((at, self.serial), copy);
        }
    }

    fn receive(&mut self, datagram: Datagram) {
        match datagram {
            Datagram::Media(packet) => {
                let index = self.extend(u16::from_be_bytes([packet[2], packet[3]]));
                self.accept(index, &packet, Arrival::Media, Source::Media);
            }
            Datagram::Rtx(mut packet) => {
                let (number, packet) = restore(&mut packet, RTX, MEDIA).unwrap();
                let index = self.extend(number);
                self.accept(index, packet, Arrival::Retransmission, Source::Nack);
            }
            Datagram::Probe(message) => {
                let (Some(NextIndex(next)), []) = NextIndex::split(&message) else { panic!("a probe") };
                self.requester.handle_next(self.now, next);
                self.window.handle_next(self.now, next);
            }
            Datagram::Request(message) => {
                let compound = Compound::parse(&message, Acceptance::ReducedSize).unwrap();
                let numbers = wire::requests(&compound, MEDIA.ssrc).flat_map(|nack| nack.lost());
                self.responder.handle_request(self.now, &mut self.history, numbers);
            }
        }
    }

    /// As SRTP does: the nearest to the highest.
    fn extend(&self, number: u16) -> u64 {
        let highest = self.requester.next_index().map_or(self.first, |next| next - 1);
        highest.wrapping_add_signed(i64::from(number.wrapping_sub(highest as u16).cast_signed()))
    }

    fn accept(&mut self, index: u64, packet: &[u8], arrival: Arrival, source: Source) {
        self.requester.handle_packet(self.now, index, arrival);
        match self.window.handle_packet(self.now, index, source, packet) {
            Verdict::Pass => self.deliver(index, packet),
            Verdict::Again => panic!("the window is large enough"),
            _ => {}
        }
    }

    fn deliver(&mut self, index: u64, packet: &[u8]) {
        deliver(&mut self.last, index, packet);
        self.delivered += 1;
        let sent = self.sent_at.remove(&index).unwrap();
        self.delays.push(self.now - sent - self.rtt / 2);
    }

    fn drain(&mut self) {
        while let Some(ready) = self.window.poll_ready() {
            deliver(&mut self.last, ready.index, ready.packet);
            self.delivered += 1;
            let sent = self.sent_at.remove(&ready.index).unwrap();
            self.delays.push(self.now - sent - self.rtt / 2);
        }
        while self.window.poll_event().is_some() {}
        while self.requester.poll_event().is_some() {}
        let mut requests = Vec::new();
        while let Some(request) = self.requester.poll_transmit() {
            let mut buffer = [0; 1400];
            let mut writer = Writer::new(&mut buffer);
            wire::write_request(&mut writer, 1, MEDIA.ssrc, request.passes()).unwrap();
            requests.push(writer.as_bytes().to_vec());
        }
        for message in requests {
            self.bytes[3] += message.len() as u64 + SRTCP;
            self.put(Datagram::Request(message));
        }
        while let Some(answer) = self.responder.poll_transmit(&self.history) {
            let packet = self.ring.get(answer.reference).expect("the ring is large enough");
            let mut buffer = vec![0; PACKET + rtx::OVERHEAD];
            self.rtx.write(packet, &mut buffer).unwrap();
            self.bytes[1] += buffer.len() as u64;
            self.put(Datagram::Rtx(buffer));
        }
        // What the controller tells the sender, without its delay.
        self.tail.set_loss(self.requester.loss().bound());
        while let Some(next) = self.tail.poll_transmit() {
            let message = NextIndex(next).write(MEDIA.ssrc).to_vec();
            self.bytes[2] += message.len() as u64 + SRTCP;
            self.put(Datagram::Probe(message));
        }
    }

    pub fn unrecovered(&self) -> u64 {
        self.next - self.first - self.delivered
    }

    pub fn overhead(&self) -> f64 {
        let [media, answers, probes, requests] = self.bytes;
        (answers + probes + requests) as f64 / media as f64
    }

    pub fn reset_overhead(&mut self) {
        self.bytes = [0; 4];
    }

    pub fn requester_stats(&self) -> RequesterStats {
        self.requester.stats()
    }

    /// What both sides count fits what was seen, and nothing waited longer than it may.
    pub fn check(&mut self) {
        let stats = self.window.stats();
        assert_eq!((stats.delivered, stats.unrecovered), (self.delivered, self.unrecovered()));
        assert_eq!(self.window.held(), (0, 0));
        assert_eq!(self.requester.poll_timeout(), None);
        assert_eq!(stats.restarts + self.requester.stats().restarts, 0);
    }

    pub fn summary(&mut self) -> String {
        self.delays.sort();
        let at = |percent: usize| self.delays.get((self.delays.len() - 1) * percent / 100).copied();
        let [media, answers, probes, requests] = self.bytes.map(|bytes| bytes as f64);
        format!(
            "lost {} of {}, overhead {:.4} (answers {:.4}, probes {:.4}, requests {:.4}), delay p50 {:?} p99 {:?} most {:?}",
            self.unrecovered(),
            self.next - self.first,
            self.overhead(),
            answers / media,
            probes / media,
            requests / media,
            at(50).unwrap(),
            at(99).unwrap(),
            at(100).unwrap(),
        )
    }
}

/// In order, once, and byte for byte what was sent.
fn deliver(last: &mut Option<u64>, index: u64, packet: &[u8]) {
    assert!(last.is_none_or(|last| last < index), "{last:?} before {index}");
    *last = Some(index);
    assert_eq!(packet.len(), PACKET);
    assert_eq!(packet[2..4], (index as u16).to_be_bytes());
    assert_eq!(packet[8..12], MEDIA.ssrc.to_be_bytes());
    assert!(packet[12..].chunks(8).all(|chunk| *chunk == index.to_be_bytes()[..chunk.len()]));
}
