//! Endpoints of a mesh cluster that know no mesh hop.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use msm::Error;
use msm_auth::identity::source::IdentitySource;
use tokio::time::timeout;

use crate::common::front::Front;
use crate::common::member::{Ca, Held};
use crate::common::pair::{far, numbered};
use crate::common::server::Server;
use crate::common::{
    Line, Publisher, Reader, TcpPublisher, TcpReader, TestMesh, VIDEO, log, reader_port, rtp,
};

const SOON: Duration = Duration::from_secs(5);
const RTSPS: &str = "fallback: rtsps";
/// The same, where servers send their sessions wherever they like.
const FOLLOWS: &str = "fallback: rtsps, failover: {on_redirect: follow}";
/// The same as the first, where streams end with their endpoint.
const ENDS: &str = "fallback: rtsps, failover: {hold: 0s}";

/// A member that has every stream from the mesh cluster `far` at `endpoint`.
fn near<S: IdentitySource + 'static>(source: &Arc<S>, endpoint: SocketAddr, cluster: &str) -> TestMesh {
    let yaml = format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: far}}], idle_timeout: 500ms}}\n\
         clusters:\n  far: {{endpoints: [\"rtsp://{endpoint}\"], hop: mesh, peers: [\"spiffe://test.example/far\"], {cluster}}}\n",
        reader_port()
    );
    let source = Arc::clone(source) as Arc<dyn IdentitySource>;
    TestMesh::with(&yaml, |builder| builder.identity(source))
}

/// What the openings of hops led to so far.
fn openings(near: &TestMesh, hop: &str) -> f64 {
    near.counter(&format!("msm_hop_openings_total{{cluster=\"far\",hop=\"{hop}\"}}"))
}

/// How often the mesh hop was asked for within TLS.
fn asked(front: &Front) -> usize {
    front.heard("Require: msm-hop-1\r\n")
}

fn next(near: &TestMesh, reader: &mut msm::Reader) -> Vec<u8> {
    let packet = near.block_on(async { timeout(SOON, reader.next()).await });
    packet.expect("nothing came").unwrap().expect("the stream ended").payload.to_vec()
}

#[test]
fn players_and_applications_read_and_publish_over_tls_where_there_is_no_member() {
    log::keep();
    for alpn in [false, true] {
        let ca = Ca::new("test.example");
        let plain = TestMesh::start("");
        let front = Front::start(&ca.member("/far"), alpn, plain.address);
        let near = near(&ca.member("/near"), front.address, RTSPS);
        let publisher = Publisher::start(&plain, "live/one");
        let mut udp = Reader::start(&near, "live/one");
        let mut tcp = TcpReader::start(&near, "live/one");
        let mut app = near.block_on(near.mesh.open(&near.url("live/one"))).unwrap();
        let (mut first, mut second) = (Line::default(), Line::default());
        for number in 0..100 {
            let packet = numbered(number);
            publisher.send(&packet);
            first.check(&udp.recv(), &packet);
            second.check(&tcp.recv(), &packet);
            assert_eq!(next(&near, &mut app), packet[12..]);
        }

        let mut publisher = TcpPublisher::start(&near, "live/two");
        let mut beyond = TcpReader::start(&plain, "live/two");
        let three = near.block_on(near.mesh.publish(&near.url("live/three"), VIDEO)).unwrap();
        let mut after = TcpReader::start(&plain, "live/three");
        let (mut first, mut second) = (Line::default(), Line::default());
        for number in 0..100 {
            let packet = numbered(number);
            publisher.send(&packet);
            first.check(&beyond.recv(), &packet);
            three.send(0, packet.clone()).unwrap();
            second.check(&after.recv(), &packet);
        }

        // Asked once, told once, and shown.
        assert_eq!((asked(&front), openings(&near, "rtsps"), openings(&near, "mesh")), (1, 1.0, 0.0));
        assert!(front.heard("SETUP rtsps://") >= 3 && front.heard("interleaved=0-1") >= 3);
        assert!(!front.clients().is_empty());
        assert!(
            front.clients().iter().all(|who| who == "spiffe://test.example/near TLSv1_3"),
            "{:?}",
            front.clients()
        );
        let endpoint = front.address.to_string();
        assert_eq!(log::count(&["WARN", "knows no mesh hop", &endpoint, "spiffe://test.example/far"]), 1);
        let status = near.block_on(near.mesh.status());
        assert_eq!(status.fallbacks.len(), 1, "{status:?}");
        let shown = &status.fallbacks[0];
        assert_eq!(
            (&*shown.cluster, &*shown.endpoint, &*shown.peer),
            ("far", &*endpoint, "spiffe://test.example/far")
        );
        assert!(shown.answer.contains("551") && shown.asked_again_in <= 60, "{shown:?}");
        assert!(status.hops.is_empty() && status.streams[0].name.starts_with("rtsps://"), "{status:?}");
        let plain_packets = "msm_packets_total{route=\"all\",cluster=\"far\",hop=\"plain\",direction=\"rx\"}";
        assert!(near.counter(plain_packets) >= 100.0, "{}", near.metrics());
        udp.rtsp.ask("TEARDOWN", &udp.url.clone(), &[("Session", &udp.session.clone())], b"");
    }
}

#[test]
fn without_a_fallback_the_error_says_what_to_write() {
    for alpn in [false, true] {
        let ca = Ca::new("test.example");
        let plain = TestMesh::start("");
        let front = Front::start(&ca.member("/far"), alpn, plain.address);
        for cluster in ["", "fallback: none"] {
            let near = near(&ca.member("/near"), front.address, cluster);
            assert_eq!(near.connect().ask("DESCRIBE", &near.url("live/one"), &[], b"").status, 502);
            let error = near.block_on(near.mesh.open(&near.url("live/one"))).err().unwrap();
            let Error::NotAMember { cluster, peer, .. } = &error else { panic!("{error}") };
            assert_eq!((&**cluster, &**peer), ("far", "spiffe://test.example/far"));
            assert_eq!((error.name(), error.status()), ("not_a_member", 502));
            assert!(error.to_string().contains("write `fallback: rtsps` in cluster `far`"), "{error}");
            let refused = near.block_on(near.mesh.publish(&near.url("live/two"), VIDEO)).err().unwrap();
            assert!(matches!(refused, Error::NotAMember { .. }), "{refused}");
            assert_eq!((openings(&near, "none"), openings(&near, "rtsps")), (3.0, 0.0));
            assert!(near.block_on(near.mesh.status()).fallbacks.is_empty());
        }
        // Who does not even agree on `msm/1` is asked nothing.
        assert_eq!((asked(&front), front.heard("RTSP/1.0")), if alpn { (6, 6) } else { (0, 0) });
    }
}

#[test]
fn whoever_is_not_among_the_peers_is_refused_in_the_handshake() {
    let ca = Ca::new("test.example");
    let stranger = Ca::new("test.example");
    let abroad = Ca::new("other.example");
    let plain = TestMesh::start("");
    let expired = Held::empty();
    expired.put(ca.svid("/far", -1), [ca.bundle()]);
    for (source, says) in [
        (ca.member("/somebody"), "spiffe://test.example/somebody"),
        (stranger.member("/far"), "issued by no authority"),
        (abroad.member("/far"), "no bundle for trust domain other.example"),
        (expired, "alert"),
    ] {
        let front = Front::start(&source, false, plain.address);
        let near = near(&ca.member("/near"), front.address, RTSPS);
        let error = near.block_on(near.mesh.open(&near.url("live/one"))).err().unwrap();
        assert!(error.to_string().contains(says) && error.status() == 502, "{error}");
        assert!(near.block_on(near.mesh.publish(&near.url("live/one"), VIDEO)).is_err());
        assert!(front.clients().is_empty() && front.heard("RTSP") == 0, "{says}");
        assert_eq!((openings(&near, "rtsps"), openings(&near, "none")), (0.0, 0.0), "{says}");
    }
    // And the server has its own word: it wants to know who comes.
    let front = Front::start(&ca.member("/far"), false, plain.address);
    let near = near(&stranger.member("/near"), front.address, RTSPS);
    assert!(near.block_on(near.mesh.open(&near.url("live/one"))).is_err());
    assert_eq!(front.heard("RTSP"), 0);
}

#[test]
fn what_is_there_is_found_out_again_when_it_changes() {
    log::keep();
    let ca = Ca::new("test.example");
    let plain = TestMesh::start("");
    let (member, hop) = far(&ca.member("/far"), "");
    let front = Front::start(&ca.member("/far"), false, plain.address);
    let near = near(&ca.member("/near"), front.address, ENDS);
    let here = Publisher::start(&plain, "live/one");
    let there = Publisher::start(&member, "live/one");
    let play = |from: &Publisher, number| {
        let mut reader = near.block_on(near.mesh.open(&near.url("live/one"))).unwrap();
        from.send(&numbered(number));
        // It may be behind what others have read.
        while next(&near, &mut reader) != numbered(number)[12..] {}
        reader
    };
    drop(play(&here, 0));
    assert_eq!((asked(&front), openings(&near, "rtsps"), openings(&near, "mesh")), (1, 1.0, 0.0));
    near.wait_value("msm_streams ", 0.0);

    // A member takes the place, which TLS tells at once.
    front.pass_to(hop);
    let mut reader = play(&there, 0);
    assert_eq!((openings(&near, "rtsps"), openings(&near, "mesh")), (1.0, 1.0));
    let status = near.block_on(near.mesh.status());
    assert!(status.fallbacks.is_empty() && status.hops.len() == 1, "{status:?}");
    log::wait(&["INFO", "a member now", &front.address.to_string()]);

    // And leaves it again: its sessions end, those that come are plain ones.
    front.plain_to(plain.address);
    front.cut();
    let ended = near.block_on(async { timeout(2 * SOON, reader.next()).await }).expect("it goes on");
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    drop(play(&here, 1));
    assert_eq!((asked(&front), openings(&near, "rtsps"), openings(&near, "mesh")), (2, 2.0, 1.0));
    assert_eq!(log::count(&["WARN", "knows no mesh hop", &front.address.to_string()]), 2);
}

/// Answers as a server that does not look at `Require`, and sends whoever wants `/away` somewhere else.
fn careless(away: String) -> Server {
    Server::start(move |asked| {
        let sdp = "Content-Type: application/sdp\r\n".to_owned();
        match asked.method.as_str() {
            "DESCRIBE" if asked.uri.ends_with("/away") => {
                (302, format!("Location: {away}\r\n"), String::new())
            }
            "DESCRIBE" => (200, sdp, VIDEO.to_owned()),
            _ => (200, String::new(), String::new()),
        }
    })
}

#[test]
fn a_server_that_does_not_look_at_require_is_no_member_and_redirects_lead_to_peers_alone() {
    let ca = Ca::new("test.example");
    let elsewhere = careless(String::new());
    let ask = |near: &TestMesh, path: &str| near.connect().ask("DESCRIBE", &near.url(path), &[], b"").status;
    let peer = Front::start(&ca.member("/far"), false, elsewhere.address);
    let evil = Front::start(&ca.member("/evil"), false, elsewhere.address);
    for (is_followed, away) in [
        (true, format!("rtsps://{}/x", peer.address)),
        (false, format!("rtsps://{}/x", evil.address)),
        (false, format!("rtsp://{}/x", elsewhere.address)),
    ] {
        let server = careless(away.clone());
        let front = Front::start(&ca.member("/far"), false, server.address);
        // Nobody but endpoints is gone to, unless the cluster says so.
        let strict = near(&ca.member("/near"), front.address, RTSPS);
        assert_eq!(ask(&strict, "away"), 502, "{away}");
        drop(strict);
        let near = near(&ca.member("/near"), front.address, FOLLOWS);
        assert_eq!(ask(&near, "live"), 200);
        assert_eq!((asked(&front), openings(&near, "rtsps")), (2, 1.0));
        let before = elsewhere.asked("DESCRIBE").len();
        assert_eq!(ask(&near, "away"), if is_followed { 200 } else { 502 }, "{away}");
        assert_eq!(elsewhere.asked("DESCRIBE").len() - before, usize::from(is_followed), "{away}");
    }
    // With `msm/1` agreed on, silence about the hop is a member's mistake.
    let server = careless(String::new());
    let front = Front::start(&ca.member("/far"), true, server.address);
    let near = near(&ca.member("/near"), front.address, RTSPS);
    assert_eq!((ask(&near, "live"), openings(&near, "rtsps")), (502, 0.0));
}

#[test]
fn a_session_ends_when_its_peer_is_trusted_no_more() {
    log::keep();
    let ca = Ca::new("test.example");
    let plain = TestMesh::start("");
    let near_id = ca.member("/near");
    let front = Front::start(&ca.member("/far"), false, plain.address);
    let near = near(&near_id, front.address, ENDS);
    let publisher = Publisher::start(&plain, "live/one");
    let mut reader = near.block_on(near.mesh.open(&near.url("live/one"))).unwrap();
    let out = near.block_on(near.mesh.publish(&near.url("live/two"), VIDEO)).unwrap();
    publisher.send(&numbered(0));
    assert_eq!(next(&near, &mut reader), numbered(0)[12..]);
    assert!(out.send(0, numbered(0)).is_ok());
    let other = Ca::new("test.example");
    near_id.put(other.svid("/near", 3600), [other.bundle()]);
    let ended = near.block_on(async { timeout(SOON, reader.next()).await }).expect("it goes on");
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    log::wait(&[
        "ERROR",
        "trusted no more",
        &format!("rtsps://{}/live/one", front.address),
        "issued by no authority",
    ]);
    log::wait(&[
        "ERROR",
        "trusted no more",
        &format!("rtsps://{}/live/two", front.address),
        "issued by no authority",
    ]);
    let deadline = Instant::now() + SOON;
    while out.send(0, numbered(1)).is_ok() {
        assert!(Instant::now() < deadline, "the publisher was not told");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(out);
    near.wait_value("msm_streams ", 0.0);
    assert!(near.block_on(near.mesh.open(&near.url("live/one"))).is_err(), "and none begins");
}

#[test]
fn sessions_outlive_the_svids_that_they_began_with() {
    log::keep();
    let ca = Ca::new("test.example");
    let plain = TestMesh::start("");
    let far_id = ca.member_for("/far", 6);
    let began = Instant::now();
    let front = Front::start(&far_id, false, plain.address);
    let near = near(&ca.member("/near"), front.address, RTSPS);
    let publisher = Publisher::start(&plain, "live/one");
    let reader = Reader::start(&near, "live/one");
    reader.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let out = near.block_on(near.mesh.publish(&near.url("live/two"), VIDEO)).unwrap();
    assert_eq!(front.clients().len(), 3, "it was asked, read from, and published to");
    far_id.put(ca.svid("/far", 3600), [ca.bundle()]);
    let mut line = Line::default();
    let (mut number, mut lost) = (0_u16, 0);
    // What comes by another connection is taken from its first keyframe on.
    let packet = |number: u16| {
        let nal = if number.is_multiple_of(4) { 0x65 } else { 0x41 };
        let mut packet = rtp(number, u32::from(number) * 3000, 7, nal, 1000);
        packet[14..16].copy_from_slice(&number.to_be_bytes());
        packet
    };
    while front.clients().len() < 5 || began.elapsed() < Duration::from_secs(7) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", front.clients());
        publisher.send(&packet(number));
        let mut received = [0; 2000];
        match reader.socket.recv(&mut received) {
            // Numbers have no gap, whatever the change of connections has lost.
            Ok(length) => line.check(&received[..length], &received[..length]),
            Err(_) => lost += 1,
        }
        out.send(0, packet(number)).unwrap();
        number += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(lost < 10 && number > 100, "{lost} of {number} packets were lost");
    // The first SVID has expired, and both go on.
    let mut beyond = TcpReader::start(&plain, "live/two");
    let end = number + 10;
    while number < end {
        out.send(0, packet(number)).unwrap();
        // It may be behind what others have read.
        while beyond.recv()[14..16] != number.to_be_bytes() {}
        number += 1;
    }
    assert_eq!(log::count(&["trusted no more", &front.address.to_string()]), 0);
    assert_eq!(asked(&front), 1);
}

/// What somebody on the path does to a connection.
#[derive(Clone, Copy, Debug)]
enum Attack {
    Nothing,
    /// Answers as if it were the server, without TLS.
    AnswersInTheClear,
    /// Has the client offer another protocol.
    ChangesAlpn,
    /// Answers in the clear as soon as the client's part of the handshake is through.
    InjectsBehindTheHandshake,
    /// Cuts the connection there.
    Cuts,
}

const ANSWER: &[u8] = b"RTSP/1.0 551 Option not supported\r\nCSeq: 1\r\nUnsupported: msm-hop-1\r\n\r\n";

/// Somebody on the path to a server.
struct Attacker {
    address: SocketAddr,
    does: Arc<Mutex<Attack>>,
    /// What it has read of clients.
    read: Arc<Mutex<Vec<u8>>>,
}

/// Stands in front of `server`.
fn attacker(server: SocketAddr) -> Attacker {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (does, read) = (Arc::new(Mutex::new(Attack::Nothing)), Arc::<Mutex<Vec<u8>>>::default());
    let (own, kept) = (Arc::clone(&does), Arc::clone(&read));
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // One connection: whoever tried again with less would get through.
            let attack = std::mem::replace(&mut *own.lock().unwrap(), Attack::Nothing);
            let far = TcpStream::connect(server).unwrap();
            let (mut from, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || spoil(attack, &near, &far, &kept));
        }
    });
    Attacker { address, does, read }
}

