//! A stream pulled from another member.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::hop::Label;
use msm_core::route::{PathMode, Protection, Share};
use msm_rtsp::client::{Described, described};
use msm_rtsp::headers::SessionHeader;
use msm_rtsp::hop::{HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response, method_name};
use msm_rtsp::url::RtspUrl;
use tokio::sync::{Notify, mpsc};

use super::dial::Peer;
use super::inlet::{Inlet, Target};
use super::outlet::Outlet;
use super::protect::{self, ReceivePlan};
use crate::cluster::Held;
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::handle::{
    Command, HubHandle, HubParts, ParameterAnswer, ParameterRequest, PlayAnswer, PlayRequest,
};
use crate::hub::home::Home;
use crate::hub::registry::HubKey;
use crate::metrics::HopKind;
use crate::quota::QuotaPass;
use crate::routing::{ClusterSettings, Resolved};
use crate::upstream::play;
use crate::worker::{UpstreamPass, Worker};

/// Commands that may wait for the member's answers.
const COMMANDS: usize = 64;
/// How often a stream without readers is noticed.
const TICK: Duration = Duration::from_millis(500);

/// The Transport of every track between members.
pub(crate) const TRANSPORT: &str = "RTP/SAVP;unicast;RTCP-mux";

struct Pull {
    worker: Rc<Worker>,
    member: Member,
    described: Described,
    handle: Arc<HubHandle>,
    protection: Protection,
    home: Option<Rc<Home>>,
    flows: Vec<(Rc<Inlet>, Rc<Outlet>)>,
    playing: Option<PlayAnswer>,
    held: Held,
    _quota: QuotaPass,
    _pass: UpstreamPass,
}

/// The peer's answer to SETUP.
pub(crate) struct SetUp {
    /// The track's name, which keys come from.
    pub(crate) token: u64,
    /// The number that the way back begins with.
    first: u16,
    /// The peer's label for the way back.
    label: Label,
    /// How the association's paths are used.
    paths: Option<PathMode>,
    /// What the peer says of protection: its label for the flow beside the media, if it receives that, and what it wishes, or the budget
    /// that it agreed to.
    pub(crate) header: HopHeader,
    /// What the peer calls the session.
    pub(crate) session: Option<String>,
}

/// How a track that is set up is to be protected.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// It is not.
    Nothing,
    /// This side receives it, and wishes this.
    Received(HopHeader),
    /// The other side receives it; this budget is proposed.
    Sent(Option<u32>),
}

/// The flows from the peer of a track that is being set up.
pub(crate) struct Coming {
    pub(crate) inlet: Rc<Inlet>,
    /// The one beside it, if it is to be protected.
    pub(crate) beside: Option<Rc<Inlet>>,
}

/// One session with another member.
pub(crate) struct Member {
    pub(crate) peer: Rc<Peer>,
    pub(crate) url: RtspUrl,
    via: Vec<String>,
    /// Until the peer has told what it calls the session.
    name: u64,
    session: Option<String>,
    told: Rc<Notify>,
}

impl Member {
    pub(crate) fn new(worker: &Worker, peer: Rc<Peer>, url: RtspUrl, via: Vec<String>) -> Self {
        Self { peer, url, via, name: worker.shared.seed(), session: None, told: Rc::default() }
    }

