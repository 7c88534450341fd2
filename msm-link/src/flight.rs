//! Packets under way, by the time of their arrival.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

/// A packet under way. Two that arrive at the same time arrive in the order in which they were put in.
#[derive(Debug, Clone)]
struct Entry<P> {
    at: Instant,
    number: u64,
    packet: P,
}

impl<P> Entry<P> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<P> PartialEq for Entry<P> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<P> Eq for Entry<P> {}

impl<P> PartialOrd for Entry<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Entry<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Packets under way. Those that arrive behind all others, which is nearly all, cost no search.
#[derive(Debug, Clone)]
pub(crate) struct Flight<P> {
    in_order: VecDeque<Entry<P>>,
    others: BinaryHeap<Reverse<Entry<P>>>,
    number: u64,
}

impl<P> Flight<P> {
    pub(crate) fn new() -> Self {
        Self { in_order: VecDeque::new(), others: BinaryHeap::new(), number: 0 }
    }

    pub(crate) fn insert(&mut self, at: Instant, packet: P) {
        let entry = Entry { at, number: self.number, packet };
        self.number += 1;
        match self.in_order.back() {
            Some(last) if at < last.at => self.others.push(Reverse(entry)),
            _ => self.in_order.push_back(entry),
        }
    }

    /// When the next arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        let first = self.in_order.front().map(|entry| entry.at);
        let other = self.others.peek().map(|Reverse(entry)| entry.at);
        match (first, other) {
            (Some(first), Some(other)) => Some(first.min(other)),
            (first, other) => first.or(other),
        }
    }

    /// The next, if it has arrived by `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<P> {
        let first = self.in_order.front().map(Entry::key);
        let other = self.others.peek().map(|Reverse(entry)| entry.key());
        let (at, from_others) = match (first, other) {
            (Some(first), Some(other)) if other < first => (other.0, true),
            (Some(first), _) => (first.0, false),
            (None, Some(other)) => (other.0, true),
            (None, None) => return None,
        };
        if at > now {
            return None;
        }
        let entry = if from_others {
            self.others.pop().map(|Reverse(entry)| entry)
        } else {
            self.in_order.pop_front()
        };
        entry.map(|entry| entry.packet)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use msm_core::rng::Rng;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    fn arrivals_are_sorted_by_time_and_then_by_insertion() {
        let start = Instant::now();
        let mut rng = Rng::new(1);
        let mut flight = Flight::new();
        let mut expected: Vec<(Duration, usize)> =
            (0..1_000).map(|number| (Duration::from_millis(rng.range(0..50)), number)).collect();
        for &(at, number) in &expected {
            flight.insert(start + at, (at, number));
        }
        expected.sort_unstable();
        let mut arrived = Vec::new();
        while let Some(at) = flight.next() {
            assert_eq!(flight.pop(at - Duration::from_nanos(1)), None, "before it arrives");
            arrived.extend(flight.pop(at));
        }
        assert_eq!(arrived, expected);
    }
}
