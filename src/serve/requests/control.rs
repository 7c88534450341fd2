//! Requests within a session: PLAY, PAUSE, RECORD, TEARDOWN, and keep-alives.

use std::rc::Rc;
use std::time::Instant;

use msm_core::route::Action;
use msm_rtsp::headers::{Range, write_rtp_info};
use msm_rtsp::message::{Method, Request, Response, Version};
use msm_rtsp::url::{join_control, match_control, track_control};

use super::Refusal;
use crate::hub::handle::{ParameterRequest, PlayRequest};
use crate::hub::shard::EndReason;
use crate::metrics::HopKind;
use crate::serve::connection::Context;
use crate::serve::reader::Path;
use crate::serve::session::{self, Role, Session, SessionState};
use crate::worker::Worker;

/// Handles a request of a session that lives on this worker. `context` is the connection it came on, if that is of
/// this worker too.
pub(super) async fn handle(
    worker: &Rc<Worker>,
    session: &Rc<Session>,
    request: &Request,
    context: Option<&Rc<Context>>,
) -> Result<Response, Refusal> {
    session.touch(Instant::now());
    let mut state = session.state.lock().await;
    let state = &mut *state;
    state
        .machine
        .check(&request.method)
        .map_err(|status| Refusal::new(status, format!("not valid while {:?}", state.machine.state())))?;
    // Only a URI that is the session's with a track's name behind it means less than all of it.
    let alone = match_control(&request.uri, usize::MAX)
        .filter(|(base, _)| *base == state.url)
        .and_then(|(_, track)| track)
        .filter(|_| {
            matches!(request.method, Method::Play | Method::Pause | Method::Record | Method::Teardown)
        });
    state
        .machine
        .check_target(&request.method, alone)
        .map_err(|status| Refusal::new(status, "not of one track alone"))?;
    if let Some(context) = context {
        // A session whose media is UDP goes on with whatever connection its client has now.
        let movable = match &state.role {
            Role::Reader(reader) => !reader.is_interleaved(),
            Role::Publisher(_) => false,
        };
        if movable && !session.is_attached(&context.connection) {
            session.attach(&context.connection);
            context.adopt(session);
        }
    }
    if matches!(request.method, Method::Play | Method::Record)
        && let Err(error) = session.grant.check(&worker.shared.routing())
    {
        // The routes have changed since its SETUP.
        session::remove(worker, &session.id);
        return Err(error.into());
    }
    let header = state.machine.header();
    let response = match &request.method {
        Method::Play => {
            let answer = play(worker, session, state, request, context).await?;
            if worker.sessions.get(&session.id).is_none() {
                return Err(Refusal::new(454, "the session ended meanwhile"));
            }
            observe_setup(worker, session, state, Action::Read);
            answer
        }
        Method::Pause => {
            if let Role::Reader(reader) = &mut state.role {
                reader.pause(worker).await?;
            }
            Response::new(200)
        }
        Method::Record => {
            if let Role::Publisher(publisher) = &mut state.role {
                let on_end = session.on_end();
                let sink = publisher.record(worker, move || on_end(EndReason::StreamEnded)).await?;
                session.set_sink(sink);
                // All tracks are set up: the description is the stream's now.
                if let Some(context) = context {
                    context.announced.borrow_mut().remove(&state.url);
                }
                observe_setup(worker, session, state, Action::Publish);
            }
            Response::new(200)
        }
        Method::Teardown => {
            if let Some(track) = alone.filter(|track| state.machine.torn_down(*track)) {
                match &mut state.role {
                    Role::Reader(reader) => reader.tracks.retain(|own| own.track != track),
                    Role::Publisher(publisher) => publisher.inlets.retain(|own| own.track != track),
                }
                return Ok(Response::new(200).with("Session", header));
            }
            session::remove(worker, &session.id);
            if let Role::Publisher(publisher) = &mut state.role {
                publisher.leave(true).await;
            }
            return Ok(Response::new(200).with("Session", header));
        }
        Method::GetParameter | Method::SetParameter => parameter(state, request).await?,
        _ => Response::new(200),
    };
    state.machine.done(&request.method);
    Ok(response.with("Session", header))
}

