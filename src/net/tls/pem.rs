//! From files to the TLS configurations of plain hops: TLS 1.3, and 1.2 for players and cameras that know no other.

use std::path::Path;
use std::sync::Arc;

use msm_auth::identity::expiry;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use crate::config::load::read_text;
use crate::config::{ClusterTls, ListenerTls};

/// A PEM file larger than this is none of ours: the authorities of a whole system take a quarter of it.
const MAX_PEM_BYTES: usize = 1024 * 1024;

/// What is wrong with a file that the configuration names.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {message}")]
pub(crate) struct FileProblem {
    /// The key beside which it stands.
    pub(crate) key: &'static str,
    /// Which file, and what to do.
    pub(crate) message: String,
}

impl FileProblem {
    pub(crate) fn new(key: &'static str, file: &Path, what: impl std::fmt::Display) -> Self {
        Self { key, message: format!("{} {what}", file.display()) }
    }
}

/// What a listener speaks TLS by, and until when.
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// When the first certificate of the chain that it shows expires, if that can be read.
    pub(crate) expires: Option<UnixTime>,
}

impl ServerTls {
    /// Reads the files.
    pub(crate) fn read(files: &ListenerTls) -> Result<Self, FileProblem> {
        let chain = certificates("certificate", &files.certificate)?;
        let expires = chain.iter().filter_map(|certificate| expiry(certificate)).min();
        Ok(Self { config: Arc::new(with_chain(files, chain)?), expires })
    }
}

/// What a listener speaks TLS by.
pub(crate) fn server_config(files: &ListenerTls) -> Result<ServerConfig, FileProblem> {
    with_chain(files, certificates("certificate", &files.certificate)?)
}

fn with_chain(files: &ListenerTls, chain: Vec<CertificateDer<'static>>) -> Result<ServerConfig, FileProblem> {
    let text = Zeroizing::new(read("key", &files.key)?);
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        FileProblem::new("key", &files.key, "has no private key in PEM (PKCS#8, PKCS#1 or SEC1)")
    })?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileProblem::new("certificate", &files.certificate, error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(roots("client_ca", file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| FileProblem::new("client_ca", file, error))?,
            )
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let certificate = files.certificate.display();
            FileProblem::new("key", &files.key, format!("is not the key of the certificate in {certificate}"))
        }
        Error::InvalidCertificate(error) => {
            FileProblem::new("certificate", &files.certificate, format!("is no certificate to use: {error}"))
        }
        error => FileProblem::new("key", &files.key, format!("is no key to use: {error}")),
    })?;
    // RTSP connections last long: to resume them would save little, and skip the check of the client's certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What an `rtsps` endpoint is spoken to by.
pub(crate) fn client_config(tls: &ClusterTls) -> Result<ClientConfig, FileProblem> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileProblem { key: "ca", message: error.to_string() })?;
    let mut config = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
    } else {
        let (roots, pinned) = match &tls.ca {
            Some(file) => (roots("ca", file)?, certificates("ca", file)?),
            None => (system_roots()?, Vec::new()),
        };
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| FileProblem { key: "ca", message: error.to_string() })?;
        let verifier = Arc::new(OrPinned { webpki, pinned });
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The authorities that this machine trusts: those of an organisation are among them, and updates come with the
/// system's, which a list built into the program has neither of.
fn system_roots() -> Result<RootCertStore, FileProblem> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let message = format!(
            "is missing, and this system has no authorities{why}; install `ca-certificates`, or name a file in PEM"
        );
        return Err(FileProblem { key: "ca", message });
    }
    Ok(roots)
}

fn roots(key: &'static str, file: &Path) -> Result<RootCertStore, FileProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, file)? {
        roots.add(certificate).map_err(|error| {
            FileProblem::new(key, file, format!("has an authority that is none: {error}"))
        })?;
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let text = read(key, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(FileProblem::new(key, file, "has no certificate in PEM")),
    }
}

fn read(key: &'static str, file: &Path) -> Result<String, FileProblem> {
    read_text(file, MAX_PEM_BYTES)
        .map_err(|error| FileProblem::new(key, file, format!("cannot be read: {error}")))
}

/// Takes what an authority has issued, and a certificate that stands itself in the file of authorities: cameras sign
/// their own, often as if they were an authority, which the rules for authorities refuse as a server's.
#[derive(Debug)]
struct OrPinned {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrPinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.webpki.verify_server_cert(own, between, name, ocsp, now) {
            // It is refused for being an authority's: that this very one was named says more, its dates included.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.pinned.iter().any(|pinned| pinned == own) =>
            {
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Takes every certificate; that the server has its key is still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
