//! What readers ask for again, and what they get.

use std::time::Duration;

use super::super::super::testing::*;
use super::super::super::*;
use crate::rtcp::Writer;
use crate::rtp::Header;

const ASKED: History = History { age: Duration::from_millis(500), answers: true, at_once: true };

/// A reader of video and audio that plays, and has packets sent again.
fn reader(world: &mut World, history: Option<History>) -> ReaderId {
    let id = world.join(0, true);
    for track in [VIDEO, AUDIO] {
        world.fanout.set_history(world.now, id, track, history).unwrap();
    }
    world.play(id);
    id
}

fn nack(world: &mut World, id: ReaderId, track: usize, ssrc: u32, lost: &[u16]) {
    let mut buffer = vec![0; 40 + 4 * lost.len()];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(9, &[]).unwrap().nack(9, ssrc, lost).unwrap();
    world.reader_rtcp(id, track, writer.as_bytes());
}

fn sound(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    rtp(97, number, 480 * u32::from(number), 1, false, &[high, low, 7, 7])
}

/// What was sent again to a destination, and what it was sent before.
fn again(world: &World, dest: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    (world.sink.got[dest].again.clone(), world.sink.got[dest].packets.clone())
}

#[test]
fn a_lost_packet_comes_again_as_it_was() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, Some(ASKED));
    let mut publisher = Publisher::new(10, Sets::InUnit);
    for frame in 0..25 {
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        world.deliver(AUDIO, &[sound(65_530_u16.wrapping_add(frame))]);
        world.pass(at(u64::from(frame) * 10));
    }
    for track in [VIDEO, AUDIO] {
        let numbers: Vec<u16> =
            world.sink.got[track].headers().iter().map(|header| header.sequence).collect();
        // Others than the last: the headers where packets are kept are those of some other packet's reader by now.
        let asked: Vec<u16> = numbers.iter().copied().step_by(5).collect();
        nack(&mut world, id, track, ssrc_of(0, track), &asked);
        let (got, sent) = again(&world, track);
        let wanted: Vec<_> = sent.iter().step_by(5).cloned().collect();
        assert_eq!(got, wanted, "track {track}");
    }
    let counters = world.fanout.counters();
    assert_eq!((counters.nack_unknown, counters.nack_throttled, counters.nack_suppressed), (0, 0, 0));
    assert_eq!(counters.retransmitted, counters.nacked);
    assert!(counters.retransmitted > 20);
    assert_eq!(world.keyframes_wanted(), 1, "nothing goes up but what began the stream");
}

#[test]
fn without_a_history_only_what_late_readers_need_is_kept() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, None);
    let mut publisher = Publisher::new(5, Sets::InUnit);
    for frame in 0..12 {
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        world.deliver(AUDIO, &[sound(frame)]);
    }
    let kept = world.fanout.cached_bytes();
    assert!(kept < 3 * (3 * 230 + 100), "{kept}");
    let last = world.sink.got[VIDEO].headers().last().unwrap().sequence;
    nack(&mut world, id, VIDEO, ssrc_of(0, VIDEO), &[last]);
    assert!(world.sink.got[VIDEO].again.is_empty());
    assert_eq!(world.sink.got[AUDIO].positions.iter().flatten().count(), 0);
}

#[test]
fn a_history_may_begin_with_the_first_request() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, Some(History { at_once: false, ..ASKED }));
    world.deliver(AUDIO, &[sound(1), sound(2)]);
    assert_eq!(world.fanout.cached_bytes(), 0);
    let first = world.sink.got[AUDIO].headers()[0].sequence;
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &[first]);
    assert_eq!(world.fanout.counters().nack_unknown, 1);
    world.deliver(AUDIO, &[sound(3), sound(4)]);
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &[first.wrapping_add(2)]);
    assert_eq!(world.sink.got[AUDIO].again, [world.sink.got[AUDIO].packets[2].clone()]);
    world.fanout.remove(id);
    world.deliver(AUDIO, &[sound(5)]);
    assert!(world.fanout.cached_bytes() < 200, "nobody wants it any more");
}

