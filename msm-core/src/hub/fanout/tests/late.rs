//! Readers that join late: from the last keyframe on, in one unbroken line.

use std::time::Duration;

use proptest::prelude::*;

use super::super::super::testing::*;
use super::super::super::*;
use crate::rtp::Header;

/// The payloads of what a reader got must be those of the stream from a keyframe's access unit on, each once.
fn assert_starts_at_keyframe(got: &Got, stream: &[Vec<u8>], sets: Sets) {
    got.assert_unbroken();
    let payload = |packet: &[u8]| kept(packet).1.to_vec();
    let mut packets = got.packets.as_slice();
    if sets == Sets::Apart {
        // Parameter sets with a timestamp of their own come first, with the keyframe's timestamp.
        assert_eq!(payload(&packets[0])[0], 0x67);
        assert_eq!(payload(&packets[1])[0], 0x68);
        let stamp = |n: usize| Header::parse(&packets[n]).unwrap().timestamp;
        assert_eq!((stamp(0), stamp(1)), (stamp(2), stamp(2)));
        packets = &packets[2..];
    }
    let first = payload(&packets[0]);
    match sets {
        Sets::InUnit => assert_eq!(first[0], 0x67),
        Sets::Aggregated => assert_eq!(first[0], 0x78),
        Sets::Apart | Sets::Never => assert_eq!(first[..2], [0x7c, 0x85]),
    }
    // What follows is the stream to its end.
    let tail = &stream[stream.len() - packets.len()..];
    let offset = Header::parse(&packets[0])
        .unwrap()
        .timestamp
        .wrapping_sub(Header::parse(&tail[0]).unwrap().timestamp);
    for (index, (sent, packet)) in packets.iter().zip(tail).enumerate() {
        assert_eq!(kept(sent), kept(packet), "packet {index}");
        let (sent, packet) = (Header::parse(sent).unwrap(), Header::parse(packet).unwrap());
        assert_eq!(sent.timestamp, packet.timestamp.wrapping_add(offset), "packet {index}");
        assert_eq!((sent.marker, sent.payload_type), (packet.marker, 96), "packet {index}");
    }
}

