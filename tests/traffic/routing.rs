//! What routes make of requests: who comes to which, who is sent elsewhere, and what each may use.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use msm::config::Config;
use socket2::{Domain, Socket, Type};

use crate::common::server::Server;
use crate::common::tls::{self, Authority};
use crate::common::{Answer, Publisher, Rtsp, TestMesh, VIDEO, reader_port};

/// A server whose streams are all called `name`.
fn server(name: &'static str) -> Server {
    Server::start(move |asked| match asked.method.as_str() {
        "DESCRIBE" => {
            let headers = format!("Content-Base: {}/\r\nContent-Type: application/sdp\r\n", asked.uri);
            (200, headers, VIDEO.replace("s=test", &format!("s={name}")))
        }
        "SETUP" => {
            let headers = "Session: s;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
            (200, headers.into(), String::new())
        }
        _ => (200, "Session: s\r\n".into(), String::new()),
    })
}

/// A mesh with the listeners `one` and `two`, these routes, and the clusters `a` and `b`.
fn mesh(routes: &str, a: SocketAddr, b: SocketAddr) -> TestMesh {
    let (one, two) = (reader_port(), reader_port());
    TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: one, address: '127.0.0.1:0', ports: {one}}}\n  - {{name: two, address: '127.0.0.1:0', ports: {two}}}\n\
         routes:\n{routes}\
         clusters:\n  a: {{endpoints: ['rtsp://{a}'], transport: tcp}}\n  b: {{endpoints: ['rtsp://{b}'], transport: tcp}}\n"
    ))
}

/// A client with an address of its own.
fn from(last: u8, to: SocketAddr) -> Rtsp {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    Rtsp::over(stream)
}

fn describe(rtsp: &mut Rtsp, url: &str, headers: &[(&str, &str)]) -> Answer {
    rtsp.ask("DESCRIBE", url, headers, b"")
}

/// Whose stream a description is of.
fn name(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = String::from_utf8(answer.body.clone()).unwrap();
    body.lines().find_map(|line| line.strip_prefix("s=")).unwrap().to_owned()
}

#[test]
fn headers_and_listeners_choose_and_setup_goes_where_describe_went() {
    let (a, b) = (server("a"), server("b"));
    let routes = "  - {name: rest, match: {url: '/{p...}'}, backends: [{cluster: b}]}\n\
                  \x20 - {name: vlc, match: {url: '/tv/{n}', headers: {user-agent: '*VLC*', X-Test: '*'}}, backends: [{cluster: a}]}\n\
                  \x20 - {name: two, match: {url: '/tv/{n}', listeners: [two]}, backends: [{cluster: a}]}\n";
    let mesh = mesh(routes, a.address, b.address);
    let vlc = [("User-Agent", "LibVLC/3.0"), ("x-test", "1")];
    let mut one = Rtsp::connect(mesh.addresses[0]);
    assert_eq!(
        name(&describe(&mut one, &mesh.url("tv/1"), &[])),
        "b",
        "of no listener and header that is asked for"
    );
    assert_eq!(name(&describe(&mut one, &mesh.url("tv/1"), &vlc[..1])), "b", "both headers are asked for");
    assert_eq!(name(&describe(&mut one, &mesh.url("tv/1"), &vlc)), "a");
    assert_eq!(name(&describe(&mut one, &mesh.url("other"), &vlc)), "b", "of another URL");
    let mut two = Rtsp::connect(mesh.addresses[1]);
    assert_eq!(name(&describe(&mut two, &mesh.url("tv/1"), &[])), "a");
    // The first SETUP and PLAY are those of the side that was described.
    let transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1");
    let set_up = one.ask("SETUP", &mesh.url("tv/1/trackID=0"), &[transport, vlc[0], vlc[1]], b"");
    assert_eq!(set_up.status, 200, "{set_up:?}");
    let played = one.ask("PLAY", &mesh.url("tv/1"), &[("Session", &set_up.session())], b"");
    assert_eq!(played.status, 200, "{played:?}");
    assert_eq!((a.asked("PLAY").len(), b.asked("PLAY").len()), (1, 0));
}

