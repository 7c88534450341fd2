//! Publishers that are lost, come back, stand by and take over: readers keep what they have.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use msm::Mesh;
use tokio::time::timeout;

use crate::common::{
    Line, Publisher, Reader, Rtsp, TcpPublisher, TcpReader, TestMesh, VIDEO, keyframe, reader_port, rtp,
};

const SOON: Duration = Duration::from_secs(5);
/// Time enough for what was sent to arrive.
const MOMENT: Duration = Duration::from_millis(100);

/// Two workers, so that publishers and readers are on different ones.
const TWO: &str = "workers: 2";

fn timestamp(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[4..8].try_into().unwrap())
}

/// A keyframe and nine frames from this number on, 25 a second by their timestamps.
fn frames(first: u16, base: u32, ssrc: u32) -> Vec<Vec<u8>> {
    (0..10u16)
        .map(|number| {
            let timestamp = base.wrapping_add(u32::from(number) * 3600);
            let first = first.wrapping_add(number);
            if number == 0 {
                keyframe(first, timestamp, ssrc, 600)
            } else {
                rtp(first, timestamp, ssrc, 0x41, 400)
            }
        })
        .collect()
}

/// Sends a keyframe until one of the readers has got it: they go over at the first that comes behind the publisher.
fn until<T>(mut send: impl FnMut(u16), mut got: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    for number in 0.. {
        assert!(Instant::now() < deadline, "nobody goes over");
        send(number);
        if let Some(got) = got() {
            return got;
        }
    }
    unreachable!()
}

#[test]
fn a_publisher_that_comes_back_has_its_readers_again() {
    let mesh = TestMesh::start(TWO);
    let mut first = TcpPublisher::start(&mesh, "cam");
    let udp = Reader::start(&mesh, "cam");
    let mut tcp = TcpReader::start(&mesh, "cam");
    let (mut of_udp, mut of_tcp) = (Line::default(), Line::default());
    let mut last = Vec::new();
    for packet in frames(60_000, 5_000, 1) {
        first.send(&packet);
        last = udp.recv();
        of_udp.check(&last, &packet);
        of_tcp.check(&tcp.recv(), &packet);
    }
    let ended = Instant::now();
    drop(first);
    std::thread::sleep(Duration::from_millis(300));
    // Who comes now gets what there was last, and waits with them.
    let late = Reader::start(&mesh, "cam");
    let mut of_late = Line::default();
    for packet in frames(60_000, 5_000, 1) {
        of_late.check(&late.recv(), &packet);
    }
    let again = Publisher::start(&mesh, "cam");
    let key = |number: u16| keyframe(9_u16.wrapping_add(number), 700_000 + u32::from(number) * 90, 2, 500);
    let (number, packet) = until(
        |number| again.send(&key(number)),
        || udp.try_recv(MOMENT).map(|packet| (packet[12..].to_vec(), packet)),
    );
    assert_eq!(number, key(0)[12..]);
    of_udp.check(&packet, &key(0));
    let passed = f64::from(timestamp(&packet).wrapping_sub(timestamp(&last))) / 90_000.0;
    let really = ended.elapsed().as_secs_f64();
    assert!(passed > 0.25 && passed <= really + 0.05, "{passed} s by timestamps, {really} s really");
    of_tcp.check(&tcp.recv(), &key(0));
    of_late.check(&late.recv(), &key(0));
    assert_eq!(mesh.counter("msm_publisher_successions_total{reason=\"returned\"}"), 1.0);
    mesh.wait_value("msm_streams ", 1.0);
}

