//! One after the other.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut};

use super::super::PickKey;
use super::{Candidate, Picker};
use crate::rng::Rng;

/// Endpoints in turn, by earliest deadline first: each has its next turn one `1 / weight` after the last, and whoever's comes first is next.
/// Equal weights make the order of the list; of 5, 1 and 1 the heavy one's turns have the others' in between.
#[derive(Debug, Clone, Default)]
pub struct RoundRobin {
    turns: Vec<Turn>,
    queue: BinaryHeap<Entry>,
    /// The deadline of the last turn.
    now: f64,
    /// Entries that a pick passes over, kept for its end.
    aside: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Turn {
    place: u64,
    /// Of the next turn.
    deadline: f64,
    /// From one turn to the next.
    stride: f64,
    open: bool,
    /// Whether it is in the queue: closed ones leave it when their turn comes.
    queued: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    deadline: f64,
    index: usize,
}

impl Eq for Entry {}

impl Ord for Entry {
    /// The earliest is the greatest; of equal ones, the first in the list.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.index.cmp(&self.index))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// From here on deadlines are counted anew, before they get coarse: steps of 1 / 2^32 are still told apart.
const LATEST: f64 = 1_048_576.0;

impl RoundRobin {
    fn enqueue(&mut self, index: usize) {
        if let Some(turn) = self.turns.get_mut(index)
            && turn.open
            && !turn.queued
        {
            turn.queued = true;
            self.queue.push(Entry { deadline: turn.deadline, index });
        }
    }

    /// Moves all deadlines so that the last turn was at 0.
    fn rebase(&mut self) {
        let by = self.now;
        self.now = 0.0;
        for turn in &mut self.turns {
            turn.deadline = (turn.deadline - by).max(0.0);
        }
        let turns = &self.turns;
        let queue = std::mem::take(&mut self.queue).into_vec();
        let moved = |entry: Entry| Entry {
            deadline: turns.get(entry.index).map_or(0.0, |turn| turn.deadline),
            ..entry
        };
        self.queue = queue.into_iter().map(moved).collect();
    }
}

fn stride(candidate: &Candidate) -> f64 {
    1.0 / candidate.weight_now().max(1.0 / 1024.0)
}

impl Picker for RoundRobin {
    fn set(&mut self, candidates: &[Candidate]) {
        self.rebase();
        // Those that were closed begin anew.
        let open = self.turns.iter().filter(|turn| turn.open);
        let known: BTreeMap<u64, f64> = open.map(|turn| (turn.place, turn.deadline)).collect();
        self.queue.clear();
        self.turns = candidates
            .iter()
            .map(|candidate| Turn {
                place: candidate.place,
                // Half a stride: the first turns of heavy and light ones are as far apart as all others.
                deadline: known.get(&candidate.place).copied().unwrap_or(stride(candidate) / 2.0),
                stride: stride(candidate),
                open: candidate.is_open(),
                queued: false,
            })
            .collect();
        (0..self.turns.len()).for_each(|index| self.enqueue(index));
    }

    fn update(&mut self, index: usize, candidate: &Candidate) {
        if let Some(turn) = self.turns.get_mut(index) {
            turn.stride = stride(candidate);
            turn.open = candidate.is_open();
            if turn.open && !turn.queued {
                // What it missed while it was closed is not made up for.
                turn.deadline = turn.deadline.max(self.now + turn.stride / 2.0);
            }
        }
        self.enqueue(index);
    }

    fn pick(&mut self, _key: PickKey, _rng: &mut Rng, tried: &[usize]) -> Option<usize> {
        let mut picked = None;
        while let Some(mut first) = self.queue.peek_mut() {
            let index = first.index;
            match self.turns.get_mut(index) {
                Some(turn) if turn.open => {
                    if tried.contains(&index) {
                        self.aside.push(PeekMut::pop(first));
                        continue;
                    }
                    self.now = self.now.max(turn.deadline);
                    turn.deadline += turn.stride;
                    first.deadline = turn.deadline;
                    picked = Some(index);
                    break;
                }
                Some(turn) => turn.queued = false,
                None => {}
            }
            PeekMut::pop(first);
        }
        self.queue.extend(self.aside.drain(..));
        if self.now > LATEST {
            self.rebase();
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{candidates, picks};
    use super::*;

    #[test]
    fn equal_weights_take_turns_and_what_is_closed_or_tried_is_passed_over() {
        let mut own = RoundRobin::default();
        let mut all = candidates(&[1, 1, 1]);
        own.set(&all);
        assert_eq!(picks(&mut own, 4, &[]), [0, 1, 2, 0]);
        all[1].open = false;
        own.update(1, &all[1]);
        assert_eq!(picks(&mut own, 3, &[]), [2, 0, 2]);
        assert_eq!(picks(&mut own, 2, &[2]), [0, 0]);
        assert_eq!(own.pick(PickKey::default(), &mut Rng::new(1), &[0, 2]), None);
        all[1].open = true;
        own.update(1, &all[1]);
        let next = picks(&mut own, 6, &[]);
        assert_eq!(next.iter().filter(|&&index| index == 1).count(), 2, "nothing is made up for: {next:?}");
    }

    #[test]
    fn heavy_ones_have_the_others_in_between() {
        let mut own = RoundRobin::default();
        own.set(&candidates(&[5, 1, 1, 0]));
        let round = picks(&mut own, 70, &[]);
        assert_eq!(round.iter().filter(|&&index| index == 0).count(), 50);
        assert!(!round.contains(&3), "weight 0");
        assert!(round.windows(7).all(|seven| seven.iter().any(|&index| index != 0)), "{round:?}");
    }

    #[test]
    fn a_list_that_changes_all_the_time_does_not_begin_with_the_first_each_time() {
        let mut own = RoundRobin::default();
        let all = candidates(&[1, 1, 1, 1]);
        let mut seen = [0; 4];
        for round in 0..400 {
            own.set(&all[..if round % 2 == 0 { 3 } else { 4 }]);
            seen[picks(&mut own, 1, &[])[0]] += 1;
        }
        assert!(seen[..3].iter().all(|&count| (60..180).contains(&count)), "{seen:?}");
    }

    #[test]
    fn deadlines_are_counted_anew_and_shares_stay() {
        let mut own = RoundRobin::default();
        own.set(&candidates(&[1, 3]));
        own.now = LATEST;
        own.turns.iter_mut().for_each(|turn| turn.deadline += LATEST);
        own.set(&candidates(&[1, 3]));
        assert!(own.now == 0.0);
        own.now = LATEST - 10.0;
        own.turns.iter_mut().for_each(|turn| turn.deadline += LATEST - 10.0);
        own.queue = own
            .turns
            .iter()
            .enumerate()
            .map(|(index, turn)| Entry { deadline: turn.deadline, index })
            .collect();
        let picked = picks(&mut own, 400, &[]);
        assert_eq!(picked.iter().filter(|&&index| index == 1).count(), 300);
        assert!(own.now < 1000.0);
    }
}
