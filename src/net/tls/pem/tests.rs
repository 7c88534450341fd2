use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::{ClientConnection, ServerConnection};

use super::*;

/// A directory with a certificate, its key, and a key that is another's.
fn files() -> (tempfile::TempDir, ListenerTls) {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(dir.path().join("a.pem"), certificate.pem()).unwrap();
    fs::write(dir.path().join("a.key"), key.serialize_pem()).unwrap();
    fs::write(dir.path().join("b.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let tls =
        ListenerTls { certificate: dir.path().join("a.pem"), key: dir.path().join("a.key"), client_ca: None };
    (dir, tls)
}

#[test]
fn each_wrong_file_is_named() {
    let (dir, good) = files();
    let at = |name: &str| dir.path().join(name);
    server_config(&good).unwrap();
    server_config(&ListenerTls { client_ca: Some(at("a.pem")), ..good.clone() }).unwrap();
    for (tls, key, message) in [
        (ListenerTls { certificate: at("none"), ..good.clone() }, "certificate", "none cannot be read"),
        (ListenerTls { certificate: at("empty"), ..good.clone() }, "certificate", "empty has no certificate"),
        (ListenerTls { certificate: at("a.key"), ..good.clone() }, "certificate", "a.key has no certificate"),
        (ListenerTls { key: at("empty"), ..good.clone() }, "key", "empty has no private key"),
        (ListenerTls { key: at("a.pem"), ..good.clone() }, "key", "a.pem has no private key"),
        (
            ListenerTls { key: at("b.key"), ..good.clone() },
            "key",
            "b.key is not the key of the certificate in",
        ),
        (
            ListenerTls { client_ca: Some(at("empty")), ..good.clone() },
            "client_ca",
            "empty has no certificate",
        ),
    ] {
        let problem = server_config(&tls).unwrap_err();
        assert_eq!(problem.key, key, "{problem}");
        assert!(problem.message.contains(message), "{problem}");
        assert!(!problem.to_string().contains("PRIVATE"), "{problem}");
    }
}

#[test]
fn clients_take_the_system_s_authorities_unless_told_otherwise() {
    let (dir, _) = files();
    let ca = |name: &str| ClusterTls { ca: Some(dir.path().join(name)), ..ClusterTls::default() };
    client_config(&ca("a.pem")).unwrap();
    client_config(&ClusterTls { insecure: true, ..ClusterTls::default() }).unwrap();
    assert!(client_config(&ca("empty")).unwrap_err().message.contains("empty has no certificate in PEM"));
    if let Err(problem) = client_config(&ClusterTls::default()) {
        assert!(problem.message.contains("this system has no authorities"), "{problem}");
    }
}

#[test]
fn the_first_certificate_of_a_chain_to_expire_is_known() {
    let (dir, good) = files();
    let lasting = |year| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 2);
        params
    };
    let key = KeyPair::from_pem(&fs::read_to_string(&good.key).unwrap()).unwrap();
    let chain = [2041, 2035].map(|year| lasting(year).self_signed(&key).unwrap().pem()).concat();
    fs::write(dir.path().join("a.pem"), chain).unwrap();
    let expires = ServerTls::read(&good).unwrap().expires.unwrap();
    assert_eq!(expires.as_secs(), u64::try_from(date_time_ymd(2035, 1, 2).unix_timestamp()).unwrap());
}

#[test]
fn plain_peers_may_speak_both_versions() {
    let (_dir, good) = files();
    let config = server_config(&good).unwrap();
    let versions: Vec<_> =
        config.crypto_provider().cipher_suites.iter().map(|suite| suite.version().version).collect();
    assert!(versions.contains(&rustls::ProtocolVersion::TLSv1_2), "{versions:?}");
    assert!(versions.contains(&rustls::ProtocolVersion::TLSv1_3), "{versions:?}");
    assert_eq!(config.send_tls13_tickets, 0);
}

/// What a client makes of a server whose certificate is all that its `ca` has.
fn shaken(params: CertificateParams, name: &str) -> Result<(), Error> {
    let (dir, tls) = files();
    let key = KeyPair::generate().unwrap();
    fs::write(&tls.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&tls.key, key.serialize_pem()).unwrap();
    let trusted = ClusterTls { ca: Some(dir.path().join("a.pem")), ..ClusterTls::default() };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config(&trusted).unwrap()), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server_config(&tls).unwrap())).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_camera_that_signs_for_itself_is_trusted_by_its_own_certificate() {
    let params = || CertificateParams::new(["camera.example".to_owned()]).unwrap();
    let authority = || {
        let mut own = params();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own
    };
    shaken(params(), "camera.example").unwrap();
    shaken(authority(), "camera.example").unwrap();
    for own in [params(), authority()] {
        let error = shaken(own, "other.example").unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
    let mut old = params();
    old.not_after = date_time_ymd(2020, 1, 1);
    let error = shaken(old, "camera.example").unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}
