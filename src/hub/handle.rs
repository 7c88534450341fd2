//! What any thread may know and ask of a stream.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use msm_core::hub::{Fanout, FanoutConfig, Ingest, ReaderReport, RtpInfo, TrackInfo};
use msm_rtsp::headers::Range;
use msm_rtsp::sdp::Description;
use tokio::sync::{mpsc, oneshot};

use super::dest::Dest;
use super::succession::Origin;
use crate::error::Error;
use crate::events::{EndCause, Event, EventKind, Events, Following, Subscribers};
use crate::metrics::{HopKind, HubObserver, RouteMetrics, Sent};
use crate::shared::Settings;
use crate::upstream::mend::Mended;

/// Asked of a stream whose upstream this process pulls from.
pub(crate) enum Command {
    /// Set the tracks up, so that readers can be added before media flows.
    Prepare {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Play {
        request: PlayRequest,
        reply: oneshot::Sender<Result<PlayAnswer, Error>>,
    },
    Pause {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Parameter {
        request: ParameterRequest,
        reply: oneshot::Sender<Result<ParameterAnswer, Error>>,
    },
}

/// What a reader's PLAY carries, passed on where the upstream session is that reader's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlayRequest {
    pub(crate) range: Option<Range>,
    pub(crate) scale: Option<String>,
    pub(crate) speed: Option<String>,
}

/// What the upstream answered to PLAY.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlayAnswer {
    pub(crate) range: Option<Range>,
    pub(crate) scale: Option<String>,
    pub(crate) speed: Option<String>,
    /// Upstream's first packet of each track, in the publisher's numbers.
    pub(crate) rtp_info: Vec<(usize, RtpInfo)>,
}

/// A GET_PARAMETER or SET_PARAMETER with a body, for the upstream.
#[derive(Clone, Debug)]
pub(crate) struct ParameterRequest {
    pub(crate) set: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// The upstream's answer to it.
#[derive(Clone, Debug)]
pub(crate) struct ParameterAnswer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// One stream inside this process.
pub(crate) struct HubHandle {
    pub(crate) id: u64,
    /// The worker that is home to it.
    pub(crate) worker: usize,
    /// For people: where it comes from, without credentials.
    pub(crate) name: String,
    pub(crate) description: Arc<Description>,
    tracks: Arc<[TrackInfo]>,
    /// One upstream session for one reader: seeks, scale and pauses are that reader's.
    pub(crate) unshared: bool,
    pub(crate) coalesce: Duration,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// Where it comes from now.
    pub(crate) source: Origin,
    observer: HubObserver,
    control: Option<mpsc::Sender<Command>>,
    readers: AtomicUsize,
    claimed: AtomicBool,
    ended: OnceLock<EndCause>,
    events: Arc<Subscribers>,
    /// It is wanted whether anybody reads it or not.
    standing: AtomicBool,
    /// Its publisher has gone, and it is kept for one that comes back.
    waiting: AtomicBool,
    /// Another stream has taken its place: its readers have gone over.
    pub(crate) succeeded: tokio::sync::Notify,
    /// Its publisher has gone, and another one is let in.
    pub(crate) vacated: tokio::sync::Notify,
}

/// As long as this is there, the stream is kept without readers.
pub(crate) struct Standing(Arc<HubHandle>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.standing.store(false, Ordering::Release);
    }
}

/// What a stream is made of.
pub(crate) struct HubParts {
    pub(crate) id: u64,
    pub(crate) worker: usize,
    pub(crate) name: String,
    pub(crate) description: Arc<Description>,
    pub(crate) unshared: bool,
    pub(crate) coalesce: Duration,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// What the stream comes by.
    pub(crate) comes: HopKind,
    pub(crate) control: Option<mpsc::Sender<Command>>,
    pub(crate) events: Arc<Subscribers>,
}

impl HubHandle {
    pub(crate) fn new(parts: HubParts) -> Arc<Self> {
        let tracks: Arc<[TrackInfo]> = parts.description.track_infos().into();
        // Keys end with the hop that they are of: readers may be anybody.
        let has_keys = parts.description.tracks.iter().any(|track| !track.keying.is_empty());
        let description = if has_keys {
            Arc::new(Description::clone(&parts.description).without_keys())
        } else {
            parts.description
        };
        Arc::new(Self {
            id: parts.id,
            worker: parts.worker,
            name: parts.name,
            observer: HubObserver::new(tracks.len(), parts.comes),
            tracks,
            description,
            unshared: parts.unshared,
            coalesce: parts.coalesce,
            metrics: parts.metrics,
            source: Origin::default(),
            control: parts.control,
            readers: AtomicUsize::new(0),
            claimed: AtomicBool::new(false),
            ended: OnceLock::new(),
            events: parts.events,
            standing: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            succeeded: tokio::sync::Notify::new(),
            vacated: tokio::sync::Notify::new(),
        })
    }

    pub(crate) fn tracks(&self) -> Arc<[TrackInfo]> {
        Arc::clone(&self.tracks)
    }

