//! The readers of one stream on one worker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::burst::Burst;
use msm_core::hub::twin::Offset;
use msm_core::hub::{
    Fanout, FanoutEvent, History, HubError, Kept, LineEnd, LivePoint, ReaderClosed, ReaderCounters, ReaderId,
    ReaderReport, ReaderSetup, ReaderTrack, RtpInfo, SenderClock, Snapshot,
};
use tokio::sync::Notify;

use super::dest::{Dest, WorkerSink};
use super::feed::{Feed, FeedReceiver};
use super::handle::HubHandle;
use super::succession::{self, ParameterSets};
use crate::metrics::Sent;
use crate::worker::Worker;

/// How long a reader waits for the next keyframe of the stream that it goes over to; then it waits there.
const KEYFRAME: Duration = Duration::from_secs(10);
/// How often is looked whether a keyframe has begun, for readers that come from another stream.
const KEYFRAME_LOOK: Duration = Duration::from_millis(5);

/// What a reader is told by its stream, for the session that owns it.
pub(crate) type OnEnd = Box<dyn FnOnce(EndReason)>;

/// Why a reader's media ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The stream ended at its source.
    StreamEnded,
    /// The reader sent an RTCP BYE.
    ReaderBye,
    /// The reader did not take packets for too long.
    Stalled,
}

/// The fan-out of one stream on one worker, with its timer.
pub(crate) struct Shard {
    pub(crate) handle: Arc<HubHandle>,
    worker: Rc<Worker>,
    fanout: RefCell<Fanout<Dest>>,
    owners: RefCell<BTreeMap<ReaderId, OnEnd>>,
    rearm: Rc<Notify>,
    /// When the timer wakes up.
    armed: Cell<Option<Instant>>,
    ended: Cell<bool>,
    /// Packets that each reader has reported lost of a track, all in all.
    reported: RefCell<BTreeMap<(ReaderId, usize), u32>>,
    /// What went to members that do not read any more.
    to_members: Cell<Sent>,
}

impl Shard {
    /// Creates the shard of a stream on `worker` and starts its timer.
    pub(crate) fn start(worker: &Rc<Worker>, handle: Arc<HubHandle>, now: Instant) -> Rc<Self> {
        let config = handle.fanout_config(&worker.shared.settings());
        let shard = Rc::new(Self {
            fanout: RefCell::new(Fanout::new(handle.tracks(), config, now)),
            worker: Rc::clone(worker),
            owners: RefCell::default(),
            rearm: Rc::new(Notify::new()),
            armed: Cell::new(None),
            ended: Cell::new(false),
            reported: RefCell::default(),
            to_members: Cell::default(),
            handle,
        });
        worker.shards.borrow_mut().insert(shard.handle.id, Rc::clone(&shard));
        tokio::task::spawn_local(timer(Rc::downgrade(&shard), Rc::clone(&shard.rearm)));
        shard
    }

    /// Runs the fan-out from a ring that the stream's home fills.
    pub(crate) fn feed(self: &Rc<Self>, receiver: FeedReceiver) {
        tokio::task::spawn_local(follow(Rc::downgrade(self), receiver));
    }

    pub(crate) fn handle_rtp(&self, now: Instant, track: usize, burst: &mut Burst<'_>) {
        let mut fanout = self.fanout.borrow_mut();
        fanout.handle_rtp(now, track, burst, &mut self.sink(now));
        drop(fanout);
        self.after_input(now);
    }

    pub(crate) fn handle_sender_report(&self, now: Instant, track: usize, clock: SenderClock) {
        self.fanout.borrow_mut().handle_sender_report(now, track, clock, &mut self.sink(now));
        self.after_input(now);
    }

    pub(crate) fn set_cname(&self, track: usize, cname: Arc<[u8]>) {
        self.fanout.borrow_mut().set_cname(track, cname);
    }

