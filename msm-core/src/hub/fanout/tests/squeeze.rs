//! A new source that begins with what it has kept: its old frames are squeezed, and nothing is late for good.

use std::time::{Duration, Instant};

use super::super::super::testing::*;
use super::super::super::*;
use crate::ntp::NtpTime;
use crate::seq;

const FRAME: u64 = 40;

/// A source of 25 frames a second whose media time is wall time: a keyframe each second.
struct Source {
    video: Publisher,
    audio: u16,
    /// Added to media time.
    offset: u32,
    ntp: NtpTime,
    next: u64,
}

impl Source {
    /// Its first frame is a keyframe of the moment `start`.
    fn new(start: u64, offset: u32) -> Self {
        let mut video = Publisher::new(25, Sets::InUnit);
        video.sequence = offset as u16;
        Source { video, audio: offset as u16, offset, ntp: NtpTime::from_bits(7 << 40), next: start }
    }

    fn timestamp(&self, millis: u64, rate: u64) -> u32 {
        self.offset.wrapping_add((millis * rate / 1000) as u32)
    }

    fn report(&self, world: &mut World, millis: u64) {
        let ntp = self.ntp.wrapping_add(Duration::from_millis(millis));
        for (track, rate) in [(VIDEO, 90_000), (AUDIO, 48_000)] {
            let clock = SenderClock { ntp, rtp: self.timestamp(millis, rate), arrival: world.now };
            world.fanout.handle_sender_report(world.now, track, clock, &mut world.sink);
        }
    }

    /// The frames up to the moment `until` come now, in one go.
    fn burst(&mut self, world: &mut World, until: u64, audio: bool) {
        while self.next <= until {
            self.video.timestamp = self.timestamp(self.next, 90_000);
            let packets = self.video.frame();
            world.deliver(VIDEO, &packets);
            if audio {
                self.sound(world, self.next);
            }
            self.next += FRAME;
        }
    }

    fn sound(&mut self, world: &mut World, millis: u64) {
        self.audio = self.audio.wrapping_add(1);
        let packet = rtp(97, self.audio, self.timestamp(millis, 48_000), 9, false, b"sound");
        world.deliver(AUDIO, &[packet]);
    }

    /// Comes live until the moment `until`; video so much later than its audio.
    fn live(&mut self, world: &mut World, until: u64, delay: u64) {
        while self.next <= until {
            world.pass(at(self.next));
            self.sound(world, self.next);
            world.pass(at(self.next + delay));
            let frame = self.next;
            self.burst(world, frame, false);
        }
    }
}

fn splice(world: &mut World, millis: u64) {
    world.pass(at(millis));
    for track in [VIDEO, AUDIO] {
        world.fanout.handle_source_changed(world.now, track);
    }
    world.drain();
}

/// How far a packet's timestamp is ahead of its arrival, in microseconds from an origin that is the same for all of a track.
fn ahead(track: usize, packet: &[u8], time: Instant, origin: u32) -> i64 {
    let rate = [90_000, 48_000][track];
    let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
    let media = i64::from(seq::timestamp_distance(origin, timestamp)) * 1_000_000 / rate;
    media - time.duration_since(at(0)).as_micros() as i64
}

/// Latency at the last packet of both tracks, by timestamps, against that at the splice.
struct Watch {
    counts: [usize; 2],
    before: [i64; 2],
    origins: [u32; 2],
}

impl Watch {
    fn new(world: &World) -> Self {
        let origins = [VIDEO, AUDIO].map(|track| world.sink.got[track].headers()[0].timestamp);
        let counts = [VIDEO, AUDIO].map(|track| world.sink.got[track].packets.len());
        let before = [VIDEO, AUDIO].map(|track| Self::last(world, track, origins[track]));
        Watch { counts, before, origins }
    }

    fn last(world: &World, track: usize, origin: u32) -> i64 {
        let got = &world.sink.got[track];
        ahead(track, got.packets.last().unwrap(), *got.times.last().unwrap(), origin)
    }

