//! A reader goes from one stream to another.

use std::time::Duration;

use super::super::super::testing::*;
use super::super::super::*;
use crate::ntp::NtpTime;
use crate::seq;

/// One stream: video and audio, captured by one clock.
struct Stream {
    world: World,
    video: Publisher,
    audio: (u16, u32),
    /// How much later than its audio its video arrives.
    delay: u64,
    ntp: NtpTime,
}

impl Stream {
    fn new(sequence: u16, audio: u32, delay: u64, ntp: u64) -> Self {
        let mut video = Publisher::new(30, Sets::InUnit);
        video.sequence = sequence;
        video.timestamp = audio.wrapping_mul(7);
        let (world, ntp) = (World::new(FanoutConfig::default()), NtpTime::from_bits(ntp));
        Stream { world, video, audio: (sequence.wrapping_mul(5), audio), delay, ntp }
    }

    /// Frames from `from` milliseconds to `to`; each is captured when its audio comes.
    fn run(&mut self, from: u64, to: u64) {
        for frame in from * 3 / 100..to * 3 / 100 {
            let millis = frame * 100 / 3;
            self.world.pass(at(millis));
            let ntp = self.ntp.wrapping_add(Duration::from_millis(millis));
            if frame.is_multiple_of(15) {
                for (track, rtp) in [(VIDEO, self.video.timestamp), (AUDIO, self.audio.1)] {
                    let clock = SenderClock { ntp, rtp, arrival: self.world.now };
                    self.world.fanout.handle_sender_report(
                        self.world.now,
                        track,
                        clock,
                        &mut self.world.sink,
                    );
                }
            }
            let packet = rtp(97, self.audio.0, self.audio.1, 3, false, b"sound");
            self.audio = (self.audio.0.wrapping_add(1), self.audio.1.wrapping_add(1600));
            self.world.deliver(AUDIO, &[packet]);
            self.world.pass(at(millis + self.delay));
            let packets = self.video.frame();
            self.world.deliver(VIDEO, &packets);
        }
    }
}

/// The reader's lines before and after, of a move at a keyframe of the second stream.
fn moved(old_delay: u64, new_delay: u64) -> ([Got; 2], [usize; 2], [u32; 2]) {
    let mut old = Stream::new(65_000, 99_000, old_delay, 1 << 40);
    let mut new = Stream::new(7, 0xffff_f000, new_delay, 9 << 40);
    let id = old.world.join(0, true);
    old.world.play(id);
    old.run(0, 5_000);
    new.run(0, 5_000);
    // The next frame of the new stream is a keyframe.
    new.run(5_000, 5_034);
    let now = new.world.now.max(old.world.now);
    (old.world.now, new.world.now) = (now, now);
    let ends = old.world.fanout.line_ends(now, id).unwrap();
    assert_eq!(ends.len(), 2);
    assert!(old.world.fanout.remove(id).is_some());
    let counts = [VIDEO, AUDIO].map(|track| old.world.sink.got[track].packets.len());
    let there = new.world.join(0, true);
    new.world.fanout.go_on(now, there, &ends).unwrap();
    new.world.play(there);
    new.world.pass(now + Duration::from_millis(1));
    new.run(5_034, 7_000);
    let reports = [VIDEO, AUDIO].map(|track| {
        let report = new.world.sink.got[track].rtcp.first().unwrap();
        u32::from_be_bytes(report[20..24].try_into().unwrap())
    });
    let got = [VIDEO, AUDIO].map(|track| {
        let mut got = old.world.sink.got[track].clone();
        got.packets.extend(new.world.sink.got[track].packets.clone());
        got
    });
    (got, counts, reports)
}

#[test]
fn numbers_go_on_and_time_is_the_time_that_passed() {
    let (got, counts, reports) = moved(0, 0);
    for track in [VIDEO, AUDIO] {
        let (got, count, rate) = (&got[track], counts[track], [90_000.0, 48_000.0][track]);
        got.assert_unbroken();
        let headers = got.headers();
        assert!(headers.len() > count + 50);
        assert!(headers.iter().all(|header| header.ssrc == ssrc_of(0, track)));
        let (last, first) = (headers[count - 1], headers[count]);
        let step = f64::from(seq::timestamp_distance(last.timestamp, first.timestamp)) / rate;
        assert!(step > 0.0 && step <= 0.070, "track {track}: {step} s from the last to the first");
        for pair in headers.windows(2) {
            assert!(seq::timestamp_distance(pair[0].timestamp, pair[1].timestamp) >= 0);
        }
        // Reports go on counting.
        assert!(reports[track] as usize >= count, "{} after {count}", reports[track]);
    }
    assert_eq!(kept(&got[VIDEO].packets[counts[VIDEO]]).1[0], 0x67, "it begins with a keyframe");
}

#[test]
fn tracks_stay_in_sync_although_they_arrive_apart_otherwise_than_before() {
    for (before, after) in [(0, 0), (30, 5), (5, 30), (20, 0)] {
        let (got, counts, _) = moved(before, after);
        let of = |track: usize, at: usize| got[track].headers()[at].timestamp;
        // In the old stream the first packets of both tracks that a reader gets are of one moment of capture.
        let old = [of(VIDEO, 0), of(AUDIO, 0)];
        // In the new one the keyframe is that of 5 s; the first audio packet follows it by one or two.
        let micros = |track: usize, rate: i64| {
            i64::from(seq::timestamp_distance(old[track], of(track, counts[track]))) * 1_000_000 / rate
        };
        let apart = micros(AUDIO, 48_000) - micros(VIDEO, 90_000);
        let frames = (apart as f64 / 33_333.0).round();
        let shift = apart as f64 - frames * 33_333.3;
        assert!(shift.abs() <= 2_000.0, "{before} {after}: {shift} µs off, {frames} frames apart");
        assert!((0.0..=2.0).contains(&frames), "{before} {after}: {frames} frames apart");
    }
}

#[test]
fn unknown_readers_are_refused() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    assert_eq!(world.fanout.line_ends(at(0), id), Ok(Vec::new()), "it has got nothing");
    assert!(world.fanout.go_on(at(0), id, &[]).is_ok());
    world.fanout.remove(id);
    assert!(world.fanout.line_ends(at(0), id).is_err());
    assert!(world.fanout.go_on(at(0), id, &[]).is_err());
}
