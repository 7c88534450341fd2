//! Loss: independent of the packets before, or in bursts.

use msm_core::rng::Rng;

use crate::chance::{happens, probability};

/// Which packets are lost on the line.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability, whatever happened to the others.
    Random(f64),
    /// A chain of two states that advances once a packet (Gilbert 1960, Elliott 1963).
    GilbertElliott {
        /// Probability that a good packet is followed by a bad one.
        to_bad: f64,
        /// Probability that a bad packet is followed by a good one.
        to_good: f64,
        /// Probability that a packet is lost in the good state.
        loss_in_good: f64,
        /// Probability that a packet is lost in the bad state.
        loss_in_bad: f64,
    },
}

impl Loss {
    /// Bursts: a share `rate` of the packets is lost, `mean_run` in a row on average.
    ///
    /// The chain loses every packet in its bad state and none in the good one. Runs are at least one packet long, and so frequent
    /// that a single packet parts them at most: `rate` is bounded by `mean_run / (mean_run + 1)`.
    #[must_use]
    pub fn bursts(rate: f64, mean_run: f64) -> Self {
        let mean_run = if mean_run.is_nan() { 1.0 } else { mean_run.max(1.0) };
        let rate = probability(rate).min(mean_run / (mean_run + 1.0));
        let to_good = 1.0 / mean_run;
        let to_bad = to_good * rate / (1.0 - rate);
        Self::GilbertElliott { to_bad: probability(to_bad), to_good, loss_in_good: 0.0, loss_in_bad: 1.0 }
    }

    /// Share of packets that is lost in the long run.
    #[must_use]
    pub fn rate(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Random(rate) => probability(rate),
            Self::GilbertElliott { loss_in_good, loss_in_bad, .. } => {
                let bad = self.bad_share();
                probability(loss_in_good) * (1.0 - bad) + probability(loss_in_bad) * bad
            }
        }
    }

    /// Share of packets that meets the bad state in the long run.
    fn bad_share(self) -> f64 {
        match self {
            Self::GilbertElliott { to_bad, to_good, .. } => {
                let (to_bad, to_good) = (probability(to_bad), probability(to_good));
                // A chain that never moves is good: it begins there.
                if to_bad > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 }
            }
            _ => 0.0,
        }
    }
}

/// A [`Loss`] under way.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    loss: Loss,
    /// The state that the last packet met; `None` before the first, which meets the bad state with its share in the long run.
    bad: Option<bool>,
    rng: Rng,
}

impl Chain {
    pub(crate) fn new(loss: Loss, seed: u64) -> Self {
        Self { loss, bad: None, rng: Rng::new(seed) }
    }

    /// From the next packet on it is `loss`. A chain that goes on with other probabilities keeps its state.
    pub(crate) fn set(&mut self, loss: Loss) {
        self.loss = loss;
        if !matches!(loss, Loss::GilbertElliott { .. }) {
            self.bad = None;
        }
    }

    /// Advances by one packet: whether that is lost.
    pub(crate) fn is_lost(&mut self) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Random(rate) => happens(&mut self.rng, rate),
            Loss::GilbertElliott { to_bad, to_good, loss_in_good, loss_in_bad } => {
                let moved = self.rng.next_f64();
                let bad = match self.bad {
                    None => moved < self.loss.bad_share(),
                    Some(false) => moved < to_bad,
                    Some(true) => moved >= to_good,
                };
                self.bad = Some(bad);
                let rate = if bad { loss_in_bad } else { loss_in_good };
                happens(&mut self.rng, rate)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_rate_that_was_asked_for() {
        for (rate, run) in [(0.001, 3.0), (0.05, 10.0), (0.2, 3.0), (0.5, 1.0)] {
            assert!((Loss::bursts(rate, run).rate() - rate).abs() < 1e-12, "{rate} {run}");
        }
        // More than runs of one packet with one between them cannot be.
        assert!((Loss::bursts(0.9, 1.0).rate() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn odd_numbers_neither_panic_nor_lose_more_than_everything() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 2.0, 0.0];
        for first in odd {
            for second in odd {
                for loss in [
                    Loss::bursts(first, second),
                    Loss::Random(first),
                    Loss::GilbertElliott {
                        to_bad: first,
                        to_good: second,
                        loss_in_good: first,
                        loss_in_bad: second,
                    },
                ] {
                    assert!((0.0..=1.0).contains(&loss.rate()), "{loss:?}");
                    let mut chain = Chain::new(loss, 1);
                    (0..100).for_each(|_| _ = chain.is_lost());
                }
            }
        }
    }

    #[test]
    fn a_chain_keeps_its_state_when_its_probabilities_change() {
        let stuck =
            |to_bad| Loss::GilbertElliott { to_bad, to_good: 0.0, loss_in_good: 0.0, loss_in_bad: 1.0 };
        let mut chain = Chain::new(stuck(1.0), 1);
        assert!(chain.is_lost());
        chain.set(stuck(0.0));
        assert!(chain.is_lost(), "still bad: nothing leads out of it");
        chain.set(Loss::Random(0.0));
        assert!(!chain.is_lost());
        chain.set(stuck(0.0));
        assert!(!chain.is_lost(), "begins anew");
    }
}
