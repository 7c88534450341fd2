//! Shares of a cluster as a whole: with health and weights, and sessions that come and go.

use super::*;
use crate::rng::Rng;

const PICKS: u64 = 100_000;

#[test]
fn shares_are_the_weights_of_those_that_are_well() {
    for kind in pick::KINDS_OF_TESTS {
        let mut specs = named(6);
        for (spec, weight) in specs.iter_mut().zip([1, 2, 3, 4, 0, 5]) {
            spec.weight = weight;
        }
        let options = ClusterOptions {
            balance: kind,
            outlier: Some(OutlierOptions::default()),
            ..ClusterOptions::default()
        };
        let mut bed = Bed::new(specs, options);
        (0..5).for_each(|url| bed.outcome("d", url, Outcome::TimedOut));
        let mut counts = [0_u64; 6];
        for _ in 0..PICKS {
            let host = bed.pick().unwrap();
            bed.begin(&host);
            counts[usize::from(host.as_bytes()[0] - b'a')] += 1;
        }
        for (count, weight) in counts.iter().zip([1.0, 2.0, 3.0, 0.0, 0.0, 5.0]) {
            let share = weight / 11.0;
            let bound = 5.0 * (PICKS as f64 * share * (1.0 - share)).sqrt() + 2.0;
            assert!((*count as f64 - PICKS as f64 * share).abs() <= bound, "{}: {counts:?}", kind.name());
        }
    }
}

#[test]
fn the_fewest_sessions_stay_even_while_they_come_and_go() {
    for (kind, most) in [(BalanceKind::LeastStreams, 12), (BalanceKind::PowerOfTwo, 12)] {
        let mut bed = Bed::new(named(10), ClusterOptions { balance: kind, ..ClusterOptions::default() });
        let mut rng = Rng::new(4);
        let mut held: Vec<EndpointId> = Vec::new();
        for _ in 0..20_000 {
            if held.len() < 500 {
                let host = bed.pick().unwrap();
                held.push(bed.id(&host));
                bed.begin(&host);
            } else {
                let index = rng.range(0..500) as usize;
                bed.cluster.end(held.swap_remove(index));
            }
        }
        let sessions: Vec<u32> = bed.cluster.view(bed.now).map(|view| view.sessions).collect();
        let (least, highest) = (sessions.iter().min().unwrap(), sessions.iter().max().unwrap());
        assert!(highest - least <= most, "{}: {sessions:?}", kind.name());
    }
}
