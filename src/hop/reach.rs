//! What stands at an endpoint of a mesh cluster: a member, or somebody to fall back to.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::route::PathFrom;
use msm_rtsp::url::RtspUrl;

use super::connect::{Dialled, connect};
use super::dial::{Opened, Peer, open};
use super::fallback::Place;
use super::paths;
use crate::error::Error;
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// What an endpoint of a mesh cluster is.
pub(crate) enum Reached {
    /// A member, with its warm connection.
    Member(Rc<Peer>),
    /// Somebody who knows no mesh hop, by a connection of one session's own.
    Plain(Dialled),
}

/// Whoever is at a URL's authority, connected to if that is a member and was not yet: by paths that begin at
/// each of `from`.
///
/// # Errors
/// No path begins there, it cannot be reached, is not who it must be, or is no member and the cluster has no `fallback`.
pub(crate) async fn reach(
    worker: &Rc<Worker>,
    settings: &Arc<ClusterSettings>,
    url: &RtspUrl,
    from: &[PathFrom],
) -> Result<Reached, Error> {
    let sources = paths::resolve(from)?;
    let authority = format!("{}:{}", url.host().to_ascii_lowercase(), url.port());
    let place = (settings.name.clone(), authority);
    let fallbacks = &worker.shared.hop.fallbacks;
    if let Some(was_member) = fallbacks.known(&place, Instant::now()) {
        let dialled = connect(worker, settings, url).await?;
        if dialled.is_member == was_member {
            return Ok(Reached::Plain(dialled));
        }
        // Whoever is there now agrees on another protocol.
        fallbacks.doubt(&place);
    }
    match peer(worker, settings, url, &sources, &place).await? {
        Some(peer) => Ok(Reached::Member(peer)),
        None => Ok(Reached::Plain(connect(worker, settings, url).await?)),
    }
}

/// The member at a place, unless whoever is there is none and the cluster has a `fallback`.
async fn peer(
    worker: &Rc<Worker>,
    settings: &Arc<ClusterSettings>,
    url: &RtspUrl,
    sources: &[IpAddr],
    place: &Place,
) -> Result<Option<Rc<Peer>>, Error> {
    let key = (place.clone(), sources.to_vec());
    let slot = Rc::clone(worker.hop_peers.0.borrow_mut().entry(key).or_default());
    // Whoever comes while one dials waits for that.
    let mut slot = slot.lock().await;
    if let Some(peer) = slot.upgrade().filter(|peer| peer.take()) {
        return Ok(Some(peer));
    }
    let (fallbacks, metrics) = (&worker.shared.hop.fallbacks, &worker.shared.metrics);
    if fallbacks.known(place, Instant::now()).is_some() {
        return Ok(None);
    }
    match open(worker, settings, url, sources).await? {
        Opened::Member(peer) => {
            metrics.count_opening(&settings.name, "mesh");
            if fallbacks.forget(place) {
                tracing::info!(cluster = settings.name, %url, "a member now: mesh hops from here on");
            }
            *slot = Rc::downgrade(&peer);
            Ok(Some(peer))
        }
        Opened::Other { peer, answer, is_member } if settings.fallback => {
            metrics.count_opening(&settings.name, "rtsps");
            if fallbacks.enter(place, &peer.to_string(), &answer, is_member, Instant::now()) {
                tracing::warn!(
                    cluster = settings.name,
                    %url,
                    %peer,
                    answer,
                    "knows no mesh hop: by `fallback: rtsps` it is spoken to by RTSP over TLS"
                );
            }
            Ok(None)
        }
        Opened::Other { peer, answer, .. } => {
            metrics.count_opening(&settings.name, "none");
            Err(Error::NotAMember {
                endpoint: url.to_string(),
                cluster: settings.name.clone(),
                peer: peer.to_string(),
                answer,
            })
        }
    }
}
