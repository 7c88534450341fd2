//! Rolled back for its own faults, and for nobody else's.

use super::super::some_instant;
use super::*;
use crate::rng::Rng;

const SET_UP: Outcome = Outcome::SetUp { took: Duration::from_millis(10) };

struct Bed {
    judge: Judge,
    start: Instant,
    rng: Rng,
}

impl Bed {
    fn new(seed: u64) -> Self {
        Bed { judge: Judge::new(CanaryOptions::default()), start: some_instant(), rng: Rng::new(seed) }
    }

    fn say(&mut self, seconds: f64, side: Side, outcome: Outcome) {
        self.judge.handle_outcome(self.start + Duration::from_secs_f64(seconds), side, &outcome);
    }

    /// One session each of the canary and nine of the baseline in a second, of which these shares fail. Returns when it was rolled back.
    fn sessions(&mut self, from: u32, seconds: u32, canary: f64, baseline: f64) -> Option<u32> {
        for second in from..from + seconds {
            for number in 0..10 {
                let (side, share) =
                    if number == 0 { (Side::Canary, canary) } else { (Side::Baseline, baseline) };
                let fails = self.rng.next_f64() < share;
                let outcome = if fails { Outcome::Refused { status: 500 } } else { SET_UP };
                self.say(f64::from(second), side, outcome);
            }
            if self.judge.poll_event().is_some() {
                return Some(second - from);
            }
        }
        None
    }

    /// 400 packets a second of each, of which these shares are lost, spread evenly.
    fn packets(&mut self, from: u32, seconds: u32, canary: u64, baseline: u64) -> Option<u32> {
        for second in from..from + seconds {
            for (side, lost) in [(Side::Canary, canary), (Side::Baseline, baseline)] {
                self.say(f64::from(second), side, Outcome::Loss { lost, expected: 400 });
            }
            if self.judge.poll_event().is_some() {
                return Some(second - from);
            }
        }
        None
    }
}

#[test]
fn one_that_fails_is_rolled_back_within_the_window() {
    let found: Vec<u32> = (0..200)
        .map(|seed| Bed::new(seed).sessions(0, 60, 0.5, 0.0).expect("half of its sessions fail"))
        .collect();
    assert!(found.iter().all(|&second| (9..60).contains(&second)), "{found:?}");
    let slow = (0..200).filter(|&seed| Bed::new(seed).sessions(0, 60, 0.15, 0.0).is_some()).count();
    assert!(slow > 120, "15% within a minute: {slow} of 200");
}

#[test]
fn one_that_is_as_good_as_the_others_stays() {
    for (share, what) in [(0.0, "nothing fails"), (0.01, "within the limit")] {
        let wrong = (0..200).filter(|&seed| Bed::new(seed).sessions(0, 300, share, share).is_some()).count();
        assert!(wrong <= 2, "{what}: {wrong} of 200");
    }
}

#[test]
fn a_fault_of_both_rolls_nobody_back() {
    for share in [0.1, 0.5, 0.9] {
        let wrong = (0..200).filter(|&seed| Bed::new(seed).sessions(0, 60, share, share).is_some()).count();
        assert!(wrong <= 6, "{share}: {wrong} of 200");
    }
    let mut bed = Bed::new(1);
    for number in 0..500 {
        let at = f64::from(number) / 10.0;
        bed.say(at, Side::Baseline, Outcome::Unreachable);
        bed.say(at, Side::Canary, Outcome::Unreachable);
    }
    assert_eq!(bed.judge.rolled_back(), None, "all of both fail");
    assert_eq!(bed.packets(100, 120, 40, 30), None, "a lossy way");
}

