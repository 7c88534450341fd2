//! What readers and publishers may count on: bytes, numbers, sessions that live and end as they should.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::common::{
    Line, Publisher, Reader, Rtsp, TcpPublisher, TcpReader, TestMesh, VIDEO, has_bye, keyframe, pair,
    reader_port, rtp, wait_bye,
};

#[test]
fn readers_of_both_kinds_get_every_byte_on_a_line_of_their_own() {
    let mesh = TestMesh::start("workers: 2");
    let udp = Publisher::start(&mesh, "udp");
    let mut tcp = TcpPublisher::start(&mesh, "tcp");
    for (path, over_tcp) in [("udp", false), ("tcp", true)] {
        let readers: Vec<_> = (0..3).map(|_| Reader::start(&mesh, path)).collect();
        let mut tcp_readers: Vec<_> = (0..3).map(|_| TcpReader::start(&mesh, path)).collect();
        let mut lines: Vec<_> = (0..6).map(|_| Line::default()).collect();
        let mut ssrcs = std::collections::BTreeSet::new();
        for number in 0..300u16 {
            let nal = if number % 30 == 0 { 0x65 } else { 0x41 };
            let packet = rtp(
                65_400u16.wrapping_add(number),
                u32::from(number) * 3000,
                7,
                nal,
                20 + usize::from(number) * 4,
            );
            if over_tcp {
                tcp.send(&packet)
            } else {
                udp.send(&packet)
            }
            for (reader, line) in readers.iter().zip(&mut lines) {
                line.check(&reader.recv(), &packet);
            }
            for (reader, line) in tcp_readers.iter_mut().zip(&mut lines[3..]) {
                let received = reader.recv();
                line.check(&received, &packet);
                ssrcs.insert(received[8..12].to_vec());
            }
        }
        assert_eq!(ssrcs.len(), 3, "each reader has an SSRC of its own");
    }
}

#[test]
fn a_late_reader_starts_with_the_keyframe() {
    let mesh = TestMesh::start("workers: 2");
    let publisher = Publisher::start(&mesh, "late");
    let first = Reader::start(&mesh, "late");
    let mut sent = vec![keyframe(1, 0, 7, 900)];
    sent.extend(
        (2..12u16).map(|number| rtp(number, u32::from(number) * 3000, 7, 0x41, 200 + usize::from(number))),
    );
    for packet in &sent {
        publisher.send(packet);
        first.recv();
    }
    let late = Reader::start(&mesh, "late");
    let mut late_tcp = TcpReader::start(&mesh, "late");
    let (mut line, mut tcp_line) = (Line::default(), Line::default());
    for packet in &sent {
        line.check(&late.recv(), packet);
        tcp_line.check(&late_tcp.recv(), packet);
    }
    let live = rtp(12, 36_000, 7, 0x41, 500);
    publisher.send(&live);
    line.check(&late.recv(), &live);
    tcp_line.check(&late_tcp.recv(), &live);
}

#[test]
fn rtsp_2_sets_up_and_plays_without_waiting() {
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "two");
    let (socket, _rtcp) = pair();
    let port = socket.local_addr().unwrap().port();
    let url = mesh.url("two");
    let mut client = mesh.connect();
    client.raw(
        format!(
            "SETUP {url}/trackID=0 RTSP/2.0\r\nCSeq: 1\r\nPipelined-Requests: 77\r\n\
             Transport: RTP/AVP/UDP;unicast;dest_addr=\":{port}\"/\":{}\"\r\n\r\n\
             PLAY {url} RTSP/2.0\r\nCSeq: 2\r\nPipelined-Requests: 77\r\nRange: npt=now-\r\n\r\n",
            port + 1
        )
        .as_bytes(),
    );
    let set_up = client.answer();
    assert_eq!(set_up.status, 200, "{set_up:?}");
    assert!(set_up.header("transport").contains("src_addr="), "{set_up:?}");
    assert_eq!(set_up.header("accept-ranges"), "npt");
    let play = client.answer();
    assert_eq!((play.status, play.session()), (200, set_up.session()), "{play:?}");
    let packet = keyframe(1, 2, 7, 400);
    publisher.send(&packet);
    let mut received = [0; 2048];
    let length = socket.recv(&mut received).unwrap();
    assert_eq!(received[12..length], packet[12..]);
    // A pipeline whose SETUP failed names no session.
    client.version = "2.0";
    let answer = client.ask(
        "SETUP",
        &format!("{url}/trackID=9"),
        &[("Pipelined-Requests", "78"), ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")],
        b"",
    );
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(client.ask("PLAY", &url, &[("Pipelined-Requests", "78")], b"").status, 454);
    assert_eq!(client.ask("TEARDOWN", &url, &[("Session", &play.session())], b"").status, 200);
    mesh.wait_value("msm_sessions ", 1.0);
}

