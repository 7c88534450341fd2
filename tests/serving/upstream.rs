//! Streams that come from, or go to, other servers.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::common::server::{Asked, Server};
use crate::common::{Line, Publisher, Reader, TcpReader, TestMesh, VIDEO, keyframe, reader_port, rtp};

/// A mesh whose every stream is pulled from, or pushed to, `endpoint`.
fn in_front_of(endpoint: &str, cluster: &str, route: &str) -> TestMesh {
    TestMesh::start(&format!(
        "workers: 2\nroutes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]{route}}}\n\
         clusters:\n  back: {{endpoints: [\"{endpoint}\"]{cluster}}}\n"
    ))
}

fn base(mesh: &TestMesh) -> String {
    format!("rtsp://{}", mesh.address)
}

#[test]
fn one_upstream_session_serves_all_readers_and_ends_after_the_last() {
    for transport in ["udp", "tcp", "auto"] {
        let back = TestMesh::start("");
        let front = in_front_of(&base(&back), &format!(", transport: {transport}"), ", idle_timeout: 500ms");
        let publisher = Publisher::start(&back, "live/one");
        let readers: Vec<_> = (0..3).map(|_| Reader::start(&front, "live/one")).collect();
        let mut tcp: Vec<_> = (0..3).map(|_| TcpReader::start(&front, "live/one")).collect();
        let mut lines: Vec<_> = (0..6).map(|_| Line::default()).collect();
        assert_eq!(back.counter("msm_sessions "), 2.0, "the publisher's, and one of the other mesh");
        for number in 0..50u16 {
            let packet =
                rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 1000);
            publisher.send(&packet);
            for (reader, line) in readers.iter().zip(&mut lines) {
                line.check(&reader.recv(), &packet);
            }
            for (reader, line) in tcp.iter_mut().zip(&mut lines[3..]) {
                line.check(&reader.recv(), &packet);
            }
        }
        for mut reader in readers {
            let session = reader.session.clone();
            assert_eq!(reader.rtsp.ask("TEARDOWN", &reader.url, &[("Session", &session)], b"").status, 200);
        }
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(back.counter("msm_sessions "), 2.0, "the TCP readers still read");
        drop(tcp);
        back.wait_value("msm_sessions ", 1.0);
        front.wait_value("msm_streams ", 0.0);
        // And again: what the other mesh has kept comes first.
        let reader = Reader::start(&front, "live/one");
        assert_eq!(reader.recv()[12], 0x65);
    }
}

#[test]
fn where_nothing_comes_over_udp_tcp_is_asked_for() {
    // A server that agrees to UDP and whose packets never come, as behind a firewall.
    let server = Server::start(|asked| match asked.header("transport") {
        Some(transport) if !transport.contains("TCP") => {
            let ports = transport.split("client_port=").nth(1).unwrap_or_default();
            let headers = format!(
                "Session: s{};timeout=60\r\nTransport: RTP/AVP;unicast;client_port={ports};server_port=9000-9001\r\n",
                asked.connection
            );
            (200, headers, String::new())
        }
        _ => answer(asked, VIDEO),
    });
    let front = in_front_of(&format!("rtsp://{}", server.address), "", "");
    let reader = Reader::start(&front, "walled");
    let first = server.wait("PLAY", 1);
    let second = server.wait("PLAY", 2);
    assert_ne!(first.connection, second.connection);
    assert_eq!(server.wait("TEARDOWN", 1).connection, first.connection);
    let packet = keyframe(1, 1, 7, 500);
    server.frame(second.connection, 0, &packet);
    assert_eq!(reader.recv()[12..], packet[12..], "the reader notices nothing");
}

#[test]
fn readers_end_with_their_upstream() {
    let back = TestMesh::start("routes: [{name: local, match: {url: '/{path...}'}, publish: {resume: 0s}}]");
    let front = in_front_of(&base(&back), ", failover: {hold: 0s}", "");
    let publisher = Publisher::start(&back, "ends");
    let mut reader = Reader::start(&front, "ends");
    let mut tcp = TcpReader::start(&front, "ends");
    publisher.send(&keyframe(1, 0, 7, 100));
    reader.recv();
    tcp.recv();
    drop(publisher);
    assert!(reader.rtsp.is_closed());
    assert!(tcp.rtsp.is_closed());
    front.wait_value("msm_streams ", 0.0);
    front.wait_value("msm_sessions ", 0.0);
    assert_eq!(front.connect().ask("DESCRIBE", &front.url("ends"), &[], b"").status, 404);
}

