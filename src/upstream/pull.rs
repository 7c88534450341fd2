//! A stream pulled from an upstream: its connection, its sockets, and what readers ask of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::route::{Action, Share};
use msm_rtsp::client::Described;
use msm_rtsp::message::Method;
use msm_rtsp::sdp::Track;
use msm_rtsp::transport::Mode;
use msm_rtsp::url::RtspUrl;
use tokio::sync::mpsc;

use super::link::{Link, OnFrames};
use super::mend::{Mend, Offer};
use super::play;
use super::reach::{self, Found, describe};
use super::track::{Ask, order, set_up};
use crate::cluster::Held;
use crate::error::Error;
use crate::hop;
use crate::hub::handle::{
    Command, HubHandle, HubParts, ParameterAnswer, ParameterRequest, PlayAnswer, PlayRequest,
};
use crate::hub::home::Home;
use crate::hub::receive::{Receiving, receive_track};
use crate::hub::registry::HubKey;
use crate::metrics::HopKind;
use crate::quota::QuotaPass;
use crate::routing::{ClusterSettings, Resolved, Transport};
use crate::worker::{UpstreamPass, Worker};

/// Commands that may wait for the upstream's answers.
const COMMANDS: usize = 64;
/// How often a stream without readers is noticed.
const TICK: Duration = Duration::from_millis(500);
/// How long media is waited for over UDP before it is asked for in the connection (`transport: auto`).
const NO_MEDIA: Duration = Duration::from_secs(5);
/// How often a standing stream is looked after.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long a server is waited for to take our leave.
const FAREWELL: Duration = Duration::from_secs(1);

struct Pull {
    worker: Rc<Worker>,
    link: Box<Link>,
    described: Described,
    settings: Arc<ClusterSettings>,
    handle: Arc<HubHandle>,
    home: Option<Rc<Home>>,
    channels: Rc<RefCell<BTreeMap<u8, (usize, bool)>>>,
    receiving: Vec<Receiving>,
    playing: Option<PlayAnswer>,
    /// The last PLAY, and since when its media is waited for over UDP; none where it need not come.
    wanted: Option<(PlayRequest, Instant)>,
    /// The transport is not changed any more: it was, or a reader paused before anything came.
    settled: bool,
    via: Vec<String>,
    /// How long packets may wait for those before them, and whether these may be asked for.
    mending: (Duration, bool),
    held: Held,
    _quota: QuotaPass,
    _pass: UpstreamPass,
}

/// Connects to the stream's upstream and describes it; from then on a task of this worker serves it.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    key: Option<HubKey>,
    via: Vec<String>,
) -> Result<Arc<HubHandle>, Error> {
    let settings = resolved.settings().ok_or(Error::StreamEnded)?;
    let quota = worker.shared.streams.take()?;
    let (found, held) = reach::find(worker, resolved, &settings, &via, &mut resolved.attempts()).await?;
    let (link, described) = match found {
        Found::Plain(link, described) => (link, described),
        Found::Member(member, described) => {
            return Ok(hop::pull::start(worker, resolved, key, member, described, held, quota));
        }
    };
    let shared = &worker.shared;
    let (control, commands) = mpsc::channel(COMMANDS);
    let unshared = match resolved.share {
        Share::Live => false,
        Share::Never => true,
        Share::Auto => !described.description.is_live(),
    };
    let handle = HubHandle::new(HubParts {
        id: shared.registry.next_id(),
        worker: worker.id,
        name: link.name().to_owned(),
        description: Arc::new(described.description.clone()),
        unshared,
        coalesce: resolved.coalesce,
        metrics: shared.metrics.route(&resolved.route, resolved.cluster_name()),
        comes: HopKind::Plain,
        control: Some(control),
    });
    tracing::info!(
        hub = handle.id,
        upstream = link.name(),
        unshared,
        tracks = handle.tracks().len(),
        "stream opened"
    );
    let pull = Pull {
        worker: Rc::clone(worker),
        link,
        described,
        settings: Arc::clone(&settings),
        handle: Arc::clone(&handle),
        home: None,
        channels: Rc::default(),
        receiving: Vec::new(),
        playing: None,
        wanted: None,
        settled: false,
        via,
        mending: resolved.mending(),
        held,
        _quota: quota,
        _pass: worker.upstream(),
    };
    tokio::task::spawn_local(run(pull, commands, key, resolved.idle_timeout));
    Ok(handle)
}

