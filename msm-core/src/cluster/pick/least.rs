//! Who has the least of something for its weight.

use super::Candidate;
use super::tournament::{Key, Tournament};

/// Candidates by load for their weight; of equal ones, whoever was picked the longest ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Least {
    order: Tournament,
    entries: Vec<Entry>,
    picks: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    place: u64,
    /// `None` for one that is closed.
    load: Option<f64>,
    /// Which pick was the last one of it.
    last: u64,
}

impl Entry {
    fn key(&self) -> Option<Key> {
        self.load.map(|load| (load, self.last))
    }
}

impl Least {
    /// `load` is what to have the least of, before weights.
    pub(super) fn set(&mut self, candidates: &[Candidate], load: impl Fn(&Candidate) -> f64) {
        let before: std::collections::BTreeMap<u64, u64> =
            self.entries.iter().map(|entry| (entry.place, entry.last)).collect();
        let entry = |candidate: &Candidate| Entry {
            place: candidate.place,
            load: weighed(candidate, &load),
            last: before.get(&candidate.place).copied().unwrap_or(0),
        };
        self.entries = candidates.iter().map(entry).collect();
        self.order = Tournament::new(self.entries.iter().map(Entry::key));
    }

    pub(super) fn update(&mut self, index: usize, candidate: &Candidate, load: impl Fn(&Candidate) -> f64) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        entry.load = weighed(candidate, &load);
        self.order.set(index, entry.key());
    }

    pub(super) fn pick(&mut self, tried: &[usize]) -> Option<usize> {
        for &index in tried {
            self.order.set(index, None);
        }
        let picked = self.order.first();
        for &index in tried {
            self.order.set(index, self.entries.get(index).and_then(Entry::key));
        }
        let index = picked?;
        self.picks = self.picks.wrapping_add(1);
        let entry = self.entries.get_mut(index)?;
        entry.last = self.picks;
        self.order.set(index, entry.key());
        Some(index)
    }
}

fn weighed(candidate: &Candidate, load: impl Fn(&Candidate) -> f64) -> Option<f64> {
    candidate.is_open().then(|| load(candidate) / candidate.weight_now())
}
