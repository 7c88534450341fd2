//! One track of one reader: its offsets, where it is in the stream, and what it got.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::super::{FanoutCounters, Kind, NotSent, Outgoing, ReaderCounters, SendOutcome, Sink};
use super::again::Again;
use super::cache::{Cache, Facts};
use super::reader::ReaderId;
use crate::rng::Rng;
use crate::rtp::patch_header;
use crate::seq;
use crate::stats::SenderStats;

/// How long a late reader waits after its queue was full.
const FULL_RETRY: Duration = Duration::from_millis(5);

/// How far a late reader's schedule may lag behind before it is given up: a burst of slices after a pause.
const MAX_LAG: Duration = Duration::from_millis(20);

/// How far behind the next number a packet may come. A source that is further behind has begun its numbers anew, as some
/// servers do with a seek (`RFC 2326 Appendix B` forbids it): none must be used twice (`RFC 3711 §9.1`).
const BEHIND: i16 = 1024;

/// Where a reader is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not playing.
    Idle,
    /// Gets the next packet, which becomes the next of its line.
    Start,
    /// Waits for a keyframe since then; that becomes the next of its line.
    Wait { since: Instant },
    /// Waits for a keyframe after its queue was full; what it misses stays a gap. The first packet that it missed is at
    /// `missed` in the cache.
    Skip { missed: u64 },
    /// Late: gets the cache from `cursor` on, the next slice at `due`. With `fresh`, the packet at the cursor becomes
    /// the next of its line.
    Catch { cursor: u64, fresh: bool, due: Instant },
    /// Gets what comes.
    Live,
}

/// One run of a burst, with what is the same for all readers.
#[derive(Debug, Clone)]
pub(super) struct PreparedRun {
    pub(super) segments: Range<usize>,
    pub(super) bytes: Range<usize>,
    pub(super) segment: usize,
    pub(super) octets: u64,
}

/// What one burst has in common for all readers.
pub(super) struct Batch<'a> {
    pub(super) track: usize,
    pub(super) now: Instant,
    pub(super) ecn: u8,
    pub(super) runs: &'a [PreparedRun],
    pub(super) facts: &'a [Facts],
    /// The highest sequence number so far, in the track's line.
    pub(super) highest: u16,
    /// Valid packets.
    pub(super) packets: u64,
    /// Where the cache ended before the burst.
    pub(super) start: u64,
    /// The end of the cache, behind the burst's last packet.
    pub(super) end: u64,
    pub(super) keyed: bool,
}

/// How fast a late reader gets the cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) bits_per_second: u64,
    pub(super) slice: usize,
    /// How long a queue may be full: see [`Line::catch_up`].
    pub(super) stall: Duration,
}

/// One track of one reader.
#[derive(Debug)]
pub(super) struct Line<D> {
    pub(super) state: State,
    sequence_offset: u16,
    /// The sequence number that follows the highest one sent.
    next_sequence: u16,
    pub(super) timestamp_offset: u32,
    pub(super) ssrc: u32,
    payload_types: Option<Box<[u8; 128]>>,
    /// Position of the first packet that was sent, or could have been, with these offsets.
    pub(super) since: u64,
    full_since: Option<Instant>,
    stalled: bool,
    pub(super) late_join: bool,
    /// Boxed, as few readers have it, and all lines are gone through with each burst.
    pub(super) again: Option<Box<Again>>,
    pub(super) counters: ReaderCounters,
    pub(super) stats: SenderStats,
    pub(super) next_report: Option<Instant>,
    pub(super) rng: Rng,
    pub(super) id: ReaderId,
    pub(super) dest: D,
}

impl<D> Line<D> {
    pub(super) fn new(
        id: ReaderId,
        dest: D,
        ssrc: u32,
        payload_types: &[(u8, u8)],
        late_join: bool,
        mut rng: Rng,
    ) -> Self {
        // In the first half, as receivers of SRTP cannot tell a rollover before the first packet that they get
        // (`RFC 4568 §6.4`).
        let sequence = rng.next_u16() & 0x7fff;
        Line {
            state: State::Idle,
            sequence_offset: sequence,
            next_sequence: sequence,
            timestamp_offset: rng.next_u32(),
            ssrc,
            payload_types: payload_type_table(payload_types),
            since: 0,
            full_since: None,
            stalled: false,
            late_join,
            again: None,
            counters: ReaderCounters::default(),
            stats: SenderStats::new(ssrc),
            next_report: None,
            rng,
            id,
            dest,
        }
    }

