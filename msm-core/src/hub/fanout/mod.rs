//! The readers' side of the hub.

mod again;
mod cache;
mod clocks;
mod edge;
mod join;
mod line;
mod moving;
mod reader;
mod readers;
mod report;
mod settle;
mod slack;
mod standby;
mod upstream;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

pub use self::again::{History, Kept};
use self::cache::Facts;
pub use self::edge::LivePoint;
use self::line::{Batch, Line, Pace, PreparedRun, State};
pub use self::moving::LineEnd;
pub use self::reader::{
    FanoutEvent, HubError, ReaderClosed, ReaderId, ReaderReport, ReaderSetup, ReaderTrack, RtpInfo,
};
use self::upstream::{Reference, Upstream};
use super::ingest::LONGEST;
use super::{FanoutConfig, FanoutCounters, Reason, SenderClock, Sink, TrackInfo};
use crate::burst::Burst;

/// The least time between two looks at the late readers of a track, however many there are.
const CATCH_UP_STEP: Duration = Duration::from_millis(1);

/// One track: what comes in, and the readers' lines, side by side in memory.
#[derive(Debug)]
struct Track<D> {
    up: Upstream,
    lines: Slab<Line<D>>,
    cname: Option<Arc<[u8]>>,
    /// The least position in the cache that a late reader needs.
    floor: Option<u64>,
    /// When the next slice of a late reader is due.
    catch_up: Option<Instant>,
    /// When a keyframe is asked for, if readers wait for one then.
    ask: Option<Instant>,
    /// When the next report is due.
    report: Option<Instant>,
}

/// One reader: where its lines are.
#[derive(Debug)]
struct Reader {
    generation: u32,
    playing: bool,
    /// Track and key of the line.
    lines: Vec<(usize, usize)>,
    /// CNAME as long as the publisher's is unknown.
    cname: String,
}

/// A copy of a fan-out's cache and clocks: see [`Fanout::snapshot`].
#[derive(Debug, Clone)]
pub struct Snapshot {
    tracks: Vec<(Upstream, Option<Arc<[u8]>>)>,
    splice: u64,
    reference: Option<Reference>,
}

/// The readers' side of one stream on one worker: sends each packet to each reader, in the reader's own numbers.
///
/// `D` is the destination of one track of one reader; the [`Sink`] knows what to do with it.
///
/// * **Inputs:** [`handle_rtp`](Self::handle_rtp), [`handle_sender_report`](Self::handle_sender_report),
///   [`handle_rtp_info`](Self::handle_rtp_info), [`set_cname`](Self::set_cname),
///   [`handle_source_changed`](Self::handle_source_changed),
///   [`handle_reader_rtcp`](Self::handle_reader_rtcp), [`handle_timeout`](Self::handle_timeout).
/// * **Commands:** [`add_reader`](Self::add_reader), [`play`](Self::play), [`pause`](Self::pause),
///   [`remove`](Self::remove), [`flush`](Self::flush), [`bye`](Self::bye), [`restore`](Self::restore),
///   [`set_history`](Self::set_history).
/// * **Outputs**, drained after each: [`poll_event`](Self::poll_event), then [`poll_timeout`](Self::poll_timeout).
///   Packets go to the sink while the input is handled.
///
/// What a reader gets is one unbroken line: consecutive sequence numbers where the publisher's are, over late joining,
/// pauses and changes of source. What the publisher lost stays a gap, and so does what the reader's own full queue lost.
#[derive(Debug)]
pub struct Fanout<D> {
    config: FanoutConfig,
    tracks: Vec<Track<D>>,
    readers: Slab<Reader>,
    generation: u32,
    playing: usize,
    /// Counts the splices of the stream; the tracks that go through one share a reference.
    splice: u64,
    reference: Option<Reference>,
    events: VecDeque<FanoutEvent>,
    counters: FanoutCounters,
    facts: Vec<Facts>,
    runs: Vec<PreparedRun>,
}

