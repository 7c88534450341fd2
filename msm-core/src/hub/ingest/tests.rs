//! The ingest under virtual time.

use std::time::Duration;

use super::super::testing::*;
use super::super::*;
use super::*;
use crate::burst::{Burst, SegmentTable};
use crate::ntp::NtpTime;
use crate::rtcp::SenderInfo;

struct Source {
    ingest: Ingest,
    table: SegmentTable,
    out: [u8; 512],
}

impl Source {
    fn new() -> Self {
        let ingest = Ingest::new(tracks(), IngestConfig::default(), 5, at(0));
        Source { ingest, table: SegmentTable::new(), out: [0; 512] }
    }

    /// Hands in one packet; whether it goes on.
    fn packet(&mut self, millis: u64, sequence: u16, ssrc: u32) -> bool {
        let mut bytes = rtp(97, sequence, u32::from(sequence) * 960, ssrc, false, b"sound");
        let mut burst = Burst::from_gro(&mut bytes, 0, at(millis), 0, &mut self.table);
        self.ingest.handle_rtp(at(millis), AUDIO, &mut burst);
        burst.valid() == 1
    }

    fn events(&mut self) -> Vec<IngestEvent> {
        std::iter::from_fn(|| self.ingest.poll_event()).collect()
    }

    /// The RTCP that is due.
    fn transmits(&mut self, millis: u64) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((track, len)) = self.ingest.poll_transmit(at(millis), &mut self.out) {
            all.push((track, self.out[..len].to_vec()));
            assert!(all.len() < 10);
        }
        all
    }
}

fn sender_report(ssrc: u32, cname: &str, bye: bool) -> Vec<u8> {
    let mut buffer = [0; 200];
    let mut writer = Writer::new(&mut buffer);
    let ntp = NtpTime::from_bits(5 << 32);
    let info = SenderInfo { ssrc, ntp, rtp_timestamp: 960, packet_count: 1, octet_count: 5 };
    writer.sender_report(&info, &[]).unwrap().sdes_cname(ssrc, cname).unwrap();
    if bye {
        writer.bye(&[ssrc], "").unwrap();
    }
    writer.as_bytes().to_vec()
}

#[test]
fn drops_are_counted_by_reason() {
    let mut source = Source::new();
    assert!(source.packet(0, 1, 7), "the first packet of a stream goes on");
    assert!(source.packet(1, 2, 7));
    assert!(!source.packet(2, 2, 7));
    assert!(!source.packet(3, 3, 8));
    assert!(!source.packet(4, 40_000, 7));
    let mut bytes = [rtp(97, 3, 0, 7, false, b"x"), rtp(33, 4, 0, 7, false, b"x"), vec![0; 13]].concat();
    let mut burst = Burst::from_gro(&mut bytes, 13, at(5), 0, &mut source.table);
    source.ingest.handle_rtp(at(5), AUDIO, &mut burst);
    assert_eq!(burst.segments().iter().map(|s| s.valid).collect::<Vec<_>>(), [true, false, false]);
    let mut burst = Burst::from_gro(&mut bytes, 13, at(6), 0, &mut source.table);
    source.ingest.handle_rtp(at(6), 9, &mut burst);
    assert_eq!(burst.valid(), 0);
    source.ingest.handle_rtcp(at(6), AUDIO, &[1, 2, 3]);
    source.ingest.handle_rtcp(at(6), 9, &[]);
    let counted: Vec<_> = source.ingest.counters().iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        counted,
        [
            ("malformed", 1),
            ("unknown_track", 4),
            ("unknown_payload_type", 1),
            ("foreign_ssrc", 1),
            ("duplicate", 1),
            ("bad_sequence", 1),
            ("rtcp_malformed", 1)
        ]
    );
    let stats = source.ingest.stats(AUDIO).unwrap();
    assert_eq!((stats.ssrc, stats.duplicates), (Some(7), 1));
    assert_eq!(source.ingest.stats(2), None);
}

#[test]
fn loss_is_measured() {
    let mut source = Source::new();
    for sequence in (0..100u16).filter(|n| n % 10 != 5) {
        source.packet(u64::from(sequence) * 20, sequence, 7);
    }
    let stats = source.ingest.stats(AUDIO).unwrap();
    assert_eq!(stats.lost, 10);
    assert!(stats.jitter < Duration::from_millis(1));
}

