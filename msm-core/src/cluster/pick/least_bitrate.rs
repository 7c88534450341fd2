//! The one that sends the least.

use super::super::PickKey;
use super::least::Least;
use super::{Candidate, Picker};
use crate::rng::Rng;

/// The endpoint that sends the fewest bits a second for its weight, its newest sessions counted by what sessions send on average; of equal
/// ones, whoever was picked the longest ago.
#[derive(Debug, Clone, Default)]
pub struct LeastBitrate(Least);

fn load(candidate: &Candidate) -> f64 {
    candidate.load
}

impl Picker for LeastBitrate {
    fn set(&mut self, candidates: &[Candidate]) {
        self.0.set(candidates, load);
    }

    fn update(&mut self, index: usize, candidate: &Candidate) {
        self.0.update(index, candidate, load);
    }

    fn pick(&mut self, _key: PickKey, _rng: &mut Rng, tried: &[usize]) -> Option<usize> {
        self.0.pick(tried)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{candidates, picks};
    use super::*;

    #[test]
    fn the_least_for_the_weight() {
        let mut own = LeastBitrate::default();
        let mut all = candidates(&[1, 1, 4]);
        for (candidate, load) in all.iter_mut().zip([4e6, 3e6, 8e6]) {
            candidate.load = load;
        }
        own.set(&all);
        assert_eq!(picks(&mut own, 2, &[]), [2, 2]);
        assert_eq!(picks(&mut own, 1, &[2]), [1]);
        all[2].load = 20e6;
        own.update(2, &all[2]);
        assert_eq!(picks(&mut own, 1, &[]), [1]);
    }
}