    /// Sends a request; it is on its way when this returns, and the future is its answer.
    pub(crate) fn ask(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + use<> {
        let mut request = request;
        for via in &self.via {
            request = request.with("Via", via);
        }
        request = match &self.session {
            Some(session) => request.with("Session", session),
            // The member has not told yet what it calls the session.
            None => request.with("Pipelined-Requests", format!("{:x}", self.name)),
        };
        let (endpoint, method) = (self.url.to_string(), method_name(&request.method).to_owned());
        let answer = self.peer.ask(request);
        async move {
            let response = answer.await?;
            if response.is_success() {
                return Ok(response);
            }
            Err(Error::UpstreamStatus {
                endpoint,
                request: method,
                status: response.status,
                reason: response.reason,
            })
        }
    }

    /// Begins to set a track up: what comes of it goes to `target`. The future is the peer's label for the way back, and what
    /// it calls the session.
    pub(crate) fn set_up(
        &self,
        url: &str,
        mode: &str,
        target: Target,
        wanted: Wanted,
        paths: Option<PathMode>,
    ) -> Result<(Coming, impl Future<Output = Result<SetUp, Error>> + use<>), Error> {
        let association = &self.peer.association;
        let token = association.next_token();
        let inlet = association.inlet(token, target)?;
        let beside = matches!(wanted, Wanted::Received(_));
        let beside = beside.then(|| association.inlet(token, Target::Nobody)).transpose()?;
        let wishes = match wanted {
            Wanted::Nothing => HopHeader::default(),
            Wanted::Received(wishes) => wishes,
            Wanted::Sent(latency) => HopHeader { latency, ..HopHeader::default() },
        };
        if let Some(mode) = paths {
            let latency = wishes.latency.map(|latency| Duration::from_millis(latency.into()));
            for inlet in [Some(&inlet), beside.as_ref()].into_iter().flatten() {
                inlet.expect_copies(mode, latency);
            }
        }
        // A receiver sends nothing but reports, and those are not asked for again.
        let first = association.first_number()?;
        let header = HopHeader {
            token: Some(token),
            first: wishes.latency.filter(|_| beside.is_none()).map(|_| first),
            label: Some(inlet.label.ssrc()),
            repair: beside.as_ref().map(|beside| beside.label.ssrc()),
            paths,
            ..wishes
        };
        let request = Request::new(Method::Setup, url)
            .with("Transport", format!("{TRANSPORT}{mode}"))
            .with(HEADER, header.to_string());
        let answer = self.ask(request);
        let endpoint = self.url.to_string();
        let answer = async move {
            let response = answer.await?;
            let header = response.headers.get(HEADER).and_then(HopHeader::parse).unwrap_or_default();
            let label = header.label.ok_or_else(|| Error::UpstreamProtocol {
                endpoint,
                reason: "the answer to SETUP names no label".into(),
            })?;
            let session = response.headers.get("Session").and_then(SessionHeader::parse);
            Ok(SetUp {
                token,
                first,
                paths,
                label: Label::from_ssrc(label),
                header,
                session: session.map(|session| session.id),
            })
        };
        Ok((Coming { inlet, beside }, answer))
    }

    /// The way back of a track that was set up.
    pub(crate) fn set_outlet(&self, answer: &SetUp, inlet: &Rc<Inlet>) -> Result<Rc<Outlet>, Error> {
        let outlet = self.peer.association.outlet_from(answer.token, answer.label, inlet, answer.first)?;
        if let Some(mode) = answer.paths {
            outlet.set_paths(mode);
        }
        Ok(outlet)
    }

    /// What the member calls the session.
    pub(crate) fn set_session(&mut self, session: Option<String>) {
        if let (None, Some(session)) = (&self.session, session) {
            self.told = self.peer.watch(&session);
            self.session = Some(session);
        }
    }

    /// Completes when the member ends the session, or cannot be reached any more. Cancel safe.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let told = Rc::clone(&self.told);
        async move { told.notified().await }
    }

    /// Takes leave.
    pub(crate) fn leave(&self, url: &str) {
        if let Some(session) = &self.session {
            self.peer.unwatch(session);
            drop(self.ask(Request::new(Method::Teardown, url)));
        }
    }
}

/// What a member says of a stream.
pub(crate) async fn describe(
    worker: &Worker,
    settings: &ClusterSettings,
    peer: Rc<Peer>,
    url: &RtspUrl,
    via: &[String],
) -> Result<(Member, Described), Error> {
    let member = Member::new(worker, peer, url.clone(), via.to_vec());
    let request = Request::new(Method::Describe, url.to_string()).with("Accept", "application/sdp");
    let response = member.ask(request).await?;
    let described =
        described(&response, url, settings.control, &worker.shared.settings().rtsp).map_err(|error| {
            Error::UpstreamProtocol {
                endpoint: url.to_string(),
                reason: format!("description refused: {error}"),
            }
        })?;
    Ok((member, described))
}

/// A stream that a member has described; from now on a task of this worker serves it.
pub(crate) fn start(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    key: Option<HubKey>,
    member: Member,
    described: Described,
    held: Held,
    quota: QuotaPass,
) -> Arc<HubHandle> {
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
        name: member.url.to_string(),
        description: Arc::new(described.description.clone()),
        unshared,
        coalesce: resolved.coalesce,
        metrics: shared.metrics.route(&resolved.route, resolved.cluster_name()),
        comes: HopKind::Mesh,
        control: Some(control),
    });
    tracing::info!(
        hub = handle.id,
        upstream = %member.url,
        peer = %member.peer.association.peer().id,
        unshared,
        tracks = handle.tracks().len(),
        "stream opened"
    );
    let pull = Pull {
        worker: Rc::clone(worker),
        member,
        described,
        handle: Arc::clone(&handle),
        protection: resolved.protection.clone(),
        home: None,
        flows: Vec::new(),
        playing: None,
        held,
        _quota: quota,
        _pass: worker.upstream(),
    };
    tokio::task::spawn_local(run(pull, commands, key, resolved.idle_timeout));
    handle
}

