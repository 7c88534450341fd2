//! Which of a route's backends a stream's reader is sent to.

use super::Backend;

/// The backend for a request: the weights are shares of all `point`s, and a point stays with its backend unless the weights take
/// it away. So what is hashed to points is sticky, and a change of weights moves only the share that must move.
///
/// Weighted rendezvous: each backend draws a score for the point from the point and its cluster's name, and the lowest `-ln(u) / weight`
/// wins. `usable` leaves backends out; their share goes to the others by weight.
///
/// `None` where no usable backend has a weight.
pub fn split(backends: &[Backend], point: u64, mut usable: impl FnMut(&Backend) -> bool) -> Option<&Backend> {
    let mut best: Option<(f64, &Backend)> = None;
    for backend in backends.iter().filter(|backend| backend.weight > 0) {
        if !usable(backend) {
            continue;
        }
        let draw = mix(point ^ hash(backend.cluster.as_bytes()));
        // In (0, 1): 53 bits, and never 0.
        let unit = ((draw >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let score = -unit.ln() / f64::from(backend.weight);
        if best.is_none_or(|(lowest, _)| score < lowest) {
            best = Some((score, backend));
        }
    }
    best.map(|(_, backend)| backend)
}

/// A hash that is the same in all processes and versions: FNV-1a, mixed.
pub fn hash(bytes: &[u8]) -> u64 {
    hash_of(bytes.iter().copied())
}

/// [`hash`], of bytes that are made as they are asked for.
pub(super) fn hash_of(bytes: impl Iterator<Item = u8>) -> u64 {
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The finalizer of SplitMix64: each bit of the input changes half of those of the output.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: u64 = 100_000;

    fn backends(weights: &[(&str, u32)]) -> Vec<Backend> {
        weights.iter().map(|(name, weight)| Backend { cluster: (*name).into(), weight: *weight }).collect()
    }

    fn of(backends: &[Backend]) -> Vec<Option<String>> {
        let point = |index: u64| hash(&index.to_be_bytes());
        (0..POINTS)
            .map(|index| split(backends, point(index), |_| true).map(|own| own.cluster.clone()))
            .collect()
    }

    /// Five standard deviations of a binomial distribution.
    fn bound(share: f64) -> f64 {
        5.0 * (POINTS as f64 * share * (1.0 - share)).sqrt()
    }

    #[test]
    fn shares_are_the_weights() {
        for weights in [&[("a", 95), ("b", 5)][..], &[("a", 1), ("b", 1), ("c", 2)], &[("x", 999), ("y", 1)]]
        {
            let picks = of(&backends(weights));
            let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
            for (name, weight) in weights {
                let share = f64::from(*weight) / f64::from(total);
                let got = picks.iter().filter(|pick| pick.as_deref() == Some(*name)).count() as f64;
                assert!((got - POINTS as f64 * share).abs() <= bound(share), "{name}: {got}");
            }
        }
    }

    #[test]
    fn a_ramp_moves_only_the_share_that_must_move() {
        let (before, after) = (of(&backends(&[("a", 95), ("b", 5)])), of(&backends(&[("a", 80), ("b", 20)])));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(before, _)| before.as_deref() == Some("a")), "nobody goes back");
        assert!((moved.len() as f64 - POINTS as f64 * 0.15).abs() <= bound(0.15), "{}", moved.len());
    }

    #[test]
    fn the_share_of_an_unusable_backend_goes_to_the_others_and_nobody_else_moves() {
        let own = backends(&[("a", 2), ("b", 1), ("c", 1)]);
        for index in 0..10_000_u64 {
            let point = hash(&index.to_be_bytes());
            let whole = split(&own, point, |_| true).unwrap();
            let without = split(&own, point, |backend| backend.cluster != "c").unwrap();
            assert!(whole.cluster == "c" || whole == without);
        }
    }

    #[test]
    fn nothing_without_a_weight() {
        assert_eq!(split(&[], 1, |_| true), None);
        assert_eq!(split(&backends(&[("a", 0)]), 1, |_| true), None);
        assert_eq!(split(&backends(&[("a", 1)]), 1, |_| false), None);
        let own = backends(&[("a", 0), ("b", 1)]);
        assert!((0..1000).all(|point| split(&own, point, |_| true).unwrap().cluster == "b"));
    }
}
