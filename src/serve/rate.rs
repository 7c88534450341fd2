//! How often an address may do something within a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses that are remembered at once. Whoever is new when there are as many has the oldest forgotten.
pub(crate) const MAX_ADDRESSES: usize = 16 * 1024;

/// The part of the addresses that is forgotten together: to look for the oldest takes time in which others wait.
const FORGOTTEN: usize = MAX_ADDRESSES / 8;

/// Counts what each address does. The first time opens a window; whoever has reached the limit waits for its end, and what
/// is tried meanwhile does not put it off.
///
/// Memory is bounded by [`MAX_ADDRESSES`]. Those that have reached the limit are forgotten last, so an address that waits does
/// not get off by having others come; who has more addresses than that is counted too low. To be forgotten harms nobody.
pub(crate) struct Rate {
    limit: usize,
    length: Duration,
    windows: HashMap<IpAddr, Window>,
}

struct Window {
    since: Instant,
    count: usize,
    /// It was told that somebody waits.
    told: bool,
}

impl Rate {
    /// `limit` times within `length`.
    pub(crate) fn new(limit: usize, length: Duration) -> Self {
        Self { limit, length, windows: HashMap::new() }
    }

    /// Another limit, for windows that are open as well.
    pub(crate) fn set_limit(&mut self, limit: usize, length: Duration) {
        (self.limit, self.length) = (limit, length);
    }

    /// How long an address has to wait; `None` if it need not.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let window = self.windows.get(&address).filter(|window| window.count >= self.limit)?;
        let left = self.length.saturating_sub(now.saturating_duration_since(window.since));
        Some(left).filter(|left| !left.is_zero())
    }

    /// An address has done it once more.
    pub(crate) fn add(&mut self, address: IpAddr, now: Instant) {
        let length = self.length;
        if self.windows.len() >= MAX_ADDRESSES && !self.windows.contains_key(&address) {
            self.make_room(now);
        }
        let window =
            self.windows.entry(address).or_insert_with(|| Window { since: now, count: 0, told: false });
        if now.saturating_duration_since(window.since) >= length {
            *window = Window { since: now, count: 0, told: false };
        }
        window.count = window.count.saturating_add(1);
    }

    /// Whether nobody was told yet that this address waits; from now on somebody was.
    pub(crate) fn tell(&mut self, address: IpAddr) -> bool {
        self.windows.get_mut(&address).is_some_and(|window| !std::mem::replace(&mut window.told, true))
    }

    fn make_room(&mut self, now: Instant) {
        let (limit, length) = (self.limit, self.length);
        self.windows.retain(|_, window| now.saturating_duration_since(window.since) < length);
        if self.windows.len() < MAX_ADDRESSES {
            return;
        }
        let mut all: Vec<_> = self
            .windows
            .iter()
            .map(|(address, window)| (window.count >= limit, window.since, *address))
            .collect();
        all.select_nth_unstable(FORGOTTEN);
        for (.., address) in all.iter().take(FORGOTTEN) {
            self.windows.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn whoever_reaches_the_limit_waits_for_the_end_of_its_window_and_no_longer() {
        let mut rate = Rate::new(3, LENGTH);
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        for second in [0, 10, 20] {
            assert_eq!(rate.wait(address(1), later(second)), None);
            rate.add(address(1), later(second));
        }
        assert_eq!(rate.wait(address(1), later(20)), Some(Duration::from_secs(40)));
        assert_eq!(rate.wait(address(1), later(59)), Some(Duration::from_secs(1)));
        assert_eq!(rate.wait(address(2), later(20)), None, "others do not wait");
        assert_eq!(rate.wait(address(1), later(60)), None);
        // The next window is one of its own.
        for second in [100, 101, 102] {
            rate.add(address(1), later(second));
        }
        assert_eq!(rate.wait(address(1), later(102)), Some(Duration::from_secs(58)));
    }

    #[test]
    fn a_window_is_told_of_once() {
        let mut rate = Rate::new(1, LENGTH);
        let now = Instant::now();
        assert!(!rate.tell(address(1)), "nobody waits");
        rate.add(address(1), now);
        assert!(rate.tell(address(1)) && !rate.tell(address(1)));
        rate.add(address(1), now + LENGTH);
        assert!(rate.tell(address(1)), "another window");
    }

    #[test]
    fn memory_is_bounded_and_whoever_waits_is_forgotten_last() {
        let mut rate = Rate::new(2, LENGTH);
        let now = Instant::now();
        // It came first, so it is the oldest of all.
        rate.add(address(0), now);
        rate.add(address(0), now);
        for number in 1..=3 * u32::try_from(MAX_ADDRESSES).unwrap() {
            rate.add(address(number), now + Duration::from_millis(u64::from(number / 1024)));
            assert!(rate.windows.len() <= MAX_ADDRESSES);
        }
        assert!(rate.wait(address(0), now + Duration::from_secs(1)).is_some(), "it was forgotten");
        // Windows that are over make room before anybody is forgotten.
        let before = rate.windows.len();
        for number in 1..=u32::try_from(MAX_ADDRESSES - before + 1).unwrap() {
            rate.add(address(u32::MAX - number), now + 2 * LENGTH);
        }
        assert!(rate.windows.len() <= MAX_ADDRESSES - before + 2, "{} are left", rate.windows.len());
    }

    #[test]
    fn where_everybody_waits_the_oldest_are_forgotten() {
        let mut rate = Rate::new(1, LENGTH);
        let now = Instant::now();
        let most = u32::try_from(MAX_ADDRESSES).unwrap();
        for number in 0..most {
            rate.add(address(number), now + Duration::from_millis(u64::from(number)));
        }
        rate.add(address(most), now + Duration::from_secs(20));
        let now = now + Duration::from_secs(20);
        assert_eq!(rate.wait(address(0), now), None);
        assert!(rate.wait(address(most), now).is_some());
        assert!(rate.wait(address(most - 1), now).is_some());
        assert_eq!(rate.windows.len(), MAX_ADDRESSES - FORGOTTEN + 1);
    }
}