impl<D> Fanout<D> {
    /// A fan-out without readers. Keyframe caches share [`cache_bytes`](FanoutConfig::cache_bytes) evenly.
    pub fn new(tracks: Arc<[TrackInfo]>, config: FanoutConfig, _now: Instant) -> Self {
        let keyed = tracks.iter().filter(|track| track.has_keyframes()).count().max(1);
        let share = config.cache_bytes / keyed;
        let tracks = tracks
            .iter()
            .map(|info| Track {
                up: Upstream::new(info.clone(), share),
                lines: Slab::new(),
                cname: None,
                floor: None,
                catch_up: None,
                ask: None,
                report: None,
            })
            .collect();
        Fanout {
            config,
            tracks,
            readers: Slab::new(),
            generation: 0,
            playing: 0,
            splice: 0,
            reference: None,
            events: VecDeque::new(),
            counters: FanoutCounters::default(),
            facts: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Sends a burst of `track`, which an [`Ingest`](super::Ingest) has validated, to all readers that play.
    ///
    /// The packets are patched in place for one reader after the other: afterwards the buffer holds the last reader's
    /// headers. The burst's table of segments keeps what was received.
    pub fn handle_rtp(&mut self, now: Instant, track: usize, burst: &mut Burst<'_>, sink: &mut impl Sink<D>) {
        if self.tracks.get(track).is_some_and(|fan| fan.catch_up.is_some_and(|due| due <= now)) {
            // Before the cache moves on.
            self.catch_up(now, track, sink);
        }
        let Some(fan) = self.tracks.get_mut(track) else {
            self.counters.unknown_track += burst.valid() as u64;
            return;
        };
        let end_before = fan.up.cache.end();
        let Some(taken) = fan.up.take(burst, &mut self.facts, fan.floor, &mut self.reference) else { return };
        self.counters.cache_overflow += u64::from(taken.overflow);
        if taken.moved {
            fan.report_at(now);
        }
        if fan.lines.is_empty() {
            return;
        }
        self.runs.clear();
        let mut packets = 0;
        for run in burst.runs() {
            let segments = burst.segments().get(run.segments.clone()).unwrap_or_default();
            let octets = segments.iter().map(|segment| u64::from(segment.header.payload_len)).sum();
            packets += segments.len() as u64;
            let crate::burst::Run { segments, bytes, segment } = run;
            self.runs.push(PreparedRun { segments, bytes, segment, octets });
        }
        let batch = Batch {
            track,
            now,
            ecn: burst.ecn(),
            runs: &self.runs,
            facts: &self.facts,
            highest: fan.up.highest().unwrap_or(taken.first),
            packets,
            start: end_before,
            end: fan.up.cache.end(),
            keyed: fan.up.keyed,
        };
        let (bytes, _) = burst.parts_mut();
        let mut others = false;
        let together = fan.lines.len() > 1;
        for (key, line) in &mut fan.lines {
            match line.state {
                State::Live if line.begins_with(taken.first) => line.align(taken.first, end_before),
                State::Live => {}
                State::Start => {
                    line.align(taken.first, end_before);
                    line.state = State::Live;
                }
                State::Idle => continue,
                _ => {
                    others = true;
                    continue;
                }
            }
            let put_off = together.then_some(key);
            if line.send_live(&batch, bytes, put_off, self.config.stall, &mut self.counters, sink) {
                self.events.push_back(FanoutEvent::ReaderStalled { id: line.id });
            }
            if line.next_report.is_none() {
                // A reader hears the clock as soon as it has its first packets.
                line.next_report = Some(now);
                fan.report = Some(now);
            }
            if matches!(line.state, State::Skip { .. }) && fan.ask.is_none() {
                fan.ask = Some(now + self.config.keyframe_retry.min(LONGEST));
            }
        }
        if together {
            let counters = &mut self.counters;
            sink.flush(&mut |not_sent| {
                if let Some(line) = fan.lines.get_mut(not_sent.line) {
                    line.unsent(not_sent, counters);
                }
            });
        }
        if others {
            self.handle_waiting(now, track, taken.keyframe, end_before, packets);
            self.catch_up(now, track, sink);
        } else if taken.keyframe.is_some() {
            fan.ask = None;
        }
    }

    /// Readers that wait for a keyframe: it is here, or these packets are not for them. `end_before` is where the cache
    /// ended before them.
    fn handle_waiting(
        &mut self,
        now: Instant,
        track: usize,
        keyframe: Option<u64>,
        end_before: u64,
        packets: u64,
    ) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        if keyframe.is_some() {
            fan.ask = None;
        }
        for (_, line) in &mut fan.lines {
            match (line.state, keyframe) {
                (State::Wait { .. }, Some(cursor)) => {
                    line.state = State::Catch { cursor, fresh: true, due: now };
                }
                (State::Skip { missed }, Some(gop)) => {
                    let cursor = gop.max(missed);
                    line.undropped(end_before.saturating_sub(cursor), &mut self.counters);
                    line.state = State::Catch { cursor, fresh: false, due: now };
                }
                (State::Wait { since }, None) => {
                    self.counters.awaiting_keyframe += packets;
                    if now.saturating_duration_since(since) >= self.config.keyframe_wait {
                        self.counters.keyframe_timeout += 1;
                        line.state = State::Start;
                    }
                }
                (State::Skip { .. }, None) => line.dropped(packets, &mut self.counters),
                _ => {}
            }
        }
    }

    /// Gives late readers what is due, and finds out when the next slice is.
    fn catch_up(&mut self, now: Instant, track: usize, sink: &mut impl Sink<D>) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        let pace = Pace {
            bits_per_second: fan
                .up
                .bitrate()
                .saturating_mul(u64::from(self.config.catch_up_factor))
                .max(self.config.catch_up_min_bitrate),
            slice: self.config.catch_up_slice,
            stall: self.config.stall,
        };
        fan.floor = None;
        fan.catch_up = None;
        for (_, line) in &mut fan.lines {
            if !matches!(line.state, State::Catch { .. }) {
                continue;
            }
            if line.catch_up(now, track, &mut fan.up.cache, pace, &mut self.counters, sink) {
                self.events.push_back(FanoutEvent::ReaderStalled { id: line.id });
            }
            if line.next_report.is_none() && line.has_sent() {
                line.next_report = Some(now);
                fan.report = Some(now);
            }
            match line.state {
                State::Catch { cursor, due, .. } => {
                    fan.floor = Some(fan.floor.map_or(cursor, |floor| floor.min(cursor)));
                    let due = due.max(now + CATCH_UP_STEP);
                    fan.catch_up = Some(fan.catch_up.map_or(due, |earliest| earliest.min(due)));
                }
                State::Wait { .. } => {
                    fan.ask.get_or_insert(now);
                }
                _ => {}
            }
        }
    }

