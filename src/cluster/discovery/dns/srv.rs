//! SRV records (RFC 2782): priorities and weights.

use std::net::IpAddr;

/// Targets of one service whose addresses are asked for.
const MAX_TARGETS: usize = 200;
/// Priorities of one service.
const MAX_PRIORITIES: usize = 8;

/// Weights are shared out among a target's addresses: this has many divisors.
const PARTS: u32 = 60;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) weight: u16,
}

/// Targets of one priority each, the lowest first: those that are used for as long as one of them can be had.
pub(super) fn groups(mut targets: Vec<Target>, problem: &mut Option<String>) -> Vec<Vec<Target>> {
    targets.sort();
    targets.dedup_by(|later, first| {
        (later.priority, &later.name, later.port) == (first.priority, &first.name, first.port)
    });
    if targets.len() > MAX_TARGETS {
        problem.get_or_insert_with(|| {
            format!("{} targets were found, and only the first {MAX_TARGETS} are used", targets.len())
        });
        targets.truncate(MAX_TARGETS);
    }
    let mut groups: Vec<Vec<Target>> =
        targets.chunk_by(|a, b| a.priority == b.priority).map(<[Target]>::to_vec).collect();
    if groups.len() > MAX_PRIORITIES {
        problem.get_or_insert_with(|| {
            format!("{} priorities were found, and only the first {MAX_PRIORITIES} are used", groups.len())
        });
        groups.truncate(MAX_PRIORITIES);
    }
    groups
}

/// The endpoints of a group: each target's weight is that of its addresses together.
///
/// Weight 0 everywhere says that there is nothing to choose; next to others it is to be taken with a very small chance.
pub(super) fn weigh(group: &[Target], addresses: &[(String, Vec<IpAddr>)]) -> Vec<(IpAddr, u16, u32)> {
    let of = |target: &Target| addresses.iter().find(|(name, _)| *name == target.name).map(|(_, own)| own);
    let all_zero = group.iter().all(|target| target.weight == 0);
    let one_each = group.iter().all(|target| of(target).is_none_or(|own| own.len() <= 1));
    let parts = if one_each { 1 } else { PARTS };
    let mut found = Vec::new();
    for target in group {
        let Some(own) = of(target) else { continue };
        let count = u32::try_from(own.len()).unwrap_or(u32::MAX).max(1);
        let weight = if all_zero { 1 } else { u32::from(target.weight) };
        let weight = (weight.saturating_mul(parts) / count).max(1);
        found.extend(own.iter().map(|address| (*address, target.port, weight)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, name: &str) -> Target {
        Target { priority, name: name.into(), port: 8554, weight }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_lowest_priority_comes_first() {
        let mut problem = None;
        let given = vec![target(20, 1, "c"), target(10, 1, "b"), target(10, 5, "a"), target(10, 1, "b")];
        let groups = groups(given, &mut problem);
        let names: Vec<Vec<_>> =
            groups.iter().map(|group| group.iter().map(|target| target.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
        assert_eq!(problem, None);
        let many = (0..300).map(|number| target(1, 1, &format!("h{number:03}"))).collect();
        let cut = super::groups(many, &mut problem);
        assert_eq!(cut[0].len(), MAX_TARGETS);
        assert!(problem.take().unwrap().starts_with("300 targets"));
        let many = (0..20).map(|priority| target(priority, 1, "h")).collect();
        let cut = super::groups(many, &mut problem);
        assert_eq!((cut.len(), cut[7][0].priority), (MAX_PRIORITIES, 7));
        assert!(problem.unwrap().starts_with("20 priorities"));
    }

    #[test]
    fn a_weight_is_its_targets_whatever_number_of_addresses_it_has() {
        let addresses = [("a".into(), vec![address(1), address(2)]), ("b".into(), vec![address(3)])];
        let found = weigh(&[target(1, 10, "a"), target(1, 30, "b"), target(1, 7, "gone")], &addresses);
        assert_eq!(found, [(address(1), 8554, 300), (address(2), 8554, 300), (address(3), 8554, 1800)]);
        let single = [("a".into(), vec![address(1)]), ("b".into(), vec![address(3)])];
        let found = weigh(&[target(1, 10, "a"), target(1, 0, "b")], &single);
        assert_eq!(found, [(address(1), 8554, 10), (address(3), 8554, 1)]);
        let found = weigh(&[target(1, 0, "a"), target(1, 0, "b")], &single);
        assert_eq!(found, [(address(1), 8554, 1), (address(3), 8554, 1)]);
    }
}
