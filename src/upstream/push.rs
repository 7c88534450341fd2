//! A stream published to an upstream: ANNOUNCE, SETUP, RECORD, and the upstream as one reader of the hub.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::hub::{ReaderId, ReaderSetup, ReaderTrack};
use msm_rtsp::message::Method;
use msm_rtsp::sdp::{Description, Feedback, TrackWay};
use msm_rtsp::transport::Mode;
use msm_rtsp::url::{join_control, track_control};
use tokio::sync::Notify;

use super::link::Link;
use super::reach::{self, Way};
use super::track::{Ask, UpstreamTrack, order, set_up};
use crate::cluster::Held;
use crate::error::Error;
use crate::events::{EndCause, EventKind};
use crate::hop;
use crate::hub::home::Home;
use crate::hub::parity::ParityPlan;
use crate::hub::receive::{Latch, OnReport, Receiving, receive_latching};
use crate::hub::registry::ReaderRef;
use crate::hub::rtx::{self, Again};
use crate::hub::shard::{EndReason, Shard};
use crate::routing::{ClusterSettings, Resolved, Transport};
use crate::srtp::{OwnKey, PeerKey, SUITE, random_ssrc};
use crate::worker::Worker;

/// How long a server is waited for to take our leave.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long an end that nobody told is noticed after, and how often the server's trust is looked at.
const TICK: Duration = Duration::from_millis(500);

/// Publishes the stream of `home` to an endpoint; when this returns, it records. The stream ends with the recording.
pub(crate) async fn start(
    worker: &Rc<Worker>,
    home: &Rc<Home>,
    resolved: &Resolved,
    description: &Description,
    via: Vec<String>,
) -> Result<(), Error> {
    let mut pushed = open(worker, &home.shard, resolved, description, via).await?;
    tracing::info!(hub = home.handle.id, upstream = pushed.name(), "stream is published upstream");
    home.handle.tell(|| EventKind::Connected { endpoint: pushed.name() });
    let (worker, home) = (Rc::clone(worker), Rc::clone(home));
    tokio::task::spawn_local(async move {
        let _pass = worker.upstream();
        let cause = match pushed.run().await {
            Ok(()) => EndCause::Shutdown,
            Err(why) => {
                tracing::warn!(
                    hub = home.handle.id,
                    upstream = pushed.name(),
                    why,
                    "publishing upstream ended"
                );
                why.into()
            }
        };
        let over = home.handle.is_ended();
        pushed.detach();
        if !over {
            // The publisher must know that nobody records it any more.
            home.handle.set_ended(cause);
            home.end(Instant::now());
        }
        pushed.leave().await;
    });
    Ok(())
}

/// Has an endpoint record what `shard` has.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    shard: &Rc<Shard>,
    resolved: &Resolved,
    description: &Description,
    via: Vec<String>,
) -> Result<Pushed, Error> {
    let settings = resolved.settings().ok_or(Error::StreamEnded)?;
    let mut attempts = resolved.attempts();
    let deadline = reach::Deadline::of(resolved);
    let mut last = None;
    loop {
        let held = match attempts.next() {
            Ok(held) => Rc::new(held),
            Err(why) => return Err(last.unwrap_or_else(|| reach::no_endpoint(resolved, why))),
        };
        let url = held.url.clone();
        let attempt = async {
            let link = match reach::way(worker, &settings, &url, &resolved.protection, &via).await? {
                Way::Plain(link) => link,
                Way::Member(peer) => {
                    let via = via.clone();
                    let opened = hop::push::open(worker, shard, resolved, peer, &held, description, via);
                    return opened.await.map(|own| Pushed::Member(Box::new(own)));
                }
            };
            let push = Push {
                worker: Rc::clone(worker),
                shard: Rc::clone(shard),
                settings: Arc::clone(&settings),
                description: description.clone(),
                via: via.clone(),
                parity: rtx::parity(&resolved.protection),
                held: Rc::clone(&held),
                stalled: Rc::default(),
            };
            let recording = push.begin(link).await?;
            Ok(Pushed::Plain(Box::new((push, recording))))
        };
        match deadline.keep(&url, attempt).await {
            Ok(pushed) => {
                held.report_success();
                return Ok(pushed);
            }
            Err(error) => {
                resolved.tell_failed(&settings.name, &error);
                held.report_failure(&error);
                if deadline.is_over() {
                    return Err(error);
                }
                last = Some(error);
            }
        }
    }
}

/// A session that publishes: a reader of a shard.
pub(crate) enum Pushed {
    Plain(Box<(Push, Recording)>),
    Member(Box<hop::push::Pushed>),
}

