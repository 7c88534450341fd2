//! Another configuration while streams flow.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use msm::config::Config;
use msm::{Changes, Error};

use crate::common::{
    self, Line, Publisher, Reader, Rtsp, TcpPublisher, TcpReader, TestMesh, keyframe, reader_port,
};

/// Where the listener that stays is.
fn first(port: u16) -> String {
    format!("{{name: test, address: \"127.0.0.1:0\", ports: {port}}}")
}

fn yaml(listeners: &[&str], more: &str) -> String {
    let items: String = listeners.iter().map(|item| format!("  - {item}\n")).collect();
    format!("listeners:\n{items}{more}\n")
}

fn reload(mesh: &TestMesh, yaml: &str) -> Result<Changes, Error> {
    let config = Config::from_yaml(yaml, "test.yaml", std::iter::empty()).unwrap();
    mesh.block_on(mesh.mesh.reload(config))
}

fn local(name: &str, url: &str) -> String {
    format!("  - {{name: {name}, match: {{url: \"{url}\"}}}}\n")
}

fn describe(rtsp: &mut Rtsp, url: &str) -> common::Answer {
    rtsp.ask("DESCRIBE", url, &[("Accept", "application/sdp")], b"")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come about in 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn routes_are_those_of_the_new_configuration_and_what_they_let_in_goes_on() {
    let test = first(reader_port());
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &format!("workers: 2\nroutes:\n{}", local("a", "/a"))));
    let applied = || mesh.counter("msm_config_last_applied_timestamp_seconds");
    assert!(applied() > 1e9, "the one of the start is in force");
    let publisher = Publisher::start(&mesh, "a");
    let (reader, mut tcp) = (Reader::start(&mesh, "a"), TcpReader::start(&mesh, "a"));
    let mut asks = mesh.connect();
    assert_eq!(describe(&mut asks, &mesh.url("b")).status, 404);
    let both = format!("workers: 2\nroutes:\n{}{}", local("a", "/a"), local("b", "/b"));
    let changes = reload(&mesh, &yaml(&[&test], &both)).unwrap();
    assert_eq!((changes.routes.added, changes.ended), (vec!["b".to_owned()], 0));
    let _other = Publisher::start(&mesh, "b");
    assert_eq!(describe(&mut asks, &mesh.url("b")).status, 200, "by a connection of before");
    // The same again is no change.
    let changes = reload(&mesh, &yaml(&[&test], &both)).unwrap();
    assert!(changes.is_empty(), "{changes}");
    let sent = keyframe(1, 0, 7, 300);
    publisher.send(&sent);
    assert!(reader.recv()[12..] == sent[12..] && tcp.recv()[12..] == sent[12..]);
    for (result, count) in [("applied", 1.0), ("unchanged", 1.0), ("refused", 0.0)] {
        let name = format!("msm_config_reloads_total{{result=\"{result}\"}}");
        assert_eq!(mesh.counter(&name).round(), count, "{result}");
    }
    assert!(applied() > 1e9);
}

#[test]
fn sessions_that_the_new_routes_would_not_let_in_end() {
    let test = first(reader_port());
    let routes = |denied: bool| {
        let allow = if denied { ", allow: [\"spiffe://here.example/*\"]" } else { "" };
        let read = format!("  - {{name: read, match: {{url: \"/a\", actions: [read]}}{allow}}}\n");
        format!("workers: 2\nroutes:\n{read}{}", local("all", "/{path...}"))
    };
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &routes(false)));
    let publisher = Publisher::start(&mesh, "a");
    let (mut reader, mut tcp) = (Reader::start(&mesh, "a"), TcpReader::start(&mesh, "a"));
    let _other = Publisher::start(&mesh, "b");
    let other = Reader::start(&mesh, "b");
    let waiting = Reader::set_up(&mesh, "a");
    let changes = reload(&mesh, &yaml(&[&test], &routes(true))).unwrap();
    assert_eq!((changes.routes.changed.len(), changes.ended), (1, 3), "{changes}");
    assert!(reader.rtsp.is_closed() && tcp.rtsp.is_closed());
    mesh.wait_value("msm_sessions ", 3.0);
    drop((waiting, other));
    // Its publisher is let in as before.
    publisher.send(&keyframe(1, 0, 7, 300));
    assert_eq!(describe(&mut mesh.connect(), &mesh.url("a")).status, 403);
    // A route that is not there any more lets nobody in.
    reload(&mesh, &yaml(&[&test], &format!("workers: 2\nroutes:\n{}", local("b", "/b")))).unwrap();
    mesh.wait_value("msm_sessions ", 2.0);
}

