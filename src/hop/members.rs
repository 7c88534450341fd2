//! Which members are trusted: what a hop's connections are made with, and what they are checked against later.

use std::sync::Arc;
use std::time::SystemTime;

use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::svid::{PeerRole, validate};
use rustls_pki_types::UnixTime;

use crate::net::tls::Tls;

use super::association::{Association, Side};

/// The own identity, and the TLS configuration of a cluster's or listener's hops.
pub(crate) struct Members<C> {
    pub(crate) source: Arc<dyn IdentitySource>,
    pub(crate) config: Arc<C>,
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
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(UnixTime::since_unix_epoch);
    let now = now.map_err(|error| error.to_string())?;
    let Some(snapshot) = source.snapshot() else {
        return Err("the own identity was withdrawn, and with it the trust bundles".to_owned());
    };
    let chain = association.connection().tls().map(Tls::peer_certificates).unwrap_or_default();
    let (leaf, intermediates) = chain.split_first().ok_or("it showed no certificate")?;
    let role = match association.side {
        Side::Dialler => PeerRole::Server,
        Side::Acceptor => PeerRole::Client,
    };
    validate(leaf, intermediates, &snapshot.bundles, now, role).map(|_| ()).map_err(|error| error.to_string())
}
