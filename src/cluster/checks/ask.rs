//! What one check asks.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use msm_core::cluster::{Check, CheckFailure, CheckKind};
use msm_core::route::Protection;
use msm_rtsp::url::RtspUrl;

use super::{flow, member};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::hop;
use crate::routing::ClusterSettings;
use crate::upstream::connect::dial;
use crate::upstream::link::Link;
use crate::upstream::onward::{self, Away, Next, Refusal};
use crate::upstream::reach::Found;
use crate::worker::Worker;

/// Statuses from here on are those of a server that cannot serve (RFC 7826 §17.5).
const BROKEN: u16 = 500;

/// Why a check did not succeed.
pub(super) enum Failed {
    /// By what the endpoint did, or did not.
    Endpoint(CheckFailure),
    /// By something that this process lacks.
    Own(Error),
}

impl From<CheckFailure> for Failed {
    fn from(failure: CheckFailure) -> Self {
        Self::Endpoint(failure)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Endpoint(match error {
            Error::Unreachable { .. } => CheckFailure::Unreachable,
            Error::UpstreamTimeout { .. } => CheckFailure::TimedOut,
            Error::UpstreamStatus { status, .. } | Error::UpstreamRedirect { status, .. } => {
                CheckFailure::Refused { status }
            }
            Error::UpstreamProtocol { .. }
            | Error::UpstreamTls { .. }
            | Error::NotAMember { .. }
            | Error::StreamEnded => CheckFailure::Protocol,
            own => return Self::Own(own),
        })
    }
}

/// Asks an endpoint, on a connection of the check's own; the DESCRIBE and the flow of a member go by the warm connection that sessions
/// would use.
pub(super) async fn ask(
    worker: &Rc<Worker>,
    cluster: &Weak<Cluster>,
    settings: &Arc<ClusterSettings>,
    check: &Check,
) -> Result<(), Failed> {
    let url = RtspUrl::parse(&check.endpoint.to_string()).map_err(|_| CheckFailure::Unreachable)?;
    match &check.kind {
        CheckKind::Tcp => {
            // Whether TLS and RTSP are behind it is another kind's question.
            dial(&url, settings).await.map_err(|_| CheckFailure::Unreachable)?;
            Ok(())
        }
        CheckKind::Options => options(worker, settings, &url).await,
        CheckKind::Describe { resource } => {
            drop(describe(worker, cluster, settings, url.with_resource(resource)).await?);
            Ok(())
        }
        CheckKind::Rtp { resource } => {
            let until = tokio::time::Instant::now() + flow_limit(check.timeout);
            let asking = describe(worker, cluster, settings, url.with_resource(resource));
            let found =
                tokio::time::timeout_at(until, asking).await.map_err(|_| CheckFailure::TimedOut)??;
            match found {
                Found::Plain(link, described) => flow::flows(worker, settings, link, &described, until).await,
                Found::Member(member, described) => member::flows(member, &described, until).await,
            }
        }
        other => {
            tracing::error!(kind = ?other, "no such check is known");
            Ok(())
        }
    }
}

/// Has the endpoint describe a stream, or who a session would be sent to by it.
async fn describe(
    worker: &Rc<Worker>,
    cluster: &Weak<Cluster>,
    settings: &Arc<ClusterSettings>,
    url: RtspUrl,
) -> Result<Found, Failed> {
    let resource = url.resource();
    let mut onward = |away: &Away| {
        let (host, port) = (away.to.host(), away.to.port());
        let next = match cluster.upgrade().and_then(|cluster| cluster.named(host, port)) {
            Some(endpoint) => Next { url: endpoint.with_resource(&resource), stranger: false },
            None => Next { url: onward::stranger(settings, &away.to)?, stranger: true },
        };
        if onward::is_safe(settings, &away.from, &next.url, next.stranger) {
            Ok(next)
        } else {
            Err(Refusal::Clear)
        }
    };
    let (first, protection) = (Next { url, stranger: false }, Protection::default());
    Ok(onward::follow(worker, settings, &protection, &via(worker), first, &mut onward).await?)
}

/// A session is left within the check's time, too: an eighth of it is for the farewell.
fn flow_limit(timeout: Duration) -> Duration {
    timeout - timeout / 8
}

/// An endpoint that answers at all is alive, whatever it thinks of who asks: 401 is a good answer.
async fn options(worker: &Rc<Worker>, settings: &Arc<ClusterSettings>, url: &RtspUrl) -> Result<(), Failed> {
    let mut link = if settings.members.is_some() {
        // TLS has proved who it is. An association, which is state at the other end, is not begun for a check.
        let dialled = hop::connect::connect(worker, settings, url).await?;
        if !dialled.is_member && !settings.fallback {
            return Err(CheckFailure::Protocol.into());
        }
        Link::fallback(worker, &url.clone().over(true), settings, via(worker), dialled)?
    } else {
        Link::connect(worker, url, settings, via(worker)).await?
    };
    let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
    let status = match link.ask(|client, now| client.options(now), &mut ignore).await {
        Ok(response) => response.status,
        Err(Error::UpstreamStatus { status, .. }) => status,
        Err(error) => return Err(error.into()),
    };
    if status >= BROKEN { Err(CheckFailure::Refused { status }.into()) } else { Ok(()) }
}

/// So that a check that comes back to this process is known as a loop.
fn via(worker: &Worker) -> Vec<String> {
    vec![format!("RTSP/1.0 {}", worker.shared.pseudonym)]
}
