//! What each request does.

mod control;
mod describe;
mod keys;
mod setup;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_auth::identity::svid::PeerIdentity;
use msm_core::route::Protection;
use msm_rtsp::hop::{HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response, method_name};
use msm_rtsp::proxy::via;
use msm_rtsp::server::{Connection as Machine, ServerConfig};
use msm_rtsp::url::{self, RtspUrl};

use super::connection::Context;
use super::login;
use super::session::Session;
use crate::error::Error;
use crate::hop::accept;
use crate::hub::handle::HubHandle;
use crate::routing::{Ask, Caller, Resolved};
use crate::shared::Shared;
use crate::upstream::pull;
use crate::worker::Worker;

pub(crate) use describe::ways_in_the_clear;

/// Seconds after which a client may come again that was sent away as the process ends: another instance is there then, or this one again.
const WHEN_ENDING: &str = "2";

/// Requests of a member's many sessions that may wait for their answers.
const MEMBER_REQUESTS: usize = 256;

/// What a refused request is answered with.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: String,
    /// What the client is to do, where there is a header for that.
    header: Option<(&'static str, String)>,
}

/// When a client may try again that found this process full (`RFC 7826 §18.44`).
const WHEN_FULL: &str = "5";

impl Refusal {
    pub(crate) fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), header: None }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let header = match &error {
            Error::Redirected { to, .. } => Some(("Location", to.clone())),
            Error::Capacity { .. } => Some(("Retry-After", WHEN_FULL.to_owned())),
            _ => None,
        };
        Self { status: error.status(), why: error.to_string(), header }
    }
}

/// How this mesh presents itself to clients.
pub(crate) fn server_config(shared: &Shared, member: bool) -> ServerConfig {
    let mut limits = shared.settings().rtsp.clone();
    if member {
        limits.pipelined_requests = MEMBER_REQUESTS;
    }
    ServerConfig {
        limits,
        server: concat!("msm/", env!("CARGO_PKG_VERSION")).into(),
        pseudonym: shared.pseudonym.clone(),
        member,
    }
}

/// Answers a request that came on a connection of this worker.
pub(crate) async fn answer(context: Rc<Context>, request: Box<Request>) -> Response {
    let asked = Instant::now();
    let method = counted(&request.method);
    let outcome = match login::admit(&context, &request).await {
        Ok(()) => dispatch(&context, &request, asked).await,
        Err(response) => Ok(*response),
    };
    let mut response = outcome.unwrap_or_else(|refusal| {
        tracing::info!(
            peer = %context.peer,
            method,
            uri = url::shown(&request.uri),
            status = refusal.status,
            why = refusal.why,
            "request refused"
        );
        let response = Response::new(refusal.status);
        match &refusal.header {
            Some((name, value)) => response.with(name, value),
            None => response,
        }
    });
    // RTSP 2.0 lets requests name a session before it has an identifier (RFC 7826 §18.33).
    if let Some(id) = request.headers.get("Pipelined-Requests") {
        response = response.with("Pipelined-Requests", id);
    }
    context.worker.shared.metrics.count_request(method, response.status);
    response
}

/// Whether a request would begin a session where none begins any more: the process ends, or the listener is to go.
fn comes_too_late(context: &Context, request: &Request) -> bool {
    matches!(request.method, Method::Describe | Method::Announce | Method::Setup)
        && (*context.worker.shared.draining.borrow()
            || context.listener().is_none_or(|own| own.left().is_some()))
        && session_id(context, request).is_none()
}

/// `asked` is when the request came.
async fn dispatch(context: &Rc<Context>, request: &Request, asked: Instant) -> Result<Response, Refusal> {
    if comes_too_late(context, request) {
        tracing::debug!(peer = %context.peer, uri = url::shown(&request.uri), "no new sessions: shutting down");
        return Ok(Response::new(503).with("Retry-After", WHEN_ENDING));
    }
    match &request.method {
        Method::Options => {
            if let Some(session) = own_session(context, request) {
                session.touch(Instant::now());
            }
            if let Some(identity) = &context.member
                && let Some(header) = request.headers.get(HEADER)
            {
                return associate(context, identity, header).await;
            }
            Ok(Machine::options(request.version))
        }
        Method::Describe => describe::describe(context, request, asked).await,
        Method::Announce => describe::announce(context, request, asked).await,
        Method::Setup => setup::setup(context, request, asked).await,
        Method::GetParameter | Method::SetParameter if session_id(context, request).is_none() => {
            Ok(Response::new(200))
        }
        _ => on_session(context, request).await,
    }
}

/// A member begins an association, or goes on with one by a new connection.
async fn associate(context: &Context, identity: &PeerIdentity, header: &str) -> Result<Response, Refusal> {
    let header = HopHeader::parse(header).ok_or_else(|| Refusal::new(400, "Msm-Hop cannot be read"))?;
    if header.path.is_some() {
        let association = context.association();
        let association =
            association.ok_or_else(|| Refusal::new(455, "the connection carries no association"))?;
        return Ok(accept::open_path(&association, &header)?);
    }
    let caller = accept::Caller {
        worker: &context.worker,
        connection: &context.connection,
        identity,
        remote: context.peer,
        carries: context.association().map(|association| association.id),
    };
    let (response, association) = accept::begin(caller, &header).await?;
    context.set_association(association);
    Ok(response)
}

