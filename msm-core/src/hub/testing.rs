//! A synthetic publisher and a sink that records, for the tests of both halves.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::*;
use crate::burst::{Burst, SegmentTable};
use crate::codec::Codec;
use crate::rtp::{Header, RtpBuilder};

pub(super) const VIDEO: usize = 0;
pub(super) const AUDIO: usize = 1;

/// Some instant that all tests count from.
pub(super) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    *EPOCH.get_or_init(|| Instant::now() + Duration::from_secs(1_000))
}

pub(super) fn at(millis: u64) -> Instant {
    epoch() + Duration::from_millis(millis)
}

pub(super) fn tracks() -> Arc<[TrackInfo]> {
    [
        TrackInfo::new(MediaKind::Video, 96, Codec::H264, 90_000),
        TrackInfo::new(MediaKind::Audio, 97, Codec::Audio, 48_000),
    ]
    .into()
}

/// How a publisher sends SPS and PPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sets {
    /// In packets of their own, with the keyframe's timestamp.
    InUnit,
    /// In one STAP-A packet with the keyframe's timestamp.
    Aggregated,
    /// In packets of their own, with a timestamp of their own.
    Apart,
    /// In the SDP only.
    Never,
}

/// A publisher of one H.264 track.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) gop: u32,
    pub(super) sets: Sets,
    pub(super) fragments: usize,
    pub(super) size: usize,
    frame: u32,
    serial: u32,
}

impl Publisher {
    pub(super) fn new(gop: u32, sets: Sets) -> Self {
        Publisher {
            ssrc: 0x1111_1111,
            sequence: 65_500,
            timestamp: u32::MAX - 90_000,
            gop,
            sets,
            fragments: 3,
            size: 200,
            frame: 0,
            serial: 0,
        }
    }

    /// The packets of the next frame; a keyframe each `gop` frames, 30 frames a second.
    pub(super) fn frame(&mut self) -> Vec<Vec<u8>> {
        let key = self.frame.is_multiple_of(self.gop);
        self.frame += 1;
        let mut payloads: Vec<Vec<u8>> = Vec::new();
        let mut apart = Vec::new();
        if key {
            let (sps, pps) = (vec![0x67, 0x42, 0xc0, 0x1e], vec![0x68, 0xce, 0x3c, 0x80]);
            match self.sets {
                Sets::InUnit => payloads.extend([sps, pps]),
                Sets::Aggregated => payloads.push([&[0x78, 0, 4][..], &sps, &[0, 4], &pps].concat()),
                Sets::Apart => apart.extend([sps, pps]),
                Sets::Never => {}
            }
        }
        for fragment in 0..self.fragments {
            let start = if fragment == 0 { 0x80 } else { 0 };
            let mut payload =
                if key { vec![0x7c, start | 0x05, 0x88] } else { vec![0x5c, start | 0x01, 0x9a] };
            payload.extend(self.serial.wrapping_add(fragment as u32).to_be_bytes());
            // The last fragment is shorter, as real ones are.
            payload.resize(if fragment + 1 == self.fragments { self.size / 2 } else { self.size }, 0xab);
            payloads.push(payload);
        }
        self.serial += self.fragments as u32;
        let mut packets = Vec::new();
        for payload in apart {
            packets.push(self.packet(&payload, self.timestamp.wrapping_sub(1500), false));
        }
        let last = payloads.len() - 1;
        for (index, payload) in payloads.iter().enumerate() {
            packets.push(self.packet(payload, self.timestamp, index == last));
        }
        self.timestamp = self.timestamp.wrapping_add(3_000);
        packets
    }

