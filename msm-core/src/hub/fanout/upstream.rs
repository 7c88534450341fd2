//! What a fan-out knows of one incoming track: its line of sequence numbers and timestamps, clock, rate and cache.

use std::time::{Duration, Instant};

use super::super::clock::{duration, ticks};
use super::super::{SenderClock, TrackInfo};
use super::RtpInfo;
use super::cache::{Cache, Facts, Pushed};
pub(super) use super::clocks::Reference;
use super::clocks::{Clocks, ORIGIN, Offset};
use super::edge::{Edge, LivePoint};
use super::settle::{Arrived, Settling};
use crate::burst::Burst;
use crate::codec::{self, Codec};
use crate::hub::twin::Offset as TwinOffset;
use crate::seq;

/// The window over which a track's rate is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// The newest moment of a track, in its own line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    arrival: Instant,
}

/// What a burst was to a track.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Position of the keyframe that began in it.
    pub(super) keyframe: Option<u64>,
    /// The cache was dropped.
    pub(super) overflow: bool,
    /// The line of timestamps has moved forward: reports of before are not true any more.
    pub(super) moved: bool,
    /// Sequence number of the first valid packet, in the track's line.
    pub(super) first: u16,
}

/// One incoming track.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    info: TrackInfo,
    pub(super) rate: u32,
    /// Readers start at keyframes.
    pub(super) keyed: bool,
    pub(super) cache: Cache,
    /// The source's clocks in its own timestamps.
    pub(super) clocks: Clocks,
    /// The clocks of the source before, in the track's line.
    pub(super) old_clocks: Clocks,
    pub(super) sequence_shift: u16,
    pub(super) timestamp_shift: u32,
    pub(super) newest: Option<Newest>,
    /// Where the media is, in the track's line.
    pub(super) edge: Edge,
    /// Where that of the source that follows is known to be, in its own timestamps.
    pub(super) expected: Option<LivePoint>,
    /// While a new source's line is not known for sure.
    pub(super) settling: Option<Box<Settling>>,
    /// A new source follows: its first packet decides the shifts.
    pub(super) splice: bool,
    /// The number of the splice that this track went through last.
    pub(super) spliced: u64,
    window_start: Option<Instant>,
    window_bytes: u64,
    bitrate: u64,
}

impl Upstream {
    pub(super) fn new(info: TrackInfo, cache_bytes: usize) -> Self {
        Upstream {
            rate: info.clock_rate(),
            keyed: info.has_keyframes(),
            info,
            cache: Cache::new(cache_bytes),
            clocks: Clocks::default(),
            old_clocks: Clocks::default(),
            sequence_shift: 0,
            timestamp_shift: 0,
            newest: None,
            edge: Edge::default(),
            expected: None,
            settling: None,
            splice: false,
            spliced: 0,
            window_start: None,
            window_bytes: 0,
            bitrate: 0,
        }
    }

