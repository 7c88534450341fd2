//! Shadows of streams that are published: they get the same media, and neither publisher nor readers notice what becomes of them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm::config::Config;
use msm_auth::identity::source::IdentitySource;

use crate::common::member::Ca;
use crate::common::server::Server;
use crate::common::{Line, Reader, TcpPublisher, TcpReader, TestMesh, VIDEO, pair, reader_port, rtp};

const MIRROR: &str = ", mirror: {cluster: shadow}";
const LEAVE: &str = "routes: [{name: all, match: {url: '/{p...}'}, publish: {resume: 0s}}]";

fn outcome(outcome: &str) -> String {
    format!("msm_mirror_sessions_total{{cluster=\"shadow\",outcome=\"{outcome}\"}}")
}

/// A mesh that takes what is published, with what `route` adds; `clusters` are lines.
fn yaml(port: u16, route: &str, clusters: &str) -> String {
    format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {port}}}\nworkers: 2\nroutes:\n  - {{name: r, match: {{url: \"/{{c...}}\"}}, \
         rewrite: \"/from/{{c...}}\", publish: {{resume: 0s}}{route}}}\nclusters:\n{clusters}"
    )
}

fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    format!("  {name}: {{endpoints: [\"rtsp://{address}\"]{more}}}\n")
}

fn packet(number: u16) -> Vec<u8> {
    rtp(number, u32::from(number) * 3000, 7, if number.is_multiple_of(20) { 0x65 } else { 0x41 }, 1100)
}

#[test]
fn what_is_published_goes_to_the_shadow_too() {
    for (transport, has_backend) in [("udp", false), ("tcp", false), ("udp", true), ("tcp", true)] {
        let (back, shadow) = (TestMesh::start(LEAVE), TestMesh::start(LEAVE));
        let transport = format!(", transport: {transport}");
        let mut clusters = cluster("shadow", shadow.address, &transport);
        let mut route = MIRROR.to_owned();
        if has_backend {
            clusters += &cluster("back", back.address, &transport);
            route += ", backends: [{cluster: back}]";
        }
        let front = TestMesh::from_yaml(&yaml(reader_port(), &route, &clusters));
        let mut publisher = TcpPublisher::start(&front, "one");
        shadow.wait_value("msm_streams ", 1.0);
        let (of_shadow, mut real) = (
            Reader::start(&shadow, "from/one"),
            if has_backend { TcpReader::start(&back, "from/one") } else { TcpReader::start(&front, "one") },
        );
        let (mut at_shadow, mut at_real) = (Line::default(), Line::default());
        for number in 0..100 {
            let packet = packet(number);
            publisher.send(&packet);
            at_real.check(&real.recv(), &packet);
            at_shadow.check(&of_shadow.recv(), &packet);
        }
        let status = front.block_on(front.mesh.status());
        let stream = status.streams.iter().find(|own| own.name.contains("/one")).unwrap();
        assert_eq!(stream.mirror, Some(format!("rtsp://{}/from/one", shadow.address)));
        drop(publisher);
        shadow.wait_value("msm_streams ", 0.0);
        front.wait_value(&outcome("closed"), 1.0);
    }
}

#[test]
fn what_an_application_publishes_is_copied_as_well() {
    let shadow = TestMesh::start(LEAVE);
    let clusters = cluster("shadow", shadow.address, ", transport: tcp");
    let front = TestMesh::from_yaml(&yaml(reader_port(), MIRROR, &clusters));
    let publisher = front.block_on(front.mesh.publish("rtsp://localhost/one", VIDEO)).unwrap();
    shadow.wait_value("msm_streams ", 1.0);
    let mut reader = TcpReader::start(&shadow, "from/one");
    publisher.send(0, packet(0)).unwrap();
    assert_eq!(reader.recv()[12..], packet(0)[12..]);
    drop(publisher);
    shadow.wait_value("msm_streams ", 0.0);
}

/// A server that agrees to record, and takes `frames` packets; then it reads nothing any more.
fn clogged(frames: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            record(&stream, frames);
            kept.push(stream);
        }
    });
    address
}