impl Pushed {
    /// The endpoint's URL, for people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Plain(own) => own.1.link.name().to_owned(),
            Self::Member(own) => own.name(),
        }
    }

    pub(crate) fn held(&self) -> &Held {
        match self {
            Self::Plain(own) => &own.0.held,
            Self::Member(own) => own.held(),
        }
    }

    /// Told when the endpoint did not take packets for so long that it gets no more.
    pub(crate) fn stalled(&self) -> Rc<Notify> {
        match self {
            Self::Plain(own) => Rc::clone(&own.0.stalled),
            Self::Member(own) => own.stalled(),
        }
    }

    /// Drives it until it ends: with its stream, with the process, or by the endpoint; the error is why that did.
    pub(crate) async fn run(&mut self) -> Result<(), String> {
        match self {
            Self::Plain(own) => own.0.run(&mut own.1).await,
            Self::Member(own) => own.run().await,
        }
    }

    /// The endpoint gets no more.
    pub(crate) fn detach(&self) {
        match self {
            Self::Plain(own) => drop(own.0.shard.remove(Instant::now(), own.1.id, true)),
            Self::Member(own) => own.detach(),
        }
    }

    /// Takes leave.
    pub(crate) async fn leave(self) {
        match self {
            Self::Plain(mut own) => leave(&mut own.1.link).await,
            Self::Member(own) => own.leave(),
        }
    }
}

/// What a session that publishes is made from, and made from again.
pub(crate) struct Push {
    worker: Rc<Worker>,
    shard: Rc<Shard>,
    settings: Arc<ClusterSettings>,
    description: Description,
    via: Vec<String>,
    /// Repair packets among the media, as a percentage of it, where the route says so.
    parity: Option<u8>,
    held: Rc<Held>,
    stalled: Rc<Notify>,
}

/// One such session: a reader of the hub.
pub(crate) struct Recording {
    link: Box<Link>,
    tracks: Vec<UpstreamTrack>,
    id: ReaderId,
    _receiving: Vec<Receiving>,
}

impl Push {
    /// Has the server record, and sends.
    async fn begin(&self, mut link: Box<Link>) -> Result<Recording, Error> {
        // What is encrypted by TLS goes by TCP, where nothing is lost.
        let parity = self.parity.filter(|_| !link.is_tls() && self.settings.transport != Transport::Tcp);
        let tracks = announce(&mut link, &self.settings, &self.description, parity.is_some()).await?;
        let types = self.description.rtx_types();
        let plan = |track: usize| {
            let (_, number) = types.get(track)?.first()?;
            ParityPlan::share(*number, parity?)
        };
        let (id, receiving) = self.attach(&tracks, &plan)?;
        let shard = &self.shard;
        let recorded = match record(&mut link).await {
            Ok(()) => shard.play(Instant::now(), id).map_err(Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            shard.remove(Instant::now(), id, false);
            return Err(error);
        }
        link.client.start_keep_alive(Instant::now());
        Ok(Recording { link, tracks, id, _receiving: receiving })
    }

    /// Goes on by a connection with the SVIDs of now, unless none can be had yet. Nobody is recorded twice: the session that
    /// was ends first.
    async fn renew(&self, recording: &mut Recording) -> Result<(), Error> {
        let hub = self.shard.handle.id;
        let next = match recording.link.again(&self.worker, &self.settings, self.via.clone()).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(hub, %error, "cannot go on with SVIDs of now yet");
                recording.link.postpone(Instant::now());
                return Ok(());
            }
        };
        self.shard.remove(Instant::now(), recording.id, false);
        leave(&mut recording.link).await;
        *recording = self.begin(Box::new(next)).await?;
        tracing::info!(hub, upstream = recording.link.name(), "goes on with SVIDs of now");
        Ok(())
    }

    /// Makes the upstream a reader of the hub.
    fn attach(
        &self,
        tracks: &[UpstreamTrack],
        parity: &dyn Fn(usize) -> Option<ParityPlan>,
    ) -> Result<(ReaderId, Vec<Receiving>), Error> {
        let Self { worker, shard, .. } = self;
        let mut rng = msm_core::rng::Rng::new(worker.shared.seed());
        let reader_tracks = tracks
            .iter()
            .enumerate()
            .map(|(track, upstream)| ReaderTrack {
                track,
                dest: upstream
                    .dest
                    .clone()
                    .secured(upstream.secure.as_ref())
                    .again(parity(track).map(Again::Parity)),
                ssrc: upstream.ssrc,
                payload_types: Vec::new(),
            })
            .collect();
        let setup = ReaderSetup { seed: rng.next_u64(), tracks: reader_tracks, late_join: true };
        let stalled = Rc::clone(&self.stalled);
        let on_end = Box::new(move |reason| {
            if reason != EndReason::StreamEnded {
                stalled.notify_one();
            }
        });
        let id = shard.add_reader(Instant::now(), setup, on_end).map_err(Error::from)?;
        let mut receiving = Vec::new();
        for (track, upstream) in tracks.iter().enumerate() {
            let Some((pair, check)) = &upstream.sockets else { continue };
            let Some(ip) = check.ip else { continue };
            let latch: Latch = Rc::new(|_: SocketAddr, _| {});
            let (at, hub) = (Rc::downgrade(worker), shard.handle.id);
            let on_report: OnReport = Rc::new(move |datagram| {
                if let Some(worker) = at.upgrade() {
                    worker.handle_report(
                        ReaderRef { owner: worker.id, worker: worker.id, hub, reader: id, track },
                        datagram,
                    );
                }
            });
            receiving.push(receive_latching(worker, pair, ip, &latch, &on_report));
        }
        Ok((id, receiving))
    }

    async fn run(&self, recording: &mut Recording) -> Result<(), String> {
        let Self { worker, shard, .. } = self;
        let mut stopping = worker.shared.stopping.subscribe();
        let mut tick = tokio::time::interval(TICK);
        let hub = shard.handle.id;
        loop {
            let Recording { link, tracks, id, .. } = &mut *recording;
            let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
                let track =
                    tracks.iter().position(|track| track.channels.is_some_and(|(_, rtcp)| rtcp == channel));
                let Some(track) = track else { return };
                for (offset, length) in parts {
                    if let Some(datagram) = bytes.get(*offset..offset.saturating_add(*length)) {
                        worker.handle_report(
                            ReaderRef { owner: worker.id, worker: worker.id, hub, reader: *id, track },
                            datagram,
                        );
                    }
                }
            };
            tokio::select! {
                event = link.next(&mut frames) => match event {
                    Ok(msm_rtsp::client::ClientEvent::Ended) => {
                        return Err("the server ended the recording".to_owned());
                    }
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
                _ = tick.tick() => {
                    let now = Instant::now();
                    if shard.handle.is_ended() {
                        return Ok(());
                    }
                    link.check_trust(now).map_err(|why| why.to_string())?;
                    if link.is_old(now) {
                        self.renew(recording).await.map_err(|error| error.to_string())?;
                    }
                }
            }
        }
    }
}

