//! What is kept for being sent again: how far back it goes, and what makes way for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Cache, ENTRY_COST};

/// Times that are remembered: packets are kept for up to a part in so many too long.
const MARKS: u32 = 16;

/// A cut moves what is kept, so it waits until at least as much goes as stays, and so much.
const LEAST_CUT: usize = 16 * 1024;

/// How far back packets are kept.
#[derive(Debug, Clone)]
pub(super) struct History {
    age: Duration,
    bytes: usize,
    /// Where the cache ended, and when: packets from there on came then or later.
    marks: VecDeque<(u64, Instant)>,
    floor: u64,
    /// Positions of packets that are of the GOP before the one they stand in: whoever starts at this keyframe must not see
    /// them. Ascending.
    hidden: VecDeque<u64>,
}

impl History {
    pub(super) fn new(age: Duration, bytes: usize, floor: u64) -> Self {
        History {
            age: age.max(Duration::from_millis(1)),
            bytes,
            marks: VecDeque::new(),
            floor,
            hidden: VecDeque::new(),
        }
    }

    /// Position of the oldest packet that is kept.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Late readers do not see the packet at `position`, which is the next; `first` is the oldest that is there.
    #[cold]
    pub(super) fn hide(&mut self, position: u64, first: u64) {
        while self.hidden.front().is_some_and(|hidden| *hidden < first) {
            self.hidden.pop_front();
        }
        self.hidden.push_back(position);
    }

    /// The first position from `position` on that is not hidden, and the next one behind it that is.
    pub(super) fn seen_from(&self, position: u64) -> (u64, Option<u64>) {
        let mut seen = position;
        for hidden in self.hidden.iter().copied().filter(|hidden| *hidden >= position) {
            if hidden != seen {
                return (seen, Some(hidden));
            }
            seen += 1;
        }
        (seen, None)
    }

    /// The most bytes of the packets that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Packets from `end` on come now.
    pub(super) fn begin(&mut self, now: Instant, end: u64) {
        let old = |at: &Instant| now.saturating_duration_since(*at);
        if self.marks.back().is_none_or(|(_, at)| old(at) >= self.age / MARKS) {
            self.marks.push_back((end, now));
        }
        while let Some((position, _)) = self.marks.front().filter(|(_, at)| old(at) > self.age) {
            self.floor = self.floor.max(*position);
            self.marks.pop_front();
        }
    }
}

impl Cache {
    /// Lets the oldest packets of the history go, so that it keeps its limit with `need` more bytes, and cuts off what
    /// nobody needs. Returns the most bytes of the arena.
    pub(super) fn make_way(&mut self, need: usize, reader: Option<u64>) -> usize {
        let Some((mut floor, most)) = self.history.as_ref().map(|own| (own.floor.max(self.first), own.bytes))
        else {
            return self.limit;
        };
        while floor < self.end() && self.used_from(floor) + need > most {
            floor += 1;
        }
        if let Some(history) = &mut self.history {
            history.floor = floor;
        }
        let limit = self.limit.saturating_add(most);
        let keep = floor.min(self.gop.unwrap_or(self.unit));
        if self.used() + need > limit {
            // Whoever still reads the GOP before has had its time.
            self.cut(keep);
            return limit;
        }
        let keep = reader.map_or(keep, |reader| reader.min(keep));
        let stays = self.used_from(keep);
        let goes = self.used() - stays;
        if goes >= stays.max(LEAST_CUT) {
            self.cut(keep);
        }
        limit
    }

    /// Bytes of packets from `position` on, bookkeeping included.
    pub(super) fn used_from(&self, position: u64) -> usize {
        let Some(entry) = self.entry(position) else {
            return if position < self.first { self.used() } else { 0 };
        };
        let start = entry.offset.wrapping_sub(self.base) as usize;
        let count = usize::try_from(self.end() - position).unwrap_or(usize::MAX);
        self.arena.len().saturating_sub(start).saturating_add(count.saturating_mul(ENTRY_COST))
    }
}
