//! Counting over the last seconds.

use std::time::{Duration, Instant};

/// Parts of a window: what is older than it goes out by a tenth of it at a time.
const PARTS: usize = 10;

/// Counts of the last `length`, or of up to a tenth of it less.
#[derive(Debug, Clone)]
pub(super) struct Window<T> {
    part: Duration,
    /// When the newest part began.
    start: Option<Instant>,
    /// The newest first.
    parts: [T; PARTS],
}

impl<T: Copy + Default> Window<T> {
    /// One that begins with what is first counted in it.
    pub(super) fn new(length: Duration) -> Self {
        let part = (length / PARTS as u32).max(Duration::from_millis(1));
        Window { part, start: None, parts: [T::default(); PARTS] }
    }

    /// Windows of one length and origin let go of the same times together.
    pub(super) fn since(origin: Instant, length: Duration) -> Self {
        Window { start: Some(origin), ..Window::new(length) }
    }

    /// Lets go of what is too old.
    pub(super) fn advance(&mut self, now: Instant) {
        let since = now.saturating_duration_since(*self.start.get_or_insert(now));
        let passed = since.as_nanos() / self.part.as_nanos();
        if passed == 0 {
            return;
        }
        if passed < PARTS as u128 {
            let new = passed as usize;
            self.parts.rotate_right(new);
            self.parts.iter_mut().take(new).for_each(|part| *part = T::default());
        } else {
            self.parts = [T::default(); PARTS];
        }
        let into = since.as_nanos() % self.part.as_nanos();
        self.start = now.checked_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(0)));
    }

    /// The part that is of now.
    pub(super) fn now(&mut self, now: Instant) -> &mut T {
        self.advance(now);
        let [newest, ..] = &mut self.parts;
        newest
    }

    /// All parts, the newest first.
    pub(super) fn parts(&self) -> &[T] {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_out() {
        let start = crate::cluster::some_instant();
        let at = |millis| start + Duration::from_millis(millis);
        let mut own = Window::<u64>::new(Duration::from_secs(10));
        let sum = |own: &mut Window<u64>, millis| {
            own.advance(at(millis));
            own.parts().iter().sum::<u64>()
        };
        *own.now(at(0)) += 1;
        *own.now(at(900)) += 2;
        *own.now(at(1000)) += 4;
        *own.now(at(5500)) += 8;
        assert_eq!(sum(&mut own, 9999), 15);
        assert_eq!(sum(&mut own, 10_000), 12);
        assert_eq!(sum(&mut own, 11_000), 8);
        assert_eq!(sum(&mut own, 14_999), 8);
        assert_eq!(sum(&mut own, 15_000), 0);
        *own.now(at(15_500)) += 1;
        assert_eq!(sum(&mut own, 100_000), 0);
        *own.now(at(100_000)) += 3;
        // A clock that is behind changes nothing.
        assert_eq!(sum(&mut own, 1), 3);
    }

    #[test]
    fn those_of_one_origin_let_go_together() {
        let start = crate::cluster::some_instant();
        let at = |millis| start + Duration::from_millis(millis);
        let new = || Window::<u64>::since(start, Duration::from_secs(10));
        // One is used all the time, the other now and then, and a third for the first time late.
        let (mut often, mut seldom, mut late) = (new(), new(), new());
        (0..37_300).step_by(100).for_each(|millis| *often.now(at(millis)) = 0);
        *seldom.now(at(12_345)) += 1;
        for own in [&mut often, &mut seldom, &mut late] {
            *own.now(at(37_345)) += 1;
        }
        for millis in (37_350..50_000).step_by(50) {
            let sums = [&mut often, &mut seldom, &mut late].map(|own| {
                own.advance(at(millis));
                own.parts().iter().sum::<u64>()
            });
            assert_eq!(sums, [sums[0]; 3], "after {millis} ms");
            assert_eq!(sums[0], u64::from(millis < 47_000), "after {millis} ms");
        }
    }
}
