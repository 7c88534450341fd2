//! Finding the endpoint that has a stream, and how it is spoken to.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::cluster::PickError;
use msm_core::route::Protection;
use msm_rtsp::client::{Described, described};
use msm_rtsp::url::RtspUrl;

use super::link::Link;
use crate::cluster::{Attempts, Held};
use crate::error::Error;
use crate::hop::dial::Peer;
use crate::hop::pull::{self, Member};
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
        let held = match attempts.next() {
            Ok(held) => held,
            Err(why) => return Err(last.unwrap_or_else(|| no_endpoint(resolved, why))),
        };
        match deadline.keep(&held, ask(worker, resolved, settings, &held.url, via)).await {
            Ok(found) => {
                held.report_success();
                return Ok((found, held));
            }
            Err(error) => {
                resolved.tell_failed(&settings.name, &error);
                held.report_failure(&error);
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
        held: &Held,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(at) = self.0 else { return attempt.await };
        tokio::time::timeout_at(at.into(), attempt).await.unwrap_or_else(|_| {
            let request = "the set-up of the stream, by `timeouts.set_up` of the route,".into();
            Err(Error::UpstreamTimeout { endpoint: held.url.to_string(), request })
        })
    }
}

/// Has one endpoint describe the stream.
pub(crate) async fn ask(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    settings: &Arc<ClusterSettings>,
    url: &RtspUrl,
    via: &[String],
) -> Result<Found, Error> {
    Ok(match way(worker, settings, url, &resolved.protection, via).await? {
        Way::Plain(link) => {
            let (link, described) = describe(worker, link, settings, via).await?;
            Found::Plain(link, described)
        }
        Way::Member(peer) => {
            let (member, described) = pull::describe(worker, settings, peer, url, via).await?;
            Found::Member(member, described)
        }
    })
}

/// There is no endpoint to ask.
pub(crate) fn no_endpoint(resolved: &Resolved, why: PickError) -> Error {
    let cluster = resolved.cluster_name().to_owned();
    match why {
        PickError::Full { limit: key, of: limit } => Error::ClusterFull { cluster, key, limit },
        _ => Error::NoEndpoint { cluster, reason: why.to_string() },
    }
}

/// Whether who was reached within TLS stays within it.
pub(crate) fn keeps_tls(from: &RtspUrl, to: &RtspUrl) -> bool {
    from.scheme() != "rtsps" || to.scheme() == "rtsps"
}

/// Where a server sends us (`RFC 2326 §11.3`).
fn redirected(from: &RtspUrl, location: Option<&str>) -> Result<RtspUrl, &'static str> {
    let to = location.and_then(|location| RtspUrl::parse(location).ok());
    let to = to.ok_or("a redirect without a usable Location")?;
    if !keeps_tls(from, &to) {
        return Err("a redirect from TLS to a connection in the clear, which is not followed");
    }
    Ok(to)
}

/// What a server says of the link's stream; the link is another one where the server sends us elsewhere.
pub(crate) async fn describe(
    worker: &Rc<Worker>,
    mut link: Box<Link>,
    settings: &ClusterSettings,
    via: &[String],
) -> Result<(Box<Link>, Described), Error> {
    let shared = worker.shared.settings();
    let limits = &shared.rtsp;
    for _ in 0..=limits.redirects {
        let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
        // Learns how to keep the session alive; servers that do not know OPTIONS say so and go on.
        link.ask(|client, now| client.options(now), &mut ignore).await?;
        let response = link.ask(|client, now| client.describe(now), &mut ignore).await?;
        if (300..400).contains(&response.status) {
            let url = redirected(link.client.url(), response.headers.get("Location"));
            let url = url.map_err(|why| link.protocol(why))?;
            link = Box::new(Link::connect(worker, &url, settings, via.to_vec()).await?);
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
    Err(link.protocol("redirected too often"))
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
        assert!(to("rtsps://a/", Some("http://b/x")).is_err());
        assert!(to("rtsp://a/", None).is_err());
    }
}
