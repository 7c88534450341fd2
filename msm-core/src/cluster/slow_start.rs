//! How much of its weight an endpoint gets that is new, or well again.

use std::time::{Duration, Instant};

/// What it gets at first.
const LEAST: f64 = 0.1;
/// Steps from there to all of it.
const STEPS: u32 = 20;

/// The share at `now` of one that began at `since`: a tenth at first, then what has passed of `window`, in steps. `None` when it gets all.
pub(super) fn share(since: Instant, window: Duration, now: Instant) -> Option<f64> {
    let passed = now.saturating_duration_since(since);
    if passed >= window {
        return None;
    }
    let step = (passed.as_nanos() * u128::from(STEPS) / window.as_nanos()) as f64;
    Some((step / f64::from(STEPS)).max(LEAST))
}

/// When the next step is due.
pub(super) fn next_step(since: Instant, window: Duration, now: Instant) -> Instant {
    let step = (window / STEPS).max(Duration::from_millis(1));
    let passed = now.saturating_duration_since(since).as_nanos() / step.as_nanos();
    let next = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
    since + step.checked_mul(next).unwrap_or(window).min(window + step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_a_tenth_to_all() {
        let since = crate::cluster::some_instant();
        let window = Duration::from_secs(30);
        let at = |millis| since + Duration::from_millis(millis);
        assert_eq!(share(since, window, at(0)), Some(0.1));
        assert_eq!(share(since, window, at(2_900)), Some(0.1));
        assert_eq!(share(since, window, at(15_000)), Some(0.5));
        assert_eq!(share(since, window, at(29_999)), Some(0.95));
        assert_eq!(share(since, window, at(30_000)), None);
        assert_eq!(share(since, Duration::ZERO, at(0)), None);
        let (mut now, mut steps) = (since, 0);
        while share(since, window, now).is_some() {
            let next = next_step(since, window, now);
            assert!(next > now);
            (now, steps) = (next, steps + 1);
        }
        assert_eq!((steps, now), (20, at(30_000)));
    }
}
