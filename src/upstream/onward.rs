//! Where servers may send sessions: by 3xx to DESCRIBE (RFC 2326 §11.3), or by REDIRECT.
//!
//! A server chooses among the cluster's endpoints and nothing else, unless the cluster says otherwise (`failover.on_redirect`): it must not have
//! this process connect to anybody. And whoever is no endpoint of the cluster is not told its credentials.

use std::rc::Rc;
use std::sync::Arc;

use msm_core::route::Protection;
use msm_rtsp::url::RtspUrl;

use super::reach::{Answer, Found, Way, describe, way};
use crate::cluster::{Held, Place};
use crate::config::OnRedirect;
use crate::error::Error;
use crate::hop::pull;
use crate::routing::{ClusterSettings, Resolved};
use crate::worker::Worker;

/// An answer that sends us to another server.
pub(crate) struct Away {
    pub(crate) from: RtspUrl,
    pub(crate) status: u16,
    pub(crate) to: RtspUrl,
}

/// Who is asked next.
pub(crate) struct Next {
    pub(crate) url: RtspUrl,
    /// It is no endpoint of the cluster.
    pub(crate) stranger: bool,
}

/// Why a server is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// To who is no endpoint.
    Stranger,
    /// To an endpoint that no session may go to now.
    Closed,
    /// From TLS to a connection in the clear.
    Clear,
    /// Once more, after so many.
    TooOften(u32),
}

impl Refusal {
    /// What is wrong, and what to do.
    pub(crate) fn why(self, cluster: &str) -> String {
        match self {
            Self::Stranger => format!(
                "which is no endpoint of cluster `{cluster}`: add it to those, or write `failover: {{on_redirect: follow}}` in that cluster to \
                 go wherever its servers say"
            ),
            Self::Closed => format!(
                "an endpoint of cluster `{cluster}` that takes no session now: it is ill, has all that it may have, or has the weight 0"
            ),
            Self::Clear => {
                "which would leave TLS for a connection in the clear: have the server name an `rtsps` URL"
                    .into()
            }
            Self::TooOften(most) => format!("after {most} others: no more redirects in a row are followed"),
        }
    }

    /// As an error of the set-up.
    pub(crate) fn error(self, away: &Away, cluster: &str) -> Error {
        Error::UpstreamRedirect {
            endpoint: away.from.to_string(),
            status: away.status,
            to: away.to.without_credentials().to_string(),
            reason: self.why(cluster),
        }
    }
}

/// Whom a session goes to that a server sends away.
pub(crate) enum Onward {
    /// To another endpoint of the cluster, which is asked for what any would be.
    Endpoint(Held),
    /// To somebody else, for what the server names.
    Stranger(RtspUrl),
}

/// Whether who was reached within TLS stays within it.
pub(crate) fn keeps_tls(from: &RtspUrl, to: &RtspUrl) -> bool {
    from.scheme() != "rtsps" || to.scheme() == "rtsps"
}

/// Whether a session with the server at `from` may go where that sends it.
pub(crate) fn rule(
    resolved: &Resolved,
    settings: &ClusterSettings,
    from: &RtspUrl,
    to: &RtspUrl,
) -> Result<Onward, Refusal> {
    let onward = match resolved.endpoint_at(to) {
        Place::Endpoint(held) => Onward::Endpoint(held),
        Place::Closed => return Err(Refusal::Closed),
        Place::Elsewhere => Onward::Stranger(stranger(settings, to)?),
    };
    let (url, stranger) = match &onward {
        Onward::Endpoint(held) => (&held.url, false),
        Onward::Stranger(url) => (url, true),
    };
    if is_safe(settings, from, url, stranger) { Ok(onward) } else { Err(Refusal::Clear) }
}

/// The URL of who is no endpoint, if the cluster's servers may name anybody.
pub(crate) fn stranger(settings: &ClusterSettings, to: &RtspUrl) -> Result<RtspUrl, Refusal> {
    if settings.failover.on_redirect == OnRedirect::Follow {
        return Ok(to.without_credentials());
    }
    Err(Refusal::Stranger)
}

/// Whether TLS is not left. Of endpoints that are members it is the certificate that counts, whatever their URLs say.
pub(crate) fn is_safe(settings: &ClusterSettings, from: &RtspUrl, to: &RtspUrl, stranger: bool) -> bool {
    (!stranger && settings.members.is_some()) || keeps_tls(from, to)
}

/// Has a server describe a stream, or the one that it sends us to, as `onward` allows.
pub(crate) async fn follow(
    worker: &Rc<Worker>,
    settings: &Arc<ClusterSettings>,
    protection: &Protection,
    via: &[String],
    first: Next,
    onward: &mut dyn FnMut(&Away) -> Result<Next, Refusal>,
) -> Result<Found, Error> {
    let most = worker.shared.settings().rtsp.redirects;
    let (mut next, mut followed) = (first, 0);
    loop {
        let without = next.stranger.then(|| settings.for_strangers());
        let own = without.as_ref().unwrap_or(settings);
        let link = match way(worker, own, &next.url, protection, via).await? {
            Way::Plain(link) => link,
            Way::Member(peer) => {
                let (member, described) = pull::describe(worker, own, peer, &next.url, via).await?;
                return Ok(Found::Member(member, described));
            }
        };
        let away = match describe(link, worker, own).await? {
            Answer::Described(link, described) => return Ok(Found::Plain(link, *described)),
            Answer::Away(away) => away,
        };
        followed += 1;
        let refuse = |why: Refusal| why.error(&away, &settings.name);
        if followed > most {
            return Err(refuse(Refusal::TooOften(most)));
        }
        let own = &away.from;
        next = if own.host().eq_ignore_ascii_case(away.to.host()) && own.port() == away.to.port() {
            // Another of its own streams, which is its own affair.
            if !is_safe(settings, own, &away.to, next.stranger) {
                return Err(refuse(Refusal::Clear));
            }
            Next { url: away.to.without_credentials(), ..next }
        } else {
            onward(&away).map_err(refuse)?
        };
        tracing::debug!(cluster = settings.name, from = %away.from, to = %next.url, status = away.status, "a server sends us on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_not_left() {
        let keeps = |from, to| keeps_tls(&RtspUrl::parse(from).unwrap(), &RtspUrl::parse(to).unwrap());
        assert!(keeps("rtsp://a/", "rtsps://b/x") && keeps("rtsp://a/", "rtsp://b/x"));
        assert!(keeps("rtsps://a/", "rtsps://b/x") && !keeps("rtsps://a/", "rtsp://b/x"));
    }

    #[test]
    fn who_is_not_followed_is_told_with_what_would_change_it() {
        let of = |why: Refusal| why.why("cams");
        assert!(of(Refusal::Stranger).contains("`failover: {on_redirect: follow}`"));
        assert!(of(Refusal::Closed).contains("`cams`") && of(Refusal::Clear).contains("`rtsps`"));
        assert!(of(Refusal::TooOften(5)).contains("after 5 others"));
    }
}
