//! First copy wins.

mod alive;
mod cover;
mod line;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::MAX_PATHS;
use super::stats::{Event, Path, PathStats, Reason};

/// Events that are remembered.
const MAX_EVENTS: usize = 64;

/// No index is higher: those of SRTP have 48 bits.
const MAX_INDEX: u64 = 1 << 48;

/// The window's limits in packets.
const LEAST_WINDOW: u64 = 1024;
const MOST_WINDOW: u64 = 1 << 18;

/// The arrival of one packet in so many is remembered, for the skew.
const SAMPLED: u64 = 16;

/// What a merge may do.
#[derive(Debug, Clone, Copy)]
pub struct MergeConfig {
    /// Packets behind the highest that are told from copies: 1024 to 262,144, rounded up to a power of two. See [`window_for`].
    pub window: u64,
    /// A path that brings nothing for so long while another does is dead. Default 500 ms.
    pub silence: Duration,
}

impl Default for MergeConfig {
    fn default() -> Self {
        Self { window: 8192, silence: Duration::from_millis(500) }
    }
}

/// The window for a rate in packets a second, the paths' difference, and reordering on a path (ST 2022-7 §6 has classes of
/// differences: 10, 50 and 450 ms): twice what can be under way.
#[must_use]
pub fn window_for(rate: f64, skew: Duration, reordering: Duration) -> u64 {
    let packets = 2.0 * rate.max(0.0) * skew.saturating_add(reordering).as_secs_f64();
    (packets.min(MOST_WINDOW as f64) as u64).clamp(LEAST_WINDOW, MOST_WINDOW).next_power_of_two()
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Its first copy: it goes on.
    First,
    /// Its first copy, which another path that is further on had lost or delayed. One that its own path had passed over already is
    /// only out of order.
    Recovered,
    /// A copy. Drop it.
    Copy,
    /// Behind the window. Drop it.
    Late,
    /// Of no line, or the first of one that starts anew far behind. Drop it.
    Stray,
}

impl Admit {
    /// Whether the packet goes on.
    #[must_use]
    pub const fn is_first(self) -> bool {
        matches!(self, Self::First | Self::Recovered)
    }
}

/// Merges up to [`MAX_PATHS`] paths of one flow by index: the first copy of a packet wins, whatever path brings it, and any path
/// may die or return at any time. Packets are not held back: order is the [`crate::order::Window`]'s work.
#[derive(Debug)]
pub struct Merge {
    config: MergeConfig,
    /// For each 64 indices, which came by each path; a power of two of words.
    seen: Vec<[u64; MAX_PATHS]>,
    /// Arrivals of sampled packets: index and time.
    arrivals: Vec<(u64, Option<Instant>)>,
    paths: [Path; MAX_PATHS],
    started: bool,
    /// The index after the highest.
    next: u64,
    behind: Option<u64>,
    restarts: u64,
    /// Packets that came by one path and that another had lost.
    covered: u64,
    /// When it was last looked at which paths are alive.
    checked: Option<Instant>,
    events: VecDeque<Event>,
}

impl Merge {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(config: MergeConfig) -> Self {
        let window = config.window.clamp(LEAST_WINDOW, MOST_WINDOW).next_power_of_two();
        Self {
            config: MergeConfig { window, ..config },
            seen: vec![[0; MAX_PATHS]; (window / 64) as usize],
            arrivals: vec![(0, None); (window / SAMPLED) as usize],
            paths: [Path::default(); MAX_PATHS],
            started: false,
            next: 0,
            behind: None,
            restarts: 0,
            covered: 0,
            checked: None,
            events: VecDeque::new(),
        }
    }