#[test]
fn a_session_goes_on_over_other_connections_of_its_client() {
    let mesh = TestMesh::start("workers: 2");
    let publisher = Publisher::start(&mesh, "again");
    let reader = Reader::start(&mesh, "again");
    let Reader { rtsp, socket, session, url, .. } = reader;
    drop(rtsp);
    // The kernel spreads connections over both workers: eight are not all on one but by one chance in 128.
    let mut connections: Vec<Rtsp> = (0..8).map(|_| mesh.connect()).collect();
    for (number, connection) in (1u16..).zip(&mut connections) {
        assert_eq!(connection.ask("GET_PARAMETER", &url, &[("Session", &session)], b"").status, 200);
        publisher.send(&keyframe(number, 0, 7, 100));
        socket.recv(&mut [0; 2048]).expect("media goes on");
    }
    let pause = connections[3].ask("PAUSE", &url, &[("Session", &session)], b"");
    assert_eq!(pause.status, 200, "{pause:?}");
    let play = connections[4].ask("PLAY", &url, &[("Session", &session)], b"");
    assert_eq!(play.status, 200, "{play:?}");
    assert_eq!(connections[5].ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    assert_eq!(connections[6].ask("PLAY", &url, &[("Session", &session)], b"").status, 454);
    mesh.wait_value("msm_sessions ", 1.0);
    mesh.wait_value("msm_readers{", 0.0);
}

#[test]
fn further_tracks_are_set_up_over_other_connections() {
    let mesh = TestMesh::start("workers: 2");
    let description =
        format!("{VIDEO}m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:audio\r\n");
    let publisher = mesh.block_on(mesh.mesh.publish(&mesh.url("two"), &description)).unwrap();
    let mut readers: Vec<_> = (0..8).map(|_| Reader::set_up(&mesh, "two")).collect();
    // The kernel spreads connections over both workers: some of these are on another than their session.
    let mut audio = Vec::new();
    for reader in &mut readers {
        let (socket, rtcp) = pair();
        let port = socket.local_addr().unwrap().port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
        let headers = [("Session", reader.session.as_str()), ("Transport", transport.as_str())];
        let (track, mut other) = (format!("{}/trackID=1", reader.url), mesh.connect());
        let answer = other.ask("SETUP", &track, &headers, b"");
        assert_eq!((answer.status, answer.session()), (200, reader.session.clone()), "{answer:?}");
        assert_eq!(other.ask("SETUP", &track, &headers, b"").status, 455, "it is set up");
        let play = other.ask("PLAY", &reader.url.clone(), &[("Session", &reader.session)], b"");
        assert_eq!(play.status, 200, "{play:?}");
        audio.push((socket, rtcp));
    }
    for number in 1..4 {
        let mut packet = rtp(number, 960, 9, 0x41, 80);
        packet[1] = 97;
        publisher.send(1, packet).unwrap();
    }
    for (socket, _rtcp) in &audio {
        socket.recv(&mut [0; 2048]).expect("the second track comes");
    }
}

#[test]
fn tracks_of_a_session_play_together_and_may_leave_alone_before() {
    let mesh = TestMesh::start("");
    let description =
        format!("{VIDEO}m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:audio\r\n");
    let publisher = mesh.block_on(mesh.mesh.publish(&mesh.url("two"), &description)).unwrap();
    let mut reader = Reader::set_up(&mesh, "two");
    let (url, session) = (reader.url.clone(), reader.session.clone());
    let (video, audio) = (format!("{url}/trackID=0"), format!("{url}/trackID=1"));
    let transport = [("Session", session.as_str()), ("Transport", "RTP/AVP/TCP;unicast")];
    assert_eq!(reader.rtsp.ask("SETUP", &audio, &transport, b"").status, 200);
    let own = [("Session", session.as_str())];
    assert_eq!(reader.rtsp.ask("PLAY", &video, &own, b"").status, 460);
    assert_eq!(reader.rtsp.ask("TEARDOWN", &audio, &own, b"").status, 200);
    assert_eq!(reader.rtsp.ask("TEARDOWN", &audio, &own, b"").status, 404);
    assert_eq!(reader.rtsp.ask("PLAY", &video, &own, b"").status, 200, "it is all there is");
    let mut sound = rtp(1, 960, 9, 0x41, 80);
    sound[1] = 97;
    publisher.send_burst(1, [sound.clone(), sound].concat(), 92).unwrap();
    publisher.send(0, keyframe(1, 0, 7, 100)).unwrap();
    publisher.send(0, keyframe(2, 0, 7, 100)).unwrap();
    reader.recv();
    assert_eq!(reader.rtsp.frames, [], "what left is not sent");
    assert_eq!(reader.rtsp.ask("TEARDOWN", &video, &own, b"").status, 200);
    mesh.wait_value("msm_sessions ", 0.0);
}

#[test]
fn a_route_may_hold_packets_for_fuller_bursts() {
    const HELD: Duration = Duration::from_millis(100);
    let mesh = TestMesh::start(
        "routes:\n  - {name: held, match: {url: 'rtsp://*/held', actions: [read, publish]}, coalesce: 100ms}\n",
    );
    let publisher = Publisher::start(&mesh, "held");
    let reader = Reader::start(&mesh, "held");
    for number in 1..=2 {
        publisher.send(&keyframe(number, 0, 7, 100));
    }
    // A late start is paced; from here on the reader is a live one.
    reader.recv();
    reader.recv();
    let mut line = Line::default();
    let sent: Vec<_> = (3..6).map(|number| rtp(number, 3000, 7, 0x41, 100)).collect();
    let begin = Instant::now();
    for packet in &sent {
        publisher.send(packet);
    }
    for packet in &sent {
        line.check(&reader.recv(), packet);
        assert!(begin.elapsed() >= HELD, "it came after {:?}", begin.elapsed());
    }
}

/// An empty receiver report.
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

#[test]
fn sessions_time_out_unless_their_client_shows_itself() {
    let mesh = TestMesh::start("workers: 2\nlimits: {session_timeout: 5s}");
    let publisher = Publisher::start(&mesh, "timeout");
    // Some live on one worker, some on the other; all are served by the stream's.
    let reporting: Vec<_> = (0..6).map(|_| Reader::start(&mesh, "timeout")).collect();
    let silent: Vec<_> = (0..3).map(|_| Reader::start(&mesh, "timeout")).collect();
    let to = SocketAddr::new(mesh.address.ip(), silent[0].server_port + 1);
    let sockets: Vec<_> = reporting.into_iter().map(|reader| (reader.socket, reader.rtcp)).collect();
    let until = Instant::now() + Duration::from_secs(9);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        publisher.send(&keyframe(number, 0, 7, 100));
        for (socket, rtcp) in &sockets {
            rtcp.send_to(&REPORT, to).unwrap();
            socket.recv(&mut [0; 2048]).expect("who reports is served");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    mesh.wait_value("msm_sessions ", 7.0);
    for mut reader in silent {
        assert!(reader.rtsp.is_closed());
    }
    // Nobody reports any more.
    drop(sockets);
    for _ in 0..40 {
        publisher.send(&keyframe(number, 0, 7, 100));
        std::thread::sleep(Duration::from_millis(200));
    }
    mesh.wait_value("msm_sessions ", 1.0);
    mesh.wait_value("msm_readers{", 0.0);
}

#[test]
fn teardown_frees_and_says_bye() {
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "bye");
    let mut reader = Reader::start(&mesh, "bye");
    publisher.send(&keyframe(1, 0, 7, 100));
    reader.recv();
    assert_eq!(mesh.counter("msm_readers{"), 1.0);
    let (url, session) = (reader.url.clone(), reader.session.clone());
    assert_eq!(reader.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    mesh.wait_value("msm_readers{", 0.0);
    // The fan-out hears of it a moment after the count.
    std::thread::sleep(Duration::from_millis(100));
    publisher.send(&keyframe(2, 0, 7, 100));
    reader.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(reader.socket.recv(&mut [0; 2048]).is_err(), "nothing comes after TEARDOWN");
    // The connection can be used again.
    assert_eq!(reader.rtsp.ask("OPTIONS", &url, &[], b"").status, 200);
}

/// Streams end with their publishers.
const AT_ONCE: &str = "routes: [{name: local, match: {url: '/{path...}'}, publish: {resume: 0s}}]";

#[test]
fn readers_are_told_when_the_publisher_leaves_and_another_may_come() {
    let mesh = TestMesh::start(&format!("workers: 2\n{AT_ONCE}"));
    let mut publisher = Publisher::start(&mesh, "leave");
    let mut reader = Reader::start(&mesh, "leave");
    let mut tcp = TcpReader::start(&mesh, "leave");
    publisher.send(&keyframe(1, 0, 7, 100));
    reader.recv();
    tcp.recv();
    let mut second = mesh.connect();
    let url = mesh.url("leave");
    let sdp = [("Content-Type", "application/sdp")];
    assert_eq!(second.ask("ANNOUNCE", &url, &sdp, VIDEO.as_bytes()).status, 403);
    let session = publisher.session.clone();
    assert_eq!(publisher.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    wait_bye(&reader.rtcp);
    assert!(reader.rtsp.is_closed());
    loop {
        let (channel, packet) = tcp.rtsp.next_frame();
        if channel == 1 && has_bye(&packet) {
            break;
        }
    }
    assert!(tcp.rtsp.is_closed());
    mesh.wait_value("msm_streams ", 0.0);
    assert_eq!(second.ask("ANNOUNCE", &url, &sdp, VIDEO.as_bytes()).status, 200);
    // A connection that just breaks ends its publisher, too.
    let mut publisher = TcpPublisher::start(&mesh, "leave");
    let reader = Reader::start(&mesh, "leave");
    publisher.send(&keyframe(1, 0, 7, 100));
    reader.recv();
    drop(publisher);
    wait_bye(&reader.rtcp);
    let _third = TcpPublisher::start(&mesh, "leave");
}

#[test]
fn publishers_name_tracks_as_they_like_and_one_after_the_other_on_a_connection() {
    let mesh = TestMesh::start("");
    let mut client = mesh.connect();
    let sdp = format!("{VIDEO}m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=control:right\r\n")
        .replace("a=control:trackID=0", "a=control:left");
    // More than may be announced at a time.
    for number in 0..6u8 {
        let url = mesh.url(&format!("pair{number}"));
        let headers = [("Content-Type", "application/sdp")];
        assert_eq!(client.ask("ANNOUNCE", &url, &headers, sdp.as_bytes()).status, 200);
        let first = ("Transport", "RTP/AVP/TCP;unicast;mode=record");
        let answer = client.ask("SETUP", &format!("{url}/left"), &[first], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        let answer = client.ask("SETUP", &format!("{url}/right"), &[first, ("Session", &session)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(client.ask("RECORD", &url, &[("Session", &session)], b"").status, 200);
    }
    mesh.wait_value("msm_streams ", 6.0);
    let url = mesh.url("pair6");
    let statuses: Vec<_> = (0..5)
        .map(|number| client.ask("ANNOUNCE", &format!("{url}/{number}"), &[], sdp.as_bytes()).status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 453], "what is announced and never recorded is bounded");
}

#[test]
fn the_end_of_one_session_leaves_others_of_its_connection_alone() {
    let mesh = TestMesh::start(AT_ONCE);
    let first = Publisher::start(&mesh, "one");
    let second = Publisher::start(&mesh, "other");
    let mut client = mesh.connect();
    let mut sockets = Vec::new();
    for path in ["one", "other"] {
        let (socket, rtcp) = pair();
        let port = socket.local_addr().unwrap().port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
        let url = mesh.url(path);
        let answer = client.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)], b"");
        assert_eq!(client.ask("PLAY", &url, &[("Session", &answer.session())], b"").status, 200);
        sockets.push((socket, rtcp));
    }
    first.send(&keyframe(1, 0, 7, 100));
    sockets[0].0.recv(&mut [0; 2048]).expect("the stream flows");
    drop(first);
    wait_bye(&sockets[0].1);
    mesh.wait_value("msm_sessions ", 2.0);
    second.send(&keyframe(1, 0, 7, 100));
    sockets[1].0.recv(&mut [0; 2048]).expect("the other stream goes on");
    assert_eq!(client.ask("OPTIONS", "*", &[], b"").status, 200);
}

#[test]
fn limits_of_the_process_are_enforced_and_given_back() {
    let mesh = TestMesh::start(&format!("limits: {{readers: 2, streams: 1}}\n{AT_ONCE}"));
    let publisher = Publisher::start(&mesh, "only");
    let mut other = mesh.connect();
    let url = mesh.url("second");
    let sdp = [("Content-Type", "application/sdp")];
    assert_eq!(other.ask("ANNOUNCE", &url, &sdp, VIDEO.as_bytes()).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    let answer = other.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.session();
    assert_eq!(other.ask("RECORD", &url, &[("Session", &session)], b"").status, 503);
    let _first = Reader::start(&mesh, "only");
    let second = Reader::start(&mesh, "only");
    let mut third = mesh.connect();
    let track = format!("{}/trackID=0", mesh.url("only"));
    let tcp = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    assert_eq!(third.ask("SETUP", &track, &tcp, b"").status, 503);
    let (mut rtsp, url) = (second.rtsp, second.url);
    assert_eq!(rtsp.ask("TEARDOWN", &url, &[("Session", &second.session)], b"").status, 200);
    assert_eq!(third.ask("SETUP", &track, &tcp, b"").status, 200);
    drop(publisher);
    mesh.wait_value("msm_streams ", 0.0);
    let _next = Publisher::start(&mesh, "third");
}

/// The sender report of a compound packet: SSRC, NTP time in seconds, RTP time.
fn sender_report(datagram: &[u8]) -> Option<(u32, f64, u32)> {
    let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
    (datagram.len() >= 28 && datagram[1] == 200)
        .then(|| (word(4), f64::from(word(8)) + f64::from(word(12)) / 4_294_967_296.0, word(16)))
}

#[test]
fn reports_cross_both_ways() {
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "reports");
    let reader = Reader::start(&mesh, "reports");
    let to_rtcp = SocketAddr::new(publisher.to.ip(), publisher.to.port() + 1);
    publisher.send(&keyframe(1, 90_000, 7, 100));
    let first = reader.recv();
    let offset = u32::from_be_bytes(first[4..8].try_into().unwrap()).wrapping_sub(90_000);
    let ssrc = u32::from_be_bytes(first[8..12].try_into().unwrap());
    // A wall clock of the publisher's own: 1000 s and 1/4 s at the timestamp 100,000.
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 7];
    for word in [1000u32, 1 << 30, 100_000, 1, 88] {
        report.extend_from_slice(&word.to_be_bytes());
    }
    publisher.rtcp.send_to(&report, to_rtcp).unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut scratch = [0; 2048];
    loop {
        let length = reader.rtcp.recv(&mut scratch).expect("a sender report comes");
        if let Some((from, ntp, rtp_time)) = sender_report(&scratch[..length]) {
            assert_eq!(from, ssrc, "the reader's SSRC");
            let expected = (ntp - 1000.25) * 90_000.0;
            let found = f64::from(rtp_time.wrapping_sub(offset).wrapping_sub(100_000) as i32);
            assert!(
                (expected - found).abs() < 90.0,
                "{expected} against {found} ticks after the publisher's report"
            );
            break;
        }
        assert!(Instant::now() < deadline, "no sender report came");
    }
    // The reader lost 5 packets and wants a keyframe (RFC 4585 §6.3.1).
    let mut reports = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    for word in [ssrc, 5, 1, 0, 0, 0] {
        reports.extend_from_slice(&word.to_be_bytes());
    }
    reports.extend_from_slice(&[0x81, 206, 0, 2, 0, 0, 0, 9]);
    reports.extend_from_slice(&ssrc.to_be_bytes());
    reader.rtcp.send_to(&reports, (mesh.address.ip(), reader.server_port + 1)).unwrap();
    let (mut pli, mut receiver_report) = (false, false);
    while !(pli && receiver_report) {
        let length = publisher.rtcp.recv(&mut scratch).expect("reports reach the publisher");
        let mut rest = &scratch[..length];
        while rest.len() >= 8 {
            let size = 4 + 4 * usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            match (rest[1], rest[0] & 0x1f) {
                (201, 1) => {
                    assert_eq!(rest[8..12], 7u32.to_be_bytes(), "about the publisher's SSRC");
                    receiver_report = true;
                }
                (206, 1) => {
                    assert_eq!(rest[8..12], 7u32.to_be_bytes(), "about the publisher's SSRC");
                    pli = true;
                }
                _ => {}
            }
            rest = &rest[size.min(rest.len())..];
        }
        assert!(Instant::now() < deadline + Duration::from_secs(15), "pli {pli} report {receiver_report}");
        publisher.send(&keyframe(2, 93_000, 7, 100));
    }
    mesh.wait_value("msm_reader_lost_total{", 5.0);
}

#[test]
fn ipv6_and_dual_stack_listeners_serve() {
    for (address, clients) in [("[::1]:0", &["[::1]"][..]), ("[::]:0", &["127.0.0.1", "[::1]"])] {
        let port = reader_port();
        let mesh = TestMesh::from_yaml(&format!(
            "listeners:\n  - {{name: six, address: \"{address}\", ports: {port}}}\n{AT_ONCE}"
        ));
        for client in clients {
            let host: SocketAddr = format!("{client}:{}", mesh.address.port()).parse().unwrap();
            let url = format!("rtsp://{host}/six");
            let mut publisher = Rtsp::connect(host);
            assert_eq!(
                publisher
                    .ask("ANNOUNCE", &url, &[("Content-Type", "application/sdp")], VIDEO.as_bytes())
                    .status,
                200
            );
            let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
            let session = publisher.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
            assert_eq!(publisher.ask("RECORD", &url, &[("Session", &session)], b"").status, 200);
            let socket = UdpSocket::bind((host.ip(), 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let port = socket.local_addr().unwrap().port();
            let mut reader = Rtsp::connect(host);
            let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port ^ 1);
            let answer = reader.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)], b"");
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.header("transport").contains(&format!("source={}", host.ip())), "{answer:?}");
            assert_eq!(reader.ask("PLAY", &url, &[("Session", &answer.session())], b"").status, 200);
            let packet = keyframe(1, 0, 7, 333);
            publisher.frame(0, &packet);
            let mut received = [0; 2048];
            let (length, from) = socket.recv_from(&mut received).expect("media over this family");
            assert_eq!(received[12..length], packet[12..]);
            assert_eq!(from.ip(), host.ip(), "from the address that the client asked");
            drop((publisher, reader));
            mesh.wait_value("msm_streams ", 0.0);
        }
    }
}

