//! A member that publishes, and sends whatever it likes beside its packets, or none of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use msm_core::hop::Part;
use msm_core::hop::trailer::{Original, Trailer};
use msm_core::ntp::NtpTime;
use msm_core::rng::Rng;
use msm_core::rtcp::{Acceptance, Compound, SenderInfo, Writer};
use msm_fec::nack::rtx::{Identity, Writer as RtxWriter};
use msm_fec::nack::wire;
use msm_fec::protect::wire::Message;
use msm_fec::protect::{Next, Report};
use msm_fec::rs::encoder::{Encoder, EncoderConfig, Shape};
use msm_fec::rs::sdp::{CLOCK_RATE, ENCODING, Parameters};
use msm_rtsp::limits::Limits;
use msm_rtsp::sdp::{Beside, Description, Protecting, TrackWay};

use super::rogue::{Out, Rogue, Track, stage};
use crate::common::{Reader, TestMesh, VIDEO, rtp};

/// The rogue publishes below `from/`, and whoever likes reads that.
const ROUTES: &str = "routes:\n\
  - {name: in, match: {url: '/from/{path...}', actions: [publish]}, allow: ['spiffe://test.example/near'],\n\
  \x20  protection: {latency: 500ms}}\n\
  - {name: out, match: {url: '/{path...}', actions: [read]}}\n";

const REPAIR: u8 = 127;
const RTX: u8 = 126;
/// Long, as whoever else runs here must not make packets late.
const BUDGET: Duration = Duration::from_millis(500);

/// A rogue's stream, and who reads it.
struct Stream {
    far: TestMesh,
    rogue: Rogue,
    track: Track,
    reader: Reader,
    next: u16,
    beside: u16,
    timestamp: u32,
    /// What the reader is to get.
    due: VecDeque<Vec<u8>>,
    last: Option<u16>,
    asked: usize,
    request_bytes: usize,
}

impl Stream {
    fn start(path: &str, first: u16) -> Self {
        let (far, mut rogue) = stage(ROUTES);
        let track = publish(&mut rogue, path);
        let reader = Reader::start(&far, path);
        let mut stream = Self {
            far,
            rogue,
            track,
            reader,
            next: first,
            beside: 7,
            timestamp: 1000,
            due: VecDeque::new(),
            last: None,
            asked: 0,
            request_bytes: 0,
        };
        stream.send(0x65);
        stream.expect(Duration::from_secs(5));
        stream
    }

    /// The next packet of the hop, which the reader is to get.
    fn make(&mut self, nal: u8) -> Vec<u8> {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(3000);
        let mut packet =
            rtp(number, self.timestamp, self.track.out.label, nal, 400 + usize::from(number % 7));
        let at = packet.len() - 20;
        packet[at..at + 2].copy_from_slice(&number.to_be_bytes());
        self.due.push_back(packet.clone());
        of_hop(packet, number)
    }

    fn send(&mut self, nal: u8) {
        let packet = self.make(nal);
        self.put(&packet);
    }

    fn put(&mut self, packet: &[u8]) {
        let datagram = self.track.out.rtp(packet);
        self.rogue.send(&datagram);
    }

    /// A packet of the flow beside the media's, of this payload type.
    fn put_beside(&mut self, payload_type: u8, payload: &[u8]) {
        let datagram = self.seal_beside(0x80, payload_type, payload);
        self.rogue.send(&datagram);
    }

