//! Loss rates and burst lengths are those that were asked for, within what chance allows.

#![allow(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Instant;

use common::packet;
use msm_link::{Link, Loss, Pair, Settings, Statistics};

const PACKETS: u64 = 1_000_000;

/// How many standard deviations a result may be away: a right link fails once in 1.7 million seeds.
const DEVIATIONS: f64 = 5.0;

fn lossy(loss: Loss) -> Settings {
    Settings { loss, ..Settings::default() }
}

fn send(loss: Loss, seed: u64) -> (Statistics, Vec<bool>) {
    let now = Instant::now();
    let mut link = Link::new(lossy(loss), seed);
    let lost = (0..PACKETS)
        .map(|number| {
            link.handle_send(now, packet(number)).unwrap();
            link.poll_arrival(now).is_none()
        })
        .collect();
    (*link.statistics(), lost)
}

fn assert_near(what: &str, value: f64, expected: f64, deviation: f64) {
    assert!(
        (value - expected).abs() <= DEVIATIONS * deviation,
        "{what}: {value}, expected {expected} ± {deviation}"
    );
}

#[test]
fn random_loss_has_its_rate_and_no_memory() {
    for (seed, rate) in [0.001, 0.01, 0.05, 0.2].into_iter().enumerate() {
        let (statistics, lost) = send(Loss::Random(rate), seed as u64);
        let deviation = (rate * (1.0 - rate) / PACKETS as f64).sqrt();
        assert_near("rate", statistics.loss_rate(), rate, deviation);
        // A run goes on with probability `rate`: its mean is 1 / (1 - rate), its variance rate / (1 - rate)².
        let deviation = rate.sqrt() / (1.0 - rate) / (statistics.runs as f64).sqrt();
        assert_near("run", statistics.mean_run(), 1.0 / (1.0 - rate), deviation);
        // Nor is there one over longer distances.
        for distance in [2, 7, 33] {
            let both = lost.windows(distance + 1).filter(|window| window[0] && window[distance]).count();
            let expected = rate * rate * PACKETS as f64;
            assert_near("pairs", both as f64, expected, expected.sqrt().max(1.0) * 1.1);
        }
    }
}

#[test]
fn bursts_have_their_rate_and_their_mean_length() {
    for (seed, (rate, run)) in
        [(0.001, 3.0), (0.01, 3.0), (0.05, 3.0), (0.2, 3.0), (0.01, 10.0), (0.05, 10.0), (0.2, 10.0)]
            .into_iter()
            .enumerate()
    {
        let (statistics, lost) = send(Loss::bursts(rate, run), 100 + seed as u64);
        // Neighbours are correlated by what is left of 1 after the chance to leave either state.
        let to_good = 1.0 / run;
        let memory = 1.0 - to_good - to_good * rate / (1.0 - rate);
        let deviation = (rate * (1.0 - rate) / PACKETS as f64 * (1.0 + memory) / (1.0 - memory)).sqrt();
        assert_near("rate", statistics.loss_rate(), rate, deviation);
        let deviation = (run * (run - 1.0) / statistics.runs as f64).sqrt();
        assert_near("run", statistics.mean_run(), run, deviation);
        // What the statistics say is what was lost.
        let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() + usize::from(lost[0]);
        assert_eq!(statistics.runs, runs as u64);
        assert_eq!(statistics.lost, lost.iter().filter(|&&lost| lost).count() as u64);
        // Lengths are geometric: a share of 1 - 1/n of the runs goes on after the first packet.
        let single = lost.windows(3).filter(|window| !window[0] && window[1] && !window[2]).count();
        let share = single as f64 / statistics.runs as f64;
        assert_near("single", share, to_good, (to_good * (1.0 - to_good) / statistics.runs as f64).sqrt());
    }
}

#[test]
fn both_states_of_a_chain_may_lose_some() {
    let loss = Loss::GilbertElliott { to_bad: 0.02, to_good: 0.1, loss_in_good: 0.01, loss_in_bad: 0.5 };
    let bad = 0.02 / 0.12;
    assert!((loss.rate() - (bad * 0.5 + (1.0 - bad) * 0.01)).abs() < 1e-12);
    let (statistics, _) = send(loss, 7);
    // The chain's part of the variance dominates: bad (1 - bad) × (0.49)² × (1 + 0.88) / (1 - 0.88).
    let chain = bad * (1.0 - bad) * 0.49 * 0.49 * 1.88 / 0.12;
    let deviation = ((chain + loss.rate()) / PACKETS as f64).sqrt();
    assert_near("rate", statistics.loss_rate(), loss.rate(), deviation);
}

#[test]
fn loss_changes_between_two_packets() {
    let now = Instant::now();
    let mut link = Link::new(Settings::default(), 1);
    let lost = |link: &mut Link<_>, settings| {
        link.set(now, settings);
        let before = link.statistics().lost;
        (0..100_000).for_each(|number| link.handle_send(now, packet(number)).unwrap());
        link.statistics().lost - before
    };
    assert_eq!(lost(&mut link, lossy(Loss::None)), 0);
    assert!((9_500..10_500).contains(&lost(&mut link, lossy(Loss::Random(0.1)))));
    assert!((4_000..6_000).contains(&lost(&mut link, lossy(Loss::bursts(0.05, 3.0)))));
    assert_eq!(lost(&mut link, lossy(Loss::Random(1.0))), 100_000);
    assert_eq!(lost(&mut link, lossy(Loss::None)), 0);
}

#[test]
fn the_directions_of_a_pair_are_independent() {
    let now = Instant::now();
    let mut pair = Pair::new(lossy(Loss::Random(0.1)), 3);
    let mut both = 0;
    for number in 0..PACKETS {
        pair.there.handle_send(now, packet(number)).unwrap();
        pair.back.handle_send(now, packet(number)).unwrap();
        let there = pair.there.poll_arrival(now).is_none();
        both += u64::from(there && pair.back.poll_arrival(now).is_none());
        while pair.back.poll_arrival(now).is_some() {}
    }
    assert_near("both", both as f64, 0.01 * PACKETS as f64, (0.01 * 0.99 * PACKETS as f64).sqrt());
}