async fn run(mut pull: Pull, mut commands: mpsc::Receiver<Command>, key: Option<HubKey>, idle: Duration) {
    pull.worker.shared.metrics.streams.inc();
    let mut last_used = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut stopping = pull.worker.shared.stopping.subscribe();
    let reason = loop {
        let ended = pull.member.ended();
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => if let Some(error) = pull.obey(command).await { break error.to_string() },
                None => break "nobody is left to read it".to_owned(),
            },
            () = ended => break "the member ended it".to_owned(),
            _ = tick.tick() => {
                let now = Instant::now();
                if pull.member.peer.association.has_ended() {
                    break "the member is gone".to_owned();
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
    tracing::info!(hub = pull.handle.id, upstream = %pull.member.url, reason, "stream closed");
    pull.handle.set_ended();
    if let Some(key) = &key {
        pull.worker.shared.registry.forget(key, pull.handle.id);
    }
    if let Some(home) = pull.home.take() {
        home.end(Instant::now());
    }
    pull.worker.shared.metrics.streams.dec();
    pull.member.leave(&pull.described.aggregate);
}

impl Pull {
    /// Does what a reader asks. The error is one that ends the stream.
    async fn obey(&mut self, command: Command) -> Option<Error> {
        match command {
            Command::Prepare { reply } => {
                let outcome = self.prepare().await;
                let fatal = outcome.as_ref().err().cloned();
                if fatal.is_some() {
                    self.handle.set_ended();
                }
                let _ = reply.send(outcome);
                fatal
            }
            Command::Play { request, reply } => {
                let outcome = self.play(&request).await;
                let fatal = outcome.as_ref().err().filter(|_| self.playing.is_none()).cloned();
                if fatal.is_some() {
                    self.handle.set_ended();
                }
                let _ = reply.send(outcome);
                fatal
            }
            Command::Pause { reply } => {
                let request = Request::new(Method::Pause, self.described.aggregate.clone());
                let _ = reply.send(self.member.ask(request).await.map(|_| ()));
                None
            }
            Command::Parameter { request, reply } => {
                let _ = reply.send(self.parameter(request).await);
                None
            }
        }
    }

    /// Makes the stream's home. The tracks are set up with PLAY, in one go.
    async fn prepare(&mut self) -> Result<(), Error> {
        if self.home.is_none() {
            let (seed, now) = (self.worker.shared.seed(), Instant::now());
            self.home = Some(Home::start(&self.worker, Arc::clone(&self.handle), seed, now));
        }
        Ok(())
    }

    async fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, Error> {
        if let Some(playing) = self.playing.as_ref().filter(|_| !self.handle.unshared) {
            return Ok(PlayAnswer { rtp_info: Vec::new(), ..playing.clone() });
        }
        self.prepare().await?;
        let home = self.home.clone().ok_or(Error::StreamEnded)?;
        let mut pending = Vec::new();
        if self.flows.is_empty() {
            for (track, url) in self.described.setup.iter().enumerate() {
                let target = Target::Media { home: Rc::downgrade(&home), track };
                let plan = self.receive_plan(track);
                let wanted = plan
                    .as_ref()
                    .map_or(Wanted::Nothing, |plan| Wanted::Received(protect::wishes(&plan.protection)));
                let (coming, answer) =
                    self.member.set_up(url, "", target, wanted, self.protection.paths.mode())?;
                let Coming { inlet, beside } = coming;
                // Media may overtake the answer.
                if let (Some(beside), Some(plan)) = (beside, plan) {
                    protect::receive(&inlet, beside, plan);
                }
                pending.push((inlet, answer));
            }
        }
        if self.playing.is_some() && request.range.is_some() {
            home.restart(Instant::now());
        }
        let headers = play::headers(request, self.handle.unshared, self.playing.is_none());
        let asked = headers
            .iter()
            .fold(Request::new(Method::Play, self.described.aggregate.clone()), |asked, (name, value)| {
                asked.with(name, value)
            });
        // All are on their way before the first answer comes.
        let played = self.member.ask(asked);
        for (track, (inlet, answer)) in pending.into_iter().enumerate() {
            let answer = answer.await?;
            match answer.header.latency {
                Some(latency) => {
                    inlet.agree(Duration::from_millis(latency.into()));
                    if let Some(first) = answer.header.first {
                        inlet.begin(first);
                    }
                }
                None => inlet.unprotect(Instant::now()),
            }
            let outlet = self.member.set_outlet(&answer, &inlet)?;
            home.set_upstream(track, Dest::Hop(Rc::clone(&outlet)));
            self.member.set_session(answer.session);
            self.flows.push((inlet, outlet));
        }
        let answer = play::answer(&played.await?, &self.described);
        self.playing = Some(answer.clone());
        Ok(answer)
    }

    /// How a track is to be protected, if its sender offers that.
    fn receive_plan(&self, track: usize) -> Option<ReceivePlan> {
        let described = self.described.description.tracks.get(track)?;
        protect::receive_plan(described, &self.protection, None, &self.handle.name)
    }

    async fn parameter(&mut self, request: ParameterRequest) -> Result<ParameterAnswer, Error> {
        let method = if request.set { Method::SetParameter } else { Method::GetParameter };
        let kind = request.content_type.unwrap_or_else(|| "text/parameters".into());
        let asked = Request::new(method, self.described.aggregate.clone()).with_body(&kind, request.body);
        match self.member.ask(asked).await {
            Ok(response) => Ok(ParameterAnswer {
                status: response.status,
                content_type: response.headers.get("Content-Type").map(str::to_owned),
                body: response.body.to_vec(),
            }),
            Err(Error::UpstreamStatus { status, .. }) => {
                Ok(ParameterAnswer { status, content_type: None, body: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        // What still comes has nobody to go to.
        for (inlet, _) in &self.flows {
            inlet.set_target(Target::Nobody);
        }
    }
}
