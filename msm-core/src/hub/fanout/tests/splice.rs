//! Another source takes over: readers see one line.

use std::time::Duration;

use super::super::super::testing::*;
use super::super::super::*;
use crate::ntp::NtpTime;
use crate::seq;

/// One source with both tracks: media time runs from `start`, its clocks have their own offsets.
struct Source {
    start_millis: u64,
    video: Publisher,
    audio_sequence: u16,
    audio_timestamp: u32,
    ntp: NtpTime,
}

impl Source {
    fn clocks(&self, millis: u64) -> [SenderClock; 2] {
        let passed = Duration::from_millis(millis - self.start_millis);
        let ntp = self.ntp.wrapping_add(passed);
        let ticks = |rate: u64| ((millis - self.start_millis) * rate / 1000) as u32;
        [
            SenderClock { ntp, rtp: 7_000u32.wrapping_add(ticks(90_000)), arrival: at(millis) },
            SenderClock { ntp, rtp: self.audio_timestamp.wrapping_add(ticks(48_000)), arrival: at(millis) },
        ]
    }

    fn audio(&mut self, millis: u64) -> Vec<u8> {
        let timestamp = self.clocks(millis)[1].rtp;
        self.audio_sequence = self.audio_sequence.wrapping_add(1);
        rtp(97, self.audio_sequence, timestamp, 3, false, b"sound")
    }
}

fn source(start_millis: u64, sequence: u16, audio_timestamp: u32, ntp: u64) -> Source {
    let mut video = Publisher::new(30, Sets::InUnit);
    video.sequence = sequence;
    video.timestamp = 7_000;
    Source {
        start_millis,
        video,
        audio_sequence: sequence.wrapping_mul(3),
        audio_timestamp,
        ntp: NtpTime::from_bits(ntp),
    }
}

/// What a source tells of how its tracks relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clocks {
    Reports,
    RtpInfo,
    None,
}

/// Runs a source over virtual time; `delay` is how much later than its audio its video arrives.
fn run(world: &mut World, source: &mut Source, from: u64, frames: u64, delay: u64, clocks: Clocks) {
    if clocks == Clocks::RtpInfo && from == source.start_millis {
        for (track, clock) in source.clocks(from).into_iter().enumerate() {
            let info = RtpInfo { seq: 0, rtptime: clock.rtp };
            world.fanout.handle_rtp_info(world.now, track, info);
        }
    }
    for frame in 0..frames {
        let millis = from + frame * 100 / 3;
        world.pass(at(millis));
        if clocks == Clocks::Reports && frame % 30 == 0 {
            for (track, clock) in source.clocks(millis).into_iter().enumerate() {
                world.fanout.handle_sender_report(world.now, track, clock, &mut world.sink);
            }
        }
        let packet = source.audio(millis);
        world.deliver(AUDIO, &[packet]);
        world.pass(at(millis + delay));
        let packets = source.video.frame();
        world.deliver(VIDEO, &packets);
    }
}

#[test]
fn sequence_goes_on_and_time_is_the_time_that_passed() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut first = source(0, 60_000, 500, 1 << 40);
    run(&mut world, &mut first, 0, 60, 0, Clocks::None);
    let before = [VIDEO, AUDIO].map(|track| *world.sink.got[track].headers().last().unwrap());
    let counts = [VIDEO, AUDIO].map(|track| world.sink.got[track].packets.len());

    // 3 seconds later, a source with other numbers.
    let resume = 5_000;
    world.pass(at(resume));
    world.fanout.handle_source_changed(world.now, VIDEO);
    world.fanout.handle_source_changed(world.now, AUDIO);
    world.drain();
    assert_eq!(world.keyframes_wanted(), 2);
    let mut second = source(resume, 100, 0xffff_0000, 9 << 40);
    run(&mut world, &mut second, resume, 60, 0, Clocks::None);
    for track in [VIDEO, AUDIO] {
        let got = &world.sink.got[track];
        got.assert_unbroken();
        let (rate, after) = ([90_000u64, 48_000][track], got.headers()[counts[track]]);
        let passed = resume - 59 * 100 / 3;
        let expected = (passed * rate / 1000) as i32;
        let actual = seq::timestamp_distance(before[track].timestamp, after.timestamp);
        assert!((actual - expected).unsigned_abs() * 1000 / (rate as u32) <= 1, "{actual} {expected}");
        // Audio says that playout may be adjusted; video starts with a keyframe's access unit.
        assert_eq!(after.marker, track == AUDIO);
    }
    assert_eq!(kept(&world.sink.got[VIDEO].packets[counts[VIDEO]]).1[0], 0x67);
}