#[test]
fn readers_wait_no_longer_than_they_are_told() {
    let yaml = "routes: [{name: r, match: {url: '/{path...}'}, publish: {resume: 300ms}}]";
    let mesh = TestMesh::start(yaml);
    let mut publisher = TcpPublisher::start(&mesh, "cam");
    let mut reader = TcpReader::start(&mesh, "cam");
    publisher.send(&keyframe(1, 1, 1, 300));
    reader.recv();
    let began = Instant::now();
    drop(publisher);
    assert!(reader.rtsp.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    // The URL is free.
    drop(TcpPublisher::start(&mesh, "cam"));
}

#[test]
fn a_teardown_ends_the_stream_at_once_unless_told_otherwise() {
    let mesh = TestMesh::start("");
    let mut publisher = TcpPublisher::start(&mesh, "cam");
    let mut reader = TcpReader::start(&mesh, "cam");
    publisher.send(&keyframe(1, 1, 1, 300));
    reader.recv();
    let (url, session) = (publisher.url.clone(), publisher.session.clone());
    let began = Instant::now();
    assert_eq!(publisher.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    assert!(reader.rtsp.is_closed());
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn whose_teardown_is_answered_can_be_followed_at_once() {
    let mesh = TestMesh::start("workers: 2");
    for _ in 0..50 {
        let mut publisher = TcpPublisher::start(&mesh, "cam");
        let (url, session) = (publisher.url.clone(), publisher.session.clone());
        assert_eq!(publisher.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    }
    assert_eq!(mesh.counter("msm_publisher_successions_total"), 0.0);
}

#[test]
fn a_second_publisher_of_the_same_priority_is_refused() {
    let mesh = TestMesh::start("");
    let _publisher = TcpPublisher::start(&mesh, "cam");
    let mut other = mesh.connect();
    let url = mesh.url("cam");
    let answer = other.ask("ANNOUNCE", &url, &[("Content-Type", "application/sdp")], VIDEO.as_bytes());
    assert_eq!(answer.status, 403);
}

/// Two ways to publish one stream.
const WAYS: &str = "routes:
  - {name: main, match: {url: '/main/{cam}'}, rewrite: '/live/{cam}', publish: {priority: 2}}
  - {name: spare, match: {url: '/spare/{cam}'}, rewrite: '/live/{cam}', publish: {priority: 1}}
  - {name: read, match: {url: '/live/{cam}', actions: [read]}}
workers: 2";

#[test]
fn the_better_publisher_takes_over_and_gives_way_to_the_one_that_stands_by() {
    let mesh = TestMesh::start(WAYS);
    let spare = Publisher::start(&mesh, "spare/one");
    let reader = Reader::start(&mesh, "live/one");
    let mut line = Line::default();
    for packet in frames(100, 1_000, 1) {
        spare.send(&packet);
        line.check(&reader.recv(), &packet);
    }
    // The better one comes: readers get the other one's until it has a keyframe.
    let mut main = TcpPublisher::start(&mesh, "main/one");
    std::thread::sleep(MOMENT);
    let packet = rtp(110, 37_000, 1, 0x41, 300);
    spare.send(&packet);
    line.check(&reader.recv(), &packet);
    let key = keyframe(5, 5, 2, 700);
    main.send(&key);
    line.check(&reader.recv(), &key);
    assert_eq!(mesh.counter("msm_publisher_successions_total{reason=\"priority\"}"), 1.0);
    spare.send(&rtp(111, 40_600, 1, 0x41, 300));
    assert!(reader.try_recv(MOMENT).is_none(), "nothing of who stands by");
    // It is lost: the spare one takes over, from its next keyframe on.
    drop(main);
    mesh.wait_counter("msm_publisher_successions_total{reason=\"standby\"}", 1.0);
    let packet = until(
        |number| spare.send(&keyframe(112 + number, 50_000 + u32::from(number) * 90, 1, 500)),
        || reader.try_recv(MOMENT),
    );
    line.check(&packet, &keyframe(112, 50_000, 1, 500));
}

#[test]
fn readers_inside_the_application_go_over_too() {
    let mesh = TestMesh::start(WAYS);
    let own: &Mesh = &mesh.mesh;
    mesh.block_on(async {
        let spare = own.publish(&mesh.url("spare/two"), VIDEO).await.unwrap();
        let mut reader = own.open(&mesh.url("live/two")).await.unwrap();
        spare.send(0, keyframe(1, 1_000, 1, 300)).unwrap();
        let before = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
        let main = own.publish(&mesh.url("main/two"), VIDEO).await.unwrap();
        let mut after = None;
        for number in 0..50u16 {
            main.send(0, keyframe(700 + number, u32::from(number) * 9000, 2, 400)).unwrap();
            if let Ok(packet) = timeout(MOMENT, reader.next()).await {
                after = packet.unwrap();
                break;
            }
        }
        let after = after.expect("it goes over");
        assert_eq!(after.payload.len(), 400 - 12);
        assert_eq!((after.ssrc, after.sequence), (before.ssrc, before.sequence.wrapping_add(1)));
        drop(main);
        let mut last = None;
        for number in 0..50u16 {
            let _ = spare.send(0, keyframe(2 + number, 90_000 + u32::from(number) * 9000, 1, 350));
            if let Ok(packet) = timeout(MOMENT, reader.next()).await {
                last = packet.unwrap();
                if last.as_ref().is_some_and(|packet| packet.payload.len() == 350 - 12) {
                    break;
                }
            }
        }
        let last = last.expect("it goes back");
        assert_eq!(last.ssrc, before.ssrc);
        drop(spare);
        let end = timeout(SOON, async { while reader.next().await.unwrap().is_some() {} });
        end.await.expect("with the last publisher the stream ends");
    });
    mesh.wait_value("msm_streams ", 0.0);
    mesh.wait_value("msm_readers{", 0.0);
}

/// A session that reads a group: its connection, where the group is, and its identifier.
fn listen(mesh: &TestMesh) -> (Rtsp, (Ipv4Addr, u16), String) {
    let (mut rtsp, url) = (mesh.connect(), mesh.url("cam"));
    let transport = [("Transport", "RTP/AVP;multicast")];
    let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let field = |part: &str| part.strip_prefix("destination=").map(str::to_owned);
    let group = answer.header("transport").split(';').find_map(field).unwrap();
    let (port, session) = (answer.ports("port").0, answer.session());
    assert_eq!(rtsp.ask("PLAY", &url, &[("Session", &session)], b"").status, 200);
    (rtsp, (group.parse().unwrap(), port), session)
}

#[test]
fn a_multicast_group_goes_over_with_all_who_listen() {
    let mesh = TestMesh::from_yaml(&format!(
        "workers: 2\nlisteners: [{{name: test, address: '127.0.0.1:0', ports: {}, interface: lo}}]\n",
        reader_port()
    ));
    let mut first = TcpPublisher::start(&mesh, "cam");
    let (mut one, (group, port), session) = listen(&mesh);
    let (mut other, same, of_other) = listen(&mesh);
    assert_eq!(same, (group, port));
    let socket = UdpSocket::bind((group, port)).unwrap();
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    let recv = |patience: Duration| {
        socket.set_read_timeout(Some(patience)).unwrap();
        let mut packet = vec![0; 2048];
        let length = socket.recv(&mut packet).ok()?;
        packet.truncate(length);
        Some(packet)
    };
    let mut line = Line::default();
    for packet in frames(60_000, 5_000, 1) {
        first.send(&packet);
        line.check(&recv(SOON).expect("nothing comes to the group"), &packet);
    }
    drop(first);
    std::thread::sleep(MOMENT);
    let mut again = TcpPublisher::start(&mesh, "cam");
    let key = |number: u16| keyframe(9_u16.wrapping_add(number), 700_000 + u32::from(number) * 90, 2, 500);
    let packet = until(|number| again.send(&key(number)), || recv(MOMENT));
    line.check(&packet, &key(0));
    // All who listen have their session still, and who comes now listens to the same.
    let (mut late, to, of_late) = listen(&mesh);
    assert_eq!(to, (group, port));
    let url = mesh.url("cam");
    for (rtsp, session) in [(&mut one, &session), (&mut other, &of_other), (&mut late, &of_late)] {
        assert_eq!(rtsp.ask("GET_PARAMETER", &url, &[("Session", session)], b"").status, 200);
    }
    // It ends with the last of them.
    for (rtsp, session) in [(&mut one, &session), (&mut other, &of_other), (&mut late, &of_late)] {
        let packet = until(|number| again.send(&key(1_000 + number)), || recv(MOMENT));
        assert_eq!(packet.len(), 500);
        assert_eq!(rtsp.ask("TEARDOWN", &url, &[("Session", session)], b"").status, 200);
    }
    mesh.wait_value("msm_readers{", 0.0);
    while recv(MOMENT).is_some() {}
    again.send(&key(9_000));
    assert_eq!(recv(3 * MOMENT), None);
}
