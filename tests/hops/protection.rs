//! What is lost between two members, and comes all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use msm::{EventKind, FlowProtection};
use msm_core::rng::Rng;
use tokio::time::timeout;

use crate::common::VIDEO;
use crate::common::pair::numbered;
use crate::common::relay::{Relay, Way};
use crate::common::stage::{Stage, is_rtp};

/// Drops one datagram in `each`, both ways, and counts the media's.
fn lose(stage: &Stage, each: u32) -> Arc<AtomicU64> {
    let lost = Arc::new(AtomicU64::new(0));
    let (counted, mut rng) = (Arc::clone(&lost), Rng::new(7));
    stage.relay.set(move |way, datagram| {
        if !rng.next_u32().is_multiple_of(each) {
            return vec![datagram.to_vec()];
        }
        counted.fetch_add(u64::from(way == Way::ToDialler && is_rtp(datagram)), Ordering::Relaxed);
        vec![]
    });
    lost
}

fn protection(stage: &Stage, receives: bool) -> FlowProtection {
    let mesh = if receives { &stage.near } else { &stage.far };
    let status = mesh.block_on(mesh.mesh.status());
    let flows = status.hops.into_iter().flat_map(|hop| hop.protection);
    flows
        .filter(|flow| flow.receives == receives)
        .max_by_key(|flow| flow.packets)
        .expect("no flow is protected")
}

#[test]
fn packets_that_are_lost_are_sent_again_in_order() {
    let mut stage = Stage::new();
    let lost = lose(&stage, 10);
    stage.pass(2000);
    let flow = protection(&stage, true);
    assert!(lost.load(Ordering::Relaxed) > 100, "{lost:?}");
    assert!(flow.recovered_by_nack > 50, "{flow:?}");
    assert_eq!(flow.unrecovered, 0, "{flow:?}");
    let sent = protection(&stage, false);
    assert!(sent.retransmitted >= flow.recovered_by_nack, "{sent:?}");
    assert_eq!(stage.near.counter("msm_dropped_total{reason=\"hop_beside"), 0.0, "{}", stage.near.metrics());
    assert_eq!(
        stage.far.counter("msm_dropped_total{reason=\"hop_unanswered"),
        0.0,
        "the hub has what was asked for"
    );
}

#[test]
fn what_is_not_lost_costs_next_to_nothing() {
    let mut stage = Stage::new();
    stage.pass(1500);
    std::thread::sleep(Duration::from_millis(100));
    let (came, sent) = (protection(&stage, true), protection(&stage, false));
    assert_eq!(
        (came.lost, came.unrecovered, sent.retransmitted, sent.repair_packets),
        (0, 0, 0, 0),
        "{came:?} {sent:?}"
    );
    assert!(sent.overhead <= 0.005, "{sent:?}");
    // Both say what they do, and why.
    assert!(came.plan.contains("asks for packets") && sent.plan.contains("no FEC"), "{came:?} {sent:?}");
    let planned = |name: &str| stage.far.counter(&format!("msm_hop_{name}"));
    assert_eq!(planned("protected_flows{means=\"nack\"}"), 1.0, "{}", stage.far.metrics());
    assert!(planned("protection_plan_changes_total") >= 1.0 && planned("planned_rounds") >= 1.0);
    assert_eq!(planned("planned_repair_ratio"), 0.0);
    assert_eq!(stage.near.counter("msm_hop_protected_flows"), 0.0, "it sends nothing");
}

/// What comes of `count` packets that are sent in frames of eight, each 5 ms after the one before.
fn frames(stage: &mut Stage, count: u16) -> u64 {
    let mut came = 0;
    let first = stage.next;
    for number in first..first + count {
        let mut packet = numbered(number);
        if number % 8 != 7 {
            // The marker is the last packet's of a frame.
            packet[1] &= 0x7f;
        }
        stage.publisher.send(&packet);
        if number % 8 == 7 {
            std::thread::sleep(Duration::from_millis(5));
            while stage.reader.try_recv(Duration::from_micros(1)).is_some() {
                came += 1;
            }
        }
    }
    stage.next += count;
    while stage.reader.try_recv(Duration::from_millis(300)).is_some() {
        came += 1;
    }
    came
}

#[test]
fn without_protection_what_is_lost_is_lost() {
    let mut stage = Stage::by(", protection: {latency: 0s}");
    let lost = lose(&stage, 10);
    let came = frames(&mut stage, 800);
    let lost = lost.load(Ordering::Relaxed);
    assert!(lost > 30 && came == 800 - lost, "{came} came, {lost} were lost");
    let status = stage.near.block_on(stage.near.mesh.status());
    assert!(status.hops.iter().all(|hop| hop.protection.is_empty()), "{status:?}");
}

