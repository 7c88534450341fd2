//! Members whose identities are what a test makes them, right or wrong.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use msm_auth::identity::bundle::{Bundle, BundleSet};
use msm_auth::identity::id::TrustDomain;
use msm_auth::identity::source::{IdentitySource, Snapshot, SourceError};
use msm_auth::identity::svid::X509Svid;
use msm_auth::identity::tls::{AllowedPeers, client_config, system_clock};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use time::OffsetDateTime;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::common::Rtsp;

/// The authority of a trust domain.
pub struct Ca {
    domain: &'static str,
    issuer: Issuer<'static, KeyPair>,
    pub certificate: Vec<u8>,
}

/// A certificate and its key.
pub struct Issued {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// A leaf as the specification wants it (X.509-SVID §3..§5); tests spoil it.
pub fn leaf(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name.push(DnType::CommonName, "member");
    lasting(&mut params, -60, 3600);
    params
}

/// Makes it valid from and until these seconds from now.
pub fn lasting(params: &mut CertificateParams, from: i64, to: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now + time::Duration::seconds(from);
    params.not_after = now + time::Duration::seconds(to);
}

/// A certificate that may sign others.
pub fn signer(uri: &str) -> CertificateParams {
    let mut params = leaf(uri);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages.clear();
    params.distinguished_name.push(DnType::CommonName, uri);
    lasting(&mut params, -3600, 36_000);
    params
}

impl Ca {
    pub fn new(domain: &'static str) -> Self {
        let params = signer(&format!("spiffe://{domain}"));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { domain, issuer: Issuer::new(params, key), certificate }
    }

    pub fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Issued { certificate, key: key.serialize_der() }
    }

    pub fn bundle(&self) -> Bundle {
        let domain = TrustDomain::parse(self.domain).unwrap();
        Bundle::new(domain, std::slice::from_ref(&self.certificate)).unwrap()
    }

    /// A source with a good SVID, and this authority's bundle.
    pub fn member(&self, path: &str) -> Arc<Held> {
        self.member_for(path, 3600)
    }

    /// The same, valid for so many seconds.
    pub fn member_for(&self, path: &str, seconds: i64) -> Arc<Held> {
        let held = Held::empty();
        held.put(self.svid(path, seconds), [self.bundle()]);
        held
    }

    pub fn svid(&self, path: &str, seconds: i64) -> X509Svid {
        let mut params = leaf(&format!("spiffe://{}{path}", self.domain));
        lasting(&mut params, -60, seconds);
        let issued = self.sign(&params);
        X509Svid::new(vec![issued.certificate], Zeroizing::new(issued.key)).unwrap()
    }
}

/// A source that has what a test puts there.
pub struct Held {
    current: Mutex<Option<Arc<Snapshot>>>,
    problem: Mutex<Option<Arc<SourceError>>>,
    versions: watch::Sender<u64>,
}

impl Held {
    pub fn empty() -> Arc<Self> {
        Arc::new(Self {
            current: Mutex::default(),
            problem: Mutex::default(),
            versions: watch::Sender::new(0),
        })
    }

    pub fn put(&self, svid: X509Svid, bundles: impl IntoIterator<Item = Bundle>) {
        let bundles: BundleSet = bundles.into_iter().collect();
        self.versions.send_modify(|version| {
            *version += 1;
            let snapshot = Snapshot { svid: Arc::new(svid), bundles, version: *version };
            *self.current.lock().unwrap() = Some(Arc::new(snapshot));
        });
    }

    /// Other bundles, beside the SVID that is there.
    pub fn trust(&self, bundles: impl IntoIterator<Item = Bundle>) {
        let bundles: BundleSet = bundles.into_iter().collect();
        self.versions.send_modify(|version| {
            *version += 1;
            let mut current = self.current.lock().unwrap();
            let svid = Arc::clone(&current.as_ref().unwrap().svid);
            *current = Some(Arc::new(Snapshot { svid, bundles, version: *version }));
        });
    }

    /// The agent says that there is no identity for this process any more.
    pub fn withdraw(&self) {
        *self.current.lock().unwrap() = None;
        self.versions.send_modify(|version| *version += 1);
    }

    /// The agent is gone, or there again.
    pub fn fail(&self, problem: Option<SourceError>) {
        *self.problem.lock().unwrap() = problem.map(Arc::new);
    }
}

impl IdentitySource for Held {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.lock().unwrap().clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }

    fn problem(&self) -> Option<Arc<SourceError>> {
        self.problem.lock().unwrap().clone()
    }
}

/// TLS as another member would begin it.
pub fn member_config(source: &Arc<Held>) -> Arc<ClientConfig> {
    let source = Arc::clone(source) as Arc<dyn IdentitySource>;
    client_config(source, AllowedPeers::AnyAuthenticated, system_clock()).unwrap()
}

/// TLS of somebody who takes any server and shows this certificate, or none.
pub fn strange_config(
    own: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAny));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::Pkcs8(own.key.clone().into());
            let chain = vec![CertificateDer::from(own.certificate.clone())];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"msm/1".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct TakesAny;

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection to a member, driven by hand.
pub type Hop = Rtsp<StreamOwned<ClientConnection, TcpStream>>;

pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Hop {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    Rtsp::over(StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream))
}

/// Begins an association, or goes on with one; the status.
pub fn begin(hop: &mut Hop, association: u64, epoch: u32) -> u16 {
    let header = format!("association={association:016x};epoch={epoch};label=01000001;port=9");
    hop.ask("OPTIONS", "*", &[("Require", "msm-hop-1"), ("Msm-Hop", &header)], b"").status
}