fn sets() -> impl Strategy<Value = Sets> {
    prop_oneof![Just(Sets::InUnit), Just(Sets::Aggregated), Just(Sets::Apart), Just(Sets::Never)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Readers join between any two packets, whatever the shape of the stream and however fast it is.
    #[test]
    fn a_reader_joins_at_any_moment(
        joins in proptest::collection::vec(0usize..400, 1..6),
        gop in 1u32..40,
        fragments in 1usize..6,
        sets in sets(),
        size in 40usize..1_300,
        millis in 1u64..40,
        slice in 1usize..20,
        bitrate in 200_000u64..5_000_000,
        whole: bool,
        history: bool,
    ) {
        let config = FanoutConfig {
            catch_up_min_bitrate: bitrate,
            catch_up_slice: slice,
            ..FanoutConfig::default()
        };
        let mut world = World::new(config);
        if history {
            // Kept beside what late readers need, and nothing to them.
            let id = world.join(20, true);
            let keep = History { age: Duration::from_millis(50), answers: true, at_once: true };
            world.fanout.set_history(world.now, id, VIDEO, Some(keep)).unwrap();
        }
        let mut publisher = Publisher::new(gop, sets);
        publisher.fragments = fragments;
        publisher.size = size;
        let mut stream: Vec<Vec<u8>> = Vec::new();
        let mut frames = 0;
        let mut infos = vec![None; joins.len()];
        // Until all have joined, a keyframe came after the last of them, and a while longer.
        let end = joins.iter().max().unwrap() + 1 + gop as usize * fragments;
        while stream.len() < end + 60 {
            world.pass(at(1_000 + frames * millis));
            frames += 1;
            let frame = publisher.frame();
            for burst in frame.chunks(if whole { frame.len() } else { 1 }) {
                let next = stream.len()..stream.len() + burst.len();
                for (n, _) in joins.iter().enumerate().filter(|(_, join)| next.contains(join)) {
                    let id = world.join(n, true);
                    infos[n] = world.play(id)[VIDEO].1;
                }
                world.deliver(VIDEO, burst);
                stream.extend_from_slice(burst);
            }
        }
        world.pass(at(200_000));
        for (n, info) in infos.into_iter().enumerate() {
            let got = &world.sink.got[2 * n + VIDEO];
            assert_starts_at_keyframe(got, &stream, sets);
            let first = got.headers()[0];
            if let Some(info) = info {
                prop_assert_eq!(info, RtpInfo { seq: first.sequence, rtptime: first.timestamp });
            }
        }
        prop_assert_eq!(world.fanout.counters().catch_up_overflow, 0);
        prop_assert_eq!(world.fanout.counters().reader_queue, 0);
    }

    /// With a cache that is too small nobody gets a broken line either.
    #[test]
    fn a_small_cache_makes_no_gap(
        join in 0usize..200,
        limit in 1_000usize..60_000,
        bitrate in 50_000u64..500_000,
        gop in 2u32..40,
    ) {
        let config = FanoutConfig {
            cache_bytes: limit,
            catch_up_min_bitrate: bitrate,
            catch_up_factor: 1,
            ..FanoutConfig::default()
        };
        let mut world = World::new(config);
        let mut publisher = Publisher::new(gop, Sets::InUnit);
        let mut count = 0;
        for frame in 0..300u64 {
            world.pass(at(1_000 + frame * 33));
            for packet in publisher.frame() {
                if count == join {
                    let id = world.join(0, true);
                    world.play(id);
                }
                world.deliver(VIDEO, &[packet]);
                count += 1;
            }
        }
        world.pass(at(100_000));
        let got = &world.sink.got[VIDEO];
        got.assert_unbroken();
        prop_assert_eq!(kept(&got.packets[0]).1[0], 0x67);
    }
}

#[test]
fn what_is_cached_comes_paced_and_rtp_info_is_right() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(300, Sets::InUnit);
    publisher.fragments = 4;
    publisher.size = 1_200;
    let mut stream = Vec::new();
    for frame in 0..90u64 {
        world.pass(at(1_000 + frame * 100 / 3));
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        stream.extend(packets);
        world.deliver(AUDIO, &[rtp(97, frame as u16, 50_000 + frame as u32 * 1_600, 2, false, b"sound")]);
    }
    let id = world.join(0, true);
    let start = world.now;
    let infos = world.play(id);
    assert!(world.sink.got[VIDEO].packets.is_empty(), "the answer goes first");
    world.pass(start + Duration::from_secs(1));
    let got = &world.sink.got[VIDEO];
    assert_starts_at_keyframe(got, &stream, Sets::InUnit);
    assert_eq!(got.packets.len(), stream.len());
    // 90 frames of 4.2 kB at 20 Mbit/s take 0.15 s, in slices of at most 16 packets.
    let last = got.times.last().unwrap().duration_since(start);
    assert!((Duration::from_millis(110)..Duration::from_millis(180)).contains(&last), "{last:?}");
    for time in &got.times {
        assert!(got.times.iter().filter(|other| *other == time).count() <= 16);
    }
    // The first packet, as announced; and audio's timestamp of the same moment, 89 frames earlier.
    let first = got.headers()[0];
    assert_eq!(infos[VIDEO].1, Some(RtpInfo { seq: first.sequence, rtptime: first.timestamp }));
    world.deliver(AUDIO, &[rtp(97, 90, 50_000 + 90 * 1_600, 2, false, b"sound")]);
    let audio = world.sink.got[AUDIO].headers()[0];
    let info = infos[AUDIO].1.unwrap();
    assert_eq!(info.seq, audio.sequence);
    assert_eq!(
        audio.timestamp.wrapping_sub(info.rtptime).abs_diff(90 * 1_600) / 96,
        0,
        "within two milliseconds"
    );
}

#[test]
fn without_a_cached_keyframe_one_is_asked_for() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(50, Sets::InUnit);
    // The stream is joined in the middle of a GOP.
    for _ in 0..10 {
        publisher.frame();
    }
    let id = world.join(0, true);
    assert_eq!(world.play(id), [(VIDEO, None), (AUDIO, None)]);
    assert_eq!(world.keyframes_wanted(), 1);
    for frame in 0..30u64 {
        world.pass(at(33 * frame));
        world.deliver(VIDEO, &publisher.frame());
    }
    assert_eq!(world.keyframes_wanted(), 1, "not again within a second");
    assert!(world.sink.got[VIDEO].packets.is_empty());
    assert_eq!(world.fanout.counters().awaiting_keyframe, 90);
    world.pass(at(1_400));
    assert_eq!(world.keyframes_wanted(), 2, "then it is repeated");
    for _ in 0..20 {
        world.deliver(VIDEO, &publisher.frame());
    }
    let got = &world.sink.got[VIDEO];
    assert_eq!(kept(&got.packets[0]).1[0], 0x67);
    got.assert_unbroken();
    world.pass(at(9_000));
    assert_eq!(world.keyframes_wanted(), 2, "no more once it is there");
}

