use std::fs;

use rcgen::{CertificateParams, KeyPair};

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
fn plain_peers_may_speak_both_versions() {
    let (_dir, good) = files();
    let config = server_config(&good).unwrap();
    let versions: Vec<_> =
        config.crypto_provider().cipher_suites.iter().map(|suite| suite.version().version).collect();
    assert!(versions.contains(&rustls::ProtocolVersion::TLSv1_2), "{versions:?}");
    assert!(versions.contains(&rustls::ProtocolVersion::TLSv1_3), "{versions:?}");
    assert_eq!(config.send_tls13_tickets, 0);
}