    pub(crate) fn handle_source_changed(&self, now: Instant, track: usize) {
        self.fanout.borrow_mut().handle_source_changed(now, track);
        self.after_input(now);
    }

    /// Where the media of the source that follows is by now.
    pub(crate) fn expect(&self, track: usize, live: LivePoint) {
        self.fanout.borrow_mut().expect(track, live);
    }

    /// Another source goes on with the next packet, in numbers of its own.
    pub(crate) fn renumber(&self, track: usize, by: Offset) {
        self.fanout.borrow_mut().renumber(track, by);
    }

    /// The numbers that a source has told of a track, with its answer to PLAY.
    pub(crate) fn handle_rtp_info(&self, now: Instant, track: usize, info: RtpInfo) {
        self.fanout.borrow_mut().handle_rtp_info(now, track, info);
    }

    /// Parameter sets of the source that follows, by its description.
    pub(crate) fn set_parameter_sets(&self, track: usize, given: &ParameterSets) {
        let sets = given.sets.iter().map(Vec::as_slice);
        self.fanout.borrow_mut().set_parameter_sets(track, given.payload_type, sets);
    }

    /// What each track has brought since its last keyframe.
    pub(crate) fn kept(&self, now: Instant) -> Vec<succession::Kept> {
        let fanout = self.fanout.borrow();
        let tracks = 0..self.handle.tracks().len();
        tracks
            .map(|track| {
                let (mut bytes, mut parts) = (Vec::new(), Vec::new());
                for packet in fanout.since_keyframe(track) {
                    parts.push((bytes.len(), packet.len()));
                    bytes.extend_from_slice(packet);
                }
                let (live, clock) = (fanout.live(now, track), fanout.clock(track));
                succession::Kept { live, clock, info: fanout.rtp_info(track), bytes, parts }
            })
            .collect()
    }

    /// Whether each track that readers begin with a keyframe of has one.
    pub(crate) fn has_keyframes(&self) -> bool {
        let fanout = self.fanout.borrow();
        let tracks = self.handle.tracks();
        let mut keyed = tracks.iter().enumerate().filter(|(_, track)| track.has_keyframes());
        keyed.all(|(track, _)| fanout.since_keyframe(track).next().is_some())
    }

    /// Takes a reader's RTCP; `false` for what is not genuine, where that can be told.
    pub(crate) fn handle_reader_rtcp(
        &self,
        now: Instant,
        id: ReaderId,
        track: usize,
        datagram: &[u8],
    ) -> bool {
        let mut fanout = self.fanout.borrow_mut();
        let secure = fanout.dest_mut(id, track).and_then(|dest| dest.secure().map(Rc::clone));
        let mut sink = self.sink(now);
        let genuine = match secure {
            Some(secure) => {
                let opened = secure.open_rtcp(datagram, |plain| {
                    fanout.handle_reader_rtcp(now, id, track, plain, &mut sink);
                });
                if let Err(error) = opened {
                    self.handle.metrics.add_dropped(error.name(), 1);
                }
                opened.is_ok()
            }
            None => {
                fanout.handle_reader_rtcp(now, id, track, datagram, &mut sink);
                true
            }
        };
        drop(fanout);
        self.after_input(now);
        genuine
    }

    pub(crate) fn flush(&self, now: Instant) {
        self.fanout.borrow_mut().flush(now);
        self.after_input(now);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.fanout.borrow().snapshot()
    }

    /// Adds a reader, which gets nothing before [`Self::play`]. `on_end` is called once if the stream ends it.
    pub(crate) fn add_reader(
        &self,
        now: Instant,
        setup: ReaderSetup<Dest>,
        on_end: OnEnd,
    ) -> Result<ReaderId, HubError> {
        let id = self.fanout.borrow_mut().add_reader(now, setup)?;
        self.owners.borrow_mut().insert(id, on_end);
        Ok(id)
    }

