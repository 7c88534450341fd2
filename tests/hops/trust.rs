//! Who is let in, and what ends when trust does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_auth::identity::source::SourceError;
use rcgen::{KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::timeout;

use crate::common::member::{
    self, Ca, Held, Issued, connect, lasting, leaf, member_config, signer, strange_config,
};
use crate::common::pair::{far, near, numbered};
use crate::common::{Publisher, TestMesh, log};

static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];
static ONLY_TLS12: &[&SupportedProtocolVersion] = &[&TLS12];

/// One that must not be let in.
struct Stranger {
    /// What it shows, if anything.
    shows: Option<Issued>,
    versions: &'static [&'static SupportedProtocolVersion],
    /// What the refusal says, and the name that it is counted under.
    says: &'static str,
    counted: &'static str,
}

fn strangers(ca: &Ca, path: &str) -> Vec<Stranger> {
    let id = format!("spiffe://test.example{path}");
    let shows = |says, counted, spoil: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf(&id);
        spoil(&mut params);
        Stranger { shows: Some(ca.sign(&params)), versions: ONLY_TLS13, says, counted }
    };
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let own_root = |domain| {
        let other = Ca::new(domain);
        other.sign(&leaf(&format!("spiffe://{domain}{path}")))
    };
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf(&id).self_signed(&key).unwrap().der().to_vec();
        Issued { certificate, key: key.serialize_der() }
    };
    let one = |issued, says, counted| Stranger { shows: Some(issued), versions: ONLY_TLS13, says, counted };
    vec![
        Stranger {
            shows: None,
            versions: ONLY_TLS13,
            says: "sent no certificates",
            counted: "tls_no_certificate",
        },
        shows("expired", "expired", &|params| lasting(params, -7200, -60)),
        shows("not valid for", "not_yet_valid", &|params| lasting(params, 600, 7200)),
        shows("2 URI SANs", "several_uri_sans", &|params| {
            params.subject_alt_names.push(uri("spiffe://test.example/other"));
        }),
        shows("no URI SAN", "no_uri_san", &|params| {
            params.subject_alt_names = vec![SanType::DnsName("near.test.example".try_into().unwrap())];
        }),
        shows("names the trust domain", "leaf_without_path", &|params| {
            params.subject_alt_names = vec![uri("spiffe://test.example")];
        }),
        one(ca.sign(&signer(&id)), "is a CA", "leaf_is_ca"),
        one(own_root("other.example"), "no bundle for trust domain other.example", "no_bundle"),
        one(own_root("test.example"), "issued by no authority", "unknown_issuer"),
        one(self_signed, "issued by no authority", "unknown_issuer"),
        Stranger {
            shows: Some(ca.sign(&leaf(&id))),
            versions: ONLY_TLS12,
            says: "TLS",
            counted: "tls_incompatible",
        },
    ]
}

#[test]
fn whoever_breaks_a_rule_is_refused_by_name_and_others_are_served() {
    log::keep();
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    for stranger in strangers(&ca, "/near") {
        let counter = format!("msm_bad_input_total{{reason=\"{}\"}}", stranger.counted);
        let before = far.counter(&counter);
        let mut rtsp = connect(hop, strange_config(stranger.shows.as_ref(), stranger.versions));
        // The client of TLS 1.3 is done before the server has looked at what it shows.
        let request = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nRequire: msm-hop-1\r\n\r\n";
        let answered = rtsp.stream.write_all(request).and_then(|()| rtsp.stream.read(&mut [0; 64]));
        assert!(!matches!(answered, Ok(1..)), "{} was answered", stranger.counted);
        let from = rtsp.stream.sock.local_addr().unwrap().to_string();
        log::wait(&["connection refused", &from, "mesh", stranger.says]);
        assert_eq!(far.counter(&counter), before + 1.0, "{counter}\n{}", far.metrics());
    }
    let mut good = connect(hop, member_config(&ca.member("/near")));
    assert_eq!(member::begin(&mut good, 1, 1), 200);
}

/// A server that shows this to whoever comes.
fn serve(stranger: &Stranger) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shows = stranger.shows.as_ref().unwrap();
    let chain = vec![CertificateDer::from(shows.certificate.clone())];
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(stranger.versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(shows.key.clone().into()))
        .unwrap();
    config.alpn_protocols = vec![b"msm/1".to_vec()];
    let config = Arc::new(config);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = StreamOwned::new(session, stream).read(&mut [0; 64]);
        }
    });
    address
}

#[test]
fn a_server_that_breaks_a_rule_is_told_nothing() {
    let ca = Ca::new("test.example");
    let me = ca.member("/near");
    for stranger in strangers(&ca, "/far").into_iter().filter(|stranger| stranger.shows.is_some()) {
        let near = near(&me, serve(&stranger), "");
        let error = near.block_on(near.mesh.open(&near.url("live/one"))).err().unwrap().to_string();
        // TLS 1.2 is refused by the server that has nothing else.
        assert!(error.contains(stranger.says), "{}: {error}", stranger.counted);
    }
}

