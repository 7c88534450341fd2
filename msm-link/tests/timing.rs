//! Delay, jitter, order and the queue of the bottleneck, against theory.

mod common;

use std::time::Duration;

use common::{Run, ms, packet};
use msm_core::rng::Rng;
use msm_link::{Jitter, Link, Rate, Settings};

const SAMPLES: u64 = 200_000;

/// Delays of packets that are sent one by one.
fn delays(jitter: Jitter, delay: Duration) -> Vec<f64> {
    let settings = Settings { delay, jitter, keep_order: false, ..Settings::default() };
    let mut run = Run::new(Link::new(settings, 11));
    for number in 0..SAMPLES {
        run.send(ms(number), number);
    }
    run.finish();
    assert_eq!(run.arrived.len() as u64, SAMPLES);
    run.arrived.iter().map(|&(at, number)| (at - ms(number)).as_secs_f64() * 1e3).collect()
}

/// Largest distance of the samples' distribution from `expected` (Kolmogorov and Smirnov), in units of 1/√samples: above 2.2 once in
/// 8000 right generators.
fn distance(mut samples: Vec<f64>, expected: impl Fn(f64) -> f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let count = samples.len() as f64;
    samples
        .iter()
        .enumerate()
        .map(|(rank, &value)| {
            let expected = expected(value);
            (expected - rank as f64 / count).abs().max((expected - (rank + 1) as f64 / count).abs())
        })
        .fold(0.0, f64::max)
        * count.sqrt()
}

/// Distribution function of the normal distribution, by integrating its density (Simpson).
fn normal(deviations: f64) -> f64 {
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let steps = 200;
    let width = deviations / f64::from(steps);
    let sum: f64 = (0..steps)
        .map(|step| {
            let x = f64::from(step) * width;
            (density(x) + 4.0 * density(x + width / 2.0) + density(x + width)) * width / 6.0
        })
        .sum();
    0.5 + sum
}

#[test]
fn without_jitter_every_packet_takes_the_delay() {
    assert!(delays(Jitter::None, ms(20)).iter().all(|&delay| (delay - 20.0).abs() < 1e-9));
}

#[test]
fn uniform_jitter_is_uniform() {
    let samples = delays(Jitter::Uniform(ms(5)), ms(20));
    let distance = distance(samples, |delay| ((delay - 15.0) / 10.0).clamp(0.0, 1.0));
    assert!(distance < 2.2, "{distance}");
}