async fn record(link: &mut Link) -> Result<(), Error> {
    let aggregate = link.client.url().to_string();
    let command =
        |client: &mut msm_rtsp::client::Client, now| client.control(now, Method::Record, &aggregate);
    link.demand("RECORD", command, &mut |_, _, _| {}).await?;
    Ok(())
}

async fn announce(
    link: &mut Link,
    settings: &ClusterSettings,
    description: &Description,
    parity: bool,
) -> Result<Vec<UpstreamTrack>, Error> {
    let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
    link.ask(|client, now| client.options(now), &mut ignore).await?;
    let mut own = Vec::new();
    let mut ways = Vec::new();
    if parity {
        let feedback = Feedback { early: true, parity, time: 0 };
        ways = vec![TrackWay { feedback: Some(feedback), ..TrackWay::default() }; description.tracks.len()];
    }
    for _ in description.tracks.iter().filter(|_| settings.srtp) {
        let key = OwnKey::new(SUITE, random_ssrc()?)?;
        ways.push(TrackWay { keying: Some(key.attributes()?), ..TrackWay::default() });
        own.push(key);
    }
    let sdp = description.for_announce(&ways);
    let response = link.demand("ANNOUNCE", |client, now| client.announce(now, sdp), &mut ignore).await?;
    // GStreamer's server tells the keys of its reports here, in the order of the tracks.
    let answered = PeerKey::all_from_headers(&response.headers);
    let base = link.client.url().to_string();
    let mut transports = order(link, settings.transport, Mode::Record, settings.srtp);
    let mut tracks = Vec::new();
    for number in 0..description.tracks.len() {
        let url = join_control(&base, &track_control(number), settings.control);
        let ask = Ask {
            number: u8::try_from(number).unwrap_or(u8::MAX),
            url: &url,
            mode: Mode::Record,
            track: None,
            announced: own.get(number),
            answered: answered.get(number),
            feedback: parity,
        };
        tracks.push(set_up(link, settings, &mut transports, &ask, &mut ignore).await?);
    }
    Ok(tracks)
}

/// Tells the server that its session is over.
async fn leave(link: &mut Link) {
    let aggregate = link.client.url().to_string();
    let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
    let leave = link.ask(|client, now| client.control(now, Method::Teardown, &aggregate), &mut ignore);
    let _ = tokio::time::timeout(FAREWELL, leave).await;
}
