//! Tests of the whole of `stats`.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;
use crate::ntp::NtpTime;
use crate::rng::Rng;
use crate::rtcp::ReportBlock;
use crate::rtp::Header;

const RATE: u32 = 90_000;

/// Any instant: tests add to it.
#[expect(clippy::disallowed_methods, reason = "an `Instant` comes from nowhere else")]
fn start() -> Instant {
    Instant::now()
}

struct Receiver {
    now: Instant,
    stats: ReceiverStats,
}

impl Receiver {
    fn new() -> Self {
        Self { now: start(), stats: ReceiverStats::new(7) }
    }

    /// A packet of 100 bytes that comes when its timestamp says, 10 ms for each step of `sequence`.
    fn packet(&mut self, sequence: u16) -> Verdict {
        let timestamp = u32::from(sequence) * 900;
        let header = Header { sequence, timestamp, ssrc: 7, payload_len: 100, ..Header::default() };
        self.stats.handle_rtp(self.now, &header, RATE)
    }

    fn packets(&mut self, sequences: impl IntoIterator<Item = u16>) -> Vec<Verdict> {
        sequences.into_iter().map(|sequence| self.packet(sequence)).collect()
    }

    /// A valid source whose highest packet is `sequence`, the first that counts.
    fn valid_at(sequence: u16) -> Self {
        let mut receiver = Self::new();
        let verdicts = receiver.packets([sequence.wrapping_sub(1), sequence]);
        assert_eq!(verdicts, [Verdict::Probation, Verdict::InOrder { gap: 0 }]);
        receiver
    }

    fn report(&mut self) -> ReportBlock {
        self.stats.report_block(self.now).unwrap()
    }
}

const IN_ORDER: Verdict = Verdict::InOrder { gap: 0 };

#[test]
fn a_source_is_valid_after_two_packets_in_sequence() {
    let mut receiver = Receiver::new();
    assert_eq!(receiver.stats.report_block(receiver.now), None);
    let verdicts = receiver.packets([10, 20, 19, 65_535, 0, 1]);
    let probation = Verdict::Probation;
    assert_eq!(verdicts, [probation, probation, probation, probation, IN_ORDER, IN_ORDER]);
    assert!(receiver.stats.is_valid());
    assert_eq!((receiver.stats.packets(), receiver.stats.discarded()), (2, 4));
    assert_eq!(receiver.stats.bytes(), 200);
    assert_eq!(receiver.report().extended_highest_sequence, 1, "cycles count from the first valid packet");
}

#[test]
fn loss_is_reported_by_interval_and_in_sum() {
    let mut receiver = Receiver::valid_at(65_533);
    // 65534 and 0 are lost: four of six expected are there.
    assert_eq!(
        receiver.packets([65_535, 1, 2]),
        [Verdict::InOrder { gap: 1 }, Verdict::InOrder { gap: 1 }, IN_ORDER]
    );
    let report = receiver.report();
    assert_eq!(report.ssrc, 7);
    assert_eq!(report.extended_highest_sequence, 0x1_0002);
    assert_eq!(report.cumulative_lost, 2);
    assert_eq!(report.fraction_lost, (2 * 256 / 6) as u8);
    // A clean interval, then one without a packet.
    receiver.packets(3..7);
    assert_eq!((receiver.report().fraction_lost, receiver.report().cumulative_lost), (0, 2));
    // Nearly all lost: 1/256 short of one.
    receiver.packet(2_006);
    assert_eq!(receiver.report().fraction_lost, 255);
    assert_eq!(receiver.stats.lost(), 2 + 1_999);
}

#[test]
fn late_packets_repair_loss_and_duplicates_do_not() {
    let mut receiver = Receiver::valid_at(100);
    receiver.packets([101, 104]);
    assert_eq!(receiver.stats.lost(), 2);
    let verdicts = receiver.packets([102, 102, 104, 101]);
    assert_eq!(verdicts, [Verdict::Reordered, Verdict::Duplicate, Verdict::Duplicate, Verdict::Duplicate]);
    assert_eq!((receiver.stats.reordered(), receiver.stats.duplicates()), (1, 3));
    assert_eq!(receiver.stats.lost(), 1, "103 is lost whatever came twice");
    assert_eq!(receiver.stats.packets(), 4);
    // RFC 3550 §6.4.1 counts duplicates as received: 5 expected, 7 received.
    let report = receiver.report();
    assert_eq!((report.cumulative_lost, report.fraction_lost), (-2, 0));
}

