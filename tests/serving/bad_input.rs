//! What a client or a network must not be able to do. Each case ends with a stream that still flows for everybody else.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::common::{Publisher, Reader, TestMesh, VIDEO, keyframe, rtp};

/// A published stream with one reader: what every attack below must leave unharmed.
struct Bystanders {
    publisher: Publisher,
    reader: Reader,
    sequence: u16,
}

impl Bystanders {
    fn start(mesh: &TestMesh) -> Self {
        let publisher = Publisher::start(mesh, "bystander");
        let reader = Reader::start(mesh, "bystander");
        let mut bystanders = Self { publisher, reader, sequence: 100 };
        bystanders.check();
        bystanders
    }

    /// Packets still arrive whole.
    fn check(&mut self) {
        for _ in 0..3 {
            let packet = keyframe(self.sequence, u32::from(self.sequence) * 3600, 7, 500);
            self.publisher.send(&packet);
            let received = self.reader.recv();
            assert_eq!(received[12..], packet[12..], "the payload crosses byte for byte");
            self.sequence = self.sequence.wrapping_add(1);
        }
    }
}

#[test]
fn garbage_and_oversize_on_the_signalling_end_their_connection_only() {
    let mesh = TestMesh::start("limits: {header_bytes: 8KiB, body_bytes: 64KiB}");
    let mut bystanders = Bystanders::start(&mesh);
    let endless_header = [b"OPTIONS * RTSP/1.0\r\nX: ".as_slice(), &vec![b'a'; 20_000]].concat();
    let many_headers = [b"OPTIONS * RTSP/1.0\r\n".as_slice(), &b"A: b\r\n".repeat(2000)].concat();
    let large_body = b"ANNOUNCE rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 1048577\r\n\r\n".to_vec();
    let two_lengths =
        b"SET_PARAMETER rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nabcde".to_vec();
    let signed_length = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: +4\r\n\r\nabcd".to_vec();
    let not_rtsp = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\r\n\r\n".to_vec();
    for attack in [endless_header, many_headers, large_body, two_lengths, signed_length, not_rtsp] {
        let mut attacker = mesh.connect();
        // The other side may close before it has read everything.
        let _ = attacker.stream.write_all(&attack);
        assert!(
            attacker.is_closed(),
            "{:?} must end the connection",
            String::from_utf8_lossy(&attack[..40.min(attack.len())])
        );
        bystanders.check();
    }
}

