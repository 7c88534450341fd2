//! Shadows of streams that are read: they get what readers' upstream sessions get, and nobody notices what becomes of them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use msm::config::{Config, Question};

use crate::common::endpoint::{self, Endpoint};
use crate::common::server::Server;
use crate::common::{Line, Reader, TcpPublisher, TcpReader, TestMesh, reader_port, rtp};

const MOMENT: Duration = Duration::from_millis(100);
const UP: &str = "msm_mirror_sessions_total{cluster=\"shadow\",outcome=\"up\"}";

fn ended(outcome: &str) -> String {
    format!("msm_mirror_sessions_total{{cluster=\"shadow\",outcome=\"{outcome}\"}}")
}

fn received(cluster: &str) -> String {
    format!("msm_packets_total{{route=\"r\",cluster=\"{cluster}\",hop=\"plain\",direction=\"rx\"}}")
}

/// A mesh that has `/in/…` from `real` as `/live/…`, with what `more` adds to the route, and to the shadow's cluster.
fn yaml(port: u16, real: &str, shadow: &str, more: [&str; 2]) -> String {
    let [route, cluster] = more;
    format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {port}}}\nworkers: 2\nroutes:\n  - {{name: r, match: {{url: \"/in/{{c...}}\"}}, \
         rewrite: \"/live/{{c...}}\", idle_timeout: 500ms, backends: [{{cluster: real}}]{route}}}\nclusters:\n  \
         real: {{endpoints: [\"{real}\"]}}\n  shadow: {{endpoints: [{shadow}]{cluster}}}\n"
    )
}

const MIRROR: &str = ", mirror: {cluster: shadow}";

fn quoted(address: impl std::fmt::Display) -> String {
    format!("\"rtsp://{address}\"")
}

fn front(real: &str, shadow: &str, more: [&str; 2]) -> TestMesh {
    TestMesh::from_yaml(&yaml(reader_port(), real, shadow, more))
}

fn at(mesh: &TestMesh) -> String {
    format!("rtsp://{}", mesh.address)
}

fn packet(number: u16) -> Vec<u8> {
    rtp(number, u32::from(number) * 3000, 7, if number.is_multiple_of(20) { 0x65 } else { 0x41 }, 900)
}

#[test]
fn a_shadow_gets_as_many_packets_as_the_stream_and_ends_with_it() {
    for transport in ["udp", "tcp"] {
        let (real, shadow) = (TestMesh::start(""), TestMesh::start(""));
        let mut of_real = TcpPublisher::start(&real, "live/one");
        let mut of_shadow = TcpPublisher::start(&shadow, "live/one");
        let more = [MIRROR, &format!(", transport: {transport}")];
        let front = front(&at(&real), &quoted(shadow.address), more);
        let (udp, mut tcp) = (Reader::start(&front, "in/one"), TcpReader::start(&front, "in/one"));
        front.wait_value(UP, 1.0);
        shadow.wait_value("msm_readers{", 1.0);
        let (mut of_udp, mut of_tcp) = (Line::default(), Line::default());
        for number in 0..100 {
            let packet = packet(number);
            of_real.send(&packet);
            of_shadow.send(&packet);
            of_udp.check(&udp.recv(), &packet);
            of_tcp.check(&tcp.recv(), &packet);
        }
        let count = front.counter(&received("real"));
        assert!(count >= 99.0, "{transport}: {count}");
        front.wait_value(&received("shadow"), count);
        assert_eq!(
            real.counter("msm_readers{"),
            1.0,
            "two readers share one session, and that is copied once"
        );
        let status = front.block_on(front.mesh.status());
        assert_eq!(status.streams.len(), 1, "the shadow is no stream: {status:?}");
        assert_eq!(status.streams[0].mirror, Some(format!("{}/live/one", at(&shadow))));
        let sessions = |name: &str| status.clusters.iter().find(|own| own.name == name).unwrap().sessions;
        assert_eq!((sessions("real"), sessions("shadow")), (1, 1));
        let mut udp = udp;
        let session = udp.session.clone();
        assert_eq!(udp.rtsp.ask("TEARDOWN", &udp.url, &[("Session", &session)], b"").status, 200);
        drop(tcp);
        shadow.wait_value("msm_readers{", 0.0);
        front.wait_value(&ended("closed"), 1.0);
        assert_eq!(front.counter("msm_mirror_sessions_total"), 2.0, "{}", front.metrics());
    }
}

/// What a player is answered, without what differs each time.
fn answers(front: &TestMesh) -> Vec<String> {
    let mut rtsp = front.connect();
    let url = front.url("in/one?user=7");
    let mut all = Vec::new();
    let describe = rtsp.ask("DESCRIBE", &url, &[("Accept", "application/sdp")], b"");
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let base = describe.header("content-base").trim_end_matches('/').to_owned();
    let set_up = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"");
    let session = set_up.session();
    let play = rtsp.ask("PLAY", &url, &[("Session", &session)], b"");
    let end = rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"");
    for answer in [describe, set_up, play, end] {
        let mut text = format!("{} {:?}", answer.status, answer.headers);
        text += &String::from_utf8_lossy(&answer.body);
        text = text.replace(&session, "S").replace(&front.address.to_string(), "A");
        let ssrc = answer.header("transport").split(';').find(|part| part.starts_with("ssrc="));
        all.push(ssrc.map_or(text.clone(), |ssrc| text.replace(ssrc, "ssrc")));
    }
    all
}

