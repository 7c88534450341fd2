//! The last keyframe of one track and everything since, and what readers may have sent again, in one bounded arena.

mod history;
mod search;
mod sets;

use std::time::{Duration, Instant};

use self::history::History;
pub(super) use self::sets::Sets;
use crate::burst::{MAX_RUN_BYTES, MAX_SEGMENTS};
use crate::codec::PayloadInfo;
use crate::seq;

/// The header fields that a fan-out rewrites, in the track's own line: before a reader's offsets are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) sequence: u16,
    pub(super) marker_pt: u8,
    pub(super) timestamp: u32,
}

/// One cached packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Place in the arena, counted from the arena's `base` and wrapping as it does.
    offset: u32,
    len: u16,
    pub(super) payload_len: u16,
    pub(super) facts: Facts,
}

/// What an entry costs beside its packet; counted against the limit, so that tiny packets cannot grow the index.
const ENTRY_COST: usize = size_of::<Entry>();

/// The first allocation of an arena.
const FIRST_ALLOCATION: usize = 64 * 1024;

/// What [`Cache::push`] saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// A keyframe begins: [`Cache::gop`] is where.
    pub(super) keyframe: bool,
    /// The cache was dropped, because the packet did not fit.
    pub(super) overflow: bool,
}

/// Packets since the last keyframe's access unit, and with a [history](Self::set_history) those of the last while. Packets
/// have positions that count on for ever, so that a late reader keeps its place when the front is cut off.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    limit: usize,
    arena: Vec<u8>,
    base: u32,
    entries: Vec<Entry>,
    first: u64,
    gop: Option<u64>,
    /// Position of the current access unit's first packet.
    unit: u64,
    unit_timestamp: Option<u32>,
    unit_has_sets: bool,
    unit_is_key: bool,
    /// The current access unit did not fit: the rest of it is not kept.
    unit_skipped: bool,
    highest: Option<u16>,
    complete: bool,
    sets: Sets,
    prefix: Sets,
    history: Option<History>,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Cache {
            limit: limit.min(u32::MAX as usize / 2),
            arena: Vec::new(),
            base: 0,
            entries: Vec::new(),
            first: 0,
            gop: None,
            unit: 0,
            unit_timestamp: None,
            unit_has_sets: false,
            unit_is_key: false,
            unit_skipped: false,
            highest: None,
            complete: false,
            sets: Sets::default(),
            prefix: Sets::default(),
            history: None,
        }
    }

    /// Keeps packets for so long from now on, also without keyframes, at most so many bytes; or no longer than late readers
    /// need them.
    pub(super) fn set_history(&mut self, keep: Option<(Duration, usize)>) {
        let floor = self.history.as_ref().map_or_else(|| self.end(), History::floor);
        if keep.is_none() && self.history.is_some() {
            self.cut(self.gop.unwrap_or(self.unit));
        }
        self.history = keep.map(|(age, bytes)| History::new(age, bytes, floor));
    }

    pub(super) fn has_history(&self) -> bool {
        self.history.is_some()
    }

    /// What follows came now.
    #[inline]
    pub(super) fn begin(&mut self, now: Instant) {
        let end = self.end();
        if let Some(history) = &mut self.history {
            history.begin(now, end);
        }
    }

    /// Position of the last keyframe's first packet.
    pub(super) fn gop(&self) -> Option<u64> {
        self.gop
    }

    /// Position behind the last packet.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Whether no packet is known to be missing since the last keyframe.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// Parameter sets to be sent before the last keyframe, because its own access unit has none.
    pub(super) fn prefix_mut(&mut self) -> &mut Sets {
        &mut self.prefix
    }

    pub(super) fn prefix_len(&self) -> u16 {
        self.prefix.len()
    }

    /// Keeps parameter sets that come beside the packets, as long as none come among them.
    pub(super) fn give_sets<'p>(&mut self, packets: impl Iterator<Item = (&'p [u8], u16, u8)>) {
        self.sets.clear();
        packets.for_each(|(packet, payload_len, marker_pt)| self.sets.push(packet, payload_len, marker_pt));
    }

    /// The parameter sets before the last keyframe, and all packets from that on, as they are kept.
    pub(super) fn since_keyframe(&self) -> impl Iterator<Item = &[u8]> {
        let gop = self.gop.unwrap_or_else(|| self.end());
        let skip = usize::try_from(gop.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let packets = self.entries.iter().skip(skip).filter_map(|entry| {
            let start = entry.offset.wrapping_sub(self.base) as usize;
            self.arena.get(start..start.checked_add(usize::from(entry.len))?)
        });
        self.gop.iter().flat_map(|_| self.prefix.packets()).chain(packets)
    }

    /// The packet at `position`.
    pub(super) fn entry(&self, position: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    /// Adds a packet. `floor` is the least position that a late reader still needs.
    #[inline]
    pub(super) fn push(
        &mut self,
        packet: &[u8],
        payload_len: u16,
        facts: Facts,
        info: PayloadInfo,
        floor: Option<u64>,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        let step = self.highest.map_or(1, |highest| seq::distance(highest, facts.sequence));
        if step > 0 {
            self.complete &= step == 1;
            self.highest = Some(facts.sequence);
            if self.unit_timestamp != Some(facts.timestamp) {
                self.begin_unit(facts.timestamp);
            }
        } else if floor.is_none() && self.is_before_gop(facts.sequence) {
            let (end, first) = (self.end(), self.first);
            let Some(history) = &mut self.history else { return pushed };
            history.hide(end, first);
        }
        self.unit_has_sets |= info.parameter_sets;
        if info.only_parameter_sets && !info.starts_keyframe {
            self.sets.push(packet, payload_len, facts.marker_pt);
        } else if !info.parameter_sets {
            self.sets.closed = true;
        }
        if self.unit_skipped && self.history.is_none() {
            return pushed;
        }
        if info.starts_keyframe && step > 0 && !self.unit_is_key && !self.unit_skipped {
            self.begin_gop(floor);
            pushed.keyframe = true;
        }
        let need = packet.len() + ENTRY_COST;
        if !self.fits(need) {
            pushed = Pushed { keyframe: false, overflow: self.gop.is_some() };
            self.unit_skipped = true;
            if self.history.is_none() {
                self.clear();
                return pushed;
            }
            self.gop = None;
            self.unit = self.end();
        }
        if self.unit_skipped && self.history.as_ref().is_some_and(|own| need > own.bytes()) {
            return pushed;
        }
        self.make_room(need, floor);
        let offset = self.base.wrapping_add(self.arena.len() as u32);
        self.arena.extend_from_slice(packet);
        // A validated packet is at most 65,535 bytes long.
        self.entries.push(Entry { offset, len: packet.len() as u16, payload_len, facts });
        pushed
    }

    fn begin_unit(&mut self, timestamp: u32) {
        self.unit_timestamp = Some(timestamp);
        self.unit_has_sets = false;
        self.unit_is_key = false;
        self.unit_skipped = false;
        if self.gop.is_none() && self.history.is_none() {
            // Without a keyframe, nothing before this access unit is of use.
            self.clear();
        }
        self.unit = self.end();
    }

    fn begin_gop(&mut self, floor: Option<u64>) {
        self.unit_is_key = true;
        self.gop = Some(self.unit);
        self.complete = true;
        if self.unit_has_sets {
            self.prefix.clear();
        } else {
            self.prefix.copy_from(&self.sets);
        }
        if self.history.is_none() && floor.is_none_or(|floor| floor >= self.unit) {
            self.cut(self.unit);
        }
    }

    fn is_before_gop(&self, sequence: u16) -> bool {
        self.gop
            .and_then(|gop| self.entry(gop))
            .is_some_and(|first| seq::distance(first.facts.sequence, sequence) < 0)
    }

    /// Whether the GOP, or the access unit that may begin one, keeps its limit with `need` more bytes.
    #[inline]
    fn fits(&mut self, need: usize) -> bool {
        if self.history.is_some() {
            return self.unit_skipped || self.used_from(self.gop.unwrap_or(self.unit)) + need <= self.limit;
        }
        if self.used() + need > self.limit
            && let Some(gop) = self.gop
        {
            // Whoever still reads the GOP before has had its time.
            self.cut(gop);
        }
        self.used() + need <= self.limit
    }

    #[inline]
    fn make_room(&mut self, need: usize, floor: Option<u64>) {
        let mut limit = self.limit;
        if self.history.is_some() {
            limit = self.make_way(need, floor);
        }
        let wanted = self.arena.len() + need;
        if wanted > self.arena.capacity() {
            // Doubling, but never past the limit.
            let target = (self.arena.capacity() * 2).max(FIRST_ALLOCATION).max(wanted).min(limit.max(wanted));
            self.arena.reserve_exact(target - self.arena.len());
        }
    }

    pub(super) fn used(&self) -> usize {
        self.arena.len() + self.entries.len() * ENTRY_COST
    }

    /// Cuts off what is before `position`.
    fn cut(&mut self, position: u64) {
        let count = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if count == 0 {
            return;
        }
        let Some(kept) = self.entries.get(count) else {
            self.clear_packets();
            return;
        };
        let start = kept.offset.wrapping_sub(self.base) as usize;
        self.arena.drain(..start.min(self.arena.len()));
        self.base = kept.offset;
        self.entries.drain(..count);
        self.first = position;
    }

    fn clear_packets(&mut self) {
        self.first = self.end();
        self.base = self.base.wrapping_add(self.arena.len() as u32);
        self.arena.clear();
        self.entries.clear();
    }

    fn clear(&mut self) {
        self.clear_packets();
        self.gop = None;
        self.unit = self.first;
    }

    /// Forgets all packets. With `sets`, the parameter sets too: another source follows, and its packets go on where the
    /// old one's ended, which readers may still ask for.
    pub(super) fn flush(&mut self, sets: bool) {
        if sets && self.history.is_some() {
            self.gop = None;
            self.unit = self.end();
        } else {
            self.clear();
        }
        self.highest = None;
        self.unit_timestamp = None;
        self.unit_is_key = false;
        self.unit_skipped = false;
        if sets {
            self.sets.clear();
        }
    }

    /// One run of packets from `position` on, at most `most`: its entries, its bytes to patch, the length of each packet
    /// but the last. `None` at the end, and where the front was cut off. Moves `position` past what is not to be seen.
    pub(super) fn run(&mut self, position: &mut u64, most: usize) -> Option<(&[Entry], &mut [u8], usize)> {
        let mut hidden = None;
        if let Some(history) = &self.history {
            (*position, hidden) = history.seen_from(*position);
        }
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let most = hidden.map_or(most, |next| most.min(usize::try_from(next - *position).unwrap_or(most)));
        let rest = self.entries.get(index..)?;
        let first = rest.first()?;
        let size = usize::from(first.len);
        let mut count = 1;
        let mut total = size;
        for entry in rest.iter().skip(1).take(most.min(MAX_SEGMENTS).saturating_sub(1)) {
            let len = usize::from(entry.len);
            if len > size || total + len > MAX_RUN_BYTES {
                break;
            }
            total += len;
            count += 1;
            if len < size {
                break;
            }
        }
        let start = first.offset.wrapping_sub(self.base) as usize;
        let bytes = self.arena.get_mut(start..start.checked_add(total)?)?;
        Some((rest.get(..count)?, bytes, size))
    }
}