#[test]
fn statuses_tell_what_was_wrong() {
    let mesh = TestMesh::start("");
    let mut bystanders = Bystanders::start(&mesh);
    let url = mesh.url("bystander");
    let track = format!("{url}/trackID=0");
    let udp = [("Transport", "RTP/AVP;unicast;client_port=40000-40001")];
    let mut client = mesh.connect();
    assert_eq!(client.ask("DESCRIBE", &mesh.url("nothing/here"), &[], b"").status, 404);
    assert_eq!(client.ask("FLY", &url, &[], b"").status, 501);
    assert_eq!(
        client.ask("SETUP", &track, &[("Transport", "RTP/SAVP;unicast;client_port=40000-40001")], b"").status,
        461
    );
    assert_eq!(client.ask("SETUP", &track, &[("Transport", "garbage;;=;")], b"").status, 461);
    assert_eq!(
        client.ask("SETUP", &track, &[("Transport", "RAW/RAW/UDP;unicast;client_port=9")], b"").status,
        461
    );
    assert!(matches!(client.ask("SETUP", &track, &[], b"").status, 400 | 461));
    assert_eq!(client.ask("SETUP", &format!("{url}/trackID=17"), &udp, b"").status, 404);
    assert_eq!(client.ask("PLAY", &url, &[("Session", "deadbeefdeadbeef")], b"").status, 454);
    assert!(matches!(client.ask("PLAY", &url, &[], b"").status, 454 | 455));
    assert_eq!(client.ask("DESCRIBE", &url, &[("Require", "no.such.feature")], b"").status, 551);
    let answer = client.ask("SETUP", &track, &udp, b"");
    assert_eq!(answer.status, 200);
    let session = answer.session();
    assert_eq!(client.ask("RECORD", &url, &[("Session", &session)], b"").status, 455);
    assert_eq!(client.ask("PAUSE", &url, &[("Session", &session)], b"").status, 455);
    assert_eq!(client.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    assert_eq!(client.ask("PLAY", &url, &[("Session", &session)], b"").status, 454);
    bystanders.check();
}

#[test]
fn control_urls_cannot_leave_the_stream() {
    let mesh = TestMesh::start("");
    let mut bystanders = Bystanders::start(&mesh);
    let url = mesh.url("bystander");
    let udp = [("Transport", "RTP/AVP;unicast;client_port=40000-40001")];
    for trick in ["../../etc/passwd", "trackID=0/../../x", "%2e%2e/secret", "rtsp://other/trackID=0"] {
        let mut client = mesh.connect();
        let answer = client.ask("SETUP", &format!("{url}/{trick}"), &udp, b"");
        assert!((400..500).contains(&answer.status), "{trick}: {answer:?}");
    }
    bystanders.check();
}

#[test]
fn a_missing_cseq_is_refused() {
    let mesh = TestMesh::start("");
    let mut client = mesh.connect();
    client.raw(b"OPTIONS * RTSP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    let mut client = mesh.connect();
    client.raw(b"OPTIONS * RTSP/1.0\r\nCSeq: banana\r\n\r\n");
    assert_eq!(client.answer().status, 400);
}

#[test]
fn requests_split_at_every_byte_and_pipelined_ones_are_answered_in_order() {
    let mesh = TestMesh::start("");
    let mut client = mesh.connect();
    let request = b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\nUser-Agent: slow\r\n\r\n";
    for byte in request {
        client.raw(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.answer().header("cseq"), "9");
    let mut pipelined = Vec::new();
    for cseq in 10..15 {
        pipelined.extend_from_slice(format!("OPTIONS * RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n").as_bytes());
    }
    client.raw(&pipelined);
    for cseq in 10..15 {
        assert_eq!(client.answer().header("cseq"), cseq.to_string());
    }
}

#[test]
fn a_slow_drip_ends_by_time_out() {
    let mesh = TestMesh::start("limits: {request_timeout: 500ms}");
    let mut client = mesh.connect();
    client.raw(b"OPTIONS * RTSP/1.0\r\nCSeq");
    let start = Instant::now();
    assert!(client.is_closed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn descriptions_are_bounded_and_checked() {
    let mesh = TestMesh::start("");
    let mut bystanders = Bystanders::start(&mesh);
    let headers = [("Content-Type", "application/sdp")];
    let large = format!("{VIDEO}{}", "a=x:yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(25_000));
    let mut client = mesh.connect();
    let text = format!(
        "ANNOUNCE {} RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
        mesh.url("large"),
        large.len()
    );
    let _ = client.stream.write_all(text.as_bytes());
    let _ = client.stream.write_all(large.as_bytes());
    let answer = client.answer();
    assert!((400..500).contains(&answer.status), "{answer:?}");
    for bad in ["", "v=0", "no sdp at all", "v=0\r\no=- 1 1 IN IP4 0\r\ns=x\r\nt=0 0\r\n"] {
        let mut client = mesh.connect();
        let answer = client.ask("ANNOUNCE", &mesh.url("bad"), &headers, bad.as_bytes());
        assert!((400..500).contains(&answer.status), "{bad:?}: {answer:?}");
    }
    bystanders.check();
}

#[test]
fn rtp_that_lies_is_dropped_and_counted() {
    let mesh = TestMesh::start("");
    let mut bystanders = Bystanders::start(&mesh);
    let valid = keyframe(5000, 1, 7, 100);
    let mut wrong_version = valid.clone();
    wrong_version[0] = 0x40;
    let mut csrcs_beyond_the_end = valid[..20].to_vec();
    csrcs_beyond_the_end[0] = 0x8f;
    let mut extension_beyond_the_end = valid[..20].to_vec();
    extension_beyond_the_end[0] = 0x90;
    extension_beyond_the_end[14..16].copy_from_slice(&0xffffu16.to_be_bytes());
    let mut padding_beyond_the_end = valid[..20].to_vec();
    padding_beyond_the_end[0] = 0xa0;
    padding_beyond_the_end[19] = 255;
    for packet in [
        &wrong_version,
        &valid[..8].to_vec(),
        &csrcs_beyond_the_end,
        &extension_beyond_the_end,
        &padding_beyond_the_end,
    ] {
        bystanders.publisher.send(packet);
    }
    bystanders.publisher.send(&[]);
    // RTCP that lies about its lengths.
    let to = std::net::SocketAddr::new(bystanders.publisher.to.ip(), bystanders.publisher.to.port() + 1);
    for datagram in [
        &[0x81, 200, 0xff, 0xff, 0, 0, 0, 7][..],
        &[0x8f, 0xce, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0x52, 0x45, 0x4d, 0x42, 0x34, 0x97, 0x4f, 0x31],
        &[0xa1, 0xcd, 0, 1, 0xef, 0, 0, 0],
        &[0x80],
    ] {
        bystanders.publisher.rtcp.send_to(datagram, to).unwrap();
        let readers = (mesh.address.ip(), bystanders.reader.server_port + 1);
        bystanders.reader.rtcp.send_to(datagram, readers).unwrap();
    }
    bystanders.check();
    mesh.wait_counter("msm_dropped_total", 5.0);
}

#[test]
fn nobody_but_the_publisher_can_inject() {
    let mesh = TestMesh::start("");
    let mut bystanders = Bystanders::start(&mesh);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in 0..50 {
        stranger.send_to(&keyframe(30_000 + sequence, 9, 7, 300), bystanders.publisher.to).unwrap();
    }
    bystanders.check();
    mesh.wait_counter("msm_dropped_total{reason=\"unknown_source\"", 50.0);
}

#[test]
fn strangers_are_never_answered() {
    let mesh = TestMesh::start("");
    let bystanders = Bystanders::start(&mesh);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    for port in [bystanders.reader.server_port, bystanders.reader.server_port + 1] {
        for _ in 0..20 {
            stranger.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 1], (mesh.address.ip(), port)).unwrap();
        }
    }
    let mut scratch = [0; 2048];
    assert!(stranger.recv(&mut scratch).is_err(), "nothing may come back");
}

#[test]
fn a_new_source_takes_over_without_a_break_for_readers() {
    let mesh = TestMesh::start("");
    let bystanders = Bystanders::start(&mesh);
    // The line that readers see goes on: same SSRC, next sequence number.
    bystanders.publisher.send(&keyframe(200, 360_000, 7, 100));
    let before = bystanders.reader.recv();
    let deadline = Instant::now() + Duration::from_secs(8);
    let mut sequence = 40_000;
    loop {
        bystanders.publisher.send(&keyframe(sequence, u32::from(sequence) * 3600, 8, 101));
        sequence += 1;
        bystanders.reader.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut packet = [0; 2048];
        if let Ok(length) = bystanders.reader.socket.recv(&mut packet) {
            assert_eq!(length, 101);
            assert_eq!(packet[8..12], before[8..12], "the reader's SSRC stays");
            let last = u16::from_be_bytes([before[2], before[3]]);
            assert_eq!(u16::from_be_bytes([packet[2], packet[3]]), last.wrapping_add(1));
            return;
        }
        assert!(Instant::now() < deadline, "the new source was never taken");
    }
}

#[test]
fn large_packets_cross() {
    let mesh = TestMesh::start("");
    let bystanders = Bystanders::start(&mesh);
    for (index, length) in [1472, 1473, 1500, 9000, 60_000].into_iter().enumerate() {
        let packet = keyframe(bystanders.sequence + index as u16, 1_000_000, 7, length);
        bystanders.publisher.send(&packet);
        assert_eq!(bystanders.reader.recv()[12..], packet[12..], "{length} bytes");
    }
}

#[test]
fn a_tcp_reader_that_never_reads_is_bounded_and_dropped_alone() {
    let mesh = TestMesh::start("limits: {tcp_queue: 256KiB}");
    let mut bystanders = Bystanders::start(&mesh);
    let mut sleeper = mesh.connect();
    let url = mesh.url("bystander");
    let answer = sleeper.ask(
        "SETUP",
        &format!("{url}/trackID=0"),
        &[("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")],
        b"",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(sleeper.ask("PLAY", &url, &[("Session", &answer.session())], b"").status, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    while mesh.counter("msm_sessions ") > 2.0 || mesh.counter("reader_queue") == 0.0 {
        assert!(Instant::now() < deadline, "the sleeper was never dropped\n{}", mesh.metrics());
        for _ in 0..50 {
            let packet = rtp(bystanders.sequence, u32::from(bystanders.sequence) * 90, 7, 0x65, 1400);
            bystanders.publisher.send(&packet);
            assert_eq!(bystanders.reader.recv().len(), 1400);
            bystanders.sequence = bystanders.sequence.wrapping_add(1);
        }
    }
    bystanders.check();
}

#[test]
fn frames_for_unknown_channels_are_skipped() {
    let mesh = TestMesh::start("");
    let mut client = mesh.connect();
    client.frame(77, &keyframe(1, 1, 1, 500));
    client.frame(0, &[]);
    assert_eq!(client.ask("OPTIONS", "*", &[], b"").status, 200);
}

#[test]
fn ten_thousand_half_open_connections_leave_room_for_the_rest() {
    let mesh = TestMesh::start("limits: {connections: 500}");
    let mut bystanders = Bystanders::start(&mesh);
    let mut open = Vec::new();
    for round in 0..10_000 {
        if let Ok(stream) = TcpStream::connect(mesh.address) {
            let _ = (&stream).write_all(b"OPT");
            // What the mesh holds is bounded by its limit, whatever the attacker keeps on its own side.
            if open.len() < 600 {
                open.push(stream);
            }
        }
        if round % 1000 == 0 {
            bystanders.check();
        }
    }
    bystanders.check();
    assert!(mesh.counter("msm_connections ") <= 500.0);
    assert!(mesh.counter("connection_limit") > 0.0);
}

#[test]
fn values_that_are_echoed_cannot_inject_headers() {
    let mesh = TestMesh::start("");
    let mut client = mesh.connect();
    client.raw(b"DESCRIBE rtsp://127.0.0.1/x%0d%0aInjected:%201 RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: a\rInjected: 2\r\n\r\n");
    let answer = client.answer();
    assert!(!answer.headers.contains_key("injected"), "{answer:?}");
    assert!((400..500).contains(&answer.status), "{answer:?}");
}
