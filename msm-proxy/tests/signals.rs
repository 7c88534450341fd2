//! The process: its file changes, and signals come.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Process, SDP, free, get, pair, wait};

/// A running proxy; killed when dropped.
struct Proxy {
    process: Process,
    rtsp: SocketAddr,
    admin: SocketAddr,
    /// The first lines of its configuration, which stay.
    head: String,
}

impl Proxy {
    /// Starts with `more` configuration, which `place` writes to where the returned path leads.
    fn start(more: &str, place: impl FnOnce(&str) -> std::path::PathBuf) -> Self {
        let (rtsp, admin) = (free(), free());
        let head = format!(
            "listeners: [{{address: \"{rtsp}\", ports: {}}}]\nadmin: {{address: \"{admin}\", metrics: off, ready: off}}\n",
            pair()
        );
        let process = Process::start(&place(&format!("{head}{more}")));
        let proxy = Self { process, rtsp, admin, head };
        wait("ready", || (proxy.get("/ready").0 == 200).then_some(()));
        proxy
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }

    fn configuration(&self) -> serde_json::Value {
        let status: serde_json::Value = serde_json::from_str(&self.get("/status").1).unwrap();
        status.get("configuration").cloned().unwrap_or_default()
    }

    fn reloads(&self, result: &str) -> u32 {
        let metrics = self.get("/metrics").1;
        let name = format!("msm_config_reloads_total{{result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    }

    fn log(&self) -> String {
        self.process.log()
    }

    fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.rtsp)
    }
}

/// An RTSP connection by hand.
struct Rtsp(BufReader<TcpStream>, u32);

impl Rtsp {
    fn connect(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.rtsp).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(BufReader::new(stream), 0)
    }

    /// Status and headers; frames before the answer are passed over.
    fn ask(&mut self, method: &str, url: &str, headers: &str, body: &str) -> (u16, String) {
        self.1 += 1;
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{headers}{length}\r\n{body}", self.1);
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        while self.0.fill_buf().unwrap().first() == Some(&b'$') {
            let mut head = [0; 4];
            self.0.read_exact(&mut head).unwrap();
            let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
            self.0.read_exact(&mut packet).unwrap();
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "the connection ended");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        self.0.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
    }

    /// Publishes at `path`, in this connection.
    fn publish(&mut self, proxy: &Proxy, path: &str) -> u16 {
        let url = proxy.url(path);
        let (status, _) = self.ask("ANNOUNCE", &url, "Content-Type: application/sdp\r\n", SDP);
        if status != 200 {
            return status;
        }
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
        let (status, head) = self.ask("SETUP", &format!("{url}/trackID=0"), transport, "");
        assert_eq!(status, 200);
        let session = head.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap();
        let session = format!("Session: {}\r\n", session.split(';').next().unwrap());
        self.ask("RECORD", &url, &session, "").0
    }

    fn is_closed(&mut self) -> bool {
        std::io::copy(&mut self.0, &mut std::io::sink()).is_ok()
    }
}

fn route(name: &str) -> String {
    format!("routes: [{{name: {name}, match: {{url: /{name}}}}}]\n")
}

fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

