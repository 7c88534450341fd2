use super::*;
use crate::control::{Channel, Traffic};

fn video(packets: f64) -> Traffic {
    Traffic {
        packets,
        interval: Duration::from_millis(40),
        length: Duration::from_micros((packets * 100.0) as u64),
        bytes: 1200.0,
        longest: 1200.0,
    }
}

fn at(loss: f64, burst: f64, rtt: u64, budget: u64, packets: f64) -> Conditions {
    let channel = Channel { loss, burst }.sane();
    Conditions {
        runs: 1000.0,
        forward: channel,
        back: channel,
        rtt: Duration::from_millis(rtt),
        detection: Duration::from_millis(2),
        budget: Duration::from_millis(budget),
        traffic: video(packets),
    }
}

#[test]
fn nothing_is_spent_where_nothing_is_lost() {
    let plan = at(0.0, 1.0, 20, 100, 33.0).plan(&Limits::default());
    assert_eq!((plan.code, plan.overhead), (None, 0.0));
}

#[test]
fn packets_are_asked_for_again_where_round_trips_fit() {
    for packets in [8.0, 33.0] {
        for (rtt, loss) in [(2, 0.1), (20, 0.01), (20, 0.1), (80, 0.1)] {
            let plan = at(loss, 1.0, rtt, 4 * rtt + 20, packets).plan(&Limits::default());
            assert!(plan.residual <= 5e-6, "{rtt} ms, {loss}: {plan}");
            assert!(plan.overhead <= 2.5 * loss + 0.02, "{rtt} ms, {loss}: {plan}");
        }
    }
}

#[test]
fn repair_packets_go_ahead_where_none_fits() {
    let plan = at(0.05, 1.0, 80, 60, 33.0).plan(&Limits::default());
    assert!(plan.rounds.is_empty() && plan.code.is_some(), "{plan}");
    assert!(plan.residual <= 1e-4 && plan.overhead <= 0.5, "{plan}");
}

#[test]
fn both_work_together_where_one_round_trip_fits() {
    let plan = at(0.1, 1.0, 80, 140, 33.0).plan(&Limits { target: 1e-5, ..Limits::default() });
    assert!(plan.rounds.len() == 1 && plan.code.is_some(), "{plan}");
    assert!(plan.residual <= 1e-5 && plan.overhead <= 0.3, "{plan}");
}

#[test]
fn the_limit_is_kept_whatever_is_lost() {
    for loss in [0.01, 0.2, 0.5, 0.9] {
        for burst in [1.0, 10.0] {
            let limits = Limits { overhead: 0.25, ..Limits::default() };
            let plan = at(loss, burst, 80, 60, 8.0).plan(&limits);
            assert!(plan.overhead <= 0.25, "{plan}");
            let pinned = at(loss, burst, 20, 100, 8.0).plan(&Limits { fec: false, ..limits });
            assert!(pinned.code.is_none(), "{pinned}");
        }
    }
}

#[test]
fn a_plan_says_what_it_is() {
    let plan = at(0.05, 1.0, 80, 60, 33.0).plan(&Limits::default());
    assert!(plan.to_string().starts_with("FEC "), "{plan}");
}

#[test]
fn what_is_lost_in_bursts_is_asked_for_where_that_is_enough() {
    for (loss, burst) in [(0.01, 3.0), (0.05, 3.0), (0.01, 10.0)] {
        let plan = at(loss, burst, 80, 340, 33.0).plan(&Limits::default());
        assert!(plan.code.is_none() && plan.residual <= 1e-4, "{loss} {burst}: {plan}");
    }
}

#[test]
fn where_the_target_is_out_of_reach_the_limit_is_used() {
    for packets in [8.0, 33.0] {
        let plan = at(0.05, 10.0, 80, 60, packets).plan(&Limits::default());
        let Some(code) = plan.code else { panic!("{plan}") };
        assert_eq!((code.span, code.source), (2, (2.0 * packets) as usize));
        // What is left of the limit is for reports.
        assert!((0.485..=0.5).contains(&plan.overhead), "{plan}");
        // An ideal code with all of it.
        let channel = Channel { loss: 0.05, burst: 10.0 };
        assert!(plan.residual <= 1.2 * channel.after_code(code.source, code.source / 2, 1), "{plan}");
    }
}

