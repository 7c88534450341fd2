use msm_link::{Loss, Rate, Settings};

use super::super::testing::{Ends, packet, path};
use super::*;
use crate::nack::testing::{epoch, ms};
use crate::protect::ReceiverConfig;

/// One whose plan has a fixed share, by the frames of 10 that it has sent.
fn pinned(share: f64) -> (Sender<u64>, Instant) {
    // Repair packets are longer than most: the share is what is looked at, and not what they take.
    let limits = Limits { share: Some(share), overhead: 1.0, ..Limits::default() };
    let mut sender = Sender::new(SenderConfig { limits, ..SenderConfig::new(ms(60)) });
    let mut now = epoch();
    for frame in 0..3 {
        for index in frame * 10..frame * 10 + 10 {
            sender.handle_source(now, index, &packet(index), index % 10 == 9, index);
        }
        now += ms(40);
    }
    let report = Report { id: 1, loss: 0.02, burst: 1.0, rtt: Some(ms(80)), reorder: Duration::ZERO };
    assert!(sender.handle_report(now, &report));
    while sender.poll_transmit().is_some() {}
    (sender, now)
}

fn repairs(sender: &mut Sender<u64>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| match sender.poll_transmit_by()? {
        (_, ToReceiver::Repair(repair)) => Some(Some(repair.payload.to_vec())),
        _ => Some(None),
    })
    .flatten()
    .collect()
}

#[test]
fn bursts_are_protected_as_their_packets_are_one_by_one() {
    let (mut one, now) = pinned(0.3);
    let (mut other, _) = pinned(0.3);
    let bytes: Vec<_> = (30..130).map(packet).collect();
    let source = |index: u64| SourcePacket {
        bytes: bytes[index as usize - 30].as_slice(),
        last: index % 10 == 9,
        reference: index,
    };
    for index in 30..130 {
        let SourcePacket { bytes, last, reference } = source(index);
        one.handle_source(now, index, bytes, last, reference);
    }
    // Not along the frames, and longer than what is encoded at a time.
    for (from, to) in [(30, 33), (33, 75), (75, 75), (75, 76), (76, 130)] {
        other.handle_burst(now, from, (from..to).map(source));
    }
    let repaired = repairs(&mut one);
    assert_eq!((repaired.len(), repairs(&mut other)), (30, repaired));
    assert_eq!(one.counts(), other.counts());
    assert_eq!((one.counts().packets, one.counts().repair_packets), (130, 30));
}

#[test]
fn a_share_is_kept_on_average_whatever_the_size_of_frames() {
    for share in [0.05, 0.13, 0.3, 0.48] {
        let (mut sender, mut now) = pinned(share);
        let mut rng = msm_core::rng::Rng::new(3);
        let (mut index, mut made) = (30, 0);
        for frame in 0..600 {
            now += ms(40);
            let packets = if frame % 25 == 0 { 90 } else { 1 + rng.range(0..20) };
            for number in 0..packets {
                sender.handle_source(now, index, &packet(index), number + 1 == packets, index);
                index += 1;
            }
            made += repairs(&mut sender).len();
        }
        let is = made as f64 / (index - 30) as f64;
        assert!((is / share - 1.0).abs() < 0.05, "{share}: {is}");
    }
}

#[test]
fn what_is_too_long_is_counted_and_others_are_protected() {
    let (mut sender, now) = pinned(0.3);
    let long = vec![0x80; 1600];
    for index in 30..40 {
        let bytes = packet(index);
        sender.handle_source(now, index, if index == 34 { &long } else { &bytes }, index == 39, index);
    }
    assert_eq!((sender.counts().skipped, sender.skipped()), (1, 1));
    assert!(!repairs(&mut sender).is_empty());
}

#[test]
fn repair_packets_tell_where_the_line_ends_where_next_to_nothing_is_lost() {
    let probes = |share: f64, loss: Loss| {
        let limits = Limits { share: Some(share), ..Limits::default() };
        let sender = SenderConfig { limits, ..SenderConfig::new(ms(35)) };
        let mut ends = Ends::of(sender, ReceiverConfig::new(ms(35)), &[path(loss, 10)], 5);
        // Until it is sure that little is lost.
        ends.run(2500);
        let before = ends.sender.tail.sent();
        ends.run(500);
        ends.settle();
        (ends.sender.tail.sent() - before, ends.missing())
    };
    // Two packets after each frame, and one or two.
    assert_eq!((probes(0.2, Loss::None), probes(0.15, Loss::None)), ((0, 0), (0, 0)));
    // Some frames have none.
    assert!(probes(0.08, Loss::None).0 > 100);
    // One is lost now and then together with what it would tell of.
    let (sent, missing) = probes(0.1, Loss::Random(0.002));
    assert!(sent > 250 && missing == 0, "{sent}, {missing}");
}

