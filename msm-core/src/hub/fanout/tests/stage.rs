//! One source takes over from another, as they really come: early or late at first, tracks apart, with jitter.

use std::time::Duration;

use super::super::super::testing::*;
use super::super::super::*;
use super::source::{RATES, SOUND, Source, What, instant};
use crate::hub::twin::Offset;
use crate::ntp::NtpTime;
use crate::rng::Rng;
use crate::seq;

/// A packet as the reader got it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) arrival: i64,
    pub(super) capture: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// The source that it is of.
    pub(super) of: usize,
}

impl Sent {
    /// Its media time, by the line's first packet.
    fn media(&self, track: usize, first: u32) -> i64 {
        i64::from(seq::timestamp_distance(first, self.timestamp)) * 1_000_000 / RATES[track]
    }
}

/// What a reader has had of all sources.
pub(super) struct Played {
    pub(super) sent: [Vec<Sent>; 2],
    /// Of each track: how many packets had been sent, the wall clock, and the media clock.
    reports: [Vec<Report>; 2],
    sources: Vec<(u64, Source)>,
    /// Whether each track's line is where it stays.
    pub(super) settled: [bool; 2],
}

type Report = (usize, NtpTime, u32);

/// What happens while a source plays.
#[derive(Debug, Clone, Copy)]
pub(super) enum Twist {
    /// It goes on in other numbers.
    Renumber,
    /// Another worker's fan-out goes on with what this one knows.
    Restore,
    /// Its sound ends.
    Mute,
    /// A packet of its sound comes so much later than others that were sent behind it.
    Overtaken(u64),
}

/// Has `new` take over from `old` at `over`. Runs until `end`.
pub(super) fn play(old: &Source, new: &Source, over: u64, end: u64, seed: u64) -> Played {
    play_all(&[(0, *old), (over, *new)], end, seed, &[])
}

/// Has each source take over from the one before at its time: from a standby that has played before, or with its first packet.
pub(super) fn play_all(sources: &[(u64, Source)], end: u64, seed: u64, twists: &[(u64, Twist)]) -> Played {
    let in_order = !twists.iter().any(|(_, twist)| matches!(twist, Twist::Overtaken(_)));
    let mut twists = twists.iter().peekable();
    let mut rng = Rng::new(seed);
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut reports = Default::default();
    for (number, (over, source)) in sources.iter().enumerate() {
        let end = sources.get(number + 1).map_or(end, |(next, _)| *next);
        let mut sends = source.sends(end, &mut rng).into_iter().peekable();
        take_over(&mut world, source, *over, |standby| {
            while let Some((at, what)) = sends.next_if(|(at, _)| at < over) {
                give(standby, at, what, &mut Default::default());
            }
        });
        let (mut renumbered, mut mute, mut overtakes, mut overtaken) = (false, false, None, None);
        for (at, mut what) in sends {
            while let Some((_, twist)) = twists.next_if(|(due, _)| *due <= at) {
                match twist {
                    Twist::Restore => {
                        let snapshot = world.fanout.snapshot();
                        world.fanout.restore(world.now, snapshot);
                    }
                    Twist::Renumber => {
                        renumbered = true;
                        let by = Offset { sequence: 30_000, timestamp: 0u32.wrapping_sub(5_000_000) };
                        [VIDEO, AUDIO].into_iter().for_each(|track| world.fanout.renumber(track, by));
                    }
                    Twist::Mute => mute = true,
                    Twist::Overtaken(by) => overtakes = Some(*by),
                }
            }
            if matches!(what, What::Media(AUDIO, _))
                && let Some(by) = overtakes.take()
            {
                overtaken = Some((at + by, what));
                continue;
            }
            if let Some((_, mut late)) = overtaken.take_if(|(due, _)| *due <= at) {
                if renumbered {
                    late.renumber();
                }
                give(&mut world, at, late, &mut reports);
            }
            if renumbered {
                what.renumber();
            }
            if !mute || !matches!(what, What::Media(AUDIO, _)) {
                give(&mut world, at, what, &mut reports);
            }
        }
    }
    let sent = [VIDEO, AUDIO].map(|track| {
        let got = &world.sink.got[track];
        if in_order {
            got.assert_unbroken();
        }
        let packets = got.packets.iter().zip(got.headers()).zip(&got.times);
        let sent = packets.map(|((packet, header), time)| Sent {
            arrival: time.duration_since(at(0)).as_micros() as i64,
            capture: u64::from_be_bytes(packet[15..23].try_into().unwrap()),
            timestamp: header.timestamp,
            marker: header.marker,
            of: sources
                .iter()
                .position(|(_, source)| packet[23..27] == source.numbers.to_be_bytes())
                .unwrap(),
        });
        sent.collect::<Vec<_>>()
    });
    let settled = [VIDEO, AUDIO].map(|track| world.fanout.tracks[track].up.settling.is_none());
    Played { sent, reports, sources: sources.to_vec(), settled }
}

