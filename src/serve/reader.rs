//! A session that reads: where each track goes, and the reader it becomes on a worker.

mod moving;

pub(crate) use self::moving::Form;

use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use msm_core::hub::{History, ReaderId, ReaderSetup, ReaderTrack, RtpInfo};
use msm_core::route::Protection;

use super::group::GroupReader;
use crate::error::Error;
use crate::hop::inlet::{Inlet, Target};
use crate::hop::outlet::Outlet;
use crate::hub::dest::Dest;
use crate::hub::handle::{HubHandle, Lease, PlayAnswer, PlayRequest};
use crate::hub::receive::{Latch, OnReport, Receiving, receive_latching};
use crate::hub::registry::ReaderRef;
use crate::hub::rtx::{Again, HISTORY};
use crate::hub::shard::{EndReason, OnEnd, Shard};
use crate::net::pair::Pair;
use crate::net::tcp::Connection;
use crate::quota::QuotaPass;
use crate::srtp::SecureTrack;
use crate::worker::Worker;

/// UDP readers up to this number stay on the stream's home worker: a second worker's wake-up costs more than it saves.
const SPREAD_ABOVE: usize = 64;

/// How one track reaches the reader.
pub(crate) enum Path {
    /// From the pair that all plain readers of a listener share.
    Shared { listener: usize, rtp_to: SocketAddr, rtcp_to: SocketAddr, source: Option<IpAddr> },
    /// From a pair of its own, to wherever on its address the reader's packets come from.
    Own { pair: Pair, rtp_to: SocketAddr, rtcp_to: SocketAddr },
    /// Interleaved in the session's connection.
    Interleaved { connection: Rc<Connection>, rtp: u8, rtcp: u8 },
    /// To another member.
    Hop { inlet: Rc<Inlet>, outlet: Rc<Outlet> },
    /// Sent once to a group for all multicast readers of the stream.
    Group(Arc<GroupReader>),
}

/// One track that was set up.
pub(crate) struct TrackPath {
    pub(crate) track: usize,
    pub(crate) ssrc: u32,
    pub(crate) path: Path,
    /// What protects it, where it is SRTP.
    pub(crate) secure: Option<Rc<SecureTrack>>,
    /// How it gets what it lost, if it does.
    pub(crate) again: Option<Again>,
}

/// The reader of a session.
pub(crate) struct ReaderRole {
    pub(crate) lease: Lease,
    pub(crate) tracks: Vec<TrackPath>,
    /// What the route that it came by does against loss.
    pub(crate) protection: Protection,
    /// Whether it gets nothing that was kept of the stream.
    pub(crate) fresh: bool,
    placed: Option<Placed>,
    /// Whether its last PLAY or PAUSE left it playing.
    playing: bool,
    seed: u64,
    _quota: QuotaPass,
}

/// Where the reader lives once it plays.
struct Placed {
    worker: usize,
    hub: u64,
    id: ReaderId,
    reports: Vec<SocketAddr>,
    _receiving: Vec<Receiving>,
    owner: Weak<Worker>,
}

/// A track on its way to the worker that it is sent from.
struct Entering {
    track: usize,
    ssrc: u32,
    again: Option<Again>,
    to: Portable,
}

/// A path without the sockets of a worker, so that it can go to another.
enum Portable {
    Shared { listener: usize, rtp_to: SocketAddr, rtcp_to: SocketAddr, source: Option<IpAddr> },
    Local(Dest),
}

impl ReaderRole {
    pub(crate) fn new(lease: Lease, protection: Protection, seed: u64, quota: QuotaPass) -> Self {
        let tracks = Vec::new();
        Self { lease, tracks, protection, fresh: false, placed: None, playing: false, seed, _quota: quota }
    }

    /// The worker and reader, once it plays.
    pub(crate) fn placed(&self) -> Option<(usize, u64, ReaderId)> {
        self.placed.as_ref().map(|placed| (placed.worker, placed.hub, placed.id))
    }