    /// Puts a burst into the track's line: `facts` gets one entry a segment, the cache the packets.
    #[inline]
    pub(super) fn take(
        &mut self,
        burst: &Burst<'_>,
        facts: &mut Vec<Facts>,
        floor: Option<u64>,
        reference: &mut Option<Reference>,
    ) -> Option<Taken> {
        facts.clear();
        let first = burst.segments().iter().find(|segment| segment.valid)?;
        let mut mark = false;
        if self.splice {
            mark = self.join(burst.arrival(), &first.header, reference);
        }
        let mut taken =
            Taken { first: first.header.sequence.wrapping_add(self.sequence_shift), ..Taken::default() };
        self.cache.begin(burst.arrival());
        let keeps = self.keyed || self.cache.has_history();
        let mut newest = self.newest;
        let mut codec = (u8::MAX, Codec::Other);
        let mut settling = self.settling.take();
        for segment in burst.segments() {
            let header = &segment.header;
            let mut fact = Facts {
                sequence: header.sequence.wrapping_add(self.sequence_shift),
                marker_pt: header.marker_pt(),
                timestamp: header.timestamp.wrapping_add(self.timestamp_shift),
            };
            if !segment.valid {
                facts.push(fact);
                continue;
            }
            if let Some(settling) = &mut settling {
                let splice = self.spliced;
                let mut reference = reference.as_mut().filter(|reference| reference.splice == splice);
                self.relate(settling, header.timestamp, reference.as_deref_mut());
                let Upstream { rate, ref edge, ref clocks, .. } = *self;
                let arrived = Arrived { at: burst.arrival(), rate, edge, clocks };
                fact.timestamp =
                    settling.place(header.timestamp, &arrived, &mut self.timestamp_shift, reference);
                if settling.take_jump() {
                    taken.moved = true;
                    mark |= !self.keyed;
                }
            }
            if std::mem::take(&mut mark) {
                fact.marker_pt |= 0x80;
            }
            facts.push(fact);
            newest = Some(self.newer(newest, &fact, burst.arrival()));
            if keeps && let Some(packet) = burst.bytes().get(segment.range()) {
                if codec.0 != header.payload_type {
                    codec = (header.payload_type, self.info.codec(header.payload_type));
                }
                let info = codec::inspect(codec.1, header.payload(packet));
                let Pushed { keyframe, overflow } =
                    self.cache.push(packet, header.payload_len, fact, info, floor);
                if keyframe {
                    taken.keyframe = self.cache.gop();
                }
                if overflow {
                    taken.overflow = true;
                    taken.keyframe = None;
                }
            }
        }
        self.newest = newest;
        if let Some(settling) = settling {
            self.keep_settling(settling, burst.arrival(), reference);
        }
        if self.settling.is_none()
            && let Some(newest) = newest
        {
            self.edge.note(LivePoint { timestamp: newest.timestamp, arrival: newest.arrival }, self.rate);
        }
        self.measure(burst);
        Some(taken)
    }

    #[inline]
    fn newer(&self, newest: Option<Newest>, fact: &Facts, arrival: Instant) -> Newest {
        let fresh = Newest { sequence: fact.sequence, timestamp: fact.timestamp, arrival };
        let Some(old) = newest else { return fresh };
        let (timestamp, arrival) = if seq::timestamp_newer(fact.timestamp, old.timestamp) {
            (fact.timestamp, arrival)
        } else {
            (old.timestamp, old.arrival)
        };
        let sequence = if seq::newer(fact.sequence, old.sequence) { fact.sequence } else { old.sequence };
        Newest { sequence, timestamp, arrival }
    }

    #[inline]
    fn measure(&mut self, burst: &Burst<'_>) {
        self.window_bytes += burst.bytes().len() as u64;
        let start = *self.window_start.get_or_insert(burst.arrival());
        let span = burst.arrival().saturating_duration_since(start);
        if span >= RATE_WINDOW {
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
            self.bitrate = self.window_bytes.saturating_mul(8_000) / millis;
            self.window_start = Some(burst.arrival());
            self.window_bytes = 0;
        }
    }

    /// The highest sequence number so far, in the track's line.
    pub(super) fn highest(&self) -> Option<u16> {
        self.newest.map(|newest| newest.sequence)
    }

    /// The highest timestamp so far, in the track's line.
    pub(super) fn newest_timestamp(&self) -> Option<u32> {
        self.newest.map(|newest| newest.timestamp)
    }

    /// The track's measured rate in bits a second; 0 while there is none.
    pub(super) fn bitrate(&self) -> u64 {
        self.bitrate
    }

    /// Another source follows.
    pub(super) fn source_changed(&mut self) {
        if !self.splice {
            self.old_clocks = self.line_clocks();
        }
        self.clocks = Clocks::default();
        self.splice = self.newest.is_some();
        self.expected = None;
        self.cache.flush(true);
    }

