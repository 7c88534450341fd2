//! A stream pulled from an upstream: its connection, its sockets, and what readers ask of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::route::Share;
use msm_rtsp::client::{Described, described};
use msm_rtsp::message::Method;
use msm_rtsp::sdp::Track;
use msm_rtsp::transport::Mode;
use msm_rtsp::url::RtspUrl;
use tokio::sync::mpsc;

use super::link::Link;
use super::play;
use super::track::{Ask, order, set_up};
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
use crate::routing::{Caller, ClusterSettings, Resolved, Transport};
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
    link: Link,
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
    let settings = Arc::clone(resolved.settings().ok_or(Error::StreamEnded)?);
    if settings.members.is_some() {
        return hop::pull::open(worker, resolved, key, via).await;
    }
    let quota = worker.shared.streams.take()?;
    let (link, described) = reach(worker, resolved, &settings, via.clone()).await?;
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
        _quota: quota,
        _pass: worker.upstream(),
    };
    let idle = if settings.always { None } else { Some(resolved.idle_timeout) };
    tokio::task::spawn_local(run(pull, commands, key, idle));
    Ok(handle)
}

/// The first endpoint that can be reached and describes the stream.
async fn reach(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    settings: &ClusterSettings,
    via: Vec<String>,
) -> Result<(Link, Described), Error> {
    let mut tried = Vec::new();
    let mut last = Error::NoRoute { url: resolved.resource.clone() };
    while let Some(url) = worker.shared.routing.endpoint(resolved, &mut tried) {
        match describe(worker, url, settings, &via).await {
            Ok(found) => return Ok(found),
            Err(error) => {
                tracing::warn!(cluster = settings.name, %error, "endpoint failed");
                let is_final = matches!(&error, Error::UpstreamStatus { status: 401 | 403 | 404, .. });
                last = error;
                if is_final {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// Where a server sends us (`RFC 2326 §11.3`).
fn redirected(from: &RtspUrl, location: Option<&str>) -> Result<RtspUrl, &'static str> {
    let to = location.and_then(|location| RtspUrl::parse(location).ok());
    let to = to.ok_or("a redirect without a usable Location")?;
    if from.scheme() == "rtsps" && to.scheme() != "rtsps" {
        return Err("a redirect from TLS to a connection in the clear, which is not followed");
    }
    Ok(to)
}

async fn describe(
    worker: &Rc<Worker>,
    mut url: RtspUrl,
    settings: &ClusterSettings,
    via: &[String],
) -> Result<(Link, Described), Error> {
    let limits = &worker.shared.settings.rtsp;
    for _ in 0..=limits.redirects {
        let mut link = Link::connect(worker, &url, settings, via.to_vec()).await?;
        let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
        // Learns how to keep the session alive; servers that do not know OPTIONS say so and go on.
        link.ask(|client, now| client.options(now), &mut ignore).await?;
        let response = link.ask(|client, now| client.describe(now), &mut ignore).await?;
        if (300..400).contains(&response.status) {
            url = redirected(&url, response.headers.get("Location")).map_err(|why| link.protocol(why))?;
            continue;
        }
        if !response.is_success() {
            return Err(Error::UpstreamStatus {
                endpoint: link.name().into(),
                request: "DESCRIBE".into(),
                status: response.status,
                reason: response.reason,
            });
        }
        let described = described(&response, link.client.url(), settings.control, limits)
            .map_err(|error| link.protocol(format!("description refused: {error}")))?;
        return Ok((link, described));
    }
    Err(Error::UpstreamProtocol { endpoint: url.to_string(), reason: "redirected too often".into() })
}

async fn run(
    mut pull: Pull,
    mut commands: mpsc::Receiver<Command>,
    key: Option<HubKey>,
    idle: Option<Duration>,
) {
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
                if pull.is_starved(now)
                    && let Err(error) = pull.fall_back().await
                {
                    break error.to_string();
                }
                if pull.handle.readers() > 0 {
                    last_used = now;
                } else if idle.is_some_and(|idle| now.saturating_duration_since(last_used) >= idle) {
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
    leave(&mut pull.link, &pull.described.aggregate).await;
}

/// Tells the server that its session is over.
async fn leave(link: &mut Link, aggregate: &str) {
    if link.client.session().is_some() {
        let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
        let leave = link.ask(|client, now| client.control(now, Method::Teardown, aggregate), &mut ignore);
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

    /// Asks the server for the same again in the connection. A server sets no session up twice: this takes a new one.
    async fn fall_back(&mut self) -> Result<(), Error> {
        tracing::warn!(
            hub = self.handle.id,
            upstream = self.link.name(),
            "nothing comes over UDP: asking for TCP"
        );
        let url = self.link.client.url().clone();
        let (link, described) = describe(&self.worker, url, &self.settings, &self.via).await?;
        if described.setup.len() != self.described.setup.len() {
            return Err(link.protocol("describes the stream with other tracks than before"));
        }
        self.receiving.clear();
        let mut before = std::mem::replace(&mut self.link, link);
        let aggregate = std::mem::replace(&mut self.described, described).aggregate;
        leave(&mut before, &aggregate).await;
        // Where the server has no TCP, the stream may be one that is silent.
        self.set_up(vec![Transport::Tcp, Transport::Udp]).await?;
        self.playing = None;
        let request = self.wanted.as_ref().map(|(request, _)| request.clone()).unwrap_or_default();
        self.play(request).await?;
        self.settled = true;
        Ok(())
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
        match crate::serve::requests::open(&worker, &url, via, &Caller::Own).await {
            Ok((_, handle)) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_do_not_leave_tls() {
        let from = |text| RtspUrl::parse(text).unwrap();
        let to = |url, location| redirected(&from(url), location).map(|url| url.to_string());
        assert_eq!(to("rtsp://a/", Some("rtsps://b/x")).as_deref(), Ok("rtsps://b/x"));
        assert_eq!(to("rtsps://a/", Some("rtsps://b/x")).as_deref(), Ok("rtsps://b/x"));
        assert!(to("rtsps://a/", Some("rtsp://b/x")).is_err());
        assert!(to("rtsp://a/", Some("http://b/x")).is_err());
        assert!(to("rtsp://a/", None).is_err());
    }
}
