//! Which authorities vouch for which trust domain (`SPIFFE Trust Domain and Bundle §4`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};

use super::cert::Facts;
use super::error::{Position, SvidError};
use super::id::TrustDomain;

/// The most authorities of one trust domain.
pub const MAX_AUTHORITIES: usize = 256;

#[derive(Clone)]
struct Authority {
    anchor: TrustAnchor<'static>,
    not_before: UnixTime,
    not_after: UnixTime,
}

/// The CA certificates that vouch for the members of one trust domain, and for nobody else.
#[derive(Clone)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<Authority>,
}

impl Bundle {
    /// Takes one DER certificate per authority.
    ///
    /// # Errors
    ///
    /// A bundle without a certificate, or one that breaks the rules for signing certificates (`X509-SVID §3.2`, `§4`).
    pub fn new(trust_domain: TrustDomain, certificates: &[Vec<u8>]) -> Result<Self, SvidError> {
        if certificates.is_empty() {
            return Err(SvidError::EmptyBundle(trust_domain));
        }
        if certificates.len() > MAX_AUTHORITIES {
            return Err(SvidError::BundleTooLarge { trust_domain, count: certificates.len() });
        }
        let authorities = certificates.iter().map(|der| authority(der)).collect::<Result<_, _>>()?;
        Ok(Self { trust_domain, authorities })
    }

    /// Whose bundle it is.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// How many authorities it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.authorities.len()
    }

    /// Never true: a bundle without an authority is not made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// The authorities whose own validity covers `now`.
    ///
    /// `RFC 5280 §6.1.1` leaves an anchor's dates out of path validation. An authority past its end is not used all the
    /// same: other implementations of SPIFFE refuse it, and a replaced one must not live on because nobody removed it.
    pub(crate) fn anchors(&self, now: UnixTime) -> Vec<TrustAnchor<'static>> {
        let current = |a: &&Authority| a.not_before <= now && now <= a.not_after;
        self.authorities.iter().filter(current).map(|a| a.anchor.clone()).collect()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({}, {} authorities)", self.trust_domain, self.authorities.len())
    }
}

fn authority(der: &[u8]) -> Result<Authority, SvidError> {
    let facts = Facts::read(der, Position::Signer)?;
    facts.check_signer()?;
    let der = CertificateDer::from(der);
    let anchor = webpki::anchor_from_trusted_cert(&der)
        .map_err(|e| SvidError::Malformed { position: Position::Signer, reason: e.to_string() })?;
    Ok(Authority { anchor: anchor.to_owned(), not_before: facts.not_before, not_after: facts.not_after })
}

/// The bundles at hand: the own trust domain's and those of federated ones. They are never merged.
#[derive(Clone, Debug, Default)]
pub struct BundleSet(BTreeMap<TrustDomain, Arc<Bundle>>);

impl BundleSet {
    /// An empty set, with which no peer is accepted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bundle, in the place of the trust domain's previous one.
    pub fn insert(&mut self, bundle: Bundle) {
        self.0.insert(bundle.trust_domain.clone(), Arc::new(bundle));
    }

    /// Takes a trust domain's bundle away: its members are refused from now on.
    pub fn remove(&mut self, trust_domain: &TrustDomain) -> bool {
        self.0.remove(trust_domain).is_some()
    }

    /// The bundle of this trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain).map(|bundle| &**bundle)
    }

    /// The trust domains that have a bundle, in order.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.keys()
    }
}

impl FromIterator<Bundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        let mut set = Self::new();
        bundles.into_iter().for_each(|bundle| set.insert(bundle));
        set
    }
}
