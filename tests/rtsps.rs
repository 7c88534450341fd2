//! RTSP over TLS on both sides, between real sockets.

// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use common::tls::{Authority, certificate, connect, open};
use common::{Line, Rtsp, TcpPublisher, TcpReader, TestMesh, log, reader_port, rtp};

/// A mesh with one rtsps listener and a certificate for 127.0.0.1.
fn serving(authority: &Authority, tls: &str, more: &str) -> TestMesh {
    authority.issue("server", "127.0.0.1");
    let tls = authority.yaml("server", tls);
    TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", protocol: rtsps, tls: {tls}}}\n{more}\n"
    ))
}

fn url(mesh: &TestMesh, path: &str) -> String {
    format!("rtsps://{}/{path}", mesh.address)
}

/// A mesh whose every stream is pulled from, or pushed to, `back` over TLS.
fn in_front_of(endpoint: &str, cluster: &str) -> TestMesh {
    let port = reader_port();
    TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: front, address: \"127.0.0.1:0\", ports: {port}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{endpoints: [\"{endpoint}\"]{cluster}}}\n"
    ))
}

fn trusting(authority: &Authority) -> String {
    format!(", tls: {{ca: \"{}\"}}", authority.file("ca.pem"))
}

#[test]
fn readers_and_publishers_of_both_versions_of_tls() {
    let authority = Authority::new();
    let mesh = serving(&authority, "", "workers: 2");
    for (publishes, reads) in [(&TLS12, &TLS13), (&TLS13, &TLS12)] {
        let path = url(&mesh, &format!("{:?}", publishes.version));
        let publisher = connect(mesh.address, authority.client(&[publishes], None));
        let mut publisher = TcpPublisher::over(publisher, path.clone());
        let mut readers: Vec<_> = (0..3)
            .map(|_| TcpReader::over(connect(mesh.address, authority.client(&[reads], None)), path.clone()))
            .collect();
        assert_eq!(readers[0].rtsp.stream.conn.protocol_version(), Some(reads.version));
        let mut lines: Vec<_> = (0..3).map(|_| Line::default()).collect();
        for number in 0..200u16 {
            // Some packets are larger than a record of TLS.
            let length = if number % 20 == 0 { 40_000 } else { 1000 };
            let nal = if number % 50 == 0 { 0x65 } else { 0x41 };
            let packet = rtp(number, u32::from(number) * 3000, 7, nal, length);
            publisher.send(&packet);
            for (reader, line) in readers.iter_mut().zip(&mut lines) {
                line.check(&reader.recv(), &packet);
            }
        }
    }
}

#[test]
fn upstreams_over_tls_are_read_from_and_published_to() {
    let authority = Authority::new();
    let back = serving(&authority, "", "workers: 2");
    let front = in_front_of(&format!("rtsps://{}", back.address), &trusting(&authority));
    let mut publisher = TcpPublisher::start(&front, "live/one");
    let mut beyond = TcpReader::over(connect(back.address, authority.plain_client()), url(&back, "live/one"));
    let mut reader = TcpReader::start(&front, "live/one");
    let (mut first, mut second) = (Line::default(), Line::default());
    for number in 0..100u16 {
        let nal = if number == 0 { 0x65 } else { 0x41 };
        let packet = rtp(number, u32::from(number) * 3000, 7, nal, 1200);
        publisher.send(&packet);
        first.check(&beyond.recv(), &packet);
        second.check(&reader.recv(), &packet);
    }
}

#[test]
fn upstreams_that_cannot_be_trusted_are_answered_502() {
    let authority = Authority::new();
    let back = serving(&authority, "", "");
    authority.issue("other", "camera.example");
    let stranger = Authority::new();
    let endpoint = format!("rtsps://{}", back.address);
    let name = format!(", tls: {{ca: \"{}\", server_name: camera.example}}", authority.file("ca.pem"));
    for cluster in [trusting(&stranger), name] {
        let front = in_front_of(&endpoint, &cluster);
        let answer = front.connect().ask("DESCRIBE", &front.url("live/one"), &[], b"");
        assert_eq!(answer.status, 502, "{cluster}: {answer:?}");
    }
    // 404 comes from behind the handshake.
    let ask = |cluster: &str| {
        let front = in_front_of(&endpoint, cluster);
        front.connect().ask("DESCRIBE", &front.url("live/one"), &[], b"").status
    };
    assert_eq!(ask(", tls: {insecure: true}"), 404);
    assert_eq!(ask(&trusting(&authority)), 404);
    // A server that speaks plain RTSP there.
    let plain = TestMesh::start("");
    let front = in_front_of(&format!("rtsps://{}", plain.address), ", tls: {insecure: true}");
    let asked = Instant::now();
    assert_eq!(front.connect().ask("DESCRIBE", &front.url("live/one"), &[], b"").status, 502);
    assert!(asked.elapsed() < Duration::from_secs(4), "the plain server's answer ends it, not the timeout");
}

