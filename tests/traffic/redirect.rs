//! Routes that become redirects while sessions are up: their clients are asked to go, and get their media until they do.

use std::time::{Duration, Instant};

use msm::Changes;
use msm::config::Config;

use crate::common::tls::{self, Authority};
use crate::common::{
    self, Line, Publisher, Reader, TcpReader, TestMesh, Told, has_bye, keyframe, reader_port,
};

const TO: &str = "rtsp://other.example:8554/new/a";

/// One listener, and a route for publishers; `out` is the route of readers.
struct Bed {
    mesh: TestMesh,
    port: u16,
}

impl Bed {
    fn start() -> Bed {
        let port = reader_port();
        Bed { mesh: TestMesh::from_yaml(&yaml(port, "")), port }
    }

    fn reload(&self, more: &str) -> Changes {
        let config = Config::from_yaml(&yaml(self.port, more), "test.yaml", std::iter::empty()).unwrap();
        self.mesh.block_on(self.mesh.mesh.reload(config)).unwrap()
    }

    fn redirect(&self, leave_within: &str) -> Changes {
        self.reload(&format!(", redirect: {{to: '{TO}', leave_within: {leave_within}}}"))
    }
}

fn yaml(port: u16, out: &str) -> String {
    format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: '127.0.0.1:0', ports: {port}}}\nroutes:\n  \
         - {{name: in, match: {{url: '/{{p...}}', actions: [publish]}}, publish: {{resume: 0s}}}}\n  \
         - {{name: out, match: {{url: '/{{p...}}', actions: [read]}}{out}}}\n"
    )
}

fn check_told(told: &Told, version: &str, url: &str, session: &str) {
    assert_eq!(told.line, format!("REDIRECT {url} RTSP/{version}"));
    assert_eq!((told.header("location"), told.header("session")), (TO, session), "{told:?}");
    assert!(told.header("cseq").parse::<u32>().is_ok_and(|number| number > 0), "{told:?}");
}

#[test]
fn clients_are_asked_to_go_and_get_their_media_until_they_do() {
    let bed = Bed::start();
    let publisher = Publisher::start(&bed.mesh, "a");
    let (mut udp, mut tcp) = (Reader::start(&bed.mesh, "a"), TcpReader::start(&bed.mesh, "a"));
    let mut newer = bed.mesh.connect();
    newer.version = "2.0";
    let mut newer = TcpReader::over(newer, bed.mesh.url("a"));
    let mut lines = [Line::default(), Line::default(), Line::default()];
    let mut number = 0;
    let mut pass = |udp: &Reader, tcp: &mut TcpReader, newer: &mut TcpReader| {
        for _ in 0..20 {
            let packet = keyframe(number, u32::from(number) * 3000, 7, 200);
            publisher.send(&packet);
            number += 1;
            lines[0].check(&udp.recv(), &packet);
            lines[1].check(&tcp.recv(), &packet);
            lines[2].check(&newer.recv(), &packet);
        }
    };
    pass(&udp, &mut tcp, &mut newer);
    let changes = bed.redirect("1h");
    assert_eq!((changes.redirected, changes.ended), (3, 0), "{changes}");
    assert!(changes.to_string().ends_with("sessions sent elsewhere: 3"), "{changes}");
    let url = bed.mesh.url("a");
    let asked = [udp.rtsp.next_told(), tcp.rtsp.next_told(), newer.rtsp.next_told()];
    check_told(&asked[0], "1.0", &url, &udp.session);
    check_told(&asked[1], "1.0", &url, &tcp.session);
    check_told(&asked[2], "2.0", &url, &newer.session);
    // 2.0 says why and until when (RFC 7826 §13.10), 1.0 knows no such thing.
    assert_eq!([0, 1].map(|at| asked[at].header("terminate-reason")), ["", ""]);
    let reason = asked[2].header("terminate-reason");
    assert!(reason.starts_with("Server-Admin;time=20") && reason.ends_with('Z'), "{reason}");
    assert!(asked[2].header("date").ends_with(" GMT"), "{:?}", asked[2]);
    // Whatever they answer, and if they do not.
    udp.rtsp.reply(&asked[0], 200);
    tcp.rtsp.reply(&asked[1], 501);
    pass(&udp, &mut tcp, &mut newer);
    // The same again is not told again.
    assert_eq!(bed.redirect("1h").redirected, 0);
    let answer = bed.mesh.connect().ask("DESCRIBE", &url, &[], b"");
    assert_eq!((answer.status, answer.header("location")), (302, TO));
    for (rtsp, session) in
        [(&mut udp.rtsp, &udp.session), (&mut tcp.rtsp, &tcp.session), (&mut newer.rtsp, &newer.session)]
    {
        assert_eq!(rtsp.ask("TEARDOWN", &url, &[("Session", session)], b"").status, 200);
        assert!(rtsp.told.is_empty(), "{:?}", rtsp.told);
    }
    bed.mesh.wait_value("msm_sessions ", 1.0);
}