#[test]
fn what_is_wrong_upstream_is_told_by_status() {
    let describe =
        |mesh: &TestMesh, path: &str| mesh.connect().ask("DESCRIBE", &mesh.url(path), &[], b"").status;
    let back = TestMesh::start("");
    assert_eq!(describe(&in_front_of(&base(&back), "", ""), "nothing"), 404);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(describe(&in_front_of(&format!("rtsp://{closed}"), "", ""), "x"), 502);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("rtsp://{}", silent.local_addr().unwrap());
    let timeouts = ", timeouts: {connect: 1s, response: 300ms}";
    let front = in_front_of(&endpoint, timeouts, "");
    assert_eq!(describe(&front, "x"), 504);
    // Many different URLs that fail leave nothing behind.
    for number in 0..5 {
        assert_eq!(describe(&front, &format!("x{number}")), 504);
    }
    assert_eq!(front.counter("msm_streams "), 0.0);
    let garbage = Server::start(|_| (200, "Content-Type: application/sdp\r\n".into(), "no sdp".into()));
    assert_eq!(describe(&in_front_of(&format!("rtsp://{}", garbage.address), "", ""), "x"), 502);
}

#[test]
fn a_route_to_oneself_is_a_loop() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mesh = TestMesh::from_yaml(&format!(
        "listeners: [{{name: self, address: \"127.0.0.1:{port}\", ports: {}}}]\n\
         routes: [{{name: self, backends: [{{cluster: self}}]}}]\n\
         clusters: {{self: {{endpoints: [\"rtsp://127.0.0.1:{port}\"]}}}}\n",
        reader_port()
    ));
    let start = Instant::now();
    assert_eq!(mesh.connect().ask("DESCRIBE", &mesh.url("round"), &[], b"").status, 502);
    let mut publisher = mesh.connect();
    let url = mesh.url("round");
    let sdp = [("Content-Type", "application/sdp")];
    assert_eq!(publisher.ask("ANNOUNCE", &url, &sdp, VIDEO.as_bytes()).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    let session = publisher.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
    assert_eq!(publisher.ask("RECORD", &url, &[("Session", &session)], b"").status, 502);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    mesh.wait_value("msm_streams ", 0.0);
}

/// Answers as a server of one H.264 stream over TCP does.
fn answer(asked: &Asked, description: &str) -> (u16, String, String) {
    let session = format!("Session: s{};timeout=60\r\n", asked.connection);
    match asked.method.as_str() {
        "OPTIONS" => (
            200,
            "Public: OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER\r\n".into(),
            String::new(),
        ),
        "DESCRIBE" => (200, "Content-Type: application/sdp\r\n".into(), description.into()),
        "SETUP" if asked.header("transport").is_some_and(|transport| transport.contains("TCP")) => {
            (200, format!("{session}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"), String::new())
        }
        "SETUP" => (461, String::new(), String::new()),
        "PLAY" => {
            let range = asked.header("range").unwrap_or("npt=0-");
            let scale = asked.header("scale").map_or(String::new(), |scale| format!("Scale: {scale}\r\n"));
            let info = format!(
                "RTP-Info: url={}/trackID=0;seq=1000;rtptime=5000\r\n",
                asked.uri.trim_end_matches('/')
            );
            (200, format!("{session}Range: {range}\r\n{scale}{info}"), String::new())
        }
        _ => (200, session, String::new()),
    }
}

#[test]
fn upstreams_that_want_a_password_get_digest() {
    let challenge = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\", algorithm=MD5\r\n";
    let server = Server::start(move |asked| match asked.header("authorization") {
        Some(sent) if sent.starts_with("Digest ") && sent.contains("username=\"viewer\"") => {
            answer(asked, VIDEO)
        }
        _ => (401, challenge.into(), String::new()),
    });
    let endpoint = format!("rtsp://{}", server.address);
    let front = in_front_of(&endpoint, ", auth: {user: viewer, password: secret}", "");
    let mut reader = TcpReader::start(&front, "cam");
    let play = server.wait("PLAY", 1);
    assert!(!play.head.contains("secret"), "{}", play.head);
    assert!(play.header("via").is_some_and(|via| via.contains("msm-")), "{}", play.head);
    let packet = keyframe(1, 1, 7, 500);
    server.frame(play.connection, 0, &packet);
    assert_eq!(reader.recv()[12..], packet[12..]);
    // Without credentials the reader is told that the fault is not its own.
    let without = in_front_of(&endpoint, "", "");
    assert_eq!(without.connect().ask("DESCRIBE", &without.url("cam"), &[], b"").status, 502);
}

