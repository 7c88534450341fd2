//! What was sent, for as long as it can be asked for again: by reference.

use std::time::{Duration, Instant};

/// Packets that are kept at most, whatever the limits say: what 16-bit numbers can tell apart.
const MOST_PACKETS: usize = 1 << 16;

/// Places that a history begins with.
const FIRST_PACKETS: usize = 64;

/// Microseconds that a packet is kept at most: times of 32 bits tell apart which of two is later while they are no further apart.
const MAX_AGE: u64 = 1 << 31;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimits {
    /// Bytes of the packets that are referred to.
    pub bytes: usize,
    /// How long: a receiver's budget, and the way there and back. Half an hour at most.
    pub age: Duration,
    /// Packets, at most 65,536.
    pub packets: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { bytes: 4 << 20, age: Duration::from_secs(1), packets: MOST_PACKETS }
    }
}

/// What became of the packets before, when one was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The packet follows the one before it.
    Next,
    /// It does not: what was kept is forgotten.
    Restarted,
}

/// A packet that was sent: what is written for each.
#[derive(Debug, Clone, Copy)]
struct Sent<R> {
    reference: R,
    len: u32,
    /// Microseconds from the history's first packet, as many as fit: see [`MAX_AGE`].
    at: u32,
}

/// What became of requests for a packet: only of those that were asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The packet.
    index: u64,
    /// Serial number of the last datagram that asked for it, and how many times it did.
    pub(super) datagram: u32,
    pub(super) times: u8,
    /// Copies sent since `answered`.
    pub(super) copies: u8,
    /// Microseconds from the history's first packet.
    pub(super) answered: u64,
}

impl Asked {
    const fn new(index: u64) -> Self {
        Self { index, datagram: 0, times: 0, copies: 0, answered: 0 }
    }
}

/// The time that packets are sent at: many at one.
#[derive(Debug, Clone, Copy)]
struct Clock {
    epoch: Instant,
    last: Instant,
    /// Microseconds from the epoch to the last; a clock that steps back stands still.
    at: u64,
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}

/// The last packets of a line, each with a reference `R` of the caller's: a place in the hub's buffer, say, or one in a
/// [`super::ByteRing`].
///
/// A packet costs one record of a few words: nothing is copied, and memory is allocated only as more packets are kept than ever before.
/// The limit in bytes counts what is referred to; whoever owns the buffer may forget earlier, and then answers `None` for the reference.
#[derive(Debug)]
pub struct History<R> {
    limits: HistoryLimits,
    /// The limit of age in microseconds.
    age: u64,
    /// A power of two, or none yet; the packet `index` is at `index % len`, from `first` to `next`.
    slots: Vec<Sent<R>>,
    /// In the same places, of any packet that was there.
    asked: Vec<Asked>,
    first: u64,
    next: u64,
    bytes: usize,
    clock: Option<Clock>,
    restarts: u64,
}

impl<R: Copy> History<R> {
    /// An empty one.
    #[must_use]
    pub fn new(limits: HistoryLimits) -> Self {
        let mut own = Self {
            limits,
            age: 0,
            slots: Vec::new(),
            asked: Vec::new(),
            first: 0,
            next: 0,
            bytes: 0,
            clock: None,
            restarts: 0,
        };
        own.set_limits(limits);
        own
    }

