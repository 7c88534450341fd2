//! The rustls side of validation: what a handshake asks for, answered from the source's current snapshot.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::error::SvidError;
use super::source::IdentitySource;
use super::svid::{PeerIdentity, PeerRole, validate};
use super::tls::AllowedPeers;

/// Checks peers against the bundles of the current snapshot.
pub(crate) struct PeerVerifier {
    pub(crate) source: Arc<dyn IdentitySource>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    /// Checked inside the handshake. A server leaves this to what follows the handshake, where the peer gets an answer.
    pub(crate) allowed: AllowedPeers,
}

impl PeerVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        role: PeerRole,
    ) -> Result<PeerIdentity, Error> {
        let checked = match self.source.snapshot() {
            None => Err(SvidError::NoIdentity),
            Some(snapshot) => validate(leaf, intermediates, &snapshot.bundles, now, role),
        };
        checked.and_then(|peer| self.allowed.check(&peer).map(|()| peer)).map_err(|reason| {
            tracing::debug!(reason = reason.name(), "a peer's certificate is refused: {reason}");
            refused(reason)
        })
    }

    fn signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

/// The reason travels inside the TLS error, where [`refusal`](super::tls::refusal) finds it.
fn refused(reason: SvidError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

/// No configuration made here speaks TLS 1.2.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
}

impl ServerCertVerifier for PeerVerifier {
    /// The server's name does not count: a member is named by its SPIFFE ID.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now, PeerRole::Server)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// Empty: trust domains are nobody's business before the peer has proved who it is.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now, PeerRole::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Shows the SVID of the current snapshot.
pub(crate) struct OwnSvid {
    pub(crate) source: Arc<dyn IdentitySource>,
    pub(crate) clock: Arc<dyn TimeProvider>,
}

impl OwnSvid {
    /// Nothing once the own SVID has expired: the peer would refuse it, and this side can say why.
    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let found = match self.source.snapshot() {
            None => Err(SvidError::NoIdentity),
            Some(snapshot) => {
                let now = self.clock.current_time();
                now.map_or(Ok(()), |now| snapshot.svid.check_time(now)).map(|()| snapshot.svid.certified())
            }
        };
        found.map_err(|e| tracing::warn!(reason = e.name(), "no own certificate for a handshake: {e}")).ok()
    }
}

impl fmt::Debug for OwnSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSvid").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for OwnSvid {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

impl ResolvesClientCert for OwnSvid {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn has_certs(&self) -> bool {
        self.source.snapshot().is_some()
    }
}
