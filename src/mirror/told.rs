//! How often people are told of a cluster's shadows.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// They are told once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// When somebody was told last.
#[derive(Default)]
pub(crate) struct Told(Mutex<Option<Instant>>);

impl Told {
    /// Whether somebody is to be told now; then that is done.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute() {
        let (told, now) = (Told::default(), Instant::now());
        let due = |seconds| told.is_due(now + Duration::from_secs(seconds));
        assert_eq!(
            [due(0), due(1), due(59), due(60), due(61), due(200)],
            [true, false, false, true, false, true]
        );
    }
}