/// Has `source` go on in `world` at `over`, after `before` has given a standby what came earlier.
fn take_over(world: &mut World, source: &Source, over: u64, before: impl FnOnce(&mut World)) {
    if over == 0 {
        return source.tell_rtp_info(world);
    }
    let mut standby = World::new(FanoutConfig::default());
    let is_warm = source.start + source.delay <= over;
    if is_warm {
        source.tell_rtp_info(&mut standby);
    }
    before(&mut standby);
    world.pass(instant(over));
    standby.pass(instant(over));
    for track in [VIDEO, AUDIO] {
        world.fanout.handle_source_changed(world.now, track);
    }
    world.drain();
    if !is_warm {
        return source.tell_rtp_info(world);
    }
    for track in [VIDEO, AUDIO] {
        if let Some(live) = standby.fanout.live(world.now, track) {
            world.fanout.expect(track, live);
        }
        if let Some(info) = standby.fanout.rtp_info(track) {
            world.fanout.handle_rtp_info(world.now, track, info);
        }
        if let Some(clock) = standby.fanout.clock(track) {
            world.fanout.handle_sender_report(world.now, track, clock, &mut world.sink);
        }
    }
    let kept: Vec<Vec<u8>> = standby.fanout.since_keyframe(VIDEO).map(<[u8]>::to_vec).collect();
    world.deliver(VIDEO, &kept);
}

fn give(world: &mut World, at: u64, what: What, reports: &mut [Vec<Report>; 2]) {
    world.pass(instant(at));
    note(world, reports);
    match what {
        What::Media(track, packets) => world.deliver(track, &packets),
        What::Report(clocks) => {
            for (track, clock) in clocks.into_iter().enumerate() {
                world.fanout.handle_sender_report(world.now, track, clock, &mut world.sink);
            }
        }
    }
    note(world, reports);
}

fn note(world: &World, reports: &mut [Vec<Report>; 2]) {
    for (track, reports) in reports.iter_mut().enumerate() {
        let Some(got) = world.sink.got.get(track) else { return };
        for report in got.rtcp.iter().skip(reports.len()) {
            let ntp = NtpTime::from_bits(u64::from_be_bytes(report[8..16].try_into().unwrap()));
            let rtp = u32::from_be_bytes(report[16..20].try_into().unwrap());
            reports.push((got.packets.len(), ntp, rtp));
        }
    }
}

impl Played {
    /// By how much a track's latency has grown, from the two seconds before the splice to the last two, in microseconds.
    pub(super) fn growth(&self, track: usize) -> i64 {
        let sent = &self.sent[track];
        let lag = |from: i64, to: i64| {
            let within = sent.iter().filter(|sent| (from..to).contains(&sent.arrival));
            within.map(|packet| packet.arrival - packet.media(track, sent[0].timestamp)).min().unwrap()
        };
        let (over, end) = (self.sources[1].0 as i64, sent.last().unwrap().arrival + 1);
        lag(end - 2_000_000, end) - lag(over - 2_000_000, over)
    }

