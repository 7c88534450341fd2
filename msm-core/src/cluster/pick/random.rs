//! Any.

use super::super::PickKey;
use super::sums::Sums;
use super::{Candidate, Picker};
use crate::rng::Rng;

/// Endpoints at random, by weight.
#[derive(Debug, Clone, Default)]
pub struct Random(Sums);

impl Picker for Random {
    fn set(&mut self, candidates: &[Candidate]) {
        self.0 = Sums::new(candidates.iter().map(Candidate::tickets));
    }

    fn update(&mut self, index: usize, candidate: &Candidate) {
        let tickets = candidate.tickets();
        // Sessions come and go, which changes nothing here.
        if self.0.get(index) != tickets {
            self.0.set(index, tickets);
        }
    }

    fn pick(&mut self, _key: PickKey, rng: &mut Rng, tried: &[usize]) -> Option<usize> {
        self.0.draw_without(rng, tried)
    }
}
