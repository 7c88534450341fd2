//! The one with fewer sessions of any two.

use super::super::PickKey;
use super::sums::Sums;
use super::{Candidate, Picker};
use crate::rng::Rng;

/// Two endpoints are drawn by weight, and whichever has fewer sessions for its weight is picked; of equal ones, the one that was drawn
/// first. Nearly as even as the fewest of all, and processes that know nothing of each other do not all go to the same one.
#[derive(Debug, Clone, Default)]
pub struct PowerOfTwo {
    tickets: Sums,
    loads: Vec<f64>,
}

fn load(candidate: &Candidate) -> f64 {
    f64::from(candidate.sessions) / candidate.weight_now().max(f64::MIN_POSITIVE)
}

impl PowerOfTwo {
    fn load(&self, index: usize) -> f64 {
        self.loads.get(index).copied().unwrap_or(f64::INFINITY)
    }

    fn pick_two(&mut self, rng: &mut Rng) -> Option<usize> {
        let first = self.tickets.draw(rng)?;
        let second = self.tickets.draw_without(rng, &[first]);
        Some(match second {
            Some(second) if self.load(second) < self.load(first) => second,
            _ => first,
        })
    }
}

impl Picker for PowerOfTwo {
    fn set(&mut self, candidates: &[Candidate]) {
        self.tickets = Sums::new(candidates.iter().map(Candidate::tickets));
        self.loads = candidates.iter().map(load).collect();
    }

    fn update(&mut self, index: usize, candidate: &Candidate) {
        let tickets = candidate.tickets();
        if self.tickets.get(index) != tickets {
            self.tickets.set(index, tickets);
        }
        if let Some(own) = self.loads.get_mut(index) {
            *own = load(candidate);
        }
    }

    fn pick(&mut self, _key: PickKey, rng: &mut Rng, tried: &[usize]) -> Option<usize> {
        if tried.is_empty() {
            return self.pick_two(rng);
        }
        // Each once: what is put back is what was there.
        let mut out: Vec<(usize, u64)> = Vec::with_capacity(tried.len());
        for &index in tried {
            if self.tickets.get(index) > 0 {
                out.push((index, self.tickets.get(index)));
                self.tickets.set(index, 0);
            }
        }
        let picked = self.pick_two(rng);
        for (index, tickets) in out {
            self.tickets.set(index, tickets);
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{candidates, picks};
    use super::*;

    #[test]
    fn of_two_the_one_with_fewer_sessions_for_its_weight() {
        let mut own = PowerOfTwo::default();
        let mut all = candidates(&[1, 2, 1]);
        for (candidate, sessions) in all.iter_mut().zip([3, 5, 9]) {
            candidate.sessions = sessions;
        }
        own.set(&all);
        let picked = picks(&mut own, 200, &[]);
        assert!(picked.iter().all(|&index| index != 2), "it is never less than the other");
        assert!(picked.contains(&0) && picked.contains(&1));
        assert_eq!(picks(&mut own, 3, &[0]), [1, 1, 1]);
        assert_eq!(picks(&mut own, 1, &[0, 1, 1]), [2]);
        assert_eq!(own.pick(PickKey::default(), &mut Rng::new(1), &[0, 1, 2]), None);
        assert_eq!(picks(&mut own, 9, &[1]), [0; 9]);
        let again = picks(&mut own, 200, &[]);
        assert!(again.contains(&0) && again.contains(&1), "what was left out is back");
    }
}
