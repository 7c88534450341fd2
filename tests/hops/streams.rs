//! Streams over a hop that are not just live and read: with gaps, published from afar, recordings, routed by who asks.

use std::time::Duration;

use tokio::time::timeout;

use crate::common::member::Ca;
use crate::common::pair::{far, near, near_by, numbered};
use crate::common::relay::{Relay, Way};
use crate::common::server::{Asked, Server};
use crate::common::{Line, Publisher, Reader, TcpPublisher, TestMesh, VIDEO, keyframe};

const SOON: Duration = Duration::from_secs(5);

/// What was lost before the hop, as each member counts it, and what on it.
fn lost(far: &TestMesh, near: &TestMesh) -> [f64; 4] {
    let of = |mesh: &TestMesh, name: &str| mesh.counter(name);
    [
        of(far, "msm_lost_total{"),
        of(far, "msm_hop_lost_total"),
        of(near, "msm_lost_total{"),
        of(near, "msm_hop_lost_total"),
    ]
}

#[test]
fn what_the_source_lost_is_not_the_hop_s_loss() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let publisher = Publisher::start(&far, "live/gaps");
    let reader = Reader::start(&near, "live/gaps");
    for number in (0..100u16).filter(|number| ![17, 18, 19, 60].contains(number)) {
        publisher.send(&numbered(number));
        reader.recv();
    }
    assert_eq!(lost(&far, &near), [4.0, 0.0, 4.0, 0.0], "{}", near.metrics());
}

#[test]
fn what_the_hop_lost_is_not_the_source_s_loss() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let relay = Relay::start(hop);
    let near = near_by(&ca.member("/near"), relay.address, ", protection: {latency: 0s}");
    let publisher = Publisher::start(&far, "live/hop");
    let reader = Reader::start(&near, "live/hop");
    let mut media = 0;
    relay.set(move |way, datagram| {
        let is_media = way == Way::ToDialler && !(192..=223).contains(&datagram[1]);
        media += usize::from(is_media);
        if is_media && [20, 21, 50].contains(&media) { vec![] } else { vec![datagram.to_vec()] }
    });
    for number in 0..100u16 {
        publisher.send(&numbered(number));
        // The 20th packet is number 19.
        if ![19, 20, 49].contains(&number) {
            reader.recv();
        }
    }
    assert_eq!(lost(&far, &near), [0.0, 0.0, 3.0, 3.0], "{}", near.metrics());
}

#[test]
fn a_plain_publisher_at_one_member_is_recorded_at_the_other() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let udp = Publisher::start(&near, "from/udp");
    let mut tcp = TcpPublisher::start(&near, "from/tcp");
    let mut readers =
        ["from/udp", "from/tcp"].map(|path| far.block_on(far.mesh.open(&far.url(path))).unwrap());
    // And from there back to a player at the first.
    let player = Reader::start(&near, "from/udp");
    let mut line = Line::default();
    for number in 0..100u16 {
        let packet = numbered(number);
        udp.send(&packet);
        tcp.send(&packet);
        for reader in &mut readers {
            let next = far.block_on(async { timeout(SOON, reader.next()).await });
            assert_eq!(next.unwrap().unwrap().unwrap().payload[..], packet[12..]);
        }
        line.check(&player.recv(), &packet);
    }
    assert_eq!(far.counter("msm_dropped_total{reason=\"srtp"), 0.0);
    // Where the other member would not have it, the publisher hears so.
    let mut refused = near.connect();
    let url = near.url("elsewhere");
    let announced = refused.ask("ANNOUNCE", &url, &[("Content-Type", "application/sdp")], VIDEO.as_bytes());
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    let session = refused.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
    let recorded = refused.ask("RECORD", &url, &[("Session", &session)], b"");
    assert_eq!((announced.status, recorded.status), (200, 403));
    // Each ends with its publisher.
    let mut udp = udp;
    let named = [("Session", udp.session.as_str())];
    assert_eq!(udp.rtsp.ask("TEARDOWN", &near.url("from/udp"), &named, b"").status, 200);
    let end = far.block_on(async { timeout(SOON, readers[0].next()).await });
    assert!(end.unwrap().unwrap().is_none());
    drop(tcp);
    let end = far.block_on(async { timeout(SOON, readers[1].next()).await });
    assert!(end.unwrap().unwrap().is_none());
}

/// Answers as a server of a recording of ten seconds over TCP does.
fn film(asked: &Asked) -> (u16, String, String) {
    let session = format!("Session: s{};timeout=60\r\n", asked.connection);
    match asked.method.as_str() {
        "DESCRIBE" => {
            let description = VIDEO.replace("t=0 0\r\n", "t=0 0\r\na=range:npt=0-10\r\n");
            (200, "Content-Type: application/sdp\r\n".into(), description)
        }
        "SETUP" => {
            (200, format!("{session}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"), String::new())
        }
        "PLAY" => {
            let range = asked.header("range").unwrap_or("npt=0-10");
            (200, format!("{session}Range: {range}\r\n"), String::new())
        }
        _ => (200, session, String::new()),
    }
}