#[test]
fn another_ssrc_waits_until_the_first_is_silent() {
    let mut source = Source::new();
    for n in 0..50 {
        assert!(source.packet(u64::from(n) * 20, n, 7));
        assert!(!source.packet(u64::from(n) * 20 + 1, n, 8), "the first source is alive");
    }
    assert_eq!(source.events(), []);
    // The first goes quiet: after probation the second follows, and its packets from then on.
    let passed: Vec<u16> = (50..70).filter(|&n| source.packet(u64::from(n) * 20, n, 8)).collect();
    assert_eq!(passed.first(), Some(&55));
    assert_eq!(passed.len(), 15);
    assert_eq!(source.events(), [IngestEvent::SourceChanged { track: AUDIO, old: 7, new: 8 }]);
    assert_eq!(source.ingest.stats(AUDIO).unwrap().ssrc, Some(8));
    assert!(source.ingest.stats(AUDIO).unwrap().packets > 60, "figures are over all sources");
}

#[test]
fn after_bye_or_a_long_silence_another_ssrc_follows_at_once() {
    let mut source = Source::new();
    source.packet(0, 1, 7);
    source.packet(20, 2, 7);
    source.ingest.handle_rtcp(at(30), AUDIO, &sender_report(7, "a", true));
    assert!(source.packet(40, 900, 8));
    assert!(source.packet(60, 901, 8));
    assert!(source.packet(3_000, 17, 9), "2 s of silence");
    let changes: Vec<_> = source
        .events()
        .into_iter()
        .filter_map(|event| match event {
            IngestEvent::SourceChanged { old, new, .. } => Some((old, new)),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [(7, 8), (8, 9)]);
}

#[test]
fn packets_of_nobodys_do_not_become_the_source_however_long_it_is_silent() {
    let mut source = Source::new();
    (0..5).for_each(|n| assert!(source.packet(u64::from(n) * 20, n, 7)));
    for n in 0..500_u16 {
        let ssrc = 1000 + u32::from(n);
        assert!(!source.packet(100 + u64::from(n) * 20, n.wrapping_mul(7919), ssrc), "packet {n}");
    }
    assert_eq!(source.events(), []);
    // One that is in sequence is a source.
    assert!(!source.packet(11_000, 50, 8));
    assert!(source.packet(11_020, 51, 8));
    assert_eq!(source.events(), [IngestEvent::SourceChanged { track: AUDIO, old: 7, new: 8 }]);
}

#[test]
fn a_source_that_starts_its_sequence_anew_is_a_change() {
    let mut source = Source::new();
    for n in 0..5 {
        source.packet(n * 20, n as u16, 7);
    }
    assert!(!source.packet(100, 30_000, 7));
    assert!(source.packet(120, 30_001, 7));
    assert_eq!(source.events(), [IngestEvent::SourceChanged { track: AUDIO, old: 7, new: 7 }]);
    // When we asked for it, it is not, and no packet is lost.
    source.ingest.restart(at(130));
    assert!(source.packet(140, 5, 7));
    assert!(source.packet(160, 6, 7));
    assert_eq!(source.events(), []);
    // Another upstream session: whatever comes first is locked on.
    source.ingest.replace_source(at(170));
    assert!(source.packet(180, 77, 1_234));
    assert_eq!(source.events(), []);
}

#[test]
fn sender_reports_bye_and_names_become_events() {
    let mut source = Source::new();
    // ffmpeg reports before its first packet.
    source.ingest.handle_rtcp(at(0), AUDIO, &sender_report(7, "cam", false));
    let cname = IngestEvent::Cname { track: AUDIO, cname: Arc::from(&b"cam"[..]) };
    assert_eq!(source.events(), [cname]);
    source.packet(10, 1, 7);
    let clock = SenderClock { ntp: NtpTime::from_bits(5 << 32), rtp: 960, arrival: at(0) };
    assert_eq!(source.events(), [IngestEvent::SenderReport { track: AUDIO, clock }]);
    source.ingest.handle_rtcp(at(20), AUDIO, &sender_report(7, "cam", true));
    let clock = SenderClock { arrival: at(20), ..clock };
    let bye = IngestEvent::Bye { track: AUDIO };
    assert_eq!(source.events(), [IngestEvent::SenderReport { track: AUDIO, clock }, bye]);
    source.ingest.handle_rtcp(at(30), AUDIO, &sender_report(99, "other", true));
    assert_eq!(source.events(), []);
    assert_eq!(source.ingest.counters().rtcp_foreign_ssrc, 2);
}

#[test]
fn reports_go_up_about_every_five_seconds() {
    let mut source = Source::new();
    let mut reports = Vec::new();
    for n in 0..3_000u16 {
        let millis = u64::from(n) * 20;
        if n % 8 != 3 {
            source.packet(millis, n, 7);
        }
        if n == 100 {
            source.ingest.handle_rtcp(at(millis), AUDIO, &sender_report(7, "cam", false));
        }
        reports.extend(source.transmits(millis).into_iter().filter(|(track, _)| *track == AUDIO));
    }
    assert!((9..=26).contains(&reports.len()), "{}", reports.len());
    let compound = Compound::parse(&reports.last().unwrap().1, Acceptance::Compound).unwrap();
    let mut packets = compound.packets();
    let Some(Ok(Packet::ReceiverReport(report))) = packets.next() else { panic!() };
    let block = report.blocks.into_iter().next().unwrap();
    assert_eq!((block.ssrc, block.last_sr), (7, 5 << 16));
    assert!((28..=36).contains(&block.fraction_lost), "{}", block.fraction_lost);
    assert!(matches!(packets.next(), Some(Ok(Packet::Sdes(_)))));
    assert!(source.ingest.poll_timeout().is_some_and(|(_, reason)| reason == Reason::Report));
}

#[test]
fn keyframe_requests_are_merged_and_limited() {
    let mut source = Source::new();
    source.ingest.request_keyframe(at(0), AUDIO);
    assert_eq!(source.transmits(0).len(), 0, "nobody to ask yet");
    let is_pli = |datagram: &[u8]| {
        let compound = Compound::parse(datagram, Acceptance::Compound).unwrap();
        compound.packets().any(|packet| matches!(packet, Ok(Packet::Pli(pli)) if pli.media_ssrc == 7))
    };
    let mut sent = Vec::new();
    for millis in 0..2_000 {
        if millis % 20 == 0 {
            source.packet(millis, (millis / 20) as u16, 7);
        }
        source.ingest.request_keyframe(at(millis), AUDIO);
        for (_, datagram) in source.transmits(millis) {
            if is_pli(&datagram) {
                sent.push(millis);
            }
        }
    }
    assert_eq!(sent, [0, 500, 1_000, 1_500]);
    let counters = source.ingest.counters();
    assert_eq!(counters.keyframe_requests, 4);
    assert_eq!(counters.keyframe_requests_merged, 1_996);
    let (due, reason) = source.ingest.poll_timeout().unwrap();
    assert_eq!((due, reason), (at(2_000), Reason::Keyframe));
}

#[test]
fn fir_counts_and_bye_is_said() {
    let config = IngestConfig { use_fir: true, cname: "relay".into(), ..IngestConfig::default() };
    let mut source = Source { ingest: Ingest::new(tracks(), config, 5, at(0)), ..Source::new() };
    source.packet(0, 1, 7);
    for (millis, expected) in [(0, 1), (600, 2)] {
        source.ingest.request_keyframe(at(millis), AUDIO);
        let sent = source.transmits(millis);
        let compound = Compound::parse(&sent[0].1, Acceptance::Compound).unwrap();
        let entry = compound.packets().find_map(|packet| match packet {
            Ok(Packet::Fir(fir)) => fir.entries().next(),
            _ => None,
        });
        assert_eq!(entry, Some(FirEntry { ssrc: 7, sequence: expected }));
    }
    source.ingest.bye(at(700));
    let sent = source.transmits(700);
    assert_eq!(sent.len(), 2, "one for each track");
    for (_, datagram) in sent {
        let compound = Compound::parse(&datagram, Acceptance::Compound).unwrap();
        assert!(compound.packets().any(|packet| matches!(packet, Ok(Packet::Bye(_)))));
    }
}