#[test]
fn large_frames_are_interleaved() {
    let plan = at(0.05, 3.0, 80, 60, 300.0).plan(&Limits::default());
    let Some(code) = plan.code else { panic!("{plan}") };
    assert!(code.depth >= 3 && code.source * code.depth >= 300 && code.source <= MAX_SOURCE, "{code:?}");
    assert!(plan.to_string().contains(" blocks in turn"), "{plan}");
    // Blocks one after the other would leave more.
    let channel = Channel { loss: 0.05, burst: 3.0 };
    let apart = channel.after_code(code.source, code.repair, code.depth as u32);
    assert!(apart < channel.after_code(code.source, code.repair, 1));
}

#[test]
fn a_fixed_share_is_kept() {
    for loss in [0.0, 0.05, 0.3] {
        let limits = Limits { share: Some(0.2), ..Limits::default() };
        let plan = at(loss, 1.0, 20, 100, 33.0).plan(&limits);
        assert!(plan.code.is_some() && (plan.share - 0.2).abs() < 1e-9, "{loss}: {plan}");
    }
    let limits = Limits { share: Some(0.2), overhead: 0.1, ..Limits::default() };
    assert!(at(0.05, 1.0, 20, 100, 33.0).plan(&limits).share <= 0.1);
    let limits = Limits { share: Some(0.2), fec: false, ..Limits::default() };
    assert_eq!(at(0.05, 1.0, 20, 100, 33.0).plan(&limits).code, None);
}

/// What is asked for beyond the limit is copies, so a little more of it does not make asking useless.
#[test]
fn a_limit_that_is_reached_takes_copies_and_not_answers() {
    for loss in [0.19, 0.2, 0.21, 0.22, 0.23, 0.24] {
        let plan = at(loss, 2.5, 80, 340, 8.0).plan(&Limits::default());
        assert!(plan.code.is_none() && plan.residual < 1e-3, "{loss}: {plan}");
        assert!(plan.overhead <= 0.5 + 1e-9, "{loss}: {plan}");
    }
}

#[test]
fn what_is_lost_one_by_one_waits_for_repair_packets_while_an_answer_comes_in_time() {
    let limits = Limits::default();
    for (burst, span, waits) in [(1.0, 5, 100 - 2 - 33), (1.0, 3, 41), (3.0, 5, 81)] {
        let single = Traffic { packets: 1.0, interval: Duration::from_millis(20), ..video(0.0) };
        let conditions = Conditions { traffic: single, ..at(0.05, burst, 32, 100, 1.0) };
        let asked = conditions.asked_behind(span, &limits);
        let Some(blocks) = Blocks::new(&conditions, span, &limits) else { panic!("{span}") };
        let plan = Plan::of(blocks.candidate(1, &asked), &conditions);
        assert_eq!((plan.rounds.is_empty(), plan.hold_off), (false, Duration::from_millis(waits)), "{plan}");
    }
    let plan = at(0.05, 1.0, 80, 60, 33.0).plan(&Limits::default());
    assert_eq!((plan.rounds.len(), plan.hold_off), (0, Duration::from_millis(60)));
}

#[test]
fn nonsense_plans_something() {
    let nan = f64::NAN;
    for (loss, burst, packets, bytes) in [(nan, nan, nan, nan), (2.0, -1.0, 1e18, 0.0), (0.5, 1e9, 0.0, -5.0)]
    {
        let conditions = at(loss, burst, 20, 100, 8.0);
        let traffic = Traffic { packets, bytes, longest: bytes, ..conditions.traffic };
        let plan = Conditions { traffic, ..conditions }.plan(&Limits::default());
        assert!(plan.code.is_none_or(|code| code.source + code.repair <= 255), "{plan}");
    }
}