async fn run(mut pull: Pull, mut commands: mpsc::Receiver<Command>, key: Option<HubKey>, idle: Duration) {
    pull.worker.shared.metrics.streams.inc();
    let mut last_used = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut stopping = pull.worker.shared.stopping.subscribe();
    let reason = loop {
        let home = pull.home.clone();
        let channels = Rc::clone(&pull.channels);
        let mut frames = move |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), &channels, channel, bytes, parts);
        };
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => if let Some(error) = pull.obey(command).await { break error.to_string() },
                None => break "nobody is left to read it".to_owned(),
            },
            event = pull.link.next(&mut frames) => match event {
                Ok(msm_rtsp::client::ClientEvent::Ended) => break "the upstream ended it".to_owned(),
                Ok(msm_rtsp::client::ClientEvent::Redirect(_)) => break "the upstream moved it".to_owned(),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            },
            _ = tick.tick() => {
                let now = Instant::now();
                if let Err(why) = pull.link.check_trust(now) {
                    break why;
                }
                if pull.is_starved(now)
                    && let Err(error) = pull.fall_back().await
                {
                    break error.to_string();
                }
                // A stream of one reader's own is where it is, which no other connection knows.
                if pull.link.is_old(now)
                    && !pull.handle.unshared
                    && let Err(error) = pull.renew(now).await
                {
                    break error.to_string();
                }
                if let Some(home) = &pull.home {
                    home.observe(now, &pull.held);
                }
                if pull.handle.readers() > 0 || pull.handle.is_standing() {
                    last_used = now;
                } else if now.saturating_duration_since(last_used) >= idle {
                    break "idle".to_owned();
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => break "shutdown".to_owned(),
        }
    };
    tracing::info!(hub = pull.handle.id, upstream = pull.link.name(), reason, "stream closed");
    pull.handle.set_ended();
    if let Some(key) = &key {
        pull.worker.shared.registry.forget(key, pull.handle.id);
    }
    pull.receiving.clear();
    if let Some(home) = pull.home.take() {
        home.end(Instant::now());
    }
    pull.worker.shared.metrics.streams.dec();
    let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
    leave(&mut pull.link, &pull.described.aggregate, &mut ignore).await;
}

/// Tells the server that its session is over.
async fn leave(link: &mut Link, aggregate: &str, frames: &mut OnFrames<'_>) {
    if link.client.session().is_some() {
        let leave = link.ask(|client, now| client.control(now, Method::Teardown, aggregate), frames);
        let _ = tokio::time::timeout(FAREWELL, leave).await;
    }
}

/// Interleaved packets to their track.
fn deliver(
    home: Option<&Rc<Home>>,
    channels: &RefCell<BTreeMap<u8, (usize, bool)>>,
    channel: u8,
    bytes: &mut [u8],
    parts: &[(usize, usize)],
) {
    let Some(home) = home else { return };
    let Some((track, rtcp)) = channels.borrow().get(&channel).copied() else {
        home.handle.metrics.add_dropped("unknown_channel", parts.len() as u64);
        return;
    };
    let now = Instant::now();
    if rtcp {
        for (offset, length) in parts {
            if let Some(datagram) = bytes.get(*offset..offset.saturating_add(*length)) {
                home.handle_rtcp(now, track, datagram);
            }
        }
    } else {
        home.handle_parts(now, track, bytes, parts);
    }
}

impl Pull {
    /// Does what a reader asks. The error is one that ends the stream.
    async fn obey(&mut self, command: Command) -> Option<Error> {
        match command {
            Command::Prepare { reply } => {
                let outcome = if self.home.is_none() { self.set_up(self.transports()).await } else { Ok(()) };
                let fatal = outcome.as_ref().err().cloned();
                if fatal.is_some() {
                    // Before anybody hears of it: who asks again gets a new one.
                    self.handle.set_ended();
                }
                let _ = reply.send(outcome);
                fatal
            }
            Command::Play { request, reply } => {
                let outcome = self.play(request).await;
                let fatal = outcome.as_ref().err().filter(|_| self.playing.is_none()).cloned();
                if fatal.is_some() {
                    self.handle.set_ended();
                }
                let _ = reply.send(outcome);
                fatal
            }
            Command::Pause { reply } => {
                self.settled = true;
                let aggregate = self.described.aggregate.clone();
                let outcome =
                    self.demand("PAUSE", |client, now| client.control(now, Method::Pause, &aggregate)).await;
                let _ = reply.send(outcome.map(|_| ()));
                None
            }
            Command::Parameter { request, reply } => {
                let _ = reply.send(self.parameter(request).await);
                None
            }
        }
    }