#[test]
fn who_stays_is_ended_when_the_time_is_over() {
    let bed = Bed::start();
    let publisher = Publisher::start(&bed.mesh, "a");
    let (mut lost, mut tcp) = (Reader::start(&bed.mesh, "a"), TcpReader::start(&bed.mesh, "a"));
    // Its media goes on without a connection, by which it could be asked.
    drop(std::mem::replace(&mut lost.rtsp, bed.mesh.connect()));
    std::thread::sleep(Duration::from_millis(200));
    let (began, within) = (Instant::now(), Duration::from_secs(3));
    assert_eq!(bed.redirect("3s").redirected, 2);
    let mut line = Line::default();
    let mut number = 0;
    while began.elapsed() < within - Duration::from_millis(500) {
        let packet = keyframe(number, u32::from(number) * 3000, 7, 200);
        publisher.send(&packet);
        number += 1;
        line.check(&lost.recv(), &packet);
        std::thread::sleep(Duration::from_millis(20));
    }
    // Who comes back is told.
    let (url, session) = (bed.mesh.url("a"), lost.session.clone());
    assert_eq!(lost.rtsp.ask("GET_PARAMETER", &url, &[("Session", &session)], b"").status, 200);
    check_told(&lost.rtsp.next_told(), "1.0", &url, &session);
    let mut scratch = [0; 2048];
    while !lost.rtcp.recv(&mut scratch).is_ok_and(|length| has_bye(&scratch[..length])) {}
    let took = began.elapsed();
    assert!(took >= within && took < within + Duration::from_secs(4), "{took:?}");
    let said_bye = std::iter::from_fn(|| Some(tcp.rtsp.next_frame())).find(|(channel, _)| *channel == 1);
    assert!(said_bye.is_some_and(|(_, packet)| has_bye(&packet)));
    check_told(&tcp.rtsp.next_told(), "1.0", &url, &tcp.session);
    assert!(tcp.rtsp.is_closed());
    bed.mesh.wait_value("msm_sessions ", 1.0);
}

#[test]
fn a_route_that_is_taken_back_keeps_them_and_no_time_is_none() {
    let bed = Bed::start();
    let publisher = Publisher::start(&bed.mesh, "a");
    let mut reader = TcpReader::start(&bed.mesh, "a");
    let began = Instant::now();
    bed.redirect("1s");
    let url = bed.mesh.url("a");
    check_told(&reader.rtsp.next_told(), "1.0", &url, &reader.session);
    assert_eq!(bed.reload("").ended, 0);
    assert!(began.elapsed() < Duration::from_secs(1), "too slow to say anything");
    std::thread::sleep(Duration::from_millis(2_500));
    publisher.send(&keyframe(1, 1, 7, 200));
    reader.recv();
    // PLAY of a session whose URL leads elsewhere is answered as DESCRIBE is.
    bed.redirect("1h");
    let answer = reader.rtsp.ask("PLAY", &url, &[("Session", &reader.session)], b"");
    assert_eq!((answer.status, answer.header("location")), (302, TO));
    bed.reload("");
    let mut reader = TcpReader::start(&bed.mesh, "a");
    let changes = bed.redirect("0s");
    assert_eq!((changes.redirected, changes.ended), (0, 1), "{changes}");
    assert!(reader.rtsp.is_closed() && reader.rtsp.told.is_empty());
}

#[test]
fn publishers_are_asked_as_well() {
    let bed = Bed::start();
    let mut publisher = Publisher::start(&bed.mesh, "a");
    let more =
        "routes:\n  - {name: moved, match: {url: '/a'}, redirect: {to: 'rtsp://other.example:8554/new/a'}}\n";
    let text = yaml(bed.port, "").replace("routes:\n", more);
    let config = Config::from_yaml(&text, "test.yaml", std::iter::empty()).unwrap();
    let changes = bed.mesh.block_on(bed.mesh.mesh.reload(config)).unwrap();
    assert_eq!((changes.redirected, changes.ended), (1, 0), "{changes}");
    let (url, session) = (bed.mesh.url("a"), publisher.session.clone());
    check_told(&publisher.rtsp.next_told(), "1.0", &url, &session);
    assert_eq!(publisher.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
}

#[test]
fn who_came_by_tls_is_not_sent_to_a_connection_in_the_clear() {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let yaml = |to: &str| {
        let (tls, redirect) = (authority.yaml("server", ""), |name: &str| match to {
            "" => String::new(),
            to => format!(", redirect: {{to: '{to}.example/{name}'}}"),
        });
        format!(
            "listeners:\n  - {{name: tls, address: '127.0.0.1:0', protocol: rtsps, tls: {tls}}}\n\
             routes:\n  - {{name: in, match: {{url: '/{{p...}}', actions: [publish]}}}}\n  \
             - {{name: out, match: {{url: '/{{p...}}', actions: [read]}}{}}}\n",
            redirect("a")
        )
    };
    for (to, redirected) in [("rtsp://other", 0), ("rtsps://other", 1)] {
        let mesh = TestMesh::from_yaml(&yaml(""));
        let config = authority.client(&[&rustls::version::TLS13], None);
        let connect = || tls::connect(mesh.address, config.clone());
        let url = mesh.url("a").replace("rtsp://", "rtsps://");
        let _publisher = common::TcpPublisher::over(connect(), url.clone());
        let mut reader = TcpReader::over(connect(), url);
        let config = Config::from_yaml(&yaml(to), "test.yaml", std::iter::empty()).unwrap();
        let changes = mesh.block_on(mesh.mesh.reload(config)).unwrap();
        assert_eq!((changes.redirected, changes.ended), (redirected, 1 - redirected), "{to}: {changes}");
        if redirected == 1 {
            assert_eq!(reader.rtsp.next_told().header("location"), "rtsps://other.example/a");
        } else {
            assert!(reader.rtsp.is_closed() && reader.rtsp.told.is_empty());
        }
    }
}