    fn seal_beside(&mut self, first: u8, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, payload_type];
        packet.extend_from_slice(&self.beside.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 3, 9, 0, 0, 0, 0]);
        packet.extend_from_slice(payload);
        self.beside = self.beside.wrapping_add(1);
        beside(&mut self.track).rtp(&packet)
    }

    /// A retransmission of a packet of the hop.
    fn put_again(&mut self, packet: &[u8]) {
        let out = beside(&mut self.track);
        let mut again = vec![0; packet.len() + 2];
        let identity = Identity { ssrc: out.label, payload_type: RTX };
        let length = RtxWriter::new(identity, self.beside).write(packet, &mut again).unwrap();
        self.beside = self.beside.wrapping_add(1);
        let datagram = out.rtp(&again[..length]);
        self.rogue.send(&datagram);
    }

    fn control(&mut self, compound: &[u8]) {
        let datagram = self.track.out.rtcp(compound);
        self.rogue.send(&datagram);
    }

    fn tell(&mut self, next: u64) {
        let hold_off = if next.is_multiple_of(2) { Duration::ZERO } else { Duration::MAX };
        let next = Next { next, hold_off, echo: Some(9) };
        self.control(Message::Next(next).write(1).as_ref());
    }

    /// What the other member sends, for so long: requests are counted.
    fn listen(&mut self, patience: Duration) -> Vec<u16> {
        let mut numbers = Vec::new();
        let until = Instant::now() + patience;
        while let Some(got) = self.rogue.poll(until.saturating_duration_since(Instant::now())) {
            if !got.is_rtcp {
                continue;
            }
            let compound = Compound::parse(&got.packet, Acceptance::ReducedSize).unwrap();
            let lost: Vec<u16> =
                wire::requests(&compound, self.track.out.label).flat_map(|nack| nack.lost()).collect();
            if !lost.is_empty() {
                self.asked += lost.len();
                self.request_bytes += got.packet.len();
                numbers.extend(lost);
            }
            if Instant::now() >= until {
                break;
            }
        }
        numbers
    }

    /// The reader gets all that it is to get: in order, once, byte for byte.
    fn expect(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.due.is_empty() {
            if let Some(packet) = self.reader.try_recv(Duration::from_millis(2)) {
                self.check(&packet);
            }
            let _ = self.rogue.poll(Duration::from_micros(100));
            assert!(
                Instant::now() < until,
                "{} packets did not come\n{}",
                self.due.len(),
                self.far.metrics()
            );
        }
    }

    fn check(&mut self, packet: &[u8]) {
        let sent = self.due.pop_front().expect("a packet that nobody sent");
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        let behind = self.due.iter().position(|other| other[12..] == packet[12..]);
        assert!(
            packet[12..] == sent[12..],
            "{number}: not the {} that is next, but {behind:?} behind it\n{}",
            number_of(&sent),
            self.far.metrics()
        );
        if let Some(last) = self.last {
            assert_eq!(number, last.wrapping_add(1), "the line has a gap");
        }
        self.last = Some(number);
    }

    /// Takes whatever comes until nothing does for so long: always packets that were sent, in order, each once; how many.
    fn take(&mut self, patience: Duration) -> usize {
        let mut came = 0;
        let mut until = Instant::now() + patience;
        loop {
            let Some(packet) = self.reader.try_recv(patience.min(Duration::from_millis(5))) else {
                if Instant::now() >= until {
                    return came;
                }
                // The way of the hop has to be kept.
                let _ = self.rogue.poll(Duration::from_micros(100));
                continue;
            };
            let place = self.due.iter().position(|sent| sent[12..] == packet[12..]);
            let place = place.expect("a packet that nobody sent, or once more, or out of order");
            self.due.drain(..=place);
            self.last = Some(u16::from_be_bytes([packet[2], packet[3]]));
            came += 1;
            until = Instant::now() + patience;
        }
    }

    /// The stream goes on: packets that are sent come.
    fn goes_on(&mut self) {
        self.take(BUDGET);
        let mut came = 0;
        for round in 0..100 {
            self.send(if round % 10 == 0 { 0x65 } else { 0x41 });
            self.listen(Duration::from_millis(2));
            came += self.take(Duration::from_millis(2));
        }
        came += self.take(2 * BUDGET);
        assert!(came >= 50, "{came} of 100 came\n{}", self.far.metrics());
        // And none is lost of them any more.
        self.due.clear();
        for _ in 0..50 {
            self.send(0x41);
            self.expect(Duration::from_secs(1));
        }
    }

    fn unrecovered(&self) -> u64 {
        let status = self.far.block_on(self.far.mesh.status());
        status.hops.iter().flat_map(|hop| &hop.protection).map(|flow| flow.unrecovered).sum()
    }

    fn recovered(&self) -> (u64, u64) {
        let status = self.far.block_on(self.far.mesh.status());
        let flows: Vec<_> = status.hops.into_iter().flat_map(|hop| hop.protection).collect();
        let sum = |of: fn(&msm::FlowProtection) -> u64| flows.iter().map(of).sum::<u64>();
        (sum(|flow| flow.recovered_by_fec), sum(|flow| flow.recovered_by_nack))
    }

    fn dropped(&self, reason: &str) -> f64 {
        self.far.counter(&format!("msm_dropped_total{{reason=\"{reason}"))
    }
}

fn beside(track: &mut Track) -> &mut Out {
    track.out_beside.as_mut().expect("protection was not taken")
}

/// A packet with the number that it has on the hop, and a trailer that says it is its own.
fn of_hop(mut packet: Vec<u8>, number: u16) -> Vec<u8> {
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    let trailer = Trailer { original: Some(Original { sequence: number, age: 0 }), part: Part::Whole };
    let length = packet.len();
    packet.resize(length + trailer.len(), 0);
    trailer.write(&mut packet[length..]).unwrap();
    packet
}

