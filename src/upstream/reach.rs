//! Finding the endpoint that has a stream, and how it is spoken to.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::cluster::PickError;
use msm_core::route::Protection;
use msm_rtsp::client::{Described, described};
use msm_rtsp::url::RtspUrl;

use super::link::Link;
use super::onward::{self, Away, Next, Onward};
use crate::cluster::{Attempts, Held};
use crate::error::Error;
use crate::hop::dial::Peer;
use crate::hop::pull::Member;
use crate::hop::reach::{Reached, reach};
use crate::metrics::HopKind;
use crate::routing::{ClusterSettings, Resolved};
use crate::worker::Worker;

/// How an endpoint is spoken to.
pub(crate) enum Way {
    /// By plain RTSP, on a connection of the session's own.
    Plain(Box<Link>),
    /// By a mesh hop.
    Member(Rc<Peer>),
}

/// A stream that an endpoint has described.
pub(crate) enum Found {
    Plain(Box<Link>, Described),
    Member(Member, Described),
}

impl Found {
    /// The endpoint's URL, for people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Plain(link, _) => link.name().to_owned(),
            Self::Member(member, _) => member.url.to_string(),
        }
    }

    pub(crate) fn described(&self) -> &Described {
        match self {
            Self::Plain(_, described) | Self::Member(_, described) => described,
        }
    }

    pub(crate) fn kind(&self) -> HopKind {
        match self {
            Self::Plain(..) => HopKind::Plain,
            Self::Member(..) => HopKind::Mesh,
        }
    }
}

/// Connects to an endpoint.
pub(crate) async fn way(
    worker: &Rc<Worker>,
    settings: &Arc<ClusterSettings>,
    url: &RtspUrl,
    protection: &Protection,
    via: &[String],
) -> Result<Way, Error> {
    if settings.members.is_none() {
        return Ok(Way::Plain(Box::new(Link::connect(worker, url, settings, via.to_vec()).await?)));
    }
    Ok(match reach(worker, settings, url, &protection.paths.from).await? {
        Reached::Member(peer) => Way::Member(peer),
        Reached::Plain(dialled) => {
            // That is what it is, and what a redirect must not leave.
            let url = url.clone().over(true);
            Way::Plain(Box::new(Link::fallback(worker, &url, settings, via.to_vec(), dialled)?))
        }
    })
}

/// The first of the endpoints that can be reached and describes the stream.
pub(crate) async fn find(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    settings: &Arc<ClusterSettings>,
    via: &[String],
    attempts: &mut Attempts,
) -> Result<(Found, Held), Error> {
    let deadline = Deadline::of(resolved);
    let mut last = None;
    loop {
        let mut held = match attempts.next() {
            Ok(held) => held,
            Err(why) => return Err(last.unwrap_or_else(|| no_endpoint(resolved, why))),
        };
        let url = held.url.clone();
        match deadline.keep(&url, ask(worker, resolved, settings, &mut held, via)).await {
            Ok(found) => {
                held.report_success();
                return Ok((found, held));
            }
            Err(error) => {
                resolved.tell_failed(&settings.name, &error);
                held.report_failure(&error);
                attempts.leave_out(&held);
                let is_final = matches!(&error, Error::UpstreamStatus { status: 401 | 403 | 404, .. });
                if is_final || deadline.is_over() {
                    return Err(error);
                }
                last = Some(error);
            }
        }
    }
}

/// When a stream's set-up is given up, whatever endpoints there are (`timeouts.set_up` of its route).
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn of(resolved: &Resolved) -> Self {
        Self(resolved.set_up.map(|limit| Instant::now() + limit))
    }

    /// Whether nothing more is to be tried.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    /// Tries an endpoint as long as there is time.
    pub(crate) async fn keep<T>(
        &self,
        endpoint: &RtspUrl,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(at) = self.0 else { return attempt.await };
        tokio::time::timeout_at(at.into(), attempt).await.unwrap_or_else(|_| {
            let request = "the set-up of the stream, by `timeouts.set_up` of the route,".into();
            Err(Error::UpstreamTimeout { endpoint: endpoint.to_string(), request })
        })
    }
}

/// Has one endpoint describe the stream, or the one that it sends us to, which is the one that is held then.
pub(crate) async fn ask(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    settings: &Arc<ClusterSettings>,
    held: &mut Held,
    via: &[String],
) -> Result<Found, Error> {
    let first = Next { url: held.url.clone(), stranger: held.is_stranger() };
    let mut onward = |away: &Away| match onward::rule(resolved, settings, &away.from, &away.to)? {
        Onward::Endpoint(next) => {
            *held = next;
            Ok(Next { url: held.url.clone(), stranger: false })
        }
        Onward::Stranger(url) => Ok(Next { url, stranger: true }),
    };
    onward::follow(worker, settings, &resolved.protection, via, first, &mut onward).await
}

/// There is no endpoint to ask.
pub(crate) fn no_endpoint(resolved: &Resolved, why: PickError) -> Error {
    let cluster = resolved.cluster_name().to_owned();
    match why {
        PickError::Full { limit: key, of: limit } => Error::ClusterFull { cluster, key, limit },
        _ => Error::NoEndpoint { cluster, reason: why.to_string() },
    }
}

/// What a server says of a stream.
pub(crate) enum Answer {
    Described(Box<Link>, Box<Described>),
    /// Another one has it.
    Away(Away),
}

/// What a server says of the link's stream.
pub(crate) async fn describe(
    mut link: Box<Link>,
    worker: &Worker,
    settings: &ClusterSettings,
) -> Result<Answer, Error> {
    let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
    // Learns how to keep the session alive; servers that do not know OPTIONS say so and go on.
    link.ask(|client, now| client.options(now), &mut ignore).await?;
    let response = link.ask(|client, now| client.describe(now), &mut ignore).await?;
    if (300..400).contains(&response.status) {
        let to = response.headers.get("Location").and_then(|location| RtspUrl::parse(location).ok());
        let to = to.ok_or_else(|| link.protocol("a redirect without a usable Location"))?;
        return Ok(Answer::Away(Away { from: link.client.url().clone(), status: response.status, to }));
    }
    if !response.is_success() {
        return Err(Error::UpstreamStatus {
            endpoint: link.name().into(),
            request: "DESCRIBE".into(),
            status: response.status,
            reason: response.reason,
        });
    }
    let limits = &worker.shared.settings().rtsp;
    let described = described(&response, link.client.url(), settings.control, limits)
        .map_err(|error| link.protocol(format!("description refused: {error}")))?;
    Ok(Answer::Described(link, Box::new(described)))
}