    /// Keeps packets of a track for a reader that may ask for them again.
    pub(crate) fn set_history(&self, now: Instant, id: ReaderId, track: usize, history: History) {
        let _ = self.fanout.borrow_mut().set_history(now, id, track, Some(history));
    }

    /// Looks at a packet where it is kept, with its header as this reader got it.
    pub(crate) fn with_packet<T>(
        &self,
        id: ReaderId,
        track: usize,
        position: u64,
        look: impl FnOnce(Kept<'_>) -> T,
    ) -> Option<T> {
        self.fanout.try_borrow().ok()?.packet(id, track, position).map(look)
    }

    /// Starts a reader; answers the numbers of the first packet it will get, where they are known.
    pub(crate) fn play(&self, now: Instant, id: ReaderId) -> Result<Vec<(usize, Option<RtpInfo>)>, HubError> {
        let info = self.fanout.borrow_mut().play(now, id)?;
        self.after_input(now);
        Ok(info)
    }

    /// Where the lines of a reader are now.
    pub(crate) fn line_ends(&self, now: Instant, id: ReaderId) -> Result<Vec<LineEnd>, HubError> {
        self.fanout.borrow().line_ends(now, id)
    }

    /// Lets the lines of a new reader go on where they ended in another stream.
    pub(crate) fn go_on(&self, now: Instant, id: ReaderId, ends: &[LineEnd]) {
        let _ = self.fanout.borrow_mut().go_on(now, id, ends);
    }

    /// Takes a reader of another stream's shard over as it is, its lines go on.
    pub(crate) fn take_over(
        &self,
        now: Instant,
        before: &Shard,
        id: ReaderId,
        plays: bool,
    ) -> Result<ReaderId, HubError> {
        let ends = before.line_ends(now, id)?;
        let owner = before.owners.borrow_mut().remove(&id);
        let closed = before.remove(now, id, false).ok_or(HubError::UnknownReader { id })?;
        let tracks = closed.tracks.into_iter().map(|(track, dest, _)| {
            let ssrc = ends.iter().find(|end| end.track == track).map(|end| end.ssrc);
            let ssrc = ssrc.unwrap_or_else(|| self.worker.shared.seed() as u32);
            ReaderTrack { track, dest, ssrc, payload_types: Vec::new() }
        });
        let setup =
            ReaderSetup { seed: self.worker.shared.seed(), tracks: tracks.collect(), late_join: true };
        let there = self.add_reader(now, setup, owner.unwrap_or_else(|| Box::new(|_| {})))?;
        self.go_on(now, there, &ends);
        if plays {
            self.play(now, there)?;
        }
        Ok(there)
    }

    /// As [`Self::next_keyframe`], for as long as readers may wait; `at_once`: not where one is kept.
    pub(crate) async fn await_keyframe(&self, at_once: bool) {
        if at_once && self.has_keyframes() {
            return;
        }
        let _ = tokio::time::timeout(KEYFRAME, self.next_keyframe()).await;
    }

    /// Asks for a keyframe, and waits until one begins; at once where there are none.
    pub(crate) async fn next_keyframe(&self) {
        let before = self.fanout.borrow().keyframe();
        let tracks = self.handle.tracks();
        let Some(keyed) = tracks.iter().position(|track| track.has_keyframes()) else { return };
        self.worker.request_keyframe(&self.handle, Instant::now(), keyed);
        while self.fanout.borrow().keyframe() == before && !self.ended.get() {
            tokio::time::sleep(KEYFRAME_LOOK).await;
        }
    }

    pub(crate) fn pause(&self, now: Instant, id: ReaderId) {
        let _ = self.fanout.borrow_mut().pause(now, id);
        self.after_input(now);
    }

    /// What a reader has had, of all its tracks.
    pub(crate) fn reader_counters(&self, id: ReaderId) -> ReaderCounters {
        let fanout = self.fanout.borrow();
        let tracks = (0..self.handle.tracks().len()).filter_map(|track| fanout.reader_counters(id, track));
        tracks.fold(ReaderCounters::default(), |sum, track| ReaderCounters {
            packets: sum.packets + track.packets,
            bytes: sum.bytes + track.bytes,
            reader_queue: sum.reader_queue + track.reader_queue,
            ..sum
        })
    }

    pub(crate) fn map_rtp_info(&self, id: ReaderId, track: usize, upstream: RtpInfo) -> Option<RtpInfo> {
        self.fanout.borrow().map_rtp_info(id, track, upstream)
    }

    /// Removes a reader and drops its destinations.
    pub(crate) fn remove(&self, now: Instant, id: ReaderId, bye: bool) -> Option<ReaderClosed<Dest>> {
        self.owners.borrow_mut().remove(&id);
        self.reported.borrow_mut().retain(|(reader, _), _| *reader != id);
        let mut fanout = self.fanout.borrow_mut();
        if bye {
            fanout.bye(now, Some(id), &mut self.sink(now));
        }
        let closed = fanout.remove(id);
        drop(fanout);
        self.keep_sent(closed.iter());
        self.after_input(now);
        closed
    }

    /// Changes a reader's destination, when its packets come from a port other than it named.
    pub(crate) fn with_dest(&self, id: ReaderId, track: usize, change: impl FnOnce(&mut Dest)) {
        if let Some(dest) = self.fanout.borrow_mut().dest_mut(id, track) {
            change(dest);
        }
    }

    /// The stream is over.
    pub(crate) fn end(&self, now: Instant) {
        if self.ended.replace(true) {
            return;
        }
        let mut fanout = self.fanout.borrow_mut();
        fanout.bye(now, None, &mut self.sink(now));
        // Whoever still holds the shard holds no sockets and queues of readers by it.
        let readers: Vec<_> = fanout.reader_ids().collect();
        let closed: Vec<_> = readers.into_iter().filter_map(|id| fanout.remove(id)).collect();
        drop(fanout);
        self.keep_sent(closed.iter());
        drop(closed);
        self.worker.shards.borrow_mut().remove(&self.handle.id);
        self.publish_metrics();
        let owners = std::mem::take(&mut *self.owners.borrow_mut());
        for on_end in owners.into_values() {
            on_end(EndReason::StreamEnded);
        }
        self.rearm.notify_one();
    }

    /// Publishes what changed since the last call to the process's metrics.
    pub(crate) fn publish_metrics(&self) {
        let fanout = self.fanout.borrow();
        let lines = fanout.lines().map(|(dest, counters)| (dest, *counters));
        let to_members = add_to_members(self.to_members.get(), lines);
        self.handle.observe_fanout(self.worker.id, &fanout, to_members);
    }

    fn keep_sent<'a>(&self, closed: impl Iterator<Item = &'a ReaderClosed<Dest>>) {
        let lines = closed.flat_map(|reader| &reader.tracks).map(|(_, dest, counters)| (dest, *counters));
        self.to_members.set(add_to_members(self.to_members.get(), lines));
    }

