//! Random decisions from a line of random numbers.

use std::time::Duration;

use msm_core::rng::Rng;

/// Whether something of probability `probability` happens; a certainty or an impossibility draws a number, too, so that the line of
/// numbers does not depend on the probability.
pub(crate) fn happens(rng: &mut Rng, probability: f64) -> bool {
    rng.next_f64() < probability
}

/// A number of the normal distribution with mean 0 and deviation 1 (Box and Muller 1958). Two draws, always.
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    // 1 - x is in 0 < … ≤ 1: the logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.next_f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.next_f64()).cos()
}

/// `base` and `scale` times `factor`, at least 0.
pub(crate) fn spread(base: Duration, scale: Duration, factor: f64) -> Duration {
    let nanoseconds = scale.as_nanos() as f64 * factor;
    let distance = Duration::from_nanos(nanoseconds.abs() as u64);
    if nanoseconds < 0.0 { base.saturating_sub(distance) } else { base.saturating_add(distance) }
}

/// `probability` as one: a number of 0 to 1, 0 if it is none.
pub(crate) fn probability(probability: f64) -> f64 {
    if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) }
}
