//! A session with another member: what is asked of it, and the flows that are set up with it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use msm_core::hop::Label;
use msm_core::route::PathMode;
use msm_rtsp::client::{Described, described};
use msm_rtsp::headers::SessionHeader;
use msm_rtsp::hop::{HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response, method_name};
use msm_rtsp::url::RtspUrl;

use super::dial::Peer;
use super::inlet::{Inlet, Target};
use super::outlet::Outlet;
use super::told::{Told, Word};
use crate::error::Error;
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// The Transport of every track between members.
pub(crate) const TRANSPORT: &str = "RTP/SAVP;unicast;RTCP-mux";

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
    /// It is not, and what was kept for late readers is not sent: whatever comes is live.
    Fresh,
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
    /// A session was asked for: there may be one.
    begun: Cell<bool>,
    told: Rc<Told>,
}

impl Member {
    pub(crate) fn new(worker: &Worker, peer: Rc<Peer>, url: RtspUrl, via: Vec<String>) -> Self {
        let (name, begun) = (worker.shared.seed(), Cell::new(false));
        Self { peer, url, via, name, session: None, begun, told: Rc::default() }
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
            Wanted::Fresh => HopHeader { fresh: Some(true), ..HopHeader::default() },
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
        self.begun.set(true);
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

    /// Completes when the member tells something of the session, or cannot be reached any more. Cancel safe.
    pub(crate) fn next(&self) -> impl Future<Output = Word> + use<> {
        let told = Rc::clone(&self.told);
        async move { told.next().await }
    }

    /// The same, until the session is over.
    pub(crate) async fn ended(&self) {
        while self.next().await != Word::Ended {}
    }

    /// Takes leave; of a session that the member has not named yet, too, which it would keep for a minute.
    pub(crate) fn leave(&self, url: &str) {
        if let Some(session) = &self.session {
            self.peer.unwatch(session);
        }
        if self.begun.get() {
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
