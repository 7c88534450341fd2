//! One that is new, or well again, gets its weight little by little.

use super::*;

fn bed() -> Bed {
    let options = ClusterOptions {
        balance: BalanceKind::Random,
        slow_start: Duration::from_secs(20),
        outlier: Some(OutlierOptions::default()),
        ..ClusterOptions::default()
    };
    Bed::new(named(2), options)
}

/// The share of the picks that `c`, or whoever is third, gets.
fn share(bed: &mut Bed, of: usize) -> f64 {
    bed.counts(100_000)[of] as f64 / 100_000.0
}

#[test]
fn one_that_joins() {
    let mut bed = bed();
    assert!(
        (share(&mut bed, 0) - 0.5).abs() < 0.008,
        "those that are there from the start have nobody to spare"
    );
    assert_eq!(bed.cluster.poll_timeout(), None);
    bed.cluster.set_endpoints(bed.now, &named(3));
    for (millis, weight) in
        [(0, 0.1_f64), (1_999, 0.1), (5_000, 0.25), (10_000, 0.5), (19_999, 0.95), (20_000, 1.0)]
    {
        bed.wait(millis);
        assert_eq!(bed.cluster.view(bed.now).nth(2).unwrap().weight, weight, "{millis}");
        let wanted = weight / (2.0 + weight);
        let bound = 5.0 * (wanted * (1.0 - wanted) / 100_000.0).sqrt();
        let got = share(&mut bed, 2);
        // A weight is a whole number of 1024ths.
        assert!((got - wanted).abs() < bound + 0.001, "{millis}: {got} instead of {wanted}");
    }
    assert_eq!(bed.cluster.poll_timeout(), None);
}

#[test]
fn one_that_returns() {
    let mut bed = bed();
    (0..5).for_each(|url| bed.outcome("a", url, Outcome::Unreachable));
    bed.wait(30_000);
    assert_eq!(bed.cluster.view(bed.now).next().unwrap().weight, 0.1);
    bed.wait(40_000);
    assert_eq!(bed.cluster.view(bed.now).next().unwrap().weight, 0.5);
    // No ramp, no waiting.
    bed.cluster.set_options(bed.now, ClusterOptions::default());
    assert_eq!(bed.cluster.view(bed.now).next().unwrap().weight, 1.0);
    assert_eq!(bed.cluster.poll_timeout(), None);
}

#[test]
fn one_that_is_checked_for_the_first_time_is_not_well_again() {
    let options = ClusterOptions {
        slow_start: Duration::from_secs(20),
        active: Some(ActiveOptions::new(CheckKind::Tcp)),
        ..ClusterOptions::default()
    };
    let mut bed = Bed::new(named(2), options);
    bed.wait(2_000);
    assert!(bed.cluster.view(bed.now).all(|view| view.weight == 1.0));
    bed.run(10_000, |check, _| {
        Some(if check.endpoint.host == "a" { Err(CheckFailure::Silent) } else { Ok(()) })
    });
    bed.wait(14_500);
    let weights: Vec<f64> = bed.cluster.view(bed.now).map(|view| view.weight).collect();
    assert!(weights[0] < 0.3 && weights[1] == 1.0, "{weights:?}");
}
