//! Packets of one flow that come by several paths: the same datagram by each, so the first copy opens and the others are replays
//! (SMPTE ST 2022-7).

use std::time::{Duration, Instant};

use msm_fec::order::Source;
use msm_fec::paths::{Admit, Merge, MergeConfig, window_for};

use super::association::MAX_PATHS;
use crate::status::{FlowPath, milliseconds};

/// The highest rate that copies are still told from packets at whose index is long past: what passes between two members at
/// all is less.
const MOST_PACKETS_A_SECOND: f64 = 100_000.0;
/// The skew that is met if no budget says how much is borne: that of the second class of ST 2022-7 §6.
pub(super) const SKEW: Duration = Duration::from_millis(50);

/// Packets behind the newest that are remembered, so that a copy which comes by a slower path is known for one.
pub(super) fn window(skew: Duration) -> u64 {
    window_for(MOST_PACKETS_A_SECOND, skew, Duration::ZERO)
}

/// What each path brings of a flow.
#[derive(Debug)]
pub(super) struct Copies {
    merge: Merge,
    newest: u64,
    /// Of each path, the index behind the newest that it brought.
    next: [u64; MAX_PATHS],
    by_others: u64,
}

impl Copies {
    pub(super) fn new(skew: Duration) -> Self {
        let config = MergeConfig { window: window(skew), ..MergeConfig::default() };
        Self { merge: Merge::new(config), newest: 0, next: [0; MAX_PATHS], by_others: 0 }
    }

    /// A packet opened, which is the first copy then: whether another path had lost it, or is late.
    #[inline]
    pub(super) fn first(&mut self, now: Instant, path: usize, index: u64) -> Source {
        self.newest = self.newest.max(index);
        let admit = self.merge.handle_packet(now, path, index);
        let Some(next) = self.next.get_mut(path) else { return Source::Media };
        // One that is out of order on its own path was lost by none.
        let in_order = index >= *next;
        *next = (*next).max(index + 1);
        if admit == Admit::Recovered && in_order { Source::Path } else { Source::Media }
    }

    /// A replay: most probably a copy. Nothing that hangs on these counters lets packets in.
    pub(super) fn again(&mut self, now: Instant, path: usize, sequence: u16) {
        let distance = sequence.wrapping_sub(self.newest as u16) as i16;
        if let Some(index) = self.newest.checked_add_signed(i64::from(distance)) {
            self.merge.handle_packet(now, path, index);
            if let Some(next) = self.next.get_mut(path) {
                *next = (*next).max(index + 1);
            }
        }
    }

    /// What the main path lost and another brought: all that it lost, but for what none brought.
    pub(super) fn by_others(&mut self, by_none: u64) -> u64 {
        let by_others = self.merge.stats(0).map_or(0, |main| main.lost.saturating_sub(by_none));
        // What was late may still have come.
        self.by_others = self.by_others.max(by_others);
        self.by_others
    }

    /// What each path has brought so far.
    pub(super) fn status(&self) -> Vec<FlowPath> {
        let path = |number: usize| {
            let stats = self.merge.stats(number).filter(|stats| stats.received > 0)?;
            Some(FlowPath {
                path: number + 1,
                packets: stats.received,
                first: stats.first,
                recovered: stats.recovered,
                lost: stats.lost,
                skew_ms: milliseconds(stats.skew),
            })
        };
        (0..MAX_PATHS).filter_map(path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_counted_by_itself_whatever_comes_first() {
        let mut copies = Copies::new(Duration::from_millis(100));
        let began = Instant::now();
        let mut by_another = 0;
        for number in 0..2000u64 {
            let (now, index) = (began + Duration::from_millis(number), 65_000 + number);
            // The first loses each tenth, the second each seventh of those that come first by the first one.
            if number % 10 != 0 {
                assert_eq!(copies.first(now, 0, index), Source::Media);
                if number % 7 != 0 {
                    copies.again(now, 1, index as u16);
                }
            } else if number > 0 {
                copies.again(now, 0, (index - 1) as u16);
                by_another += u64::from(copies.first(now, 1, index) == Source::Path);
            }
        }
        let status = copies.status();
        let [first, second] = &status[..] else { panic!("{status:?}") };
        assert_eq!((first.path, second.path), (1, 2));
        assert_eq!((first.packets, first.lost), (1800, 199));
        assert_eq!(second.first, 199);
        assert_eq!(copies.by_others(3), 196);
        assert!((220..=260).contains(&second.lost), "{second:?}");
        assert!(by_another <= 199);
    }

    #[test]
    fn the_window_is_for_the_budget() {
        assert_eq!(window(Duration::from_millis(5)), 1024);
        assert_eq!(window(Duration::from_millis(100)), 32_768);
        assert_eq!(window(SKEW), 16_384);
    }
}