/// Somebody who takes connections, and does what `does` says with each.
fn somebody(does: impl Fn(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(does));
    address
}

#[test]
fn a_shadow_that_fails_is_seen_by_nobody() {
    let refusing = Server::start(|_| (403, String::new(), String::new()));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let garbage = somebody(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nCSeq: 1\r\n\r\n\0\0\0");
    });
    let closing = somebody(drop);
    let dying = Endpoint::start(1, Instant::now());
    let mute = Endpoint::start(2, Instant::now());
    let none = front("rtsp://127.0.0.1:9", "\"rtsp://127.0.0.1:9\"", ["", ""]);
    assert_eq!(none.counter("msm_mirror"), 0.0);
    let cases = [
        (refusing.address, "", "refused"),
        (silent.local_addr().unwrap(), ", timeouts: {response: 1s}", "timeout"),
        (dead, "", "unreachable"),
        (garbage, "", "failed"),
        (closing, "", "failed"),
        (dying.server.address, "", "lost"),
        (mute.server.address, ", health: {media_timeout: 300ms}", "silent"),
    ];
    for (shadow, cluster, outcome) in cases {
        let real = TestMesh::start("");
        let mut publisher = TcpPublisher::start(&real, "live/one?user=7");
        let without = front(&at(&real), &quoted(shadow), ["", cluster]);
        let front = front(&at(&real), &quoted(shadow), [MIRROR, cluster]);
        let began = Instant::now();
        let answered = answers(&front);
        assert!(began.elapsed() < Duration::from_millis(900), "{outcome}: {:?}", began.elapsed());
        assert_eq!(answered, answers(&without), "{outcome}");
        let reader = Reader::start(&front, "in/one?user=7");
        let mut line = Line::default();
        for number in 0..150 {
            if number == 50 {
                match outcome {
                    "lost" => {
                        dying.server.wait("PLAY", 1);
                        dying.kill();
                    }
                    "silent" => {
                        mute.server.wait("PLAY", 1);
                        mute.behaves.silent.store(true, Ordering::SeqCst);
                    }
                    _ => {}
                }
            }
            let packet = packet(number);
            publisher.send(&packet);
            line.check(&reader.recv(), &packet);
        }
        front.wait_counter(&ended(outcome), 1.0);
        let status = front.block_on(front.mesh.status());
        if outcome != "lost" && outcome != "silent" {
            let mirror = status.streams[0].mirror.clone().unwrap_or_default();
            assert!(mirror.starts_with("none: "), "{outcome}: {mirror}");
        }
        let last = packet(150);
        publisher.send(&last);
        line.check(&reader.recv(), &last);
        assert!(reader.try_recv(MOMENT).is_none(), "{outcome}: what nobody has sent");
        assert_eq!(front.counter("msm_failovers_total"), 0.0, "{outcome}");
        assert_eq!(front.counter("msm_endpoint_health{cluster=\"real\""), 1.0, "{outcome}");
        assert_eq!(front.counter("msm_dropped_total"), 0.0, "{outcome}: {}", front.metrics());
    }
    let asked = refusing.wait("DESCRIBE", 1);
    assert!(asked.uri.ends_with("/live/one?user=7"), "behind the rewrite, with the query: {}", asked.uri);
}

