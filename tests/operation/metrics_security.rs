//! What the metrics say of TLS, of hops, and of what will expire.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use msm_auth::identity::source::SourceError;

use crate::common::member::Ca;
use crate::common::pair::{far, near, near_on};
use crate::common::relay::Relay;
use crate::common::tls::{self, Authority};
use crate::common::{Publisher, Reader, TcpReader, TestMesh};

/// The value of the one line with these labels.
fn value(mesh: &TestMesh, line: &str) -> f64 {
    mesh.counter(&format!("{line} "))
}

fn handshakes(mesh: &TestMesh, hop: &str, direction: &str) -> f64 {
    value(mesh, &format!("msm_handshake_seconds_count{{hop=\"{hop}\",direction=\"{direction}\"}}"))
}

/// A mesh that serves over TLS, with a certificate until the 2nd of January of a year.
fn serving(authority: &Authority, year: i32) -> TestMesh {
    authority.issue_until("server", "127.0.0.1", year);
    TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: safe, address: \"127.0.0.1:0\", protocol: rtsps, tls: {}}}\n",
        authority.yaml("server", "")
    ))
}

/// A mesh that gets every stream from an endpoint.
fn in_front_of(endpoint: &str, cluster: &str) -> TestMesh {
    TestMesh::start(&format!(
        "routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{endpoints: [\"{endpoint}\"]{cluster}}}\n"
    ))
}

fn describe(mesh: &TestMesh) -> u16 {
    mesh.connect().ask("DESCRIBE", &mesh.url("one"), &[], b"").status
}

#[test]
fn handshakes_are_measured_on_both_sides_of_both_kinds_of_hop() {
    let authority = Authority::new();
    let back = serving(&authority, 2050);
    let front = in_front_of(
        &format!("rtsps://{}", back.address),
        &format!(", tls: {{ca: \"{}\"}}", authority.file("ca.pem")),
    );
    assert_eq!(describe(&front), 404, "from behind the handshake");
    assert_eq!((handshakes(&front, "plain", "dialled"), handshakes(&back, "plain", "accepted")), (1.0, 1.0));

    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let _publisher = Publisher::start(&far, "one");
    assert_eq!(describe(&near), 200);
    assert_eq!((handshakes(&near, "mesh", "dialled"), handshakes(&far, "mesh", "accepted")), (1.0, 1.0));
    assert_eq!(handshakes(&far, "plain", "accepted"), 0.0, "what speaks no TLS has no handshake");
    let took = value(&near, "msm_handshake_seconds_sum{hop=\"mesh\",direction=\"dialled\"}");
    assert!(took > 0.0 && took < 10.0, "{took}");
    assert_eq!(near.counter("msm_dial_failures_total") + front.counter("msm_dial_failures_total"), 0.0);
}

#[test]
fn handshakes_with_endpoints_that_fail_are_counted_by_reason() {
    let authority = Authority::new();
    let back = serving(&authority, 2050);
    let stranger = Authority::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silence = silent.local_addr().unwrap();
    let soon = ", timeouts: {connect: 300ms}";
    let ca = format!(", tls: {{ca: \"{}\"}}{soon}", stranger.file("ca.pem"));
    for (endpoint, reason) in [(back.address, "tls_certificate"), (silence, "tls_timeout")] {
        let front = in_front_of(&format!("rtsps://{endpoint}"), &ca);
        assert!(describe(&front) >= 500);
        let line = format!("msm_dial_failures_total{{hop=\"plain\",reason=\"{reason}\"}}");
        assert_eq!(value(&front, &line), 1.0, "{}", front.metrics());
        assert_eq!(handshakes(&front, "plain", "dialled"), 0.0);
    }

    let ca = Ca::new("test.example");
    let (_far, hop) = far(&ca.member("/somebody"), "");
    for (endpoint, reason) in [(hop, "not_allowed"), (silence, "tls_timeout")] {
        let near = near_on(&ca.member("/near"), endpoint, 2, "\n    timeouts: {connect: 300ms}");
        assert!(describe(&near) >= 500);
        let line = format!("msm_dial_failures_total{{hop=\"mesh\",reason=\"{reason}\"}}");
        assert_eq!(value(&near, &line), 1.0, "{}", near.metrics());
    }
}

