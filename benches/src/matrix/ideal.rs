//! What no code of the same size can better: the exact residual of an ideal MDS code.
//!
//! A block is `k` packets of the stream and then `m` repair packets, one after the other on the wire. A maximum distance separable
//! code recovers all of them from any `k` of the `k + m`, and nothing can from fewer. So a packet of the stream is lost for good if it is lost and more
//! than `m` of its block are.

use msm_fec::control::Chain;
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

    /// Share of source packets that is lost for good where the wire loses as `loss` says: exactly ([`Chain::residuals`]).
    #[must_use]
    pub fn residual(self, loss: Loss) -> f64 {
        chain(loss).residuals(self.k as usize, self.m as usize).pop().unwrap_or_default()
    }
}

/// A loss model as a chain of two states.
fn chain(loss: Loss) -> Chain {
    match loss {
        Loss::GilbertElliott { to_bad, to_good, loss_in_good, loss_in_bad } => Chain {
            bad: if to_bad > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 },
            lost: [loss_in_good, loss_in_bad],
            moves: [[1.0 - to_bad, to_bad], [to_good, 1.0 - to_good]],
        },
        Loss::Random(_) | Loss::None => Chain::random(loss.rate()),
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
