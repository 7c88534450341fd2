//! Copies of a route's streams for another cluster.

use super::condition::is_among;

/// A cluster that gets copies of a share of a route's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its name.
    pub cluster: String,
    /// How much, in percent of all pairs of client and URL.
    pub percentage: u8,
}

impl Mirror {
    /// Whether what is at this point, to which client and URL hash, is copied. It stays so when the percentage grows; and says nothing of what
    /// [`split`](super::split) and the percentages of routes do with the same point.
    pub fn takes(&self, route: &str, point: u64) -> bool {
        is_among(point, &format!("mirror of {route}"), self.percentage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Backend, hash, split};

    const POINTS: u64 = 100_000;

    /// What those whose points these are see of `is`.
    fn count(is: impl Fn(u64) -> bool) -> f64 {
        (0..POINTS).filter(|index| is(hash(&index.to_be_bytes()))).count() as f64
    }

    /// Five standard deviations of a binomial distribution.
    fn near(count: f64, share: f64) -> bool {
        (count - POINTS as f64 * share).abs() <= 5.0 * (POINTS as f64 * share * (1.0 - share)).sqrt()
    }

    fn mirror(percentage: u8) -> Mirror {
        Mirror { cluster: "shadow".into(), percentage }
    }

    #[test]
    fn it_takes_its_share_and_keeps_it_when_that_grows() {
        assert!(near(count(|point| mirror(10).takes("r", point)), 0.1));
        assert_eq!(count(|point| mirror(100).takes("r", point)), POINTS as f64);
        assert_eq!(count(|point| mirror(0).takes("r", point)), 0.0);
        assert_eq!(count(|point| mirror(10).takes("r", point) && !mirror(30).takes("r", point)), 0.0);
    }

    #[test]
    fn what_is_copied_says_nothing_of_what_else_is_decided_by_client_and_url() {
        let backends = ["old", "new"].map(|name| Backend { cluster: name.into(), weight: 1 });
        let is_new = |point| split(&backends, point, |_| true).is_some_and(|own| own.cluster == "new");
        assert!(near(count(|point| mirror(20).takes("r", point) && is_new(point)), 0.1));
        assert!(near(count(|point| mirror(20).takes("r", point) && is_among(point, "r", 50)), 0.1));
        assert!(near(count(|point| mirror(20).takes("r", point) && mirror(50).takes("s", point)), 0.1));
    }
}