#[test]
fn a_publisher_whose_stream_would_go_elsewhere_has_to_come_again() {
    let test = first(reader_port());
    let routes = |rewrite: &str| {
        format!("routes:\n  - {{name: a, match: {{url: \"/a\"}}{rewrite}}}\n{}", local("c", "/c"))
    };
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &routes("")));
    let mut publisher = TcpPublisher::start(&mesh, "a");
    let _stays = TcpPublisher::start(&mesh, "c");
    let changes = reload(&mesh, &yaml(&[&test], &routes(", rewrite: /b"))).unwrap();
    assert_eq!(changes.ended, 1);
    assert!(publisher.rtsp.is_closed());
    let mut publisher = TcpPublisher::start(&mesh, "a");
    let mut reader = TcpReader::start(&mesh, "a");
    publisher.send(&keyframe(1, 0, 7, 300));
    reader.recv();
}

#[test]
fn a_configuration_that_cannot_be_had_changes_nothing() {
    let (test, taken) = (first(reader_port()), TcpListener::bind("127.0.0.1:0").unwrap());
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &format!("workers: 2\nroutes:\n{}", local("a", "/a"))));
    let port = taken.local_addr().unwrap().port();
    let open = free_port();
    let listener = |name: &str, port| {
        format!("{{name: {name}, address: \"127.0.0.1:{port}\", ports: {}}}", reader_port())
    };
    let (good, bad) = (listener("good", open), listener("bad", port));
    let more = format!("workers: 2\nroutes:\n{}limits: {{readers: 7}}", local("b", "/b"));
    for _ in 0..2 {
        let error = reload(&mesh, &yaml(&[&test, &good, &bad], &more)).unwrap_err().to_string();
        assert!(error.contains("listener `bad`: address 127.0.0.1"), "{error}");
    }
    assert!(TcpStream::connect(("127.0.0.1", open)).is_err(), "what could be had is let go again");
    let _publisher = Publisher::start(&mesh, "a");
    let status = mesh.block_on(mesh.mesh.status());
    assert_eq!(status.listeners.len(), 1);
    assert_eq!(status.configuration.refused.unwrap().problems.len(), 1);
    let count = "msm_config_reloads_total{result=\"refused\"}";
    assert_eq!(mesh.counter(count).round(), 1.0, "the same is told once");
    drop(taken);
    let changes = reload(&mesh, &yaml(&[&test, &good, &bad], &more)).unwrap();
    assert_eq!((changes.listeners.added.len(), changes.keys), (2, vec!["limits.readers".to_owned()]));
    assert!(mesh.block_on(mesh.mesh.status()).configuration.refused.is_none());
}

