//! An X.509-SVID (`X509-SVID`), and the validation of a peer's.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

use super::bundle::BundleSet;
use super::cert::Facts;
use super::error::{Position, SvidError};
use super::id::SpiffeId;

/// The most certificates of one chain, the leaf included.
pub const MAX_CHAIN: usize = 16;

/// A chain, leaf first, and its key.
///
/// The key is held by the cryptographic library alone, which clears it when the last handle goes; `Debug` shows the ID
/// and the expiry.
#[derive(Clone)]
pub struct X509Svid {
    id: SpiffeId,
    not_before: UnixTime,
    not_after: UnixTime,
    certified: Arc<CertifiedKey>,
}

impl X509Svid {
    /// Takes a chain in DER, leaf first, and the leaf's key in PKCS#8 (`Workload API §5.2.1`).
    ///
    /// # Errors
    ///
    /// What breaks the rules for a leaf or for a signing certificate behind it, or a key that is not the leaf's.
    pub fn new(chain: Vec<Vec<u8>>, key: Zeroizing<Vec<u8>>) -> Result<Self, SvidError> {
        Self::with_key(chain, &PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice())))
    }

    /// As [`X509Svid::new`], with a key in any of the three usual forms.
    pub(crate) fn with_key(chain: Vec<Vec<u8>>, key: &PrivateKeyDer<'_>) -> Result<Self, SvidError> {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        if chain.len() > MAX_CHAIN {
            return Err(SvidError::ChainTooLong(chain.len()));
        }
        let leaf = Leaf::read(chain.first().ok_or(SvidError::EmptyChain)?)?;
        for der in chain.iter().skip(1) {
            Facts::read(der, Position::Signer)?.check_signer()?;
        }
        let signer = any_supported_type(key).map_err(|e| SvidError::BadKey(e.to_string()))?;
        let public =
            signer.public_key().ok_or_else(|| SvidError::BadKey("it has no public half".to_owned()))?;
        if public.as_ref() != leaf.facts.public_key.as_slice() {
            return Err(SvidError::KeyMismatch(leaf.id));
        }
        let Leaf { id, facts } = leaf;
        let certified = Arc::new(CertifiedKey::new(chain, signer));
        Ok(Self { id, not_before: facts.not_before, not_after: facts.not_after, certified })
    }

    /// Who it says its holder is.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// `notBefore` of the leaf.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// `notAfter` of the leaf.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The leaf and its intermediates in DER.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.certified.cert.iter().map(AsRef::as_ref)
    }

    /// Whether `now` lies within the leaf's validity.
    ///
    /// # Errors
    ///
    /// [`SvidError::NotYetValid`] or [`SvidError::Expired`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), SvidError> {
        let (position, not_before, not_after) = (Position::Leaf, self.not_before, self.not_after);
        if now < not_before {
            return Err(SvidError::NotYetValid { position, not_before, now });
        }
        if now > not_after {
            return Err(SvidError::Expired { position, not_after, now });
        }
        Ok(())
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X509Svid({}, expires {})", self.id, self.not_after.as_secs())
    }
}

/// Who a peer proved to be, and until when that proof holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The peer's SPIFFE ID.
    pub id: SpiffeId,
    /// `notAfter` of its leaf: a connection that outlives it is no longer authenticated.
    pub expires: UnixTime,
}

/// Which side of a handshake the peer is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// It opened the connection.
    Client,
    /// It was connected to.
    Server,
}

struct Leaf {
    id: SpiffeId,
    facts: Facts,
}

impl Leaf {
    fn read(der: &[u8]) -> Result<Self, SvidError> {
        let facts = Facts::read(der, Position::Leaf)?;
        Ok(Self { id: facts.check_leaf()?, facts })
    }
}

/// Who a leaf names, without a check of the path: for one that a handshake has verified.
pub(crate) fn peer_of(leaf: &CertificateDer<'_>) -> Result<PeerIdentity, SvidError> {
    let Leaf { id, facts } = Leaf::read(leaf)?;
    Ok(PeerIdentity { id, expires: facts.not_after })
}

/// Validates a peer's leaf and intermediates at the time `now` (`X509-SVID §5`).
///
/// The path has to end in the bundle of the trust domain that the leaf's own ID names: the authority of one domain
/// cannot vouch for a member of another.
///
/// # Errors
///
/// The first rule that the chain breaks.
pub fn validate(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundles: &BundleSet,
    now: UnixTime,
    role: PeerRole,
) -> Result<PeerIdentity, SvidError> {
    if intermediates.len() >= MAX_CHAIN {
        return Err(SvidError::ChainTooLong(intermediates.len() + 1));
    }
    let Leaf { id, facts } = Leaf::read(leaf)?;
    facts.check_time(Position::Leaf, now)?;
    let bundle =
        bundles.get(id.trust_domain()).ok_or_else(|| SvidError::NoBundle(id.trust_domain().clone()))?;
    let anchors = bundle.anchors(now);
    let path_error = |e: webpki::Error| match e {
        // A renewed authority often has the name of its predecessor, and then only the signature tells them apart.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            SvidError::UnknownIssuer(id.clone())
        }
        // The leaf's own time has been checked.
        webpki::Error::CertExpired { time, not_after } => {
            SvidError::Expired { position: Position::Signer, not_after, now: time }
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            SvidError::NotYetValid { position: Position::Signer, not_before, now: time }
        }
        other => SvidError::Path { id: id.clone(), reason: format!("{other:?}") },
    };
    let end = webpki::EndEntityCert::try_from(leaf).map_err(path_error)?;
    let usage = match role {
        PeerRole::Client => webpki::KeyUsage::client_auth(),
        PeerRole::Server => webpki::KeyUsage::server_auth(),
    };
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let path = end
        .verify_for_usage(algorithms, &anchors, intermediates, now, usage, None, None)
        .map_err(path_error)?;
    // Path validation leaves the key usage of issuers alone (RFC 5280 §6.1.4 n), and knows no SPIFFE ID.
    for issuer in path.intermediate_certificates() {
        Facts::read(&issuer.der(), Position::Signer)?.check_signer()?;
    }
    Ok(PeerIdentity { id: id.clone(), expires: facts.not_after })
}

#[cfg(test)]
mod path_tests;
#[cfg(test)]
mod tests;
