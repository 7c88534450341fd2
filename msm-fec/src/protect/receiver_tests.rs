use msm_link::{Jitter, Loss, Reorder, Settings};
use proptest::prelude::*;

use super::super::testing::{Ends, path};
use super::*;
use crate::nack::testing::{epoch, ms};
use crate::protect::{Report, SenderConfig};

fn ends(budget: u64, links: &[Settings], mode: Mode) -> Ends {
    Ends::new(ms(budget), links, mode, 7)
}

/// After two seconds in which both ends learn what there is.
fn settled(budget: u64, links: &[Settings], mode: Mode) -> Ends {
    let mut ends = ends(budget, links, mode);
    ends.run(50);
    ends.settle();
    ends
}

#[test]
fn without_loss_nothing_waits_and_next_to_nothing_is_sent_beside() {
    let mut ends = settled(100, &[path(Loss::None, 20)], Mode::Duplicate);
    let before = ends.sender.counts();
    ends.delays.clear();
    ends.run(500);
    ends.settle();
    assert!(ends.delays.iter().all(|delay| *delay == ms(10)), "half a round trip each");
    let counts = ends.sender.counts();
    let media = (counts.media_bytes - before.media_bytes) as f64;
    let beside = (counts.beside_bytes - before.beside_bytes) as f64;
    assert!(beside <= 0.0075 * media, "{}: probes of small frames", beside / media);
    let received = ends.receiver.counts();
    assert_eq!((received.packets, received.lost, received.requested), (5500, 0, 0));
    assert_eq!(counts.repair_packets + counts.retransmitted, 0);
}

#[test]
fn what_is_lost_is_recovered_by_either_means_and_counted() {
    for (rtt, budget) in [(20, 100), (80, 60), (80, 140)] {
        let mut ends = settled(budget, &[path(Loss::Random(0.05), rtt)], Mode::Duplicate);
        let before = ends.missing();
        ends.run(500);
        ends.settle();
        let counts = ends.receiver.counts();
        assert!(ends.missing() - before <= 10, "{rtt} {budget}: {counts:?}");
        assert_eq!((counts.packets, counts.unrecovered), (ends.delivered, ends.missing()));
        let recovered = counts.recovered_by_fec + counts.recovered_by_nack;
        assert_eq!(counts.lost, recovered + counts.unrecovered);
        assert!((200..=360).contains(&counts.lost), "{counts:?}");
        let by_fec = counts.recovered_by_fec > counts.recovered_by_nack;
        assert_eq!(by_fec, rtt == 80 && budget == 60 || counts.repair_packets > 500, "{counts:?}");
        assert!(ends.receiver.explain().contains("round trip"), "{}", ends.receiver.explain());
    }
}

#[test]
fn single_packets_come_back_in_time_on_a_way_that_varies() {
    // Of the first a third round fits barely; of the second two do surely, and a third only where the way is short just then.
    let mut missing = 0;
    for (rtt, seed) in [30, 32].into_iter().flat_map(|rtt| (0..4).map(move |seed| (rtt, seed))) {
        let link = Settings { jitter: Jitter::Uniform(ms(2)), ..path(Loss::Random(0.1), rtt) };
        let mut ends = Ends::new(ms(100), &[link], Mode::Duplicate, seed);
        (ends.frame, ends.interval) = (1, ms(40));
        ends.run(15_000);
        ends.settle();
        missing += ends.missing();
    }
    assert!(missing <= 1, "{missing}");
}

#[test]
fn what_is_lost_first_is_missing_where_the_line_is_known_to_begin_before() {
    for told in [false, true] {
        let (now, mut receiver) = (epoch(), Receiver::new(ReceiverConfig::new(ms(100))));
        if told {
            receiver.begin(30_000);
        }
        receiver.handle_rtt(ms(20));
        // The first three are lost, and the next ones as far as a probe tells.
        let verdict = receiver.handle_packet(now, 30_003, Source::Media, &[3; 20]);
        receiver.handle_next(now, Next { next: 30_005, hold_off: Duration::ZERO, echo: None });
        receiver.handle_timeout(now + ms(5));
        let mut asked = vec![];
        while let Some(what) = receiver.poll_transmit(now + ms(5)) {
            if let ToSender::Request(request) = what {
                asked.extend(request.passes().flatten());
            }
        }
        asked.dedup();
        if !told {
            assert_eq!((verdict, asked), (Verdict::Pass, vec![30_004]));
            continue;
        }
        assert_eq!((verdict, asked), (Verdict::Held, vec![30_000, 30_001, 30_002, 30_004]));
        // Whoever says so later is too late.
        receiver.begin(29_000);
        for index in [30_000, 30_001, 30_002] {
            assert_eq!(receiver.handle_packet(now + ms(25), index, Source::Nack, &[0; 20]), Verdict::Pass);
        }
        assert!(receiver.poll_delivered().is_some_and(|delivered| delivered.index == 30_003));
        assert_eq!((receiver.counts().unrecovered, receiver.counts().recovered_by_nack), (0, 3));
    }
}