#[test]
fn a_client_stays_on_its_side_of_percentages_and_backends() {
    let (a, b) = (server("a"), server("b"));
    let routes = "  - {name: some, match: {url: '/share/{n}', percentage: 50%}, backends: [{cluster: a}]}\n\
                  \x20 - {name: others, match: {url: '/share/{n}'}, backends: [{cluster: b}]}\n\
                  \x20 - {name: split, match: {url: '/split/{n}'}, backends: [{cluster: a, weight: 50}, {cluster: b, weight: 50}]}\n";
    let mesh = mesh(routes, a.address, b.address);
    let to = mesh.addresses[0];
    for path in ["share/1", "split/1"] {
        let side = |last: u8, to: SocketAddr| name(&describe(&mut from(last, to), &mesh.url(path), &[]));
        let sides: Vec<String> = (1..=40).map(|last| side(last, to)).collect();
        let on_a = sides.iter().filter(|side| *side == "a").count();
        // Of 40 by 50%: beyond 5 to 35 is one in a million.
        assert!((5..=35).contains(&on_a), "{path}: {sides:?}");
        for (last, before) in (1..=40).zip(&sides) {
            assert_eq!(
                side(last, mesh.addresses[1]),
                *before,
                "{path}: 127.0.0.{last} comes back, by the other listener"
            );
        }
    }
}

#[test]
fn clients_are_sent_elsewhere_by_describe_setup_and_announce() {
    let (a, b) = (server("a"), server("b"));
    let routes = "  - {name: moved, match: {url: '/old/{n}'}, redirect: {to: 'rtsp://[2001:db8::7]:8554/new/{n}'}}\n\
                  \x20 - {name: gone, match: {url: '/gone/{p...}'}, redirect: {to: 'rtsp://other.example', status: 301}}\n\
                  \x20 - {name: barred, match: {url: '/old/barred'}, allow: ['spiffe://a.example/x'], redirect: {to: 'rtsp://other.example'}}\n";
    let mesh = mesh(routes, a.address, b.address);
    let mut rtsp = mesh.connect();
    let url = mesh.url("old/eu?x=1").replace("rtsp://", "rtsp://user:secret@");
    let answer = describe(&mut rtsp, &url, &[]);
    assert_eq!((answer.status, answer.header("location")), (302, "rtsp://[2001:db8::7]:8554/new/eu?x=1"));
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let answer = rtsp.ask("SETUP", &mesh.url("old/eu/trackID=0"), &transport, b"");
    assert_eq!((answer.status, answer.header("location")), (302, "rtsp://[2001:db8::7]:8554/new/eu"));
    let sdp = [("Content-Type", "application/sdp")];
    let answer = rtsp.ask("ANNOUNCE", &mesh.url("gone/a/b"), &sdp, VIDEO.as_bytes());
    assert_eq!((answer.status, answer.header("location")), (301, "rtsp://other.example/gone/a/b"));
    let answer = describe(&mut rtsp, &mesh.url("old/barred"), &[]);
    assert_eq!(
        (answer.status, answer.header("location")),
        (403, ""),
        "nobody learns of it who is not allowed"
    );
    assert_eq!(mesh.counter("decision=\"redirect\",route=\"moved\""), 2.0);
    let error = mesh.block_on(mesh.mesh.open(&mesh.url("old/eu"))).err().unwrap();
    assert!(matches!(&error, msm::Error::Redirected { status: 302, .. }), "{error}");
}

#[test]
fn nobody_is_sent_out_of_tls() {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let mesh = TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: tls, address: '127.0.0.1:0', protocol: rtsps, tls: {}}}\n\
         routes:\n  - {{name: clear, match: {{url: '/clear'}}, redirect: {{to: 'rtsp://other.example'}}}}\n\
         \x20 - {{name: tls, match: {{url: '/tls'}}, redirect: {{to: 'rtsps://other.example'}}}}\n",
        authority.yaml("server", "")
    ));
    let config = authority.client(&[&rustls::version::TLS13], None);
    let mut rtsp = tls::connect(mesh.address, config);
    let url = |path: &str| mesh.url(path).replace("rtsp://", "rtsps://");
    let answer = rtsp.ask("DESCRIBE", &url("tls"), &[], b"");
    assert_eq!((answer.status, answer.header("location")), (302, "rtsps://other.example/tls"));
    let answer = rtsp.ask("DESCRIBE", &url("clear"), &[], b"");
    assert_eq!((answer.status, answer.header("location")), (403, ""));
}

#[test]
fn a_route_has_as_many_sessions_as_it_may() {
    let mesh = TestMesh::start(
        "routes:\n  - {name: few, match: {url: '/few/{n}'}, limits: {sessions: 2}}\n  - {name: all, match: {url: '/{p...}'}}",
    );
    let _publishers = [Publisher::start(&mesh, "few/1"), Publisher::start(&mesh, "many/1")];
    let set_up = |rtsp: &mut Rtsp, path: &str| {
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        rtsp.ask("SETUP", &format!("{}/trackID=0", mesh.url(path)), &transport, b"")
    };
    let (mut first, mut second) = (mesh.connect(), mesh.connect());
    let one = set_up(&mut first, "few/1");
    assert_eq!(one.status, 200, "{one:?}");
    assert_eq!(set_up(&mut second, "few/1").status, 453);
    assert_eq!(mesh.counter("decision=\"limit\",route=\"few\""), 1.0);
    assert_eq!(set_up(&mut second, "many/1").status, 200, "another route has its own");
    assert_eq!(first.ask("TEARDOWN", &mesh.url("few/1"), &[("Session", &one.session())], b"").status, 200);
    assert_eq!(set_up(&mut mesh.connect(), "few/1").status, 200);
}