#[test]
fn packets_from_before_the_first_count_for_no_loss() {
    let mut receiver = Receiver::valid_at(100);
    assert_eq!(receiver.packets([98, 98, 99]), [Verdict::Reordered, Verdict::Duplicate, Verdict::Reordered]);
    assert_eq!(receiver.report().cumulative_lost, 0);
    assert_eq!(receiver.stats.lost(), 0);
}

#[test]
fn the_limits_of_rfc_3550_are_kept() {
    let mut receiver = Receiver::valid_at(1_000);
    assert_eq!(receiver.packet(1_000 + MAX_DROPOUT - 1), Verdict::InOrder { gap: MAX_DROPOUT - 2 });
    let highest = 1_000 + MAX_DROPOUT - 1;
    assert_eq!(receiver.packet(highest - MAX_MISORDER), Verdict::Reordered);
    assert_eq!(receiver.packet(highest - MAX_MISORDER - 1), Verdict::TooOld);
    assert_eq!(receiver.packet(highest + MAX_DROPOUT), Verdict::Jumped);
    assert_eq!(receiver.packet(highest + 1), IN_ORDER);
}

#[test]
fn a_stray_packet_changes_nothing_and_two_in_a_row_restart() {
    let mut receiver = Receiver::valid_at(100);
    receiver.packets([101, 103]);
    assert_eq!(
        receiver.packets([30_000, 104, 30_001, 105]),
        [Verdict::Jumped, IN_ORDER, Verdict::Jumped, IN_ORDER]
    );
    assert_eq!((receiver.stats.restarts(), receiver.stats.lost()), (0, 1));
    assert_eq!(receiver.packets([30_000, 30_001, 30_002]), [Verdict::Jumped, Verdict::Restarted, IN_ORDER]);
    assert_eq!((receiver.stats.restarts(), receiver.stats.lost()), (1, 1));
    let report = receiver.report();
    assert_eq!((report.extended_highest_sequence, report.cumulative_lost), (30_002, 0));
    // Back again is a restart as well.
    assert_eq!(receiver.packets([200, 201]), [Verdict::TooOld, Verdict::Restarted]);
    assert_eq!(receiver.stats.discarded(), 5, "probation, three ahead, one behind");
}

#[test]
fn reports_say_when_the_last_sender_report_came() {
    let mut receiver = Receiver::valid_at(1);
    assert_eq!((receiver.report().last_sr, receiver.report().delay_since_last_sr), (0, 0));
    receiver.stats.handle_sender_report(receiver.now, NtpTime::from_bits(0xb44d_b705_2000_0000), 5);
    receiver.now += Duration::from_millis(5_250);
    let report = receiver.report();
    assert_eq!((report.last_sr, report.delay_since_last_sr), (0xb705_2000, 0x0005_4000));
    let last = receiver.stats.last_sender_report().unwrap();
    assert_eq!((last.rtp_timestamp, receiver.now - last.arrival), (5, Duration::from_millis(5_250)));
}

/// Packets every 10 ms by their timestamps, each `late` beyond that.
fn jitter_of(late: &[Duration], rate: u32) -> ReceiverStats {
    let start = start();
    let mut stats = ReceiverStats::new(7);
    for (index, late) in (0_u16..).zip(late) {
        // The first packet is on probation.
        let timestamp = u32::MAX.wrapping_add(u32::from(index) * (rate / 100));
        let header = Header { sequence: index, timestamp, ..Header::default() };
        stats.handle_rtp(start + Duration::from_millis(10) * u32::from(index) + *late, &header, rate);
    }
    stats
}

#[test]
fn steady_packets_have_no_jitter() {
    for rate in [8_000, 48_000, RATE, 192_000] {
        let stats = jitter_of(&[Duration::from_millis(3); 500], rate);
        // Arrival is cut to whole ticks, which may flicker by one.
        assert!(stats.jitter_ticks() <= 1, "{rate}: {}", stats.jitter_ticks());
    }
}