    fn sink(&self, now: Instant) -> WorkerSink<'_> {
        self.worker.sink(now)
    }

    fn after_input(&self, now: Instant) {
        self.pump(now);
        // What has become later is found out when the timer wakes up.
        let due = self.deadline(now);
        if due.is_some_and(|due| self.armed.get().is_none_or(|armed| due < armed)) {
            self.armed.set(due);
            self.rearm.notify_one();
        }
    }

    fn pump(&self, now: Instant) {
        loop {
            let event = self.fanout.borrow_mut().poll_event();
            match event {
                None => return,
                Some(FanoutEvent::KeyframeWanted { track }) => {
                    self.worker.request_keyframe(&self.handle, now, track)
                }
                Some(FanoutEvent::ReaderReport { id, track, report }) => {
                    self.observe_report(id, track, &report)
                }
                Some(FanoutEvent::ReaderBye { id }) => self.tell_owner(id, EndReason::ReaderBye),
                Some(FanoutEvent::ReaderStalled { id }) => self.tell_owner(id, EndReason::Stalled),
            }
        }
    }

    fn observe_report(&self, id: ReaderId, track: usize, report: &ReaderReport) {
        // Negative where more came twice than were lost.
        let lost = u32::try_from(report.cumulative_lost).unwrap_or(0);
        let mut reported = self.reported.borrow_mut();
        let before = reported.entry((id, track)).or_default();
        self.handle.observe_reader(report, lost.saturating_sub(*before));
        *before = lost.max(*before);
    }

    /// Whether this is the shard of another worker's stream, and nobody reads it here any more.
    pub(crate) fn is_unused(&self, worker: usize) -> bool {
        self.handle.worker != worker && self.fanout.borrow().readers() == 0
    }

    fn tell_owner(&self, id: ReaderId, reason: EndReason) {
        let owner = self.owners.borrow_mut().remove(&id);
        if let Some(on_end) = owner {
            on_end(reason);
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        self.fanout.borrow().poll_timeout().map(|due| super::wake_at(due, self.worker.epoch, now))
    }
}