    /// The packet `index` came by `path`.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, path: usize, index: u64) -> Admit {
        // Behind by less than the window, of which the last word may hold newer packets already; or the next.
        if index <= self.next && self.next - index <= self.config.window - 64 && self.started {
            self.place(now, path, index)
        } else {
            self.handle_far(now, path, index)
        }
    }

    /// A packet in the window, or the next one.
    #[inline]
    fn place(&mut self, now: Instant, path: usize, index: u64) -> Admit {
        let Some(own) = self.paths.get_mut(path) else { return Admit::Stray };
        let words = self.seen.len();
        let Some(word) = self.seen.get_mut((index >> 6) as usize & (words - 1)) else { return Admit::Stray };
        if index == self.next {
            self.next = index + 1;
            if index & 63 == 0 {
                *word = [0; MAX_PATHS];
            }
        }
        let bit = 1 << (index & 63);
        let before = word.iter().fold(0, |all, word| all | word) & bit != 0;
        let Some(mask) = word.get_mut(path) else { return Admit::Stray };
        if *mask & bit != 0 {
            own.duplicates += 1;
            return Admit::Copy;
        }
        *mask |= bit;
        own.last = Some(now);
        own.received += 1;
        let in_order = !own.alive || index >= own.next;
        if !own.alive {
            self.revive(path, index);
        } else if index >= own.next {
            let passed = own.next..index;
            own.next = index + 1;
            own.since += 1;
            if !passed.is_empty() {
                self.pass_over(path, passed);
            }
        } else if index >= own.begin {
            own.since += 1;
            if before {
                self.uncover(path, index);
            }
        }
        if index.is_multiple_of(SAMPLED) {
            self.sample(now, path, index, before);
        }
        if before {
            return Admit::Copy;
        }
        let ahead = self.next > index + 1;
        let Some(own) = self.paths.get_mut(path) else { return Admit::Stray };
        own.first += 1;
        if !ahead {
            return Admit::First;
        }
        own.recovered += u64::from(in_order);
        self.cover(path, index);
        if in_order { Admit::Recovered } else { Admit::First }
    }

    /// A copy came by `path`, as whoever took the first one knows: that of the packet nearest to the newest with this number. It is
    /// counted if its packet is remembered to have come, and changes nothing else: it may be anybody's.
    pub fn handle_copy(&mut self, now: Instant, path: usize, number: u16) {
        let newest = self.next.saturating_sub(1);
        let distance = number.wrapping_sub(newest as u16) as i16;
        let Some(index) = newest.checked_add_signed(i64::from(distance)) else { return };
        let is_remembered = index < self.next && self.next - index <= self.config.window - 64;
        if is_remembered && self.brought(index, MAX_PATHS) {
            self.place(now, path, index);
        }
    }

    /// The packet that `path` brought first had no room, and will be given again.
    pub fn take_back(&mut self, path: usize, index: u64) {
        let words = self.seen.len();
        let Some(word) = self.seen.get_mut((index >> 6) as usize & (words - 1)) else { return };
        let (Some(mask), Some(own)) = (word.get_mut(path), self.paths.get_mut(path)) else { return };
        let bit = 1 << (index & 63);
        if *mask & bit != 0 && index < self.next {
            *mask &= !bit;
            own.received = own.received.saturating_sub(1);
            own.since = own.since.saturating_sub(1);
            own.first = own.first.saturating_sub(1);
        }
    }

    fn sample(&mut self, now: Instant, path: usize, index: u64, before: bool) {
        let places = self.arrivals.len();
        let Some(place) = self.arrivals.get_mut((index / SAMPLED) as usize & (places - 1)) else { return };
        if !before {
            *place = (index, Some(now));
        }
        if let (of, Some(first)) = *place
            && of == index
            && let Some(own) = self.paths.get_mut(path)
        {
            own.handle_skew(now.saturating_duration_since(first));
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Statistics of a path; `None` for one that there can't be.
    #[must_use]
    pub fn stats(&self, path: usize) -> Option<PathStats> {
        self.paths.get(path).map(Path::stats)
    }

    /// Packets that came by one path and that another, which brings packets, had lost: each once. That is what more than one path is
    /// for, whether or not the packet had to be waited for.
    #[must_use]
    pub const fn covered(&self) -> u64 {
        self.covered
    }

    /// The share of packets that the worst of the paths that bring some loses by itself.
    #[must_use]
    pub fn worst(&self) -> f64 {
        let loss = |path: &Path| {
            let lost = path.lost();
            lost as f64 / (lost + path.received).max(1) as f64
        };
        self.paths.iter().filter(|path| path.alive).map(loss).fold(0.0, f64::max)
    }

    /// By how much the later of the paths that bring packets is later than the first.
    #[must_use]
    pub fn skew(&self) -> Duration {
        self.paths.iter().filter(|path| path.alive).map(Path::skew).max().unwrap_or_default()
    }

    /// New starts of the line.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.next_silence().map(|at| (at, Reason::Silence))
    }

    /// What happened. To be called until there is nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
