//! The packet path allocates nothing once it runs: on plain hops, between members, and where it is SRTP.

// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::alloc::System;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;

use common::member::Ca;
use common::pair::{far, near};
use common::tls::{Authority, Tls, connect};
use common::{Publisher, Reader, TestMesh, keyframe, reader_port};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted is the whole process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Packets of one round.
const PACKETS: usize = 20_000;
/// What may be allocated meanwhile by what runs once a second or less often, in each mesh: counters being published,
/// sessions looked at, reports, questions about the way.
const ONCE_A_SECOND: usize = 200;

/// Packets that are under way at a time: what a socket holds.
const WINDOW: u16 = 32;

/// Sends packets through, sees each of them come out everywhere, and counts what `meshes` members allocate meanwhile.
fn measure(publisher: &Publisher, readers: &[&UdpSocket], meshes: usize) {
    let mut packet = keyframe(0, 0, 7, 1200);
    let mut received = [0; 2048];
    let mut sequence = 0u16;
    let mut round = |packets: usize| {
        for _ in 0..packets {
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(sequence) * 90).to_be_bytes());
            publisher.send(&packet);
            sequence = sequence.wrapping_add(1);
            if sequence.is_multiple_of(WINDOW) {
                for reader in readers {
                    for _ in 0..WINDOW {
                        let length = reader.recv(&mut received).expect("a packet was lost");
                        assert!(length >= packet.len());
                    }
                }
            }
        }
    };
    // Queues, tables and the runtime grow to their working size.
    round(PACKETS);
    let before = ALLOCATOR.stats();
    round(PACKETS);
    let after = ALLOCATOR.stats();
    let allocations = (after.allocations - before.allocations) + (after.reallocations - before.reallocations);
    let most = ONCE_A_SECOND * meshes;
    println!("{allocations} allocations for {PACKETS} packets");
    assert!(
        allocations <= most,
        "{allocations} allocations for {PACKETS} packets, at most {most}: something on the packet path allocates"
    );
}

fn sockets(readers: &[Reader]) -> Vec<&UdpSocket> {
    readers.iter().map(|reader| &reader.socket).collect()
}

/// How many of the two rounds' packets were counted with these labels.
fn share(mesh: &TestMesh, needle: &str) -> f64 {
    let metrics = mesh.metrics();
    let lines =
        metrics.lines().filter(|line| line.starts_with("msm_packets_total{") && line.contains(needle));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum::<f64>() / (2.0 * PACKETS as f64)
}

#[test]
fn a_packet_costs_no_allocation() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "steady");
    let readers: Vec<_> = (0..10).map(|_| Reader::start(&mesh, "steady")).collect();
    measure(&publisher, &sockets(&readers), 1);
    assert!(share(&mesh, "direction=\"rx\"") > 0.99, "{}", mesh.metrics());
    assert!(share(&mesh, "direction=\"tx\"") > 9.9, "{}", mesh.metrics());
}

#[test]
fn a_packet_between_members_costs_no_allocation() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let publisher = Publisher::start(&far, "steady");
    let readers: Vec<_> = (0..3).map(|_| Reader::start(&near, "steady")).collect();
    measure(&publisher, &sockets(&readers), 2);
    assert!(share(&far, "hop=\"mesh\",direction=\"tx\"") > 0.99, "{}", far.metrics());
    assert!(share(&near, "hop=\"mesh\",direction=\"rx\"") > 0.99, "{}", near.metrics());
    assert!(share(&near, "hop=\"plain\",direction=\"tx\"") > 2.9, "{}", near.metrics());
}

#[test]
fn a_packet_pushed_to_a_member_costs_no_allocation() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let publisher = Publisher::start(&near, "from/steady");
    // And back from there.
    let reader = Reader::start(&near, "from/steady");
    measure(&publisher, &[&reader.socket], 2);
    assert!(share(&near, "hop=\"mesh\",direction=\"tx\"") > 0.99, "{}", near.metrics());
    assert!(share(&far, "hop=\"mesh\",direction=\"rx\"") > 0.99, "{}", far.metrics());
}

/// A reader of SRTP, which a description has given its key.
fn secure_reader(authority: &Authority, address: SocketAddr) -> (common::Rtsp<Tls>, UdpSocket) {
    let url = format!("rtsps://{address}/steady");
    let mut rtsp = connect(address, authority.plain_client());
    assert_eq!(rtsp.ask("DESCRIBE", &url, &[], b"").status, 200);
    let (media, reports) = common::pair();
    drop(reports);
    let port = media.local_addr().unwrap().port();
    let transport = format!("RTP/SAVP;unicast;client_port={port}-{}", port + 1);
    let set_up = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)], b"");
    assert!(set_up.header("transport").starts_with("RTP/SAVP"), "{set_up:?}");
    assert_eq!(rtsp.ask("PLAY", &url, &[("Session", &set_up.session())], b"").status, 200);
    (rtsp, media)
}

#[test]
fn a_packet_protected_for_a_player_costs_no_allocation() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let mesh = TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: plain, address: \"127.0.0.1:0\", ports: {}}}\n  \
         - {{name: safe, address: \"127.0.0.1:0\", protocol: rtsps, srtp: true, ports: {}, tls: {}}}\n",
        reader_port(),
        reader_port(),
        authority.yaml("server", "")
    ));
    let publisher = Publisher::start(&mesh, "steady");
    let readers = [(); 3].map(|()| secure_reader(&authority, mesh.addresses[1]));
    let (mut wire, packet) = ([0; 2048], keyframe(u16::MAX, 0, 7, 1200));
    publisher.send(&packet);
    for (_, media) in &readers {
        let length = media.recv(&mut wire).unwrap();
        assert!(length > packet.len() && wire[12..64] != packet[12..64], "it is SRTP");
    }
    measure(&publisher, &readers.each_ref().map(|(_, media)| media), 1);
    assert!(share(&mesh, "direction=\"tx\"") > 2.9, "{}", mesh.metrics());
}