    /// The sequence number of the next packet of a line that starts anew.
    pub(super) fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    /// Goes on with this number, timestamps that are so far from the track's, and counts of packets and octets.
    pub(super) fn go_on(&mut self, sequence: u16, timestamp_offset: u32, (packets, octets): (u64, u64)) {
        self.stats.handle_sent(packets, octets);
        self.next_sequence = sequence;
        self.sequence_offset = sequence;
        self.timestamp_offset = timestamp_offset;
    }

    /// A sequence number and a timestamp of the track's line in the reader's.
    pub(super) fn map(&self, sequence: u16, timestamp: u32) -> (u16, u32) {
        (sequence.wrapping_add(self.sequence_offset), timestamp.wrapping_add(self.timestamp_offset))
    }

    /// A sequence number of the reader's in the track's line.
    pub(super) fn unmap(&self, sequence: u16) -> u16 {
        sequence.wrapping_sub(self.sequence_offset)
    }

    /// A marker and payload type as the reader gets it.
    pub(super) fn marker_pt(&self, marker_pt: u8) -> u8 {
        self.payload_types.as_ref().map_or(marker_pt, |table| translate(table, marker_pt))
    }

    /// Whether the reader has a line that reports can speak of.
    pub(super) fn has_sent(&self) -> bool {
        self.stats.packets() != 0
    }

    /// Lets the packet with `sequence` of the track's line, which is at `position` if it is kept, be the next of this one.
    pub(super) fn align(&mut self, sequence: u16, position: u64) {
        self.since = position;
        self.sequence_offset = self.next_sequence.wrapping_sub(sequence);
    }

    /// Whether the packet with `sequence` of the track's line becomes the next of this one wherever it is: of a reader
    /// that gets everything, the first packet, and one far behind what was sent.
    #[inline]
    pub(super) fn begins_with(&self, sequence: u16) -> bool {
        let ahead =
            || sequence.wrapping_add(self.sequence_offset).wrapping_sub(self.next_sequence).cast_signed();
        !self.late_join && (!self.has_sent() || ahead() < -BEHIND)
    }

    /// Sends the runs of a burst. Returns whether the reader became one that is [stalled](Self::is_stalled).
    #[inline]
    pub(super) fn send_live(
        &mut self,
        batch: &Batch<'_>,
        bytes: &mut [u8],
        put_off: Option<usize>,
        stall: Duration,
        counters: &mut FanoutCounters,
        sink: &mut impl Sink<D>,
    ) -> bool {
        let mut stalled = false;
        let mut left = batch.packets;
        // Where each packet is, if all of them are kept.
        let kept = batch.end - batch.start == batch.packets;
        for run in batch.runs {
            let (Some(packets), Some(facts)) =
                (bytes.get_mut(run.bytes.clone()), batch.facts.get(run.segments.clone()))
            else {
                continue;
            };
            self.patch(packets, run.segment, facts.iter());
            let count = run.segments.len() as u64;
            let len = packets.len() as u64;
            let outgoing = Outgoing {
                track: batch.track,
                kind: Kind::Rtp,
                bytes: packets,
                segment: run.segment,
                ecn: batch.ecn,
                position: kept.then(|| batch.end.saturating_sub(left)),
                put_off,
            };
            match sink.send(&mut self.dest, outgoing) {
                SendOutcome::Sent => self.sent(count, len, run.octets, counters),
                SendOutcome::Failed => self.failed(count, counters),
                SendOutcome::Full => {
                    stalled = self.full(batch.now, stall);
                    if batch.keyed {
                        // What depends on the lost packets would not decode.
                        self.dropped(left, counters);
                        self.state = State::Skip { missed: batch.end.saturating_sub(left) };
                        break;
                    }
                    self.dropped(count, counters);
                }
            }
            left = left.saturating_sub(count);
        }
        self.next_sequence = batch.highest.wrapping_add(self.sequence_offset).wrapping_add(1);
        stalled
    }

