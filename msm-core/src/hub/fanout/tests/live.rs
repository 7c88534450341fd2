//! Readers that are live, and what becomes of those that are too slow.

use std::time::Duration;

use super::super::super::testing::*;
use super::super::super::*;
use crate::rtp::Header;

fn audio(count: u16) -> Vec<Vec<u8>> {
    (0..count).map(|n| rtp(97, n, u32::from(n) * 960, 9, false, &[n as u8; 100])).collect()
}

#[test]
fn a_run_is_one_send_a_reader() {
    let mut world = World::new(FanoutConfig::default());
    for n in 0..3 {
        let id = world.join(n, true);
        world.play(id);
    }
    let mut packets = audio(16);
    packets[15].truncate(60);
    world.deliver(AUDIO, &packets);
    for n in 0..3 {
        let got = &world.sink.got[2 * n + AUDIO];
        assert_eq!(got.runs, [16]);
        got.assert_unbroken();
        for (sent, packet) in got.packets.iter().zip(&packets) {
            assert_eq!(kept(sent), kept(packet));
        }
        assert!(got.headers().iter().all(|header| header.ssrc == ssrc_of(n, AUDIO)));
    }
    // Each reader has its own numbers.
    let first = |n: usize| world.sink.got[2 * n + AUDIO].headers()[0];
    assert_ne!(first(0).sequence, first(1).sequence);
    assert_ne!(first(0).timestamp, first(1).timestamp);
    assert_eq!(world.fanout.counters().packets, 48);
}

#[test]
fn what_was_put_off_and_failed_is_not_counted_as_sent() {
    let mut world = World::new(FanoutConfig::default());
    let ids = [0, 1, 2].map(|n| {
        let id = world.join(n, true);
        world.play(id);
        id
    });
    world.sink.unreachable = Some(2 + AUDIO);
    world.deliver(AUDIO, &audio(16));
    assert_eq!((world.fanout.counters().packets, world.fanout.counters().send_failed), (32, 16));
    let closed = world.fanout.remove(ids[1]).unwrap();
    let counters = closed.tracks.iter().map(|(_, _, counters)| counters);
    assert_eq!(counters.clone().map(|counters| counters.packets).sum::<u64>(), 0);
    assert_eq!(counters.clone().map(|counters| counters.bytes).sum::<u64>(), 0);
    assert_eq!(counters.map(|counters| counters.send_failed).sum::<u64>(), 16);
}

#[test]
fn a_thousand_readers_get_every_packet() {
    let mut world = World::new(FanoutConfig::default());
    for n in 0..1_000 {
        let id = world.join(n, true);
        world.play(id);
    }
    let packets = audio(44);
    world.deliver(AUDIO, &packets);
    world.pass(at(20));
    world.deliver(AUDIO, &audio(88)[44..]);
    for n in 0..1_000 {
        let got = &world.sink.got[2 * n + AUDIO];
        assert_eq!((got.packets.len(), got.runs.len()), (88, 2));
        got.assert_unbroken();
    }
    assert_eq!((world.fanout.readers(), world.fanout.playing()), (1_000, 1_000));
}

#[test]
fn loss_and_order_of_the_publisher_stay_as_they_are() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let packets = audio(10);
    let order = [0, 1, 3, 2, 6, 7, 9];
    world.deliver(AUDIO, &order.map(|n: usize| packets[n].clone()));
    let headers = world.sink.got[AUDIO].headers();
    let steps: Vec<u16> = headers.iter().map(|h| h.sequence.wrapping_sub(headers[0].sequence)).collect();
    assert_eq!(steps, order.map(|n| n as u16));
}

#[test]
fn payload_types_are_mapped_and_the_marker_kept() {
    let mut world = World::new(FanoutConfig::default());
    let setup = ReaderSetup {
        seed: 1,
        tracks: vec![ReaderTrack { track: AUDIO, dest: 0, ssrc: 5, payload_types: vec![(97, 111)] }],
        late_join: true,
    };
    let id = world.fanout.add_reader(world.now, setup).unwrap();
    world.play(id);
    world.deliver(AUDIO, &[rtp(97, 1, 1, 1, true, b"a"), rtp(97, 2, 1, 1, false, b"b")]);
    let headers = world.sink.got[0].headers();
    assert_eq!((headers[0].payload_type, headers[0].marker), (111, true));
    assert_eq!((headers[1].payload_type, headers[1].marker), (111, false));
}

#[test]
fn extensions_csrcs_and_padding_pass_untouched() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut packet = vec![0xb1, 0xe1, 0, 9, 0, 0, 0, 8, 0, 0, 0, 7];
    packet.extend([1, 2, 3, 4]); // CSRC
    packet.extend([0xbe, 0xde, 0, 1, 0x10, 0x55, 0, 0]); // one-byte extension
    packet.extend([9, 9, 9, 0, 0, 3]); // payload, padding of 3
    world.deliver(AUDIO, std::slice::from_ref(&packet));
    let sent = &world.sink.got[AUDIO].packets[0];
    assert_eq!(kept(sent), kept(&packet));
    assert_eq!(Header::parse(sent).unwrap().payload_len, 3);
}

#[test]
fn a_full_audio_reader_loses_just_those_packets() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let packets = audio(6);
    world.deliver(AUDIO, &packets[..2]);
    world.sink.got[AUDIO].full = true;
    world.deliver(AUDIO, &packets[2..4]);
    world.sink.got[AUDIO].full = false;
    world.deliver(AUDIO, &packets[4..]);
    let headers = world.sink.got[AUDIO].headers();
    assert_eq!(headers.len(), 4);
    assert_eq!(headers[2].sequence, headers[1].sequence.wrapping_add(3), "its own loss stays a gap");
    assert_eq!(world.fanout.counters().reader_queue, 2);
    assert_eq!(world.fanout.reader_counters(id, AUDIO).unwrap().reader_queue, 2);
}

