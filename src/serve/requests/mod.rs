//! What each request does.

mod control;
mod describe;
mod setup;

use std::rc::Rc;
use std::sync::Arc;

use msm_core::route::Action;
use msm_rtsp::message::{Method, Request, Response, method_name};
use msm_rtsp::proxy::via;
use msm_rtsp::server::{Connection as Machine, ServerConfig};
use msm_rtsp::url::RtspUrl;

use super::connection::Context;
use super::login;
use super::session::Session;
use crate::error::Error;
use crate::hub::handle::HubHandle;
use crate::routing::Resolved;
use crate::shared::Shared;
use crate::upstream::pull;
use crate::worker::Worker;

/// What a refused request is answered with.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { status: error.status(), why: error.to_string() }
    }
}

/// How this mesh presents itself to clients.
pub(crate) fn server_config(shared: &Shared) -> ServerConfig {
    ServerConfig {
        limits: shared.settings.rtsp.clone(),
        server: concat!("msm/", env!("CARGO_PKG_VERSION")).into(),
        pseudonym: shared.pseudonym.clone(),
    }
}

/// Answers a request that came on a connection of this worker.
pub(crate) async fn answer(context: Rc<Context>, request: Box<Request>) -> Response {
    let method = counted(&request.method);
    let outcome = match login::admit(&context, &request).await {
        Ok(()) => dispatch(&context, &request).await,
        Err(response) => Ok(*response),
    };
    let mut response = outcome.unwrap_or_else(|refusal| {
        tracing::info!(
            peer = %context.peer,
            method,
            uri = %request.uri.escape_debug(),
            status = refusal.status,
            why = refusal.why,
            "request refused"
        );
        Response::new(refusal.status)
    });
    // RTSP 2.0 lets requests name a session before it has an identifier (RFC 7826 §18.33).
    if let Some(id) = request.headers.get("Pipelined-Requests") {
        response = response.with("Pipelined-Requests", id);
    }
    context.worker.shared.metrics.count_request(method, response.status);
    response
}

async fn dispatch(context: &Rc<Context>, request: &Request) -> Result<Response, Refusal> {
    match &request.method {
        Method::Options => {
            if let Some(session) = own_session(context, request) {
                session.touch(std::time::Instant::now());
            }
            Ok(Machine::options(request.version))
        }
        Method::Describe => describe::describe(context, request).await,
        Method::Announce => describe::announce(context, request).await,
        Method::Setup => setup::setup(context, request).await,
        Method::GetParameter | Method::SetParameter if session_id(context, request).is_none() => {
            Ok(Response::new(200))
        }
        _ => on_session(context, request).await,
    }
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
    context.worker.sessions.get(&session_id(context, request)?)
}

/// A request within a session, which may live on another worker than the connection.
async fn on_session(context: &Rc<Context>, request: &Request) -> Result<Response, Refusal> {
    let id = session_id(context, request).ok_or_else(|| Refusal::new(454, "no session is named"))?;
    let unknown = || Refusal::new(454, "the session is not known, or has timed out");
    let shared = &context.worker.shared;
    let place = shared.sessions.worker_of(&id).ok_or_else(unknown)?;
    if place == context.worker.id {
        let session = context.worker.sessions.get(&id).ok_or_else(unknown)?;
        if session.peer != context.peer_ip() {
            return Err(Refusal::new(454, "the session is another address's"));
        }
        return control::handle(&context.worker, &session, request, Some(context)).await;
    }
    let (peer, request) = (context.peer_ip(), request.clone());
    let remote = shared.worker(place)?.run(move |worker| async move {
        let session = worker.sessions.get(&id).filter(|session| session.peer == peer);
        match session {
            Some(session) => control::handle(&worker, &session, &request, None).await,
            None => Err(Refusal::new(454, "the session is not known, or has timed out")),
        }
    });
    remote.await?
}

/// The stream that readers of a URL get, opened if nobody reads it yet.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    url: &RtspUrl,
    via: Vec<String>,
) -> Result<(Resolved, Arc<HubHandle>), Error> {
    let resolved = worker.shared.routing.resolve(url, Action::Read)?;
    let key = resolved.key();
    let registry = &worker.shared.registry;
    if !resolved.is_upstream() {
        let handle = registry.get(&key).await.ok_or_else(|| Error::NotPublished { url: url.to_string() })?;
        return Ok((resolved, handle));
    }
    let handle = registry.get_or_open(&key, || pull::open(worker, &resolved, Some(key.clone()), via)).await?;
    Ok((resolved, handle))
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
