//! What is lost between two members, and comes all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails the test"
)]

mod common;
#[path = "common/member.rs"]
mod member;
#[path = "common/pair.rs"]
mod pair;
#[path = "common/relay.rs"]
mod relay;
#[path = "common/stage.rs"]
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use msm::FlowProtection;
use msm_core::rng::Rng;
use relay::Way;
use stage::{Stage, is_rtp};

/// Drops one datagram in `each`, both ways, and counts the media's.
fn lose(stage: &Stage, each: u32) -> Arc<AtomicU64> {
    let lost = Arc::new(AtomicU64::new(0));
    let (counted, mut rng) = (Arc::clone(&lost), Rng::new(7));
    stage.relay.set(move |way, datagram| {
        if rng.next_u32() % each != 0 {
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
}