#[test]
fn without_any_keyframe_readers_start_after_a_while() {
    let mut world =
        World::new(FanoutConfig { keyframe_wait: Duration::from_secs(3), ..FanoutConfig::default() });
    let mut publisher = Publisher::new(u32::MAX, Sets::Never);
    publisher.frame();
    let id = world.join(0, true);
    world.play(id);
    for frame in 0..120u64 {
        world.pass(at(33 * frame));
        world.deliver(VIDEO, &publisher.frame());
    }
    let got = &world.sink.got[VIDEO];
    assert!((70..100).contains(&got.packets.len()), "{}", got.packets.len());
    got.assert_unbroken();
    assert_eq!(world.fanout.counters().keyframe_timeout, 1);
}

#[test]
fn a_reader_of_its_own_session_gets_everything() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(50, Sets::InUnit);
    publisher.frame();
    let id = world.join(0, false);
    world.play(id);
    let packets = publisher.frame();
    let header = Header::parse(&packets[0]).unwrap();
    let upstream = RtpInfo { seq: header.sequence, rtptime: header.timestamp };
    let mapped = world.fanout.map_rtp_info(id, VIDEO, upstream).unwrap();
    world.deliver(VIDEO, &packets);
    let got = &world.sink.got[VIDEO];
    assert_eq!(got.packets.len(), 3, "no keyframe needed");
    let first = got.headers()[0];
    assert_eq!(mapped, RtpInfo { seq: first.sequence, rtptime: first.timestamp });
    // A seek keeps the mapping.
    world.fanout.flush(world.now);
    publisher.sequence = 1234;
    publisher.timestamp = 99;
    let mapped = world.fanout.map_rtp_info(id, VIDEO, RtpInfo { seq: 1234, rtptime: 99 }).unwrap();
    world.deliver(VIDEO, &publisher.frame());
    let first = world.sink.got[VIDEO].headers()[3];
    assert_eq!(mapped, RtpInfo { seq: first.sequence, rtptime: first.timestamp });
}

/// A server that begins its numbers anew with a seek gives a reader none twice: SRTP would not send it.
#[test]
fn a_reader_of_its_own_session_gets_no_number_twice() {
    for (seed, again) in [(40_000, 100), (100, 60_000), (65_000, 64_000), (9, 30_000)] {
        let mut world = World::new(FanoutConfig::default());
        let mut publisher = Publisher::new(50, Sets::InUnit);
        publisher.sequence = seed;
        let id = world.join(0, false);
        let mut seen = std::collections::BTreeSet::new();
        for (round, begin) in [Some(seed), Some(again), None].into_iter().enumerate() {
            world.play(id);
            publisher.sequence = begin.unwrap_or(publisher.sequence);
            let info = RtpInfo { seq: publisher.sequence, rtptime: publisher.timestamp };
            let mapped = world.fanout.map_rtp_info(id, VIDEO, info).unwrap();
            let before = world.sink.got[VIDEO].packets.len();
            for _ in 0..400 {
                world.deliver(VIDEO, &publisher.frame());
            }
            let headers = world.sink.got[VIDEO].headers();
            assert_eq!(headers[before].sequence, mapped.seq, "what is told is what comes");
            assert!(round > 0 || mapped.seq < 0x8000, "it begins in the first half: {}", mapped.seq);
            for header in &headers[before..] {
                assert!(seen.insert(header.sequence), "{seed}, {again}: {} comes twice", header.sequence);
            }
            world.fanout.pause(world.now, id).unwrap();
            world.fanout.flush(world.now);
        }
    }
}

#[test]
fn a_late_reader_whose_queue_is_full_loses_nothing() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(300, Sets::Apart);
    let mut stream = Vec::new();
    for frame in 0..60u64 {
        world.pass(at(1_000 + frame * 33));
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        stream.extend(packets);
    }
    let id = world.join(0, true);
    world.play(id);
    for step in 0..200u64 {
        world.sink.got[VIDEO].full = step % 3 != 0;
        world.pass(at(3_000 + step * 7));
    }
    // A prefix that was cut short by the full queue may come twice; the line is unbroken all the same.
    let got = &world.sink.got[VIDEO];
    got.assert_unbroken();
    assert_eq!(kept(got.packets.last().unwrap()), kept(stream.last().unwrap()));
    assert_eq!(got.packets.len(), stream.len());
    assert_eq!(world.fanout.counters().reader_queue, 0);
}