#[test]
fn who_may_not_ask_does_not() {
    let receiver = ReceiverConfig { nack: false, ..ReceiverConfig::new(ms(100)) };
    let links = [path(Loss::Random(0.05), 20)];
    let mut ends = Ends::of(SenderConfig::new(ms(100)), receiver, &links, 3);
    ends.run(200);
    ends.settle();
    assert_eq!((ends.sender.counts().retransmitted, ends.receiver.counts().recovered_by_nack), (0, 0));
    assert!(ends.receiver.explain().contains("does not ask"));
}

#[test]
fn a_path_that_dies_or_returns_costs_no_packet() {
    let links = [path(Loss::Random(0.02), 20), path(Loss::Random(0.02), 24)];
    let mut ends = settled(100, &links, Mode::Duplicate);
    let before = ends.missing();
    for cut in [0, 1, 0] {
        ends.paths[cut].set_up(ends.now, false);
        ends.run(50);
        assert_eq!(ends.receiver.path(cut).map(|path| path.alive), Some(false));
        ends.paths[cut].set_up(ends.now, true);
        ends.run(100);
        assert_eq!(ends.receiver.path(cut).map(|path| path.alive), Some(true));
    }
    ends.settle();
    let counts = ends.receiver.counts();
    assert_eq!(ends.missing(), before, "{counts:?}");
    // Of some four thousand packets by two paths, and of the fifteen hundred that were sent while one was cut.
    assert!((1500..=1900).contains(&counts.recovered_by_path), "{counts:?}");
    assert_eq!(
        counts.lost,
        counts.recovered_by_path + counts.recovered_by_nack + counts.recovered_by_fec + counts.unrecovered
    );
    assert!(counts.overhead() > 0.7 && ends.sender.counts().overhead() > 0.95, "copies are counted");
    assert_eq!(ends.receiver.path(2), None);
}

#[test]
fn each_path_is_counted_by_itself_whatever_comes_first() {
    let config = ReceiverConfig { paths: 2, copies: 32_768, ..ReceiverConfig::new(ms(100)) };
    let mut receiver = Receiver::new(config);
    let began = crate::nack::testing::epoch();
    for number in 0..2000u64 {
        let (now, index) = (began + ms(number), 65_000 + number);
        // The first loses each tenth, the second each seventh of those that come first by the first one. Copies do not open: they come
        // as numbers.
        if number % 10 != 0 {
            receiver.handle_packet_by(now, 0, index, Source::Media, &[7; 100]);
            if number % 7 != 0 {
                receiver.handle_copy(now, 1, index as u16, 100);
            }
        } else if number > 0 {
            receiver.handle_packet_by(now, 1, index, Source::Media, &[7; 100]);
        }
    }
    let [first, second] = [0, 1].map(|path| receiver.path(path).unwrap());
    assert_eq!((first.received, first.lost, second.first), (1800, 199, 199));
    assert!((220..=260).contains(&second.lost), "{second:?}");
    let counts = receiver.counts();
    assert_eq!((counts.unrecovered, counts.beside_bytes), (0, (second.received - second.first) * 100));
    // What either lost and the other had: but for what is too new to say so.
    let covered = first.lost + second.lost;
    assert!((covered - 2..=covered).contains(&counts.recovered_by_path), "{counts:?} {covered}");
}

#[test]
fn a_budget_that_becomes_shorter_is_kept_from_the_next_packet_on() {
    let mut receiver = Receiver::new(ReceiverConfig::new(ms(500)));
    let mut now = crate::nack::testing::epoch();
    let came = |receiver: &mut Receiver, now, index| {
        receiver.handle_packet(now, index, Source::Media, &[7; 100]) == Verdict::Pass
    };
    assert!(came(&mut receiver, now, 0));
    receiver.set_budget(ms(40));
    assert!(!came(&mut receiver, now, 2), "one is missing");
    now += ms(39);
    receiver.handle_timeout(now);
    assert!(receiver.poll_delivered().is_none());
    now += ms(1);
    receiver.handle_timeout(now);
    assert_eq!(receiver.poll_delivered().map(|delivered| delivered.index), Some(2));
    assert_eq!(receiver.counts().unrecovered, 1);
}

#[test]
fn paths_may_differ_by_up_to_the_budget() {
    let far = Settings { delay: ms(80), ..Settings::default() };
    let links = [path(Loss::Random(0.05), 20), far];
    let mut ends = settled(100, &links, Mode::Duplicate);
    let before = ends.missing();
    ends.run(300);
    ends.settle();
    let counts = ends.receiver.counts();
    assert_eq!(ends.missing(), before, "{counts:?}");
    assert!(counts.recovered_by_path > 100, "{counts:?}");
    // What the first path lost need not be asked for: it comes by the other.
    let again = ends.sender.counts().retransmitted;
    assert!(again < counts.recovered_by_path / 3, "{again} {counts:?}");
}