#[test]
fn multicast_readers_share_one_group() {
    let mesh = TestMesh::start("workers: 2");
    let _publisher = Publisher::start(&mesh, "group");
    let mut transports = std::collections::BTreeSet::new();
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = mesh.connect();
        let url = mesh.url("group");
        let answer =
            client.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", "RTP/AVP;multicast")], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let transport = answer.header("transport").to_owned();
        assert!(transport.starts_with("RTP/AVP;multicast;") && transport.contains("ttl=1"), "{transport}");
        let port = answer.ports("port").0;
        assert!(
            transport.contains("destination=239.255.42.") && port.is_multiple_of(2) && port > 0,
            "{transport}"
        );
        transports.insert(transport);
        assert_eq!(client.ask("PLAY", &url, &[("Session", &answer.session())], b"").status, 200);
        clients.push(client);
    }
    assert_eq!(transports.len(), 1, "{transports:?}");
}

#[test]
fn with_nat_same_ip_media_goes_where_the_reader_sends_from() {
    let port = reader_port();
    let mesh = TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: nat, address: \"127.0.0.1:0\", ports: {port}, nat: same_ip}}\n"
    ));
    let publisher = Publisher::start(&mesh, "nat");
    let reader = Reader::start(&mesh, "nat");
    publisher.send(&keyframe(1, 0, 7, 100));
    reader.recv();
    // The reader's packets come from another port than it named: a NAT changed it.
    let mapped = UdpSocket::bind("127.0.0.1:0").unwrap();
    mapped.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut scratch = [0; 2048];
    for number in 2.. {
        mapped
            .send_to(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], (mesh.address.ip(), reader.server_port))
            .unwrap();
        publisher.send(&keyframe(number, 0, 7, 100));
        if mapped.recv(&mut scratch).is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "media never moved");
    }
    // A publisher's may, too.
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    elsewhere.send_to(&keyframe(100, 0, 7, 222), publisher.to).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while mapped.recv(&mut scratch).ok() != Some(222) {
        assert!(Instant::now() < deadline, "the publisher's packet never came");
    }
}