    /// Whether the media goes through `connection`, so that the reader ends with it.
    pub(crate) fn is_interleaved(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.path, Path::Interleaved { .. }))
    }

    /// Starts or resumes: the reader is armed before the upstream is asked to play, so that nothing is missed.
    ///
    /// Answers the upstream's word and, for each track, the first packet's numbers where they are known.
    pub(crate) async fn play(
        &mut self,
        worker: &Rc<Worker>,
        request: PlayRequest,
        on_end: impl Fn() -> OnEnd,
    ) -> Result<(PlayAnswer, Vec<(usize, RtpInfo)>), Error> {
        let handle = Arc::clone(&self.lease);
        if self.placed.is_none() {
            self.place(worker, on_end).await?;
        }
        let infos = self.start(worker).await?;
        let answer = match handle.play(request).await {
            Ok(answer) => answer,
            Err(error) => {
                if !self.playing {
                    self.stop(worker).await?;
                }
                return Err(error);
            }
        };
        self.playing = true;
        let mut known = Vec::new();
        for track in &self.tracks {
            let own = infos.iter().find(|(index, _)| *index == track.track).and_then(|(_, info)| *info);
            let upstream =
                answer.rtp_info.iter().find(|(index, _)| *index == track.track).map(|(_, info)| *info);
            // A shared stream's reader starts at a keyframe, which need not be the upstream's first packet: a number
            // that is not sure is worse than none, as players drop what comes before it.
            let info = match upstream.filter(|_| handle.unshared) {
                Some(upstream) => self.map(worker, track.track, upstream).await.or(own),
                None => own,
            };
            known.extend(info.map(|info| (track.track, info)));
        }
        Ok((answer, known))
    }

    /// Pauses this reader, and its upstream where that is its own.
    pub(crate) async fn pause(&mut self, worker: &Rc<Worker>) -> Result<(), Error> {
        if self.placed.is_some() && self.lease.unshared {
            self.lease.pause().await?;
        }
        self.playing = false;
        self.stop(worker).await
    }

    async fn stop(&self, worker: &Rc<Worker>) -> Result<(), Error> {
        let Some((place, hub, id)) = self.placed() else { return Ok(()) };
        on_worker(worker, place, move |worker| {
            if let Some(shard) = worker.shard_of(hub) {
                shard.pause(Instant::now(), id);
            }
        })
        .await
    }

    async fn start(&self, worker: &Rc<Worker>) -> Result<Vec<(usize, Option<RtpInfo>)>, Error> {
        let Some((place, hub, id)) = self.placed() else { return Ok(Vec::new()) };
        on_worker(worker, place, move |worker| {
            let shard = worker.shard_of(hub).ok_or(Error::StreamEnded)?;
            shard.play(Instant::now(), id).map_err(Error::from)
        })
        .await?
    }

    async fn map(&self, worker: &Rc<Worker>, track: usize, upstream: RtpInfo) -> Option<RtpInfo> {
        let (place, hub, id) = self.placed()?;
        on_worker(worker, place, move |worker| worker.shard_of(hub)?.map_rtp_info(id, track, upstream))
            .await
            .ok()?
    }

    async fn place(&mut self, worker: &Rc<Worker>, on_end: impl Fn() -> OnEnd) -> Result<(), Error> {
        let handle = Arc::clone(&self.lease);
        handle.prepare().await?;
        let movable = self
            .tracks
            .iter()
            .all(|track| matches!(track.path, Path::Shared { .. }) && track.secure.is_none());
        let place = if movable { choose(worker, &handle) } else { worker.id };
        let reports = self.reports();
        let portable = self.tracks.iter().filter_map(|track| portable(worker, track).transpose());
        let portable: Vec<_> = portable.collect::<Result<_, _>>()?;
        let seed = self.seed;
        let late_join = !handle.unshared && !self.fresh;
        let own = Arc::clone(&handle);
        let id = at_place(worker, place, portable, on_end(), move |worker, tracks, on_end| {
            enter(worker, own, tracks, seed, late_join, on_end)
        })
        .await?;
        let latches = self.latches(worker, &handle, id);
        self.placed = Some(Placed::new(worker, place, &handle, id, reports, latches));
        Ok(())
    }

    /// Where reports about each track come from, of those that come to a port that readers share.
    fn reports(&self) -> Vec<(SocketAddr, usize)> {
        let of = |track: &TrackPath| match &track.path {
            Path::Shared { rtcp_to, .. } => Some((*rtcp_to, track.track)),
            _ => None,
        };
        self.tracks.iter().filter_map(of).collect()
    }

    /// Listens on pairs that are this reader's own.
    fn latches(&self, worker: &Rc<Worker>, handle: &Arc<HubHandle>, id: ReaderId) -> Vec<Receiving> {
        let mut receiving = Vec::new();
        for path in &self.tracks {
            let (hub, track) = (handle.id, path.track);
            if let Path::Hop { inlet, outlet } = &path.path {
                inlet.set_target(Target::Reports {
                    worker: Rc::downgrade(worker),
                    reader: ReaderRef { owner: worker.id, worker: worker.id, hub, reader: id, track },
                    of: Rc::downgrade(outlet),
                });
            }
            let Path::Own { pair, rtp_to, .. } = &path.path else { continue };
            let at = Rc::downgrade(worker);
            let latch: Latch = Rc::new(move |from, rtcp| {
                let Some(shard) = at.upgrade().and_then(|worker| worker.shard_of(hub)) else { return };
                shard.with_dest(id, track, |dest| dest.follow(from, rtcp));
            });
            let at = Rc::downgrade(worker);
            let on_report: OnReport = Rc::new(move |datagram| {
                if let Some(worker) = at.upgrade() {
                    worker.handle_report(
                        ReaderRef { owner: worker.id, worker: worker.id, hub, reader: id, track },
                        datagram,
                    );
                }
            });
            receiving.push(receive_latching(worker, pair, rtp_to.ip(), &latch, &on_report));
        }
        receiving
    }
}

