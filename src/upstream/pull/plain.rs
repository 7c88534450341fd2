//! A source on a plain hop: a connection to a server, and the sockets or channels that its tracks come by.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_rtsp::client::{Client, ClientError, ClientEvent, Described};
use msm_rtsp::message::{Method, Response};
use msm_rtsp::sdp::Track;
use msm_rtsp::transport::Mode;

use super::source::{Lost, Making, Reason};
use crate::error::Error;
use crate::hub::handle::{ParameterAnswer, ParameterRequest, PlayAnswer, PlayRequest};
use crate::hub::home::Home;
use crate::hub::receive::{Receiving, receive_track};
use crate::routing::Transport;
use crate::upstream::link::{Link, OnFrames};
use crate::upstream::mend::{Mend, Offer};
use crate::upstream::play;
use crate::upstream::reach::{Answer, describe};
use crate::upstream::track::{Ask, UpstreamTrack, order, set_up};

/// How long media is waited for over UDP before it is asked for in the connection (`transport: auto`).
const NO_MEDIA: Duration = Duration::from_secs(5);
/// How long a server is waited for to take our leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// Which track a channel brings, and whether it is its RTCP.
type Channels = BTreeMap<u8, (usize, bool)>;

/// See the [module](self).
pub(crate) struct PlainSource {
    making: Rc<Making>,
    link: Box<Link>,
    described: Described,
    tracks: Vec<UpstreamTrack>,
    home: Option<Rc<Home>>,
    channels: Channels,
    receiving: Vec<Receiving>,
    /// The last PLAY, and since when its media is waited for over UDP; none where it need not come.
    wanted: Option<(PlayRequest, Instant)>,
    plays: bool,
    /// The transport is not changed any more: it was, or a reader paused before anything came.
    settled: bool,
}

impl PlainSource {
    pub(super) fn new(making: Rc<Making>, link: Box<Link>, described: Described) -> Self {
        Self {
            making,
            link,
            described,
            tracks: Vec::new(),
            home: None,
            channels: BTreeMap::new(),
            receiving: Vec::new(),
            wanted: None,
            plays: false,
            settled: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.link.name()
    }

    pub(super) fn described(&self) -> &Described {
        &self.described
    }

    /// Sets the tracks up by the transports of the cluster, or by these.
    pub(super) async fn set_up(&mut self, transports: Option<Vec<Transport>>) -> Result<(), Error> {
        let mut transports = transports.unwrap_or_else(|| self.transports());
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
            let track =
                set_up(&mut self.link, &self.making.settings(), &mut transports, &ask, &mut ignore).await?;
            track.punch();
            tracks.push(track);
        }
        self.tracks = tracks;
        Ok(())
    }

    pub(super) fn attach(&mut self, home: &Rc<Home>) {
        self.receiving.clear();
        self.channels.clear();
        for (number, track) in self.tracks.iter().enumerate() {
            if let Some((rtp, rtcp)) = track.channels {
                self.channels.insert(rtp, (number, false));
                self.channels.insert(rtcp, (number, true));
            }
            if let Some((pair, check)) = &track.sockets {
                self.receiving.push(receive_track(&self.making.worker, home, number, pair, check));
            }
            // What goes by TCP is not lost.
            let offer = self.offer(number, track.sockets.is_some());
            if let Some(offer) = &offer {
                tracing::info!(hub = home.handle.id, track = number, ?offer, "lost packets are brought back");
            }
            home.set_mend(number, offer.map(Mend::new));
            home.set_secure(number, track.dest.clone(), track.secure.as_ref(), track.ssrc);
        }
        self.home = Some(Rc::clone(home));
    }

    pub(super) fn detach(&mut self) {
        self.receiving.clear();
        self.home = None;
    }

    pub(super) async fn play(&mut self, request: &PlayRequest, first: bool) -> Result<PlayAnswer, Error> {
        let unshared = self.making.handle.unshared;
        let headers = play::headers(request, unshared, first);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let aggregate = self.described.aggregate.clone();
        let response = self.demand("PLAY", |client, now| client.play(now, &aggregate, &headers)).await?;
        let now = Instant::now();
        self.link.client.start_keep_alive(now);
        self.plays = true;
        let by_udp = !self.receiving.is_empty();
        if self.wanted.is_none() && by_udp && self.making.settings().transport == Transport::Auto {
            self.wanted = Some((request.clone(), now));
        }
        let answer = play::answer(&response, &self.described);
        if let Some(home) = &self.home {
            home.handle_rtp_info(now, &answer.rtp_info);
        }
        Ok(answer)
    }

    pub(super) async fn pause(&mut self) -> Result<(), Error> {
        self.settled = true;
        let aggregate = self.described.aggregate.clone();
        self.demand("PAUSE", |client, now| client.control(now, Method::Pause, &aggregate)).await.map(|_| ())
    }