#[test]
fn normal_jitter_is_normal() {
    let samples = delays(Jitter::Normal(ms(3)), ms(20));
    let count = SAMPLES as f64;
    let mean = samples.iter().sum::<f64>() / count;
    assert!((mean - 20.0).abs() < 5.0 * 3.0 / count.sqrt(), "{mean}");
    let variance = samples.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / count;
    assert!((variance / 9.0 - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{variance}");
    let distance = distance(samples, |delay| normal((delay - 20.0) / 3.0));
    assert!(distance < 2.2, "{distance}");
}

#[test]
fn no_delay_is_below_zero() {
    let samples = delays(Jitter::Normal(ms(10)), ms(1));
    assert!(samples.iter().all(|&delay| delay >= 0.0));
    assert!(samples.iter().filter(|&&delay| delay == 0.0).count() > 80_000, "the cut half is at 0");
}

#[test]
fn jitter_keeps_the_order_unless_it_may_not() {
    for keep_order in [true, false] {
        let settings =
            Settings { delay: ms(20), jitter: Jitter::Uniform(ms(10)), keep_order, ..Settings::default() };
        let mut run = Run::new(Link::new(settings, 5));
        for number in 0..10_000 {
            run.send(Duration::from_micros(number * 700), number);
        }
        // A shorter way does not let later packets overtake, either.
        run.link.set(run.start + ms(7_000), Settings { delay: ms(1), jitter: Jitter::None, ..settings });
        run.send(ms(7_000), 10_000);
        run.finish();
        assert_eq!(run.arrived.len(), 10_001);
        assert_eq!(run.numbers().is_sorted(), keep_order);
        assert!(run.arrived.iter().is_sorted_by_key(|&(at, _)| at));
    }
}

fn bottleneck(bits_per_second: u64, queue_bytes: usize) -> Settings {
    Settings { rate: Some(Rate { bits_per_second, queue_bytes }), delay: ms(10), ..Settings::default() }
}

#[test]
fn a_burst_leaves_at_the_rate_and_its_tail_is_dropped() {
    // 9.6 Mbit/s: a packet a millisecond. One leaves, ten wait, four find no room.
    let mut run = Run::new(Link::new(bottleneck(9_600_000, 12_000), 1));
    for number in 0..15 {
        run.send(Duration::ZERO, number);
    }
    assert_eq!(run.link.waiting_bytes(), 12_000);
    run.finish();
    let expected: Vec<_> = (0..11).map(|number| (ms(11 + number), number)).collect();
    assert_eq!(run.arrived, expected);
    let statistics = run.link.statistics();
    assert_eq!((statistics.queue_full, statistics.passed, statistics.missing()), (4, 11, 4));
}

#[test]
fn the_mean_wait_is_that_of_theory() {
    // Packets at random times, each a millisecond on the line, which is busy 70 % of the time (M/D/1): they wait
    // 0.7 / (2 × 0.3) ms on average (Pollaczek 1930, Khinchin 1932).
    let mut run = Run::new(Link::new(bottleneck(9_600_000, usize::MAX), 1));
    let mut rng = Rng::new(99);
    let mut sent = Vec::new();
    let mut at = Duration::ZERO;
    for number in 0..1_000_000_u64 {
        at += ms(1).mul_f64(-(1.0 - rng.next_f64()).ln() / 0.7);
        sent.push(at);
        run.send(at, number);
    }
    run.finish();
    assert!(run.numbers().iter().copied().eq(0..1_000_000));
    let waits =
        run.arrived.iter().zip(&sent).map(|(&(arrived, _), &sent)| (arrived - sent - ms(11)).as_secs_f64());
    let mean = waits.sum::<f64>() / 1e3;
    assert!((mean / (0.7 / 0.6) - 1.0).abs() < 0.03, "{mean} ms");
}

#[test]
fn a_rate_that_changes_changes_what_waits() {
    let mut run = Run::new(Link::new(bottleneck(9_600_000, 100_000), 1));
    for number in 0..4 {
        run.send(Duration::ZERO, number);
    }
    // Half of the second packet has left; the other half and the third take ten times as long; nothing moves; then all is out.
    let at = |run: &Run, micros| run.start + Duration::from_micros(micros);
    run.until(Duration::from_micros(1_500));
    run.link.set(at(&run, 1_500), bottleneck(960_000, 100_000));
    run.until(ms(20));
    run.link.set(at(&run, 20_000), bottleneck(0, 100_000));
    run.until(ms(100));
    assert_eq!(run.link.poll_timeout(), None);
    run.link.set(at(&run, 100_000), Settings { rate: None, ..bottleneck(0, 0) });
    run.finish();
    let expected: Vec<_> =
        [11_000, 16_500, 26_500, 110_000].into_iter().map(Duration::from_micros).zip(0..4).collect();
    assert_eq!(run.arrived, expected);
}

#[test]
fn what_is_too_large_is_refused_and_reported() {
    let mut run = Run::new(Link::new(Settings { mtu: Some(1_199), ..Settings::default() }, 1));
    let error = run.link.handle_send(run.start, packet(0)).unwrap_err();
    assert_eq!((error.bytes, error.mtu), (1_200, 1_199));
    run.link.set(run.start, Settings { mtu: Some(1_200), ..Settings::default() });
    run.send(Duration::ZERO, 1);
    run.finish();
    assert_eq!(run.numbers(), [1]);
    assert_eq!(run.link.statistics().too_large, 1);
}

#[test]
fn polled_late_it_hands_over_the_same() {
    let settings = Settings {
        jitter: Jitter::Uniform(ms(9)),
        keep_order: false,
        duplicate: 0.1,
        reorder: Some(msm_link::Reorder { probability: 0.1, distance: 3, at_most: ms(15) }),
        ..bottleneck(9_600_000, 5_000)
    };
    let mut exact = Run::new(Link::new(settings, 4));
    let mut late = Run::new(Link::new(settings, 4));
    for number in 0..2_000 {
        let at = Duration::from_micros(number * 950);
        exact.send(at, number);
        late.link.handle_send(late.start + at, packet(number)).unwrap();
    }
    exact.finish();
    let now = late.start + Duration::from_secs(3_600);
    let numbers: Vec<_> =
        std::iter::from_fn(|| late.link.poll_arrival(now)).map(|packet| packet.number).collect();
    assert_eq!(numbers, exact.numbers());
    assert_eq!(late.link.statistics(), exact.link.statistics());
}