fn run_audio(world: &mut World, source: &mut Source, from: u64, packets: u64, clocks: Clocks) {
    if clocks == Clocks::RtpInfo {
        for (track, clock) in source.clocks(from).into_iter().enumerate() {
            world.fanout.handle_rtp_info(world.now, track, RtpInfo { seq: 0, rtptime: clock.rtp });
        }
    }
    if clocks == Clocks::Reports {
        for (track, clock) in source.clocks(from).into_iter().enumerate() {
            world.fanout.handle_sender_report(world.now, track, clock, &mut world.sink);
        }
    }
    for packet in 0..packets {
        let millis = from + packet * 100 / 3;
        world.pass(at(millis));
        let packet = source.audio(millis);
        world.deliver(AUDIO, &[packet]);
    }
}

/// The reader's timestamps of both tracks for the same moment of capture, before and after a splice.
fn lip_sync_shift_micros(clocks: Clocks) -> i64 {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut first = source(0, 60_000, 500, 1 << 40);
    // Video arrives 30 ms after the audio of the same moment; the next source's 5 ms after.
    run(&mut world, &mut first, 0, 60, 30, clocks);
    let old = [VIDEO, AUDIO].map(|track| world.sink.got[track].headers()[0].timestamp);
    let counts = [VIDEO, AUDIO].map(|track| world.sink.got[track].packets.len());
    let resume = 5_000;
    world.pass(at(resume));
    world.fanout.handle_source_changed(world.now, VIDEO);
    world.fanout.handle_source_changed(world.now, AUDIO);
    let mut second = source(resume, 100, 0xffff_0000, 9 << 40);
    // Its first video is 300 ms later than its first audio.
    run_audio(&mut world, &mut second, resume, 9, clocks);
    second.video.timestamp += 27_000;
    run(&mut world, &mut second, resume + 300, 60, 5, clocks);
    let new = [VIDEO, AUDIO].map(|track| world.sink.got[track].headers()[counts[track]].timestamp);
    // Both first packets of the old source are of one moment.
    let micros = |track: usize, rate: i64| {
        i64::from(seq::timestamp_distance(old[track], new[track])) * 1_000_000 / rate
    };
    let shift = micros(VIDEO, 90_000) - 300_000 - micros(AUDIO, 48_000);
    assert!((micros(AUDIO, 48_000) - 5_000_000).abs() < 50_000);
    shift
}

#[test]
fn tracks_stay_in_sync_although_they_arrive_apart() {
    for clocks in [Clocks::Reports, Clocks::RtpInfo] {
        let shift = lip_sync_shift_micros(clocks);
        assert!(shift.abs() <= 1_000, "{clocks:?}: lip-sync moved by {shift} µs");
    }
    // Without any clock it moves by as much as the arrival of the tracks does: from 30 ms apart to 5 ms.
    let shift = lip_sync_shift_micros(Clocks::None);
    assert!((shift.abs() - 25_000).abs() <= 2_000, "lip-sync moved by {shift} µs");
}

#[test]
fn reports_after_the_splice_tell_the_new_sources_clock() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut first = source(0, 60_000, 500, 1 << 40);
    run(&mut world, &mut first, 0, 30, 0, Clocks::Reports);
    world.fanout.handle_source_changed(world.now, AUDIO);
    let reports = world.sink.got[AUDIO].rtcp.len();
    world.pass(at(30_000));
    assert_eq!(world.sink.got[AUDIO].rtcp.len(), reports, "none while the new source's clock is unknown");
    let mut second = source(30_000, 7, 123, 5 << 40);
    run(&mut world, &mut second, 30_000, 40, 0, Clocks::Reports);
    let header = *world.sink.got[AUDIO].headers().last().unwrap();
    let last = world.sink.got[AUDIO].rtcp.last().unwrap();
    let ntp = NtpTime::from_bits(u64::from_be_bytes(last[8..16].try_into().unwrap()));
    let rtp = u32::from_be_bytes(last[16..20].try_into().unwrap());
    // The last packet's capture time by that report is what the source's own clock says.
    let ahead = seq::timestamp_distance(rtp, header.timestamp);
    let passed = Duration::from_millis(39 * 100 / 3);
    let truth = NtpTime::from_bits(5 << 40).wrapping_add(passed);
    let by_report = ntp.wrapping_add(Duration::from_micros(ahead as u64 * 1_000_000 / 48_000));
    let error = truth.saturating_since(by_report).max(by_report.saturating_since(truth));
    assert!(error < Duration::from_millis(1), "{error:?}");
}