    /// Another source takes over `track`: the line goes on with its next packet, at the time that really passed. Call it
    /// for each track when a whole upstream is replaced, before the first packet of the new one.
    pub fn handle_source_changed(&mut self, now: Instant, track: usize) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        if fan.up.spliced == self.splice {
            // This track went through the last splice: a new one begins.
            self.splice += 1;
            self.reference = None;
        }
        fan.up.spliced = self.splice;
        fan.up.source_changed();
        self.wait_again(now, track, true);
    }

    /// The source plays from another place (seek): caches are dropped, sequence and timestamp mappings stay.
    pub fn flush(&mut self, now: Instant) {
        for track in 0..self.tracks.len() {
            if let Some(fan) = self.tracks.get_mut(track) {
                fan.up.flush();
            }
            self.wait_again(now, track, false);
        }
    }

    /// The cache is gone. Readers that were catching up, and with `live` those that were live, wait for a keyframe.
    fn wait_again(&mut self, now: Instant, track: usize, live: bool) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        fan.floor = None;
        fan.catch_up = None;
        if !fan.up.keyed {
            return;
        }
        let mut waiting = false;
        for (_, line) in &mut fan.lines {
            match line.state {
                State::Catch { .. } => line.state = State::Wait { since: now },
                State::Live if live && line.late_join => line.state = State::Wait { since: now },
                _ => {}
            }
            waiting |= matches!(line.state, State::Wait { .. });
        }
        if waiting {
            fan.ask = Some(now);
            self.ask_keyframe(now, track);
        }
    }

    /// Asks for a keyframe if that is due.
    fn ask_keyframe(&mut self, now: Instant, track: usize) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        if fan.ask.is_some_and(|due| due <= now) {
            fan.ask = Some(now + self.config.keyframe_retry.min(LONGEST));
            self.want_keyframe(track);
        }
    }

    /// Adds the event, unless it is waiting to be polled already.
    fn want_keyframe(&mut self, track: usize) {
        let event = FanoutEvent::KeyframeWanted { track };
        if !self.events.contains(&event) {
            self.events.push_back(event);
        }
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<FanoutEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let due = |fan: &Track<D>| {
            let timers =
                [(fan.catch_up, Reason::CatchUp), (fan.ask, Reason::Keyframe), (fan.report, Reason::Report)];
            timers
                .into_iter()
                .filter_map(|(due, reason)| due.map(|due| (due, reason)))
                .min_by_key(|(due, _)| *due)
        };
        self.tracks.iter().filter_map(due).min_by_key(|(due, _)| *due)
    }

    /// Does what is due: slices for late readers, reports, repeated keyframe requests.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink<D>) {
        for track in 0..self.tracks.len() {
            let Some(fan) = self.tracks.get_mut(track) else { return };
            if fan.ask.is_some_and(|due| due <= now) {
                let waiting = fan
                    .lines
                    .iter()
                    .any(|(_, line)| matches!(line.state, State::Wait { .. } | State::Skip { .. }));
                if waiting {
                    self.ask_keyframe(now, track);
                } else {
                    fan.ask = None;
                }
            }
            let Some(fan) = self.tracks.get_mut(track) else { return };
            let report = fan.report.is_some_and(|due| due <= now);
            if fan.catch_up.is_some_and(|due| due <= now) {
                self.catch_up(now, track, sink);
            }
            if report {
                self.send_reports(now, track, false, sink);
            }
        }
    }

    /// A copy of the caches and clocks, to [`restore`](Self::restore) in the fan-out that another worker makes for the
    /// same stream. Its first reader then starts as late readers do here.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            tracks: self.tracks.iter().map(|fan| (fan.up.clone(), fan.cname.clone())).collect(),
            splice: self.splice,
            reference: self.reference,
        }
    }

    /// Takes over the caches and clocks of another fan-out of the same stream, before readers of this one are live. The
    /// bursts that follow are those that came after the snapshot.
    pub fn restore(&mut self, now: Instant, snapshot: Snapshot) {
        self.splice = snapshot.splice;
        self.reference = snapshot.reference;
        for (track, (up, cname)) in snapshot.tracks.into_iter().enumerate() {
            let Some(fan) = self.tracks.get_mut(track) else { return };
            fan.up = up;
            fan.cname = cname;
            fan.floor = None;
            fan.catch_up = None;
            fan.keep_history(&self.config);
            let gop = fan.up.cache.gop();
            for (_, line) in &mut fan.lines {
                match (line.state, gop) {
                    (State::Wait { .. } | State::Catch { .. }, Some(cursor)) => {
                        line.state = State::Catch { cursor, fresh: true, due: now };
                        fan.floor = Some(cursor);
                        fan.catch_up = Some(now);
                    }
                    (State::Catch { .. }, None) => line.state = State::Wait { since: now },
                    _ => {}
                }
            }
        }
    }

    /// Bytes of packets that are kept, bookkeeping included.
    pub fn cached_bytes(&self) -> usize {
        self.tracks.iter().map(|fan| fan.up.cache.used()).sum()
    }

    /// What was counted since the fan-out was made.
    pub fn counters(&self) -> &FanoutCounters {
        &self.counters
    }
}