#[test]
fn many_readers_are_spread_and_all_are_served() {
    let mesh = TestMesh::start("workers: 2");
    let publisher = Publisher::start(&mesh, "crowd");
    let readers: Vec<_> = (0..100).map(|_| Reader::start(&mesh, "crowd")).collect();
    let mut lines: Vec<_> = readers.iter().map(|_| Line::default()).collect();
    for number in 0..50u16 {
        let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 300);
        publisher.send(&packet);
        for (reader, line) in readers.iter().zip(&mut lines) {
            line.check(&reader.recv(), &packet);
        }
    }
    // A late one on either worker starts with the keyframe.
    for _ in 0..4 {
        assert_eq!(Reader::start(&mesh, "crowd").recv()[12], 0x65);
    }
    drop(readers);
}

#[test]
fn who_does_not_read_answers_is_not_asked_for_more() {
    let mesh = TestMesh::start("limits: {tcp_queue: 64KiB}");
    let mut attacker = mesh.connect();
    attacker.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let requests = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".repeat(2000);
    let mut sent = 0;
    let blocked = loop {
        match attacker.stream.write(&requests) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "the mesh took {sent} bytes of requests whose answers nobody reads");
    };
    assert!(matches!(blocked.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{blocked}");
    assert_eq!(mesh.connect().ask("OPTIONS", "*", &[], b"").status, 200);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let mesh = TestMesh::start("limits: {request_timeout: 300ms, session_timeout: 60s}");
    let mut silent = mesh.connect();
    let start = Instant::now();
    assert!(silent.is_closed());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn shutdown_lets_go_of_every_port() {
    let port = reader_port();
    let yaml =
        format!("workers: 2\nlisteners:\n  - {{name: again, address: \"127.0.0.1:0\", ports: {port}}}\n");
    let mesh = TestMesh::from_yaml(&yaml);
    let publisher = Publisher::start(&mesh, "end");
    let readers: Vec<_> = (0..80).map(|_| Reader::start(&mesh, "end")).collect();
    publisher.send(&keyframe(1, 0, 7, 100));
    readers.iter().for_each(|reader| {
        reader.recv();
    });
    let start = Instant::now();
    drop(mesh);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    readers.iter().for_each(|reader| wait_bye(&reader.rtcp));
    // Without SO_REUSEPORT: nobody may hold them.
    UdpSocket::bind(("127.0.0.1", port)).expect("the RTP port is free");
    UdpSocket::bind(("127.0.0.1", port + 1)).expect("the RTCP port is free");
    UdpSocket::bind(publisher.to).expect("the publisher's port is free");
}

#[test]
fn ports_that_another_mesh_has_are_not_shared_with_it() {
    let port = reader_port();
    let mesh = TestMesh::from_yaml(&format!(
        "workers: 2\nlisteners:\n  - {{name: one, address: \"127.0.0.1:0\", ports: {port}}}\n"
    ));
    let serve = |address: SocketAddr, port: u16| {
        let yaml = format!("workers: 2\nlisteners: [{{name: two, address: \"{address}\", ports: {port}}}]\n");
        let config = msm::config::Config::from_yaml(&yaml, "t.yaml", std::iter::empty()).unwrap();
        mesh.block_on(async {
            let other = msm::Mesh::builder().config(config).build().await?;
            let served = other.serve().await.map(drop);
            other.shutdown(Duration::ZERO).await;
            served
        })
    };
    let any = SocketAddr::new(mesh.address.ip(), 0);
    let same = serve(mesh.address, reader_port()).unwrap_err().to_string();
    assert!(same.starts_with(&format!("listener `two`: address {}/tcp: ", mesh.address)), "{same}");
    let same = serve(any, port).unwrap_err().to_string();
    assert!(same.starts_with(&format!("listener `two`: ports {port}/udp")), "{same}");
    serve(any, reader_port()).expect("what is free");
}

#[test]
fn clients_that_come_and_go_at_any_moment_leave_nothing_behind() {
    let mesh = TestMesh::start(&format!("workers: 2\n{AT_ONCE}"));
    let _steady = Publisher::start(&mesh, "steady");
    std::thread::scope(|scope| {
        for seed in 0..6u32 {
            let mesh = &mesh;
            scope.spawn(move || {
                let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
                let mut dice = |sides: u32| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 16) % sides
                };
                for _ in 0..120 {
                    let path = ["steady", "coming", "going"][dice(3) as usize];
                    let url = mesh.url(path);
                    let mut text = String::new();
                    let transport = match dice(4) {
                        0 => "RTP/AVP;unicast;client_port=9996-9997".to_owned(),
                        1 => "RTP/AVP;multicast".to_owned(),
                        _ => "RTP/AVP/TCP;unicast;interleaved=0-1".to_owned(),
                    };
                    let mode = if path != "steady" && dice(3) == 0 {
                        let length = VIDEO.len();
                        text += &format!("ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n{VIDEO}");
                        ";mode=record"
                    } else {
                        ""
                    };
                    text += &format!("SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 2\r\nPipelined-Requests: 1\r\nTransport: {transport}{mode}\r\n\r\n");
                    let method = if mode.is_empty() { "PLAY" } else { "RECORD" };
                    text += &format!("{method} {url} RTSP/1.0\r\nCSeq: 3\r\nPipelined-Requests: 1\r\n\r\n");
                    if dice(2) == 0 {
                        text += &format!("TEARDOWN {url} RTSP/1.0\r\nCSeq: 4\r\nPipelined-Requests: 1\r\n\r\n");
                    }
                    let mut client = mesh.connect();
                    // Cut anywhere, or waited for, or left at once.
                    let cut = if dice(3) == 0 { dice(text.len() as u32) as usize } else { text.len() };
                    let _ = client.stream.write_all(&text.as_bytes()[..cut]);
                    if dice(2) == 0 {
                        std::thread::sleep(Duration::from_millis(u64::from(dice(8))));
                    }
                    if !mode.is_empty() {
                        let _ = client.stream.write_all(&[b'$', 0, 0, 14, 0x80, 0xe0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0x65, 0x88]);
                    }
                }
            });
        }
    });
    mesh.wait_value("msm_connections ", 1.0);
    mesh.wait_value("msm_streams ", 1.0);
    // Readers over UDP and multicast outlive their connections; a session is at most one reader.
    let sessions = mesh.counter("msm_sessions ");
    assert!(mesh.counter("msm_readers{") <= 2.0 * sessions, "{}", mesh.metrics());
    assert_eq!(mesh.block_on(mesh.mesh.status()).streams.len(), 1);
    Reader::start(&mesh, "steady");
}
