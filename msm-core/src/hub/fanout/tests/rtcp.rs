//! Reports to readers and feedback from them.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::testing::*;
use super::super::super::*;
use crate::ntp::NtpTime;
use crate::rtcp::{Acceptance, Compound, Packet, ReportBlock, SenderInfo, Writer};

fn clock(millis: u64) -> SenderClock {
    SenderClock { ntp: NtpTime::from_bits(77 << 32), rtp: 1_000_000, arrival: at(millis) }
}

fn sender_infos(got: &Got) -> Vec<(SenderInfo, Vec<u8>)> {
    got.rtcp
        .iter()
        .map(|datagram| {
            let compound = Compound::parse(datagram, Acceptance::Compound).unwrap();
            let mut info = None;
            let mut cname = Vec::new();
            for packet in compound.packets() {
                match packet.unwrap() {
                    Packet::SenderReport(report) => info = Some(report.info),
                    Packet::Sdes(sdes) => {
                        cname = sdes.chunks().flatten().find_map(|chunk| chunk.cname()).unwrap().to_vec();
                    }
                    other => panic!("{other:?}"),
                }
            }
            (info.unwrap(), cname)
        })
        .collect()
}

fn playing_audio() -> (World, ReaderId) {
    let mut world = World::new(FanoutConfig::default());
    let id = world.join(0, true);
    world.play(id);
    world.deliver(AUDIO, &[rtp(97, 1, 999_000, 1, false, &[0; 50]), rtp(97, 2, 999_960, 1, false, &[0; 50])]);
    (world, id)
}

#[test]
fn no_report_before_the_publishers_first() {
    let (mut world, _) = playing_audio();
    world.pass(at(60_000));
    assert!(world.sink.got[AUDIO].rtcp.is_empty());
    world.fanout.handle_sender_report(world.now, AUDIO, clock(60_000), &mut world.sink);
    assert_eq!(world.sink.got[AUDIO].rtcp.len(), 1);
    assert!(world.sink.got[VIDEO].rtcp.is_empty(), "nor for a track that sent nothing");
}

#[test]
fn reports_keep_ntp_and_rtp_true_for_the_reader() {
    let (mut world, _) = playing_audio();
    let offset = world.sink.got[AUDIO].headers()[0].timestamp.wrapping_sub(999_000);
    world.fanout.set_cname(AUDIO, Arc::from(&b"camera@studio"[..]));
    world.fanout.handle_sender_report(world.now, AUDIO, clock(0), &mut world.sink);
    world.pass(at(60_000));
    let reports = sender_infos(&world.sink.got[AUDIO]);
    // 0.5 to 1.5 times 5 s apart.
    assert!((9..=25).contains(&reports.len()), "{}", reports.len());
    for (info, cname) in &reports {
        let passed = info.ntp.saturating_since(NtpTime::from_bits(77 << 32));
        let ticks = (passed.as_micros() * 48_000 / 1_000_000) as u32;
        let expected = 1_000_000u32.wrapping_add(offset).wrapping_add(ticks);
        assert!(info.rtp_timestamp.wrapping_sub(expected).wrapping_add(2) <= 4);
        assert_eq!((info.ssrc, info.packet_count, info.octet_count), (ssrc_of(0, AUDIO), 2, 100));
        assert_eq!(cname, b"camera@studio");
    }
    assert_eq!(reports[0].0.rtp_timestamp, 1_000_000u32.wrapping_add(offset), "exact when it came just now");
}

#[test]
fn a_reader_hears_the_clock_as_it_starts() {
    let (mut world, _) = playing_audio();
    world.fanout.handle_sender_report(world.now, AUDIO, clock(0), &mut world.sink);
    world.pass(at(1_000));
    let late = world.join(1, true);
    world.play(late);
    world.deliver(AUDIO, &[rtp(97, 3, 1_000_920, 1, false, &[0; 50])]);
    world.pass(at(1_001));
    let reports = sender_infos(&world.sink.got[2 + AUDIO]);
    assert_eq!(reports.len(), 1);
    assert!(reports[0].1.starts_with(b"msm-"), "a name of its own while the publisher's is unknown");
}

#[test]
fn a_readers_report_gives_loss_jitter_and_round_trip() {
    let (mut world, id) = playing_audio();
    world.fanout.handle_sender_report(world.now, AUDIO, clock(0), &mut world.sink);
    let sent = sender_infos(&world.sink.got[AUDIO])[0].0;
    world.pass(at(250));
    let block = ReportBlock {
        ssrc: ssrc_of(0, AUDIO),
        fraction_lost: 64,
        cumulative_lost: 3,
        extended_highest_sequence: 5,
        jitter: 480,
        last_sr: sent.ntp.compact(),
        delay_since_last_sr: 65_536 / 5,
    };
    let mut buffer = [0; 200];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(9, &[ReportBlock { ssrc: 1, ..block }, block]).unwrap();
    writer.sdes_cname(9, "player").unwrap().pli(9, ssrc_of(0, AUDIO)).unwrap();
    writer.nack(9, ssrc_of(0, AUDIO), &[4, 5, 9]).unwrap().bye(&[9], "").unwrap();
    world.reader_rtcp(id, AUDIO, writer.as_bytes());
    world.events.clear();
    world.drain();
    let Some(FanoutEvent::ReaderReport { report, track: AUDIO, .. }) = world.events.pop_front() else {
        panic!()
    };
    assert_eq!(report.jitter, Duration::from_millis(10));
    assert_eq!((report.fraction_lost, report.cumulative_lost), (0.25, 3));
    let rtt = report.rtt.unwrap();
    assert!(rtt.abs_diff(Duration::from_millis(50)) < Duration::from_millis(1), "{rtt:?}");
    assert_eq!(world.events, [FanoutEvent::KeyframeWanted { track: AUDIO }, FanoutEvent::ReaderBye { id }]);
    assert_eq!((world.fanout.counters().nacked, world.fanout.counters().keyframe_requests), (3, 1));
}

#[test]
fn garbage_from_a_reader_is_counted() {
    let (mut world, id) = playing_audio();
    world.reader_rtcp(id, AUDIO, &[0x80, 201, 0, 200, 0, 0, 0, 1]);
    world.reader_rtcp(id, AUDIO, &[]);
    world.reader_rtcp(id, 9, &[]);
    // APP cannot be mapped.
    world.reader_rtcp(id, AUDIO, &[0x80, 204, 0, 2, 0, 0, 0, 1, b'a', b'b', b'c', b'd']);
    let counters = world.fanout.counters();
    assert_eq!((counters.rtcp_malformed, counters.unknown_track, counters.rtcp_unmapped), (2, 1, 1));
    assert_eq!(world.fanout.poll_event(), None);
}

#[test]
fn bye_ends_the_stream_for_those_who_got_it() {
    let (mut world, id) = playing_audio();
    world.join(1, true);
    world.fanout.bye(world.now, None, &mut world.sink);
    let last = world.sink.got[AUDIO].rtcp.last().unwrap();
    let compound = Compound::parse(last, Acceptance::Compound).unwrap();
    let sources: Vec<u32> = compound
        .packets()
        .filter_map(|packet| match packet {
            Ok(Packet::Bye(bye)) => Some(bye.sources().collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(sources, [ssrc_of(0, AUDIO)]);
    assert!(world.sink.got[2 + AUDIO].rtcp.is_empty());
    let closed = world.fanout.remove(id).unwrap();
    assert_eq!(closed.tracks[AUDIO].2.packets, 2);
    world.fanout.bye(world.now, None, &mut world.sink);
    assert_eq!(world.sink.got[AUDIO].rtcp.len(), 1);
}