#[test]
fn a_cluster_that_checks_nobody_says_so() {
    log::keep_all();
    let front = in_front_of("rtsps://127.0.0.1:9", ", tls: {insecure: true}");
    log::wait(&["WARN", "cluster=\"back\"", "`tls.insecure`: certificates are not checked"]);
    drop(front);
}

#[test]
fn media_does_not_go_in_the_clear_beside_tls() {
    let authority = Authority::new();
    let mesh = serving(&authority, "", "");
    let path = url(&mesh, "clear");
    let _publisher = TcpPublisher::over(connect(mesh.address, authority.plain_client()), path.clone());
    let mut reader = connect(mesh.address, authority.plain_client());
    for transport in ["RTP/AVP;unicast;client_port=5000-5001", "RTP/AVP;multicast"] {
        let answer = reader.ask("SETUP", &format!("{path}/trackID=0"), &[("Transport", transport)], b"");
        assert_eq!(answer.status, 461, "{transport}: {answer:?}");
    }
    let both = [("Transport", "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=0-1")];
    let answer = reader.ask("SETUP", &format!("{path}/trackID=0"), &both, b"");
    assert!(answer.header("transport").contains("TCP"), "{answer:?}");
}

#[test]
fn a_client_certificate_that_is_required() {
    let authority = Authority::new();
    let mesh = serving(&authority, &format!(", client_ca: \"{}\"", authority.file("ca.pem")), "");
    authority.issue("client", "client.example");
    for version in [&TLS12, &TLS13] {
        let mut known = connect(mesh.address, authority.client(&[version], Some("client")));
        assert_eq!(known.ask("OPTIONS", &url(&mesh, ""), &[], b"").status, 200);
        let mut unknown = open(mesh.address, authority.client(&[version], None));
        let outcome = unknown
            .write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            .and_then(|()| unknown.read(&mut [0; 100]));
        let error = outcome.expect_err("the certificate is missing");
        assert!(error.to_string().contains("alert"), "{error}");
    }
    mesh.wait_counter("reason=\"tls_no_certificate\"", 2.0);

    let stranger = Authority::new();
    stranger.issue("client", "client.example");
    let pretender = rustls::ClientConfig::clone(&stranger.client(&[&TLS13], Some("client")));
    let mut pretender = open(mesh.address, std::sync::Arc::new(trust(pretender, &authority)));
    let outcome = pretender.write_all(b"x").and_then(|()| pretender.read(&mut [0; 100]));
    outcome.expect_err("the certificate is another authority's");
    mesh.wait_counter("reason=\"tls_certificate\"", 1.0);
}

/// The client with its own certificate, who trusts this authority.
fn trust(mut client: rustls::ClientConfig, authority: &Authority) -> rustls::ClientConfig {
    let own = client.client_auth_cert_resolver;
    client = rustls::ClientConfig::clone(&authority.plain_client());
    client.client_auth_cert_resolver = own;
    client
}

#[test]
fn who_speaks_no_tls_is_told_and_let_go() {
    let authority = Authority::new();
    let mesh = serving(&authority, "", "limits: {request_timeout: 1s}");
    let mut plain = TcpStream::connect(mesh.address).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    plain.write_all(b"OPTIONS rtsp://localhost/ RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
    let mut told = Vec::new();
    match plain.read_to_end(&mut told) {
        Ok(_) => assert_eq!(told.first(), Some(&21), "an alert: {told:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    mesh.wait_counter("reason=\"tls_not_tls\"", 1.0);

    // And who says nothing at all, or stops in the middle.
    let begun = Instant::now();
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut silent = Rtsp::connect(mesh.address);
        silent.raw(bytes);
        assert!(silent.is_closed(), "it is ended");
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900), "each was given its second");
    mesh.wait_counter("reason=\"tls_timeout\"", 2.0);
}