fn record(stream: &TcpStream, frames: usize) {
    let mut reader = BufReader::new(stream);
    let mut left = frames;
    loop {
        match reader.fill_buf() {
            Ok([b'$', ..]) => {
                if left == 0 {
                    return;
                }
                left -= 1;
                let mut head = [0; 4];
                if std::io::Read::read_exact(&mut reader, &mut head).is_err() {
                    return;
                }
                let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
                if std::io::Read::read_exact(&mut reader, &mut packet).is_err() {
                    return;
                }
                continue;
            }
            Ok([]) | Err(_) => return,
            Ok(_) => {}
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .unwrap_or_default()
        };
        let length = field("Content-Length:").parse().unwrap_or(0);
        let mut body = vec![0; length];
        if std::io::Read::read_exact(&mut reader, &mut body).is_err() {
            return;
        }
        let answer = format!(
            "RTSP/1.0 200 OK\r\nCSeq: {}\r\nSession: s\r\nTransport: {}\r\n\r\n",
            field("CSeq:"),
            field("Transport:")
        );
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_shadow_that_takes_no_packets_holds_nobody_up_and_is_given_up() {
    let clusters = cluster("shadow", clogged(10), ", transport: tcp");
    let front = TestMesh::from_yaml(&yaml(reader_port(), MIRROR, &clusters));
    let mut publisher = TcpPublisher::start(&front, "one");
    front.wait_value(&outcome("up"), 1.0);
    let mut reader = TcpReader::start(&front, "one");
    let mut line = Line::default();
    let deadline = Instant::now() + Duration::from_secs(40);
    // More than all queues on the way hold, then until it is given up.
    let mut number = 0u16;
    while front.counter(&outcome("stalled")) < 1.0 {
        assert!(Instant::now() < deadline, "it is never given up: {}", front.metrics());
        for _ in 0..1000 {
            publisher.send(&packet(number));
            line.check(&reader.recv(), &packet(number));
            number = number.wrapping_add(1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(front.counter("msm_reader_lost_total{route=\"r\",cluster=\"local\""), 0.0);
    publisher.send(&packet(number));
    line.check(&reader.recv(), &packet(number));
}

#[test]
fn a_shadow_that_fails_is_seen_by_nobody() {
    let refusing = Server::start(|_| (403, String::new(), String::new()));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dying = Server::start(|asked| {
        let transport = asked.header("transport").unwrap_or_default();
        (200, format!("Session: s\r\nTransport: {transport}\r\n"), String::new())
    });
    let cases = [
        (refusing.address, "", "refused"),
        (silent.local_addr().unwrap(), ", timeouts: {response: 1s}", "timeout"),
        (dead, "", "unreachable"),
        (dying.address, "", "lost"),
    ];
    for (shadow, more, wanted) in cases {
        let clusters = cluster("shadow", shadow, &format!(", transport: tcp{more}"));
        let front = TestMesh::from_yaml(&yaml(reader_port(), MIRROR, &clusters));
        let began = Instant::now();
        let mut publisher = TcpPublisher::start(&front, "one");
        assert!(began.elapsed() < Duration::from_millis(900), "{wanted}: {:?}", began.elapsed());
        let reader = Reader::start(&front, "one");
        let mut line = Line::default();
        for number in 0..100 {
            if number == 50 && wanted == "lost" {
                dying.wait("RECORD", 1);
                dying.cut();
            }
            let packet = packet(number);
            publisher.send(&packet);
            line.check(&reader.recv(), &packet);
        }
        front.wait_counter(&outcome(wanted), 1.0);
        publisher.send(&packet(100));
        line.check(&reader.recv(), &packet(100));
        assert_eq!(front.counter("msm_streams "), 1.0, "{wanted}");
        let options = publisher.rtsp.ask("OPTIONS", "*", &[], b"");
        assert_eq!(options.status, 200, "{wanted}: the publisher's connection is as it was");
        if wanted == "lost" {
            // It is tried again by itself.
            dying.wait("RECORD", 2);
        }
    }
}

#[test]
fn a_shadow_asks_the_publisher_for_nothing() {
    let shadow = TestMesh::start(LEAVE);
    let clusters = cluster("shadow", shadow.address, ", transport: tcp");
    let front = TestMesh::from_yaml(&yaml(reader_port(), MIRROR, &clusters));
    let mut publisher = TcpPublisher::start(&front, "one");
    front.wait_value(&outcome("up"), 1.0);
    // No keyframe ever comes, so whoever reads wants one.
    for number in 1..20 {
        publisher.send(&packet(number));
    }
    let _at_shadow = TcpReader::start(&shadow, "from/one");
    std::thread::sleep(Duration::from_millis(500));
    // Answers come in order behind what was sent before.
    assert_eq!(publisher.rtsp.ask("OPTIONS", "*", &[], b"").status, 200);
    let asks = |publisher: &TcpPublisher| {
        publisher.rtsp.frames.iter().filter(|(channel, rtcp)| *channel == 1 && has_pli(rtcp)).count()
    };
    assert_eq!(asks(&publisher), 0, "{:?}", publisher.rtsp.frames);
    let _own = TcpReader::start(&front, "one");
    let deadline = Instant::now() + Duration::from_secs(5);
    while asks(&publisher) == 0 {
        assert!(Instant::now() < deadline, "a reader of its own does ask");
        assert_eq!(publisher.rtsp.ask("OPTIONS", "*", &[], b"").status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a compound asks for a keyframe (RFC 4585 §6.3.1).
fn has_pli(mut compound: &[u8]) -> bool {
    while let [first, kind, high, low, ..] = *compound {
        if kind == 206 && first & 0x1f == 1 {
            return true;
        }
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        compound = compound.get(length..).unwrap_or_default();
    }
    false
}

#[test]
fn a_changed_configuration_begins_and_ends_it() {
    let shadow = TestMesh::start(LEAVE);
    let port = reader_port();
    let clusters = cluster("shadow", shadow.address, ", transport: tcp");
    let front = TestMesh::from_yaml(&yaml(port, "", &clusters));
    let mut publisher = TcpPublisher::start(&front, "one");
    let mut reader = TcpReader::start(&front, "one");
    let mut line = Line::default();
    let mut number = 0;
    for (route, streams) in [("", 0.0), (MIRROR, 1.0), ("", 0.0), (MIRROR, 1.0)] {
        let config = Config::from_yaml(&yaml(port, route, &clusters), "x", std::iter::empty()).unwrap();
        front.block_on(front.mesh.reload(config)).unwrap();
        shadow.wait_value("msm_streams ", streams);
        for _ in 0..30 {
            publisher.send(&packet(number));
            line.check(&reader.recv(), &packet(number));
            number += 1;
        }
    }
    // A shadow that comes late begins with the keyframe that there was.
    let mut late = TcpReader::start(&shadow, "from/one");
    assert_eq!(late.recv()[12], 0x65);
}

#[test]
fn a_member_may_be_the_shadow() {
    let ca = Ca::new("test.example");
    let (far, hop) = pair::far(&ca.member("/far"), "");
    let real = TestMesh::start("");
    let yaml = format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\nroutes:\n  \
         - {{name: w, match: {{url: \"/from/{{c...}}\", actions: [publish]}}, publish: {{resume: 0s}}, mirror: {{cluster: shadow}}}}\n  \
         - {{name: r, match: {{url: \"/live/{{c...}}\"}}, idle_timeout: 500ms, backends: [{{cluster: real}}], mirror: {{cluster: shadow}}}}\n\
         clusters:\n  real: {{endpoints: [\"rtsp://{}\"]}}\n  \
         shadow: {{endpoints: [\"rtsp://{hop}\"], hop: mesh, peers: [\"spiffe://test.example/far\"]}}\n",
        reader_port(),
        real.address
    );
    let source = ca.member("/near") as Arc<dyn IdentitySource>;
    let near = TestMesh::with(&yaml, |builder| builder.identity(source));

    let mut publisher = TcpPublisher::start(&near, "from/one");
    near.wait_value(&outcome("up"), 1.0);
    far.wait_value("msm_streams ", 1.0);
    for number in 0..50 {
        publisher.send(&packet(number));
    }
    far.wait_counter(
        "msm_packets_total{route=\"member\",cluster=\"local\",hop=\"mesh\",direction=\"rx\"}",
        49.0,
    );
    drop(publisher);
    near.wait_value(&outcome("closed"), 1.0);

    let (mut of_real, mut of_far) =
        (TcpPublisher::start(&real, "live/one"), TcpPublisher::start(&far, "live/one"));
    let reader = Reader::start(&near, "live/one");
    near.wait_value(&outcome("up"), 2.0);
    let mut line = Line::default();
    for number in 0..50 {
        of_real.send(&packet(number));
        of_far.send(&packet(number));
        line.check(&reader.recv(), &packet(number));
    }
    let rx = |cluster: &str| format!("msm_packets_total{{route=\"r\",cluster=\"{cluster}\",hop=");
    near.wait_counter(&rx("shadow"), 49.0);
    assert!(near.counter(&rx("shadow")) <= 50.0);
    // The hop is lost, and the reader does not know: at once where the member says so; else once its association, which may come back
    // for ten seconds, has ended, or its silence is noticed.
    drop(far);
    let deadline = Instant::now() + Duration::from_secs(30);
    while near.counter(&outcome("lost")) + near.counter(&outcome("silent")) < 1.0 {
        assert!(Instant::now() < deadline, "{}", near.metrics());
        std::thread::sleep(Duration::from_millis(20));
    }
    for number in 50..100 {
        of_real.send(&packet(number));
        line.check(&reader.recv(), &packet(number));
    }
}
