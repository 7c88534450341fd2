//! What a fan-out knows of one incoming track: its line of sequence numbers and timestamps, clock, rate and cache.

use std::time::{Duration, Instant};

use super::super::clock::{duration, ticks};
use super::super::{SenderClock, TrackInfo};
use super::cache::{Cache, Facts, Pushed};
use crate::burst::Burst;
use crate::codec::{self, Codec};
use crate::ntp::NtpTime;
use crate::rtp::Header;
use crate::seq;

/// When clocks of sender reports and times of arrival disagree by more than this about a splice, arrival decides.
const TRUST: Duration = Duration::from_secs(1);

/// The window over which a track's rate is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// The newest moment of a track, in its own line.
#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: u16,
    timestamp: u32,
    arrival: Instant,
}

/// A wall clock that `RTP-Info` gives all tracks: where its `rtptime`s are.
const ORIGIN: NtpTime = NtpTime::from_bits(1 << 62);

/// What relates the tracks of one source: the wall clock of its sender reports, and the moment of its `RTP-Info`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clocks {
    report: Option<SenderClock>,
    origin: Option<SenderClock>,
}

impl Clocks {
    /// The same clocks with other timestamps.
    fn shifted(self, by: u32) -> Self {
        let shift = |clock: SenderClock| SenderClock { rtp: clock.rtp.wrapping_add(by), ..clock };
        Clocks { report: self.report.map(shift), origin: self.origin.map(shift) }
    }

    fn moment(&self, timestamp: u32, rate: u32) -> Moment {
        let at = |clock: SenderClock| clock.ntp_of(timestamp, rate);
        Moment { report: self.report.map(at), origin: self.origin.map(at) }
    }

    /// What the media clock shows `later` (or, if negative, earlier) than at `moment`, by a wall clock that both know.
    fn timestamp(&self, moment: &Moment, later: Offset, rate: u32) -> Option<u32> {
        let by =
            |clock: Option<SenderClock>, ntp: Option<NtpTime>| Some(clock?.rtp_of(later.after(ntp?), rate));
        by(self.report, moment.report).or_else(|| by(self.origin, moment.origin))
    }
}

/// One moment on the wall clocks of a source.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    report: Option<NtpTime>,
    origin: Option<NtpTime>,
}

impl Moment {
    /// How much later this moment is than `other`, by a wall clock that both know.
    fn since(&self, other: &Moment) -> Option<Offset> {
        let by = |own: Option<NtpTime>, other: Option<NtpTime>| Some(Offset::between(other?, own?));
        by(self.report, other.report).or_else(|| by(self.origin, other.origin))
    }
}

/// A span of time with a sign.
#[derive(Debug, Clone, Copy, Default)]
struct Offset {
    span: Duration,
    negative: bool,
}

impl Offset {
    fn between(from: NtpTime, to: NtpTime) -> Self {
        let ahead = to.saturating_since(from);
        let behind = from.saturating_since(to);
        Offset { span: ahead.max(behind), negative: behind > ahead }
    }

    fn after(self, ntp: NtpTime) -> NtpTime {
        if self.negative { ntp.wrapping_sub(self.span) } else { ntp.wrapping_add(self.span) }
    }
}

/// Where the first track of a stream was spliced: what its other tracks take their time from, so that they stay in sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    /// That moment on the old source's clocks.
    old: Moment,
    /// And on the new one's.
    new: Moment,
}

/// What a burst was to a track.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Position of the keyframe that began in it.
    pub(super) keyframe: Option<u64>,
    /// The cache was dropped.
    pub(super) overflow: bool,
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
    clocks: Clocks,
    /// The clocks of the source before, in the track's line.
    old_clocks: Clocks,
    sequence_shift: u16,
    timestamp_shift: u32,
    newest: Option<Newest>,
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
        self.cache.flush(true);
    }

    /// The source seeks: what was cached is of another place. The mapping stays.
    pub(super) fn flush(&mut self) {
        self.cache.flush(false);
        self.newest = None;
    }

    pub(super) fn set_clock(&mut self, clock: SenderClock) {
        self.clocks.report = Some(clock);
    }

    /// The source's `RTP-Info`: its tracks' `rtptime`s are of one moment.
    pub(super) fn set_origin(&mut self, timestamp: u32, now: Instant) {
        self.clocks.origin = Some(SenderClock { ntp: ORIGIN, rtp: timestamp, arrival: now });
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

    /// Joins the new source's line to the old one at its first packet: the next sequence number, and the timestamp that
    /// belongs to the time that really passed. Returns whether that packet is to be marked (RFC 3551 §4.1: the marker
    /// of audio says that the receiver may adjust its playout).
    fn join(&mut self, arrival: Instant, header: &Header, reference: &mut Option<Reference>) -> bool {
        self.splice = false;
        let Some(newest) = self.newest else { return false };
        let by_arrival = self.timestamp_at(arrival).unwrap_or(newest.timestamp);
        let new = self.clocks.moment(header.timestamp, self.rate);
        let mut timestamp = reference
            .and_then(|reference| {
                // Both sides by the sources' clocks, or none: else the difference between when tracks arrive would be
                // in only one of them, and move them apart.
                let later = new.since(&reference.new)?;
                self.old_clocks.timestamp(&reference.old, later, self.rate)
            })
            .filter(|&timestamp| {
                let apart = seq::timestamp_distance(by_arrival, timestamp).unsigned_abs();
                duration(apart, self.rate) <= TRUST
            })
            .unwrap_or(by_arrival);
        if !seq::timestamp_newer(timestamp, newest.timestamp) {
            timestamp = newest.timestamp.wrapping_add(1);
        }
        reference.get_or_insert(Reference { old: self.old_clocks.moment(timestamp, self.rate), new });
        self.sequence_shift = newest.sequence.wrapping_add(1).wrapping_sub(header.sequence);
        self.timestamp_shift = timestamp.wrapping_sub(header.timestamp);
        !self.keyed
    }
}