    async fn play(&mut self, request: PlayRequest) -> Result<PlayAnswer, Error> {
        if let Some(playing) = self.playing.as_ref().filter(|_| !self.handle.unshared) {
            // It flows already; RTP-Info of then is no longer that of the next packet.
            return Ok(PlayAnswer { rtp_info: Vec::new(), ..playing.clone() });
        }
        if self.home.is_none() {
            self.set_up(self.transports()).await?;
        }
        let headers = play::headers(&request, self.handle.unshared, self.playing.is_none());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let is_seek = self.playing.is_some() && request.range.is_some();
        if let (true, Some(home)) = (is_seek, &self.home) {
            home.restart(Instant::now());
        }
        let aggregate = self.described.aggregate.clone();
        let response = self.demand("PLAY", |client, now| client.play(now, &aggregate, &headers)).await?;
        self.link.client.start_keep_alive(Instant::now());
        let answer = play::answer(&response, &self.described);
        self.playing = Some(answer.clone());
        let is_first = self.wanted.is_none() && !self.receiving.is_empty();
        if is_first && self.settings.transport == Transport::Auto {
            self.wanted = Some((request, Instant::now()));
        }
        Ok(answer)
    }

    fn transports(&self) -> Vec<Transport> {
        let secure = self.described.description.tracks.iter().all(Track::is_secure);
        order(&self.link, self.settings.transport, Mode::Play, secure)
    }

    /// Whether UDP was agreed on and nothing comes: a firewall lets the signalling through and not the media.
    fn is_starved(&self, now: Instant) -> bool {
        // Once: whatever the transport is then, it is the one that the server has.
        let is_udp = !self.receiving.is_empty() && !self.settled;
        let Some((_, since)) = self.wanted.as_ref().filter(|_| is_udp) else { return false };
        let silent = self.home.as_ref().is_some_and(|home| home.last_media() <= *since);
        silent && now.saturating_duration_since(*since) >= NO_MEDIA
    }

    /// Asks the server for the same again in the connection.
    async fn fall_back(&mut self) -> Result<(), Error> {
        tracing::warn!(
            hub = self.handle.id,
            upstream = self.link.name(),
            "nothing comes over UDP: asking for TCP"
        );
        let next = self.next().await?;
        self.move_to(next, true).await?;
        self.settled = true;
        Ok(())
    }

    /// Goes on by a connection with the SVIDs of now, unless none can be had yet.
    async fn renew(&mut self, now: Instant) -> Result<(), Error> {
        match self.next().await {
            Ok(next) => {
                tracing::info!(
                    hub = self.handle.id,
                    upstream = self.link.name(),
                    "goes on with SVIDs of now"
                );
                self.move_to(next, false).await
            }
            Err(error) => {
                tracing::warn!(hub = self.handle.id, %error, "cannot go on with SVIDs of now yet");
                self.link.postpone(now);
                Ok(())
            }
        }
    }

    /// The same stream on another connection: a server sets no session up twice.
    async fn next(&self) -> Result<(Box<Link>, Described), Error> {
        let url = self.link.client.url();
        let link = Link::connect(&self.worker, url, &self.settings, self.via.clone()).await?;
        let (link, described) = describe(&self.worker, Box::new(link), &self.settings, &self.via).await?;
        if described.setup.len() != self.described.setup.len() {
            return Err(link.protocol("describes the stream with other tracks than before"));
        }
        Ok((link, described))
    }