/// The session that a request names, by its identifier or by that of its pipeline.
pub(crate) fn session_id(context: &Context, request: &Request) -> Option<String> {
    if let Some(id) = request.session().filter(|id| !id.is_empty()) {
        return Some(id.to_owned());
    }
    let pipeline = request.headers.get("Pipelined-Requests")?;
    context.pipelines.borrow().get(pipeline).cloned()
}

fn own_session(context: &Context, request: &Request) -> Option<Rc<Session>> {
    let session = context.worker.sessions.get(&session_id(context, request)?);
    session.filter(|session| session.owner == context.owner())
}

/// A request within a session, which may live on another worker than the connection.
async fn on_session(context: &Rc<Context>, request: &Request) -> Result<Response, Refusal> {
    let id = session_id(context, request).ok_or_else(|| Refusal::new(454, "no session is named"))?;
    let unknown = || Refusal::new(454, "the session is not known, or has timed out");
    let shared = &context.worker.shared;
    let place = shared.sessions.worker_of(&id).ok_or_else(unknown)?;
    if place == context.worker.id {
        let session = context.worker.sessions.get(&id).ok_or_else(unknown)?;
        if session.owner != context.owner() {
            return Err(Refusal::new(454, "the session is somebody else's"));
        }
        return control::handle(&context.worker, &session, request, Some(context)).await;
    }
    let (owner, request) = (context.owner(), request.clone());
    let own = id.clone();
    let remote = shared.worker(place)?.run(move |worker| async move {
        let session = worker.sessions.get(&id).filter(|session| session.owner == owner);
        match session {
            Some(session) => control::handle(&worker, &session, &request, None).await,
            None => Err(Refusal::new(454, "the session is not known, or has timed out")),
        }
    });
    let answer = remote.await?;
    // The session cannot tell its client by this connection.
    if let Some(grant) = shared.sessions.grant(&own).filter(|_| answer.is_ok()) {
        grant.tell_by(&context.connection);
    }
    answer
}

/// The stream that readers of a URL get, opened if nobody reads it yet.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    url: &RtspUrl,
    via: Vec<String>,
    ask: &Ask<'_>,
) -> Result<(Resolved, Arc<HubHandle>), Error> {
    open_with(worker, url, via, ask, None).await
}

/// The same, with other protection than the route's.
pub(crate) async fn open_with(
    worker: &Rc<Worker>,
    url: &RtspUrl,
    via: Vec<String>,
    ask: &Ask<'_>,
    protection: Option<Protection>,
) -> Result<(Resolved, Arc<HubHandle>), Error> {
    let mut resolved = authorize(worker, url, ask)?;
    if let Some(protection) = protection {
        resolved.protection = protection;
    }
    let key = resolved.key();
    let registry = &worker.shared.registry;
    if !resolved.is_upstream() {
        let handle = registry.get(&key).await.ok_or_else(|| Error::NotPublished { url: url.to_string() })?;
        return Ok((resolved, handle));
    }
    let handle = registry.get_or_open(&key, || pull::open(worker, &resolved, Some(key.clone()), via)).await?;
    Ok((resolved, handle))
}

/// The way of a URL, for this caller. The decision is logged, a denial with its reason, and counted, unless it is the
/// application's own.
pub(crate) fn authorize(worker: &Worker, url: &RtspUrl, ask: &Ask<'_>) -> Result<Resolved, Error> {
    let outcome = worker.shared.routing().resolve(url, ask);
    let metrics = &worker.shared.metrics;
    let (action, caller) = (ask.action, &ask.caller);
    match &outcome {
        Ok(Resolved { route, .. }) => {
            tracing::debug!(%url, action = action.name(), ?caller, route, "allowed");
            if *caller != Caller::Own {
                metrics.count_authorization("allow", route);
            }
        }
        Err(Error::Redirected { route, to, .. }) => {
            tracing::debug!(%url, action = action.name(), ?caller, route, to, "sent elsewhere");
            metrics.count_authorization("redirect", route);
        }
        Err(Error::Denied { route, reason }) => {
            tracing::warn!(%url, action = action.name(), ?caller, route, reason, "denied");
            metrics.count_authorization("deny", route);
        }
        _ => {}
    }
    outcome
}

/// Who the request came through, and we.
pub(crate) fn via_of(worker: &Worker, request: &Request) -> Vec<String> {
    via::forwarded(&request.headers, &worker.shared.pseudonym)
}

/// A method as a metric label: a bounded set.
fn counted(method: &Method) -> &'static str {
    for known in [
        "OPTIONS",
        "DESCRIBE",
        "ANNOUNCE",
        "SETUP",
        "PLAY",
        "RECORD",
        "PAUSE",
        "TEARDOWN",
        "GET_PARAMETER",
        "SET_PARAMETER",
    ] {
        if method_name(method) == known {
            return known;
        }
    }
    "other"
}
