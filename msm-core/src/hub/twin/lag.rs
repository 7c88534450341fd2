//! How long after one source's packets the same ones of the other come.

use super::LAG;

/// One over the share of a new sample.
const SMOOTH: i64 = 16;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// In milliseconds, times [`SMOOTH`].
    mean: Option<i64>,
    near: bool,
}

impl Lag {
    /// Whether it is known, and within [`LAG`].
    pub(super) fn is_near(&self) -> bool {
        self.near
    }

    /// Takes a sample, in milliseconds; whether [`Self::is_near`] is another now.
    pub(super) fn measure(&mut self, sample: i32) -> bool {
        let sample = i64::from(sample);
        let mean = self.mean.map_or(sample * SMOOTH, |mean| mean - mean / SMOOTH + sample);
        self.mean = Some(mean);
        let limit = LAG.as_millis() as i64;
        // It does not come and go with each packet of one that is at the limit.
        let limit = if self.near { limit + limit / 2 } else { limit };
        let near = mean / SMOOTH <= limit;
        std::mem::replace(&mut self.near, near) != near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_near_within_its_limit_and_stays_so_a_little_beyond() {
        let mut lag = Lag::default();
        assert!(!lag.is_near());
        assert!(!lag.measure(500) && !lag.is_near());
        let mut samples = 1;
        while !lag.measure(60) {
            samples += 1;
        }
        assert!(lag.is_near() && (16..100).contains(&samples), "{samples} samples");
        // One that is late by itself says nothing, nor does one a little beyond.
        assert!(!lag.measure(600));
        assert!((0..200).all(|_| !lag.measure(130)));
        assert!((0..200).any(|_| lag.measure(170)) && !lag.is_near());
        // Who is ahead is not behind.
        assert!(Lag::default().measure(-5_000));
        assert!(Lag::default().measure(i32::MIN) && !Lag::default().measure(i32::MAX));
    }
}