#[test]
fn a_changed_file_is_followed_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("msm.yaml");
    let proxy = Proxy::start(&route("a"), |text| {
        fs::write(&file, text).unwrap();
        file.clone()
    });
    let mut publisher = Rtsp::connect(&proxy);
    assert_eq!(publisher.publish(&proxy, "a"), 200);
    assert_eq!(proxy.configuration()["file"], file.display().to_string());
    let both = "routes: [{name: a, match: {url: /a}}, {name: b, match: {url: /b}}]\nlog: {level: debug}\n";
    replace(&file, &format!("{}{both}", proxy.head));
    wait("the change", || (proxy.reloads("applied") == 1).then_some(()));
    assert_eq!(Rtsp::connect(&proxy).publish(&proxy, "b"), 200);
    // What is in force is logged a moment later.
    proxy.process.wait_for("configuration applied changes=routes added: b; keys: log.level");
    wait("lines of the new level", || {
        Rtsp::connect(&proxy).publish(&proxy, "b");
        proxy.log().contains("DEBUG").then_some(())
    });
    // Wrong in two places: both are told, once, and nothing is changed.
    replace(&file, &format!("{}{}limits: {{readers: none, streams: 0}}\n", proxy.head, route("c")));
    let refused =
        wait("the refusal", || Some(proxy.configuration()["refused"].clone()).filter(|own| !own.is_null()));
    let problems: Vec<_> =
        refused["problems"].as_array().unwrap().iter().map(|own| own.as_str().unwrap()).collect();
    let place = format!("{}:4: limits.", file.display());
    assert!(problems.len() == 2 && problems.iter().all(|own| own.starts_with(&place)), "{problems:?}");
    proxy.signal("HUP");
    wait("the answer to the signal", || {
        proxy.log().contains("configuration refused; `msm-proxy status`").then_some(())
    });
    for problem in problems {
        assert_eq!(proxy.log().matches(problem).count(), 1, "{}", proxy.log());
    }
    assert_eq!((proxy.reloads("refused"), proxy.reloads("applied")), (1, 1));
    assert_eq!(Rtsp::connect(&proxy).publish(&proxy, "c"), 404);
    // By the signal at once.
    replace(&file, &format!("{}{}", proxy.head, both.replace("b, match: {url: /b}", "c, match: {url: /c}")));
    proxy.signal("HUP");
    wait("the change", || (proxy.reloads("applied") == 2).then_some(()));
    assert!(proxy.configuration()["refused"].is_null());
    // Who was there from the beginning is there.
    assert_eq!(publisher.ask("OPTIONS", &proxy.url("a"), "", "").0, 200);
    assert!(!publisher.0.buffer().contains(&b'R'));
}

#[test]
fn a_swapped_volume_and_a_changed_password_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let auth = "clusters: {c: {endpoints: ['rtsp://127.0.0.1:1'], auth: {user: u, password_file: secret}}}\n";
    let write = |version: &str, text: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("msm.yaml"), text).unwrap();
        fs::write(at(version).join("secret"), "one\n").unwrap();
    };
    let proxy = Proxy::start(&format!("{}{auth}", route("a")), |text| {
        // As Kubernetes mounts a ConfigMap.
        write("..one", text);
        symlink("..one", at("..data")).unwrap();
        symlink("..data/msm.yaml", at("msm.yaml")).unwrap();
        symlink("..data/secret", at("secret")).unwrap();
        at("msm.yaml")
    });
    write("..two", &format!("{}{}{auth}", proxy.head, route("b")));
    symlink("..two", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    wait("the change", || (proxy.reloads("applied") == 1).then_some(()));
    assert_eq!(Rtsp::connect(&proxy).publish(&proxy, "b"), 200);
    replace(&at("..two").join("secret"), "another\n");
    wait("the change", || (proxy.reloads("applied") == 2).then_some(()));
    proxy.process.wait_for("changes=clusters changed: c");
}

#[test]
fn a_request_to_stop_drains() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("msm.yaml");
    let more = format!("{}drain_timeout: 4s\n", route("a"));
    let mut proxy = Proxy::start(&more, |text| {
        fs::write(&file, text).unwrap();
        file.clone()
    });
    let mut publisher = Rtsp::connect(&proxy);
    assert_eq!(publisher.publish(&proxy, "a"), 200);
    let asked = Instant::now();
    proxy.signal("TERM");
    wait("not ready", || (proxy.get("/ready").0 == 503).then_some(()));
    let (status, head) = wait("the drain", || {
        let (status, head) = Rtsp::connect(&proxy).ask("DESCRIBE", &proxy.url("b"), "", "");
        (status != 404).then_some((status, head))
    });
    assert!(status == 503 && head.contains("Retry-After: "), "{head}");
    assert_eq!(publisher.ask("OPTIONS", &proxy.url("a"), "", "").0, 200);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(publisher.is_closed());
    assert_eq!(proxy.process.code(), Some(0), "{}", proxy.log());
    assert!(asked.elapsed() >= Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn a_second_request_to_stop_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("msm.yaml");
    let more = format!("{}drain_delay: 1m\ndrain_timeout: 1m\n", route("a"));
    let mut proxy = Proxy::start(&more, |text| {
        fs::write(&file, text).unwrap();
        file.clone()
    });
    let mut publisher = Rtsp::connect(&proxy);
    proxy.signal("TERM");
    wait("not ready", || (proxy.get("/ready").0 == 503).then_some(()));
    assert_eq!(publisher.publish(&proxy, "a"), 200, "until drain_delay is over");
    proxy.signal("INT");
    assert_eq!(proxy.process.code(), Some(1), "{}", proxy.log());
}