#[test]
fn a_shadow_that_could_not_be_had_comes_when_it_can() {
    let (real, shadow) = (Endpoint::start(1, Instant::now()), Endpoint::start(2, Instant::now()));
    shadow.behaves.refuses.store(404, Ordering::SeqCst);
    let front = front(&real.url(), &quoted(shadow.server.address), [MIRROR, ""]);
    let _reader = TcpReader::start(&front, "in/cam");
    front.wait_value(&ended("refused"), 2.0);
    assert!(shadow.server.asked("DESCRIBE").len() < 5, "not as fast as it can");
    shadow.behaves.refuses.store(0, Ordering::SeqCst);
    front.wait_value(UP, 1.0);
    shadow.kill();
    front.wait_value(&ended("lost"), 1.0);
    assert_eq!(real.server.asked("PLAY").len(), 1, "the stream goes on");
}

#[test]
fn a_shadow_is_one_of_its_cluster_s_sessions_and_its_failures_are_held_against_that() {
    let real = Endpoint::start(1, Instant::now());
    let (ill, well) = (Endpoint::start(2, Instant::now()), Endpoint::start(3, Instant::now()));
    ill.behaves.refuses.store(500, Ordering::SeqCst);
    let endpoints = format!("{}, {}", quoted(ill.server.address), quoted(well.server.address));
    let cluster = ", limits: {sessions: 3}, health: {outlier: {failures: 2}}";
    let front = front(&real.url(), &endpoints, [MIRROR, cluster]);
    let readers: Vec<_> = (0..4).map(|number| TcpReader::start(&front, &format!("in/{number}"))).collect();
    front.wait_value(UP, 3.0);
    front.wait_counter(&ended("full"), 1.0);
    front.wait_counter("msm_ejections_total{cluster=\"shadow\"", 1.0);
    assert_eq!(front.counter("msm_ejections_total{cluster=\"real\""), 0.0);
    assert_eq!(front.counter("msm_endpoint_health{cluster=\"real\""), 1.0);
    for mut reader in readers {
        assert!(!reader.recv().is_empty());
    }
}

fn config(share: &str, shadow: &str) -> String {
    let mirror = format!(", mirror: {{cluster: shadow, percentage: {share}}}");
    yaml(reader_port(), "rtsp://127.0.0.1:9", shadow, [&mirror, ""])
}

fn is_copied(config: &Config, url: &str) -> bool {
    let question = Question { client: Some([127, 0, 0, 1].into()), ..Question::read(url) };
    config.explain(&question).unwrap().mirror.unwrap().copied.unwrap()
}

#[test]
fn a_tenth_is_a_tenth_and_the_same_one_each_time() {
    let load = |share| Config::from_yaml(&config(share, "\"rtsp://127.0.0.1:9\""), "x", std::iter::empty());
    let (tenth, third) = (load("10%").unwrap(), load("30%").unwrap());
    let urls: Vec<_> = (0..2000).map(|number| format!("rtsp://h/in/cam{number}?k=v")).collect();
    let taken: BTreeSet<&String> = urls.iter().filter(|url| is_copied(&tenth, url)).collect();
    // Five standard deviations of a binomial distribution.
    let bound = 5.0 * (2000.0_f64 * 0.1 * 0.9).sqrt();
    assert!((taken.len() as f64 - 200.0).abs() <= bound, "{}", taken.len());
    assert!(taken.iter().all(|url| is_copied(&tenth, url) && is_copied(&third, url)));
}