#[test]
fn rtp_info_is_of_one_moment_although_tracks_arrive_apart() {
    for clocks in [Clocks::Reports, Clocks::RtpInfo] {
        let mut world = World::new(FanoutConfig::default());
        let mut only = source(0, 60_000, 500, 1 << 40);
        run(&mut world, &mut only, 0, 50, 60, clocks);
        let id = world.join(0, true);
        let infos = world.play(id);
        // The keyframe at frame 30 was captured 1 s after the start; audio started with 500.
        let audio = world.fanout.map_rtp_info(id, AUDIO, RtpInfo { seq: 0, rtptime: 500 + 48_000 }).unwrap();
        let apart = seq::timestamp_distance(audio.rtptime, infos[AUDIO].1.unwrap().rtptime);
        assert!(apart.abs() <= 48, "{clocks:?}: {apart} ticks");
        assert!(infos[VIDEO].1.is_some());
    }
}

#[test]
fn another_source_of_the_same_packets_goes_on_unseen() {
    use crate::hub::twin::Offset;
    // At once, and while the first one has not settled after a splice of its own.
    for spliced in [false, true] {
        let mut world = World::new(FanoutConfig::default());
        let id = world.join(0, true);
        let mut first = source(0, 500, 9_000, 1 << 40);
        world.play(id);
        run(&mut world, &mut first, 0, 60, 0, Clocks::Reports);
        let mut millis = 2_000;
        if spliced {
            for track in [VIDEO, AUDIO] {
                world.fanout.handle_source_changed(world.now, track);
            }
            first = source(millis, 40_000, 70_000, 2 << 40);
            run(&mut world, &mut first, millis, 45, 0, Clocks::Reports);
            millis += 1_500;
        }
        let by = Offset { sequence: 0u16.wrapping_sub(30_000), timestamp: 0u32.wrapping_sub(5_000_000) };
        for track in [VIDEO, AUDIO] {
            world.fanout.renumber(track, by);
        }
        // The same source, in other numbers.
        let shifted = |packet: &Vec<u8>| {
            let header = crate::rtp::Header::parse(packet).unwrap();
            let mut packet = packet.clone();
            let (sequence, timestamp) =
                (header.sequence.wrapping_add(30_000), header.timestamp.wrapping_add(5_000_000));
            crate::rtp::patch_header(&mut packet, header.marker_pt(), sequence, timestamp, 99);
            packet
        };
        let before = world.sink.got[0].packets.len();
        let reports = world.sink.got[0].rtcp.len();
        for frame in 0..300 {
            let now = millis + frame * 100 / 3;
            world.pass(at(now));
            let sound = shifted(&first.audio(now));
            world.deliver(AUDIO, &[sound]);
            let picture: Vec<_> = first.video.frame().iter().map(shifted).collect();
            world.deliver(VIDEO, &picture);
        }
        world.sink.got[0].assert_unbroken();
        let headers = world.sink.got[0].headers();
        let ours: Vec<_> = headers[before - 1..].iter().map(|header| header.timestamp).collect();
        for pair in ours.windows(2) {
            let step = seq::timestamp_distance(pair[0], pair[1]);
            assert!([0, 3_000].contains(&step), "spliced {spliced}: {step}");
        }
        // Reports go on relating the same clocks.
        let word = |report: &Vec<u8>, at: usize| u32::from_be_bytes(report[at..at + 4].try_into().unwrap());
        let seconds =
            |report: &Vec<u8>| f64::from(word(report, 8)) + f64::from(word(report, 12)) / 2f64.powi(32);
        let rtcp = &world.sink.got[0].rtcp;
        assert!(rtcp.len() > reports, "it has reported since");
        let (one, two) = (&rtcp[reports - 1], rtcp.last().unwrap());
        let passed = (seconds(two) - seconds(one)) * 90_000.0;
        let ticks = f64::from(word(two, 16).wrapping_sub(word(one, 16)));
        assert!((passed - ticks).abs() < 2.0, "spliced {spliced}: {passed} and {ticks}");
    }
}