#[test]
fn it_is_bounded_in_time_and_in_bytes() {
    let config = FanoutConfig { history_bytes: 30_000, cache_bytes: 20_000, ..FanoutConfig::default() };
    let mut world = World::new(config);
    let id = reader(&mut world, Some(ASKED));
    let mut millis = 0;
    for number in 0..3000_u16 {
        millis += 10;
        world.pass(at(millis));
        world.deliver(AUDIO, &[sound(number)]);
        if number > 200 {
            // 16 bytes and what it costs to know of them, each: 500 ms are 50 packets.
            let kept = world.fanout.cached_bytes();
            assert!(kept < 16 * 1024 + 3 * 60 * 40, "{kept}");
        }
    }
    let last = world.sink.got[AUDIO].headers().last().unwrap().sequence;
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &[last.wrapping_sub(49), last.wrapping_sub(60 + 2000)]);
    assert_eq!((world.sink.got[AUDIO].again.len(), world.fanout.counters().nack_unknown), (1, 1));
    for number in 3000..4000_u16 {
        let mut packet = sound(number);
        packet.resize(1000, 1);
        world.deliver(AUDIO, &[packet]);
        assert!(world.fanout.cached_bytes() <= 20_000 + 30_000);
    }
    // Larger than all that may be kept.
    world.deliver(AUDIO, &[rtp(97, 4000, 0, 1, false, &[0; 60_000])]);
    assert!(world.fanout.cached_bytes() <= 50_000);
}

/// A GOP that does not fit the cache costs late readers, and not those who ask again.
#[test]
fn a_gop_that_does_not_fit_is_asked_for_all_the_same() {
    let config = FanoutConfig { history_bytes: 60_000, cache_bytes: 5_000, ..FanoutConfig::default() };
    let mut world = World::new(config);
    let id = reader(&mut world, Some(ASKED));
    let mut publisher = Publisher::new(1000, Sets::InUnit);
    for _ in 0..60 {
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        assert!(world.fanout.cached_bytes() <= 65_000);
    }
    assert_eq!(world.fanout.counters().cache_overflow, 1);
    let sent = world.sink.got[VIDEO].packets.clone();
    let lost = &sent[sent.len() - 50];
    nack(&mut world, id, VIDEO, ssrc_of(0, VIDEO), &[Header::parse(lost).unwrap().sequence]);
    assert_eq!(world.sink.got[VIDEO].again, std::slice::from_ref(lost));
    // Who comes late waits for a keyframe, as without a history.
    let late = world.join(1, true);
    world.play(late);
    world.deliver(VIDEO, &publisher.frame());
    assert!(world.sink.got[2 + VIDEO].packets.is_empty());
}

#[test]
fn what_was_never_sent_to_a_reader_is_not_sent_again() {
    let mut world = World::new(FanoutConfig::default());
    let early = reader(&mut world, Some(ASKED));
    for number in 0..50 {
        world.deliver(AUDIO, &[sound(number)]);
    }
    let id = world.join(1, true);
    world.fanout.set_history(world.now, id, AUDIO, Some(ASKED)).unwrap();
    world.play(id);
    for number in 50..60 {
        world.deliver(AUDIO, &[sound(number)]);
    }
    let (dest, ssrc) = (2 + AUDIO, ssrc_of(1, AUDIO));
    let first = world.sink.got[dest].headers()[0].sequence;
    // Before its first, behind its last.
    nack(
        &mut world,
        id,
        AUDIO,
        ssrc,
        &[first.wrapping_sub(1), first.wrapping_sub(20), first.wrapping_add(10)],
    );
    assert_eq!((world.sink.got[dest].again.len(), world.fanout.counters().nack_unknown), (0, 3));
    // Another's source, or none.
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &[first]);
    nack(&mut world, id, AUDIO, 0, &[first]);
    assert_eq!((world.sink.got[dest].again.len(), world.fanout.counters().nack_foreign), (0, 2));
    // A pause: the same numbers would be other packets.
    world.fanout.pause(world.now, id).unwrap();
    nack(&mut world, id, AUDIO, ssrc, &[first]);
    assert!(world.sink.got[dest].again.is_empty());
    for number in 60..70 {
        world.deliver(AUDIO, &[sound(number)]);
    }
    world.play(id);
    world.deliver(AUDIO, &[sound(70), sound(71)]);
    nack(&mut world, id, AUDIO, ssrc, &[first.wrapping_add(9), first.wrapping_add(10)]);
    assert_eq!(world.sink.got[dest].again, [world.sink.got[dest].packets[10].clone()]);
    world.fanout.remove(early);
    assert!(world.fanout.set_history(world.now, early, AUDIO, None).is_err());
}

#[test]
fn late_and_missing_numbers_of_the_publisher_change_nothing() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, Some(ASKED));
    let base = 65_500_u16;
    let numbers: Vec<u16> =
        [0, 1, 2, 5, 4, 6, 40, 41, 39, 42, 100, 99, 98, 101].map(|n| base.wrapping_add(n)).into();
    for number in &numbers {
        world.deliver(AUDIO, &[sound(*number)]);
    }
    let headers = world.sink.got[AUDIO].headers();
    let offset = headers[0].sequence.wrapping_sub(base);
    let asked: Vec<u16> = headers.iter().map(|header| header.sequence).collect();
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &asked);
    let mut got = world.sink.got[AUDIO].again.clone();
    let mut sent = world.sink.got[AUDIO].packets.clone();
    got.sort();
    sent.sort();
    assert_eq!(got, sent);
    let missing = [3, 7, 38, 43, 97, 102].map(|n| base.wrapping_add(n).wrapping_add(offset));
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &missing);
    assert_eq!(world.fanout.counters().nack_unknown, 6);
}

