//! Whether whoever a connection is with is still trusted, for as long as it lasts.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::svid::{PeerIdentity, PeerRole};
use rustls_pki_types::CertificateDer;

use super::connect::Dialled;
use super::members::{check_chain, renewal};
use crate::net::tls::Tls;

/// How often all certificates of the chain are looked at, whatever has changed.
const LOOK: Duration = Duration::from_secs(30);
/// The pause between two tries to replace a connection, at least.
const RETRY: Duration = Duration::from_secs(1);

/// What a plain connection of a mesh cluster was trusted for. Of mesh hops the association keeps this.
pub(crate) struct Trust {
    source: Arc<dyn IdentitySource>,
    chain: Vec<CertificateDer<'static>>,
    pub(crate) peer: PeerIdentity,
    version: Option<u64>,
    looked: Instant,
    renew_at: Instant,
}

impl Trust {
    /// The peer of a connection that was just made.
    pub(crate) fn of(dialled: &Dialled, source: &Arc<dyn IdentitySource>) -> Self {
        let now = Instant::now();
        Self {
            source: Arc::clone(source),
            chain: dialled.connection.tls().map(Tls::peer_certificates).unwrap_or_default(),
            peer: dialled.identity.clone(),
            version: None,
            looked: now,
            renew_at: now + renewal(&**source, &dialled.identity),
        }
    }

    /// Whether the peer would still be let in: its SVID is valid now, by the bundles of now. Little work while nothing has
    /// changed.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), String> {
        let version = self.source.snapshot().map(|snapshot| snapshot.version);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let is_fresh = now.saturating_duration_since(self.looked) < LOOK;
        if version.is_some()
            && version == self.version
            && is_fresh
            && unix.as_secs() < self.peer.expires.as_secs()
        {
            return Ok(());
        }
        (self.version, self.looked) = (version, now);
        check_chain(&*self.source, &self.chain, PeerRole::Server)
    }

    /// Whether the connection is to be replaced by one with the SVIDs of now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.renew_at
    }

    /// It could not be replaced: it is tried again when half of what is left is over.
    pub(crate) fn postpone(&mut self, now: Instant) {
        self.renew_at = now + renewal(&*self.source, &self.peer).max(RETRY);
    }
}
