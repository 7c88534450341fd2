//! Certificates in files, and clients that speak TLS.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;

use crate::common::Rtsp;

/// A connection of a client.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and a directory with what it has issued.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pub dir: TempDir,
}

impl Authority {
    /// `ca.pem` is its certificate.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        Self { issuer: Issuer::new(params, key), certificate, dir }
    }

    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Writes `{file}.pem` and `{file}.key` for a host.
    pub fn issue(&self, file: &str, host: &str) {
        self.write(file, &CertificateParams::new([host.to_owned()]).unwrap());
    }

    /// The same, valid until the 2nd of January of a year.
    pub fn issue_until(&self, file: &str, host: &str, year: i32) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_after = second_of_january(year);
        self.write(file, &params);
    }

    fn write(&self, file: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// `{certificate: …, key: …}` of what was issued.
    pub fn yaml(&self, file: &str, more: &str) -> String {
        let (certificate, key) = (self.file(&format!("{file}.pem")), self.file(&format!("{file}.key")));
        format!("{{certificate: \"{certificate}\", key: \"{key}\"{more}}}")
    }

    /// A client that trusts the authority; it shows the certificate in `own` if there is one.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&str>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let read = |end: &str| self.dir.path().join(format!("{own}.{end}"));
                let certificate = CertificateDer::from_pem_file(read("pem")).unwrap();
                let key = PrivateKeyDer::from_pem_file(read("key")).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        })
    }

    /// A client that trusts the authority, as most are.
    pub fn plain_client(&self) -> Arc<ClientConfig> {
        self.client(rustls::DEFAULT_VERSIONS, None)
    }
}

/// Opens a connection whose handshake happens with what is sent first.
pub fn open(address: SocketAddr, config: Arc<ClientConfig>) -> Tls {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(address.ip().to_string()).unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

/// The same, to speak RTSP.
pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Rtsp<Tls> {
    Rtsp::over(open(address, config))
}

pub fn second_of_january(year: i32) -> time::OffsetDateTime {
    rcgen::date_time_ymd(year, 1, 2)
}

/// The certificate that a file has.
pub fn certificate(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

/// Puts TLS in front of a server that has none, under a certificate for 127.0.0.1. Ends with the process.
pub fn terminate(authority: &Authority, to: SocketAddr) -> SocketAddr {
    authority.issue("terminator", "127.0.0.1");
    let certificate = CertificateDer::from_pem_file(authority.file("terminator.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.file("terminator.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || shuttle(StreamOwned::new(session, stream), to));
        }
    });
    address
}

/// Carries bytes both ways until either side ends.
fn shuttle(mut near: StreamOwned<ServerConnection, TcpStream>, to: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(to) else { return };
    for stream in [&near.sock, &far] {
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        stream.set_nodelay(true).unwrap();
    }
    let mut room = vec![0; 65536];
    loop {
        if !pass(&mut near, &mut far, &mut room) || !pass(&mut far, &mut near, &mut room) {
            return;
        }
    }
}

fn pass(from: &mut impl Read, to: &mut impl Write, room: &mut [u8]) -> bool {
    match from.read(room) {
        Ok(0) => false,
        Ok(length) => to.write_all(&room[..length]).is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