/// Reads as an application until the stream ends; how many packets came, and how it ended.
fn read_on(near: &TestMesh, reader: &mut msm::Reader, publisher: &Publisher) -> (u16, String) {
    let mut number = 1;
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < until, "it still plays");
        publisher.send(&numbered(number));
        match near.block_on(async { timeout(Duration::from_secs(1), reader.next()).await }) {
            Ok(Ok(Some(_))) => number += 1,
            Ok(ended) => return (number, format!("{ended:?}")),
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn playing(far: &TestMesh, near: &TestMesh, path: &str) -> (Publisher, msm::Reader) {
    let publisher = Publisher::start(far, path);
    let mut reader = near.block_on(near.mesh.open(&near.url(path))).unwrap();
    publisher.send(&numbered(0));
    near.block_on(async { timeout(Duration::from_secs(5), reader.next()).await }).unwrap().unwrap().unwrap();
    (publisher, reader)
}

#[test]
fn sessions_end_when_the_bundle_is_withdrawn() {
    log::keep();
    for near_withdraws in [false, true] {
        let ca = Ca::new("test.example");
        let (near_id, far_id) = (ca.member("/near"), ca.member("/far"));
        let (far, hop) = far(&far_id, "");
        let near = near(&near_id, hop, "");
        let (publisher, mut reader) = playing(&far, &near, "live/bundle");
        let who = if near_withdraws { &near_id } else { &far_id };
        // Another authority took over, and the peer is not of it.
        let other = Ca::new("test.example");
        who.put(other.svid(if near_withdraws { "/near" } else { "/far" }, 3600), [other.bundle()]);
        read_on(&near, &mut reader, &publisher);
        let peer = if near_withdraws { "/far" } else { "/near" };
        log::wait(&["ERROR", "member is trusted no more", peer, "issued by no authority"]);
        far.wait_value("msm_sessions ", 1.0);
        assert!(near.block_on(near.mesh.open(&near.url("live/bundle"))).is_err(), "and none begins");
    }
}

#[test]
fn a_stream_goes_on_without_an_agent_until_the_identity_expires_and_again_when_it_is_back() {
    log::keep();
    let ca = Ca::new("test.example");
    let (near_id, far_id) = (ca.member("/near"), ca.member_for("/far", 4));
    let (far, hop) = far(&far_id, "");
    let near = near(&near_id, hop, "");
    let (publisher, mut reader) = playing(&far, &near, "live/expiry");
    far_id.fail(Some(SourceError::NoEndpoint));
    let began = Instant::now();
    let status = far.block_on(far.mesh.status());
    assert!(status.identity_problem.is_some() && status.hops.len() == 1, "{status:?}");
    let (packets, end) = read_on(&near, &mut reader, &publisher);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2500) && packets > 50, "{end} after {took:?}, {packets} packets");
    log::wait(&["ERROR", "member is trusted no more", "spiffe://test.example/far", "expired"]);
    let error = near.block_on(near.mesh.open(&near.url("live/expiry"))).err().unwrap().to_string();
    assert!(!error.is_empty());
    far_id.fail(None);
    far_id.put(ca.svid("/far", 3600), [ca.bundle()]);
    let mut again = near.block_on(near.mesh.open(&near.url("live/expiry"))).unwrap();
    publisher.send(&numbered(9000));
    near.block_on(async { timeout(Duration::from_secs(5), again.next()).await }).unwrap().unwrap().unwrap();
}

/// Nobody is woken up for a member that has ended its sessions and its connection, and renews no identity by it.
#[test]
fn who_has_left_is_no_error_when_its_identity_expires() {
    log::keep();
    let ca = Ca::new("test.example");
    let (near_id, far_id) = (ca.member_for("/leaver", 6), ca.member("/far"));
    let routes = "routes:
  - {name: in, match: {url: '/{path...}', actions: [publish]}}
  - {name: out, match: {url: '/{path...}', actions: [read]}, allow: ['spiffe://test.example/leaver']}\n";
    let (far, hop) = far(&far_id, routes);
    let near = near(&near_id, hop, "");
    let (_publisher, reader) = playing(&far, &near, "live/leaver");
    drop(reader);
    near.wait_value("msm_streams ", 0.0);
    drop(near);
    log::wait(&["association ended", "/leaver", "nobody used it"]);
    assert_eq!(log::count(&["ERROR", "/leaver"]), 0, "{}", log::text());
}

#[test]
fn a_withdrawn_identity_ends_its_sessions() {
    let ca = Ca::new("test.example");
    let (near_id, far_id): (Arc<Held>, _) = (ca.member("/near"), ca.member("/far"));
    let (far, hop) = far(&far_id, "");
    let near = near(&near_id, hop, "");
    let (publisher, mut reader) = playing(&far, &near, "live/withdrawn");
    near_id.withdraw();
    read_on(&near, &mut reader, &publisher);
    far.wait_value("msm_sessions ", 1.0);
    let error = near.block_on(near.mesh.open(&near.url("live/withdrawn"))).err().unwrap().to_string();
    assert!(error.contains("identity"), "{error}");
}