    fn packet(&mut self, payload: &[u8], timestamp: u32, marker: bool) -> Vec<u8> {
        let packet = rtp(96, self.sequence, timestamp, self.ssrc, marker, payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}

pub(super) fn rtp(pt: u8, sequence: u16, timestamp: u32, ssrc: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; payload.len() + 12];
    let builder =
        RtpBuilder { payload_type: pt, sequence, timestamp, ssrc, marker, payload, ..RtpBuilder::default() };
    let len = builder.write(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

/// What one destination got.
#[derive(Debug, Default, Clone)]
pub(super) struct Got {
    pub(super) packets: Vec<Vec<u8>>,
    pub(super) times: Vec<Instant>,
    pub(super) rtcp: Vec<Vec<u8>>,
    pub(super) again: Vec<Vec<u8>>,
    /// Where the hub says that it keeps each packet.
    pub(super) positions: Vec<Option<u64>>,
    /// Packets of each send.
    pub(super) runs: Vec<usize>,
    pub(super) full: bool,
}

impl Got {
    pub(super) fn headers(&self) -> Vec<Header> {
        self.packets.iter().map(|packet| Header::parse(packet).unwrap()).collect()
    }

    /// The sequence numbers go up by one from packet to packet.
    pub(super) fn assert_unbroken(&self) {
        let headers = self.headers();
        for pair in headers.windows(2) {
            let [a, b] = pair else { continue };
            assert_eq!(b.sequence, a.sequence.wrapping_add(1), "after {} packets", self.packets.len());
        }
    }
}

/// Destinations by number.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) got: Vec<Got>,
    pub(super) now: Option<Instant>,
    /// The destination whose packets cannot be sent once they were put off.
    pub(super) unreachable: Option<usize>,
    not_sent: Vec<NotSent>,
}

impl Sink<usize> for Recorder {
    fn send(&mut self, dest: &mut usize, packets: Outgoing<'_>) -> SendOutcome {
        if self.got.len() <= *dest {
            self.got.resize(*dest + 1, Got::default());
        }
        let got = &mut self.got[*dest];
        if got.full {
            return SendOutcome::Full;
        }
        assert!(packets.segment > 0 && !packets.bytes.is_empty());
        if let Some(line) = packets.put_off.filter(|_| self.unreachable == Some(*dest)) {
            let count = packets.bytes.len().div_ceil(packets.segment) as u64;
            self.not_sent.push(NotSent { line, packets: count, bytes: packets.bytes.len() as u64 });
            return SendOutcome::Sent;
        }
        match packets.kind {
            Kind::Rtcp => got.rtcp.push(packets.bytes.to_vec()),
            Kind::Again => {
                assert_eq!(packets.bytes.len(), packets.segment);
                got.again.push(packets.bytes.to_vec());
            }
            Kind::Rtp => {
                let run: Vec<_> = packets.bytes.chunks(packets.segment).map(<[u8]>::to_vec).collect();
                assert!(run.len() <= crate::burst::MAX_SEGMENTS);
                got.runs.push(run.len());
                got.positions.extend((0..).take(run.len()).map(|n| Some(packets.position? + n)));
                got.times.extend(run.iter().map(|_| self.now.unwrap_or_else(epoch)));
                got.packets.extend(run);
            }
        }
        SendOutcome::Sent
    }

    fn flush(&mut self, failed: &mut dyn FnMut(NotSent)) {
        self.not_sent.drain(..).for_each(failed);
    }
}

/// A fan-out under virtual time.
pub(super) struct World {
    pub(super) fanout: Fanout<usize>,
    pub(super) sink: Recorder,
    pub(super) table: SegmentTable,
    pub(super) now: Instant,
    pub(super) events: VecDeque<FanoutEvent>,
}

impl World {
    pub(super) fn new(config: FanoutConfig) -> Self {
        World {
            fanout: Fanout::new(tracks(), config, at(0)),
            sink: Recorder::default(),
            table: SegmentTable::new(),
            now: at(0),
            events: VecDeque::new(),
        }
    }

    /// Adds a reader of video (destination `2 n`) and audio (`2 n + 1`).
    pub(super) fn join(&mut self, n: usize, late_join: bool) -> ReaderId {
        let tracks = [VIDEO, AUDIO].map(|track| ReaderTrack {
            track,
            dest: 2 * n + track,
            ssrc: ssrc_of(n, track),
            payload_types: vec![],
        });
        let setup = ReaderSetup { seed: 77 + n as u64, tracks: tracks.into(), late_join };
        self.sink.got.resize(self.sink.got.len().max(2 * n + 2), Got::default());
        self.fanout.add_reader(self.now, setup).unwrap()
    }

    pub(super) fn play(&mut self, id: ReaderId) -> Vec<(usize, Option<RtpInfo>)> {
        let infos = self.fanout.play(self.now, id).unwrap();
        self.drain();
        infos
    }

    pub(super) fn reader_rtcp(&mut self, id: ReaderId, track: usize, datagram: &[u8]) {
        self.fanout.handle_reader_rtcp(self.now, id, track, datagram, &mut self.sink);
    }

    /// Lets time pass, with all timeouts on the way.
    pub(super) fn pass(&mut self, until: Instant) {
        for _ in 0..100_000 {
            match self.fanout.poll_timeout() {
                Some((due, _)) if due <= until => {
                    self.now = self.now.max(due);
                    self.sink.now = Some(self.now);
                    self.fanout.handle_timeout(self.now, &mut self.sink);
                    self.drain();
                }
                _ => {
                    self.now = until;
                    self.sink.now = Some(self.now);
                    return;
                }
            }
        }
        panic!("timeouts never end: {:?}", self.fanout.poll_timeout());
    }

    /// Hands in packets as GRO does: neighbours of equal length together.
    pub(super) fn deliver(&mut self, track: usize, packets: &[Vec<u8>]) {
        let mut rest = packets;
        while let Some(first) = rest.first() {
            let mut count = rest.iter().take_while(|packet| packet.len() == first.len()).count();
            if rest.get(count).is_some_and(|packet| packet.len() < first.len()) {
                count += 1;
            }
            let mut bytes = rest[..count].concat();
            let mut burst = Burst::from_gro(&mut bytes, first.len(), self.now, 0, &mut self.table);
            self.fanout.handle_rtp(self.now, track, &mut burst, &mut self.sink);
            self.drain();
            rest = &rest[count..];
        }
    }

    pub(super) fn drain(&mut self) {
        while let Some(event) = self.fanout.poll_event() {
            self.events.push_back(event);
        }
    }

    pub(super) fn keyframes_wanted(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, FanoutEvent::KeyframeWanted { .. })).count()
    }
}

pub(super) fn ssrc_of(n: usize, track: usize) -> u32 {
    0x5500_0000 | (n * 2 + track) as u32
}

/// The bytes of a packet that a relay must not change: byte 0, and everything behind the SSRC.
pub(super) fn kept(packet: &[u8]) -> (u8, &[u8]) {
    (packet[0], &packet[12..])
}