impl Placed {
    /// The reader `id` of the stream on the worker `place`, whose reports come from these addresses.
    fn new(
        worker: &Rc<Worker>,
        place: usize,
        handle: &HubHandle,
        id: ReaderId,
        reports: Vec<(SocketAddr, usize)>,
        receiving: Vec<Receiving>,
    ) -> Self {
        for (from, track) in &reports {
            let (owner, hub, track) = (worker.id, handle.id, *track);
            worker.shared.reports.insert(*from, ReaderRef { owner, worker: place, hub, reader: id, track });
        }
        let reports = reports.into_iter().map(|(from, _)| from).collect();
        let owner = Rc::downgrade(worker);
        Self { worker: place, hub: handle.id, id, reports, _receiving: receiving, owner }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let Some(owner) = self.owner.upgrade() else { return };
        for from in &self.reports {
            owner.shared.reports.remove(*from, self.id, self.hub);
        }
        let (hub, id) = (self.hub, self.id);
        if let Ok(place) = owner.shared.worker(self.worker) {
            let _ = place.post(move |worker| {
                if let Some(shard) = worker.shard_of(hub) {
                    shard.remove(Instant::now(), id, true);
                }
            });
        }
    }
}

/// Runs `job` on a worker: at once if it is this one.
async fn on_worker<T: Send + 'static>(
    worker: &Rc<Worker>,
    place: usize,
    job: impl FnOnce(&Rc<Worker>) -> T + Send + 'static,
) -> Result<T, Error> {
    if place == worker.id { Ok(job(worker)) } else { worker.shared.worker(place)?.call(job).await }
}

/// Enters a reader by `enter` on a worker, at once if it is this one: what ends it there is told here.
async fn at_place<F>(
    worker: &Rc<Worker>,
    place: usize,
    tracks: Vec<Entering>,
    on_end: OnEnd,
    enter: impl FnOnce(Rc<Worker>, Vec<Entering>, OnEnd) -> F + Send + 'static,
) -> Result<ReaderId, Error>
where
    F: Future<Output = Result<ReaderId, Error>> + 'static,
{
    if place == worker.id {
        return enter(Rc::clone(worker), tracks, on_end).await;
    }
    let tracks: Vec<_> = tracks.into_iter().filter_map(Sendable::new).collect();
    let (tell, told) = tokio::sync::oneshot::channel::<EndReason>();
    tokio::task::spawn_local(async move {
        if let Ok(reason) = told.await {
            on_end(reason);
        }
    });
    let entered = worker.shared.worker(place)?.run(move |worker| {
        let on_end: OnEnd = Box::new(move |reason| {
            let _ = tell.send(reason);
        });
        enter(worker, tracks.into_iter().map(Sendable::open).collect(), on_end)
    });
    entered.await?
}

/// The home of the stream while it has few readers, then the worker that has the fewest of it.
fn choose(worker: &Rc<Worker>, handle: &Arc<HubHandle>) -> usize {
    let readers = handle.readers();
    if readers <= SPREAD_ABOVE {
        return handle.worker;
    }
    // Readers come one by one: turn by turn keeps the shards even without asking each for its number.
    (handle.worker + readers) % worker.shared.worker_count().max(1)
}

