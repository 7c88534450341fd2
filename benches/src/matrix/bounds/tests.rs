use super::super::grid::{QUICK_PACKETS, cells};
use super::super::variants::UNPROTECTED;
use super::*;

fn outcome(missing: u64, overhead: f64) -> Outcome {
    Outcome {
        packets: 200_000,
        missing,
        late: 0,
        wrong: 0,
        overhead,
        delay_p50: Duration::ZERO,
        delay_p99: Duration::ZERO,
        wire_loss: 0.0,
        wire_packets: 0,
        code: None,
        took: Duration::ZERO,
    }
}

fn row(name: &str, outcomes: &[(&'static str, Outcome)]) -> Row {
    let cell = cells(false).into_iter().find(|cell| cell.name() == name).unwrap();
    Row { cell, outcomes: outcomes.to_vec() }
}

/// What is missed in the cell `name` by a controller of which `missing` of 200 000 packets are missing.
fn missed(name: &str, missing: u64, overhead: f64) -> Vec<String> {
    misses(&[row(name, &[(CONTROLLER, outcome(missing, overhead))])], false)
}

#[test]
fn where_several_round_trips_fit_nothing_is_lost() {
    assert_eq!(missed("8M/10%/random/rtt20/100ms", 0, 0.27), [""; 0]);
    assert_eq!(missed("8M/10%/random/rtt20/100ms", 1, 0.27).len(), 1);
    assert_eq!(missed("8M/10%/random/rtt20/100ms", 0, 0.271).len(), 1);
    assert_eq!(missed("2M/10%/random/rtt20/100ms", 0, 0.28), [""; 0]);
    assert_eq!(missed("2M/20%/random/rtt2/28ms", 20, 0.53), [""; 0]);
    assert_eq!(missed("2M/20%/random/rtt2/28ms", 21, 0.53).len(), 1);
    assert_eq!(missed("8M/10%/burst3/rtt80/340ms", 20, 9.0), [""; 0]);
    assert_eq!(missed("8M/10%/burst3/rtt80/340ms", 21, 9.0).len(), 1);
    assert_eq!(missed("8M/5%/burst10/rtt80/340ms", 100, 9.0), [""; 0]);
    assert_eq!(missed("8M/5%/burst10/rtt80/340ms", 101, 9.0).len(), 1);
    assert_eq!(missed("8M/10%/burst10/rtt80/340ms", 20_000, 9.0), [""; 0], "no bound by itself");
}

#[test]
fn shorter_budgets_allow_more() {
    assert_eq!(missed("8M/10%/random/rtt20/50ms", 2, 0.3), [""; 0]);
    assert_eq!(missed("8M/10%/random/rtt20/50ms", 3, 0.31).len(), 2);
    assert_eq!(missed("8M/5%/random/rtt80/60ms", 20, 0.5), [""; 0]);
    assert_eq!(missed("8M/5%/burst3/rtt80/60ms", 41, 0.51).len(), 2);
    // 16 + 8 packets and runs of ten: about one packet in eighty is beyond an ideal code.
    let ideal = Code { k: 16, m: 8 }.residual(Kind::Burst(10).loss(0.05));
    let at_most = (ideal * 1.3 * 200_000.0) as u64;
    assert!(at_most > 1_000);
    assert_eq!(missed("2M/5%/burst10/rtt80/60ms", at_most, 0.5), [""; 0]);
    assert_eq!(missed("2M/5%/burst10/rtt80/60ms", at_most + 1, 0.5).len(), 1);
}

#[test]
fn without_loss_it_costs_nothing() {
    let slow = Outcome { delay_p99: Duration::from_millis(2), ..outcome(0, 0.006) };
    // The bounds of the others are larger; 2.5 times no loss, and 2 %, is met.
    assert_eq!(misses(&[row("8M/0%/none/rtt20/50ms", &[(CONTROLLER, slow)])], false).len(), 2);
    assert_eq!(missed("8M/0%/none/rtt20/50ms", 0, 0.005), [""; 0]);
}

#[test]
fn two_paths_lose_nothing() {
    assert_eq!(missed("8M/5%/random/rtt20/100ms/two-paths", 0, 2.0), [""; 0]);
    assert_eq!(missed("8M/5%/random/rtt20/100ms/two-paths", 1, 2.0).len(), 1);
}

#[test]
fn the_controller_is_measured_against_what_is_set_by_hand() {
    // No bound of its own: the target is 20 of 200 000.
    let against = |missing, overhead| {
        let nack = (NACK, outcome(4_000, 0.1));
        let fec = (FEC, outcome(10, 0.4));
        misses(
            &[row("8M/20%/burst3/rtt2/28ms", &[nack, fec, (CONTROLLER, outcome(missing, overhead))])],
            false,
        )
    };
    assert_eq!(against(20, 0.45), [""; 0]);
    assert_eq!(against(21, 0.45).len(), 1);
    assert_eq!(against(20, 0.451).len(), 1, "FEC is the cheapest that meets the target");
    // None meets it: as good as the better one is enough, and the price is free.
    let hard = |missing| {
        let nack = (NACK, outcome(4_000, 0.1));
        let fec = (FEC, outcome(1_000, 0.4));
        misses(&[row("8M/20%/burst10/rtt2/28ms", &[nack, fec, (CONTROLLER, outcome(missing, 3.0))])], false)
    };
    assert_eq!(hard(1_100), [""; 0]);
    assert_eq!(hard(1_101).len(), 1);
}

#[test]
fn what_does_not_run_or_is_wrong_is_missed() {
    assert!(
        !misses(&[row("8M/10%/random/rtt20/100ms", &[(UNPROTECTED, outcome(0, 0.0))])], false).is_empty()
    );
    let wrong = Outcome { wrong: 1, ..outcome(0, 0.0) };
    assert_eq!(misses(&[row("8M/1%>10%/random/rtt20/100ms", &[(UNPROTECTED, wrong)])], false).len(), 1);
}

#[test]
fn a_quick_run_allows_for_chance() {
    let cell = row("8M/10%/random/rtt20/50ms", &[]).cell;
    let quick = |missing| {
        let outcome = Outcome { packets: QUICK_PACKETS, ..outcome(missing, 0.1) };
        misses(&[Row { cell, outcomes: vec![(CONTROLLER, outcome)] }], true)
    };
    assert_eq!(quick(3), [""; 0]);
    assert!(!quick(4).is_empty());
}