    pub(super) async fn parameter(&mut self, request: ParameterRequest) -> Result<ParameterAnswer, Error> {
        let content_type = request.content_type.unwrap_or_else(|| "text/parameters".into());
        let Self { link, home, channels, .. } = self;
        let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), channels, channel, bytes, parts);
        };
        let response = link
            .ask(|client, now| client.parameter(now, request.set, &content_type, request.body), &mut frames)
            .await?;
        Ok(ParameterAnswer {
            status: response.status,
            content_type: response.headers.get("Content-Type").map(str::to_owned),
            body: response.body.to_vec(),
        })
    }

    pub(super) async fn next(&mut self) -> Lost {
        let Self { link, home, channels, .. } = self;
        let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), channels, channel, bytes, parts);
        };
        loop {
            match link.next(&mut frames).await {
                Ok(ClientEvent::Ended) => return Lost::new(Reason::Ended, "the upstream ended it"),
                Ok(ClientEvent::Redirect(to)) => return Lost::elsewhere(to.as_deref()),
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    pub(super) async fn look_after(&mut self, now: Instant) -> Result<(), Lost> {
        self.check(now)?;
        if self.is_starved(now) {
            self.fall_back().await?;
        }
        // A stream of one reader's own is where it is, which no other connection knows.
        if self.link.is_old(now) && !self.making.handle.unshared {
            self.renew(now).await?;
        }
        Ok(())
    }

    pub(super) fn check(&mut self, now: Instant) -> Result<(), Lost> {
        self.link.check_trust(now).map_err(|why| Lost::new(Reason::Untrusted, why))
    }

    pub(super) fn patience(&self) -> Duration {
        // Twice: nothing came over UDP, and TCP is given its time.
        if self.wanted.is_some() && !self.settled { NO_MEDIA * 2 } else { Duration::ZERO }
    }

    pub(super) async fn leave(mut self) {
        let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
        leave(&mut self.link, &self.described.aggregate, &mut ignore).await;
    }

    fn transports(&self) -> Vec<Transport> {
        let secure = self.described.description.tracks.iter().all(Track::is_secure);
        order(&self.link, self.making.settings().transport, Mode::Play, secure)
    }

    /// What the upstream offers against loss of a track.
    fn offer(&self, track: usize, over_udp: bool) -> Option<Offer> {
        let (budget, asks) = self.making.resolved.mending();
        Offer::of(self.described.description.tracks.get(track)?, budget, asks && over_udp)
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
        let hub = self.making.handle.id;
        tracing::warn!(hub, upstream = self.link.name(), "nothing comes over UDP: asking for TCP");
        let next = self.another().await?;
        self.move_to(next, true).await?;
        self.settled = true;
        Ok(())
    }

    /// Goes on by a connection with the SVIDs of now, unless none can be had yet.
    async fn renew(&mut self, now: Instant) -> Result<(), Error> {
        let hub = self.making.handle.id;
        match self.another().await {
            Ok(next) => {
                tracing::info!(hub, upstream = self.link.name(), "goes on with SVIDs of now");
                self.move_to(next, false).await
            }
            Err(error) => {
                tracing::warn!(hub, %error, "cannot go on with SVIDs of now yet");
                self.link.postpone(now);
                Ok(())
            }
        }
    }

    /// The same stream on another connection: a server sets no session up twice.
    async fn another(&self) -> Result<(Box<Link>, Described), Error> {
        let Making { worker, via, .. } = &*self.making;
        let settings = &self.making.settings();
        let link = self.link.again(worker, settings, via.clone()).await?;
        let (link, described) = match describe(Box::new(link), worker, settings).await? {
            Answer::Described(link, described) => (link, *described),
            // Then it is as good as lost, and who has the stream is looked for from the beginning.
            Answer::Away(_) => {
                return Err(self.link.protocol("has the stream no more, and sends us elsewhere"));
            }
        };
        if described.setup.len() != self.described.setup.len() {
            return Err(link.protocol("describes the stream with other tracks than before"));
        }
        Ok((link, described))
    }

    /// Leaves the session that was, and takes up the one that is next, as far as that was set up, and played; over TCP, if that
    /// is better now.
    async fn move_to(&mut self, next: (Box<Link>, Described), tcp: bool) -> Result<(), Error> {
        self.receiving.clear();
        let (link, described) = next;
        let mut before = std::mem::replace(&mut self.link, link);
        let aggregate = std::mem::replace(&mut self.described, described).aggregate;
        let Self { home, channels, .. } = self;
        let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), channels, channel, bytes, parts);
        };
        leave(&mut before, &aggregate, &mut frames).await;
        let Some(home) = self.home.clone() else { return Ok(()) };
        home.replace_source(Instant::now());
        // The stream may be described otherwise than before.
        let mut transports = self.transports();
        if tcp {
            // Where the server has no TCP, the stream may be one that is silent.
            transports.retain(|transport| *transport != Transport::Multicast);
            transports.reverse();
        }
        self.set_up(Some(transports)).await?;
        self.attach(&home);
        if std::mem::take(&mut self.plays) {
            let request = self.wanted.as_ref().map(|(request, _)| request.clone()).unwrap_or_default();
            self.play(&request, true).await?;
        }
        Ok(())
    }

    async fn demand(
        &mut self,
        request: &'static str,
        command: impl FnOnce(&mut Client, Instant) -> Result<(), ClientError>,
    ) -> Result<Response, Error> {
        let Self { link, home, channels, .. } = self;
        let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            deliver(home.as_ref(), channels, channel, bytes, parts);
        };
        link.demand(request, command, &mut frames).await
    }
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
    channels: &Channels,
    channel: u8,
    bytes: &mut [u8],
    parts: &[(usize, usize)],
) {
    let Some(home) = home else { return };
    let Some((track, rtcp)) = channels.get(&channel).copied() else {
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