#[test]
fn a_packet_comes_again_once_in_a_round_trip() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, Some(ASKED));
    world.deliver(AUDIO, &[sound(1), sound(2)]);
    let first = world.sink.got[AUDIO].headers()[0].sequence;
    for (millis, count) in [(0, 1), (1, 1), (14, 1), (15, 2), (16, 2), (31, 3)] {
        world.pass(at(millis));
        nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &[first]);
        assert_eq!(world.sink.got[AUDIO].again.len(), count, "{millis} ms");
    }
    assert_eq!(world.fanout.counters().nack_suppressed, 3);
}

/// Somebody who asks for everything all the time, by its own address or by another's, gets half of the media on top, and
/// the burst once.
#[test]
fn a_flood_of_requests_is_answered_with_a_share_of_the_media() {
    let config = FanoutConfig { again_burst: 20_000, ..FanoutConfig::default() };
    let mut world = World::new(config);
    let id = reader(&mut world, Some(ASKED));
    let mut media = 0;
    for number in 0..6000_u16 {
        world.pass(at(u64::from(number)));
        let mut packet = sound(number);
        packet.resize(500, 3);
        media += packet.len();
        world.deliver(AUDIO, &[packet]);
        if number % 3 == 0 {
            let newest = world.sink.got[AUDIO].headers().last().unwrap().sequence;
            let all: Vec<u16> = (0..2000).map(|back| newest.wrapping_sub(back)).collect();
            nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &all);
        }
    }
    // With the number that each gets as a retransmission.
    let answers: usize = world.sink.got[AUDIO].again.iter().map(|packet| packet.len() + 2).sum();
    assert!(answers <= 20_000 + media / 2, "{answers} of {media}");
    assert!(answers > media / 3, "{answers} of {media}");
    let counters = world.fanout.counters();
    assert!(counters.nack_throttled > 0 && counters.nack_suppressed > 0, "{counters:?}");
    // Of the kinds of reason each is one: what was not sent again is counted once.
    let refused = counters.nack_throttled + counters.nack_suppressed + counters.nack_unknown;
    assert_eq!(counters.retransmitted + refused, counters.nacked);
}

#[test]
fn whoever_owns_a_destination_reads_what_was_sent_where_it_is_kept() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, Some(History { answers: false, ..ASKED }));
    let other = world.join(1, true);
    world.play(other);
    let mut publisher = Publisher::new(3, Sets::Aggregated);
    for frame in 0..8 {
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        world.deliver(AUDIO, &[sound(frame), sound(frame + 100)]);
    }
    for track in [VIDEO, AUDIO] {
        let got = &world.sink.got[track];
        assert!(got.packets.len() >= 16);
        for (packet, position) in got.packets.iter().zip(&got.positions) {
            let kept = world.fanout.packet(id, track, position.unwrap()).unwrap();
            let mut out = [0; 2000];
            let length = kept.write(&mut out).unwrap();
            assert_eq!(&out[..length], packet);
            assert_eq!(kept.write(&mut [0; 10]), None);
        }
        let end = got.positions.last().unwrap().unwrap() + 1;
        assert_eq!(world.fanout.packet(id, track, end), None);
    }
    let first = world.sink.got[AUDIO].headers()[0].sequence;
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &[first]);
    assert!(world.sink.got[AUDIO].again.is_empty(), "its owner answers");
}

#[test]
fn a_change_of_source_leaves_what_was_before_it() {
    let mut world = World::new(FanoutConfig::default());
    let id = reader(&mut world, Some(ASKED));
    world.deliver(AUDIO, &[sound(1), sound(2), sound(3)]);
    world.fanout.handle_source_changed(world.now, AUDIO);
    let mut other = sound(40_000);
    other[8..12].copy_from_slice(&[9; 4]);
    world.deliver(AUDIO, &[other]);
    let numbers: Vec<u16> = world.sink.got[AUDIO].headers().iter().map(|header| header.sequence).collect();
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &numbers);
    assert_eq!(world.sink.got[AUDIO].again, world.sink.got[AUDIO].packets);
    // A seek: the numbers may be used again.
    world.fanout.flush(world.now);
    world.pass(at(100));
    nack(&mut world, id, AUDIO, ssrc_of(0, AUDIO), &numbers);
    assert_eq!(world.sink.got[AUDIO].again.len(), 4);
}