/// Adds what of these lines went to members.
fn add_to_members<'a>(so_far: Sent, lines: impl Iterator<Item = (&'a Dest, ReaderCounters)>) -> Sent {
    lines
        .filter(|(dest, _)| matches!(dest, Dest::Hop(_)))
        .fold(so_far, |sum, (_, counters)| sum.add(counters.packets, counters.bytes))
}

async fn timer(shard: Weak<Shard>, rearm: Rc<Notify>) {
    loop {
        let Some(strong) = shard.upgrade() else { return };
        let deadline = strong.deadline(Instant::now());
        strong.armed.set(deadline);
        drop(strong);
        super::wait(deadline, &rearm).await;
        let Some(shard) = shard.upgrade() else { return };
        let now = Instant::now();
        if shard.deadline(now).is_some_and(|at| at <= now) {
            shard.fanout.borrow_mut().handle_timeout(now, &mut shard.sink(now));
            shard.pump(now);
        }
        if shard.ended.get() {
            return;
        }
    }
}

async fn follow(shard: Weak<Shard>, mut receiver: FeedReceiver) {
    let wake = receiver.wake();
    loop {
        let Some(strong) = shard.upgrade() else { return };
        while let Some(item) = receiver.try_recv() {
            let now = Instant::now();
            match item {
                Feed::Burst(mut burst) => {
                    {
                        let mut table = strong.worker.segments.borrow_mut();
                        let arrival = burst.arrival.unwrap_or(now);
                        let mut parts =
                            Burst::from_parts(&mut burst.bytes, &burst.parts, arrival, 0, &mut table);
                        strong.handle_rtp(now, burst.track, &mut parts);
                    }
                    receiver.recycle(burst);
                }
                Feed::SenderReport { track, clock } => strong.handle_sender_report(now, track, clock),
                Feed::Cname { track, cname } => strong.set_cname(track, cname),
                Feed::SourceChanged { track } => strong.handle_source_changed(now, track),
                Feed::Expect { track, live } => strong.expect(track, live),
                Feed::Renumber { track, by } => strong.renumber(track, by),
                Feed::RtpInfo { track, info } => strong.handle_rtp_info(now, track, info),
                Feed::ParameterSets { track, sets } => strong.set_parameter_sets(track, &sets),
                Feed::Snapshot(snapshot) => strong.fanout.borrow_mut().restore(now, *snapshot),
                Feed::Flush => strong.flush(now),
                Feed::Ended => strong.end(now),
            }
        }
        if receiver.is_finished() {
            strong.end(Instant::now());
            return;
        }
        drop(strong);
        wake.notified().await;
    }
}
