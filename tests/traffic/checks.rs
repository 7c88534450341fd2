//! Endpoints that are asked whether they are well.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use msm::EndpointStatus;

use crate::common::member::Ca;
use crate::common::pair::{far, near_on};
use crate::common::server::{Asked, Server};
use crate::common::{self, Publisher, TestMesh, VIDEO, keyframe};

/// Asks often, and waits as long as a slow machine needs.
const ACTIVE: &str = "interval: 100ms, timeout: 1s, unhealthy_after: 2, healthy_after: 1";

/// A mesh with the cluster `back` of these endpoints, which are asked for `check`.
fn asking(endpoints: &[String], check: &str, more: &str) -> TestMesh {
    let endpoints: Vec<_> = endpoints.iter().map(|url| format!("\"{url}\"")).collect();
    TestMesh::start(&format!(
        "workers: 2\nroutes: [{{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}]\n\
         clusters:\n  back: {{endpoints: [{}], health: {{active: {{check: {check}, {ACTIVE}}}}}{more}}}\n",
        endpoints.join(", ")
    ))
}

fn url(server: &Server) -> String {
    format!("rtsp://{}", server.address)
}

fn endpoints(mesh: &TestMesh) -> Vec<EndpointStatus> {
    mesh.block_on(mesh.mesh.status()).endpoints
}

