//! The loss matrix measures what it says: schemes whose results are known, ends that break the contract, and the program.

#![allow(clippy::unwrap_used, reason = "a test")]

mod program;
mod toy;

use std::time::{Duration, Instant};

use msm_benches::matrix::traffic::Media;
use msm_benches::matrix::unprotected::Unprotected;
use msm_benches::matrix::world::Fault;
use msm_benches::matrix::{Budget, Cell, Kind, Outcome, Paths, Rate, Step, run};

use crate::toy::{Numbered, Play, Played, Toy};

const CELL: Cell = Cell {
    rate: Rate::Eight,
    loss: 0.1,
    kind: Kind::Random,
    step: None,
    rtt: Duration::from_millis(20),
    budget: Budget::Roomy,
    paths: Paths::One,
    packets: 100_000,
};

fn play<P: Play>(cell: &Cell) -> Outcome {
    run::<Played<P>>(cell, 1).unwrap()
}

fn send(toy: &mut Toy, media: Media) {
    toy.transmit.push_back((0, Numbered(media.index, 1_200)));
}

fn assert_share(share: f64, expected: f64, packets: u64) {
    let deviation = (expected * (1.0 - expected) / packets as f64).sqrt();
    assert!((share - expected).abs() <= 5.0 * deviation, "{share}, expected {expected} ± {deviation}");
}

#[test]
fn without_protection_the_reader_misses_what_the_wire_loses() {
    for loss in [0.0, 0.01, 0.2] {
        let outcome = run::<Unprotected>(&Cell { loss, ..CELL }, 1).unwrap();
        assert!((100_000..100_033).contains(&outcome.packets), "whole frames");
        assert_share(outcome.residual(), loss, outcome.packets);
        assert!((outcome.wire_loss - outcome.residual()).abs() < 0.002, "they differ by the warm-up");
        assert_eq!((outcome.late, outcome.wrong), (0, 0));
        assert!(outcome.overhead.abs() < 1e-9, "{}", outcome.overhead);
        assert_eq!((outcome.delay_p50, outcome.delay_p99), (Duration::ZERO, Duration::ZERO));
    }
}

#[test]
fn a_run_follows_from_its_seed() {
    let missing = |cell: &Cell, seed| run::<Unprotected>(cell, seed).unwrap().missing;
    assert_eq!(missing(&CELL, 1), missing(&CELL, 1));
    assert_ne!(missing(&CELL, 1), missing(&CELL, 2));
    assert_ne!(missing(&CELL, 1), missing(&Cell { rtt: Duration::from_millis(2), ..CELL }, 1));
}

#[test]
fn a_step_of_the_loss_is_a_mixture_of_both() {
    let step = Some(Step { to: 0.2, every: Duration::from_secs(1) });
    let outcome = run::<Unprotected>(&Cell { loss: 0.0, step, ..CELL }, 1).unwrap();
    assert!((0.09..0.11).contains(&outcome.residual()), "{}", outcome.residual());
}

#[test]
fn a_path_is_cut_in_turn() {
    let cell = Cell { loss: 0.05, paths: Paths::TwoWithCuts, packets: 1_000_000, ..CELL };
    let outcome = run::<Unprotected>(&cell, 1).unwrap();
    // It sends on the first path, which is cut for two of every forty seconds.
    let expected = 0.05 + 0.95 * 2.0 / 40.0;
    assert!((outcome.residual() - expected).abs() < 0.003, "{} {expected}", outcome.residual());
}

/// Everything is sent twice, at once.
struct Copies;

impl Play for Copies {
    fn media(toy: &mut Toy, _: Instant, media: Media) {
        send(toy, media);
        send(toy, media);
    }

    fn arrival(toy: &mut Toy, _: Instant, packet: Numbered) {
        if toy.alarms <= packet.0 {
            toy.alarms = packet.0 + 1;
            toy.deliveries.push_back(packet.0);
        }
    }
}

#[test]
fn copies_cost_as_much_again_and_leave_the_square() {
    let outcome = play::<Copies>(&CELL);
    assert!((outcome.overhead - 1.0).abs() < 1e-3, "{}", outcome.overhead);
    assert_share(outcome.residual(), 0.01, outcome.packets);
    assert_eq!(outcome.wrong, 0);
}

/// The receiver sends 72 bytes for every tenth packet; the sender answers with 172.
struct Feedback;

impl Play for Feedback {
    fn media(toy: &mut Toy, _: Instant, media: Media) {
        send(toy, media);
    }

    fn arrival(toy: &mut Toy, _: Instant, packet: Numbered) {
        if packet.0 != u64::MAX {
            toy.deliveries.push_back(packet.0);
            if packet.0.is_multiple_of(10) {
                toy.transmit.push_back((0, Numbered(0, 72)));
            }
        }
    }

    fn feedback(toy: &mut Toy, _: Instant) {
        toy.transmit.push_back((0, Numbered(u64::MAX, 172)));
    }
}