#[test]
fn a_path_of_a_spread_stream_that_dies_is_left() {
    let links = [path(Loss::None, 20), path(Loss::None, 20)];
    let mut ends = settled(200, &links, Mode::Spread);
    assert_eq!(ends.missing(), 0);
    ends.paths[0].set_up(ends.now, false);
    ends.run(100);
    let lost = ends.missing();
    ends.run(100);
    ends.settle();
    assert_eq!(ends.missing(), 0, "{lost}: asked for again by the other path");
    ends.paths[0].set_up(ends.now, true);
    let before = ends.receiver.path(0).map_or(0, |path| path.received);
    ends.run(100);
    let came = ends.receiver.path(0).map_or(0, |path| path.received) - before;
    assert!((300..=510).contains(&came), "half of them again: {came}");
    assert_eq!(ends.receiver.counts().recovered_by_path, 0);
}

#[test]
fn numbers_wrap_anywhere() {
    for first in [0xfff0, 0xffff_fff0, (1 << 47) - 5] {
        for (rtt, budget) in [(20, 100), (80, 60)] {
            let mut ends = ends(budget, &[path(Loss::Random(0.05), rtt)], Mode::Duplicate);
            ends.start_at(first);
            ends.run(100);
            ends.settle();
            assert!(ends.missing() < 40, "{first:x} {budget}: {}", ends.missing());
            assert_eq!(ends.receiver.window().stats().restarts, 0);
        }
    }
}

#[test]
fn clocks_that_jump_cost_a_moment_and_no_more() {
    for end in [0, 1] {
        for forward in [true, false] {
            let mut ends = ends(100, &[path(Loss::Random(0.02), 20)], Mode::Duplicate);
            ends.behind = [Duration::from_secs(7200); 2];
            ends.run(50);
            ends.behind[end] = Duration::from_secs(if forward { 3600 } else { 10_800 });
            ends.run(50);
            ends.settle();
            let before = ends.missing();
            ends.run(200);
            ends.settle();
            assert!(before <= 20, "end {end}, forward {forward}: {before}");
            assert!(
                ends.missing() <= before + 5,
                "end {end}, forward {forward}: {} {before}",
                ends.missing()
            );
        }
    }
}

#[test]
fn reports_are_echoed_once_and_measure_the_round_trip() {
    let mut ends = settled(100, &[path(Loss::None, 30), path(Loss::None, 30)], Mode::Duplicate);
    ends.run(50);
    let rtt = ends.receiver.requester().rtt().smoothed();
    assert_eq!(rtt, Some(ms(30)));
    let report = Report { id: 99, loss: 0.0, burst: 1.0, rtt, reorder: Duration::ZERO };
    let now = ends.now;
    let mut echoes = |id: u8| {
        ends.sender.handle_report_by(now, 0, &Report { id, ..report });
        ends.sender.handle_report_by(now, 1, &Report { id, ..report });
        std::iter::from_fn(|| ends.sender.poll_transmit().map(|_| ())).count()
    };
    assert_eq!((echoes(99), echoes(100)), (1, 1));
}

fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![
        (0.0..0.3).prop_map(Loss::Random),
        (0.0..0.2, 1.0..12.0).prop_map(|(loss, run)| Loss::bursts(loss, run)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// What comes out is a part of what went in, byte for byte, in order, once: [`Ends`] sees to that. And what both ends count fits.
    #[test]
    fn whatever_the_way_does_what_leaves_is_what_was_sent(
        loss in losses(),
        other in losses(),
        (rtt, budget) in (0_u64..120, 10_u64..300),
        jitter in 0_u64..30,
        (duplicate, reorder) in (0.0..0.2, 0.0..0.2),
        (paths, spread) in (1_usize..=3, any::<bool>()),
        (frame, seed) in (1_u64..40, any::<u32>()),
    ) {
        let base = Settings {
            jitter: Jitter::Uniform(ms(jitter)),
            keep_order: jitter % 2 == 0,
            duplicate,
            reorder: Some(Reorder { probability: reorder, distance: 3, at_most: ms(15) }),
            ..path(loss, rtt)
        };
        let links: Vec<_> = (0..paths).map(|path| if path == 0 { base } else { Settings { loss: other, ..base } }).collect();
        let mode = if spread { Mode::Spread } else { Mode::Duplicate };
        let mut ends = Ends::new(ms(budget), &links, mode, seed.into());
        ends.frame = frame;
        ends.run(60);
        ends.settle();
        let counts = ends.receiver.counts();
        prop_assert_eq!(counts.packets, ends.delivered);
        prop_assert!(counts.packets + counts.unrecovered <= ends.next - ends.first);
        let limit = 0.5 * ends.sender.counts().media_bytes as f64 + 262_144.0 + 100_000.0;
        let copies = if spread { 0 } else { paths as u64 - 1 } * ends.sender.counts().media_bytes;
        let beside = (ends.sender.counts().beside_bytes - copies) as f64;
        prop_assert!(beside <= limit * paths as f64, "{beside} {limit}");
    }
}