/// What the publisher tells of its name and its clocks.
impl<D> Fanout<D> {
    /// The publisher's canonical name of `track`, which readers are told (RFC 3550 §7: CNAMEs cross).
    pub fn set_cname(&mut self, track: usize, cname: Arc<[u8]>) {
        if let Some(fan) = self.tracks.get_mut(track) {
            fan.cname = Some(cname);
        }
    }

    /// The publisher's `RTP-Info` of `track` in its own numbers, from its answer to PLAY: it relates the tracks to each
    /// other as long as there are no sender reports. Give it before the first packet, after
    /// [`handle_source_changed`](Self::handle_source_changed).
    pub fn handle_rtp_info(&mut self, now: Instant, track: usize, info: RtpInfo) {
        if let Some(fan) = self.tracks.get_mut(track) {
            fan.up.set_origin(info.rtptime, now);
        }
    }

    /// The publisher reported: so do we to each reader, with the same relation of wall clock and media clock.
    pub fn handle_sender_report(
        &mut self,
        now: Instant,
        track: usize,
        clock: SenderClock,
        sink: &mut impl Sink<D>,
    ) {
        let Some(fan) = self.tracks.get_mut(track) else {
            self.counters.unknown_track += 1;
            return;
        };
        fan.up.set_clock(clock);
        self.send_reports(now, track, true, sink);
    }
}