#[test]
fn pins_hold() {
    let links = [path(Loss::Random(0.1), 20)];
    let run = |limits: Limits, budget| {
        let sender = SenderConfig { limits, ..SenderConfig::new(ms(budget)) };
        let mut ends = Ends::of(sender, ReceiverConfig::new(ms(budget)), &links, 5);
        ends.run(300);
        ends.settle();
        let counts = ends.sender.counts();
        (counts.repair_packets > 0, counts.retransmitted > 0, counts.overhead())
    };
    let limits = Limits::default();
    let (fec, nack, _) = run(Limits { fec: false, nack: false, ..limits }, 100);
    assert!(!fec && !nack);
    let (fec, nack, _) = run(Limits { nack: false, ..limits }, 100);
    assert!(fec && !nack);
    let (fec, nack, _) = run(Limits { fec: false, ..limits }, 30);
    assert!(!fec && nack);
    let (fec, _, overhead) = run(Limits { share: Some(0.2), ..limits }, 100);
    assert!(fec && (0.18..0.4).contains(&overhead), "{overhead}");
    // What is told before the first plan is beside it.
    let (_, _, overhead) = run(Limits { overhead: 0.1, nack: false, ..limits }, 60);
    assert!(overhead <= 0.1 + 0.01, "{overhead}");
}

#[test]
fn other_limits_hold_from_the_next_report_on() {
    let mut ends = Ends::new(ms(60), &[path(Loss::Random(0.05), 80)], Mode::Duplicate, 2);
    ends.run(200);
    assert!(ends.sender.plan().is_some_and(|plan| plan.code.is_some()), "{}", ends.sender.explain());
    ends.sender.set_limits(Limits { fec: false, ..Limits::default() });
    ends.run(200);
    assert!(ends.sender.plan().is_some_and(|plan| plan.code.is_none()), "{}", ends.sender.explain());
}

#[test]
fn steps_of_the_loss_are_followed_up_at_once_and_down_after_a_while() {
    let mut ends = Ends::new(ms(60), &[path(Loss::None, 80)], Mode::Duplicate, 4);
    let share = |ends: &Ends| ends.sender.plan().map_or(0.0, |plan| plan.share);
    ends.run(250);
    assert!(share(&ends).abs() < 1e-9);
    ends.paths[0].set(ends.now, path(Loss::Random(0.05), 80));
    ends.run(50);
    assert!(share(&ends) > 0.15, "two seconds later: {}", ends.sender.explain());
    ends.paths[0].set(ends.now, path(Loss::None, 80));
    ends.run(500);
    assert!(share(&ends) <= 0.15 + 1e-9, "twenty seconds later: {}", ends.sender.explain());
    ends.run(3000);
    assert!(share(&ends) < 0.08, "two minutes later: {}", ends.sender.explain());
}

#[test]
fn a_queue_that_overflows_loses_no_more_than_without() {
    // Frames of 10 at 25 a second are 2.1 Mbit/s; with all that may be added it is more than what passes.
    let narrow = Rate { bits_per_second: 2_400_000, queue_bytes: 30_000 };
    let link = Settings { rate: Some(narrow), ..path(Loss::Random(0.02), 80) };
    let missing = |limits: Limits| {
        let sender = SenderConfig { limits, ..SenderConfig::new(ms(60)) };
        let mut ends = Ends::of(sender, ReceiverConfig::new(ms(60)), &[link], 6);
        ends.run(1500);
        ends.settle();
        (ends.missing(), ends.sender.counts().repair_packets)
    };
    let (without, none) = missing(Limits { fec: false, ..Limits::default() });
    let (with, some) = missing(Limits::default());
    assert!(none == 0 && some > 1000 && with < without, "{with} {without}");
}

/// Repair packets of blocks with packets of very different sizes are as long as the longest, and what is asked for comes on top.
#[test]
fn all_that_is_sent_beside_the_media_is_within_the_limit() {
    for (overhead, share) in [(0.5, Some(0.45)), (0.2, Some(0.2)), (0.5, None), (0.0, None)] {
        let limits = Limits { overhead, share, ..Limits::default() };
        let mut sender = Sender::new(SenderConfig { limits, ..SenderConfig::new(ms(60)) });
        let mut now = epoch();
        let (mut index, mut most) = (0_u64, 0.0_f64);
        for frame in 0..2000_u64 {
            for number in 0..10 {
                let length = if number == 0 { 1200 } else { 60 + index as usize % 90 };
                let bytes = vec![index as u8; length];
                sender.handle_source(now, index, &bytes, number == 9, index);
                index += 1;
            }
            let id = frame as u8;
            let report = Report { id, loss: 0.3, burst: 3.0, rtt: Some(ms(15)), reorder: Duration::ZERO };
            sender.handle_report(now, &report);
            // Who asks for everything gets what is left.
            sender.handle_request(now, (index.saturating_sub(40)..index).map(|index| index as u16));
            now += ms(40);
            sender.handle_timeout(now);
            while sender.poll_transmit().is_some() {}
            let counts = sender.counts();
            let probes = 69.0 * (frame as f64 + 1.0) * 2.0;
            let allowed = overhead * counts.media_bytes as f64 + START_BYTES as f64 + 1500.0 + probes;
            most = most.max(counts.beside_bytes as f64 / allowed);
        }
        assert!(most <= 1.0, "{overhead} {share:?}: {most}");
        let counts = sender.counts();
        assert_eq!(counts.repair_packets + counts.retransmitted > 0, overhead > 0.0, "{counts:?}");
        assert!(counts.refused > 0, "{counts:?}");
    }
}