    /// By how much picture and sound of one moment have moved apart at the worst, for what was captured and came after `from`.
    pub(super) fn lip_sync(&self, from: u64) -> i64 {
        let shift = |track: usize, sent: &Sent| {
            sent.media(track, self.sent[track][0].timestamp) - sent.capture as i64
        };
        let of = |track: usize, new: bool| self.sent[track].iter().filter(move |sent| (sent.of > 0) == new);
        let last = |track: usize| shift(track, of(track, false).next_back().unwrap());
        let old = last(VIDEO) - last(AUDIO);
        let sound: Vec<&Sent> = of(AUDIO, true).collect();
        let pictures = of(VIDEO, true).filter(|sent| sent.capture >= from && sent.arrival >= from as i64);
        let worst = pictures.filter_map(|picture| {
            let end = sound.partition_point(|sent| sent.capture <= picture.capture + SOUND);
            let near = sound[..end].iter().rev().take(3);
            let near = near.filter(|sent| sent.capture.abs_diff(picture.capture) <= SOUND);
            near.map(|sent| (shift(VIDEO, picture) - shift(AUDIO, sent) - old).abs()).min()
        });
        worst.max().unwrap()
    }

    /// Timestamps go up from frame to frame, and all packets of one have the same. Reports tell the truth of the packet before
    /// them, from `from` on.
    pub(super) fn check(&self, from: u64) {
        for track in [VIDEO, AUDIO] {
            let mut shown: Vec<&Sent> = self.sent[track].iter().collect();
            shown.sort_by_key(|sent| (sent.of, sent.capture));
            for pair in shown.windows(2) {
                let step = seq::timestamp_distance(pair[0].timestamp, pair[1].timestamp);
                let same = (pair[0].of, pair[0].capture) == (pair[1].of, pair[1].capture);
                assert!(if same { step == 0 } else { step > 0 }, "{track}: {step} in {pair:?}");
            }
            for &(packets, ntp, rtp) in &self.reports[track] {
                let Some(last) = self.sent[track].get(packets.wrapping_sub(1)) else { continue };
                if last.of == 0 || last.arrival < from as i64 {
                    continue;
                }
                let behind =
                    i64::from(seq::timestamp_distance(last.timestamp, rtp)) * 1_000_000 / RATES[track];
                let moment = Duration::from_micros(behind.unsigned_abs());
                let moment = if behind < 0 { ntp.wrapping_add(moment) } else { ntp.wrapping_sub(moment) };
                let truth = self.sources[last.of].1.wall_clock(last.capture);
                let error = truth.saturating_since(moment).max(moment.saturating_since(truth));
                assert!(error <= Duration::from_millis(1), "{track}: {error:?} after {packets} packets");
            }
        }
    }

    /// Where a track's line moved forward while its source went on, and by how much.
    pub(super) fn jumps(&self, track: usize) -> Vec<(usize, i64)> {
        let pairs = self.sent[track].windows(2).enumerate();
        let pairs = pairs.filter(|(_, pair)| pair[0].of > 0 && pair[0].of == pair[1].of);
        let by = pairs.map(|(index, pair)| {
            let media = i64::from(seq::timestamp_distance(pair[0].timestamp, pair[1].timestamp));
            (index + 1, media * 1_000_000 / RATES[track] - (pair[1].capture as i64 - pair[0].capture as i64))
        });
        by.filter(|(_, by)| *by > 1_000).collect()
    }

    /// Whether readers were told the clock between this packet of a track and the next frame's.
    pub(super) fn is_reported_at(&self, track: usize, packet: usize) -> bool {
        let capture = self.sent[track][packet].capture;
        self.reports[track].iter().any(|(packets, ..)| {
            packets
                .checked_sub(1)
                .is_some_and(|last| last >= packet && self.sent[track][last].capture == capture)
        })
    }
}