#[test]
fn a_recording_is_paused_and_sought_through_a_hop() {
    let server = Server::start(film);
    let ca = Ca::new("test.example");
    let (_far, hop) = far(
        &ca.member("/far"),
        &format!(
            "routes:\n  - {{name: films, match: {{url: '/{{path...}}'}}, allow: ['spiffe://test.example/near'], \
             backends: [{{cluster: films}}], idle_timeout: 300ms}}\n\
             clusters:\n  films: {{endpoints: [\"rtsp://{}\"], transport: tcp}}\n",
            server.address
        ),
    );
    let near = near(&ca.member("/near"), hop, "");
    let url = near.url("film");
    let mut players: Vec<_> = (0..2).map(|_| near.connect()).collect();
    let mut sessions = Vec::new();
    for (number, player) in players.iter_mut().enumerate() {
        let described = player.ask("DESCRIBE", &url, &[], b"");
        assert!(String::from_utf8_lossy(&described.body).contains("a=range:npt=0-10"), "{described:?}");
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let session = player.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
        let from = format!("npt={}-10", 2 + number);
        let named = [("Session", session.as_str()), ("Range", &from), ("Scale", "2.0")];
        let played = player.ask("PLAY", &url, &named, b"");
        assert_eq!((played.status, played.header("range")), (200, from.as_str()), "{played:?}");
        let asked = server.wait("PLAY", number + 1);
        assert_eq!((asked.header("range"), asked.header("scale")), (Some(from.as_str()), Some("2.0")));
        sessions.push((session, asked.connection));
    }
    assert_ne!(sessions[0].1, sessions[1].1, "each has the recording to itself");
    for (number, (player, (session, connection))) in players.iter_mut().zip(&sessions).enumerate() {
        let packet = keyframe(1000, 5000, 7, 300 + number);
        server.frame(*connection, 0, &packet);
        assert_eq!(player.next_frame().1[12..], packet[12..]);
        assert_eq!(player.ask("PAUSE", &url, &[("Session", session)], b"").status, 200);
    }
    assert_eq!(server.wait("PAUSE", 2).connection, sessions[1].1);
    // A seek of one is nothing to the other, and what was kept of the old place is void.
    let seek = [("Session", sessions[0].0.as_str()), ("Range", "npt=7-10")];
    let answer = players[0].ask("PLAY", &url, &seek, b"");
    assert_eq!((answer.status, answer.header("range")), (200, "npt=7-10"), "{answer:?}");
    let asked = server.wait("PLAY", 3);
    assert_eq!((asked.connection, asked.header("range")), (sessions[0].1, Some("npt=7-10")));
    let packet = keyframe(2000, 600_000, 7, 400);
    server.frame(sessions[0].1, 0, &packet);
    assert_eq!(players[0].next_frame().1[12..], packet[12..]);
    assert_eq!(
        near.counter("msm_lost_total{") + near.counter("msm_hop_lost_total"),
        0.0,
        "a jump is no loss"
    );
    // Each leaves alone.
    assert_eq!(players[0].ask("TEARDOWN", &url, &[("Session", &sessions[0].0)], b"").status, 200);
    assert_eq!(server.wait("TEARDOWN", 1).connection, sessions[0].1);
    drop(players);
    assert_eq!(server.wait("TEARDOWN", 2).connection, sessions[1].1);
    near.wait_value("msm_streams ", 0.0);
}

#[test]
fn who_asks_selects_the_route() {
    let ca = Ca::new("test.example");
    let routes = "routes:\n  \
         - {name: desk, match: {url: /news, from: ['spiffe://test.example/desk/*'], actions: [read]}, \
            allow: ['spiffe://test.example/*'], rewrite: /streams/raw}\n  \
         - {name: near, match: {url: /news, from: ['spiffe://test.example/near'], actions: [read]}, \
            allow: ['spiffe://test.example/*'], rewrite: /streams/cut}\n  \
         - {name: shut, match: {url: /news, from: ['spiffe://test.example/shut'], actions: [read]}, \
            allow: ['spiffe://test.example/near'], rewrite: /streams/raw}\n  \
         - {name: in, match: {url: '/streams/{name}'}, rewrite: '/streams/{name}'}\n";
    let (far, hop) = far(&ca.member("/far"), routes);
    let publish = |path: &str| far.block_on(far.mesh.publish(&far.url(path), VIDEO)).unwrap();
    let (raw, cut) = (publish("streams/raw"), publish("streams/cut"));
    let members = ["/desk/one", "/near", "/desk/two"].map(|path| near(&ca.member(path), hop, ""));
    let mut readers: Vec<_> = members
        .iter()
        .map(|member| member.block_on(member.mesh.open(&member.url("news"))).unwrap())
        .collect();
    let sizes = [(&raw, 500), (&cut, 600)];
    for (publisher, size) in sizes {
        publisher.send(0, keyframe(1, 3000, 7, size)).unwrap();
    }
    for ((member, reader), expected) in members.iter().zip(&mut readers).zip([500, 600, 500]) {
        let next = member.block_on(async { timeout(SOON, reader.next()).await });
        assert_eq!(next.unwrap().unwrap().unwrap().payload.len(), expected - 12);
    }
    let allowed = |route: &str| {
        far.counter(&format!("msm_authorization_total{{decision=\"allow\",route=\"{route}\"}}")) > 0.0
    };
    assert!(allowed("desk") && allowed("near"), "{}", far.metrics());
    // One is selected by name and refused by its route; another by none.
    for (path, status) in [("/shut", 403), ("/other", 404)] {
        let member = near(&ca.member(path), hop, "");
        assert_eq!(member.connect().ask("DESCRIBE", &member.url("news"), &[], b"").status, status, "{path}");
    }
}