#[test]
fn jitter_follows_the_formula() {
    let mut rng = Rng::new(3);
    let late: Vec<_> = (0..2_000).map(|_| Duration::from_micros(rng.range(0..8_000))).collect();
    let expected = late[1..].windows(2).fold(0.0, |jitter, pair| {
        let difference = (pair[1].as_secs_f64() - pair[0].as_secs_f64()).abs();
        jitter + (difference - jitter) / 16.0
    });
    for rate in [8_000, RATE] {
        let stats = jitter_of(&late, rate);
        let measured = stats.jitter().as_secs_f64();
        assert!((measured - expected).abs() < 1.5 / f64::from(rate) + 1e-6, "{measured} {expected}");
        assert_eq!(stats.jitter_ticks(), (measured * f64::from(rate) + 0.01) as u32);
    }
}

#[test]
fn a_change_of_clock_keeps_the_jitter_and_takes_no_difference_across() {
    let mut receiver = Receiver::valid_at(100);
    let mut packet = |sequence, timestamp, millis, rate| {
        let header = Header { sequence, timestamp, ..Header::default() };
        let now = receiver.now + Duration::from_millis(millis);
        receiver.stats.handle_rtp(now, &header, rate);
        receiver.stats.jitter()
    };
    packet(101, 0, 10, RATE);
    let before = packet(102, 900, 36, RATE);
    assert!(before >= Duration::from_millis(1), "16 ms late: a sixteenth counts at once");
    // Told in ticks of another clock, it is cut to a sixteenth of one: 8 microseconds.
    let same = |now: Duration| now <= before && before - now < Duration::from_micros(8);
    assert!(same(packet(103, 3_000_000_000, 46, 8_000)), "another clock: no relation");
    assert!(same(packet(104, 5, 56, 0)), "an unknown clock: not measured");
    assert!(same(packet(105, 3_000_000_160, 66, 8_000)), "the first of a clock again");
    let after = packet(106, 3_000_000_240, 76, 8_000);
    assert!(after < before && after > before * 14 / 16, "{after:?} {before:?}");
}

#[test]
fn a_restart_keeps_the_jitter_too() {
    let mut receiver = Receiver::valid_at(100);
    receiver.packets([101, 102]);
    let before = receiver.stats.jitter();
    for (sequence, verdict) in [(30_000, Verdict::Jumped), (30_001, Verdict::Restarted)] {
        let header = Header { sequence, timestamp: 3_000_000_000, ..Header::default() };
        assert_eq!(receiver.stats.handle_rtp(receiver.now, &header, RATE), verdict);
    }
    assert_eq!(receiver.stats.jitter(), before, "timestamps on both sides of a restart have no relation");
}

#[test]
fn clocks_that_lie_do_not_overflow() {
    let mut receiver = Receiver::valid_at(1);
    let mut rng = Rng::new(1);
    for sequence in 2..3_000 {
        let header =
            Header { sequence, timestamp: rng.next_u32(), payload_len: u16::MAX, ..Header::default() };
        let rate = if sequence < 1_000 { RATE } else { rng.next_u32() };
        let now = receiver.now + Duration::from_secs(rng.range(0..1 << 40));
        receiver.stats.handle_rtp(now, &header, rate);
    }
    let _ = (receiver.stats.jitter(), receiver.report());
}