#[test]
fn repair_packets_bring_back_what_is_not_asked_for() {
    let mut stage = Stage::by(", protection: {latency: 150ms, nack: off, overhead: 100%}");
    let lost = lose(&stage, 20);
    // What is lost is measured first.
    frames(&mut stage, 2000);
    let before = protection(&stage, true);
    frames(&mut stage, 4000);
    let flow = protection(&stage, true);
    assert!(lost.load(Ordering::Relaxed) > 150);
    let (fec, unrecovered) =
        (flow.recovered_by_fec - before.recovered_by_fec, flow.unrecovered - before.unrecovered);
    assert_eq!(flow.recovered_by_nack, 0, "{flow:?}");
    let sent = protection(&stage, false);
    assert!(fec > 100 && unrecovered * 20 < fec, "{unrecovered} of {}: {flow:?} {sent:?}", fec + unrecovered);
    assert!(sent.repair_packets > 0 && sent.overhead <= 1.1, "{sent:?}");
}

/// What the far member says of a stream that an application publishes to it, after `count` packets that all came.
fn published(stage: &Stage, options: &msm::Options, count: u16) -> FlowProtection {
    let url = stage.near.url("from/app");
    stage.near.block_on(async {
        let publisher = stage.near.mesh.publish_with(&url, VIDEO, options).await.unwrap();
        let mut reader = stage.near.mesh.open(&url).await.unwrap();
        for number in 0..count {
            let sent = numbered(number);
            publisher.send(0, sent.clone()).unwrap();
            let packet = timeout(Duration::from_secs(5), reader.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(packet.payload[..], sent[12..], "{number}");
        }
    });
    let status = stage.far.block_on(stage.far.mesh.status());
    let flow = status.hops.into_iter().flat_map(|hop| hop.protection).find(|flow| flow.receives);
    flow.expect("no flow is protected")
}

#[test]
fn what_an_application_publishes_to_a_member_is_protected_too() {
    let stage = Stage::new();
    let mut rng = Rng::new(3);
    stage.relay.set(
        move |_, datagram| {
            if rng.next_u32().is_multiple_of(10) { vec![] } else { vec![datagram.to_vec()] }
        },
    );
    let options = msm::Options::default().latency(Duration::from_millis(80));
    let mut events = stage.near.mesh.events();
    let flow = published(&stage, &options, 1000);
    // Who sends has told what it does, from the first plan of the stream on.
    let told = std::iter::from_fn(|| events.try_next()).find_map(|event| match event.kind {
        EventKind::ProtectionChanged { label, plan } => Some((event.stream, event.name, label, plan)),
        _ => None,
    });
    let (stream, name, label, plan) = told.expect("a plan is told");
    assert!(stream.is_some() && name.contains("from/app") && !label.is_empty(), "{name} {label}");
    assert!(plan.contains("loss ") && plan.contains("budget 80 ms"), "{plan}");
    assert_eq!((flow.latency_ms, flow.unrecovered), (80.0, 0), "{flow:?}");
    assert!(flow.recovered_by_nack > 50, "{flow:?}");
}

/// The first packets of the media are lost that way, so many of them, once.
fn lose_first(relay: &Relay, to: Way, count: usize) {
    let mut left = count;
    relay.set(move |way, datagram| {
        if way == to && left > 0 && is_rtp(datagram) {
            left -= 1;
            return vec![];
        }
        vec![datagram.to_vec()]
    });
}

/// Before the first packet comes its receiver knows where the line begins: the sender said so.
#[test]
fn the_very_first_packets_come_again_too() {
    for count in [1, 4] {
        let stage = Stage::behind("", |relay| lose_first(relay, Way::ToDialler, count));
        let flow = protection(&stage, true);
        // What is lost behind the first is what was sent again of it: nothing else is sent before that has come.
        assert_eq!((flow.lost, flow.recovered_by_nack, flow.unrecovered), (1, 1, 0), "{count}: {flow:?}");
    }
}

#[test]
fn the_very_first_packets_that_are_published_come_again_too() {
    let stage = Stage::new();
    lose_first(&stage.relay, Way::ToAcceptor, 3);
    let flow = published(&stage, &msm::Options::default(), 20);
    assert_eq!((flow.lost, flow.recovered_by_nack, flow.unrecovered), (1, 1, 0), "{flow:?}");
}

#[test]
fn packets_in_another_order_wait_for_each_other() {
    let mut stage = Stage::new();
    stage.swap();
    for pair in 0..100u16 {
        let packets = stage.send_two();
        for packet in &packets {
            stage.line.check(&stage.reader.recv(), packet);
        }
        assert_eq!(protection(&stage, true).unrecovered, 0, "pair {pair}");
    }
}
