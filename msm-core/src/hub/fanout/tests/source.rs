//! A source as it really comes: early or late at first, with jitter, tracks apart, some of them before others.

use std::time::{Duration, Instant};

use super::super::super::testing::*;
use super::super::super::*;
use crate::ntp::NtpTime;
use crate::rng::Rng;
use crate::rtp::{Header, patch_header};

pub(super) const RATES: [i64; 2] = [90_000, 48_000];

/// Sound comes in packets of 20 ms. All times are in microseconds here.
pub(super) const SOUND: u64 = 20_000;
const KEYFRAME_EVERY: u64 = 1_000_000;

/// What a source tells of how its tracks relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clocks {
    /// Sender reports: so long after its start, then each second.
    Reports(u64),
    RtpInfo,
    None,
}

/// A source whose media clocks are wall time, but for an offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// When it begins to capture.
    pub(super) start: u64,
    /// How much later than the later ones its first packets come, for so long.
    pub(super) late_at_first: (i64, u64),
    pub(super) delay: u64,
    /// How much later than its sound its picture comes.
    pub(super) apart: u64,
    pub(super) jitter: u64,
    pub(super) frame: u64,
    /// Two pictures of three are shown before the one that is sent before them.
    pub(super) reordered: bool,
    /// Packets of sound that come at once.
    pub(super) together: u64,
    /// By how much a thousand of its seconds are too long, in seconds.
    pub(super) slow: f64,
    pub(super) clocks: Clocks,
    pub(super) numbers: u32,
}

impl Source {
    pub(super) fn new(start: u64, numbers: u32) -> Self {
        Source {
            start,
            late_at_first: (0, 0),
            delay: 150_000,
            apart: 0,
            jitter: 0,
            frame: 40_000,
            reordered: false,
            together: 1,
            slow: 0.0,
            clocks: Clocks::Reports(0),
            numbers,
        }
    }

    fn timestamp(&self, track: usize, capture: u64) -> u32 {
        let media = capture as f64 * (1.0 - self.slow / 1000.0) * RATES[track] as f64 / 1_000_000.0;
        self.numbers.wrapping_add(media.round() as u64 as u32)
    }

    fn arrival(&self, track: usize, capture: u64, rng: &mut Rng) -> u64 {
        let (late, span) = self.late_at_first;
        let late = if capture < self.start + span { late } else { 0 };
        let apart = if track == VIDEO { self.apart } else { 0 };
        let jitter = rng.range(0..self.jitter + 1);
        (capture + self.delay + apart + jitter).saturating_add_signed(late)
    }

    /// What it sends before `until`, in the order in which it comes.
    pub(super) fn sends(&self, until: u64, rng: &mut Rng) -> Vec<(u64, What)> {
        let mut sends: Vec<(u64, What)> = Vec::new();
        let mut sequence = self.numbers as u16;
        let mut last = 0;
        for (number, slot) in (self.start..until).step_by(self.frame as usize).enumerate() {
            last = self.arrival(VIDEO, slot, rng).max(last);
            let moved = [0, 2, -1, -1][if self.reordered && number > 0 { (number - 1) % 3 + 1 } else { 0 }];
            let capture = slot.saturating_add_signed(moved * self.frame as i64);
            let key = !self.reordered && (capture - self.start) % KEYFRAME_EVERY < self.frame || number == 0;
            let payloads = [0x80, 0x40].map(|end| vec![0x7c, end | if key { 5 } else { 1 }, 0x88]);
            let packets = payloads.map(|payload| {
                sequence = sequence.wrapping_add(1);
                let marker = payload[1] & 0x40 != 0;
                self.packet(VIDEO, sequence, capture, marker, payload)
            });
            sends.push((last, What::Media(VIDEO, packets.to_vec())));
        }
        (sequence, last) = (self.numbers as u16, 0);
        for burst in (self.start..until).step_by((SOUND * self.together) as usize) {
            let captures = (0..self.together).map(|number| burst + number * SOUND);
            let packets = captures.map(|capture| {
                sequence = sequence.wrapping_add(1);
                self.packet(AUDIO, sequence, capture, false, vec![0, 0, 0])
            });
            let packets = packets.collect();
            last = self.arrival(AUDIO, burst + (self.together - 1) * SOUND, rng).max(last);
            sends.push((last, What::Media(AUDIO, packets)));
        }
        if let Clocks::Reports(first) = self.clocks {
            let reports = (self.start + self.delay + first..until + self.delay).step_by(1_000_000);
            sends.extend(reports.map(|at| (at, What::Report(self.clocks_at(at, at - self.delay)))));
        }
        sends.retain(|(at, _)| *at < until);
        sends.sort_by_key(|(at, _)| *at);
        sends
    }

    fn packet(&self, track: usize, sequence: u16, capture: u64, marker: bool, start: Vec<u8>) -> Vec<u8> {
        let payload = [start, capture.to_be_bytes().to_vec(), self.numbers.to_be_bytes().to_vec()].concat();
        rtp(96 + track as u8, sequence, self.timestamp(track, capture), 7, marker, &payload)
    }

    fn clocks_at(&self, at: u64, capture: u64) -> [SenderClock; 2] {
        let passed = capture as f64 * (1.0 - self.slow / 1000.0);
        let ntp = self.wall_clock(passed as u64);
        [VIDEO, AUDIO].map(|track| SenderClock {
            ntp,
            rtp: self.timestamp(track, capture),
            arrival: instant(at),
        })
    }

    pub(super) fn wall_clock(&self, capture: u64) -> NtpTime {
        NtpTime::from_bits(u64::from(self.numbers) << 40).wrapping_add(Duration::from_micros(capture))
    }

    /// What its answer to PLAY says.
    pub(super) fn tell_rtp_info(&self, world: &mut World) {
        if self.clocks == Clocks::RtpInfo {
            for track in [VIDEO, AUDIO] {
                let info = RtpInfo { seq: 0, rtptime: self.timestamp(track, self.start) };
                world.fanout.handle_rtp_info(world.now, track, info);
            }
        }
    }
}

/// What is sent.
pub(super) enum What {
    Media(usize, Vec<Vec<u8>>),
    Report([SenderClock; 2]),
}

impl What {
    /// See [`Twist::Renumber`](super::stage::Twist::Renumber).
    pub(super) fn renumber(&mut self) {
        match self {
            What::Media(_, packets) => {
                for packet in packets {
                    let header = Header::parse(packet).unwrap();
                    let sequence = header.sequence.wrapping_sub(30_000);
                    let timestamp = header.timestamp.wrapping_add(5_000_000);
                    patch_header(packet, header.marker_pt(), sequence, timestamp, 99);
                }
            }
            What::Report(clocks) => {
                clocks.iter_mut().for_each(|clock| clock.rtp = clock.rtp.wrapping_add(5_000_000))
            }
        }
    }
}

pub(super) fn instant(micros: u64) -> Instant {
    at(0) + Duration::from_micros(micros)
}
