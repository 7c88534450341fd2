//! The end of a mesh that has sessions.

use std::time::{Duration, Instant};

use crate::common::server::Server;
use crate::common::{Publisher, Reader, TcpReader, TestMesh, VIDEO, has_bye, keyframe, wait_bye};

/// Begins the end, and waits until new sessions are refused.
fn drain(mesh: &TestMesh, deadline: Duration) -> std::thread::JoinHandle<Instant> {
    let own = mesh.mesh.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(own.shutdown(deadline));
        Instant::now()
    });
    let (mut asks, url) = (mesh.connect(), mesh.url("nothing"));
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = asks.ask("DESCRIBE", &url, &[("Accept", "application/sdp")], b"");
        if answer.status == 503 {
            return thread;
        }
        // Before that it is served, or not there.
        assert!(matches!(answer.status, 200 | 404) && Instant::now() < until, "{answer:?}");
    }
}

#[test]
fn new_sessions_are_sent_away_and_those_that_are_there_run_until_the_deadline() {
    let mesh = TestMesh::start("workers: 2");
    let mut publisher = Publisher::start(&mesh, "a");
    let (mut reader, mut tcp) = (Reader::start(&mesh, "a"), TcpReader::start(&mesh, "a"));
    let mut open = mesh.connect();
    let url = mesh.url("a");
    assert_eq!(open.ask("OPTIONS", &url, &[], b"").status, 200);
    let (began, deadline) = (Instant::now(), Duration::from_secs(2));
    let thread = drain(&mesh, deadline);
    // On a connection of before and on a new one: somebody else is to be asked, soon.
    for mut rtsp in [open, mesh.connect()] {
        let sdp = [("Content-Type", "application/sdp")];
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let answers = [
            rtsp.ask("DESCRIBE", &url, &[], b""),
            rtsp.ask("ANNOUNCE", &mesh.url("b"), &sdp, VIDEO.as_bytes()),
            rtsp.ask("SETUP", &format!("{url}/trackID=0"), &transport, b""),
        ];
        for answer in answers {
            assert_eq!((answer.status, answer.header("retry-after")), (503, "2"), "{answer:?}");
        }
        assert_eq!(rtsp.ask("OPTIONS", &url, &[], b"").status, 200);
    }
    // Media flows, and whoever has a session may come back to it by a new connection.
    let session = reader.session.clone();
    reader.rtsp = mesh.connect();
    assert_eq!(reader.rtsp.ask("GET_PARAMETER", &url, &[("Session", &session)], b"").status, 200);
    for number in 0..20_u16 {
        publisher.send(&keyframe(number, u32::from(number) * 3000, 7, 200));
        reader.recv();
        tcp.recv();
    }
    assert!(began.elapsed() < deadline, "too slow to say anything");
    wait_bye(&reader.rtcp);
    assert!(began.elapsed() >= deadline, "{:?}", began.elapsed());
    let said_bye = std::iter::from_fn(|| Some(tcp.rtsp.next_frame())).find(|(channel, _)| *channel == 1);
    assert!(said_bye.is_some_and(|(_, packet)| has_bye(&packet)));
    assert!(tcp.rtsp.is_closed() && publisher.rtsp.is_closed());
    let took = thread.join().unwrap() - began;
    assert!(took < deadline + Duration::from_secs(2), "{took:?}");
}

#[test]
fn it_is_over_when_the_last_session_has_ended() {
    let mesh = TestMesh::start("workers: 2");
    let mut publisher = Publisher::start(&mesh, "a");
    let mut reader = Reader::start(&mesh, "a");
    let began = Instant::now();
    let thread = drain(&mesh, Duration::from_secs(60));
    let url = mesh.url("a");
    let (first, second) = (reader.session.clone(), publisher.session.clone());
    assert_eq!(reader.rtsp.ask("TEARDOWN", &url, &[("Session", &first)], b"").status, 200);
    assert_eq!(publisher.rtsp.ask("TEARDOWN", &url, &[("Session", &second)], b"").status, 200);
    assert!(thread.join().unwrap() - began < Duration::from_secs(10));
}

#[test]
fn upstreams_are_told() {
    let server = Server::start(|asked| match asked.method.as_str() {
        "OPTIONS" => (200, "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".into(), String::new()),
        "DESCRIBE" => (200, "Content-Type: application/sdp\r\n".into(), VIDEO.into()),
        "SETUP" => {
            (200, "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n".into(), String::new())
        }
        _ => (200, "Session: 1\r\n".into(), String::new()),
    });
    let mesh = TestMesh::start(&format!(
        "routes:\n  - {{name: all, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{endpoints: [\"rtsp://{}\"], transport: tcp}}\n",
        server.address
    ));
    let reader = Reader::start(&mesh, "a");
    server.wait("PLAY", 1);
    server.frame(0, 0, &keyframe(1, 0, 7, 100));
    reader.recv();
    let thread = drain(&mesh, Duration::from_millis(300));
    wait_bye(&reader.rtcp);
    server.wait("TEARDOWN", 1);
    thread.join().unwrap();
}
