//! Where nearly all are ill, all are used.

use super::*;

fn options(panic_threshold: u8) -> ClusterOptions {
    ClusterOptions {
        active: Some(ActiveOptions { unhealthy_after: 1, ..ActiveOptions::new(CheckKind::Tcp) }),
        panic_threshold,
        ..ClusterOptions::default()
    }
}

/// Has the checks of the first `ill` endpoints fail, all others succeed.
fn have_ill(bed: &mut Bed, ill: usize) {
    let hosts: Vec<String> = named(ill).into_iter().map(|spec| spec.endpoint.host).collect();
    let end = (bed.now - bed.start).as_millis() as u64 + 10_000;
    bed.run(end, |check, _| {
        Some(if hosts.contains(&check.endpoint.host) { Err(CheckFailure::Unreachable) } else { Ok(()) })
    });
}

#[test]
fn below_the_threshold_all_are_used_and_sessions_stay() {
    let mut bed = Bed::new(named(10), options(50));
    have_ill(&mut bed, 5);
    assert_eq!(bed.counts(10)[..5], [0; 5], "half is enough");
    assert!(bed.cluster.check(bed.id("a")).is_err());
    bed.events();
    have_ill(&mut bed, 6);
    assert_eq!(bed.counts(10), [1; 10]);
    assert!(bed.cluster.check(bed.id("a")).is_ok(), "the next one would be no better");
    assert_eq!(bed.news(), ["unhealthy f", "panic 4/10"]);
    assert!(matches!(bed.health("a"), Health::Unhealthy { .. }), "and what is known is still shown");
    have_ill(&mut bed, 5);
    assert_eq!(bed.counts(10)[..5], [0; 5]);
    assert!(bed.cluster.check(bed.id("a")).is_err());
    assert_eq!(bed.news(), ["healthy f", "calm"]);
}

#[test]
fn without_a_threshold_nobody_is_used_that_is_ill() {
    let mut bed = Bed::new(named(2), options(0));
    have_ill(&mut bed, 2);
    assert_eq!(bed.pick(), Err(PickError::Unhealthy { of: 2 }));
    assert!(bed.cluster.check(bed.id("a")).is_err());
}

#[test]
fn by_default_one_of_three_is_enough_and_the_only_one_is_always_used() {
    for (count, ill, panics) in [(1, 1, true), (2, 1, false), (2, 2, true), (3, 2, false), (4, 3, true)] {
        let mut bed = Bed::new(named(count), options(ClusterOptions::PANIC_THRESHOLD));
        have_ill(&mut bed, ill);
        assert_eq!(bed.cluster.is_panicking(), panics, "{ill} of {count}");
        assert!(bed.pick().is_ok());
    }
}

#[test]
fn those_without_a_weight_count_for_nothing() {
    let mut specs = named(4);
    specs[3].weight = 0;
    let mut bed = Bed::new(specs, options(30));
    have_ill(&mut bed, 2);
    assert!(!bed.cluster.is_panicking());
    have_ill(&mut bed, 3);
    assert_eq!(bed.counts(3), [1, 1, 1, 0]);
    let mut none = named(2);
    none.iter_mut().for_each(|spec| spec.weight = 0);
    assert_eq!(Bed::new(none, options(30)).pick(), Err(PickError::Unhealthy { of: 2 }));
}