#[test]
fn a_hop_is_counted_by_its_way_and_its_falls_and_its_round_trip_measured() {
    let ca = Ca::new("test.example");
    let far_id = ca.member("/far");
    let (far, hop) = far(&far_id, "");
    let relay = Relay::start(hop);
    let near = near(&ca.member("/near"), relay.address, "");
    let members = [&near, &far];
    let way = |mesh: &TestMesh, way: &str| value(mesh, &format!("msm_hops{{way=\"{way}\"}}"));
    for mesh in members {
        let none = ["unknown", "udp", "tcp"].map(|name| way(mesh, name));
        assert_eq!(none, [0.0; 3]);
        assert!(mesh.metrics().contains("msm_hops{way=\"tcp\"} 0"), "there to be looked at from the start");
    }
    let _publisher = Publisher::start(&far, "one");
    let _reader = TcpReader::start(&near, "one");
    for mesh in members {
        mesh.wait_value("msm_hops{way=\"udp\"}", 1.0);
    }
    let rtt = "msm_hop_rtt_seconds_count";
    near.wait_counter(&format!("{rtt}{{cluster=\"far\",direction=\"dialled\""), 1.0);
    far.wait_counter(&format!("{rtt}{{cluster=\"\",direction=\"accepted\""), 1.0);
    assert_eq!(near.counter("msm_hop_fallbacks_total"), 0.0);

    relay.set(|_, _| vec![]);
    for mesh in members {
        mesh.wait_value("msm_hops{way=\"tcp\"}", 1.0);
        assert_eq!((way(mesh, "udp"), mesh.counter("msm_hop_fallbacks_total")), (0.0, 1.0));
    }
    relay.set(|_, datagram| vec![datagram.to_vec()]);
    for mesh in members {
        mesh.wait_value("msm_hops{way=\"udp\"}", 1.0);
        assert_eq!((way(mesh, "tcp"), mesh.counter("msm_hop_fallbacks_total")), (0.0, 1.0));
    }
    far_id.withdraw();
    far.wait_value("msm_hops{", 0.0);
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn what_expires_is_known_before_it_does() {
    let ca = Ca::new("test.example");
    let (near_id, far_id) = (ca.member_for("/near", 700), ca.member_for("/far", 500));
    let (far, hop) = far(&far_id, "");
    let near = near(&near_id, hop, "");
    let expires = |mesh: &TestMesh, whose: &str| value(mesh, &format!("msm_{whose}_expires_seconds"));
    let within = |at: f64, seconds: f64| (seconds - 60.0..=seconds + 1.0).contains(&(at - now()));
    assert!(within(expires(&near, "identity"), 700.0));
    assert_eq!(expires(&near, "hop_peer"), 0.0, "nobody showed anything");
    let _publisher = Publisher::start(&far, "one");
    let reader = Reader::start(&near, "one");
    assert!(within(expires(&near, "hop_peer"), 500.0), "{}", near.metrics());
    assert!(within(expires(&far, "hop_peer"), 700.0), "{}", far.metrics());
    // A renewed one counts as soon as it was shown.
    far_id.put(ca.svid("/far", 900), [ca.bundle()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    near_id.trust([ca.bundle()]);
    while !within(expires(&near, "hop_peer"), 900.0) {
        assert!(Instant::now() < deadline, "{}", near.metrics());
        std::thread::sleep(Duration::from_millis(20));
    }

    assert_eq!(value(&far, "msm_identity_problem"), 0.0);
    far_id.fail(Some(SourceError::NoEndpoint));
    assert_eq!(value(&far, "msm_identity_problem"), 1.0);
    far_id.fail(None);
    assert_eq!(value(&far, "msm_identity_problem"), 0.0);
    drop(reader);
    far_id.withdraw();
    far.wait_value("msm_hop_peer_expires_seconds", 0.0);
}

#[test]
fn a_listener_s_certificate_says_when_it_expires() {
    let authority = Authority::new();
    let mesh = serving(&authority, 2050);
    let line = "msm_certificate_expires_seconds{listener=\"safe\"}";
    let until = |year: i32| tls::second_of_january(year).unix_timestamp() as f64;
    assert_eq!(value(&mesh, line), until(2050));
    authority.issue_until("server", "127.0.0.1", 2060);
    mesh.wait_value(line, until(2060));
    // One that cannot be used is not shown either.
    fs::write(authority.file("server.pem"), "no certificate").unwrap();
    assert_eq!(value(&mesh, line), until(2060));
    assert_eq!(value(&TestMesh::start(""), line), 0.0);
}
