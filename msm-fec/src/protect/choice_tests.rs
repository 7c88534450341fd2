use super::*;
use crate::nack::testing::{epoch, ms};

const TRAFFIC: Traffic = Traffic {
    packets: 33.0,
    interval: ms(40),
    length: Duration::from_micros(3200),
    bytes: 1200.0,
    longest: 1200.0,
};

fn report(loss: f64, burst: f64, rtt: u64) -> Report {
    Report { id: 0, loss, burst, rtt: Some(ms(rtt)), reorder: Duration::ZERO }
}

/// Reports ten times a second from `from` to `to`, in ms.
fn feed(choice: &mut Choice, start: Instant, (from, to): (u64, u64), report: &Report) -> u32 {
    let mut changes = 0;
    for at in (from..to).step_by(100) {
        changes += u32::from(choice.handle_report(start + ms(at), report, TRAFFIC, at * 825 / 1000));
    }
    changes
}

fn share(choice: &Choice) -> f64 {
    choice.plan().map_or(0.0, |plan| plan.share)
}

#[test]
fn nothing_is_planned_before_the_round_trip_is_known() {
    let mut choice = Choice::new(Limits::default(), ms(60));
    let unknown = Report { rtt: None, ..report(0.05, 1.0, 80) };
    assert_eq!(feed(&mut choice, epoch(), (0, 5000), &unknown), 0);
    assert!(choice.plan().is_none() && choice.why() == "nothing measured yet");
}

#[test]
fn more_is_taken_up_at_once_and_less_only_after_a_while() {
    let (start, mut choice) = (epoch(), Choice::new(Limits::default(), ms(60)));
    feed(&mut choice, start, (0, 60_000), &report(0.01, 1.0, 80));
    let little = share(&choice);
    feed(&mut choice, start, (60_000, 60_100), &report(0.1, 1.0, 80));
    let much = share(&choice);
    assert!(much > 2.0 * little, "{little} {much}");
    feed(&mut choice, start, (60_100, 64_900), &report(0.01, 1.0, 80));
    assert!((share(&choice) - much).abs() < 1e-9);
    // The most of what was wanted since.
    feed(&mut choice, start, (64_900, 65_000), &report(0.05, 1.0, 80));
    feed(&mut choice, start, (65_000, 66_300), &report(0.01, 1.0, 80));
    assert!(share(&choice) < much && share(&choice) > little, "{}", choice.why());
    feed(&mut choice, start, (66_300, 73_000), &report(0.01, 1.0, 80));
    assert!((share(&choice) - little).abs() < 1e-9, "{}", choice.why());
    assert!(choice.why().starts_with("loss 1.00 % in runs of 1.0, round trip 80 ms, budget 60 ms: FEC "));
}

#[test]
fn a_path_that_does_not_change_has_one_plan() {
    let (start, mut choice) = (epoch(), Choice::new(Limits::default(), ms(60)));
    feed(&mut choice, start, (0, 20_000), &report(0.05, 1.0, 80));
    let mut rng = msm_core::rng::Rng::new(1);
    let mut changes = 0;
    for at in (20_000..120_000).step_by(1000) {
        let noise = 0.98 + 0.04 * rng.next_f64();
        let report = report(0.05 * noise, 1.05 + 0.02 * noise, 80);
        changes += feed(&mut choice, start, (at, at + 1000), &report);
    }
    assert!(changes <= 15, "{changes}");
}

#[test]
fn who_reports_does_not_decide_how_much_is_computed() {
    let (start, mut choice) = (epoch(), Choice::new(Limits::default(), ms(100)));
    let mut rng = msm_core::rng::Rng::new(2);
    for at in 0..10_000 {
        let report = report(rng.next_f64(), 1.0 + 20.0 * rng.next_f64(), rng.range(1..300));
        choice.handle_report(start + ms(at), &report, TRAFFIC, 10_000);
    }
    // One in each tenth of a second.
    assert!((50..=100).contains(&choice.made_count), "{}", choice.made_count);
    // And none of it is out of bounds.
    for report in [report(f64::NAN, f64::NAN, 0), report(-1.0, f64::INFINITY, u64::MAX / 2_000_000)] {
        choice.handle_report(start + ms(20_000), &report, TRAFFIC, u64::MAX);
    }
}

#[test]
fn added_redundancy_that_worsens_loss_is_taken_back() {
    let (start, mut choice) = (epoch(), Choice::new(Limits::default(), ms(60)));
    // 2 % are lost by the path, and a fifth of all that is sent if that is a quarter more than the media.
    feed(&mut choice, start, (0, 30_000), &report(0.001, 1.0, 80));
    let (mut shares, mut lossy) = (0.0, 0);
    for at in (30_000..150_000).step_by(100) {
        let overflows = share(&choice) > 0.25;
        lossy += u32::from(overflows);
        let loss = if overflows { 0.2 } else { 0.02 + 0.03 * f64::from(u32::from(at < 31_000)) };
        choice.handle_report(start + ms(at), &report(loss, 1.0, 80), TRAFFIC, at * 825 / 1000);
        shares += share(&choice);
    }
    assert!(lossy < 240, "a fifth of the time at most: {lossy}, {}", choice.why());
    assert!(shares / 1200.0 > 0.08, "and something is used all the same");
}
