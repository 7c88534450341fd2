//! Losses as a chain of two states, and exactly what an ideal code leaves of them.

/// Gilbert-Elliott: each packet meets one of two states, is lost with that state's probability, and moves the chain on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    /// Share of packets that meets the bad state.
    pub bad: f64,
    /// Probability to be lost in the good state and in the bad one.
    pub lost: [f64; 2],
    /// Probability to be in either at the next packet: from the good state, and from the bad one.
    pub moves: [[f64; 2]; 2],
}

/// Where so many packets of a block are lost so far: the probability of being in either state, and the expected number of source
/// packets among the lost ones where that is so.
#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    chance: [f64; 2],
    sources: [f64; 2],
}

impl Chain {
    /// Each packet is lost with the same probability, whatever becomes of the others.
    #[must_use]
    pub const fn random(loss: f64) -> Self {
        Self { bad: 0.0, lost: [loss; 2], moves: [[1.0, 0.0], [0.0, 1.0]] }
    }

    /// The share of source packets that is lost for good with an ideal (MDS) code, for each number of repair packets up to `most`.
    ///
    /// A block is `source` packets and then its repair packets, one after the other on the wire. Such a code recovers all of them
    /// from any `source` of its packets, and nothing can from fewer. So a packet is lost for good if it is lost and more packets
    /// of its block are than there are repair packets. Found by following the chain's states and the number of losses through the
    /// block; that takes `(source + most) × most` steps, for all numbers of repair packets together.
    #[must_use]
    pub fn residuals(&self, source: usize, most: usize) -> Vec<f64> {
        // By the number of losses; the last bin is of all beyond `most`.
        let mut bins = vec![Bin::default(); most.saturating_add(2)];
        if let Some(first) = bins.first_mut() {
            first.chance = [1.0 - self.bad, self.bad];
        }
        let share = |bins: &[Bin], repair: usize| {
            let sources = bins.iter().skip(repair + 1).flat_map(|bin| bin.sources);
            sources.sum::<f64>() / source.max(1) as f64
        };
        let mut residuals = Vec::with_capacity(most.saturating_add(1));
        for position in 0..source.saturating_add(most) {
            if let Some(repair) = position.checked_sub(source) {
                residuals.push(share(&bins, repair));
            }
            // More are not lost yet than there were packets.
            let reached = bins.len().min(position + 2);
            let weight = if position < source { 1.0 } else { 0.0 };
            let whole = reached == bins.len();
            self.step(bins.get_mut(..reached).unwrap_or_default(), weight, whole);
        }
        residuals.push(share(&bins, most));
        residuals
    }

    /// One more packet, which counts as `weight` source packets. `whole`: the last of `bins` is that of all beyond.
    fn step(&self, bins: &mut [Bin], weight: f64, whole: bool) {
        let [lost_good, lost_bad] = self.lost;
        let [[good_good, good_bad], [bad_good, bad_bad]] = self.moves;
        let last = bins.len().saturating_sub(1);
        let mut above = bins.iter_mut().enumerate().rev().peekable();
        while let Some((at, bin)) = above.next() {
            let Bin { chance: [good, bad], sources: [good_sources, bad_sources] } = *bin;
            // Who is beyond stays there, lost or not.
            let (mut chance, mut sources) = if whole && at == last {
                (
                    [good, bad],
                    [good_sources + good * lost_good * weight, bad_sources + bad * lost_bad * weight],
                )
            } else {
                let stays = [1.0 - lost_good, 1.0 - lost_bad];
                ([good * stays[0], bad * stays[1]], [good_sources * stays[0], bad_sources * stays[1]])
            };
            if let Some((_, below)) = above.peek() {
                let Bin { chance: [good, bad], sources: [good_sources, bad_sources] } = **below;
                chance[0] += good * lost_good;
                chance[1] += bad * lost_bad;
                sources[0] += (good_sources + good * weight) * lost_good;
                sources[1] += (bad_sources + bad * weight) * lost_bad;
            }
            bin.chance =
                [chance[0] * good_good + chance[1] * bad_good, chance[0] * good_bad + chance[1] * bad_bad];
            bin.sources = [
                sources[0] * good_good + sources[1] * bad_good,
                sources[0] * good_bad + sources[1] * bad_bad,
            ];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet is lost, and `repair` or more of the others of its block are.
    fn binomial(source: usize, repair: usize, loss: f64) -> f64 {
        let others = source + repair - 1;
        let mut term = (1.0 - loss).powi(others as i32);
        let mut tail = 0.0;
        for count in 0..=others {
            tail += if count >= repair { term } else { 0.0 };
            term *= (others - count) as f64 / (count + 1) as f64 * loss / (1.0 - loss);
        }
        loss * tail
    }

    #[test]
    fn independent_losses_are_binomial() {
        for (source, most) in [(1, 3), (8, 4), (33, 16), (128, 64)] {
            for loss in [0.001, 0.05, 0.2] {
                let residuals = Chain::random(loss).residuals(source, most);
                assert_eq!(residuals.len(), most + 1);
                for (repair, residual) in residuals.into_iter().enumerate() {
                    let exact = binomial(source, repair, loss);
                    assert!((residual - exact).abs() <= 1e-9 * exact + 1e-18, "{source}+{repair}, {loss}");
                }
            }
        }
    }

    #[test]
    fn what_is_lost_without_repair_is_the_share_of_the_states() {
        let chain = Chain { bad: 0.2, lost: [0.01, 0.5], moves: [[0.95, 0.05], [0.2, 0.8]] };
        let expected = 0.8 * 0.01 + 0.2 * 0.5;
        for source in [1, 7, 60] {
            let first = chain.residuals(source, 5)[0];
            assert!((first - expected).abs() < 1e-12, "{first}");
        }
        assert!(chain.residuals(20, 12).windows(2).all(|pair| pair[1] < pair[0]), "each one helps");
        assert_eq!(chain.residuals(0, 0), [0.0]);
    }
}