    fn grown(&self, world: &World) -> [i64; 2] {
        [VIDEO, AUDIO].map(|track| Self::last(world, track, self.origins[track]) - self.before[track])
    }

    /// One line: numbers without a gap, timestamps that go up from frame to frame.
    fn check(&self, world: &World) {
        for track in [VIDEO, AUDIO] {
            let got = &world.sink.got[track];
            got.assert_unbroken();
            let headers = got.headers();
            for pair in headers[self.counts[track].saturating_sub(1)..].windows(2) {
                let step = seq::timestamp_distance(pair[0].timestamp, pair[1].timestamp);
                assert!(step > 0 || (track == VIDEO && step == 0 && !pair[0].marker), "{track}: {pair:?}");
            }
        }
    }
}

/// Who has played the first source until `until`.
fn playing(until: u64) -> World {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut first = Source::new(0, 1_000_000);
    first.report(&mut world, 0);
    first.live(&mut world, until, 0);
    world
}

#[test]
fn a_burst_of_old_frames_makes_nobody_late() {
    // Whatever the gap, whether the sound is of then too, and whether and when the source's clocks are known.
    for gap in [1, 60, 500, 3_000] {
        for (audio, report) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut world = playing(3_000);
            let watch = Watch::new(&world);
            let now = 3_000 + gap;
            splice(&mut world, now);
            let mut second = Source::new(now - 960, 4_000_000_000);
            if report {
                second.report(&mut world, now);
            }
            second.burst(&mut world, now, audio);
            second.live(&mut world, now + 900, 0);
            second.report(&mut world, now + 900);
            second.live(&mut world, now + 2_000, 0);
            watch.check(&world);
            let grown = watch.grown(&world);
            let case = format!("gap {gap}, audio {audio}, report {report}: {grown:?}");
            assert!(grown.iter().all(|grown| grown.abs() <= 20_000), "{case}");
            assert!((grown[0] - grown[1]).abs() <= 2_000, "{case}");
        }
    }
}

#[test]
fn a_burst_that_comes_at_four_times_the_speed_makes_nobody_late() {
    let mut world = playing(3_000);
    let watch = Watch::new(&world);
    splice(&mut world, 3_300);
    let mut second = Source::new(2_320, 77);
    while second.next < world.now.duration_since(at(0)).as_millis() as u64 {
        let next = second.next;
        second.burst(&mut world, next, true);
        let now = world.now + Duration::from_millis(FRAME / 4);
        world.pass(now);
    }
    second.live(&mut world, 5_800, 0);
    watch.check(&world);
    let grown = watch.grown(&world);
    assert!(grown.iter().all(|grown| grown.abs() <= 20_000), "{grown:?}");
}

#[test]
fn frames_that_are_shown_before_others_keep_their_order() {
    let mut world = playing(3_000);
    splice(&mut world, 3_200);
    // One that is shown later comes first; the keyframe a second before.
    let order = [0u64, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11];
    let mut sent = Vec::new();
    for (number, frame) in order.into_iter().enumerate() {
        let (key, timestamp) = (number == 0, 500 + frame as u32 * 3_600);
        let payload = if key { [0x65, 0x88, 0] } else { [0x41, 0x9a, 0] };
        let count = world.sink.got[VIDEO].packets.len();
        world.deliver(VIDEO, &[rtp(96, 900 + number as u16, timestamp, 8, true, &payload)]);
        let now = world.now + Duration::from_millis(10);
        world.pass(now);
        let got = world.sink.got[VIDEO].headers();
        assert_eq!(got.len(), count + 1);
        sent.push((timestamp, got[count].timestamp));
    }
    sent.sort_by_key(|(media, _)| *media);
    for pair in sent.windows(2) {
        assert!(seq::timestamp_newer(pair[1].1, pair[0].1), "{sent:?}");
    }
}