    #[inline]
    pub(super) fn patch<'f>(
        &self,
        packets: &mut [u8],
        segment: usize,
        facts: impl Iterator<Item = &'f Facts>,
    ) {
        let (sequence, timestamp, ssrc) = (self.sequence_offset, self.timestamp_offset, self.ssrc);
        let segment = segment.max(1);
        match &self.payload_types {
            None => {
                for (packet, fact) in packets.chunks_mut(segment).zip(facts) {
                    patch_header(
                        packet,
                        fact.marker_pt,
                        fact.sequence.wrapping_add(sequence),
                        fact.timestamp.wrapping_add(timestamp),
                        ssrc,
                    );
                }
            }
            Some(table) => {
                for (packet, fact) in packets.chunks_mut(segment).zip(facts) {
                    patch_header(
                        packet,
                        translate(table, fact.marker_pt),
                        fact.sequence.wrapping_add(sequence),
                        fact.timestamp.wrapping_add(timestamp),
                        ssrc,
                    );
                }
            }
        }
    }

    #[inline]
    fn sent(&mut self, packets: u64, bytes: u64, octets: u64, counters: &mut FanoutCounters) {
        self.full_since = None;
        self.stalled = false;
        self.counters.packets += packets;
        self.counters.bytes += bytes;
        counters.packets += packets;
        counters.bytes += bytes;
        self.stats.handle_sent(packets, octets);
    }

    /// What was put off and counted as sent could not be sent. Reports go on counting it as sent.
    pub(super) fn unsent(&mut self, not_sent: NotSent, counters: &mut FanoutCounters) {
        let NotSent { packets, bytes, .. } = not_sent;
        self.counters.packets = self.counters.packets.saturating_sub(packets);
        self.counters.bytes = self.counters.bytes.saturating_sub(bytes);
        counters.packets = counters.packets.saturating_sub(packets);
        counters.bytes = counters.bytes.saturating_sub(bytes);
        self.failed(packets, counters);
    }

    /// Takes back drops of packets that the reader gets after all, because a keyframe's access unit began with them.
    pub(super) fn undropped(&mut self, packets: u64, counters: &mut FanoutCounters) {
        self.counters.reader_queue = self.counters.reader_queue.saturating_sub(packets);
        counters.reader_queue = counters.reader_queue.saturating_sub(packets);
    }

    pub(super) fn dropped(&mut self, packets: u64, counters: &mut FanoutCounters) {
        self.counters.reader_queue += packets;
        counters.reader_queue += packets;
    }

    fn failed(&mut self, packets: u64, counters: &mut FanoutCounters) {
        self.counters.send_failed += packets;
        counters.send_failed += packets;
    }

    /// The queue is full. Returns true once when it has been for `stall`.
    fn full(&mut self, now: Instant, stall: Duration) -> bool {
        let since = *self.full_since.get_or_insert(now);
        now.saturating_duration_since(since) >= stall && !std::mem::replace(&mut self.stalled, true)
    }

    /// Sends what is due of the cache. At its end the reader is live. Returns whether the reader became stalled.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        track: usize,
        cache: &mut Cache,
        pace: Pace,
        counters: &mut FanoutCounters,
        sink: &mut impl Sink<D>,
    ) -> bool {
        while let State::Catch { cursor, fresh, due } = self.state
            && due <= now
        {
            let Some(sequence) = cache.entry(cursor).map(|entry| entry.facts.sequence) else {
                self.past_the_cache(now, cursor, cache, counters);
                continue;
            };
            if fresh
                && cache.prefix_len() > 0
                && let Some(gop) = cache.gop()
                && gop > cursor
            {
                // A newer keyframe came before anything was sent, and the parameter sets at hand are those of it.
                self.state = State::Catch { cursor: gop, fresh, due };
                continue;
            }
            if fresh {
                let prefix = if cache.gop() == Some(cursor) { cache.prefix_len() } else { 0 };
                self.align(sequence.wrapping_sub(prefix), cursor);
            }
            let mut sent_bytes = 0;
            let mut position = cursor;
            if fresh && cache.gop() == Some(cursor) {
                match self.send_prefix(track, position, cache, counters, sink) {
                    Some(bytes) => sent_bytes += bytes,
                    None => return self.wait_for_room(now, cursor, fresh, pace.stall),
                }
            }
            let slice_end = cursor.saturating_add(pace.slice.max(1) as u64);
            while position < slice_end {
                let most = usize::try_from(slice_end - position).unwrap_or(1);
                let Some((entries, bytes, segment)) = cache.run(&mut position, most) else { break };
                let count = entries.len() as u64;
                let len = bytes.len() as u64;
                let octets = entries.iter().map(|entry| u64::from(entry.payload_len)).sum();
                let last = entries.last().map_or(0, |entry| entry.facts.sequence);
                self.patch(bytes, segment, entries.iter().map(|entry| &entry.facts));
                let kept = Some(position);
                let kind = Kind::Rtp;
                let outgoing =
                    Outgoing { track, kind, bytes, segment, ecn: 0, position: kept, put_off: None };
                match sink.send(&mut self.dest, outgoing) {
                    SendOutcome::Sent => self.sent(count, len, octets, counters),
                    SendOutcome::Failed => self.failed(count, counters),
                    // Nothing is lost: the packets stay in the cache.
                    SendOutcome::Full => {
                        return self.wait_for_room(now, position, fresh && position == cursor, pace.stall);
                    }
                }
                sent_bytes += len;
                position += count;
                let next = last.wrapping_add(self.sequence_offset).wrapping_add(1);
                if seq::newer(next, self.next_sequence) {
                    self.next_sequence = next;
                }
            }
            let wait = Duration::from_micros(
                sent_bytes.saturating_mul(8_000_000).checked_div(pace.bits_per_second).unwrap_or(0),
            );
            let lagging = now.checked_sub(MAX_LAG).unwrap_or(now);
            self.state = if position == cache.end() {
                State::Live
            } else {
                State::Catch { cursor: position, fresh: false, due: due.max(lagging) + wait }
            };
        }
        false
    }

    /// The cursor is behind the cache's end, where a caught-up reader goes live, or before its front, which was cut off.
    fn past_the_cache(&mut self, now: Instant, cursor: u64, cache: &Cache, counters: &mut FanoutCounters) {
        self.state = match cache.gop() {
            _ if cursor == cache.end() && cache.gop().is_some() => State::Live,
            // The newest keyframe becomes the next packet: the reader sees no gap.
            Some(gop) => State::Catch { cursor: gop, fresh: true, due: now },
            None => State::Wait { since: now },
        };
        if self.state != State::Live {
            counters.catch_up_overflow += 1;
        }
    }

    /// Sends the parameter sets that belong before the keyframe at `position`; the bytes sent, `None` if there is no room.
    fn send_prefix(
        &mut self,
        track: usize,
        position: u64,
        cache: &mut Cache,
        counters: &mut FanoutCounters,
        sink: &mut impl Sink<D>,
    ) -> Option<u64> {
        let (facts, prefix) = (cache.entry(position)?.facts, cache.prefix_len());
        let mut sequence = facts.sequence.wrapping_sub(prefix);
        let mut sent_bytes = 0;
        let mut full = false;
        cache.prefix_mut().each(|packet, payload_len, marker_pt| {
            let own = Facts { sequence, marker_pt, timestamp: facts.timestamp };
            let len = packet.len();
            sequence = sequence.wrapping_add(1);
            if full || len == 0 {
                return;
            }
            self.patch(packet, len, std::iter::once(&own));
            let (kind, bytes) = (Kind::Rtp, packet);
            let set = Outgoing { track, kind, bytes, segment: len, ecn: 0, position: None, put_off: None };
            match sink.send(&mut self.dest, set) {
                SendOutcome::Sent => self.sent(1, len as u64, u64::from(payload_len), counters),
                SendOutcome::Failed => self.failed(1, counters),
                SendOutcome::Full => {
                    full = true;
                    return;
                }
            }
            sent_bytes += len as u64;
            self.next_sequence = sequence.wrapping_add(self.sequence_offset);
        });
        (!full).then_some(sent_bytes)
    }

    fn wait_for_room(&mut self, now: Instant, cursor: u64, fresh: bool, stall: Duration) -> bool {
        self.state = State::Catch { cursor, fresh, due: now + FULL_RETRY };
        self.full(now, stall)
    }
}

fn payload_type_table(changes: &[(u8, u8)]) -> Option<Box<[u8; 128]>> {
    if changes.iter().all(|(from, to)| from == to) {
        return None;
    }
    let mut table = Box::new([0; 128]);
    for (number, entry) in (0u8..).zip(table.iter_mut()) {
        *entry = changes.iter().find(|(from, _)| *from == number).map_or(number, |(_, to)| to & 0x7f);
    }
    Some(table)
}

fn translate(table: &[u8; 128], marker_pt: u8) -> u8 {
    table.get(usize::from(marker_pt & 0x7f)).map_or(marker_pt, |to| marker_pt & 0x80 | to)
}