#[test]
fn both_directions_are_counted_and_lossy() {
    let clean = play::<Feedback>(&Cell { loss: 0.0, ..CELL });
    // 28 bytes of headers each, against ten packets of the stream.
    assert!((clean.overhead - (100.0 + 200.0) / 12_280.0).abs() < 1e-4, "{}", clean.overhead);
    let lossy = play::<Feedback>(&CELL);
    // Nine of ten packets come, and nine of ten of what is sent for them.
    assert!((lossy.overhead - (0.9 * 100.0 + 0.81 * 200.0) / 12_280.0).abs() < 5e-4, "{}", lossy.overhead);
}

/// The receiver hands packets over when an alarm of odd times rings, and notices when one rings late.
struct Alarms;

impl Play for Alarms {
    fn start(toy: &mut Toy, now: Instant) {
        toy.alarm = Some(now + Duration::from_nanos(1));
    }

    fn media(toy: &mut Toy, _: Instant, media: Media) {
        send(toy, media);
    }

    fn arrival(_: &mut Toy, _: Instant, _: Numbered) {}

    fn timeout(toy: &mut Toy, now: Instant) {
        assert_eq!(toy.alarm, Some(now), "neither early nor late");
        toy.alarms += 1;
        toy.alarm = Some(now + Duration::from_nanos(1_000_003 + 7_919 * (toy.alarms % 211)));
    }
}

#[test]
fn no_timeout_is_skipped() {
    let outcome = play::<Alarms>(&Cell { packets: 10_000, ..CELL });
    assert_eq!(outcome.missing, outcome.packets);
}

/// Packets are handed over so many nanoseconds after they came.
struct Late<const NANOSECONDS: u64>;

impl<const NANOSECONDS: u64> Play for Late<NANOSECONDS> {
    fn media(toy: &mut Toy, _: Instant, media: Media) {
        // One at a time, so that one alarm is enough.
        if media.last {
            send(toy, media);
        }
    }

    fn arrival(toy: &mut Toy, now: Instant, packet: Numbered) {
        toy.alarms = packet.0;
        toy.alarm = Some(now + Duration::from_nanos(NANOSECONDS));
    }

    fn timeout(toy: &mut Toy, _: Instant) {
        toy.alarm = None;
        toy.deliveries.push_back(toy.alarms);
    }
}

#[test]
fn what_comes_after_the_budget_is_missing() {
    let cell = Cell { loss: 0.0, rtt: Duration::from_millis(2), packets: 10_000, ..CELL };
    let frames = 10_000_u64.div_ceil(33);
    let in_time = play::<Late<28_000_000>>(&cell);
    assert_eq!((in_time.late, in_time.missing), (0, 32 * frames));
    assert_eq!(
        (in_time.delay_p50, in_time.delay_p99),
        (Duration::from_millis(28), Duration::from_millis(28))
    );
    let late = play::<Late<29_000_001>>(&cell);
    assert_eq!((late.late, late.missing), (frames, 33 * frames));
}

/// Every hundredth packet is handed over again, and one behind it that is not there yet.
struct Wrong;

impl Play for Wrong {
    fn media(toy: &mut Toy, _: Instant, media: Media) {
        send(toy, media);
    }

    fn arrival(toy: &mut Toy, _: Instant, packet: Numbered) {
        toy.deliveries.push_back(packet.0);
        match packet.0 % 100 {
            0 => toy.deliveries.push_back(packet.0),
            50 => toy.deliveries.push_back(packet.0 - 1),
            _ => {}
        }
    }
}

#[test]
fn what_comes_again_or_out_of_order_is_wrong_and_not_delivered() {
    let outcome = play::<Wrong>(&Cell { loss: 0.0, ..CELL });
    assert_eq!(outcome.missing, 0);
    let expected = (outcome.packets + 1_650) / 50;
    assert!(outcome.wrong.abs_diff(expected) <= 2, "{} {expected}", outcome.wrong);
}

/// A receiver whose timeout stays where it is.
struct Stuck;

impl Play for Stuck {
    fn start(toy: &mut Toy, now: Instant) {
        toy.alarm = Some(now + Duration::from_millis(500));
    }
    fn media(_: &mut Toy, _: Instant, _: Media) {}
    fn arrival(_: &mut Toy, _: Instant, _: Numbered) {}
}

/// A sender that sends on a path that is not there.
struct Astray;

impl Play for Astray {
    fn media(toy: &mut Toy, _: Instant, media: Media) {
        toy.transmit.push_back((1, Numbered(media.index, 1_200)));
    }
    fn arrival(_: &mut Toy, _: Instant, _: Numbered) {}
}

#[test]
fn ends_that_break_the_contract_are_found() {
    assert_eq!(run::<Played<Stuck>>(&CELL, 1), Err(Fault::Stuck(Duration::from_millis(500))));
    assert_eq!(run::<Played<Astray>>(&CELL, 1), Err(Fault::NoSuchPath(1)));
}
