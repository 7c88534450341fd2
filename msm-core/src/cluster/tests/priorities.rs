//! Those of the next priority are for when none of the first can be had (RFC 2782).

use super::*;

/// `a`, `b`, …, with these priorities.
fn ranked(priorities: &[u16]) -> Vec<EndpointSpec> {
    let mut specs = named(priorities.len());
    specs.iter_mut().zip(priorities).for_each(|(spec, priority)| spec.priority = *priority);
    specs
}

fn checked(balance: BalanceKind) -> ClusterOptions {
    ClusterOptions {
        balance,
        active: Some(ActiveOptions {
            unhealthy_after: 1,
            healthy_after: 1,
            ..ActiveOptions::new(CheckKind::Tcp)
        }),
        ..ClusterOptions::default()
    }
}

/// Has the checks of these endpoints fail, all others succeed.
fn have_ill(bed: &mut Bed, ill: &[&str]) {
    let end = (bed.now - bed.start).as_millis() as u64 + 10_000;
    bed.run(end, |check, _| {
        let is_ill = ill.contains(&check.endpoint.host.as_str());
        Some(if is_ill { Err(CheckFailure::Unreachable) } else { Ok(()) })
    });
}

#[test]
fn the_next_come_in_when_none_of_the_first_is_well() {
    for kind in pick::KINDS_OF_TESTS {
        let mut bed = Bed::new(ranked(&[20, 10, 10, 30]), checked(kind));
        have_ill(&mut bed, &[]);
        let counts = bed.counts(1000);
        assert_eq!((counts[0], counts[3]), (0, 0), "{}: {counts:?}", kind.name());
        assert!(counts[1] > 0 && counts[2] > 0, "{}: {counts:?}", kind.name());
        have_ill(&mut bed, &["b"]);
        assert_eq!(bed.counts(100), [0, 0, 100, 0], "one of them is enough");
        have_ill(&mut bed, &["b", "c"]);
        assert_eq!(bed.counts(100), [100, 0, 0, 0]);
        have_ill(&mut bed, &["a", "b", "c"]);
        assert_eq!(bed.counts(100), [0, 0, 0, 100]);
        have_ill(&mut bed, &["a", "b"]);
        assert_eq!(bed.counts(100), [0, 0, 100, 0]);
        assert!(bed.cluster.check(bed.id("d")).is_ok(), "who went there stays");
    }
}

#[test]
fn they_are_next_where_the_first_are_full_or_tried() {
    let limits = ClusterLimits { sessions: None, sessions_per_endpoint: Some(1) };
    let mut bed = Bed::new(ranked(&[1, 2]), ClusterOptions { limits, ..ClusterOptions::default() });
    assert_eq!(bed.pick_without(&[bed.id("a")]), Ok("b".into()));
    assert_eq!(bed.pick_without(&[bed.id("a"), bed.id("b")]), Err(PickError::Tried));
    bed.begin("a");
    assert_eq!(bed.pick(), Ok("b".into()));
    bed.begin("b");
    assert!(matches!(bed.pick(), Err(PickError::Full { .. })));
    let a = bed.id("a");
    bed.cluster.end(a);
    assert_eq!(bed.pick(), Ok("a".into()));
}

#[test]
fn that_all_of_one_are_ill_is_no_panic_while_others_are_well() {
    let mut bed = Bed::new(ranked(&[1, 1, 1, 1, 2]), checked(BalanceKind::RoundRobin));
    // One of five would be too few, were they all alike.
    have_ill(&mut bed, &["a", "b", "c", "d"]);
    assert!(!bed.cluster.is_panicking());
    assert_eq!(bed.counts(4), [0, 0, 0, 0, 4]);
    assert!(bed.cluster.check(bed.id("a")).is_err());
    bed.events();
    have_ill(&mut bed, &["a", "b", "c", "d", "e"]);
    assert_eq!(bed.news(), ["unhealthy e", "panic 0/5"]);
    assert_eq!(bed.counts(4), [1, 1, 1, 1, 0], "the first of all that are used");
    have_ill(&mut bed, &["a", "b", "c", "d"]);
    assert_eq!(bed.news(), ["healthy e", "calm"]);
    // Those without a weight make no difference.
    let mut specs = ranked(&[1, 2]);
    specs[1].weight = 0;
    let mut bed = Bed::new(specs, checked(BalanceKind::RoundRobin));
    have_ill(&mut bed, &["a"]);
    assert!(bed.cluster.is_panicking());
}

#[test]
fn a_priority_that_changes_is_heeded() {
    let mut bed = Bed::new(ranked(&[1, 2, 2]), ClusterOptions::default());
    assert_eq!(bed.counts(2), [2, 0, 0]);
    bed.cluster.set_endpoints(bed.now, &ranked(&[3, 2, 2]));
    assert_eq!(bed.counts(2), [0, 1, 1]);
    bed.cluster.set_endpoints(bed.now, &ranked(&[0, 0, 0]));
    assert_eq!(bed.counts(3), [1, 1, 1]);
}