#[test]
fn streams_are_copied_as_explain_says() {
    let (real, shadow) = (Endpoint::start(1, Instant::now()), Endpoint::start(2, Instant::now()));
    let mirror = ", mirror: {cluster: shadow, percentage: 30%}";
    let yaml = yaml(reader_port(), &real.url(), &quoted(shadow.server.address), [mirror, ""]);
    let config = Config::from_yaml(&yaml, "x", std::iter::empty()).unwrap();
    let front = TestMesh::from_yaml(&yaml);
    let paths: Vec<_> = (0..40).map(|number| format!("in/cam{number}")).collect();
    let wanted: BTreeSet<String> = paths
        .iter()
        .filter(|path| is_copied(&config, &front.url(path)))
        .map(|path| path.replace("in/", "/live/"))
        .collect();
    assert!((3..25).contains(&wanted.len()), "{wanted:?}");
    let mut readers: Vec<_> = paths.iter().map(|path| TcpReader::start(&front, path)).collect();
    front.wait_value(UP, wanted.len() as f64);
    readers.iter_mut().for_each(|reader| assert!(!reader.recv().is_empty()));
    let asked = shadow.server.asked("DESCRIBE");
    let got: BTreeSet<String> =
        asked.iter().map(|asked| asked.uri[asked.uri.find("/live").unwrap()..].to_owned()).collect();
    assert_eq!(got, wanted);
    assert_eq!(asked.len(), wanted.len(), "each once");
    assert_eq!(real.server.asked("PLAY").len(), 40);
}

#[test]
fn a_changed_configuration_begins_and_ends_shadows_of_streams_that_play() {
    let (real, shadow, other) = (TestMesh::start(""), TestMesh::start(""), TestMesh::start(""));
    let mut publisher = TcpPublisher::start(&real, "live/one");
    let _of_shadow = TcpPublisher::start(&shadow, "live/one");
    let _of_other = TcpPublisher::start(&other, "live/one");
    let port = reader_port();
    let with = |mirror: &str, at: &TestMesh| yaml(port, &self::at(&real), &quoted(at.address), [mirror, ""]);
    let front = TestMesh::from_yaml(&with("", &shadow));
    let reader = Reader::start(&front, "in/one");
    let mut line = Line::default();
    let mut number = 0;
    let mut go_on = || {
        for _ in 0..30 {
            publisher.send(&packet(number));
            line.check(&reader.recv(), &packet(number));
            number += 1;
        }
    };
    let reload = |yaml: &str| {
        let config = Config::from_yaml(yaml, "x", std::iter::empty()).unwrap();
        front.block_on(front.mesh.reload(config)).unwrap();
    };
    go_on();
    assert_eq!(shadow.counter("msm_readers{"), 0.0);
    reload(&with(MIRROR, &shadow));
    shadow.wait_value("msm_readers{", 1.0);
    go_on();
    // Another endpoint of the same cluster.
    reload(&with(MIRROR, &other));
    other.wait_value("msm_readers{", 1.0);
    shadow.wait_value("msm_readers{", 0.0);
    go_on();
    reload(&with(", mirror: {cluster: shadow, percentage: 1%}", &other));
    reload(&with("", &other));
    other.wait_value("msm_readers{", 0.0);
    go_on();
    let status = front.block_on(front.mesh.status());
    assert_eq!(status.streams[0].mirror, None);
    assert_eq!(real.counter("msm_readers{"), 1.0);
}

#[test]
fn a_recording_is_copied_once_from_where_its_reader_began() {
    let (real, shadow) = (Endpoint::start(1, Instant::now()), Endpoint::start(2, Instant::now()));
    for endpoint in [&real, &shadow] {
        let description = endpoint::BOTH.replace("t=0 0\r\n", "t=0 0\r\na=range:npt=0-3600\r\n");
        *endpoint.behaves.description.lock().unwrap() = description;
    }
    let front = front(&real.url(), &quoted(shadow.server.address), [MIRROR, ""]);
    let mut rtsp = front.connect();
    let url = front.url("in/film");
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.session();
    let headers = [("Session", &*session), ("Range", "npt=600-")];
    assert_eq!(rtsp.ask("PLAY", &url, &headers, b"").status, 200);
    assert_eq!(shadow.server.wait("PLAY", 1).header("range"), Some("npt=600-"));
    assert_eq!(real.server.asked("PLAY").len(), 1);
    front.wait_value(UP, 1.0);
    shadow.server.cut();
    front.wait_value(&ended("lost"), 1.0);
    // Twice as long as the first pause.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(shadow.server.asked("DESCRIBE").len(), 1);
    rtsp.next_frame();
}
