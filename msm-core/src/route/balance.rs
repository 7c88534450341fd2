//! Who is next: endpoints of a cluster, and backends of a route.

/// How a cluster's endpoint is picked for an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalanceKind {
    /// One after the other.
    #[default]
    RoundRobin,
}

impl BalanceKind {
    /// A picker of this kind with its own state.
    pub fn picker(self) -> Box<dyn Balance + Send> {
        match self {
            BalanceKind::RoundRobin => Box::new(RoundRobin::default()),
        }
    }
}

/// Picks one endpoint out of `count`. The state belongs to the implementation; there is no clock and no randomness but
/// what its constructor was given.
pub trait Balance {
    /// The index of the next endpoint for which `usable` is true; `None` when there is none. `usable` is asked at most
    /// once for each index.
    fn pick(&mut self, count: usize, usable: &mut dyn FnMut(usize) -> bool) -> Option<usize>;
}

/// Endpoints in turn, unusable ones left out.
#[derive(Debug, Clone, Default)]
pub struct RoundRobin {
    next: usize,
}

impl Balance for RoundRobin {
    fn pick(&mut self, count: usize, usable: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let start = self.next.checked_rem(count)?;
        let picked = (start..count).chain(0..start).find(|&index| usable(index))?;
        self.next = picked.wrapping_add(1);
        Some(picked)
    }
}

/// Smooth weighted round robin: of any run of picks as long as the sum of the weights, each index gets exactly its
/// weight, spread evenly (`5, 1, 1` gives `a a b a c a a`). Deterministic.
#[derive(Debug, Clone)]
pub struct WeightedSplit {
    lanes: Vec<Lane>,
}

#[derive(Debug, Clone)]
struct Lane {
    weight: i64,
    current: i64,
}

impl WeightedSplit {
    /// A split by these weights. Weight 0 is never picked.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> WeightedSplit {
        let lanes =
            weights.into_iter().map(|weight| Lane { weight: i64::from(weight), current: 0 }).collect();
        WeightedSplit { lanes }
    }

    /// The next index among those for which `usable` is true; `None` when there is none with a weight. The share of
    /// unusable ones goes to the others in proportion to their weights.
    pub fn pick(&mut self, usable: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let mut total = 0_i64;
        let mut best: Option<(usize, i64)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.weight == 0 || !usable(index) {
                continue;
            }
            total = total.saturating_add(lane.weight);
            lane.current = lane.current.saturating_add(lane.weight);
            if best.is_none_or(|(_, current)| lane.current > current) {
                best = Some((index, lane.current));
            }
        }
        let (index, _) = best?;
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.current = lane.current.saturating_sub(total);
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_takes_turns_and_skips() {
        let mut balance = BalanceKind::RoundRobin.picker();
        let mut pick = |count, bad: &[usize]| balance.pick(count, &mut |index| !bad.contains(&index));
        assert_eq!(
            [pick(3, &[]), pick(3, &[]), pick(3, &[]), pick(3, &[])],
            [Some(0), Some(1), Some(2), Some(0)]
        );
        assert_eq!([pick(3, &[1]), pick(3, &[1]), pick(3, &[1])], [Some(2), Some(0), Some(2)]);
        assert_eq!(pick(3, &[0, 1, 2]), None);
        assert_eq!(pick(0, &[]), None);
        assert_eq!(pick(1, &[]), Some(0));
    }

    #[test]
    fn weights_are_kept_and_smooth() {
        let mut split = WeightedSplit::new([5, 1, 1]);
        let picks: Vec<usize> = (0..7).filter_map(|_| split.pick(&mut |_| true)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
        let mut split = WeightedSplit::new([95, 5, 0]);
        let mut seen = [0_u32; 3];
        for _ in 0..1000 {
            seen[split.pick(&mut |_| true).expect("one")] += 1;
        }
        assert_eq!(seen, [950, 50, 0]);
    }

    #[test]
    fn the_unusable_get_nothing() {
        let mut split = WeightedSplit::new([1, 1]);
        assert!((0..10).all(|_| split.pick(&mut |index| index == 1) == Some(1)));
        assert_eq!(split.pick(&mut |_| false), None);
        assert_eq!(WeightedSplit::new([0, 0]).pick(&mut |_| true), None);
        assert_eq!(WeightedSplit::new([]).pick(&mut |_| true), None);
        let mut split = WeightedSplit::new([u32::MAX, u32::MAX]);
        let picks: Vec<usize> = (0..4).filter_map(|_| split.pick(&mut |_| true)).collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }
}
