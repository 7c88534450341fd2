//! A stream at its home worker: what comes from the publisher, and who gets it.

mod heard;
mod timer;
mod twins;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_auth::srtp::SrtpError;
use msm_core::burst::Burst;
use msm_core::hub::{Ingest, IngestEvent, Kind, Outgoing, Sink};
use tokio::sync::Notify;

use self::heard::Heard;
use self::twins::Twinned;
use super::coalesce::Coalescer;
use super::dest::Dest;
use super::feed::{Feed, FeedReceiver, FeedSender, channel};
use super::handle::HubHandle;
use super::shard::Shard;
use crate::cluster::Held;
use crate::srtp::SecureTrack;
use crate::upstream::mend::{Mend, Mended};
use crate::worker::Worker;

/// Largest RTCP datagram written: reports of one source, CNAME and feedback.
const RTCP_BYTES: usize = 512;

/// Largest datagram that asks for packets: names every other one of the most that one request names.
const REQUEST_BYTES: usize = 1200;

/// The publisher's side of one stream, on its home worker.
pub(crate) struct Home {
    pub(crate) handle: Arc<HubHandle>,
    worker: Rc<Worker>,
    ingest: RefCell<Ingest>,
    /// The home's own readers.
    pub(crate) shard: Rc<Shard>,
    /// Other workers with readers of this stream.
    remotes: RefCell<Vec<FeedSender>>,
    /// Where reports about each track go.
    upstream: RefCell<Vec<Option<Dest>>>,
    /// What opens each track that comes as SRTP.
    secure: RefCell<Vec<Option<Rc<SecureTrack>>>>,
    /// What brings lost packets of each track back, where the publisher offers it.
    mends: RefCell<Vec<Option<Box<Mend>>>>,
    /// Last time that media came, for the publisher's liveness.
    last_media: Cell<Instant>,
    /// What the source that there is now has brought and said.
    heard: Heard,
    /// A second source that brings the same, or what it is a second one of.
    twinned: Twinned,
    /// What waits for fuller bursts, where the route allows it.
    held: RefCell<Option<Coalescer>>,
    rearm: Rc<Notify>,
    ended: Cell<bool>,
    /// Told once when the stream ends, for the session that publishes it.
    on_end: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Home {
    /// Creates the home of a stream and starts its timer.
    pub(crate) fn start(worker: &Rc<Worker>, handle: Arc<HubHandle>, seed: u64, now: Instant) -> Rc<Self> {
        let tracks = handle.tracks();
        let shard = Shard::start(worker, Arc::clone(&handle), now);
        let home = Rc::new(Self {
            worker: Rc::clone(worker),
            ingest: RefCell::new(Ingest::new(
                Arc::clone(&tracks),
                worker.shared.settings().ingest.clone(),
                seed,
                now,
            )),
            shard,
            remotes: RefCell::default(),
            upstream: RefCell::new(tracks.iter().map(|_| None).collect()),
            secure: RefCell::new(tracks.iter().map(|_| None).collect()),
            mends: RefCell::new(tracks.iter().map(|_| None).collect()),
            last_media: Cell::new(now),
            heard: Heard::new(now),
            twinned: Twinned::default(),
            held: RefCell::new(Coalescer::new(handle.coalesce, tracks.len())),
            rearm: Rc::new(Notify::new()),
            ended: Cell::new(false),
            on_end: RefCell::new(None),
            handle,
        });
        worker.homes.borrow_mut().insert(home.handle.id, Rc::clone(&home));
        tokio::task::spawn_local(timer::run(Rc::downgrade(&home), Rc::clone(&home.rearm)));
        home
    }

    /// Names where reports about `track` are sent.
    pub(crate) fn set_upstream(&self, track: usize, dest: Dest) {
        if let Some(slot) = self.upstream.borrow_mut().get_mut(track) {
            *slot = Some(dest);
        }
    }

    /// As [`Self::set_upstream`], with what opens the track: only what is genuine comes in from now on. Reports come from
    /// `ssrc`, which the peer was told.
    pub(crate) fn set_secure(&self, track: usize, dest: Dest, secure: Option<&Rc<SecureTrack>>, ssrc: u32) {
        if secure.is_some() {
            self.ingest.borrow_mut().set_own_ssrc(track, ssrc);
        }
        self.set_upstream(track, dest.secured(secure));
        if let Some(slot) = self.secure.borrow_mut().get_mut(track) {
            *slot = secure.map(Rc::clone);
        }
    }

    /// Names what brings lost packets of a track back from now on, if anything does.
    pub(crate) fn set_mend(&self, track: usize, mend: Option<Mend>) {
        if let Some(slot) = self.mends.borrow_mut().get_mut(track) {
            *slot = mend.map(Box::new);
        }
    }

    fn secure(&self, track: usize) -> Option<Rc<SecureTrack>> {
        self.secure.borrow().get(track)?.as_ref().map(Rc::clone)
    }

    fn refuse(&self, error: SrtpError) {
        self.handle.metrics.add_dropped(error.name(), 1);
    }

    /// Names who is told when the stream ends.
    pub(crate) fn set_on_end(&self, on_end: Box<dyn FnOnce()>) {
        *self.on_end.borrow_mut() = Some(on_end);
    }

    /// Has `held`, which the stream comes from, say what its packets show.
    pub(crate) fn observe(&self, now: Instant, held: &Held) {
        held.observe(now, &self.ingest.borrow());
    }

    /// When media last came in.
    pub(crate) fn last_media(&self) -> Instant {
        self.last_media.get()
    }

    /// Packets of one GRO buffer: equal sizes but for the last.
    pub(crate) fn handle_run(&self, now: Instant, track: usize, bytes: &mut [u8], stride: usize) {
        if let Some(secure) = self.secure(track) {
            let (length, stride) = (bytes.len(), stride.max(1));
            let places = (0..length).step_by(stride).map(|at| (at, stride.min(length - at)));
            return secure.open(bytes, places, &mut |error| self.refuse(error), |bytes, parts| {
                self.handle_plain_parts(now, track, bytes, parts);
            });
        }
        let mut table = self.worker.segments.borrow_mut();
        let burst = Burst::from_gro(bytes, stride, now, 0, &mut table);
        self.handle_burst(now, track, burst);
    }

    /// Packets at the given offsets and lengths, as interleaved frames come.
    pub(crate) fn handle_parts(
        &self,
        now: Instant,
        track: usize,
        bytes: &mut [u8],
        parts: &[(usize, usize)],
    ) {
        match self.secure(track) {
            Some(secure) => {
                let places = parts.iter().copied();
                secure.open(bytes, places, &mut |error| self.refuse(error), |bytes, parts| {
                    self.handle_plain_parts(now, track, bytes, parts);
                });
            }
            None => self.handle_plain_parts(now, track, bytes, parts),
        }
    }

    fn handle_plain_parts(&self, now: Instant, track: usize, bytes: &mut [u8], parts: &[(usize, usize)]) {
        let mut table = self.worker.segments.borrow_mut();
        let mut burst = Burst::from_parts(bytes, parts, now, 0, &mut table);
        burst.compact();
        self.handle_burst(now, track, burst);
    }

    fn handle_burst(&self, now: Instant, track: usize, mut burst: Burst<'_>) {
        if self.ended.get() {
            return;
        }
        let mut mends = self.mends.borrow_mut();
        let Some(Some(mend)) = mends.get_mut(track) else {
            return self.handle_ordered(now, track, &mut burst);
        };
        let source = self.ingest.borrow().source(track);
        let due = mend.poll_timeout();
        mend.handle(now, source, &mut burst, &mut |burst| self.handle_ordered(now, track, burst));
        self.ask_again(now, track, mend);
        if mend.poll_timeout() != due {
            self.rearm.notify_one();
        }
    }

    /// Asks the publisher for what is missing.
    fn ask_again(&self, now: Instant, track: usize, mend: &mut Mend) {
        let mut out = [0; REQUEST_BYTES];
        loop {
            let ingest = self.ingest.borrow();
            let Some((mut writer, own, _)) = ingest.feedback(track, &mut out) else { return };
            if !mend.poll_request(now, &mut writer, own) {
                return;
            }
            let length = writer.len();
            drop(ingest);
            self.send_up(now, track, out.get_mut(..length).unwrap_or_default());
        }
    }

    /// Packets that nothing in front of the ingest has to do with.
    fn handle_ordered(&self, now: Instant, track: usize, burst: &mut Burst<'_>) {
        let mut ingest = self.ingest.borrow_mut();
        ingest.handle_rtp(now, track, burst);
        self.last_media.set(now);
        if burst.valid() > 0 && self.heard.media(now) {
            self.taken_over(now);
        }
        // A change of source holds for this burst: readers are told before they get it.
        self.pump(now, &mut ingest);
        drop(ingest);
        self.meet(now, track, burst);
        self.deliver(now, track, burst);
    }

    /// Packets of the stream's line, for its readers.
    fn deliver(&self, now: Instant, track: usize, burst: &mut Burst<'_>) {
        if burst.valid() == 0 {
            return;
        }
        if let Some(held) = &mut *self.held.borrow_mut() {
            let waiting = held.poll_timeout();
            for (index, segment) in burst.segments().iter().enumerate() {
                if segment.valid
                    && let Some(packet) = burst.packet(index)
                {
                    held.push(now, track, packet, &mut |track, burst| self.fan_out(now, track, burst));
                }
            }
            if held.poll_timeout() != waiting {
                self.rearm.notify_one();
            }
            return;
        }
        self.fan_out(now, track, burst);
    }

    fn fan_out(&self, now: Instant, track: usize, burst: &mut Burst<'_>) {
        // Before the fan-out: it patches the headers in place.
        for remote in self.remotes.borrow_mut().iter_mut() {
            let valid = burst.segments().iter().enumerate().filter(|(_, segment)| segment.valid);
            remote.send_burst(track, now, valid.filter_map(|(index, _)| burst.packet(index)));
        }
        self.shard.handle_rtp(now, track, burst);
    }

    /// Sends what waits for fuller bursts: what comes next must not overtake it.
    fn flush_held(&self, now: Instant) {
        if let Some(held) = &mut *self.held.borrow_mut() {
            held.flush(&mut |track, burst| self.fan_out(now, track, burst));
        }
    }

    /// An RTCP datagram of the publisher.
    pub(crate) fn handle_rtcp(&self, now: Instant, track: usize, datagram: &[u8]) {
        let Some(secure) = self.secure(track) else { return self.handle_plain_rtcp(now, track, datagram) };
        let opened = secure.open_rtcp(datagram, |plain| self.handle_plain_rtcp(now, track, plain));
        opened.unwrap_or_else(|error| self.refuse(error));
    }

    fn handle_plain_rtcp(&self, now: Instant, track: usize, datagram: &[u8]) {
        let mut ingest = self.ingest.borrow_mut();
        ingest.handle_rtcp(now, track, datagram);
        self.last_media.set(now);
        self.pump(now, &mut ingest);
        drop(ingest);
        self.rearm.notify_one();
    }

    /// A reader cannot decode: asks the publisher for a keyframe, merged and rate limited.
    pub(crate) fn request_keyframe(&self, now: Instant, track: usize) {
        let mut ingest = self.ingest.borrow_mut();
        ingest.request_keyframe(now, track);
        self.pump(now, &mut ingest);
        drop(ingest);
        self.rearm.notify_one();
    }

    /// The publisher is about to jump (seek): what was kept is void, and a jump is no loss.
    pub(crate) fn restart(&self, now: Instant) {
        (0..self.handle.tracks().len()).for_each(|track| self.begin_anew(track));
        self.flush_held(now);
        self.mends.borrow_mut().iter_mut().flatten().for_each(|mend| mend.restart());
        self.ingest.borrow_mut().restart(now);
        self.tell_remotes(|| Feed::Flush);
        self.shard.flush(now);
    }

    /// Joins another worker: from now on it gets every burst, first of all what a late reader needs.
    pub(crate) fn attach(&self) -> FeedReceiver {
        let (mut sender, receiver) = channel();
        sender.send(Feed::Snapshot(Box::new(self.shard.snapshot())));
        self.remotes.borrow_mut().push(sender);
        receiver
    }

    /// The stream is over: readers get their BYE, other workers are told.
    pub(crate) fn end(&self, now: Instant) {
        if self.ended.replace(true) {
            return;
        }
        self.part();
        self.flush_held(now);
        self.publish_metrics();
        self.tell_remotes(|| Feed::Ended);
        self.shard.end(now);
        self.worker.homes.borrow_mut().remove(&self.handle.id);
        self.remotes.borrow_mut().clear();
        self.upstream.borrow_mut().clear();
        self.rearm.notify_one();
        let on_end = self.on_end.borrow_mut().take();
        if let Some(on_end) = on_end {
            on_end();
        }
    }

    /// Publishes what changed since the last call to the process's metrics.
    pub(crate) fn publish_metrics(&self) {
        self.remotes.borrow_mut().retain(|remote| !remote.is_abandoned());
        let ring: u64 =
            self.remotes.borrow_mut().iter_mut().map(|remote| std::mem::take(&mut remote.dropped)).sum();
        self.handle.metrics.add_dropped("worker_ring", ring);
        self.handle.observe_ingest(&self.ingest.borrow());
        let mends = self.mends.borrow();
        let mended = mends.iter().flatten().fold(Mended::default(), |sum, mend| sum.add(mend.mended()));
        self.handle.observe_mended(mended);
    }

    fn tell_remotes(&self, item: impl Fn() -> Feed) {
        for remote in self.remotes.borrow_mut().iter_mut() {
            remote.send(item());
        }
    }

    fn pump(&self, now: Instant, ingest: &mut Ingest) {
        while let Some(event) = ingest.poll_event() {
            match event {
                IngestEvent::SenderReport { track, clock } => {
                    self.tell_remotes(|| Feed::SenderReport { track, clock });
                    self.shard.handle_sender_report(now, track, clock);
                }
                IngestEvent::Cname { track, cname } => {
                    self.tell_remotes(|| Feed::Cname { track, cname: Arc::clone(&cname) });
                    self.shard.set_cname(track, cname);
                }
                IngestEvent::SourceChanged { track, .. } => {
                    self.begin_anew(track);
                    self.flush_held(now);
                    self.tell_remotes(|| Feed::SourceChanged { track });
                    self.shard.handle_source_changed(now, track);
                }
                IngestEvent::Bye { track } => {
                    let sources =
                        (0..self.handle.tracks().len()).filter(|track| ingest.source(*track).is_some());
                    self.heard.bye(now, track, sources);
                    tracing::debug!(hub = self.handle.id, track, "publisher said BYE");
                }
            }
        }
        let mut out = [0; RTCP_BYTES];
        while let Some((track, length)) = ingest.poll_transmit(now, &mut out) {
            self.send_up(now, track, out.get_mut(..length).unwrap_or_default());
        }
    }

    /// Sends RTCP to the publisher.
    fn send_up(&self, now: Instant, track: usize, bytes: &mut [u8]) {
        let mut upstream = self.upstream.borrow_mut();
        let Some(dest) = upstream.get_mut(track).and_then(Option::as_mut).filter(|_| !bytes.is_empty())
        else {
            return;
        };
        let (segment, kind) = (bytes.len(), Kind::Rtcp);
        let packets = Outgoing { track, kind, segment, bytes, ecn: 0, position: None, put_off: None };
        let _ = self.worker.sink(now).send(dest, packets);
    }
}
