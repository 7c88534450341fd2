//! Drawing one of many by weight.

use crate::rng::Rng;

/// A binary tree whose leaves are tickets and whose nodes are the sum of their two children: one is drawn, or changed, by one step on
/// each level.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// Leaves begin here; a power of two.
    size: usize,
    /// Node 1 is the root; the children of `n` are `2n` and `2n + 1`.
    nodes: Vec<u64>,
}

impl Sums {
    pub(super) fn new(tickets: impl ExactSizeIterator<Item = u64>) -> Self {
        let size = tickets.len().next_power_of_two();
        let mut own = Sums { size, nodes: vec![0; size.saturating_mul(2)] };
        for (leaf, tickets) in own.nodes.iter_mut().skip(size).zip(tickets) {
            *leaf = tickets;
        }
        (1..size).rev().for_each(|node| own.add(node));
        own
    }

    fn node(&self, node: usize) -> u64 {
        self.nodes.get(node).copied().unwrap_or(0)
    }

    fn add(&mut self, node: usize) {
        let sum = self.node(node * 2).saturating_add(self.node(node * 2 + 1));
        if let Some(place) = self.nodes.get_mut(node) {
            *place = sum;
        }
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        self.node(self.size + index)
    }

    pub(super) fn set(&mut self, index: usize, tickets: u64) {
        let mut node = self.size + index;
        let Some(leaf) = self.nodes.get_mut(node) else { return };
        *leaf = tickets;
        while node > 1 {
            node /= 2;
            self.add(node);
        }
    }

    /// One of them; `None` when there is no ticket.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let total = self.node(1);
        if total == 0 {
            return None;
        }
        let mut ticket = rng.range(0..total);
        let mut node = 1;
        while node < self.size {
            node *= 2;
            let left = self.node(node);
            if ticket >= left {
                ticket -= left;
                node += 1;
            }
        }
        Some(node - self.size)
    }

    /// One of them that is none of `without`.
    pub(super) fn draw_without(&mut self, rng: &mut Rng, without: &[usize]) -> Option<usize> {
        match without {
            [] => self.draw(rng),
            [first, rest @ ..] => {
                let tickets = self.get(*first);
                self.set(*first, 0);
                let drawn = self.draw_without(rng, rest);
                self.set(*first, tickets);
                drawn
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ticket_no_draw_and_one_that_is_out_comes_back() {
        let mut rng = Rng::new(3);
        assert_eq!(Sums::default().draw(&mut rng), None);
        assert_eq!(Sums::new([0, 0, 0].into_iter()).draw(&mut rng), None);
        let mut own = Sums::new([0, 5, 0, 2, 0].into_iter());
        assert!((0..100).all(|_| matches!(own.draw(&mut rng), Some(1 | 3))));
        assert!((0..100).all(|_| own.draw_without(&mut rng, &[1]) == Some(3)));
        assert_eq!(own.draw_without(&mut rng, &[3, 1, 3]), None);
        assert_eq!([own.get(1), own.get(3), own.node(1)], [5, 2, 7]);
        own.set(9, 5);
        own.set(3, 0);
        assert!((0..100).all(|_| own.draw(&mut rng) == Some(1)));
    }
}