#[test]
fn recordings_have_an_upstream_session_for_each_reader() {
    let description = VIDEO.replace("t=0 0\r\n", "t=0 0\r\na=range:npt=0-10\r\n");
    let server = Server::start(move |asked| answer(asked, &description));
    let front = in_front_of(&format!("rtsp://{}", server.address), "", ", idle_timeout: 300ms");
    let mut clients: Vec<_> = (0..2).map(|_| front.connect()).collect();
    let url = front.url("film");
    let mut connections = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        let described = client.ask("DESCRIBE", &url, &[], b"");
        assert!(String::from_utf8_lossy(&described.body).contains("a=range:npt=0-10"), "{described:?}");
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let answer = client.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        let headers = [("Session", session.as_str()), ("Range", "npt=2.5-"), ("Scale", "2.0")];
        let play = client.ask("PLAY", &url, &headers, b"");
        assert_eq!(
            (play.status, play.header("scale"), play.header("range")),
            (200, "2.0", "npt=2.5-"),
            "{play:?}"
        );
        let asked = server.wait("PLAY", number + 1);
        assert_eq!((asked.header("range"), asked.header("scale")), (Some("npt=2.5-"), Some("2.0")));
        connections.push((asked.connection, session, play));
    }
    assert_ne!(connections[0].0, connections[1].0, "one upstream session for each");
    for (client, (connection, session, play)) in clients.iter_mut().zip(&connections) {
        // What RTP-Info says of the first packet is true of it.
        let info = play.header("rtp-info").to_owned();
        let number = |key: &str| -> u32 {
            let (_, value) =
                info.split_once(&format!("{key}=")).unwrap_or_else(|| panic!("{key} in {info:?}"));
            value.split([';', ',']).next().unwrap().trim().parse().unwrap()
        };
        assert!(info.contains(&front.address.to_string()), "{info}");
        let packet = keyframe(1000, 5000, 7, 300);
        server.frame(*connection, 0, &packet);
        let (_, received) = client.next_frame();
        assert_eq!(received[12..], packet[12..]);
        assert_eq!(u32::from(u16::from_be_bytes([received[2], received[3]])), number("seq"), "{info}");
        assert_eq!(u32::from_be_bytes(received[4..8].try_into().unwrap()), number("rtptime"), "{info}");
        assert_eq!(client.ask("PAUSE", &url, &[("Session", session)], b"").status, 200);
    }
    assert_eq!(server.wait("PAUSE", 2).connection, connections[1].0);
    // A seek of one is nothing to the other.
    let seek = [("Session", connections[0].1.as_str()), ("Range", "npt=7-")];
    let first = keyframe(2000, 600_000, 7, 300);
    server.frame_with_play(0, &first);
    let answer = clients[0].ask("PLAY", &url, &seek, b"");
    assert_eq!((answer.status, answer.header("range")), (200, "npt=7-"), "{answer:?}");
    let asked = server.wait("PLAY", 3);
    assert_eq!((asked.connection, asked.header("range")), (connections[0].0, Some("npt=7-")));
    // The first packet of the new place comes with the answer.
    assert_eq!(clients[0].next_frame().1[12..], first[12..]);
    // Each leaves alone.
    assert_eq!(clients[0].ask("TEARDOWN", &url, &[("Session", &connections[0].1)], b"").status, 200);
    assert_eq!(server.wait("TEARDOWN", 1).connection, connections[0].0);
    drop(clients);
    server.wait("TEARDOWN", 2);
    front.wait_value("msm_streams ", 0.0);
}

#[test]
fn an_upstream_that_ends_or_breaks_the_protocol_ends_its_readers_only() {
    let server = Server::start(|asked| answer(asked, VIDEO));
    let front = in_front_of(&format!("rtsp://{}", server.address), ", failover: {hold: 0s}", "");
    let mut one = TcpReader::start(&front, "one");
    let mut two = TcpReader::start(&front, "two");
    let first = server.wait("PLAY", 1).connection;
    let second = server.wait("PLAY", 2).connection;
    // A frame for a channel that nobody set up, then what is no RTSP.
    server.frame(first, 77, &[0; 40]);
    server.frame(first, 0, &keyframe(1, 1, 7, 100));
    one.recv();
    server.frame(second, 0, &keyframe(1, 1, 7, 100));
    two.recv();
    server.frame(first, 0, &[0; 3]);
    let text = vec![b'x'; 100_000];
    server.raw(first, &text);
    assert!(one.rtsp.is_closed());
    let packet = keyframe(2, 2, 7, 200);
    server.frame(second, 0, &packet);
    assert_eq!(two.recv()[12..], packet[12..]);
}

