//! The keys of a track that is set up as SRTP on a plain hop.

use std::rc::Rc;

use msm_rtsp::message::Request;
use msm_rtsp::sdp::Track;
use msm_rtsp::server::Srtp;
use msm_rtsp::url;
use zeroize::Zeroizing;

use super::Refusal;
use crate::error::Error;
use crate::serve::connection::Context;
use crate::serve::publisher::PublisherRole;
use crate::srtp::{Described, OwnKey, PeerKey, Protocol, SecureTrack, random_ssrc};

/// Whether a track's media is SRTP: as it was announced, or as it was described on this connection. `announced` finds
/// the track of an announcement that a URI means.
pub(super) fn wanted(
    context: Option<&Rc<Context>>,
    announced: impl Fn(&Context, &str) -> Option<(String, Option<usize>)>,
    base: &str,
    track: Option<usize>,
    request: &Request,
) -> Result<Srtp, Refusal> {
    let Some(context) = context else { return Ok(Srtp::Never) };
    let has_tls = context.connection.is_secure();
    if let Some((base, track)) = announced(context, &request.uri) {
        let announced = context.announced.borrow();
        let tracks = announced.get(&base).map_or(&[][..], |announced| &announced.description.tracks);
        if tracks.get(track.unwrap_or_default()).is_some_and(Track::is_secure) {
            return if has_tls {
                Ok(Srtp::Always)
            } else {
                Err(Refusal::new(461, "SRTP was announced, whose keys are taken over TLS alone (rtsps)"))
            };
        }
    }
    if !has_tls {
        return Ok(Srtp::Never);
    }
    if context.offered.borrow().has(base, track.unwrap_or_default()) {
        return Ok(Srtp::Always);
    }
    let asks = request.headers.get("KeyMgmt").is_some();
    Ok(if asks { Srtp::IfAsked } else { Srtp::Never })
}

/// The keys of a track's two directions.
pub(super) struct TrackKeys {
    pub(super) own: OwnKey,
    peer: PeerKey,
    /// The client reads `KeyMgmt`, and is to find ours there.
    tell: bool,
}

impl TrackKeys {
    /// Those of a reader: ours as it was described, or made now; the reader's, or ours again.
    pub(super) fn of_reader(
        context: &Context,
        request: &Request,
        base: &str,
        track: usize,
    ) -> Result<Self, Refusal> {
        let told = told(request)?;
        let own = match (context.offered.borrow().take(base, track)?, &told) {
            (Some(own), _) => own,
            (None, Some(told)) => OwnKey::new(told.key.suite(), random_ssrc()?)?,
            (None, None) => return Err(Refusal::new(461, "the key was used too often: DESCRIBE again")),
        };
        let tell = told.is_some();
        Ok(Self { peer: told.unwrap_or_else(|| PeerKey::of(&own)), own, tell })
    }

    /// Those of a publisher: its own as it announced or tells now, and that of our reports.
    pub(super) fn of_publisher(
        publisher: &PublisherRole,
        request: &Request,
        track: usize,
    ) -> Result<Self, Refusal> {
        let announced = publisher.description.tracks.get(track);
        let peer = match (told(request)?, announced.map(Described::read).transpose()) {
            (Some(told), _) => told,
            (None, Ok(Some(Described::Secure(Some(peer))))) => peer,
            (None, Ok(_)) => return Err(Refusal::new(463, "no key of the track was announced or told")),
            (None, Err(why)) => return Err(Refusal::new(463, why)),
        };
        let tell = peer.protocol == Protocol::Mikey;
        let own = match publisher.keys.get(track).and_then(Option::as_ref).filter(|_| tell) {
            Some(shared) => shared.take()?,
            None => None,
        };
        let own = match own {
            Some(own) => own,
            None if tell => OwnKey::new(peer.key.suite(), random_ssrc()?)?,
            None => peer.reuse(random_ssrc()?),
        };
        Ok(Self { own, peer, tell })
    }

    /// The `KeyMgmt` of the answer, where the client expects one.
    pub(super) fn header(&self, url: &str) -> Result<Option<Zeroizing<String>>, Error> {
        self.tell.then(|| self.own.header(url)).transpose()
    }

    /// What protects the track.
    pub(super) fn protect(&self, url: &str, track: usize) -> Result<Rc<SecureTrack>, Error> {
        let url = &url::shown(url);
        let (sends, receives) = (self.own.key.suite().name(), self.peer.key.suite().name());
        tracing::info!(url, track, sends, receives, keying = %self.peer.protocol, "SRTP");
        Ok(Rc::new(SecureTrack::new(&self.own, &self.peer)?.named(url, track)))
    }
}

/// The key that a client tells in a request, of what it sends.
fn told(request: &Request) -> Result<Option<PeerKey>, Refusal> {
    PeerKey::from_headers(&request.headers, &request.uri).map_err(|why| Refusal::new(463, why))
}
