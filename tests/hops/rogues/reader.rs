//! A member that reads, and asks for and reports whatever it likes.

use std::time::{Duration, Instant};

use msm_core::rtcp::{Writer, packet_type};
use msm_fec::protect::Report;
use msm_fec::protect::wire::Message;

use super::rogue::{Rogue, Track, stage};
use crate::common::log;
use crate::common::pair::{near, numbered};
use crate::common::{Line, Publisher, Reader, TestMesh};

/// What a sender may send again at once, beside its share (`ResponderConfig::burst`).
const BURST: usize = 256 << 10;

/// Bytes that came to a rogue, as they were before SRTP.
#[derive(Debug, Default)]
struct Came {
    media: usize,
    beside: usize,
    control: usize,
    packets: usize,
    repairs: usize,
    /// The number of the last packet of the media.
    last: u16,
}

impl Came {
    /// Takes what comes until nothing does for so long.
    fn take(&mut self, rogue: &mut Rogue, track: &Track, patience: Duration) {
        while let Some(got) = rogue.poll(patience) {
            let bytes = got.packet.len();
            if got.is_rtcp {
                // Reports of the hub's are no protection.
                self.control += if got.packet[1] == packet_type::APP { bytes } else { 0 };
            } else if got.label == track.media {
                self.media += bytes;
                self.packets += 1;
                self.last = u16::from_be_bytes([got.packet[2], got.packet[3]]);
            } else {
                self.beside += bytes;
                self.repairs += usize::from(got.packet[1] & 0x7f == 127);
            }
        }
    }
}

/// Requests for every number that there is, as datagrams.
fn everything(track: &mut Track, around: u16) -> Vec<Vec<u8>> {
    let sums = (0..4u16).map(|part| {
        let mut compound = [0; 1400];
        let mut writer = Writer::new(&mut compound);
        let numbers: Vec<u16> = (0..4500).map(|back| around.wrapping_sub(part * 4500 + back)).rev().collect();
        writer.nack(1, track.media, &numbers).unwrap();
        let length = writer.len();
        compound[..length].to_vec()
    });
    sums.collect::<Vec<_>>().iter().map(|compound| track.out.rtcp(compound)).collect()
}

struct Honest {
    reader: Reader,
    line: Line,
}

impl Honest {
    fn start(mesh: &TestMesh, path: &str) -> Self {
        Self { reader: Reader::start(mesh, path), line: Line::default() }
    }

    fn check(&mut self, sent: &[u8]) {
        self.line.check(&self.reader.recv(), sent);
    }
}

#[test]
fn who_asks_for_everything_gets_a_share_and_others_lose_nothing() {
    let (far, mut rogue) = stage("");
    let publisher = Publisher::start(&far, "live/one");
    let near = near(&rogue.ca.member("/near"), rogue.hop, "");
    let mut honest = Honest::start(&near, "live/one");
    let mut track = rogue.read("live/one", ";latency=400;overhead=100");
    assert!(track.header.latency.is_some(), "not protected: {:?}", track.answer);
    let mut came = Came::default();
    for number in 0..1500u16 {
        let packet = numbered(number);
        publisher.send(&packet);
        honest.check(&packet);
        came.take(&mut rogue, &track, Duration::from_micros(700));
        if number % 2 == 0 {
            for request in everything(&mut track, came.last) {
                rogue.send(&request);
            }
        }
    }
    came.take(&mut rogue, &track, Duration::from_millis(200));
    // What its own socket has no room for is none of the far member's doing.
    assert!(came.packets >= 1000, "{came:?}");
    assert!(came.beside > came.media / 4, "nothing was answered: {came:?}");
    let most = came.media / 2 + BURST;
    assert!(came.beside + came.control <= most, "{came:?}, at most {most}");
    assert_eq!(near.counter("msm_hop_lost_total"), 0.0);
}

#[test]
fn reports_of_nonsense_cost_a_share_and_few_lines() {
    log::keep();
    let (far, mut rogue) = stage("");
    let publisher = Publisher::start(&far, "live/nonsense");
    let mut track = rogue.read("live/nonsense", ";latency=80;overhead=100");
    let mut came = Came::default();
    let mut id = 0u8;
    let began = Instant::now();
    let values = |turn: u32| {
        let micros = |value: u64| Some(Duration::from_micros(value));
        let rtt = [micros(0), micros(1), None, micros(40_000), micros(u64::from(u32::MAX)), micros(7_000)];
        Report {
            id: 0,
            loss: f64::from(turn.wrapping_mul(2_654_435_761) >> 16) / 65_536.0,
            burst: [0.0, 1.0, 4096.0, 3.0, 1e9][turn as usize % 5],
            rtt: rtt[(turn / 3) as usize % rtt.len()],
            reorder: Duration::from_micros(u64::from(turn.wrapping_mul(40_503))),
        }
    };
    for number in 0..1500u16 {
        publisher.send(&numbered(number));
        for turn in 0..10 {
            id = id.wrapping_add(1);
            let report = Report { id, ..values(u32::from(number) * 10 + turn) };
            let message = Message::Report(report).write(1);
            let datagram = track.out.rtcp(message.as_ref());
            rogue.send(&datagram);
        }
        came.take(&mut rogue, &track, Duration::from_micros(700));
    }
    came.take(&mut rogue, &track, Duration::from_millis(200));
    let seconds = began.elapsed().as_secs_f64();
    let lines = log::count(&["protection", "live/nonsense"]);
    assert!(came.packets >= 1490, "{came:?}");
    assert!(came.repairs > 0, "no report was believed: {came:?}");
    let most = came.media / 2 + BURST;
    assert!(came.beside + came.control <= most, "{came:?}, at most {most}");
    assert!(lines as f64 <= seconds * 10.0 + 2.0, "{lines} lines in {seconds:.1} s");
}