#[test]
fn listeners_come_and_go_and_change() {
    let (test, port) = (first(reader_port()), free_port());
    let more = "workers: 2\ndrain_timeout: 2s\nroutes:\n  - {name: all}\n";
    let mesh = TestMesh::from_yaml(&yaml(&[&test], more));
    let publisher = Publisher::start(&mesh, "a");
    let second = format!("{{name: second, address: \"127.0.0.1:{port}\", ports: {}}}", reader_port());
    let changes = reload(&mesh, &yaml(&[&test, &second], more)).unwrap();
    assert_eq!(changes.listeners.added, ["second"]);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let url = format!("rtsp://{address}/a");
    let mut tcp = TcpReader::over(Rtsp::connect(address), url.clone());
    let mut quits = TcpReader::over(Rtsp::connect(address), url.clone());
    let mut idle = Rtsp::connect(address);
    assert_eq!(idle.ask("OPTIONS", &url, &[], b"").status, 200);
    // It changes in place: who reads goes on, who comes has to log in.
    let users = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(users.path(), "u:r:939e7578ed9e3c518a452acee763bce9\n").unwrap();
    let closed = format!("{}, users: {:?}}}", second.trim_end_matches('}'), users.path());
    let changes = reload(&mesh, &yaml(&[&test, &closed], more)).unwrap();
    assert_eq!(changes.listeners.changed, ["second"]);
    assert_eq!(describe(&mut Rtsp::connect(address), &url).status, 401);
    publisher.send(&keyframe(1, 0, 7, 300));
    tcp.recv();
    // It goes: nobody new, and those who are there have their time.
    let changes = reload(&mesh, &yaml(&[&test], more)).unwrap();
    assert_eq!(changes.listeners.removed, ["second"]);
    let removed = Instant::now();
    let answer = describe(&mut idle, &url);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "2"));
    wait("the end of accepting", || TcpStream::connect(address).is_err());
    publisher.send(&keyframe(2, 3000, 7, 300));
    tcp.recv();
    let session = quits.session.clone();
    assert_eq!(quits.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
    assert!(tcp.rtsp.is_closed());
    assert!(removed.elapsed() > Duration::from_secs(1), "{:?}", removed.elapsed());
    mesh.wait_value("msm_sessions ", 1.0);
}

#[test]
fn clusters_that_stay_go_on_with_other_endpoints() {
    let (one, two) = (TestMesh::start(""), TestMesh::start(""));
    let test = first(reader_port());
    let more = |endpoint: SocketAddr, more: &str| {
        format!(
            "workers: 2\nroutes:\n  - {{name: all, backends: [{{cluster: back}}]}}\n\
             clusters:\n  back: {{endpoints: [\"rtsp://{endpoint}\"]{more}}}\n"
        )
    };
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &more(one.address, "")));
    let first_publisher = Publisher::start(&one, "a");
    let _second_publisher = Publisher::start(&two, "b");
    let mut tcp = TcpReader::start(&mesh, "a");
    let changes = reload(&mesh, &yaml(&[&test], &more(one.address, ", timeouts: {response: 3s}"))).unwrap();
    assert_eq!((changes.clusters.changed.len(), changes.endpoints.is_empty()), (1, true), "{changes}");
    first_publisher.send(&keyframe(1, 0, 7, 300));
    tcp.recv();
    assert_eq!(describe(&mut mesh.connect(), &mesh.url("b")).status, 404);
    let changes = reload(&mesh, &yaml(&[&test], &more(two.address, ""))).unwrap();
    assert_eq!(changes.endpoints.added, [format!("back/rtsp://{}", two.address)]);
    assert_eq!(changes.endpoints.removed, [format!("back/rtsp://{}", one.address)]);
    TcpReader::start(&mesh, "b");
}

#[test]
fn a_process_that_is_said_to_be_elsewhere_prefers_what_is_near_there() {
    let (one, two) = (TestMesh::start(""), TestMesh::start(""));
    let _publishers: Vec<_> = [(&one, "a"), (&one, "b"), (&two, "a"), (&two, "b")]
        .map(|(mesh, path)| Publisher::start(mesh, path))
        .into();
    let test = first(reader_port());
    let more = |zone: &str| {
        format!(
            "zone: {zone}\nroutes:\n  - {{name: all, backends: [{{cluster: back}}]}}\n\
             clusters:\n  back: {{endpoints: [{{url: \"rtsp://{}\", zone: x}}, {{url: \"rtsp://{}\", zone: y}}]}}\n",
            one.address, two.address
        )
    };
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &more("x")));
    let _here = TcpReader::start(&mesh, "a");
    one.wait_value("msm_sessions ", 3.0);
    two.wait_value("msm_sessions ", 2.0);
    let changes = reload(&mesh, &yaml(&[&test], &more("y"))).unwrap();
    assert_eq!((changes.keys, changes.clusters.is_empty()), (vec!["zone".to_owned()], true));
    let _there = TcpReader::start(&mesh, "b");
    two.wait_value("msm_sessions ", 3.0);
    one.wait_value("msm_sessions ", 3.0);
}