#[test]
fn half_handshakes_hold_nobody_up() {
    let authority = Authority::new();
    let mesh = serving(&authority, "", "workers: 1\nlimits: {request_timeout: 20s}");
    let path = url(&mesh, "flood");
    let mut publisher = TcpPublisher::over(connect(mesh.address, authority.plain_client()), path.clone());
    let mut reader = TcpReader::over(connect(mesh.address, authority.plain_client()), path.clone());
    let half: Vec<_> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(mesh.address).unwrap();
            let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
            stream.write_all(&hello[..number % hello.len()]).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let mut line = Line::default();
    for number in 0..50u16 {
        let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 1000);
        publisher.send(&packet);
        line.check(&reader.recv(), &packet);
    }
    let mut late = connect(mesh.address, authority.plain_client());
    assert_eq!(late.ask("OPTIONS", &path, &[], b"").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(half);
}

#[test]
fn a_reader_that_does_not_read_is_bounded_and_holds_nobody_up() {
    let authority = Authority::new();
    let mesh = serving(&authority, "", "workers: 1\nlimits: {tcp_queue: 256KiB}");
    let path = url(&mesh, "slow");
    let mut publisher = TcpPublisher::over(connect(mesh.address, authority.plain_client()), path.clone());
    let mut slow = TcpReader::over(connect(mesh.address, authority.plain_client()), path.clone());
    let mut quick = TcpReader::over(connect(mesh.address, authority.plain_client()), path.clone());
    let mut line = Line::default();
    // More than the kernel, TLS and the queue hold together.
    for number in 0..600u16 {
        let nal = if number % 100 == 0 { 0x65 } else { 0x41 };
        let packet = rtp(number, u32::from(number) * 3000, 7, nal, 40_000);
        publisher.send(&packet);
        line.check(&quick.recv(), &packet);
    }
    mesh.wait_counter("reason=\"reader_queue\"", 1.0);
    // What was not dropped is whole: the slow reader's stream still decrypts and parses.
    for _ in 0..5 {
        let packet = slow.recv();
        assert!(packet.len() == 40_000 && packet[14..].iter().all(|byte| *byte == 0x55));
    }
}

#[test]
fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let mesh = serving(&authority, "", "");
    let file = authority.dir.path().join("server.pem");
    let shown = || {
        let mut client = connect(mesh.address, authority.plain_client());
        assert_eq!(client.ask("OPTIONS", &url(&mesh, ""), &[], b"").status, 200);
        client.stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let before = certificate(&file);
    assert_eq!(shown(), before);
    authority.issue("server", "127.0.0.1");
    let renewed = certificate(&file);
    assert_ne!(before, renewed);
    let deadline = Instant::now() + Duration::from_secs(10);
    while shown() != renewed {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::write(&file, "no certificate").unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(shown(), renewed);
}

#[test]
fn a_start_with_wrong_files_says_which() {
    let authority = Authority::new();
    authority.issue("one", "127.0.0.1");
    authority.issue("other", "127.0.0.1");
    let start = |tls: &str| {
        let yaml = format!("listeners: [{{name: l, address: \"127.0.0.1:0\", protocol: rtsps, tls: {tls}}}]");
        let config = msm::config::Config::from_yaml(&yaml, "msm.yaml", std::iter::empty()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let built = runtime.block_on(msm::Mesh::builder().config(config).build());
        built.expect_err("it cannot start").to_string()
    };
    let (one, key) = (authority.file("one.pem"), authority.file("other.key"));
    let error = start(&format!("{{certificate: \"{one}\", key: \"{key}\"}}"));
    assert_eq!(error, format!("listener `l`: tls.key: {key} is not the key of the certificate in {one}"));
    let error = start("{certificate: /nowhere.pem, key: /nowhere.key}");
    assert!(error.starts_with("listener `l`: tls.certificate: /nowhere.pem cannot be read: "), "{error}");
}
