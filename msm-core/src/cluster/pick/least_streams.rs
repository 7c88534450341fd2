//! The one with the fewest sessions.

use super::super::PickKey;
use super::least::Least;
use super::{Candidate, Picker};
use crate::rng::Rng;

/// The endpoint that would have the fewest sessions for its weight with one more; of equal ones, whoever was picked the longest ago.
#[derive(Debug, Clone, Default)]
pub struct LeastStreams(Least);

fn with_one_more(candidate: &Candidate) -> f64 {
    f64::from(candidate.sessions) + 1.0
}

impl Picker for LeastStreams {
    fn set(&mut self, candidates: &[Candidate]) {
        self.0.set(candidates, with_one_more);
    }

    fn update(&mut self, index: usize, candidate: &Candidate) {
        self.0.update(index, candidate, with_one_more);
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
    fn the_fewest_for_the_weight() {
        let mut own = LeastStreams::default();
        let mut all = candidates(&[1, 1, 2]);
        for (candidate, sessions) in all.iter_mut().zip([4, 3, 7]) {
            candidate.sessions = sessions;
        }
        own.set(&all);
        // 5/1, 4/1, 8/2: of equal ones the first, then the other.
        assert_eq!(picks(&mut own, 3, &[]), [1, 2, 1]);
        assert_eq!(picks(&mut own, 1, &[1, 2]), [0]);
        all[1].sessions = 9;
        own.update(1, &all[1]);
        all[2].open = false;
        own.update(2, &all[2]);
        assert_eq!(picks(&mut own, 2, &[]), [0, 0]);
        assert_eq!(own.pick(PickKey::default(), &mut Rng::new(1), &[0, 1]), None);
    }

    #[test]
    fn of_equal_ones_each_has_its_turn() {
        let mut own = LeastStreams::default();
        own.set(&candidates(&[1; 4]));
        assert_eq!(picks(&mut own, 6, &[]), [0, 1, 2, 3, 0, 1]);
    }
}
