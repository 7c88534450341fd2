//! The least of many that change one at a time.

/// A key: the load, and of equal loads the turn that is longest ago.
pub(super) type Key = (f64, u64);

/// A binary tree whose leaves are candidates and whose nodes are the lesser of their two children: the least is known, and a changed leaf
/// is one comparison on each level.
#[derive(Debug, Clone, Default)]
pub(super) struct Tournament {
    /// Leaves begin here; a power of two.
    size: usize,
    /// Node 1 is the root; the children of `n` are `2n` and `2n + 1`.
    nodes: Vec<Option<(Key, usize)>>,
}

impl Tournament {
    pub(super) fn new(keys: impl ExactSizeIterator<Item = Option<Key>>) -> Self {
        let size = keys.len().next_power_of_two();
        let mut own = Tournament { size, nodes: vec![None; size.saturating_mul(2)] };
        for (index, key) in keys.enumerate() {
            if let Some(leaf) = own.nodes.get_mut(size + index) {
                *leaf = key.map(|key| (key, index));
            }
        }
        (1..size).rev().for_each(|node| own.play(node));
        own
    }

    fn node(&self, node: usize) -> Option<(Key, usize)> {
        self.nodes.get(node).copied().flatten()
    }

    fn play(&mut self, node: usize) {
        let winner = match (self.node(node * 2), self.node(node * 2 + 1)) {
            (Some(left), Some(right)) => {
                let order = left.0.0.total_cmp(&right.0.0).then(left.0.1.cmp(&right.0.1));
                Some(if order.is_le() { left } else { right })
            }
            (left, right) => left.or(right),
        };
        if let Some(place) = self.nodes.get_mut(node) {
            *place = winner;
        }
    }

    /// The candidate's key is this now; without one it is out.
    pub(super) fn set(&mut self, index: usize, key: Option<Key>) {
        let mut node = self.size + index;
        let Some(leaf) = self.nodes.get_mut(node) else { return };
        *leaf = key.map(|key| (key, index));
        while node > 1 {
            node /= 2;
            self.play(node);
        }
    }

    /// Who has the least.
    pub(super) fn first(&self) -> Option<usize> {
        self.node(1).map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_least_is_first_whatever_changes() {
        let mut rng = Rng::new(7);
        for count in [0_usize, 1, 2, 3, 7, 8, 100] {
            let mut keys: Vec<Option<Key>> = vec![None; count];
            let mut own = Tournament::new(keys.iter().copied());
            assert_eq!(own.first(), None);
            for _ in 0..1000 {
                if count > 0 {
                    let index = rng.range(0..count as u64) as usize;
                    keys[index] = (rng.range(0..4) > 0).then(|| (rng.range(0..9) as f64, rng.next_u64()));
                    own.set(index, keys[index]);
                }
                let least = (0..count)
                    .filter(|&index| keys[index].is_some())
                    .min_by(|&a, &b| keys[a].partial_cmp(&keys[b]).unwrap());
                assert_eq!(own.first(), least);
            }
            own.set(count + 200, Some((0.0, 0)));
        }
    }
}