#[test]
fn a_setup_that_fails_upstream_fails_the_reader_and_is_tried_anew() {
    let attempts = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |asked| match asked.method.as_str() {
        "SETUP" if attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 3 => {
            (453, String::new(), String::new())
        }
        _ => answer(asked, VIDEO),
    });
    let front = in_front_of(&format!("rtsp://{}", server.address), ", transport: tcp", "");
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let mut client = front.connect();
        let url = front.url("busy");
        let answer = client.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        statuses.push(client.ask("PLAY", &url, &[("Session", &answer.session())], b"").status);
    }
    assert_eq!(statuses, [453, 453, 453, 200]);
}

#[test]
fn pushed_streams_are_recorded_upstream_and_end_with_their_publisher() {
    for transport in ["udp", "tcp"] {
        let back = TestMesh::start("");
        let front = in_front_of(&base(&back), &format!(", transport: {transport}"), "");
        let mut publisher = Publisher::start(&front, "pushed");
        let reader = Reader::start(&back, "pushed");
        let mut line = Line::default();
        for number in 0..50u16 {
            let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 700);
            publisher.send(&packet);
            line.check(&reader.recv(), &packet);
        }
        // A keyframe that a reader behind it all wants is asked of the publisher.
        let received = {
            publisher.send(&keyframe(50, 150_000, 7, 100));
            reader.recv()
        };
        let mut pli = vec![0x81, 206, 0, 2, 0, 0, 0, 9];
        pli.extend_from_slice(&received[8..12]);
        let to = (back.address.ip(), reader.server_port + 1);
        let deadline = Instant::now() + Duration::from_secs(10);
        publisher.rtcp.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut scratch = [0; 2048];
        loop {
            reader.rtcp.send_to(&[&[0x80, 201, 0, 1, 0, 0, 0, 9][..], &pli].concat(), to).unwrap();
            if publisher
                .rtcp
                .recv(&mut scratch)
                .is_ok_and(|length| scratch[..length].windows(2).any(|two| two == [0x81, 206]))
            {
                break;
            }
            assert!(Instant::now() < deadline, "the PLI never came through");
        }
        let session = publisher.session.clone();
        assert_eq!(
            publisher.rtsp.ask("TEARDOWN", &front.url("pushed"), &[("Session", &session)], b"").status,
            200
        );
        back.wait_value("msm_streams ", 0.0);
        front.wait_value("msm_streams ", 0.0);
    }
}

#[test]
fn a_publisher_is_told_when_nobody_records_it_any_more() {
    let back = TestMesh::start("");
    let front = in_front_of(&base(&back), "", "");
    let mut publisher = Publisher::start(&front, "told");
    drop(back);
    assert!(publisher.rtsp.is_closed());
    front.wait_value("msm_sessions ", 0.0);
    front.wait_value("msm_streams ", 0.0);
}

#[test]
fn shutdown_leaves_upstreams_by_teardown() {
    let server = Server::start(|asked| answer(asked, VIDEO));
    let front = in_front_of(&format!("rtsp://{}", server.address), "", "");
    let _reader = TcpReader::start(&front, "one");
    drop(front);
    server.wait("TEARDOWN", 1);
}

#[test]
fn an_endpoint_that_fails_is_passed_over() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(|asked| answer(asked, VIDEO));
    let endpoints = format!("rtsp://{closed}\", \"rtsp://{}", server.address);
    let front = in_front_of(&endpoints, "", "");
    for path in ["a", "b", "c"] {
        assert_eq!(front.connect().ask("DESCRIBE", &front.url(path), &[], b"").status, 200);
    }
}

#[test]
fn standing_streams_are_pulled_before_anybody_reads() {
    let server = Server::start(|asked| answer(asked, VIDEO));
    let front = TestMesh::start(&format!(
        "routes:\n  - {{name: gate, match: {{url: /gate, actions: [read]}}, backends: [{{cluster: cam}}]}}\n\
         clusters:\n  cam: {{endpoints: [\"rtsp://{}\"], start: always}}\n",
        server.address
    ));
    let connection = server.wait("PLAY", 1).connection;
    server.frame(connection, 0, &keyframe(1, 1, 7, 100));
    std::thread::sleep(Duration::from_millis(200));
    let mut reader = TcpReader::start(&front, "gate");
    assert_eq!(reader.recv().len(), 100, "the keyframe of before");
    assert_eq!(server.asked("PLAY").len(), 1);
}