#[test]
fn what_waited_in_standby_is_squeezed_into_the_gap() {
    for gap in [60, 400, 2_000] {
        let mut world = playing(3_000);
        let watch = Watch::new(&world);
        // The other source has come all the time, to a fan-out of its own.
        let mut standby = World::new(FanoutConfig::default());
        let mut second = Source::new(2_400, 99);
        second.report(&mut standby, 2_400);
        second.live(&mut standby, 3_000 + gap, 0);
        let now = 3_000 + gap;
        splice(&mut world, now);
        standby.pass(at(now));
        let kept: Vec<Vec<u8>> = standby.fanout.since_keyframe(VIDEO).map(<[u8]>::to_vec).collect();
        assert!(kept.len() > 3);
        for track in [VIDEO, AUDIO] {
            world.fanout.expect(track, standby.fanout.live(world.now, track).unwrap());
            let clock = standby.fanout.clock(track).unwrap();
            world.fanout.handle_sender_report(world.now, track, clock, &mut world.sink);
        }
        world.deliver(VIDEO, &kept);
        second.live(&mut world, now + 2_000, 0);
        watch.check(&world);
        let first = &world.sink.got[VIDEO].times[watch.counts[VIDEO]];
        assert_eq!(*first, at(now), "at once, with the keyframe that was kept");
        let grown = watch.grown(&world);
        assert!(grown.iter().all(|grown| grown.abs() <= 1_000), "gap {gap}: {grown:?}");
        // The oldest of them are of before the gap: they are right behind what was sent, and no frame is ahead of its time.
        let got = &world.sink.got[VIDEO];
        for (packet, time) in got.packets.iter().zip(&got.times).skip(watch.counts[VIDEO]) {
            let early = ahead(VIDEO, packet, *time, watch.origins[VIDEO]) - watch.before[VIDEO];
            assert!(early <= 1_000, "gap {gap}: {early}");
        }
    }
}

#[test]
fn tracks_are_in_sync_again_once_the_new_source_reports() {
    // Video comes 90 ms after its sound, then 10 ms: only the clocks tell.
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut first = Source::new(0, 5_000);
    first.report(&mut world, 0);
    first.live(&mut world, 3_000, 90);
    let old = [VIDEO, AUDIO].map(|track| world.sink.got[track].headers()[0].timestamp);
    splice(&mut world, 3_500);
    let mut second = Source::new(3_520, 1 << 30);
    second.live(&mut world, 4_500, 10);
    second.report(&mut world, 4_500);
    second.live(&mut world, 6_000, 10);
    let micros = [(VIDEO, 90_000), (AUDIO, 48_000)].map(|(track, rate)| {
        let last = world.sink.got[track].headers().last().unwrap().timestamp;
        i64::from(seq::timestamp_distance(old[track], last)) * 1_000_000 / rate
    });
    assert!((micros[0] - micros[1]).abs() <= 1_000, "{micros:?}");
    for track in [VIDEO, AUDIO] {
        world.sink.got[track].assert_unbroken();
    }
}

#[test]
fn parameter_sets_of_the_description_come_before_the_keyframe() {
    let (sps, pps): (&[u8], &[u8]) = (&[0x67, 1, 2, 3], &[0x68, 9]);
    for own in [Sets::Never, Sets::InUnit] {
        let mut world = playing(1_000);
        let count = world.sink.got[VIDEO].packets.len();
        splice(&mut world, 1_200);
        world.fanout.set_parameter_sets(VIDEO, 96, [sps, pps]);
        let mut second = Source::new(1_200, 5);
        second.video.sets = own;
        second.live(&mut world, 1_400, 0);
        let got = &world.sink.got[VIDEO];
        got.assert_unbroken();
        let first: Vec<_> =
            got.packets[count..count + 3].iter().map(|packet| packet[12..].to_vec()).collect();
        let headers = &got.headers()[count..count + 3];
        assert!(headers.iter().all(|header| header.timestamp == headers[0].timestamp && !header.marker));
        if own == Sets::Never {
            assert_eq!((&*first[0], &*first[1], first[2][0]), (sps, pps, 0x7c));
        } else {
            assert_eq!((first[0][0], first[1][0], first[2][0]), (0x67, 0x68, 0x7c));
            assert_ne!(first[0], sps, "the source's own");
        }
    }
}
