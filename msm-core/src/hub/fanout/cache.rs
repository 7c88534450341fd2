//! The last keyframe of one track and everything since, in one bounded arena.

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

/// The most parameter sets that are kept apart, and their bytes.
const MAX_SETS: usize = 8;
const MAX_SET_BYTES: usize = 8 * 1024;

/// Packets with parameter sets, kept apart from the access units that need them.
#[derive(Debug, Clone, Default)]
pub(super) struct Sets {
    bytes: Vec<u8>,
    /// End of each packet in `bytes`, its payload length, marker and payload type.
    packets: Vec<(usize, u16, u8)>,
    /// A picture followed: the next set begins a new group.
    closed: bool,
}

impl Sets {
    fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.closed = false;
    }

    fn push(&mut self, packet: &[u8], payload_len: u16, marker_pt: u8) {
        if self.closed {
            self.clear();
        }
        if self.packets.len() < MAX_SETS && self.bytes.len() + packet.len() <= MAX_SET_BYTES {
            self.bytes.extend_from_slice(packet);
            // The access unit goes on behind a prefix: no marker.
            self.packets.push((self.bytes.len(), payload_len, marker_pt & 0x7f));
        }
    }

    fn copy_from(&mut self, other: &Sets) {
        self.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.packets.extend_from_slice(&other.packets);
    }

    pub(super) fn len(&self) -> u16 {
        self.packets.len() as u16
    }

    /// The packets with payload length, marker and payload type.
    pub(super) fn each(&mut self, mut f: impl FnMut(&mut [u8], u16, u8)) {
        let mut start = 0;
        for &(end, payload_len, marker_pt) in &self.packets {
            if let Some(packet) = self.bytes.get_mut(start..end) {
                f(packet, payload_len, marker_pt);
            }
            start = end;
        }
    }
}

/// What [`Cache::push`] saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// A keyframe begins: [`Cache::gop`] is where.
    pub(super) keyframe: bool,
    /// The cache was dropped, because the packet did not fit.
    pub(super) overflow: bool,
}

/// Packets since the last keyframe's access unit. Packets have positions that count on for ever, so that a late reader
/// keeps its place when the front is cut off.
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
            // Late, of the GOP before: whoever starts at this keyframe must not see it.
            return pushed;
        }
        self.unit_has_sets |= info.parameter_sets;
        if info.only_parameter_sets && !info.starts_keyframe {
            self.sets.push(packet, payload_len, facts.marker_pt);
        } else if !info.parameter_sets {
            self.sets.closed = true;
        }
        if self.unit_skipped {
            return pushed;
        }
        if info.starts_keyframe && step > 0 && !self.unit_is_key {
            self.begin_gop(floor);
            pushed.keyframe = true;
        }
        if !self.make_room(packet.len() + ENTRY_COST) {
            let had_gop = self.gop.is_some();
            self.clear();
            self.unit_skipped = true;
            return Pushed { keyframe: false, overflow: had_gop };
        }
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
        if self.gop.is_none() {
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
        if floor.is_none_or(|floor| floor >= self.unit) {
            self.cut(self.unit);
        }
    }

    fn is_before_gop(&self, sequence: u16) -> bool {
        self.gop
            .and_then(|gop| self.entry(gop))
            .is_some_and(|first| seq::distance(first.facts.sequence, sequence) < 0)
    }

    fn make_room(&mut self, need: usize) -> bool {
        if self.used() + need > self.limit
            && let Some(gop) = self.gop
        {
            // Whoever still reads the GOP before has had its time.
            self.cut(gop);
        }
        let wanted = self.arena.len() + need;
        if self.used() + need > self.limit {
            return false;
        }
        if wanted > self.arena.capacity() {
            // Doubling, but never past the limit.
            let target =
                (self.arena.capacity() * 2).max(FIRST_ALLOCATION).max(wanted).min(self.limit.max(wanted));
            self.arena.reserve_exact(target - self.arena.len());
        }
        true
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

    /// Forgets all packets. With `sets`, the parameter sets too: another source follows.
    pub(super) fn flush(&mut self, sets: bool) {
        self.clear();
        self.highest = None;
        self.unit_timestamp = None;
        self.unit_is_key = false;
        self.unit_skipped = false;
        if sets {
            self.sets.clear();
        }
    }

    /// One run of packets from `position` on, at most `most`: its entries, its bytes to patch, the length of each packet
    /// but the last. `None` at the end, and where the front was cut off.
    pub(super) fn run(&mut self, position: u64, most: usize) -> Option<(&[Entry], &mut [u8], usize)> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
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