    /// Leaves the session that was, and takes up the one that is next, as far as that was set up, and played; over TCP, if that
    /// is better now.
    async fn move_to(&mut self, next: (Box<Link>, Described), tcp: bool) -> Result<(), Error> {
        let (link, described) = next;
        self.receiving.clear();
        let mut before = std::mem::replace(&mut self.link, link);
        let aggregate = std::mem::replace(&mut self.described, described).aggregate;
        let channels = Rc::clone(&self.channels);
        let home = self.home.clone();
        let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), &channels, channel, bytes, parts);
        };
        leave(&mut before, &aggregate, &mut frames).await;
        let Some(home) = &home else { return Ok(()) };
        self.channels.borrow_mut().clear();
        home.replace_source(Instant::now());
        // The stream may be described otherwise than before.
        let mut transports = self.transports();
        if tcp {
            // Where the server has no TCP, the stream may be one that is silent.
            transports.retain(|transport| *transport != Transport::Multicast);
            transports.reverse();
        }
        self.set_up(transports).await?;
        if self.playing.take().is_some() {
            let request = self.wanted.as_ref().map(|(request, _)| request.clone()).unwrap_or_default();
            self.play(request).await?;
        }
        Ok(())
    }

    /// What the upstream offers against loss of a track.
    fn offer(&self, track: usize, over_udp: bool) -> Option<Offer> {
        let (budget, asks) = self.mending;
        Offer::of(self.described.description.tracks.get(track)?, budget, asks && over_udp)
    }

    async fn set_up(&mut self, mut transports: Vec<Transport>) -> Result<(), Error> {
        let mut tracks = Vec::new();
        let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
        for (number, url) in self.described.setup.iter().enumerate() {
            let track = self.described.description.tracks.get(number);
            let ask = Ask {
                number: u8::try_from(number).unwrap_or(u8::MAX),
                url,
                mode: Mode::Play,
                track,
                announced: None,
                answered: None,
                feedback: self.offer(number, true).is_some(),
            };
            tracks.push(set_up(&mut self.link, &self.settings, &mut transports, &ask, &mut ignore).await?);
        }
        let home = match &self.home {
            Some(home) => Rc::clone(home),
            None => {
                Home::start(&self.worker, Arc::clone(&self.handle), self.worker.shared.seed(), Instant::now())
            }
        };
        for (number, track) in tracks.into_iter().enumerate() {
            track.punch();
            if let Some((rtp, rtcp)) = track.channels {
                self.channels.borrow_mut().insert(rtp, (number, false));
                self.channels.borrow_mut().insert(rtcp, (number, true));
            }
            if let Some((pair, check)) = &track.sockets {
                self.receiving.push(receive_track(&self.worker, &home, number, pair, check));
            }
            // What goes by TCP is not lost.
            let offer = self.offer(number, track.sockets.is_some());
            if let Some(offer) = &offer {
                tracing::info!(hub = self.handle.id, track = number, ?offer, "lost packets are brought back");
            }
            home.set_mend(number, offer.map(Mend::new));
            home.set_secure(number, track.dest, track.secure.as_ref(), track.ssrc);
        }
        self.home = Some(home);
        Ok(())
    }

    async fn parameter(&mut self, request: ParameterRequest) -> Result<ParameterAnswer, Error> {
        let home = self.home.clone();
        let channels = Rc::clone(&self.channels);
        let mut frames = move |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), &channels, channel, bytes, parts);
        };
        let content_type = request.content_type.unwrap_or_else(|| "text/parameters".into());
        let response = self
            .link
            .ask(|client, now| client.parameter(now, request.set, &content_type, request.body), &mut frames)
            .await?;
        Ok(ParameterAnswer {
            status: response.status,
            content_type: response.headers.get("Content-Type").map(str::to_owned),
            body: response.body.to_vec(),
        })
    }

    async fn demand(
        &mut self,
        request: &'static str,
        command: impl FnOnce(&mut msm_rtsp::client::Client, Instant) -> Result<(), msm_rtsp::client::ClientError>,
    ) -> Result<msm_rtsp::message::Response, Error> {
        let home = self.home.clone();
        let channels = Rc::clone(&self.channels);
        let mut frames = move |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), &channels, channel, bytes, parts);
        };
        self.link.demand(request, command, &mut frames).await
    }
}

/// Keeps a stream up that is wanted before anybody reads it, and brings it back when its upstream does.
pub(crate) async fn keep(worker: Rc<Worker>, url: RtspUrl) {
    let mut stopping = worker.shared.stopping.subscribe();
    loop {
        let via = vec![format!("RTSP/1.0 {}", worker.shared.pseudonym)];
        let ask = crate::routing::Ask::own(Action::Read, &worker.shared.pseudonym);
        match crate::serve::requests::open(&worker, &url, via, &ask).await {
            Ok((_, handle)) => {
                let _standing = handle.stand();
                if let Err(error) = handle.play(PlayRequest::default()).await {
                    tracing::warn!(stream = handle.name, %error, "standing stream does not play");
                }
                while !handle.is_ended() && !*stopping.borrow() {
                    tokio::select! {
                        () = tokio::time::sleep(KEEP_INTERVAL) => {}
                        _ = stopping.changed() => {}
                    }
                }
            }
            Err(error) => tracing::warn!(%url, %error, "standing stream cannot be opened"),
        }
        if *stopping.borrow() {
            return;
        }
        tokio::time::sleep(KEEP_INTERVAL).await;
    }
}
