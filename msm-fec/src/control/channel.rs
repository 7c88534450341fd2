//! A path's losses as they are measured: how many, and how many in a row.

use super::Chain;

/// A Gilbert-Elliott channel that loses everything in one of its two states and nothing in the other. Random loss is the case in
/// which a loss says nothing about the next packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Channel {
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Mean length of a run of losses, at least `1 / (1 - loss)`.
    pub burst: f64,
}

/// Longest block that is looked at: what fits a code over GF(2^8).
const MAX_BLOCK: usize = 255;

/// Longer runs than those of random loss by more than this, on average, are bursts.
const BURSTY: f64 = 0.4;

impl Channel {
    /// Losses that are independent of each other.
    pub fn random(loss: f64) -> Self {
        Self { loss, burst: 1.0 }.sane()
    }

    /// The same within its limits: what is measured may be anything.
    pub fn sane(self) -> Self {
        let loss = if self.loss.is_finite() { self.loss.clamp(0.0, 0.95) } else { 0.0 };
        let least = 1.0 / (1.0 - loss);
        let burst = if self.burst.is_finite() { self.burst.clamp(least, 10_000.0) } else { least };
        Self { loss, burst }
    }

    /// Whether runs are longer than those of random loss, by more than what is measured is off.
    pub fn is_bursty(self) -> bool {
        let Self { loss, burst } = self.sane();
        burst - 1.0 / (1.0 - loss) > BURSTY
    }

    /// Chances that a loss ends, and that one begins, from one packet to the one `step` packets later.
    fn transitions(self, step: u32) -> (f64, f64) {
        let Self { loss, burst } = self.sane();
        let ends = 1.0 / burst;
        let begins = (loss * ends / (1.0 - loss)).min(1.0);
        let memory = (1.0 - ends - begins).powi(i32::try_from(step.max(1)).unwrap_or(i32::MAX));
        ((1.0 - loss) * (1.0 - memory), loss * (1.0 - memory))
    }

    /// The chance that a packet is lost and so are all of `copies` copies of it, each `step` packets after the one before.
    pub fn all_lost(self, copies: u32, step: u32) -> f64 {
        let (ends, _) = self.transitions(step);
        self.sane().loss * (1.0 - ends).powi(i32::try_from(copies).unwrap_or(i32::MAX))
    }

    /// The chance that the next `count` packets are all lost, if the last one was.
    pub fn stays_lost(self, count: u32) -> f64 {
        let (ends, _) = self.transitions(1);
        (1.0 - ends).powi(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// The same as a chain that advances with each `step`th packet.
    pub fn chain(self, step: u32) -> Chain {
        let own = self.sane();
        let (ends, begins) = own.transitions(step);
        Chain { bad: own.loss, lost: [0.0, 1.0], moves: [[1.0 - begins, begins], [ends, 1.0 - ends]] }
    }

    /// What is left of the losses of source packets by an ideal (MDS) code that adds `repair` packets to `source` ones, `step`
    /// packets apart: see [`Chain::residuals`].
    pub fn after_code(self, source: usize, repair: usize, step: u32) -> f64 {
        if source == 0 || self.sane().loss == 0.0 {
            return 0.0;
        }
        let source = source.min(MAX_BLOCK);
        let most = repair.min(MAX_BLOCK - source);
        self.chain(step).residuals(source, most).pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::rng::Rng;

    fn near(a: f64, b: f64, relative: f64) {
        assert!((a - b).abs() <= relative * b.abs().max(1e-12), "{a} and {b}");
    }

    #[test]
    fn without_repair_everything_lost_stays_lost() {
        for channel in [Channel::random(0.05), Channel { loss: 0.05, burst: 10.0 }] {
            near(channel.after_code(20, 0, 1), 0.05, 1e-9);
        }
        assert_eq!(Channel::random(0.0).after_code(20, 2, 1), 0.0);
    }

    #[test]
    fn independent_losses_are_binomial() {
        let (k, m, p) = (10usize, 2usize, 0.1f64);
        let n = k + m;
        // The chance that this packet is lost and at least m of the n - 1 others.
        let mut chance = 1.0;
        let mut below = 0.0;
        for j in 0..m {
            if j > 0 {
                chance *= (n - j) as f64 / j as f64;
            }
            below += chance * p.powi(j as i32) * (1.0 - p).powi((n - 1 - j) as i32);
        }
        near(Channel::random(p).after_code(k, m, 1), p * (1.0 - below), 1e-9);
    }

    #[test]
    fn a_simulation_agrees() {
        let mut rng = Rng::new(7);
        let mut unit = move || f64::from(rng.next_u32()) / 4_294_967_296.0;
        for (channel, k, m, step) in [
            (Channel { loss: 0.1, burst: 3.0 }, 20usize, 6usize, 1u32),
            (Channel { loss: 0.05, burst: 10.0 }, 10, 4, 4),
        ] {
            let (ends, begins) = channel.transitions(1);
            let (mut bad, mut left, mut sent) = (false, 0u32, 0u32);
            for _ in 0..60_000 {
                let (mut lost, mut source) = (0, 0);
                for position in 0..k + m {
                    for _ in 0..step {
                        bad = if bad { unit() >= ends } else { unit() < begins };
                    }
                    lost += usize::from(bad);
                    source += u32::from(bad && position < k);
                }
                sent += k as u32;
                left += if lost > m { source } else { 0 };
            }
            near(f64::from(left) / f64::from(sent), channel.after_code(k, m, step), 0.1);
        }
    }

    #[test]
    fn copies_far_apart_are_independent() {
        near(Channel { loss: 0.1, burst: 5.0 }.all_lost(1, 1000), 0.01, 1e-6);
        assert!(Channel { loss: 0.1, burst: 5.0 }.all_lost(1, 1) > 0.07);
    }

    #[test]
    fn nonsense_is_put_within_limits() {
        for (loss, burst) in [(f64::NAN, 1.0), (2.0, f64::INFINITY), (-1.0, 0.0), (0.999, f64::NAN)] {
            let left = Channel { loss, burst }.after_code(10, 3, 1);
            assert!((0.0..=1.0).contains(&left), "{left}");
        }
    }
}
