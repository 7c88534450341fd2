//! What no code of the same size can better: the exact residual of an ideal MDS code.
//!
//! A block is `k` packets of the stream and then `m` repair packets, one after the other on the wire. A maximum distance separable
//! code recovers all of them from any `k` of the `k + m`, and nothing can from fewer. So a packet of the stream is lost for good if it is lost and more
//! than `m` of its block are.

use msm_link::Loss;

use super::cell::Cell;
use super::traffic::{FRAME, SPACING};

/// Most packets of a block over GF(2^8).
pub const LARGEST: u64 = 255;

/// A block: source packets and repair packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Source packets.
    pub k: u64,
    /// Repair packets.
    pub m: u64,
}

impl Code {
    /// The largest block of whole frames whose first packet can still be recovered within the budget of `cell` from its last repair
    /// packet, with `share` repair packets for each of the stream.
    #[must_use]
    pub fn of_budget(cell: &Cell, share: f64) -> Self {
        let of = |frames: u64| {
            let k = frames * cell.rate.per_frame();
            Self { k, m: (k as f64 * share) as u64 }
        };
        let fits = |frames: u64, code: Self| {
            let after = cell.rate.per_frame() - 1 + code.m;
            let takes = FRAME.as_nanos() * u128::from(frames - 1) + SPACING.as_nanos() * u128::from(after);
            takes <= cell.latency().as_nanos() && code.k + code.m <= LARGEST
        };
        let frames = (1..LARGEST).take_while(|&frames| fits(frames, of(frames))).last();
        of(frames.unwrap_or(1))
    }

    /// Share of source packets that is lost for good where the wire loses as `loss` says: exactly, by following the chain's states and
    /// the number of packets that are lost through the block.
    #[must_use]
    pub fn residual(self, loss: Loss) -> f64 {
        let chain = Gilbert::of(loss);
        let size = (self.k + self.m) as usize;
        // By how many packets are lost so far: the probability of being in either state, and the expected number of source packets
        // among the lost ones where that is so.
        let mut probability = vec![[0.0; 2]; size + 1];
        let mut sources = vec![[0.0; 2]; size + 1];
        if let Some(first) = probability.first_mut() {
            *first = [1.0 - chain.bad, chain.bad];
        }
        for packet in 0..self.k + self.m {
            let source = if packet < self.k { 1.0 } else { 0.0 };
            let mut next_probability = vec![[0.0; 2]; size + 1];
            let mut next_sources = vec![[0.0; 2]; size + 1];
            for (count, (from, from_sources)) in probability.iter().zip(&sources).enumerate() {
                for (state, (&here, &here_sources)) in from.iter().zip(from_sources).enumerate() {
                    if here == 0.0 {
                        continue;
                    }
                    let lost = chain.lost.get(state).copied().unwrap_or_default();
                    let outcomes = [(count, 1.0 - lost, 0.0), (count + 1, lost, source)];
                    for (count, chance, source) in outcomes.into_iter().filter(|outcome| outcome.1 > 0.0) {
                        let (Some(to), Some(to_sources)) =
                            (next_probability.get_mut(count), next_sources.get_mut(count))
                        else {
                            continue;
                        };
                        let moves = chain.moves.get(state).copied().unwrap_or_default();
                        for ((to, to_sources), moves) in to.iter_mut().zip(to_sources).zip(moves) {
                            *to += here * chance * moves;
                            *to_sources += (here_sources + here * source) * chance * moves;
                        }
                    }
                }
            }
            (probability, sources) = (next_probability, next_sources);
        }
        sources.iter().skip(self.m as usize + 1).flatten().sum::<f64>() / self.k.max(1) as f64
    }
}

/// A loss model as a chain of two states, good and bad.
struct Gilbert {
    /// Share of packets that meets the bad state.
    bad: f64,
    /// Probability to be lost in either.
    lost: [f64; 2],
    /// Probability to be in either at the next packet, from either.
    moves: [[f64; 2]; 2],
}

impl Gilbert {
    fn of(loss: Loss) -> Self {
        match loss {
            Loss::GilbertElliott { to_bad, to_good, loss_in_good, loss_in_bad } => Self {
                bad: if to_bad > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 },
                lost: [loss_in_good, loss_in_bad],
                moves: [[1.0 - to_bad, to_bad], [to_good, 1.0 - to_good]],
            },
            Loss::Random(_) | Loss::None => {
                Self { bad: 0.0, lost: [loss.rate(); 2], moves: [[1.0, 0.0], [0.0, 1.0]] }
            }
        }
    }
}