/// The path of a track; keys stay on the session's worker.
fn portable(worker: &Rc<Worker>, track: &TrackPath) -> Result<Option<Entering>, Error> {
    let entering = |to| Entering { track: track.track, ssrc: track.ssrc, again: track.again.clone(), to };
    let dest = match &track.path {
        Path::Shared { listener, rtp_to, rtcp_to, source } => {
            let shared =
                Portable::Shared { listener: *listener, rtp_to: *rtp_to, rtcp_to: *rtcp_to, source: *source };
            match &track.secure {
                None => return Ok(Some(entering(shared))),
                Some(_) => shared.open(worker)?,
            }
        }
        Path::Own { pair, rtp_to, rtcp_to } => Dest::Udp {
            rtp: Rc::clone(&pair.rtp),
            rtcp: Rc::clone(&pair.rtcp),
            rtp_to: *rtp_to,
            rtcp_to: *rtcp_to,
            source: None,
        },
        Path::Interleaved { connection, rtp, rtcp } => {
            Dest::Tcp { connection: Rc::clone(connection), rtp_channel: *rtp, rtcp_channel: *rtcp }
        }
        Path::Hop { outlet, .. } => Dest::Hop(Rc::clone(outlet)),
        // The group is a reader of its own.
        Path::Group(_) => return Ok(None),
    };
    Ok(Some(entering(Portable::Local(dest.secured(track.secure.as_ref())))))
}

impl Portable {
    /// The destination, with sockets of this worker.
    fn open(self, worker: &Worker) -> Result<Dest, Error> {
        match self {
            Portable::Local(dest) => Ok(dest),
            Portable::Shared { listener, rtp_to, rtcp_to, source } => {
                let pair = worker.reader_pair(listener).ok_or(Error::Stopped)?;
                Ok(Dest::Udp { rtp: pair.rtp, rtcp: pair.rtcp, rtp_to, rtcp_to, source })
            }
        }
    }
}

/// The part of [`Portable`] that may cross threads.
struct Sendable {
    track: usize,
    ssrc: u32,
    again: Option<Again>,
    listener: usize,
    rtp_to: SocketAddr,
    rtcp_to: SocketAddr,
    source: Option<IpAddr>,
}

impl Sendable {
    fn new(entering: Entering) -> Option<Self> {
        let Entering { track, ssrc, again, to } = entering;
        match to {
            Portable::Shared { listener, rtp_to, rtcp_to, source } => {
                Some(Self { track, ssrc, again, listener, rtp_to, rtcp_to, source })
            }
            Portable::Local(_) => None,
        }
    }

    fn open(self) -> Entering {
        let Self { track, ssrc, again, listener, rtp_to, rtcp_to, source } = self;
        Entering { track, ssrc, again, to: Portable::Shared { listener, rtp_to, rtcp_to, source } }
    }
}

/// Enters the reader into the stream's shard on `worker`.
async fn enter(
    worker: Rc<Worker>,
    handle: Arc<HubHandle>,
    tracks: Vec<Entering>,
    seed: u64,
    late_join: bool,
    on_end: OnEnd,
) -> Result<ReaderId, Error> {
    let shard = worker.shard(&handle).await?;
    enter_in(&worker, &shard, tracks, seed, late_join, on_end)
}

/// The same, into a shard of this worker.
fn enter_in(
    worker: &Rc<Worker>,
    shard: &Rc<Shard>,
    tracks: Vec<Entering>,
    seed: u64,
    late_join: bool,
    on_end: OnEnd,
) -> Result<ReaderId, Error> {
    let mut reader_tracks = Vec::with_capacity(tracks.len());
    let (mut histories, mut hops) = (Vec::new(), Vec::new());
    for Entering { track, ssrc, again, to } in tracks {
        let at_once = match &again {
            Some(Again::Rtx(_)) => Some(true),
            Some(Again::AsItWas { at_once }) => Some(*at_once),
            Some(Again::Parity(_)) | None => None,
        };
        if let Some(at_once) = at_once {
            histories.push((track, History { age: HISTORY, answers: true, at_once }));
        }
        let dest = to.open(worker)?.again(again);
        if let Dest::Hop(outlet) = &dest {
            hops.push((track, Rc::clone(outlet)));
        }
        reader_tracks.push(ReaderTrack { track, dest, ssrc, payload_types: Vec::new() });
    }
    let now = Instant::now();
    let id = shard
        .add_reader(now, ReaderSetup { seed, tracks: reader_tracks, late_join }, on_end)
        .map_err(Error::from)?;
    for (track, history) in histories {
        shard.set_history(now, id, track, history);
    }
    for (track, outlet) in hops {
        outlet.keep_in(shard, id, track);
    }
    Ok(id)
}
