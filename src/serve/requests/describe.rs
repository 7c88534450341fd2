//! DESCRIBE and ANNOUNCE.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::route::{Action, Protection};
use msm_rtsp::message::{Request, Response, Version};
use msm_rtsp::sdp::{Description, Feedback, TrackWay};
use msm_rtsp::server::takes_early_feedback;
use msm_rtsp::url::{RtspUrl, presentation};

use super::{Refusal, authorize, open, via_of};
use crate::hop::protect;
use crate::hub::rtx;
use crate::serve::connection::{Announced, Context};
use crate::srtp::{OwnKey, SUITE, SharedKey};

/// Descriptions that one connection may have announced and not recorded yet.
const MAX_ANNOUNCED: usize = 4;

pub(super) fn parse(uri: &str) -> Result<RtspUrl, Refusal> {
    RtspUrl::parse(uri).map_err(|error| Refusal::new(400, format!("request URI: {error}")))
}

pub(super) async fn describe(
    context: &Rc<Context>,
    request: &Request,
    asked: Instant,
) -> Result<Response, Refusal> {
    let base = presentation(&request.uri);
    context.first_asked.begin(&base, asked);
    let url = parse(&base)?.over(context.connection.is_secure());
    if let Some(accept) = request.headers.get("Accept") {
        let takes = |kind: &str| {
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            matches!(kind.as_str(), "application/sdp" | "application/*" | "*/*")
        };
        if !accept.trim().is_empty() && !accept.split(',').any(takes) {
            return Err(Refusal::new(406, "only application/sdp is served"));
        }
    }
    let listening = context.listener().ok_or_else(|| Refusal::new(503, "shutting down"))?;
    let ask = context.owner().ask(Action::Read, &listening.shared().settings.name, &request.headers);
    let (resolved, handle) = open(&context.worker, &url, via_of(&context.worker, request), &ask).await?;
    let tracks = handle.description.tracks.len();
    let listener = listening.shared();
    let settings = &listener.settings;
    let ways = if settings.srtp {
        context.offered.borrow_mut().describe(&base, tracks)?
    } else if context.member.is_some() {
        protect::offers(&handle.description.tracks, &resolved.protection)
    } else if settings.tls.is_none() && settings.member.is_none() {
        ways_in_the_clear(&resolved.protection, request.headers.get("User-Agent"), tracks)
    } else {
        Vec::new()
    };
    let body = handle.description.for_reader(context.local.is_ipv6(), &ways);
    let mut response = Response::new(200)
        .with("Content-Base", format!("{}/", base.trim_end_matches('/')))
        .with_body("application/sdp", body);
    if request.version == Version::V2_0 {
        response =
            response.with("Accept-Ranges", "npt").with("Media-Properties", properties(handle.unshared));
    }
    Ok(response)
}

/// How tracks go to a plain client that comes without TLS.
pub(crate) fn ways_in_the_clear(
    protection: &Protection,
    user_agent: Option<&str>,
    tracks: usize,
) -> Vec<TrackWay> {
    let early = takes_early_feedback(user_agent, protection.nack_eager);
    let feedback = rtx::history(protection).map(|history| Feedback {
        early,
        parity: false,
        time: u32::try_from(history.as_millis()).unwrap_or(u32::MAX),
    });
    vec![TrackWay { feedback, ..TrackWay::default() }; tracks]
}

/// Whether one can seek (`RFC 7826 §18.29`).
pub(super) fn properties(seekable: bool) -> &'static str {
    if seekable {
        "Random-Access, Immutable, Unlimited"
    } else {
        "No-Seeking, Time-Progressing, Time-Duration=0.0"
    }
}

pub(super) async fn announce(
    context: &Rc<Context>,
    request: &Request,
    asked: Instant,
) -> Result<Response, Refusal> {
    let base = presentation(&request.uri);
    context.first_asked.begin(&base, asked);
    let url = parse(&base)?.over(context.connection.is_secure());
    let description = Description::parse(&request.body, &context.worker.shared.settings().rtsp)
        .map_err(|error| Refusal::new(400, format!("description refused: {error}")))?;
    let shared = &context.worker.shared;
    let listening = context.listener().ok_or_else(|| Refusal::new(503, "shutting down"))?;
    let ask = context.owner().ask(Action::Publish, &listening.shared().settings.name, &request.headers);
    let resolved = authorize(&context.worker, &url, &ask)?;
    shared.registry.admits(&resolved.publish_key(), resolved.publish.priority).await?;
    let mut response = Response::new(200);
    let mut keys = Vec::new();
    for track in &description.tracks {
        // Without TLS no key is told; SETUP says so.
        let is_told = context.connection.is_secure() && track.is_secure();
        let key = is_told.then(|| OwnKey::new(SUITE, crate::srtp::random_ssrc()?)).transpose()?;
        if let Some(key) = key.as_ref().filter(|_| !track.keying.key_mgmt.is_empty()) {
            response = response.with("KeyMgmt", key.header(&base)?.as_str());
        }
        keys.push(key.map(SharedKey::new));
    }
    let mut announced = context.announced.borrow_mut();
    if announced.len() >= MAX_ANNOUNCED && !announced.contains_key(&base) {
        return Err(Refusal::new(453, "too many descriptions are announced on this connection"));
    }
    announced.insert(
        base,
        Announced {
            description: Arc::new(description),
            via: via_of(&context.worker, request),
            keys: keys.into(),
        },
    );
    Ok(response)
}