#[test]
fn what_takes_a_restart_is_named_and_left_as_it_was() {
    let (test, mesh_port) = (first(reader_port()), free_port());
    let routes = "routes:\n  - {name: all}\n";
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &format!("workers: 2\n{routes}")));
    let member = format!("{{name: m, protocol: mesh, address: \"127.0.0.1:{mesh_port}\"}}");
    let more = format!(
        "workers: 1\nreal_time: true\n{routes}admin: {{metrics: \"127.0.0.1:1\"}}\nlog: {{format: json, level: warn}}\ndrain_timeout: 3s\n\
         identity: {{ephemeral: {{trust_domain: d.example, path: /a}}}}\n"
    );
    let restart =
        ["log.format", "admin.metrics", "workers", "real_time", "identity", "listeners (protocol: mesh)"];
    for keys in [vec!["log.level", "drain_timeout"], Vec::new()] {
        let changes = reload(&mesh, &yaml(&[&test, &member], &more)).unwrap();
        assert_eq!(
            (changes.keys, changes.restart),
            (keys.iter().map(|key| (*key).into()).collect(), restart.map(str::to_owned).to_vec())
        );
    }
    let status = mesh.block_on(mesh.mesh.status());
    assert_eq!((status.workers, status.real_time, status.listeners.len()), (2, false, 1));
    assert_eq!(status.configuration.restart, restart);
    let error = reload(
        &mesh,
        &yaml(
            &[&test],
            &format!(
                "workers: 2\n{routes}clusters: {{c: {{endpoints: [\"rtsps://h\"], hop: mesh, peers: [\"spiffe://x/*\"]}}}}"
            ),
        ),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("clusters.c.hop: ") && error.ends_with("restart it"), "{error}");
}

#[test]
fn limits_are_those_of_the_new_configuration() {
    let test = first(reader_port());
    let more = |readers: u32| format!("routes:\n  - {{name: all}}\nlimits: {{readers: {readers}}}");
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &more(1)));
    let _publisher = Publisher::start(&mesh, "a");
    let _one = TcpReader::start(&mesh, "a");
    let track = format!("{}/trackID=0", mesh.url("a"));
    let ask =
        || mesh.connect().ask("SETUP", &track, &[("Transport", "RTP/AVP/TCP;interleaved=0-1")], b"").status;
    assert_eq!(ask(), 503);
    reload(&mesh, &yaml(&[&test], &more(2))).unwrap();
    let _two = TcpReader::start(&mesh, "a");
    assert_eq!(ask(), 503);
}

#[test]
fn standing_streams_come_and_go() {
    let back = TestMesh::start("");
    let _publishers = [Publisher::start(&back, "a"), Publisher::start(&back, "b")];
    let test = first(reader_port());
    let more = |path: &str| {
        format!(
            "routes:\n  - {{name: {path}, match: {{url: \"/{path}\"}}, backends: [{{cluster: back}}], idle_timeout: 200ms}}\n\
             clusters:\n  back: {{endpoints: [\"rtsp://{}\"], start: always}}\n",
            back.address
        )
    };
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &more("a")));
    let names = || -> Vec<String> {
        mesh.block_on(mesh.mesh.status()).streams.into_iter().map(|stream| stream.name).collect()
    };
    wait("the first stream", || names().iter().any(|name| name.ends_with("/a")));
    reload(&mesh, &yaml(&[&test], &more("b"))).unwrap();
    wait("the second stream alone", || names().len() == 1 && names()[0].ends_with("/b"));
}