/// Measures how long the client has waited, once a session: a pause or a seek sets nothing up.
fn observe_setup(worker: &Worker, session: &Session, state: &mut SessionState, action: Action) {
    let Some(asked) = state.asked.take() else { return };
    let hop = if session.association.is_some() { HopKind::Mesh } else { HopKind::Plain };
    worker.shared.metrics.observe_setup(hop, action, asked.elapsed());
}

async fn play(
    worker: &Rc<Worker>,
    session: &Rc<Session>,
    state: &mut SessionState,
    request: &Request,
    context: Option<&Rc<Context>>,
) -> Result<Response, Refusal> {
    let Role::Reader(reader) = &mut state.role else {
        return Err(Refusal::new(455, "a publisher's session"));
    };
    let wanted = PlayRequest {
        range: request.headers.get("Range").and_then(Range::parse),
        scale: request.headers.get("Scale").map(str::to_owned),
        speed: request.headers.get("Speed").map(str::to_owned),
    };
    for track in &reader.tracks {
        match &track.path {
            // Some clients throw away packets that come before the answer. Where that goes another way, it releases
            // nothing here.
            Path::Interleaved { connection, .. }
                if context.is_some_and(|context| Rc::ptr_eq(&context.connection, connection)) =>
            {
                connection.hold();
            }
            Path::Group(group) => group.play().await?,
            _ => {}
        }
    }
    if let Some(association) = session.association.as_ref().and_then(std::rc::Weak::upgrade) {
        // Nothing is sent into the void: the answer waits until it is known how packets go.
        association.ready().await?;
    }
    let (answer, infos) = reader.play(worker, wanted, || session.on_end()).await?;
    if let Some(placed) = reader.placed() {
        session.set_reader(worker, placed);
    }
    let base = format!("{}/", state.url.trim_end_matches('/'));
    let tracks: Vec<_> = infos
        .into_iter()
        .filter_map(|(track, info)| {
            let ssrc = reader.tracks.iter().find(|own| own.track == track)?.ssrc;
            Some((join_control(&base, &track_control(track), Default::default()), ssrc, info))
        })
        .collect();
    let live = if reader.lease.unshared { "npt=0.000-" } else { "npt=now-" };
    let range = answer.range.as_ref().filter(|_| reader.lease.unshared).map_or(live, Range::as_str);
    let mut response = Response::new(200).with("Range", range);
    if reader.lease.unshared {
        if let Some(scale) = &answer.scale {
            response = response.with("Scale", scale);
        }
        if let Some(speed) = &answer.speed {
            response = response.with("Speed", speed);
        }
    }
    if !tracks.is_empty() {
        response = response.with("RTP-Info", write_rtp_info(request.version, &tracks));
    } else if request.version == Version::V2_0 {
        response = response.with("Seek-Style", "Next");
    }
    Ok(response)
}

/// A body goes to the upstream where the reader has one of its own, or the stream one at all; without a body it is a
/// keep-alive of this hop.
async fn parameter(state: &SessionState, request: &Request) -> Result<Response, Refusal> {
    let Role::Reader(reader) = &state.role else { return Ok(Response::new(200)) };
    if request.body.is_empty() {
        return Ok(Response::new(200));
    }
    let set = request.method == Method::SetParameter;
    if set && !reader.lease.unshared {
        return Err(Refusal::new(458, "one reader cannot change what all share"));
    }
    let passed = ParameterRequest {
        set,
        content_type: request.headers.get("Content-Type").map(str::to_owned),
        body: request.body.to_vec(),
    };
    match reader.lease.parameter(passed).await {
        None => Err(Refusal::new(451, "this process is the origin and has no parameters")),
        Some(answer) => {
            let answer = answer?;
            let response = Response::new(answer.status);
            Ok(match answer.content_type {
                Some(kind) if !answer.body.is_empty() => response.with_body(&kind, answer.body),
                _ => response,
            })
        }
    }
}