#[test]
fn a_packet_of_the_gop_before_is_not_for_a_new_reader() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(10, Sets::InUnit);
    let mut frames: Vec<_> = (0..12).map(|_| publisher.frame()).collect();
    let late = frames[9].pop().unwrap();
    for packets in &frames[..11] {
        world.deliver(VIDEO, packets);
    }
    world.deliver(VIDEO, &[late]);
    let id = world.join(0, true);
    world.play(id);
    world.deliver(VIDEO, &frames[11]);
    world.pass(at(5_000));
    let got = &world.sink.got[VIDEO];
    assert_eq!(got.packets.len(), 5 + 3);
    got.assert_unbroken();
}

#[test]
fn another_workers_fan_out_starts_where_this_one_is() {
    let mut home = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(100, Sets::InUnit);
    let mut stream = Vec::new();
    for frame in 0..40u64 {
        home.pass(at(1_000 + frame * 33));
        let packets = publisher.frame();
        home.deliver(VIDEO, &packets);
        stream.extend(packets);
    }
    let mut other = World::new(FanoutConfig::default());
    other.pass(home.now);
    let early = other.join(0, true);
    other.play(early);
    other.fanout.restore(other.now, home.fanout.snapshot());
    let id = other.join(1, true);
    other.play(id);
    for _ in 0..5 {
        let packets = publisher.frame();
        other.deliver(VIDEO, &packets);
        stream.extend(packets);
    }
    other.pass(at(9_000));
    for n in 0..2 {
        assert_starts_at_keyframe(&other.sink.got[2 * n + VIDEO], &stream, Sets::InUnit);
        assert_eq!(other.sink.got[2 * n + VIDEO].packets.len(), stream.len());
    }
}

#[test]
fn a_gap_in_the_cached_gop_asks_for_a_whole_one() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(100, Sets::InUnit);
    for frame in 0..20 {
        let mut packets = publisher.frame();
        if frame == 10 {
            packets.remove(1);
        }
        world.deliver(VIDEO, &packets);
    }
    let id = world.join(0, true);
    world.play(id);
    assert_eq!(world.keyframes_wanted(), 1);
    world.pass(at(1_000));
    assert_eq!(world.sink.got[VIDEO].packets.len(), 61, "it starts with what there is");
}

#[test]
fn the_cache_is_bounded_and_dropped_until_the_next_keyframe() {
    let mut world = World::new(FanoutConfig { cache_bytes: 10_000, ..FanoutConfig::default() });
    let mut publisher = Publisher::new(60, Sets::InUnit);
    for _ in 0..50 {
        world.deliver(VIDEO, &publisher.frame());
        assert!(world.fanout.cached_bytes() <= 10_000);
    }
    assert_eq!(world.fanout.counters().cache_overflow, 1, "once a GOP");
    let id = world.join(0, true);
    assert_eq!(world.play(id)[VIDEO].1, None, "there is nothing to start with");
    for _ in 0..15 {
        world.deliver(VIDEO, &publisher.frame());
    }
    let got = &world.sink.got[VIDEO];
    assert_eq!(got.packets.len(), 2 + 5 * 3);
    got.assert_unbroken();
}

/// Receivers of SRTP guess how often numbers have rolled over before the first packet that they get: never, unless the
/// first ones are lost over a rollover. So numbers begin in the first half (`RFC 4568 §6.4.1`).
#[test]
fn the_numbers_of_a_reader_begin_in_the_first_half() {
    let mut world = World::new(FanoutConfig::default());
    let mut publisher = Publisher::new(30, Sets::InUnit);
    let ids: Vec<_> = (0..64).map(|n| world.join(n, true)).collect();
    ids.iter().for_each(|id| drop(world.play(*id)));
    for _ in 0..3 {
        world.deliver(VIDEO, &publisher.frame());
    }
    world.pass(at(1000));
    for n in 0..64 {
        let first = world.sink.got[2 * n].headers()[0].sequence;
        assert!(first < 0x8000, "reader {n} begins with {first}");
    }
}