#[test]
fn a_full_video_reader_goes_on_at_the_next_keyframe() {
    let mut world = World::new(FanoutConfig::default());
    let (slow, fast) = (world.join(0, true), world.join(1, true));
    world.play(slow);
    world.play(fast);
    let mut publisher = Publisher::new(10, Sets::InUnit);
    let mut sent = Vec::new();
    for frame in 0..25u64 {
        world.pass(at(1000 + frame * 33));
        world.sink.got[VIDEO].full = frame == 4;
        let packets = publisher.frame();
        world.deliver(VIDEO, &packets);
        sent.extend(packets);
    }
    world.pass(at(3_000));
    assert_eq!(world.sink.got[2 + VIDEO].packets.len(), sent.len(), "the other reader is unharmed");
    world.sink.got[2 + VIDEO].assert_unbroken();
    // 4 frames (of 3 packets, and SPS and PPS), then nothing of frames 4 to 9.
    let got = &world.sink.got[VIDEO];
    let lost = 6 * 3;
    assert_eq!(got.packets.len(), sent.len() - lost);
    let headers = got.headers();
    assert_eq!(headers[14].sequence, headers[13].sequence.wrapping_add(1 + lost as u16));
    assert_eq!(kept(&got.packets[14]).1[0], 0x67, "decoding goes on with the SPS");
    assert_eq!(world.fanout.counters().reader_queue, lost as u64);
}

#[test]
fn a_reader_that_never_reads_is_told_of_once() {
    let mut world = World::new(FanoutConfig { stall: Duration::from_secs(2), ..FanoutConfig::default() });
    let id = world.join(0, true);
    world.play(id);
    world.sink.got[AUDIO].full = true;
    for n in 0..300u16 {
        world.pass(at(u64::from(n) * 20));
        world.deliver(AUDIO, &[rtp(97, n, u32::from(n) * 960, 1, false, b"x")]);
    }
    let stalls = world.events.iter().filter(|event| **event == FanoutEvent::ReaderStalled { id }).count();
    assert_eq!(stalls, 1);
    // It takes packets again, and stalls again: that is told again.
    world.sink.got[AUDIO].full = false;
    world.deliver(AUDIO, &[rtp(97, 300, 0, 1, false, b"x")]);
    world.sink.got[AUDIO].full = true;
    for n in 301..450u16 {
        world.pass(at(u64::from(n) * 20));
        world.deliver(AUDIO, &[rtp(97, n, 0, 1, false, b"x")]);
    }
    let stalls = world.events.iter().filter(|event| **event == FanoutEvent::ReaderStalled { id }).count();
    assert_eq!(stalls, 2);
}

#[test]
fn pause_and_play_show_no_gap() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let packets = audio(30);
    world.deliver(AUDIO, &packets[..10]);
    world.fanout.pause(world.now, id).unwrap();
    world.deliver(AUDIO, &packets[10..20]);
    assert_eq!(world.fanout.playing(), 0);
    let infos = world.play(id);
    world.deliver(AUDIO, &packets[20..]);
    let got = &world.sink.got[AUDIO];
    assert_eq!(got.packets.len(), 20);
    got.assert_unbroken();
    assert_eq!(infos[AUDIO].1.unwrap().seq, got.headers()[10].sequence);
}

#[test]
fn calls_in_the_wrong_order_are_errors() {
    let mut world = World::new(FanoutConfig { max_readers: 2, ..FanoutConfig::default() });
    let setup = |tracks: &[usize]| ReaderSetup {
        seed: 0,
        tracks: tracks
            .iter()
            .map(|&track| ReaderTrack { track, dest: 0, ssrc: 0, payload_types: vec![] })
            .collect(),
        late_join: true,
    };
    let now = world.now;
    assert_eq!(world.fanout.add_reader(now, setup(&[0, 7])), Err(HubError::UnknownTrack { track: 7 }));
    assert_eq!(world.fanout.add_reader(now, setup(&[1, 1])), Err(HubError::DuplicateTrack { track: 1 }));
    let first = world.fanout.add_reader(now, setup(&[0])).unwrap();
    world.fanout.add_reader(now, setup(&[])).unwrap();
    assert_eq!(world.fanout.add_reader(now, setup(&[0])), Err(HubError::TooManyReaders { limit: 2 }));
    assert_eq!(world.fanout.remove(first).unwrap().tracks.len(), 1);
    assert!(world.fanout.remove(first).is_none());
    let next = world.fanout.add_reader(now, setup(&[0])).unwrap();
    assert_eq!(next.index, first.index, "the slot is reused, the id is not");
    assert_eq!(world.fanout.play(now, first), Err(HubError::UnknownReader { id: first }));
    assert_eq!(world.fanout.dest_mut(first, 0), None);
    assert!(world.fanout.dest_mut(next, 0).is_some());
}

#[test]
fn a_queue_that_was_full_within_a_keyframe_repeats_nothing() {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    let mut publisher = Publisher::new(5, Sets::InUnit);
    let mut count = 0;
    for frame in 0..12 {
        for (index, packet) in publisher.frame().into_iter().enumerate() {
            // The PPS of the second keyframe, whose SPS was sent.
            world.sink.got[VIDEO].full = frame == 5 && index == 1;
            world.deliver(VIDEO, &[packet]);
            count += 1;
        }
    }
    world.pass(at(1_000));
    let got = &world.sink.got[VIDEO];
    assert_eq!(got.packets.len(), count);
    got.assert_unbroken();
    assert_eq!(world.fanout.counters().reader_queue, 0, "nothing was lost in the end");
}
