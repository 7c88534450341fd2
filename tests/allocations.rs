//! The packet path allocates nothing once it runs.

#![allow(clippy::indexing_slicing, reason = "what goes wrong here fails the test")]

mod common;

use std::alloc::System;
use std::time::Duration;

use common::{Publisher, Reader, TestMesh, keyframe};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Packets of one round.
const PACKETS: usize = 20_000;
/// What may be allocated meanwhile by what runs once a second: counters being published, sessions looked at.
const ONCE_A_SECOND: usize = 200;

#[test]
fn a_packet_costs_no_allocation() {
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "steady");
    let readers: Vec<_> = (0..10).map(|_| Reader::start(&mesh, "steady")).collect();
    let mut packet = keyframe(0, 0, 7, 1200);
    let mut sequence = 0u16;
    let mut round = |packets: usize| {
        for _ in 0..packets {
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(sequence) * 90).to_be_bytes());
            publisher.send(&packet);
            sequence = sequence.wrapping_add(1);
            if sequence.is_multiple_of(64) {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    // Queues, tables and the runtime grow to their working size.
    round(PACKETS);
    let before = ALLOCATOR.stats();
    round(PACKETS);
    let after = ALLOCATOR.stats();
    let allocations = (after.allocations - before.allocations) + (after.reallocations - before.reallocations);
    drop(readers);
    std::thread::sleep(Duration::from_millis(1200));
    assert!(mesh.counter("direction=\"rx\"") >= PACKETS as f64, "the packets must have come in");
    assert!(
        allocations <= ONCE_A_SECOND,
        "{allocations} allocations for {PACKETS} packets to 10 readers: something on the packet path allocates"
    );
}