fn number_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// Publishes a stream whose packets may be protected.
fn publish(rogue: &mut Rogue, path: &str) -> Track {
    let url = rogue.url(path);
    let parameters = Parameters { repair_window: BUDGET }.to_string();
    let repair = Beside { number: REPAIR, encoding: ENCODING.into(), clock_rate: CLOCK_RATE, parameters };
    let again = Beside {
        number: RTX,
        encoding: "rtx".into(),
        clock_rate: 90_000,
        parameters: "apt=96;rtx-time=500".into(),
    };
    let protecting = Protecting { formats: vec![repair, again], nack: true, latency: Some(500) };
    let description = Description::parse(VIDEO.as_bytes(), &Limits::default()).unwrap();
    let body = description.for_announce(&[TrackWay { protecting, ..TrackWay::default() }]);
    let headers = [("Require", "msm-hop-1"), ("Content-Type", "application/sdp")];
    let answer = rogue.rtsp.ask("ANNOUNCE", &url, &headers, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let names = rogue.names();
    let header = format!("token={:016x};label={:08x};latency=500", names.0, names.1);
    let answer = rogue.ask_set_up(&url, &header, ";mode=record", None);
    let track = rogue.track(answer, names);
    assert!(track.header.repair.is_some(), "{:?}", track.answer);
    rogue.request("RECORD", &url, &track.session);
    track
}

/// Repair packets of a block of these packets.
fn repairs(first: u64, packets: &[Vec<u8>], count: u8) -> Vec<Vec<u8>> {
    let shape = Shape::new(packets.len() as u8 + 1, count, 1).unwrap();
    let mut encoder = Encoder::new(EncoderConfig::default(), Some(shape)).unwrap();
    for (index, packet) in (first..).zip(packets) {
        encoder.handle_source(index, packet).unwrap();
    }
    encoder.finish_with(count);
    std::iter::from_fn(|| encoder.poll_repair().map(|repair| repair.payload.to_vec())).collect()
}

#[test]
fn repair_packets_that_lie_let_nothing_wrong_through_and_true_ones_still_help() {
    let mut stream = Stream::start("from/lies", 100);
    let mut rng = Rng::new(5);
    let label = stream.track.out.label;
    for round in 0..40u64 {
        let first = u64::from(stream.next);
        let packets: Vec<Vec<u8>> = (0..10).map(|_| stream.make(0x41)).collect();
        let lost = [round as usize % 10, (round as usize * 3 + 1) % 10];
        // Of another stream, whose packets have the same numbers.
        let strangers: Vec<Vec<u8>> = (0..10u16)
            .map(|at| {
                of_hop(rtp(first as u16 + at, 77, label ^ 1, 0x41, 400 + usize::from(at)), first as u16 + at)
            })
            .collect();
        for (place, packet) in packets.iter().enumerate() {
            if !lost.contains(&place) {
                stream.put(packet);
            }
        }
        let payloads = repairs(first, &packets, 3);
        let mut lies = repairs(first, &strangers, 1);
        for payload in &payloads {
            // Version, sources (fewer), code, symbol, step, the reserved byte, and the length.
            for at in 2..10 {
                let mut lie = payload.clone();
                let changed = lie[at] ^ 1 << (rng.next_u32() % 8);
                lie[at] = if at == 3 || at == 6 { changed.min(lie[at]) } else { changed };
                lies.push(lie);
            }
            lies.push(payload[..payload.len() - 1 - rng.next_u32() as usize % 300].to_vec());
            for away in [30_000 + round as u16, 0u16.wrapping_sub(5000), 0u16.wrapping_sub(3), 20_000] {
                let mut far_away = payload.clone();
                far_away[..2].copy_from_slice(&(first as u16).wrapping_add(away).to_be_bytes());
                lies.push(far_away);
            }
        }
        lies.extend([vec![], vec![0; 9], (0..300).map(|_| rng.next_u32() as u8).collect()]);
        // The true ones first: then the lies find nothing to spoil. Or behind them.
        let mut all = lies;
        if round % 2 == 0 {
            all.splice(0..0, payloads.iter().take(2).cloned());
        }
        for payload in all {
            stream.put_beside(REPAIR, &payload);
            // With the label of another flow, under the wrong key: the label is what the key is looked up by.
            let mut stray = stream.seal_beside(0x80, REPAIR, &payload);
            stray[8..12].copy_from_slice(&label.to_be_bytes());
            stream.rogue.send(&stray);
        }
        // What was lost is sent again in the end, so that the reader is to get everything.
        for place in lost {
            let packet = packets[place].clone();
            stream.put_again(&packet);
        }
        stream.expect(Duration::from_secs(2));
    }
    let (fec, again) = stream.recovered();
    assert!(fec >= 20 && fec + again >= 70, "{fec} by repair packets, {again} again");
    assert!(stream.dropped("srtp_") > 0.0, "{}", stream.far.metrics());
    assert_eq!(stream.unrecovered(), 0);
    stream.goes_on();
}

#[test]
fn repair_packets_of_what_was_never_sent_let_nothing_wrong_through() {
    let mut stream = Stream::start("from/ahead", 100);
    let mut rng = Rng::new(6);
    let label = stream.track.out.label;
    for _ in 0..100 {
        let first = stream.next.wrapping_add((rng.next_u32() % 300) as u16);
        let strangers: Vec<Vec<u8>> = (0..1 + rng.next_u32() as u16 % 6)
            .map(|at| of_hop(rtp(first + at, 77, label ^ 1, 0x65, 400), first + at))
            .collect();
        // As many as there are packets: all of them come out.
        for mut payload in repairs(first.into(), &strangers, strangers.len() as u8) {
            if rng.next_u32().is_multiple_of(3) {
                let at = rng.next_u32() as usize % payload.len();
                payload[at] ^= 1 << (rng.next_u32() % 8);
            }
            stream.put_beside(REPAIR, &payload);
        }
        stream.send(0x41);
        stream.listen(Duration::from_millis(1));
        stream.take(Duration::from_millis(1));
    }
    stream.take(2 * BUDGET);
    assert!(stream.dropped("hop_beside_foreign") > 0.0, "{}", stream.far.metrics());
    stream.due.clear();
    stream.next = stream.next.wrapping_add(10_000);
    stream.goes_on();
}

#[test]
fn retransmissions_of_nothing_are_nothing() {
    let mut stream = Stream::start("from/again", 65_500);
    let label = stream.track.out.label;
    for round in 0..60u16 {
        let lost = stream.make(0x41);
        stream.send(0x41);
        // Of numbers that were never sent: from the next one on, and around.
        for ahead in [1u16, 2, 100, 5000, 9000, 30_000, 32_767, 32_768, 40_000] {
            let number = stream.next.wrapping_add(ahead);
            let mut foreign = of_hop(rtp(number, 5, label, 0x65, 333), number);
            foreign[30..60].fill(0xee);
            stream.put_again(&foreign);
        }
        // Short ones, and types that nobody agreed on.
        for length in 0..4 {
            stream.put_beside(RTX, &vec![0x10; length]);
        }
        for payload_type in [0, 96, 97, 125, 72] {
            stream.put_beside(payload_type, &lost[10..]);
        }
        // Padding that is longer than the packet.
        let padded = stream.seal_beside(0xa0, RTX, &[1, 2, round as u8, 255]);
        stream.rogue.send(&padded);
        // And what is missing, twice.
        stream.put_again(&lost);
        stream.put_again(&lost);
        stream.expect(Duration::from_secs(2));
    }
    assert!(stream.dropped("hop_beside_unknown") >= 60.0, "{}", stream.far.metrics());
    assert_eq!(stream.unrecovered(), 0);
    stream.goes_on();
}

#[test]
fn a_line_that_jumps_is_asked_for_within_its_allowance_and_goes_on() {
    let mut stream = Stream::start("from/jumps", 10);
    let mut lost = 0;
    for round in 0..60u64 {
        // Ahead by what would all be missing.
        let ahead = [3000, 4095, 8191, 30_000, 32_000][round as usize % 5];
        stream.next = stream.next.wrapping_add(ahead);
        lost += u64::from(ahead);
        stream.send(0x65);
        stream.listen(Duration::from_millis(3));
    }
    let asked = stream.asked;
    // 16 for each packet that came, and what is tracked four times once.
    assert!(
        asked <= 16 * 61 * 4 + 4 * 4096,
        "{asked} numbers for 61 packets, {} bytes",
        stream.request_bytes
    );
    assert!(stream.request_bytes < 64 << 10, "{} bytes of requests for 61 packets", stream.request_bytes);
    stream.take(2 * BUDGET);
    stream.due.clear();
    stream.goes_on();
    assert_eq!(stream.unrecovered(), lost, "what never came is lost, however much it was");
}

#[test]
fn ends_that_lie_are_asked_for_within_an_allowance_and_end_nothing() {
    let mut stream = Stream::start("from/ends", 10);
    let mut index = u64::from(stream.next);
    for round in 0..200u64 {
        let lie = match round % 5 {
            0 => index + 4000,
            1 => index + 8000,
            2 => u64::MAX >> 16,
            3 => 0,
            _ => index + 60_000 + round * 4000,
        };
        stream.tell(lie);
        if round % 10 == 0 {
            stream.send(0x41);
            index += 1;
        }
        stream.listen(Duration::from_millis(1));
    }
    // No more than packets came for, and what may be asked for once.
    assert!(stream.asked <= (16 * 30 + 4 * 4096) * 4, "{} numbers", stream.asked);
    assert!(stream.asked >= 4000, "nothing was asked for");
    stream.take(2 * BUDGET);
    // Whoever says that so many packets were sent has them missing. Behind them it goes on.
    stream.due.clear();
    stream.next = stream.next.wrapping_add(10_000);
    stream.goes_on();
}

#[test]
fn clocks_that_jump_end_nothing() {
    let mut stream = Stream::start("from/clocks", 65_520);
    let hour = 3600 * 90_000u32;
    for round in 0..300u32 {
        let jump = [hour, 0u32.wrapping_sub(hour), 1 << 31, 13 * hour, 0u32.wrapping_sub(7 * hour), 0];
        if round % 7 == 3 {
            stream.timestamp = stream.timestamp.wrapping_add(jump[(round / 7) as usize % jump.len()]);
        }
        if round % 5 == 2 {
            let ntp = [0, u64::MAX, 1 << 63, 0xe000_0000_0000_0000, u64::from(round) << 45]
                [(round / 5) as usize % 5];
            let mut compound = [0; 200];
            let mut writer = Writer::new(&mut compound);
            let info = SenderInfo {
                ssrc: 1,
                ntp: NtpTime::from_bits(ntp),
                rtp_timestamp: stream.timestamp.wrapping_add(jump[(round / 5) as usize % jump.len()]),
                packet_count: u32::MAX - round,
                octet_count: round,
            };
            writer.sender_report(&info, &[]).unwrap();
            let length = writer.len();
            stream.control(&compound[..length]);
        }
        // Each third is lost, and sent again.
        if round % 3 == 1 {
            let lost = stream.make(0x41);
            stream.send(0x41);
            stream.put_again(&lost);
        } else {
            stream.send(0x41);
        }
        stream.expect(Duration::from_secs(2));
    }
    assert_eq!(stream.unrecovered(), 0);
    stream.goes_on();
}

#[test]
fn numbers_that_wrap_at_once_lose_nothing_that_comes_again() {
    for first in [65_530, 65_535, 0, 32_766] {
        let mut stream = Stream::start("from/wraps", first);
        for round in 0..30 {
            let lost: Vec<Vec<u8>> = (0..1 + round % 3).map(|_| stream.make(0x41)).collect();
            stream.send(0x41);
            // As it asks for them.
            let until = Instant::now() + Duration::from_millis(400);
            let mut asked = Vec::new();
            while asked.len() < lost.len() && Instant::now() < until {
                asked.extend(stream.listen(Duration::from_millis(2)));
            }
            for packet in &lost {
                assert!(asked.contains(&number_of(packet)), "{first}: {asked:?} of {}", number_of(packet));
                stream.put_again(packet);
            }
            stream.expect(Duration::from_secs(2));
        }
        assert_eq!(stream.unrecovered(), 0, "{first}");
    }
}

#[test]
fn what_is_said_the_wrong_way_round_is_nothing() {
    let mut stream = Stream::start("from/turned", 10);
    for round in 0..200u16 {
        // Reports and requests of the one that sends.
        let report = Report { id: round as u8, loss: 1.0, burst: 9.0, rtt: None, reorder: Duration::MAX };
        stream.control(Message::Report(report).write(1).as_ref());
        let mut compound = [0; 100];
        let mut writer = Writer::new(&mut compound);
        writer.nack(1, stream.track.media, &[round, round.wrapping_add(9)]).unwrap();
        let length = writer.len();
        stream.control(&compound[..length]);
        // RTCP on the flow beside.
        let datagram = beside(&mut stream.track).rtcp(Message::Report(report).write(1).as_ref());
        stream.rogue.send(&datagram);
        // Cut and empty packets.
        for cut in [8usize, 12, 20, 27] {
            stream.control(&Message::Report(report).write(1).as_ref()[..cut]);
        }
        stream.send(0x41);
        stream.expect(Duration::from_secs(2));
    }
    stream.goes_on();
}
