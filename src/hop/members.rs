//! Which members are trusted: what a hop's connections are made with, and what they are checked against later.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::svid::{PeerIdentity, PeerRole, validate};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::net::tls::Tls;

use super::association::{Association, Side};

/// The own identity, and the TLS configuration of a cluster's or listener's hops.
pub(crate) struct Members<C> {
    pub(crate) source: Arc<dyn IdentitySource>,
    pub(crate) config: Arc<C>,
}

impl<C> Clone for Members<C> {
    fn clone(&self) -> Self {
        Self { source: Arc::clone(&self.source), config: Arc::clone(&self.config) }
    }
}

impl<C> Members<C> {
    /// Whether the other member would still be let in: its SVID is valid now, by the bundles of now.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn check(&self, association: &Association) -> Result<(), String> {
        check(&*self.source, association)
    }
}

/// See [`Members::check`].
pub(crate) fn check(source: &dyn IdentitySource, association: &Association) -> Result<(), String> {
    let chain = association.connection().tls().map(Tls::peer_certificates).unwrap_or_default();
    let role = match association.side {
        Side::Dialler => PeerRole::Server,
        Side::Acceptor => PeerRole::Client,
    };
    check_chain(source, &chain, role)
}

/// Whether somebody who showed this chain would still be let in.
pub(super) fn check_chain(
    source: &dyn IdentitySource,
    chain: &[CertificateDer<'_>],
    role: PeerRole,
) -> Result<(), String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(UnixTime::since_unix_epoch);
    let now = now.map_err(|error| error.to_string())?;
    let Some(snapshot) = source.snapshot() else {
        return Err("the own identity was withdrawn, and with it the trust bundles".to_owned());
    };
    let (leaf, intermediates) = chain.split_first().ok_or("it showed no certificate")?;
    validate(leaf, intermediates, &snapshot.bundles, now, role).map(|_| ()).map_err(|error| error.to_string())
}

/// When a connection is to be replaced: well before either SVID expires.
pub(super) fn renewal(source: &dyn IdentitySource, peer: &PeerIdentity) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let own = source.snapshot().map_or(u64::MAX, |snapshot| snapshot.svid.not_after().as_secs());
    let left = own.min(peer.expires.as_secs()).saturating_sub(now);
    Duration::from_secs(left / 2)
}
