//! What may be sent beside the media: a share of its bytes.

/// A share of the media's bytes, and a burst of what was left unused.
///
/// From the beginning no more than `share` times the media's bytes and `start` is sent beside it; from any later time on `burst` in the
/// place of `start`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    share: f64,
    burst: f64,
    left: f64,
}

impl Allowance {
    pub(super) fn new(share: f64, start: usize, burst: usize) -> Self {
        Self { share, burst: burst as f64, left: start.min(burst) as f64 }
    }

    pub(super) fn set(&mut self, share: f64, burst: usize) {
        self.share = share;
        self.burst = burst as f64;
        self.left = self.left.min(self.burst);
    }

    /// So many bytes of media were sent.
    #[inline]
    pub(super) fn earn(&mut self, media: usize) {
        self.left = (self.left + media as f64 * self.share).min(self.burst);
    }

    /// Whether so many bytes may be sent beside the media.
    #[inline]
    pub(super) fn affords(&self, bytes: f64) -> bool {
        self.share > 0.0 && self.left >= bytes
    }

    /// So many bytes were sent beside it.
    #[inline]
    pub(super) fn spend(&mut self, bytes: f64) {
        self.left = (self.left - bytes).max(-self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_its_share_and_the_start_is_afforded_however_it_is_asked() {
        let mut allowance = Allowance::new(0.25, 3000, 10_000);
        let mut spent = 0.0;
        for media in 1..=2000u32 {
            allowance.earn(1200);
            while allowance.affords(1214.0) {
                allowance.spend(1214.0);
                spent += 1214.0;
            }
            assert!(spent <= 3000.0 + 300.0 * f64::from(media), "{spent}");
        }
        assert!(spent > 300.0 * 2000.0);
    }

    #[test]
    fn what_is_left_unused_is_kept_up_to_the_burst() {
        let mut allowance = Allowance::new(0.5, 0, 10_000);
        (0..1000).for_each(|_| allowance.earn(1200));
        assert!(allowance.affords(10_000.0) && !allowance.affords(10_001.0));
        allowance.set(0.5, 4000);
        assert!(allowance.affords(4000.0) && !allowance.affords(4001.0));
    }

    #[test]
    fn of_no_share_nothing_is_afforded() {
        let allowance = Allowance::new(0.0, 3000, 10_000);
        assert!(!allowance.affords(1.0));
    }
}