    /// Changes the limits, from the next packet on.
    pub fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = HistoryLimits { packets: limits.packets.clamp(1, MOST_PACKETS), ..limits };
        self.age = micros(limits.age).min(MAX_AGE - 1);
    }

    /// Microseconds since the first packet.
    pub(super) fn time(&self, now: Instant) -> u64 {
        self.clock.map_or(0, |clock| micros(now.saturating_duration_since(clock.epoch)))
    }

    /// The same, of a packet that is sent now, as many as are written down.
    #[inline]
    fn tick(&mut self, now: Instant) -> u32 {
        let clock = self.clock.get_or_insert(Clock { epoch: now, last: now, at: 0 });
        let before = clock.at;
        if clock.last != now {
            (clock.last, clock.at) = (now, micros(now.saturating_duration_since(clock.epoch)).max(before));
        }
        let at = clock.at;
        if at - before > self.age {
            self.forget();
        }
        at as u32
    }

    /// Keeps nothing.
    fn forget(&mut self) {
        self.bytes = 0;
        self.first = self.next;
    }

    #[inline]
    fn place(&self, index: u64) -> usize {
        index as usize & self.slots.len().wrapping_sub(1)
    }

    /// A packet that is kept.
    fn sent(&self, index: u64) -> Option<&Sent<R>> {
        (self.first..self.next).contains(&index).then(|| self.slots.get(self.place(index)))?
    }

    /// The packet `index` of `len` bytes was sent. Indices are consecutive.
    #[inline]
    pub fn push(&mut self, now: Instant, index: u64, len: usize, reference: R) -> Pushed {
        let mut pushed = Pushed::Next;
        if index != self.next {
            pushed = self.restart(index);
        }
        let at = self.tick(now);
        self.expire(at, len);
        let sent = Sent { reference, len: u32::try_from(len).unwrap_or(u32::MAX), at };
        if (self.next - self.first) as usize >= self.slots.len() {
            self.grow(sent);
        }
        let place = self.place(index);
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = sent;
        }
        self.bytes = self.bytes.saturating_add(sent.len as usize);
        self.next = index.wrapping_add(1);
        pushed
    }

    /// Forgets what is too old, too much or too many with `more` bytes.
    #[inline]
    fn expire(&mut self, at: u32, more: usize) {
        while self.first != self.next {
            let Some(oldest) = self.slots.get(self.place(self.first)) else { return };
            let full = self.bytes.saturating_add(more) > self.limits.bytes
                || (self.next - self.first) as usize >= self.limits.packets;
            if !full && u64::from(at.wrapping_sub(oldest.at)) <= self.age {
                return;
            }
            self.bytes = self.bytes.saturating_sub(oldest.len as usize);
            self.first += 1;
        }
    }

    /// Makes room for twice as many. New places have something in them that nobody asks for.
    #[cold]
    fn grow(&mut self, filler: Sent<R>) {
        let len = (self.slots.len() * 2).max(FIRST_PACKETS);
        let (mut slots, mut asked) = (vec![filler; len], vec![Asked::new(u64::MAX); len]);
        for index in self.first..self.next {
            let (from, to) = (self.place(index), index as usize & (len - 1));
            if let (Some(new), Some(old)) = (slots.get_mut(to), self.slots.get(from)) {
                *new = *old;
            }
            if let (Some(new), Some(old)) = (asked.get_mut(to), self.asked.get(from)) {
                *new = *old;
            }
        }
        (self.slots, self.asked) = (slots, asked);
    }

    #[cold]
    fn restart(&mut self, index: u64) -> Pushed {
        self.next = index;
        self.forget();
        self.asked.fill(Asked::new(u64::MAX));
        if self.clock.is_none() {
            return Pushed::Next;
        }
        self.restarts += 1;
        Pushed::Restarted
    }

    /// The index of the packet that a 16-bit number means: the last one with it that was sent, kept or not.
    #[must_use]
    pub fn extend(&self, number: u16) -> Option<u64> {
        let last = self.next.checked_sub(1)?;
        last.checked_sub(u64::from((last as u16).wrapping_sub(number)))
    }

    /// What became of requests for a packet, and its length, if it is kept.
    pub(super) fn asked_mut(&mut self, index: u64) -> Option<(u32, &mut Asked)> {
        let (len, place) = (self.sent(index)?.len, self.place(index));
        let asked = self.asked.get_mut(place)?;
        if asked.index != index {
            *asked = Asked::new(index);
        }
        Some((len, asked))
    }

    /// The reference of a packet that is kept.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<R> {
        self.sent(index).map(|sent| sent.reference)
    }

    /// The length of a packet, if it is kept; zero otherwise.
    #[must_use]
    pub fn bytes_of(&self, index: u64) -> u32 {
        self.sent(index).map_or(0, |sent| sent.len)
    }

    /// Index after the last packet.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.next
    }

    /// Packets that are kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.next - self.first) as usize
    }

    /// Whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// Bytes of the packets that are kept.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often indices were not consecutive.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{epoch, ms};
    use super::*;

    #[test]
    fn is_bounded_in_bytes_in_time_and_in_packets() {
        let now = epoch();
        let limits = HistoryLimits { bytes: 10_000, age: ms(100), packets: 200 };
        let mut history = History::new(limits);
        for index in 5..1000 {
            assert_eq!(history.push(now, index, 100, index * 2), Pushed::Next);
            assert!(history.bytes() <= 10_000 && history.len() <= 100);
        }
        assert_eq!((history.len(), history.get(899), history.get(900)), (100, None, Some(1800)));
        for index in 1000..2000 {
            history.push(now, index, 1, index);
        }
        assert_eq!(history.len(), 200);
        history.push(now + ms(101), 2000, 1, 7);
        assert_eq!((history.len(), history.bytes(), history.get(2000)), (1, 1, Some(7)));
        // A packet that is larger than all that may be kept is kept alone.
        history.push(now + ms(101), 2001, 20_000, 8);
        assert_eq!((history.len(), history.bytes()), (1, 20_000));
        // Clocks that jump.
        history.push(now, 2002, 1, 9);
        assert_eq!(history.len(), 1);
        history.push(now + Duration::from_secs(1 << 40), 2003, 1, 9);
        assert_eq!(history.len(), 1);
    }

    #[test]
    fn silence_of_any_length_is_long() {
        // Times that are written down begin anew after 2^32 microseconds.
        let round = Duration::from_micros(1 << 32);
        for silence in [ms(101), round / 2, round, round + ms(50), 3 * round + ms(50)] {
            let mut history = History::new(HistoryLimits { age: ms(100), ..HistoryLimits::default() });
            history.push(epoch(), 1, 100, 1);
            history.push(epoch() + silence, 2, 100, 2);
            assert_eq!(
                (history.get(1), history.get(2), history.bytes()),
                (None, Some(2), 100),
                "{silence:?}"
            );
        }
        // And packets that never cease are kept as long as ever across that.
        let mut history = History::new(HistoryLimits { age: ms(100), ..HistoryLimits::default() });
        let begin = epoch() + round - ms(200);
        history.push(epoch(), 0, 1, 0);
        for index in 1..400 {
            history.push(begin + ms(index), index, 1, index);
            assert_eq!(history.len() as u64, index.min(101));
        }
        // The longest age there is.
        history.set_limits(HistoryLimits { age: Duration::MAX, ..HistoryLimits::default() });
        history.push(begin + ms(400) + round / 3, 400, 1, 400);
        assert_eq!(history.len(), 102);
        history.push(begin + ms(400) + round, 401, 1, 401);
        assert_eq!(history.len(), 1);
    }

    #[test]
    fn numbers_mean_the_last_packet_that_had_them() {
        let mut history = History::new(HistoryLimits::default());
        assert_eq!(history.extend(5), None);
        history.push(epoch(), 3, 1, ());
        assert_eq!((history.extend(3), history.extend(4), history.extend(2)), (Some(3), None, Some(2)));
        assert_eq!(history.push(epoch(), 0x5_0001, 1, ()), Pushed::Restarted);
        assert_eq!(history.get(3), None);
        assert_eq!((history.extend(1), history.extend(0xffff)), (Some(0x5_0001), Some(0x4_ffff)));
        assert_eq!(history.extend(2), Some(0x4_0002), "never sent under the last wrap");
        assert_eq!((history.len(), history.restarts()), (1, 1));
    }
}
