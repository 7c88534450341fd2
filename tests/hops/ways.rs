//! Ways between two members that lose much, pass in one direction, or map ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::member::Ca;
use crate::common::pair::{far, near, numbered, pass};
use crate::common::relay::{Relay, Way};
use crate::common::stage::{Stage, is_rtp};
use crate::common::{Line, Publisher, Reader, keyframe, reader_port};

#[test]
fn a_way_that_passes_in_one_direction_is_left_within_two_seconds() {
    for deaf in [Way::ToDialler, Way::ToAcceptor] {
        let mut stage = Stage::new();
        stage.relay.set(move |way, datagram| if way == deaf { vec![] } else { vec![datagram.to_vec()] });
        stage.wait_way("tcp");
        stage.pass(100);
        stage.relay.set(|_, datagram| vec![datagram.to_vec()]);
        stage.wait_way("udp ");
        stage.pass(100);
    }
}

/// A receiver that missed 2^15 numbers in a row takes those that follow for others, unless it is told.
#[test]
fn after_more_loss_than_numbers_can_tell_media_goes_on() {
    for enough in [34_000u32, 134_000] {
        let stage = Stage::new();
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        stage.relay.set(move |_, datagram| {
            if is_rtp(datagram) {
                counted.fetch_add(1, Ordering::Relaxed);
                return vec![];
            }
            vec![datagram.to_vec()]
        });
        let path = "live/many";
        let publisher = Publisher::start(&stage.far, path);
        publisher.send(&numbered(0));
        let reader = Reader::start(&stage.near, path);
        let mut sent = 1u32;
        let lost = || dropped.load(Ordering::Relaxed);
        // As many as were sent between the members: on a busy machine, fewer than came from the publisher.
        while lost() < u64::from(enough) {
            assert!(sent < 10 * enough, "{} were dropped on the way", lost());
            publisher.send(&numbered(sent as u16));
            sent += 1;
            if sent.is_multiple_of(16) {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        stage.relay.set(|_, datagram| vec![datagram.to_vec()]);
        // The next report tells; readers then see the gap, and what follows it from a keyframe on.
        let deadline = Instant::now() + Duration::from_secs(12);
        let mut came = 0;
        while came < 50 {
            assert!(Instant::now() < deadline, "{came} packets came\n{}", stage.near.metrics());
            publisher.send(&keyframe(sent as u16, sent * 3000, 7, 1000));
            sent += 1;
            came += u32::from(reader.try_recv(Duration::from_millis(5)).is_some());
        }
    }
}

#[test]
fn a_member_whose_port_is_mapped_is_reached_by_udp_too() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let mapped = SocketAddr::from(([127, 0, 0, 2], reader_port()));
    assert_ne!(mapped.port(), hop.port());
    let relay = Relay::start_at(mapped, hop);
    let near = near(&ca.member("/near"), relay.address, "");
    let publisher = Publisher::start(&far, "live/one");
    let reader = Reader::start(&near, "live/one");
    pass((&publisher, &reader), &mut Line::default(), &mut 0, 100);
    let way = near.block_on(near.mesh.status()).hops[0].way.clone();
    assert_eq!(way, format!("udp {mapped}"));
}

/// The peer ends sessions of an SVID that expired: what is not re-keyed in one try is in the next.
#[test]
fn a_new_identity_whose_first_tries_fail_re_keys_all_the_same() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let relay = Relay::start(hop);
    let source = ca.member_for("/near", 6);
    let near = near(&source, relay.address, "");
    let publisher = Publisher::start(&far, "live/one");
    let reader = Reader::start(&near, "live/one");
    let mut line = Line::default();
    let began = Instant::now();
    let mut number = 0;
    let mut pass = |until: Duration| {
        while began.elapsed() < until {
            let packet = numbered(number);
            number += 1;
            publisher.send(&packet);
            line.check(&reader.recv(), &packet);
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    pass(Duration::from_secs(1));
    // No new connection for a while, when there is a new SVID; the old connection stays.
    relay.refuse(true);
    source.put(ca.svid("/near", 3600), [ca.bundle()]);
    pass(Duration::from_secs(3));
    assert_eq!(far.counter("msm_hop_rekeys_total"), 0.0);
    // Requests are answered meanwhile.
    let second = Reader::start(&near, "live/one");
    drop(second);
    relay.refuse(false);
    // Past the end of the first SVID.
    pass(Duration::from_secs(9));
    assert!(far.counter("msm_hop_rekeys_total") >= 1.0, "{}", far.metrics());
    assert_eq!(near.counter("msm_hop_lost_total"), 0.0);
}
