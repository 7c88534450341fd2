//! Two peers in one thread under virtual time: a sender with history, responder and tail probes, a receiver that asks; requests and
//! answers as bytes, over a way that loses both.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]

mod common;

use common::{Hop, Way, ms};
use std::time::Duration;

/// The budget that the table calls 4 × RTT + 20.
fn budget(rtt: u64) -> Duration {
    ms(4 * rtt + 20)
}

/// `packets` packets, of frames of `frame`; lost, and bytes beside the media per byte of it.
fn run(seed: u64, way: Way, rtt: u64, frame: u64, packets: u64) -> (u64, f64) {
    let mut hop = Hop::new(seed, way, ms(rtt), budget(rtt), frame);
    hop.run(packets);
    println!("loss {:.3} burst {} rtt {rtt} frame {frame}: {}", way.loss, way.burst, hop.summary());
    hop.check();
    (hop.unrecovered(), hop.overhead())
}

fn random(loss: f64) -> Way {
    Way { loss, ..Way::default() }
}

#[test]
fn a_tenth_lost_both_ways_is_all_recovered() {
    for (rtt, frame) in [(20, 33), (80, 33), (20, 8), (80, 8), (2, 33), (2, 8)] {
        let (lost, overhead) = run(1, random(0.1), rtt, frame, 150_000);
        assert_eq!(lost, 0, "round trip {rtt}");
        let bound = 2.5 * 0.1 + if frame == 33 { 0.02 } else { 0.03 };
        assert!(overhead <= bound, "{overhead}");
    }
}

/// The table's bound, in full: some minutes.
#[test]
#[ignore = "three million packets a cell"]
fn a_tenth_lost_both_ways_is_all_recovered_in_three_million() {
    for (rtt, frame) in [(20, 33), (80, 33), (2, 33), (2, 8), (20, 8), (80, 8)] {
        let (lost, _) = run(11, random(0.1), rtt, frame, 3_000_000);
        assert_eq!(lost, 0, "round trip {rtt}");
    }
    for rtt in [2, 20, 80] {
        let (lost, _) = run(12, random(0.2), rtt, 33, 1_000_000);
        assert!(lost <= 20, "{lost}");
    }
}

#[test]
fn little_loss_is_all_recovered_and_costs_little() {
    for (loss, frame) in [(0.001, 33), (0.001, 8), (0.01, 33), (0.01, 8)] {
        for rtt in [2, 20, 80] {
            let (lost, overhead) = run(2, random(loss), rtt, frame, 60_000);
            assert_eq!(lost, 0, "round trip {rtt}");
            let bound = 2.5 * loss + if frame == 33 { 0.02 } else { 0.03 };
            assert!(overhead <= bound, "{overhead}");
        }
    }
}

#[test]
fn a_fifth_lost_leaves_next_to_nothing() {
    for rtt in [2, 20, 80] {
        let (lost, overhead) = run(3, random(0.2), rtt, 33, 100_000);
        assert!(lost <= 3, "{lost}");
        assert!(overhead <= 2.5 * 0.2 + 0.02, "{overhead}");
    }
}

#[test]
fn bursts_leave_little() {
    let burst = |loss, burst| Way { loss, burst, ..Way::default() };
    for rtt in [20, 80] {
        let (lost, _) = run(4, burst(0.1, 3.0), rtt, 33, 100_000);
        assert!(lost <= 10, "{lost}");
        let (lost, _) = run(5, burst(0.05, 10.0), rtt, 33, 100_000);
        assert!(lost <= 50, "{lost}");
    }
}

#[test]
fn without_loss_nothing_is_asked_and_nearly_nothing_sent() {
    for frame in [8, 33] {
        let mut hop = Hop::new(6, Way::default(), ms(20), budget(20), frame);
        hop.run(100_000);
        hop.check();
        assert_eq!(hop.requester_stats().requested, 0);
        hop.reset_overhead();
        hop.run(100_000);
        println!("{}", hop.summary());
        assert!(hop.overhead() <= 0.005, "{}", hop.overhead());
    }
}

#[test]
fn jitter_reordering_and_duplicates_cost_no_packet() {
    let way = Way { loss: 0.05, jitter: ms(6), duplicates: 0.02, ..Way::default() };
    for rtt in [20, 80] {
        let (lost, _) = run(7, way, rtt, 33, 100_000);
        assert_eq!(lost, 0);
    }
    // Reordering is told from loss, also where answers come sooner than what was overtaken.
    for rtt in [20, 2] {
        let mut hop = Hop::new(8, Way { loss: 0.0, ..way }, ms(rtt), budget(rtt), 33);
        hop.run(100_000);
        hop.check();
        let stats = hop.requester_stats();
        println!("{}", hop.summary());
        assert!(stats.late > 10_000 && hop.unrecovered() == 0, "{stats:?}");
        assert!(((stats.spurious + stats.answered) as f64) < 0.01 * stats.late as f64, "{stats:?}");
    }
}

/// Ten million packets would pass the line's wrap of 16 bits hundreds of times; and these start just below one of 32.
#[test]
fn the_line_wraps_anywhere() {
    for first in [0xff00, 0xffff_ff00, (1 << 47) - 3] {
        let mut hop = Hop::new(9, random(0.1), ms(20), budget(20), 33);
        hop.start_at(first);
        hop.run(3_000);
        hop.check();
        assert_eq!(hop.unrecovered(), 0);
    }
}