    pub(crate) fn observer(&self) -> &HubObserver {
        &self.observer
    }

    /// It comes by this from now on.
    pub(crate) fn set_comes(&self, comes: HopKind) {
        self.observer.set_comes(comes);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Why it is over, if it is.
    pub(crate) fn end_cause(&self) -> Option<&EndCause> {
        self.ended.get()
    }

    /// It is over; the first cause is what counts.
    pub(crate) fn set_ended(&self, cause: EndCause) {
        if self.ended.set(cause.clone()).is_ok() {
            self.tell(|| EventKind::Ended { cause });
        }
    }

    /// Tells whoever wants to know what happens to it.
    pub(crate) fn tell(&self, kind: impl FnOnce() -> EventKind) {
        self.events.tell(Some(self.id), || (self.name.clone(), kind()));
    }

    /// What happens to it, or to what takes its place by then.
    pub(crate) fn events(&self, following: Following) -> Events {
        self.events.add_for(following, || {
            let kind = EventKind::Ended { cause: self.end_cause()?.clone() };
            Some(Event { stream: Some(self.id), name: self.name.clone(), kind })
        })
    }

    /// Whether its publisher has gone.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    pub(crate) fn set_waiting(&self) {
        self.waiting.store(true, Ordering::Release);
    }

    /// Readers that hold it.
    pub(crate) fn readers(&self) -> usize {
        self.readers.load(Ordering::Acquire)
    }

    /// Takes an unshared stream for the one reader that it serves. The first caller gets it.
    pub(crate) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// Keeps the stream up while the lease lives.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        self.readers.fetch_add(1, Ordering::AcqRel);
        self.metrics.readers.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(self))
    }

    /// Makes sure that the stream's home is there.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        let Some(control) = &self.control else { return Ok(()) };
        let (reply, answer) = oneshot::channel();
        control.send(Command::Prepare { reply }).await.map_err(|_| Error::StreamEnded)?;
        answer.await.map_err(|_| Error::StreamEnded)?
    }

    /// Makes sure that media flows. Shared streams ignore the request's range: they play what is live.
    pub(crate) async fn play(&self, request: PlayRequest) -> Result<PlayAnswer, Error> {
        let Some(control) = &self.control else { return Ok(PlayAnswer::default()) };
        let (reply, answer) = oneshot::channel();
        control.send(Command::Play { request, reply }).await.map_err(|_| Error::StreamEnded)?;
        answer.await.map_err(|_| Error::StreamEnded)?
    }

    /// Pauses the upstream of an unshared stream.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        let Some(control) = &self.control else { return Ok(()) };
        let (reply, answer) = oneshot::channel();
        control.send(Command::Pause { reply }).await.map_err(|_| Error::StreamEnded)?;
        answer.await.map_err(|_| Error::StreamEnded)?
    }

    /// Passes a parameter request to the upstream; `None` where this process is the origin.
    pub(crate) async fn parameter(
        &self,
        request: ParameterRequest,
    ) -> Option<Result<ParameterAnswer, Error>> {
        let control = self.control.as_ref()?;
        let (reply, answer) = oneshot::channel();
        if control.send(Command::Parameter { request, reply }).await.is_err() {
            return Some(Err(Error::StreamEnded));
        }
        Some(answer.await.unwrap_or(Err(Error::StreamEnded)))
    }

    /// Keeps the stream without readers; its route's `idle_timeout` begins when what this returns is dropped.
    pub(crate) fn stand(self: &Arc<Self>) -> Standing {
        self.standing.store(true, Ordering::Release);
        Standing(Arc::clone(self))
    }

    pub(crate) fn is_standing(&self) -> bool {
        self.standing.load(Ordering::Acquire)
    }

    pub(crate) fn fanout_config(&self, settings: &Settings) -> FanoutConfig {
        settings.fanout.clone()
    }

    pub(crate) fn observe_ingest(&self, ingest: &Ingest) {
        self.observer.ingest(&self.metrics, ingest);
    }

    /// Counts what brought lost packets back.
    pub(crate) fn observe_mended(&self, mended: Mended) {
        self.observer.mended(&self.metrics, mended);
    }

    /// `to_members` is what of it went to members.
    pub(crate) fn observe_fanout(&self, worker: usize, fanout: &Fanout<Dest>, to_members: Sent) {
        self.observer.fanout(&self.metrics, worker, fanout, to_members);
    }

    /// Counts what a reader reported: `lost` packets more than before.
    pub(crate) fn observe_reader(&self, report: &ReaderReport, lost: u32) {
        self.metrics.reader_lost.inc_by(u64::from(lost));
        if let Some(rtt) = report.rtt {
            self.metrics.observe_rtt(rtt);
        }
    }
}

/// A reader's hold on a stream.
pub(crate) struct Lease(Arc<HubHandle>);

impl Lease {
    /// The stream.
    pub(crate) fn handle(&self) -> Arc<HubHandle> {
        Arc::clone(&self.0)
    }
}

impl std::ops::Deref for Lease {
    type Target = Arc<HubHandle>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
