//! The binary, as a user calls it.
#![allow(clippy::expect_used)]

use assert_cmd::Command;
use msm_proxy::admin::{Admin, Later, Source};
use std::sync::Arc;

fn proxy() -> Command {
    let mut command = Command::cargo_bin("msm-proxy").expect("built");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MSM__")) {
        command.env_remove(name);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn check_accepts_the_example() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../msm.example.yaml");
    let output = proxy().args(["check", "--config", path]).assert().code(0).get_output().clone();
    let shown = text(&output.stdout);
    assert!(shown.starts_with("ok\nlistener  rtsp: [::]:8554 tcp, media on 8000/8001 udp\n"), "{shown}");
    let news = "route     news: read rtsp://*/news/{feed} -> encoders (weight 95), encoders-next (weight 5) as /live/{feed}\n";
    assert!(shown.contains(news), "{shown}");
    let moved = "moved: read/publish /archive/{path...} -> rtsp://archive.example.org/{path...}, by 302\n";
    assert!(shown.contains(moved), "{shown}");
    assert!(!shown.contains("change-me"), "{shown}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn check_says_where_media_and_endpoints_are() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("msm.yaml");
    let yaml = "identity: {ephemeral: {trust_domain: d, path: /a}}\n\
                listeners: [{name: mesh, address: '127.0.0.1:8050', protocol: mesh}]\n\
                routes: [{match: {url: '/{path...}'}, backends: [{cluster: named}, {cluster: listed}]}]\n\
                clusters: {named: {dns: {name: h.example}}, listed: {files: ['targets/*.json']}}\n";
    std::fs::write(&path, yaml).expect("write");
    let shown = text(&proxy().args(["check", "-c"]).arg(&path).assert().code(0).get_output().stdout);
    for line in [
        "listener  mesh: 127.0.0.1:8050 tcp, TLS, media on the same port, udp\n",
        "listed: those of /",
        "/targets/*.json\n",
        "named: what h.example stands for\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
}

#[test]
fn check_and_explain_say_what_becomes_of_who_is_no_member() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("msm.yaml");
    let yaml = "clusters: {far: {endpoints: ['rtsp://h:8050'], hop: mesh, fallback: rtsps, peers: ['spiffe://d/*']}}\n\
                routes: [{name: all, match: {url: '/{path...}'}, backends: [{cluster: far}]}]\n";
    std::fs::write(&path, yaml).expect("write");
    let shown = text(&proxy().args(["check", "-c"]).arg(&path).assert().code(0).get_output().stdout);
    let cluster =
        "cluster   far: rtsp://h:8050 by mesh hops, or RTSP over TLS where an endpoint knows none\n";
    assert!(shown.contains(cluster), "{shown}");
    let mut explain = proxy();
    explain.args(["explain", "--config"]).arg(&path).arg("rtsp://edge/cam");
    let shown = text(&explain.assert().code(0).get_output().stdout);
    assert!(shown.contains("mesh hop, or RTSP over TLS where an endpoint knows none"), "{shown}");
    let schema = text(&proxy().arg("schema").assert().code(0).get_output().stdout);
    assert!(schema.contains("\"fallback\"") && schema.contains("\"rtsps\""), "{schema}");
}

#[test]
fn check_prints_every_problem_and_exits_with_2() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("msm.yaml");
    std::fs::write(&path, "workers: 0\n\nroute: []\n").expect("write");
    let output = proxy()
        .args(["check", "-c"])
        .arg(&path)
        .env("MSM__ADMIN__ADDRESS", "nowhere")
        .assert()
        .code(2)
        .get_output()
        .clone();
    let file = path.display();
    assert_eq!(
        text(&output.stderr),
        format!(
            "{file}:1: workers: `0`: not possible; write `auto` or a number from 1 to 1024\n\
             {file}:3: route: unknown key; did you mean `routes`?\n\
             environment: MSM__ADMIN__ADDRESS: admin.address: `nowhere`: not an IP address with a port; write an address such as \
             `127.0.0.1:18000`, or `off`\n\
             3 problems\n"
        )
    );
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn check_needs_a_readable_file() {
    proxy().arg("check").assert().code(2);
    let output =
        proxy().args(["check", "--config", "/nonexistent.yaml"]).assert().code(2).get_output().clone();
    let shown = text(&output.stderr);
    assert!(shown.starts_with("/nonexistent.yaml: cannot be read: "), "{shown}");
}

#[test]
fn schema_is_json() {
    let output = proxy().arg("schema").assert().code(0).get_output().clone();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let description = &schema["properties"]["listeners"]["description"];
    assert!(description.as_str().is_some_and(|text| text.contains("[::]:8554")), "{description}");
}

#[test]
fn help_teaches() {
    let shown = text(&proxy().arg("--help").assert().code(0).get_output().stdout);
    for wanted in ["check", "schema", "status", "Examples:", "ffplay", "Exit codes"] {
        assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
    }
    proxy().arg("--version").assert().code(0);
    proxy().arg("chekc").assert().code(2);
}

struct Fixed;

impl Source for Fixed {
    fn metrics(&self) -> Later<'_, String> {
        Box::pin(async { String::new() })
    }

    fn status(&self) -> Later<'_, serde_json::Value> {
        Box::pin(async { serde_json::json!({"streams": [{"url": "rtsp://h/cam", "readers": 3}]}) })
    }

    fn ready(&self) -> bool {
        true
    }
}

#[test]
fn status_asks_a_running_proxy() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let mut config = msm::config::AdminConfig::default();
    config.address = "127.0.0.1:0".parse().expect("address");
    config.metrics = msm::config::Bind::Off;
    config.ready = msm::config::Bind::Off;
    let admin = runtime.block_on(Admin::bind(&config, Vec::new())).expect("bind");
    let address = admin.addresses().next().expect("one").1.to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        runtime.block_on(async {
            let _handle = admin.serve(Arc::new(Fixed));
            let _ = stopped.await;
        });
    });
    let output = proxy().args(["status", "--address", &address]).assert().code(0).get_output().clone();
    assert_eq!(text(&output.stdout), "streams (1)\n  URL           READERS\n  rtsp://h/cam        3\n");
    let output = proxy().args(["status", "--json", "-a", &address]).assert().code(0).get_output().clone();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["streams"][0]["readers"], 3);
    stop.send(()).expect("running");
    server.join().expect("ended");
    let output = proxy().args(["status", "--address", &address]).assert().code(1).get_output().clone();
    assert!(text(&output.stderr).contains("is the proxy running"), "{}", text(&output.stderr));
}