/// Waits until an endpoint's health, and what its last check found, are these.
fn wait_health(mesh: &TestMesh, index: usize, health: &str, found: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let endpoint = endpoints(mesh).remove(index);
        if endpoint.health == health && endpoint.last_check.as_deref() == Some(found) {
            return;
        }
        assert!(Instant::now() < deadline, "wanted {health} by {found}: {endpoint:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server of one H.264 stream over TCP.
fn serve(asked: &Asked) -> (u16, String, String) {
    let session = format!("Session: s{};timeout=60\r\n", asked.connection);
    match asked.method.as_str() {
        "OPTIONS" => (200, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".into(), String::new()),
        "DESCRIBE" => (200, "Content-Type: application/sdp\r\n".into(), VIDEO.into()),
        "SETUP" if asked.header("transport").is_some_and(|transport| transport.contains("TCP")) => {
            (200, format!("{session}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"), String::new())
        }
        "SETUP" => (461, String::new(), String::new()),
        _ => (200, session, String::new()),
    }
}

/// Somebody who sends all the time.
struct Flow {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Flow {
    fn start(mut send: impl FnMut(u16) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if own.load(Ordering::SeqCst) {
                    return;
                }
                send(number);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { over, thread }
    }

    /// Ends it; what it sent by is gone, too.
    fn stop(self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

#[test]
fn tcp_asks_for_a_connection_alone() {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mesh =
        asking(&[format!("rtsp://{}", open.local_addr().unwrap()), format!("rtsp://{closed}")], "tcp", "");
    wait_health(&mesh, 0, "healthy", "good");
    wait_health(&mesh, 1, "unhealthy", "no connection");
    assert!(mesh.counter("msm_health_checks_total{cluster=\"back\",result=\"unreachable\"}") >= 1.0);
    assert_eq!(mesh.counter("msm_endpoints{cluster=\"back\",state=\"unhealthy\"}"), 1.0);
    assert_eq!(
        mesh.counter(&format!("msm_endpoint_health{{cluster=\"back\",endpoint=\"rtsp://{closed}\"}}")),
        0.0
    );
    // Somebody listens there again.
    let _back = TcpListener::bind(closed).unwrap();
    wait_health(&mesh, 1, "healthy", "good");
}

#[test]
fn options_wants_an_answer_and_no_error_of_the_servers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let private = Server::start(|_| (401, "WWW-Authenticate: Basic realm=\"x\"\r\n".into(), String::new()));
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let other = Server::start(move |asked| match is_broken.load(Ordering::SeqCst) {
        true => (503, String::new(), String::new()),
        false => serve(asked),
    });
    let mesh = asking(
        &[format!("rtsp://{}", silent.local_addr().unwrap()), url(&private), url(&other)],
        "options",
        "",
    );
    wait_health(&mesh, 0, "unhealthy", "no answer in time");
    wait_health(&mesh, 1, "healthy", "good");
    wait_health(&mesh, 2, "unhealthy", "answered 503");
    broken.store(false, Ordering::SeqCst);
    wait_health(&mesh, 2, "healthy", "good");
    assert!(other.open.load(Ordering::SeqCst) <= 1, "a connection for each check, and no more");
    let start = Instant::now();
    drop(mesh);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let deadline = Instant::now() + Duration::from_secs(5);
    while private.open.load(Ordering::SeqCst) + other.open.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "connections are left behind");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sessions_go_to_endpoints_whose_checks_succeed() {
    let ill = Server::start(|_| (500, String::new(), String::new()));
    let well = Server::start(serve);
    let mesh = asking(&[url(&ill), url(&well)], "options", "");
    wait_health(&mesh, 0, "unhealthy", "answered 500");
    wait_health(&mesh, 1, "healthy", "good");
    for number in 0..4 {
        let path = format!("s{number}");
        assert_eq!(mesh.connect().ask("DESCRIBE", &mesh.url(&path), &[], b"").status, 200);
    }
    assert_eq!(ill.asked("DESCRIBE").len(), 0);
    assert_eq!(well.asked("DESCRIBE").len(), 4);
}

#[test]
fn describe_wants_the_stream_that_is_named() {
    let well = Server::start(|asked| match asked.uri.ends_with("/probe") {
        true => serve(asked),
        false => (404, String::new(), String::new()),
    });
    let empty = Server::start(|asked| match asked.method.as_str() {
        "OPTIONS" => serve(asked),
        _ => (404, String::new(), String::new()),
    });
    let garbage = Server::start(|asked| match asked.method.as_str() {
        "DESCRIBE" => (200, "Content-Type: application/sdp\r\n".into(), "no sdp".into()),
        _ => serve(asked),
    });
    let mesh = asking(&[url(&well), url(&empty), url(&garbage)], "describe, path: /probe", "");
    wait_health(&mesh, 0, "healthy", "good");
    wait_health(&mesh, 1, "unhealthy", "answered 404");
    wait_health(&mesh, 2, "unhealthy", "what it answered is not RTSP");
}

#[test]
fn rtp_wants_media_of_now_and_leaves_its_session() {
    let (well, mute, noisy, kept) = (
        Arc::new(Server::start(serve)),
        Server::start(serve),
        Arc::new(Server::start(serve)),
        Arc::new(Server::start(serve)),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (media, garbage, cache) = (Arc::clone(&well), Arc::clone(&noisy), Arc::clone(&kept));
    let flowing = std::thread::spawn(move || {
        for number in 0u16.. {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            let packet = keyframe(number, u32::from(number) * 1800, 7, 100);
            let mut unknown = packet.clone();
            unknown[1] = 0x80 | 77;
            for (server, packet) in [(&media, &packet), (&garbage, &unknown)] {
                if let Some(play) = server.asked("PLAY").last() {
                    server.try_frame(play.connection, 0, packet);
                }
            }
            // A second of what was kept is behind each answer to PLAY, and nothing after it.
            if number % 5 == 0 {
                (0..25u16).for_each(|kept| {
                    cache.frame_with_play(0, &keyframe(kept, u32::from(kept) * 3600, 7, 100));
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let servers = [url(&well), url(&mute), url(&noisy), url(&kept)];
    let mesh = asking(&servers, "rtp, path: /probe", ", transport: tcp");
    wait_health(&mesh, 0, "healthy", "good");
    for silent in 1..4 {
        wait_health(&mesh, silent, "unhealthy", "no media of now came");
    }
    stop.store(true, Ordering::SeqCst);
    flowing.join().unwrap();
    for server in [&*well, &mute, &*noisy, &*kept] {
        let left = server.wait("TEARDOWN", 1);
        assert_eq!(left.connection, server.wait("PLAY", 1).connection);
    }
    assert!(mesh.counter("msm_health_checks_total{cluster=\"back\",result=\"silent\"}") >= 3.0);
    assert_eq!(mesh.counter("msm_streams "), 0.0, "a check is no stream");
}

#[test]
fn a_check_goes_where_a_session_would_be_sent_and_nowhere_else() {
    let well = Server::start(serve);
    let away = |to: String| {
        move |asked: &Asked| match asked.method.as_str() {
            "DESCRIBE" => (302, format!("Location: {to}\r\n"), String::new()),
            _ => serve(asked),
        }
    };
    let to_well = Server::start(away(format!("{}/other", url(&well))));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let to_other = Server::start(away(format!("rtsp://{}/probe", other.local_addr().unwrap())));
    let mesh = asking(&[url(&well), url(&to_well), url(&to_other)], "describe, path: /probe", "");
    wait_health(&mesh, 0, "healthy", "good");
    wait_health(&mesh, 1, "healthy", "good");
    wait_health(&mesh, 2, "unhealthy", "answered 302");
    assert!(other.accept().is_err(), "who is no endpoint of the cluster was connected to");
    assert!(well.asked("DESCRIBE").iter().all(|asked| asked.uri.ends_with("/probe")));
}

#[test]
fn rtp_over_udp_follows_the_media() {
    let back = TestMesh::start("");
    let publisher = Publisher::start(&back, "probe");
    let stop = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicU16::new(0));
    let flow = |publisher: Publisher| {
        let (stop, number) = (Arc::clone(&stop), Arc::clone(&number));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let number = number.fetch_add(1, Ordering::SeqCst);
                publisher.send(&keyframe(number, u32::from(number) * 900, 7, 200));
                std::thread::sleep(Duration::from_millis(10));
            }
            publisher
        })
    };
    let flowing = flow(publisher);
    let mesh = asking(&[format!("rtsp://{}", back.address)], "rtp, path: /probe", ", transport: udp");
    wait_health(&mesh, 0, "healthy", "good");
    stop.store(true, Ordering::SeqCst);
    let publisher = flowing.join().unwrap();
    // Whoever published takes the stream along.
    drop(publisher);
    wait_health(&mesh, 0, "unhealthy", "answered 404");
}

#[test]
fn endpoints_that_leave_are_asked_no_more() {
    let (stays, leaves) = (Server::start(serve), Server::start(serve));
    let dir = tempfile::tempdir().unwrap();
    let put = |servers: &[&Server]| {
        let targets: Vec<_> = servers.iter().map(|server| format!("\"{}\"", server.address)).collect();
        std::fs::write(dir.path().join("new"), format!("[{{\"targets\": [{}]}}]", targets.join(", ")))
            .unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join("targets.json")).unwrap();
    };
    put(&[&stays, &leaves]);
    let mesh = TestMesh::start(&format!(
        "routes: [{{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}]\n\
         clusters:\n  back: {{files: [\"{}/targets.json\"], health: {{active: {{check: options, {ACTIVE}}}}}}}\n",
        dir.path().display()
    ));
    leaves.wait("OPTIONS", 2);
    put(&[&stays]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while endpoints(&mesh).len() > 1 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    let asked = leaves.asked("OPTIONS").len();
    stays.wait("OPTIONS", stays.asked("OPTIONS").len() + 5);
    assert_eq!(leaves.asked("OPTIONS").len(), asked);
    assert_eq!(leaves.open.load(Ordering::SeqCst), 0);
}

#[test]
fn members_are_asked_as_members() {
    let ca = Ca::new("test.example");
    let (far_mesh, hop) = far(&ca.member("/far"), "");
    let publisher = far_mesh.block_on(far_mesh.mesh.publish(&far_mesh.url("probe"), VIDEO)).unwrap();
    let flow = Flow::start(move |number| {
        publisher.send(0, keyframe(number, u32::from(number) * 3000, 7, 200)).unwrap();
    });
    for check in ["options", "describe, path: /probe", "rtp, path: /probe"] {
        let active = format!("\n    health: {{active: {{check: {check}, {ACTIVE}}}}}");
        let near = near_on(&ca.member("/near"), hop, 2, &active);
        wait_health(&near, 0, "healthy", "good");
        // Whoever may not serve is not well, whatever it answers.
        let (_other, elsewhere) = far(&ca.member("/other"), "");
        let stranger = near_on(&ca.member("/near"), elsewhere, 2, &active);
        wait_health(&stranger, 0, "unhealthy", "what it answered is not RTSP");
        assert_eq!(near.counter("msm_streams "), 0.0);
    }
    far_mesh.wait_value("msm_sessions ", 0.0);
    flow.stop();
}

#[test]
fn a_check_that_runs_out_of_time_leaves_no_session_behind() {
    let ca = Ca::new("test.example");
    let (far_mesh, hop) = far(&ca.member("/far"), "");
    let _publisher = far_mesh.block_on(far_mesh.mesh.publish(&far_mesh.url("probe"), VIDEO)).unwrap();
    // Some are given up between SETUP and its answer; none brings media.
    let active = "\n    health: {active: {check: rtp, path: /probe, interval: 100ms, timeout: 4ms}}";
    let near = near_on(&ca.member("/near"), hop, 2, active);
    let (mut most, deadline) = (0.0_f64, Instant::now() + Duration::from_secs(4));
    while Instant::now() < deadline {
        most = most.max(far_mesh.counter("msm_sessions "));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(most <= 8.0, "{most} sessions");
    drop(near);
}

#[test]
fn what_a_member_has_kept_does_not_say_that_media_flows() {
    let ca = Ca::new("test.example");
    let (far_mesh, hop) = far(&ca.member("/far"), "");
    let publisher = far_mesh.block_on(far_mesh.mesh.publish(&far_mesh.url("probe"), VIDEO)).unwrap();
    // A keyframe, and nothing since.
    publisher.send(0, keyframe(1, 3000, 7, 200)).unwrap();
    let active = format!("\n    health: {{active: {{check: rtp, path: /probe, {ACTIVE}}}}}");
    let near = near_on(&ca.member("/near"), hop, 2, &active);
    wait_health(&near, 0, "unhealthy", "no media of now came");
    // A reader gets what was kept, and the endpoint is in use as there is no other.
    let mut reader = near.block_on(near.mesh.open(&near.url("probe"))).unwrap();
    let kept = near.block_on(async { tokio::time::timeout(Duration::from_secs(10), reader.next()).await });
    assert!(kept.expect("it was kept").unwrap().is_some());
    let flow = Flow::start(move |number| {
        let number = number + 2;
        publisher.send(0, keyframe(number, u32::from(number) * 3000, 7, 200)).unwrap();
    });
    wait_health(&near, 0, "healthy", "good");
    flow.stop();
}

#[test]
fn what_sessions_bring_is_known_of_their_endpoint() {
    let back = TestMesh::start("");
    let publisher = Publisher::start(&back, "live");
    let mesh = TestMesh::start(&format!(
        "routes: [{{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}], idle_timeout: 500ms}}]\n\
         clusters:\n  back: {{endpoints: [\"rtsp://{}\"]}}\n",
        back.address
    ));
    let reader = common::TcpReader::start(&mesh, "live");
    let flow = Flow::start(move |number| {
        publisher.send(&keyframe(number, u32::from(number) * 3000, 7, 1000));
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    let wait = |wanted: fn(&EndpointStatus) -> bool| {
        while !wanted(&endpoints(&mesh)[0]) {
            assert!(Instant::now() < deadline, "{:?}", endpoints(&mesh));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // A hundred packets of 1000 bytes a second are 800 kbit/s; a busy machine sends fewer.
    wait(|endpoint| endpoint.sessions == 1 && (50_000..1_000_000).contains(&endpoint.bitrate));
    drop(reader);
    wait(|endpoint| endpoint.sessions == 0 && endpoint.bitrate == 0);
    flow.stop();
}