#[test]
fn few_say_nothing() {
    let mut bed = Bed::new(1);
    (0..9).for_each(|_| bed.say(1.0, Side::Canary, Outcome::TimedOut));
    assert_eq!(bed.judge.rolled_back(), None);
    bed.say(1.0, Side::Canary, Outcome::TimedOut);
    let why = RollBack::SetUps { failed: 10, of: 10, baseline_failed: 0, baseline_of: 0 };
    assert_eq!(bed.judge.rolled_back(), Some(why), "without a baseline the limit alone counts");
    // One of ten may be chance.
    let mut bed = Bed::new(1);
    (0..9).for_each(|_| bed.say(1.0, Side::Canary, SET_UP));
    bed.say(1.0, Side::Canary, Outcome::Reset);
    assert_eq!(bed.judge.rolled_back(), None);
    // What is older than the window does not add up.
    let mut bed = Bed::new(1);
    for number in 0..50 {
        bed.say(f64::from(number) * 10.0, Side::Canary, Outcome::Silent);
    }
    assert_eq!(bed.judge.rolled_back(), None);
}

#[test]
fn loss_is_rolled_back_where_it_lasts() {
    let mut bed = Bed::new(1);
    // 2% against 0.25%: seen in three tenths of a minute.
    let found = bed.packets(0, 60, 8, 1);
    assert!(found.is_some_and(|second| (12..=18).contains(&second)), "{found:?}");
    let shown = bed.judge.rolled_back().unwrap().to_string();
    assert!(shown.contains("packets were lost (2.00%), of the others'"), "{shown}");
    // One outage of two seconds: 3% of the window.
    let mut bed = Bed::new(1);
    assert_eq!(bed.packets(0, 28, 0, 0), None);
    assert_eq!(bed.packets(28, 2, 400, 0), None);
    assert_eq!(bed.packets(30, 100, 0, 0), None);
    // Within the limit.
    assert_eq!(bed.packets(200, 200, 4, 0), None);
    // Not twice the others' loss.
    assert_eq!(bed.packets(500, 200, 12, 6), None);
    assert!(bed.packets(800, 200, 14, 6).is_some());
}

#[test]
fn it_is_told_once_and_stays_so() {
    let mut bed = Bed::new(1);
    assert!(bed.sessions(0, 60, 1.0, 0.0).is_some());
    assert!(bed.judge.rolled_back().is_some());
    assert_eq!(bed.sessions(60, 600, 0.0, 0.0), None, "told once");
    assert!(bed.judge.rolled_back().is_some(), "and not taken back");
}

#[test]
fn what_is_not_asked_for_is_not_looked_at() {
    let options = CanaryOptions { max_loss: None, max_setup_failures: None, ..CanaryOptions::default() };
    let mut bed = Bed::new(1);
    bed.judge = Judge::new(options);
    assert_eq!(bed.sessions(0, 60, 1.0, 0.0), None);
    assert_eq!(bed.packets(60, 60, 400, 0), None);
}

#[test]
fn bounds_are_those_of_the_books() {
    // P(X ≥ 3) of 10 at 2% is 0.00086, P(X ≥ 2) is 0.016; of 100, P(X ≥ 8) is 0.00093, P(X ≥ 7) is 0.0041.
    assert!(exceeds(3, 10, 0.02) && !exceeds(2, 10, 0.02));
    assert!(exceeds(8, 100, 0.02) && !exceeds(7, 100, 0.02));
    assert!(exceeds(1, 10, 0.0) && !exceeds(0, 10, 0.0) && !exceeds(10, 10, 1.0) && !exceeds(0, 0, 0.02));
    // 2000 ± 44 of 100,000, where the sum gives way to the normal distribution.
    assert!(exceeds(2140, 100_000, 0.02) && !exceeds(2130, 100_000, 0.02));
    // Below it: 400 ± 20 of 20,000.
    assert!(exceeds(465, 20_000, 0.02) && !exceeds(459, 20_000, 0.02));
    // z = 3.23 and 2.87.
    assert!(is_more(10, 100, 30, 900) && !is_more(8, 100, 24, 900) && !is_more(0, 100, 0, 900));
}