/// Passes on what the client says, as far as the attack goes.
fn spoil(attack: Attack, mut near: &TcpStream, mut far: &TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 65536];
    let mut flights = 0;
    while let Ok(length @ 1..) = near.read(&mut buffer) {
        flights += 1;
        let said = &mut buffer[..length];
        kept.lock().unwrap().extend_from_slice(said);
        match (attack, flights) {
            (Attack::AnswersInTheClear, _) => {
                let _ = near.write_all(ANSWER);
                continue;
            }
            (Attack::ChangesAlpn, 1) => {
                let at = said.windows(5).position(|window| window == b"msm/1").expect("an offer");
                said[at + 4] = b'2';
            }
            (Attack::InjectsBehindTheHandshake, 2) => {
                let _ = near.write_all(ANSWER);
                continue;
            }
            (Attack::Cuts, 2) => break,
            _ => {}
        }
        if far.write_all(said).is_err() {
            break;
        }
    }
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
}

#[test]
fn nobody_on_the_path_can_bring_a_fallback_about() {
    let ca = Ca::new("test.example");
    let (member, hop) = far(&ca.member("/far"), "");
    let plain = TestMesh::start("");
    let front = Front::start(&ca.member("/far"), false, plain.address);
    let publishers = [&member, &plain].map(|server| Publisher::start(server, "live/one"));
    for (server, hop_is) in [(hop, "mesh"), (front.address, "rtsps")] {
        let attacker = attacker(server);
        for does in
            [Attack::AnswersInTheClear, Attack::ChangesAlpn, Attack::InjectsBehindTheHandshake, Attack::Cuts]
        {
            let near = near(&ca.member("/near"), attacker.address, RTSPS);
            let heard = ["OPTIONS", "DESCRIBE", "ANNOUNCE"].map(|method| front.heard(method));
            *attacker.does.lock().unwrap() = does;
            let error = near.block_on(near.mesh.open(&near.url("live/one"))).err().unwrap();
            assert!(!matches!(error, Error::NotAMember { .. }), "{does:?}: {error}");
            *attacker.does.lock().unwrap() = does;
            let error = near.block_on(near.mesh.publish(&near.url("from/x"), VIDEO)).err().unwrap();
            assert!(!matches!(error, Error::NotAMember { .. }), "{does:?}: {error}");
            let status = near.block_on(near.mesh.status());
            assert!(status.fallbacks.is_empty() && openings(&near, "rtsps") == 0.0, "{does:?}");
            assert_eq!(
                ["OPTIONS", "DESCRIBE", "ANNOUNCE"].map(|method| front.heard(method)),
                heard,
                "{does:?}"
            );
            let read = std::mem::take(&mut *attacker.read.lock().unwrap());
            assert!(!read.is_empty() && !String::from_utf8_lossy(&read).contains("RTSP"), "{does:?}");
            // Let alone, a member gets its hop, and who is none does not.
            let mut reader = near.block_on(near.mesh.open(&near.url("live/one"))).unwrap();
            publishers.iter().for_each(|publisher| publisher.send(&numbered(0)));
            assert_eq!(next(&near, &mut reader), numbered(0)[12..]);
            let is = |hop| f64::from(u8::from(hop == hop_is));
            assert_eq!((openings(&near, "mesh"), openings(&near, "rtsps")), (is("mesh"), is("rtsps")));
        }
    }
}
