//! An authority inside the process, for the demo and for tests: its key is made at the start and nobody else knows it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::UnixTime;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::bundle::{Bundle, BundleSet};
use super::error::SvidError;
use super::id::{SpiffeId, TrustDomain};
use super::source::{Current, IdentitySource, Snapshot, SourceError, Task};
use super::svid::X509Svid;

/// How long an authority is valid.
const AUTHORITY_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// `notBefore` lies this much back, for clocks that differ a little.
const BACKDATE: Duration = Duration::from_secs(60);

/// Why a process vouches for itself. Nothing outside of it can check such an identity, so there is no third reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ephemeral {
    /// A demonstration on one machine.
    ForDemo,
    /// Tests.
    ForTests,
}

/// An authority whose key lives and dies with the process.
pub struct EphemeralCa {
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

/// What an authority issues.
pub struct Issued {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
}

impl EphemeralCa {
    /// Makes a key and a self-signed certificate for it, and logs a warning.
    ///
    /// # Errors
    ///
    /// [`SourceError::Issue`], if the cryptographic library fails.
    pub fn new(why: Ephemeral, trust_domain: TrustDomain, now: UnixTime) -> Result<Self, SourceError> {
        tracing::warn!(
            ?why,
            %trust_domain,
            "an authority inside this process issues the identities: nobody outside can check them"
        );
        let subject = format!("spiffe://{trust_domain}");
        let failed = issue_error(subject.clone());
        let mut params = params(&subject, now, AUTHORITY_TTL).map_err(&failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "msm ephemeral authority");
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.self_signed(&key).map_err(&failed)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), trust_domain, certificate })
    }

    /// The trust domain it vouches for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its own certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The bundle by which its members are checked.
    ///
    /// # Errors
    ///
    /// None that an authority made here can bring about.
    pub fn bundle(&self) -> Result<Bundle, SvidError> {
        Bundle::new(self.trust_domain.clone(), std::slice::from_ref(&self.certificate))
    }

    /// Makes a key and an SVID for it. The ID is not looked at: tests issue wrong ones.
    ///
    /// # Errors
    ///
    /// [`SourceError::Issue`], if the cryptographic library fails.
    pub fn issue(&self, id: &SpiffeId, ttl: Duration, now: UnixTime) -> Result<Issued, SourceError> {
        let failed = issue_error(id.to_string());
        let mut params = params(&id.to_string(), now, ttl).map_err(&failed)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name.push(DnType::CommonName, "msm member");
        let key = KeyPair::generate().map_err(&failed)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(&failed)?;
        Ok(Issued { chain: vec![leaf.der().to_vec()], key: Zeroizing::new(key.serialize_der()) })
    }
}

impl fmt::Debug for EphemeralCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EphemeralCa({})", self.trust_domain)
    }
}

impl Issued {
    /// The SVID.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn into_svid(self) -> Result<X509Svid, SvidError> {
        X509Svid::new(self.chain, self.key)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({} certificates)", self.chain.len())
    }
}

/// An identity from an [`EphemeralCa`].
pub struct EphemeralSource {
    issuing: Arc<Issuing>,
    task: Option<Task>,
}

struct Issuing {
    ca: Arc<EphemeralCa>,
    id: SpiffeId,
    ttl: Duration,
    federated: Mutex<BundleSet>,
    current: Current,
}

impl EphemeralSource {
    /// Issues the first SVID. What renews it is [`EphemeralSource::rotate`] or [`EphemeralSource::rotating`].
    ///
    /// # Errors
    ///
    /// What keeps the SVID from being issued, an ID without a path for example.
    pub fn new(
        ca: Arc<EphemeralCa>,
        id: SpiffeId,
        ttl: Duration,
        now: UnixTime,
    ) -> Result<Self, SourceError> {
        let federated = Mutex::new(BundleSet::new());
        let issuing = Issuing { ca, id, ttl, federated, current: Current::new() };
        issuing.renew(now)?;
        Ok(Self { issuing: Arc::new(issuing), task: None })
    }

    /// Renews the SVID at half of its life, by the machine's clock, for as long as the source is there.
    ///
    /// To be called inside a tokio runtime.
    #[must_use]
    pub fn rotating(mut self) -> Self {
        let issuing = self.issuing.clone();
        self.task = Some(Task(tokio::spawn(async move {
            loop {
                tokio::time::sleep(issuing.ttl / 2).await;
                if let Err(e) = issuing.renew(UnixTime::now()) {
                    issuing.current.fail(e);
                }
            }
        })));
        self
    }

    /// Issues the next SVID, with a new key.
    ///
    /// # Errors
    ///
    /// As [`EphemeralSource::new`]; the previous SVID stays.
    pub fn rotate(&self, now: UnixTime) -> Result<(), SourceError> {
        self.issuing.renew(now)
    }

    /// Replaces the bundles of federated trust domains, and issues the next SVID.
    ///
    /// # Errors
    ///
    /// As [`EphemeralSource::rotate`].
    pub fn federate(&self, bundles: BundleSet, now: UnixTime) -> Result<(), SourceError> {
        *self.issuing.federated.lock().unwrap_or_else(PoisonError::into_inner) = bundles;
        self.issuing.renew(now)
    }
}

impl Issuing {
    fn renew(&self, now: UnixTime) -> Result<(), SourceError> {
        let place = |error| SourceError::Svid { place: self.id.to_string(), error };
        let svid = self.ca.issue(&self.id, self.ttl, now)?.into_svid().map_err(place)?;
        let own = self.ca.bundle().map_err(place)?;
        let mut bundles = self.federated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bundles.insert(own);
        self.current.publish(Arc::new(svid), bundles);
        Ok(())
    }
}

impl IdentitySource for EphemeralSource {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.issuing.current.snapshot()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.issuing.current.changes()
    }

    fn problem(&self) -> Option<Arc<SourceError>> {
        self.issuing.current.problem()
    }
}

impl fmt::Debug for EphemeralSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EphemeralSource({}, rotates: {})", self.issuing.id, self.task.is_some())
    }
}

fn issue_error(subject: String) -> impl Fn(rcgen::Error) -> SourceError {
    move |e| SourceError::Issue { subject: subject.clone(), reason: e.to_string() }
}

fn params(uri: &str, now: UnixTime, ttl: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.distinguished_name = DistinguishedName::new();
    let at = Duration::from_secs(now.as_secs());
    params.not_before = date_time_ymd(1970, 1, 1) + at.saturating_sub(BACKDATE);
    params.not_after = date_time_ymd(1970, 1, 1) + (at + ttl);
    Ok(params)
}

#[cfg(test)]
mod tests;