#[test]
fn a_route_has_as_many_readers_as_it_may() {
    let port = reader_port();
    let yaml = |limits: &str| {
        format!(
            "listeners: [{{name: test, address: '127.0.0.1:0', ports: {port}}}]\nroutes: [{{name: few, match: {{url: '/few/{{n}}'}}{limits}}}]\n"
        )
    };
    let mesh = TestMesh::from_yaml(&yaml(", limits: {readers: 2, sessions: 9}"));
    let reload = |limits: &str| {
        let config = Config::from_yaml(&yaml(limits), "x", std::iter::empty()).unwrap();
        mesh.block_on(mesh.mesh.reload(config)).unwrap();
    };
    // Who publishes is no reader.
    let _publishers = ["few/1", "few/2", "few/3"].map(|path| Publisher::start(&mesh, path));
    let mut all = Vec::new();
    let mut set_up = |path: &str| {
        let mut rtsp = mesh.connect();
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let answer = rtsp.ask("SETUP", &format!("{}/trackID=0", mesh.url(path)), &transport, b"");
        all.push((rtsp, answer.session()));
        answer.status
    };
    // Of all streams together.
    assert_eq!([set_up("few/1"), set_up("few/2"), set_up("few/2")], [200, 200, 453]);
    assert_eq!(mesh.counter("decision=\"limit_readers\",route=\"few\""), 1.0);
    assert_eq!(mesh.counter("decision=\"limit\",route=\"few\""), 0.0);
    // A changed limit counts those that are there.
    reload(", limits: {readers: 3}");
    assert_eq!([set_up("few/1"), set_up("few/1")], [200, 453]);
    reload(", limits: {readers: 1}");
    assert_eq!(set_up("few/1"), 453);
    reload("");
    assert_eq!(set_up("few/1"), 200);
    reload(", limits: {readers: 4}");
    assert_eq!(set_up("few/1"), 453);
    let (mut rtsp, session) = all.remove(0);
    assert_eq!(rtsp.ask("TEARDOWN", &mesh.url("few/1"), &[("Session", &session)], b"").status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let answer = mesh.connect().ask("SETUP", &format!("{}/trackID=0", mesh.url("few/3")), &transport, b"");
    assert_eq!(answer.status, 200, "a place that was given back");
}

#[test]
fn a_stream_s_set_up_takes_as_long_as_the_route_says() {
    // Take connections, and never answer.
    let silent = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [a, b] = [silent[0].local_addr().unwrap(), silent[1].local_addr().unwrap()];
    let routes = "  - {name: whole, match: {url: '/whole'}, backends: [{cluster: a}], timeouts: {set_up: 400ms}}\n\
                  \x20 - {name: answer, match: {url: '/answer'}, backends: [{cluster: b}], timeouts: {response: 400ms}}\n";
    let mesh = mesh(routes, a, b);
    for path in ["whole", "answer"] {
        let began = Instant::now();
        let answer = describe(&mut mesh.connect(), &mesh.url(path), &[]);
        assert_eq!(answer.status, 504, "{path}: {answer:?}");
        // Without the route's time it is the cluster's: ten seconds.
        let took = began.elapsed();
        assert!((Duration::from_millis(400)..Duration::from_secs(8)).contains(&took), "{path}: {took:?}");
    }
}

#[test]
fn a_canary_that_fails_loses_its_share_to_the_others() {
    let a = server("a");
    let failing = Server::start(|_| (500, String::new(), String::new()));
    let routes = "  - {name: trial, match: {url: '/{n}'}, backends: [{cluster: a, weight: 50}, {cluster: b, weight: 50}], canary: {cluster: b}}\n";
    let mesh = mesh(routes, a.address, failing.address);
    // Each URL is a stream of its own, by chance on either side.
    let statuses: Vec<u16> = (0..100)
        .map(|number| describe(&mut mesh.connect(), &mesh.url(&number.to_string()), &[]).status)
        .collect();
    let failed = statuses.iter().filter(|status| **status != 200).count();
    assert!((10..40).contains(&failed), "half of them until it is noticed: {statuses:?}");
    assert!(statuses[80..].iter().all(|status| *status == 200), "{statuses:?}");
    let status = mesh.block_on(mesh.mesh.status());
    let why = status.canaries[0].rolled_back.clone().unwrap();
    assert!(why.contains("could not be set up"), "{why}");
}
