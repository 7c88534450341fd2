//! Another process in the place of the one that serves. Both are in this process here, which is the same to their sockets.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::common::succession::{Way, on_runtime, wait};
use crate::common::{
    Line, Publisher, Reader, Rtsp, TcpPublisher, TcpReader, TestMesh, keyframe, reader_port,
};

/// An empty receiver report.
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

fn yaml(more: &str) -> String {
    let port = reader_port();
    format!("workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {port}}}\n{more}")
}

/// Connects and asks again and again, until `stop`, and 200 times at least; how often.
fn knock(address: SocketAddr, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut times = 0;
        while times < 200 || !stop.load(Ordering::Relaxed) {
            let answer = Rtsp::connect(address).ask("OPTIONS", "*", &[], b"");
            assert_eq!(answer.status, 200, "{answer:?}");
            times += 1;
        }
        times
    })
}

#[test]
fn what_flows_goes_on_and_whoever_comes_is_served() {
    let (way, yaml) = (Way::new(), yaml(""));
    let old = TestMesh::from_yaml(&yaml);
    let (udp, mut tcp) = (Publisher::start(&old, "udp"), TcpPublisher::start(&old, "tcp"));
    let by_udp: Vec<_> = ["udp", "tcp"].map(|path| Reader::start(&old, path)).into();
    let mut by_tcp: Vec<_> = ["udp", "tcp"].map(|path| TcpReader::start(&old, path)).into();
    let mut lines: Vec<_> = (0..4).map(|_| Line::default()).collect();
    let mut number = 0;
    let mut pass = || {
        let packet = keyframe(number, u32::from(number) * 3000, 7, 500);
        number += 1;
        udp.send(&packet);
        tcp.send(&packet);
        for (reader, line) in by_udp.iter().zip(&mut lines) {
            line.check(&reader.recv(), &packet);
        }
        for (reader, line) in by_tcp.iter_mut().zip(&mut lines[2..]) {
            line.check(&reader.recv(), &packet);
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    (0..50).for_each(|_| pass());
    let door = way.door(&old.mesh);
    let stop = Arc::new(AtomicBool::new(false));
    let knocking = knock(old.address, Arc::clone(&stop));
    let taking = std::thread::spawn(move || way.successor(&yaml, |builder| builder));
    while !taking.is_finished() {
        pass();
    }
    let new = taking.join().unwrap();
    door.join().unwrap().unwrap();
    assert_eq!(new.address, old.address);
    (0..200).for_each(|_| pass());
    stop.store(true, Ordering::Relaxed);
    assert!(knocking.join().unwrap() >= 200);
    assert_eq!((old.counter("msm_sessions "), new.counter("msm_sessions ")), (6.0, 0.0));
    // Whoever comes now has a stream in the new process, which listens to it.
    let publisher = Publisher::start(&new, "new");
    let reader = Reader::start(&new, "new");
    let packet = keyframe(1, 0, 7, 500);
    publisher.send(&packet);
    assert_eq!(reader.recv()[12..], packet[12..]);
    assert_eq!((old.counter("msm_sessions "), new.counter("msm_sessions ")), (6.0, 2.0));
    assert_eq!(reader.server_port, by_udp[0].server_port);
    (0..50).for_each(|_| pass());
    let status = new.block_on(new.mesh.status());
    assert_eq!(status.predecessors.len(), 1);
    assert_eq!(status.predecessors[0].pid, std::process::id());
    for mesh in [&old, &new] {
        assert_eq!(mesh.counter("msm_dropped"), 0.0, "{}", mesh.metrics());
    }
}

#[test]
fn reports_reach_the_process_that_the_session_lives_in() {
    let (way, yaml) = (Way::new(), yaml("limits: {session_timeout: 5s}"));
    let old = TestMesh::from_yaml(&yaml);
    let publisher = Publisher::start(&old, "one");
    let reporting = Reader::start(&old, "one");
    let silent = Reader::start(&old, "one");
    let to = SocketAddr::new(old.address.ip(), silent.server_port + 1);
    let Reader { rtsp, rtcp, socket, .. } = reporting;
    drop(rtsp);
    let door = way.door(&old.mesh);
    let new = way.successor(&yaml, |builder| builder);
    door.join().unwrap().unwrap();
    let until = Instant::now() + Duration::from_secs(9);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        publisher.send(&keyframe(number, 0, 7, 100));
        rtcp.send_to(&REPORT, to).unwrap();
        socket.recv(&mut [0; 2048]).expect("who reports is served");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The publisher's, and that of the one who reports.
    old.wait_value("msm_sessions ", 2.0);
    assert_eq!(new.counter("msm_dropped"), 0.0, "{}", new.metrics());
    // Of nobody: counted by the process that has nobody left to ask.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&REPORT, to).unwrap();
    old.wait_value("msm_dropped_total{reason=\"unknown_source\"}", 1.0);
}

/// What a process leaves to the one in its place: a stream that is published, and a reader's session and URL, whose connection has ended.
struct Inheritance {
    old: TestMesh,
    new: TestMesh,
    publisher: Publisher,
    session: String,
    url: String,
    /// Where the reader takes its media.
    media: [UdpSocket; 2],
}

impl Inheritance {
    fn new(way: &Way, yaml: &str) -> Self {
        let old = TestMesh::from_yaml(yaml);
        let publisher = Publisher::start(&old, "one");
        let Reader { session, url, socket, rtcp, .. } = Reader::start(&old, "one");
        let door = way.door(&old.mesh);
        let new = way.successor(yaml, |builder| builder);
        door.join().unwrap().unwrap();
        Self { old, new, publisher, session, url, media: [socket, rtcp] }
    }
}

#[test]
fn sessions_are_found_by_another_connection_and_streams_by_another_reader() {
    let Inheritance { old, new, publisher, session, url, media: _media } =
        Inheritance::new(&Way::new(), &yaml(""));
    let mut again = new.connect();
    assert_eq!(again.ask("OPTIONS", &url, &[], b"").status, 200);
    let named = [("Session", session.as_str())];
    assert_eq!(again.ask("GET_PARAMETER", &url, &named, b"").status, 200);
    assert_eq!(again.ask("TEARDOWN", &url, &named, b"").status, 200);
    old.wait_value("msm_sessions ", 1.0);
    // A session of nobody's, in both forms that an ID may have.
    for last in 0..16 {
        let id = format!("{}{last:x}", &session[..31].replace(|_: char| true, "0"));
        let answer = new.connect().ask("TEARDOWN", &url, &[("Session", &id)], b"");
        assert_eq!(answer.status, 454, "{id}");
    }
    // A stream that is published there; a reader by UDP is served as if it had come there.
    let late = Reader::start(&new, "one");
    let packet = keyframe(9, 0, 7, 500);
    publisher.send(&packet);
    assert_eq!(late.recv()[12..], packet[12..]);
    assert_eq!((old.counter("msm_sessions "), new.counter("msm_sessions ")), (2.0, 0.0));
    let nothing = new.connect().ask("DESCRIBE", &new.url("none"), &[("Accept", "application/sdp")], b"");
    assert_eq!(nothing.status, 404);
    // All of it ends when the old process does.
    drop((late, publisher));
    on_runtime(old.mesh.shutdown(Duration::from_secs(1)));
    wait("the end of the old process", || new.block_on(new.mesh.status()).predecessors.is_empty());
    let gone = new.connect().ask("TEARDOWN", &url, &named, b"");
    assert_eq!(gone.status, 454);
}

#[test]
fn who_comes_by_a_listener_that_is_new_is_answered_by_the_new_process() {
    let (way, yaml) = (Way::new(), yaml(""));
    let old = TestMesh::from_yaml(&yaml);
    let _publisher = Publisher::start(&old, "one");
    let reader = Reader::start(&old, "one");
    let door = way.door(&old.mesh);
    let more = format!("  - {{name: more, address: \"127.0.0.1:0\", ports: {}}}\n", reader_port());
    let new = way.successor(&(yaml + &more), |builder| builder);
    door.join().unwrap().unwrap();
    let url = format!("rtsp://{}/one", new.addresses[1]);
    let mut here = Rtsp::connect(new.addresses[1]);
    assert_eq!(here.ask("DESCRIBE", &url, &[("Accept", "application/sdp")], b"").status, 404);
    assert_eq!(here.ask("TEARDOWN", &url, &[("Session", &reader.session)], b"").status, 454);
    let there = new.connect().ask("DESCRIBE", &new.url("one"), &[("Accept", "application/sdp")], b"");
    assert_eq!(there.status, 200);
}

#[test]
fn a_process_that_ends_before_it_is_ready_changes_nothing() {
    let (way, yaml) = (Way::new(), yaml(""));
    let old = TestMesh::from_yaml(&yaml);
    let publisher = Publisher::start(&old, "one");
    let door = way.door(&old.mesh);
    drop(way.ask().unwrap().expect("somebody serves"));
    // One that fails as its port is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "  - {{name: other, address: \"{}\", ports: {}}}",
        taken.local_addr().unwrap(),
        reader_port()
    );
    let failing =
        msm::config::Config::from_yaml(&format!("{yaml}{more}\n"), "t.yaml", std::iter::empty()).unwrap();
    let takeover = way.ask_again();
    let error = on_runtime(async {
        let mesh = msm::Mesh::builder().config(failing).take_over(takeover).build().await.unwrap();
        mesh.serve().await.unwrap_err()
    });
    assert!(error.to_string().starts_with("listener `other`"), "{error}");
    let reader = Reader::start(&old, "one");
    let packet = keyframe(1, 0, 7, 500);
    publisher.send(&packet);
    assert_eq!(reader.recv()[12..], packet[12..]);
    // The next one takes over.
    let takeover = way.ask_again();
    let new = TestMesh::with(&yaml, |builder| builder.take_over(takeover));
    door.join().unwrap().unwrap();
    assert_eq!(new.connect().ask("OPTIONS", "*", &[], b"").status, 200);
}

#[test]
fn a_listener_with_other_marks_is_the_same_one() {
    let (way, port) = (Way::new(), reader_port());
    let with = |dscp: &str| {
        let listener = format!("{{address: \"127.0.0.1:0\", ports: {port}{dscp}}}");
        format!("workers: 2\nlisteners: [{listener}]\n")
    };
    let mut before = TestMesh::from_yaml(&with(", dscp: 34"));
    for (path, dscp) in [("one", ", dscp: 46"), ("two", "")] {
        let door = way.door(&before.mesh);
        let after = way.successor(&with(dscp), |builder| builder);
        door.join().unwrap().unwrap();
        // Any port was asked for.
        assert_eq!(after.address, before.address);
        let (publisher, reader) = (Publisher::start(&after, path), Reader::start(&after, path));
        let packet = keyframe(1, 0, 7, 500);
        publisher.send(&packet);
        assert_eq!(reader.recv()[12..], packet[12..]);
        before = after;
    }
}

fn raw(way: &Way) -> Socket {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    socket.connect(&SockAddr::unix(way.path()).unwrap()).unwrap();
    socket
}

#[test]
fn what_is_no_process_is_refused_and_the_next_one_served() {
    let (way, yaml) = (Way::new(), yaml(""));
    std::fs::write(way.path(), "somebody's").unwrap();
    assert!(way.ask().unwrap().is_none(), "a file is nobody");
    let refused = on_runtime(async { msm::upgrade::Door::open(&way.path()).unwrap_err().to_string() });
    assert!(refused.ends_with("something else than a socket; remove it, or name another path"), "{refused}");
    assert_eq!(std::fs::read(way.path()).unwrap(), b"somebody's");
    std::fs::remove_file(way.path()).unwrap();
    drop(on_runtime(async { msm::upgrade::Door::open(&way.path()).unwrap() }));
    assert!(way.ask().unwrap().is_none(), "a socket of before is nobody");
    let old = TestMesh::from_yaml(&yaml);
    let door = way.door(&old.mesh);
    assert_eq!(std::fs::metadata(way.path()).unwrap().permissions().mode() & 0o777, 0o600);
    for garbage in [
        &b"garbage"[..],
        b"{\"Hello\":{\"version\":999}}\0",
        b"{\"Ready\":{\"listeners\":[]}}\0",
        &[b'x'; 100_000],
    ] {
        let socket = raw(&way);
        socket.send(garbage).unwrap();
    }
    // While one prepares, another is told to wait.
    let first = way.ask_again();
    let second = way.ask().unwrap_err().to_string();
    assert!(second.ends_with("another process is taking over already; try again when it has"), "{second}");
    drop(first);
    let takeover = way.ask_again();
    let new = TestMesh::with(&yaml, |builder| builder.take_over(takeover));
    door.join().unwrap().unwrap();
    assert_eq!(new.address, old.address);
}

#[test]
fn three_processes_follow_each_other_while_the_first_has_sessions() {
    let (way, yaml) = (Way::new(), yaml(""));
    let Inheritance { old: first, new: second, publisher, session, url, media: _media } =
        Inheritance::new(&way, &yaml);
    let door = way.door(&second.mesh);
    let third = way.successor(&yaml, |builder| builder);
    door.join().unwrap().unwrap();
    // By two hands.
    let named = [("Session", session.as_str())];
    assert_eq!(third.connect().ask("GET_PARAMETER", &url, &named, b"").status, 200);
    let late = Reader::start(&third, "one");
    let packet = keyframe(9, 0, 7, 500);
    publisher.send(&packet);
    assert_eq!(late.recv()[12..], packet[12..]);
    wait("both are told of", || third.block_on(third.mesh.status()).predecessors.len() == 2);
    // The second has nothing left but the first.
    let ended = Arc::new(AtomicUsize::new(0));
    let waits = {
        let (mesh, ended) = (second.mesh.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            on_runtime(mesh.shutdown(Duration::from_secs(20)));
            ended.fetch_add(1, Ordering::SeqCst);
        })
    };
    assert_eq!(third.connect().ask("TEARDOWN", &url, &named, b"").status, 200);
    assert_eq!(ended.load(Ordering::SeqCst), 0, "it is the way to the first");
    on_runtime(first.mesh.shutdown(Duration::from_millis(200)));
    waits.join().unwrap();
    wait("their ends", || third.block_on(third.mesh.status()).predecessors.is_empty());
}