/// Any order of arrival, against sets of numbers that do not wrap.
#[test]
fn counting_agrees_with_a_plain_model() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let first = rng.range(0..70_000);
        let mut receiver = Receiver::valid_at(first as u16);
        let mut seen = BTreeSet::from([first]);
        let (mut highest, mut duplicates, mut reordered) = (first, 0, 0);
        for _ in 0..400 {
            let number = match rng.range(0..10) {
                0 => (highest + 1).saturating_sub(rng.range(0..101)).max(first),
                1 => highest + rng.range(1..400),
                _ => highest + 1,
            };
            let expected = if number > highest {
                let gap = (number - highest - 1) as u16;
                highest = number;
                Verdict::InOrder { gap }
            } else if seen.contains(&number) {
                duplicates += 1;
                Verdict::Duplicate
            } else {
                reordered += 1;
                Verdict::Reordered
            };
            seen.insert(number);
            assert_eq!(receiver.packet(number as u16), expected, "seed {seed}, packet {number}");
        }
        let expected = highest - first + 1;
        assert_eq!(receiver.stats.lost(), expected - seen.len() as u64);
        assert_eq!(receiver.stats.packets(), seen.len() as u64);
        assert_eq!(receiver.stats.duplicates(), duplicates);
        assert_eq!(receiver.stats.reordered(), reordered);
        let report = receiver.report();
        let cycles = (highest >> 16) - (first >> 16);
        assert_eq!(u64::from(report.extended_highest_sequence), cycles << 16 | highest & 0xffff);
        let received = seen.len() as i64 + duplicates as i64;
        assert_eq!(i64::from(report.cumulative_lost), expected as i64 - received);
    }
}

#[test]
fn a_sender_counts_and_measures_the_round_trip() {
    let start = start();
    let mut sender = SenderStats::new(9);
    sender.handle_sent(3, 1_000);
    sender.handle_sent(1, 200);
    let ntp = NtpTime::from_bits(0xb44d_b705_2000_0000);
    let info = sender.sender_report(start, ntp, 77);
    assert_eq!((info.ssrc, info.ntp, info.rtp_timestamp), (9, ntp, 77));
    assert_eq!((info.packet_count, info.octet_count), (4, 1_200));
    assert_eq!(sender.last_sender_report(), Some(start));

    // The example of RFC 3550 §6.4.1, figure 2.
    let block = ReportBlock {
        ssrc: 9,
        fraction_lost: 64,
        cumulative_lost: 5,
        extended_highest_sequence: 0x1_0000,
        jitter: 900,
        last_sr: 0xb705_2000,
        delay_since_last_sr: 0x0005_4000,
    };
    let now = start + Duration::from_millis(11_375);
    let report = sender.handle_report_block(now, &block, RATE).unwrap();
    assert_eq!(report.rtt, Some(Duration::from_millis(6_125)));
    assert_eq!((report.fraction_lost, report.cumulative_lost), (0.25, 5));
    assert_eq!((report.jitter, report.arrival), (Duration::from_millis(10), now));
    assert_eq!(sender.last_report(), Some(report));
}

#[test]
fn a_sender_believes_no_report_that_cannot_be() {
    let start = start();
    let mut sender = SenderStats::new(9);
    let block = ReportBlock { ssrc: 9, last_sr: 5, ..ReportBlock::default() };
    let answer = |sender: &mut SenderStats, block| {
        sender.handle_report_block(start + Duration::from_secs(1), &block, RATE)
    };
    assert_eq!(answer(&mut sender, ReportBlock { ssrc: 8, ..block }), None, "about another source");
    assert_eq!(sender.last_report(), None);
    assert_eq!(answer(&mut sender, block).unwrap().rtt, None, "no sender report was sent");

    let sent = |compact: u64| NtpTime::from_bits(compact << 16);
    sender.sender_report(start, sent(0), 0);
    assert_eq!(answer(&mut sender, ReportBlock { last_sr: 0, ..block }).unwrap().rtt, None, "none received");
    for compact in 5..9 {
        sender.sender_report(start, sent(compact), 0);
    }
    assert_eq!(answer(&mut sender, ReportBlock { last_sr: 4, ..block }).unwrap().rtt, None, "never sent");
    assert_eq!(answer(&mut sender, block).unwrap().rtt, Some(Duration::from_secs(1)), "the fourth last");
    let lying = ReportBlock { delay_since_last_sr: u32::MAX, ..block };
    assert_eq!(answer(&mut sender, lying).unwrap().rtt, Some(Duration::ZERO));
    sender.sender_report(start, sent(9), 0);
    assert_eq!(answer(&mut sender, block).unwrap().rtt, None, "forgotten");
    assert_eq!(sender.rtt(), Some(Duration::ZERO), "the last that was measured");
    // A clock rate of zero says nothing about jitter.
    let jitter = sender.handle_report_block(start, &ReportBlock { jitter: 9, ..block }, 0).unwrap().jitter;
    assert_eq!(jitter, Duration::ZERO);
}
