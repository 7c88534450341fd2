//! TLS 1.3 between members, both sides authenticated.
//!
//! Nothing global is installed: each configuration names its cryptographic provider. There are no tickets and no
//! resumption, as a resumed session would skip the check against the bundles of today.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, CommonState, Error, OtherError, ServerConfig};
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};

use super::error::SvidError;
use super::id::IdMatch;
use super::source::IdentitySource;
use super::svid::{PeerIdentity, peer_of};
use super::verify::{OwnSvid, PeerVerifier};

/// The application protocol of a mesh hop (`RFC 7301`).
pub const ALPN: &[u8] = b"msm/1";

/// Which authenticated peers are welcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPeers {
    /// Each whose SVID is valid, those of federated trust domains among them.
    AnyAuthenticated,
    /// Those that one of these means; nobody if there is none.
    Only(Vec<IdMatch>),
}

impl AllowedPeers {
    /// # Errors
    ///
    /// [`SvidError::NotAllowed`].
    pub fn check(&self, peer: &PeerIdentity) -> Result<(), SvidError> {
        match self {
            Self::Only(matchers) if !matchers.iter().any(|m| m.matches(&peer.id)) => {
                Err(SvidError::NotAllowed(peer.id.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// The clock of the machine.
#[must_use]
pub fn system_clock() -> Arc<dyn TimeProvider> {
    Arc::new(DefaultTimeProvider)
}

/// TLS 1.3 suites only; the key exchange that withstands quantum computers comes first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    })
}

/// For the side that accepts connections. Peers must show an SVID; whether this one is welcome is checked with
/// [`peer`] and [`AllowedPeers::check`] once the handshake is done.
///
/// # Errors
///
/// The provider does not fit TLS 1.3, which no input can bring about.
pub fn server_config(
    source: Arc<dyn IdentitySource>,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let verifier = PeerVerifier {
        source: source.clone(),
        algorithms: provider.signature_verification_algorithms,
        allowed: AllowedPeers::AnyAuthenticated,
    };
    let mut config = ServerConfig::builder_with_details(provider, clock.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(OwnSvid { source, clock }));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// For the side that opens connections; a server outside `allowed` fails the handshake before it learns anything more.
///
/// # Errors
///
/// The provider does not fit TLS 1.3, which no input can bring about.
pub fn client_config(
    source: Arc<dyn IdentitySource>,
    allowed: AllowedPeers,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let verifier = PeerVerifier {
        source: source.clone(),
        algorithms: provider.signature_verification_algorithms,
        allowed,
    };
    let mut config = ClientConfig::builder_with_details(provider, clock.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(OwnSvid { source, clock }));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// What rustls wants as the server's name. It is neither sent nor checked.
#[must_use]
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0])))
}

/// Who the peer of a connection is, once its handshake is done.
///
/// # Errors
///
/// There is no certificate yet, or `msm/1` was not negotiated.
pub fn peer(connection: &CommonState) -> Result<PeerIdentity, SvidError> {
    let identity = identity(connection)?;
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(SvidError::NoAlpn);
    }
    Ok(identity)
}

/// Who the peer of a connection is, once its handshake is done, whatever it speaks: a server with an SVID may be no member.
///
/// # Errors
///
/// There is no certificate yet.
pub fn identity(connection: &CommonState) -> Result<PeerIdentity, SvidError> {
    let leaf = connection.peer_certificates().and_then(<[_]>::first).ok_or(SvidError::NoPeerCertificate)?;
    peer_of(leaf)
}

/// Why the own side refused the peer's certificate, if that is what ended the handshake.
#[must_use]
pub fn refusal(error: &Error) -> Option<&SvidError> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => reason.downcast_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
