//! Which zone the next session goes to.

/// How much more than its share a zone is trusted to bear: with this much of it well, it still takes all of its own sessions. As in other meshes: while
/// 1 / 1.4 = 71% of the zone's weight is usable, nothing leaves it.
const OVERPROVISIONING: f64 = 1.4;

/// The share of sessions that stay in the own zone, where this much of its weight and of the other zones' weight is usable.
pub(super) fn near_share(near: Usable, far: Usable) -> f64 {
    let (near, far) = (near.bears(), far.bears());
    if near >= 1.0 || far <= 0.0 {
        return 1.0;
    }
    // What the own zone cannot bear goes to the others as far as they can; if both together cannot, each gets what is its part of that.
    let far = (1.0 - near).min(far);
    near / (near + far)
}

/// How much of a zone's weight is usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usable {
    pub(super) weight: u64,
    pub(super) usable: u64,
}

impl Usable {
    /// As if all of it were usable.
    pub(super) fn whole(self) -> Usable {
        Usable { usable: self.weight, ..self }
    }

    fn bears(self) -> f64 {
        if self.weight == 0 {
            return 0.0;
        }
        (OVERPROVISIONING * self.usable as f64 / self.weight as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(near: (u64, u64), far: (u64, u64)) -> f64 {
        let of = |(usable, weight)| Usable { weight, usable };
        near_share(of(near), of(far))
    }

    #[test]
    fn the_own_zone_takes_all_it_can_bear() {
        for (near, far, wanted) in [
            ((10, 10), (10, 10), 1.0),
            ((8, 10), (10, 10), 1.0),
            ((5, 10), (10, 10), 0.7),
            ((0, 10), (10, 10), 0.0),
            ((5, 10), (0, 10), 1.0),
            ((0, 10), (0, 10), 1.0),
            // 0.28 and 0.28: each half of what they can bear together.
            ((2, 10), (2, 10), 0.5),
            // Nobody there, or nobody anywhere else.
            ((0, 0), (10, 10), 0.0),
            ((1, 10), (0, 0), 1.0),
        ] {
            assert!((share(near, far) - wanted).abs() < 1e-9, "{near:?} {far:?}: {}", share(near, far));
        }
    }
}