/// The same for random loss in closed form: a packet is lost, and `m` or more of the other `k + m - 1` are.
#[must_use]
pub fn binomial(code: Code, rate: f64) -> f64 {
    let others = code.k + code.m - 1;
    let mut term = (1.0 - rate).powi(others as i32);
    let mut tail = 0.0;
    for count in 0..=others {
        if count >= code.m {
            tail += term;
        }
        term *= (others - count) as f64 / (count + 1) as f64 * rate / (1.0 - rate);
    }
    rate * tail
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use msm_link::{Link, Settings};

    use super::super::cell::{Budget, Kind, Rate};
    use super::*;

    #[test]
    fn random_loss_is_the_binomial_distribution() {
        for (k, m) in [(8, 4), (33, 16), (66, 33), (10, 0), (1, 1)] {
            for rate in [0.001, 0.01, 0.05, 0.1, 0.2] {
                let code = Code { k, m };
                let (chain, closed) = (code.residual(Loss::Random(rate)), binomial(code, rate));
                assert!((chain / closed - 1.0).abs() < 1e-9, "{code:?} {rate}: {chain} {closed}");
            }
        }
        // By hand: both of two are lost.
        assert!((binomial(Code { k: 1, m: 1 }, 0.1) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn without_repair_it_is_the_loss_and_without_loss_it_is_nothing() {
        for loss in [Loss::Random(0.05), Loss::bursts(0.05, 10.0)] {
            assert!((Code { k: 33, m: 0 }.residual(loss) - 0.05).abs() < 1e-12);
        }
        assert_eq!(Code { k: 33, m: 1 }.residual(Loss::None), 0.0);
    }

    #[test]
    fn it_agrees_with_what_is_drawn() {
        let general =
            Loss::GilbertElliott { to_bad: 0.03, to_good: 0.2, loss_in_good: 0.02, loss_in_bad: 0.6 };
        let cases = [
            (Loss::Random(0.2), Code { k: 8, m: 2 }),
            (Loss::bursts(0.05, 3.0), Code { k: 8, m: 4 }),
            (Loss::bursts(0.1, 10.0), Code { k: 33, m: 16 }),
            (Loss::bursts(0.2, 10.0), Code { k: 66, m: 33 }),
            (general, Code { k: 16, m: 8 }),
        ];
        for (seed, (loss, code)) in cases.into_iter().enumerate() {
            let (blocks, now) = (40_000, Instant::now());
            let mut link = Link::new(Settings { loss, ..Settings::default() }, seed as u64);
            // Blocks follow one another on one chain: their shares are correlated a little, the mean is not.
            let shares: Vec<f64> = (0..blocks)
                .map(|_| {
                    let lost: Vec<bool> = (0..code.k + code.m)
                        .map(|_| {
                            link.handle_send(now, [0_u8; 1]).unwrap();
                            link.poll_arrival(now).is_none()
                        })
                        .collect();
                    let count = |lost: &[bool]| lost.iter().filter(|&&lost| lost).count() as u64;
                    let beyond = count(&lost) > code.m;
                    if beyond { count(&lost[..code.k as usize]) as f64 / code.k as f64 } else { 0.0 }
                })
                .collect();
            let mean = shares.iter().sum::<f64>() / f64::from(blocks);
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / f64::from(blocks);
            let deviation = (variance / f64::from(blocks)).sqrt() * 1.2;
            let exact = code.residual(loss);
            assert!(
                (mean - exact).abs() < 4.5 * deviation,
                "{code:?} {loss:?}: {mean} {exact} ± {deviation}"
            );
            assert!(deviation < exact / 4.0, "the draw says too little: {exact} ± {deviation}");
        }
    }

    #[test]
    fn blocks_are_as_large_as_the_budget_allows() {
        let code = |rate, budget, rtt| {
            let rtt = std::time::Duration::from_millis(rtt);
            let cell = Cell {
                rate,
                loss: 0.05,
                kind: Kind::Random,
                step: None,
                rtt,
                budget,
                paths: super::super::Paths::One,
                packets: 0,
            };
            let Code { k, m } = Code::of_budget(&cell, 0.5);
            (k, m)
        };
        assert_eq!(code(Rate::Eight, Budget::NoRoundTrip, 80), (66, 33));
        assert_eq!(code(Rate::Two, Budget::NoRoundTrip, 80), (16, 8));
        assert_eq!(code(Rate::Eight, Budget::Tight, 2), (33, 16));
        // 99 + 49 packets, the last repair 80 + 3.2 + 4.9 ms after the first.
        assert_eq!(code(Rate::Eight, Budget::Roomy, 20), (99, 49));
        // Nine frames would fit into 340 ms, but not into a block.
        assert_eq!(code(Rate::Eight, Budget::Roomy, 80), (165, 82));
    }
}