#[test]
fn labels_of_routes_that_are_gone_are_gone() {
    let test = first(reader_port());
    let more = |name: &str| format!("routes:\n  - {{name: {name}, match: {{url: \"/{name}\"}}}}\n");
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &more("r0")));
    for number in 0..5 {
        let (now, next) = (format!("r{number}"), format!("r{}", number + 1));
        let mut publisher = TcpPublisher::start(&mesh, &now);
        assert!(mesh.metrics().contains(&format!("route=\"{now}\"")));
        let (url, session) = (mesh.url(&now), publisher.session.clone());
        assert_eq!(publisher.rtsp.ask("TEARDOWN", &url, &[("Session", &session)], b"").status, 200);
        mesh.wait_value("msm_streams ", 0.0);
        reload(&mesh, &yaml(&[&test], &more(&next))).unwrap();
    }
    let left = mesh.metrics();
    let left: Vec<_> = left.lines().filter(|line| line.contains("route=\"r")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn labels_of_clusters_that_are_gone_are_gone() {
    let test = first(reader_port());
    let closed = free_port();
    let more = |name: &str| {
        format!(
            "routes:\n  - {{name: all, match: {{url: \"/{{p...}}\"}}, backends: [{{cluster: {name}}}]}}\n\
             clusters:\n  {name}: {{endpoints: [\"rtsp://127.0.0.1:{closed}\"], health: {{active: {{check: tcp, interval: 100ms, timeout: 100ms}}}}}}\n"
        )
    };
    let mesh = TestMesh::from_yaml(&yaml(&[&test], &more("c0")));
    for number in 0..3 {
        mesh.wait_counter(&format!("msm_health_checks_total{{cluster=\"c{number}\""), 1.0);
        reload(&mesh, &yaml(&[&test], &more(&format!("c{}", number + 1)))).unwrap();
    }
    // What was under way is told of late, and forgotten with the next change.
    wait("its last check", || mesh.counter("msm_health_checks_total{cluster=\"c3\"") >= 1.0);
    reload(&mesh, &yaml(&[&test], &more("c4"))).unwrap();
    let left = mesh.metrics();
    let left: Vec<_> = left
        .lines()
        .filter(|line| (0..3).any(|gone| line.contains(&format!("cluster=\"c{gone}\""))))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn reloads_ten_times_a_second_lose_no_packet() {
    let (test, port) = (first(reader_port()), free_port());
    let mesh = TestMesh::from_yaml(&yaml(&[&test], "workers: 2\nroutes:\n  - {name: all}\n"));
    let publisher = Publisher::start(&mesh, "a");
    let mut by_tcp = TcpPublisher::start(&mesh, "b");
    let udp = [Reader::start(&mesh, "a"), Reader::start(&mesh, "b")];
    let mut tcp = [TcpReader::start(&mesh, "a"), TcpReader::start(&mesh, "b")];
    let second = format!("{{name: second, address: \"127.0.0.1:{port}\", ports: {}}}", reader_port());
    let handle = mesh.mesh.clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    let (mut lines, mut applied) = ([Line::default(), Line::default(), Line::default(), Line::default()], 0);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut turn = 0_u32;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                turn += 1;
                let more: String = (0..turn % 5)
                    .map(|number| local(&format!("r{number}"), &format!("/r{number}")))
                    .collect();
                let more = format!(
                    "workers: 2\nroutes:\n{more}  - {{name: all}}\nlimits: {{streams: {}}}\n",
                    100 + turn
                );
                let items: &[&str] = if turn.is_multiple_of(2) { &[&test] } else { &[&test, &second] };
                let config = Config::from_yaml(&yaml(items, &more), "test.yaml", std::iter::empty()).unwrap();
                let changes = runtime.block_on(handle.reload(config)).unwrap();
                assert!(changes.ended == 0 && !changes.is_empty(), "{changes}");
                std::thread::sleep(Duration::from_millis(100));
            }
            turn
        });
        for number in 0..1500_u16 {
            let sent = keyframe(number, u32::from(number) * 180, 7, 900);
            publisher.send(&sent);
            by_tcp.send(&sent);
            for (reader, line) in udp.iter().zip(&mut lines) {
                line.check(&reader.recv(), &sent);
            }
            for (reader, line) in tcp.iter_mut().zip(&mut lines[2..]) {
                line.check(&reader.recv(), &sent);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        applied = reloading.join().unwrap();
    });
    assert!(applied >= 25, "{applied}");
    // Nobody had to come again: these are the sessions of the beginning.
    assert_eq!(mesh.counter("msm_sessions ").round(), 6.0);
    assert_eq!(mesh.counter("method=\"SETUP\",status=\"200\"").round(), 6.0);
}