    /// The same line comes in other numbers from now on.
    pub(super) fn renumber(&mut self, by: TwinOffset) {
        if self.splice {
            return;
        }
        let back = 0u32.wrapping_sub(by.timestamp);
        self.sequence_shift = self.sequence_shift.wrapping_add(by.sequence);
        self.timestamp_shift = self.timestamp_shift.wrapping_add(by.timestamp);
        self.clocks = self.clocks.shifted(back);
        if let Some(settling) = &mut self.settling {
            settling.renumber(back);
        }
    }

    /// Where the media of the source that follows is by now.
    pub(super) fn expect(&mut self, live: LivePoint) {
        self.expected = Some(live);
    }

    /// Where the source's media is by now, in its own timestamps.
    pub(super) fn live(&self, now: Instant) -> Option<LivePoint> {
        let timestamp = self.edge.at(now, self.rate)?.wrapping_sub(self.timestamp_shift);
        Some(LivePoint { timestamp, arrival: now })
    }

    /// The source's clock in its own timestamps.
    pub(super) fn clock(&self) -> Option<SenderClock> {
        self.clocks.report
    }

    /// The source seeks: what was cached is of another place. The mapping stays.
    pub(super) fn flush(&mut self) {
        self.cache.flush(false);
        self.newest = None;
        self.edge = Edge::default();
        self.settling = None;
    }

    pub(super) fn set_clock(&mut self, clock: SenderClock) {
        self.clocks.report = Some(clock);
    }

    /// Whether the source has sent a report.
    pub(super) fn has_report(&self) -> bool {
        self.clocks.report.is_some()
    }

    /// The source's `RTP-Info`: its tracks' `rtptime`s are of one moment.
    pub(super) fn set_origin(&mut self, timestamp: u32, now: Instant) {
        self.clocks.origin = Some(SenderClock { ntp: ORIGIN, rtp: timestamp, arrival: now });
    }

    /// The same, if it was told; its sequence number is that of a packet of long ago.
    pub(super) fn origin(&self) -> Option<RtpInfo> {
        self.clocks.origin.map(|clock| RtpInfo { seq: 0, rtptime: clock.rtp })
    }

    /// The source's clock in the track's line; none while a splice is under way.
    pub(super) fn line_clock(&self) -> Option<SenderClock> {
        self.line_clocks().report
    }

    /// The source's clocks in the track's line; none while a splice is under way.
    pub(super) fn line_clocks(&self) -> Clocks {
        if self.splice { Clocks::default() } else { self.clocks.shifted(self.timestamp_shift) }
    }

    /// This track's timestamp at the moment at which another one, with its `clocks` and `rate`, shows `timestamp`.
    pub(super) fn timestamp_with(&self, clocks: &Clocks, timestamp: u32, rate: u32) -> Option<u32> {
        let moment = clocks.moment(timestamp, rate);
        self.line_clocks().timestamp(&moment, Offset::default(), self.rate)
    }

    /// A sequence number and a timestamp of the source in the track's line.
    pub(super) fn map(&self, sequence: u16, timestamp: u32) -> (u16, u32) {
        (sequence.wrapping_add(self.sequence_shift), timestamp.wrapping_add(self.timestamp_shift))
    }

    /// The moment at which the packet with `timestamp` came or would have come, by the clock of arrivals.
    pub(super) fn moment_of(&self, timestamp: u32) -> Option<Instant> {
        let newest = self.newest?;
        let behind = newest.timestamp.wrapping_sub(timestamp).cast_signed();
        let span = duration(behind.unsigned_abs(), self.rate);
        if behind < 0 { newest.arrival.checked_add(span) } else { newest.arrival.checked_sub(span) }
    }

    /// The track's timestamp at `moment`, by the clock of arrivals.
    pub(super) fn timestamp_at(&self, moment: Instant) -> Option<u32> {
        let newest = self.newest?;
        Some(match moment.checked_duration_since(newest.arrival) {
            Some(after) => newest.timestamp.wrapping_add(ticks(after, self.rate)),
            None => {
                let before = newest.arrival.saturating_duration_since(moment);
                newest.timestamp.wrapping_sub(ticks(before, self.rate))
            }
        })
    }
}
