//! Certificates of any shape, right and wrong, for the tests of this module.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::bundle::{Bundle, BundleSet};
use super::id::TrustDomain;
use super::source::{Current, IdentitySource, Snapshot, SourceError};
use super::svid::X509Svid;

/// The time of every test, in seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

pub(crate) fn at(secs: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(secs))
}

/// What a certificate is to look like.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) uris: Vec<&'static str>,
    pub(crate) dns: Vec<&'static str>,
    pub(crate) ca: bool,
    pub(crate) usages: Vec<KeyUsagePurpose>,
    pub(crate) extended: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) subject: bool,
    pub(crate) custom: Vec<CustomExtension>,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A leaf as the specification wants it.
pub(crate) fn leaf(uri: &'static str) -> Shape {
    Shape {
        uris: vec![uri],
        dns: vec![],
        ca: false,
        usages: vec![KeyUsagePurpose::DigitalSignature],
        extended: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        subject: true,
        custom: vec![],
        from: NOW - HOUR,
        to: NOW + HOUR,
    }
}

/// A signing certificate as the specification wants it.
pub(crate) fn signer(uri: &'static str) -> Shape {
    Shape { ca: true, usages: vec![KeyUsagePurpose::KeyCertSign], extended: vec![], ..leaf(uri) }
}

/// A key usage extension by hand: `bits` as in `RFC 5280 §4.2.1.3`, the first bit highest.
pub(crate) fn key_usage(bits: u8, critical: bool) -> CustomExtension {
    let mut extension =
        CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, bits.trailing_zeros() as u8, bits]);
    extension.set_criticality(critical);
    extension
}

impl Shape {
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        let uris = self.uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ascii")));
        let dns = self.dns.iter().map(|name| SanType::DnsName((*name).try_into().expect("ascii")));
        params.subject_alt_names = uris.chain(dns).collect();
        params.is_ca = if self.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = self.usages.clone();
        params.extended_key_usages = self.extended.clone();
        params.distinguished_name = DistinguishedName::new();
        if self.subject {
            // Names tell issuers apart, as they do in the field.
            params.distinguished_name.push(DnType::CommonName, self.uris.concat());
        }
        params.custom_extensions = self.custom.clone();
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(self.from);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(self.to);
        params
    }

    pub(crate) fn self_signed(&self) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().expect("key");
        (self.params().self_signed(&key).expect("signed").der().to_vec(), key)
    }
}

/// Signs other certificates.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: Vec<u8>,
}

impl Ca {
    pub(crate) fn root(shape: &Shape) -> Self {
        let (der, key) = shape.self_signed();
        Self { issuer: Issuer::new(shape.params(), key), der }
    }

    /// The root of a trust domain given as an ID.
    pub(crate) fn of(uri: &'static str) -> Self {
        Self::root(&signer(uri))
    }

    pub(crate) fn intermediate(&self, shape: &Shape) -> Self {
        let (der, key) = self.sign(shape);
        Self { issuer: Issuer::new(shape.params(), key), der }
    }

    pub(crate) fn sign(&self, shape: &Shape) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().expect("key");
        (self.sign_for(shape, &key), key)
    }

    pub(crate) fn sign_for(&self, shape: &Shape, key: &KeyPair) -> Vec<u8> {
        shape.params().signed_by(key, &self.issuer).expect("signed").der().to_vec()
    }

    pub(crate) fn bundle(&self, trust_domain: &str) -> Bundle {
        Bundle::new(td(trust_domain), std::slice::from_ref(&self.der)).expect("bundle")
    }

    pub(crate) fn svid(&self, shape: &Shape) -> X509Svid {
        let (der, key) = self.sign(shape);
        svid(vec![der], &key)
    }
}

pub(crate) fn svid(chain: Vec<Vec<u8>>, key: &KeyPair) -> X509Svid {
    X509Svid::new(chain, Zeroizing::new(key.serialize_der())).expect("svid")
}

pub(crate) fn td(name: &str) -> TrustDomain {
    TrustDomain::parse(name).expect("trust domain")
}

pub(crate) fn der(der: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(der.to_vec())
}

/// A source that holds what a test puts there.
pub(crate) struct Held(Current);

impl Held {
    pub(crate) fn new(svid: X509Svid, bundles: impl IntoIterator<Item = Bundle>) -> Arc<Self> {
        let held = Arc::new(Self(Current::new()));
        held.put(svid, bundles.into_iter().collect());
        held
    }

    pub(crate) fn put(&self, svid: X509Svid, bundles: BundleSet) {
        self.0.publish(Arc::new(svid), bundles);
    }

    pub(crate) fn withdraw(&self) {
        self.0.withdraw(SourceError::NoEndpoint);
    }
}

impl IdentitySource for Held {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.0.snapshot()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }

    fn problem(&self) -> Option<Arc<SourceError>> {
        self.0.problem()
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<u64>);

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(NOW)))
    }

    pub(crate) fn set(&self, secs: u64) {
        *self.0.lock().expect("clock") = secs;
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at(*self.0.lock().expect("clock")))
    }
}
