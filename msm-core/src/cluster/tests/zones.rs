//! The own zone comes first, as far as it can bear it.

use super::*;

fn zoned(zones: &[&str]) -> Vec<EndpointSpec> {
    let mut specs = named(zones.len());
    for (spec, zone) in specs.iter_mut().zip(zones) {
        spec.zone = (!zone.is_empty()).then(|| (*zone).into());
    }
    specs
}

fn bed(zones: &[&str], own: Option<&str>, balance: BalanceKind) -> Bed {
    let options = ClusterOptions {
        balance,
        zone: own.map(Into::into),
        outlier: Some(OutlierOptions { max_ejected: 100, ..OutlierOptions::default() }),
        ..ClusterOptions::default()
    };
    Bed::new(zoned(zones), options)
}

fn eject(bed: &mut Bed, host: &str) {
    (0..5).for_each(|url| bed.outcome(host, url, Outcome::Unreachable));
    assert!(matches!(bed.health(host), Health::Ejected { .. }));
}

#[test]
fn the_own_zone_has_all_while_it_is_well() {
    for kind in pick::KINDS_OF_TESTS {
        let mut own = bed(&["x", "x", "y", ""], Some("x"), kind);
        assert_eq!(own.counts(1000)[2..], [0, 0], "{}", kind.name());
        let mut own = bed(&["x", "x", "y", ""], None, kind);
        assert!(own.counts(1000).iter().all(|&count| count > 0), "no zone, no preference");
        let mut own = bed(&["x", "x", "y", ""], Some("z"), kind);
        assert!(own.counts(1000).iter().all(|&count| count > 0), "nobody there");
    }
}

#[test]
fn what_it_cannot_bear_overflows() {
    for kind in [BalanceKind::Random, pick::KINDS_OF_TESTS[5]] {
        let mut own = bed(&["x", "x", "x", "x", "y", "y"], Some("x"), kind);
        eject(&mut own, "a");
        assert_eq!(own.counts(1000)[4..], [0, 0], "three of four bear all: 1.4 × 75%");
        eject(&mut own, "b");
        // 1.4 × 50% stay.
        let counts = own.counts(100_000);
        let stay = (counts[2] + counts[3]) as f64;
        assert!(
            (stay - 70_000.0).abs() < 5.0 * (100_000.0_f64 * 0.7 * 0.3).sqrt(),
            "{}: {stay}",
            kind.name()
        );
        assert_eq!(counts[..2], [0, 0]);
        eject(&mut own, "c");
        eject(&mut own, "d");
        assert_eq!(own.counts(1000)[..4], [0; 4], "nobody left there");
    }
}

#[test]
fn where_it_is_full_or_tried_the_others_are_next() {
    let mut own = bed(&["x", "y"], Some("x"), BalanceKind::RoundRobin);
    assert_eq!(own.pick_without(&[own.id("a")]), Ok("b".into()));
    assert_eq!(own.pick_without(&[own.id("b")]), Ok("a".into()));
    let limits = ClusterLimits { sessions: None, sessions_per_endpoint: Some(1) };
    let options = ClusterOptions { zone: Some("x".into()), limits, ..ClusterOptions::default() };
    own.cluster.set_options(own.now, options);
    own.begin("a");
    assert_eq!(own.pick(), Ok("b".into()));
    own.begin("b");
    assert!(matches!(own.pick(), Err(PickError::Full { .. })));
}

#[test]
fn a_zone_that_changes_is_heeded() {
    let mut own = bed(&["x", "y"], Some("x"), BalanceKind::RoundRobin);
    assert_eq!(own.counts(2), [2, 0]);
    own.cluster.set_endpoints(own.now, &zoned(&["y", "x"]));
    assert_eq!(own.counts(2), [0, 2]);
}
