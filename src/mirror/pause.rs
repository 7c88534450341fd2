//! How long a shadow is not tried again.

use std::time::Duration;

use msm_core::rng::Rng;

const FIRST: Duration = Duration::from_secs(1);
/// The longest; what has lived that long was no failure at the start.
const LONGEST: Duration = Duration::from_secs(60);

/// The pauses between attempts, each twice the one before.
pub(super) struct Pause {
    next: Duration,
    rng: Rng,
}

impl Pause {
    pub(super) fn new(seed: u64) -> Self {
        Self { next: FIRST, rng: Rng::new(seed) }
    }

    /// The pause after an attempt that has `lived` for so long. Up to a quarter of it is left out, so that streams that lost their shadows
    /// together do not come back together.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LONGEST {
            self.next = FIRST;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        let share = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        pause.mul_f64(1.0 - share / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_a_minute_and_begins_anew_behind_what_has_lived_long() {
        let mut pause = Pause::new(7);
        let mut next = |lived: u64| pause.after(Duration::from_secs(lived)).as_secs_f64();
        for wanted in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let pause = next(59);
            assert!(pause <= wanted && pause >= wanted * 0.75, "{pause} for {wanted}");
        }
        assert!(next(60) <= 1.0 && next(0) > 1.0);
        let pauses = |seed: u64| {
            let mut pause = Pause::new(seed);
            (0..5).map(|_| pause.after(Duration::ZERO)).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(2), "not all at once");
    }
}
