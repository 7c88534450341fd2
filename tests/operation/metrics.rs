//! What the metrics say, against what was done.

use std::time::{Duration, Instant};

use crate::common::member::Ca;
use crate::common::pair::{far, near, numbered};
use crate::common::{Publisher, Reader, TestMesh, VIDEO, log, reader_port};

/// The value of the one line with these labels.
fn value(mesh: &TestMesh, line: &str) -> f64 {
    mesh.counter(&format!("{line} "))
}

fn describe(mesh: &TestMesh) -> u16 {
    mesh.connect().ask("DESCRIBE", &mesh.url("one"), &[], b"").status
}

/// Count and sum of the set-ups.
fn setups(mesh: &TestMesh, labels: &str) -> (f64, f64) {
    let of = |part: &str| value(mesh, &format!("msm_setup_seconds_{part}{{{labels}}}"));
    (of("count"), of("sum"))
}

#[test]
fn a_set_up_lasts_from_the_first_request_to_the_answer_that_lets_media_flow() {
    const READ: &str = "hop=\"plain\",action=\"read\"";
    const PAUSE: Duration = Duration::from_millis(300);
    let mesh = TestMesh::start("");
    let began = Instant::now();
    let _publisher = Publisher::start(&mesh, "one");
    let (count, took) = setups(&mesh, "hop=\"plain\",action=\"publish\"");
    assert!(count == 1.0 && took > 0.0 && took <= began.elapsed().as_secs_f64(), "{count} {took}");

    let mut client = mesh.connect();
    let url = mesh.url("one");
    let began = Instant::now();
    assert_eq!(client.ask("DESCRIBE", &url, &[], b"").status, 200);
    std::thread::sleep(PAUSE);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let session = client.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
    assert_eq!(setups(&mesh, READ).0, 0.0, "nothing flows yet");
    let named = [("Session", session.as_str())];
    assert_eq!(client.ask("PLAY", &url, &named, b"").status, 200);
    let (count, described) = setups(&mesh, READ);
    let most = began.elapsed().as_secs_f64();
    assert!(count == 1.0 && described >= PAUSE.as_secs_f64() && described <= most, "{count} {described}");
    // A player that goes on has been set up.
    assert_eq!(client.ask("PAUSE", &url, &named, b"").status, 200);
    assert_eq!(client.ask("PLAY", &url, &named, b"").status, 200);
    assert_eq!(setups(&mesh, READ).0, 1.0);

    // Without DESCRIBE it is SETUP that begins, whatever was described before for others.
    std::thread::sleep(PAUSE);
    let began = Instant::now();
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")];
    let session = client.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
    assert_eq!(client.ask("PLAY", &url, &[("Session", &session)], b"").status, 200);
    let (count, took) = setups(&mesh, READ);
    assert!(count == 2.0 && took - described <= began.elapsed().as_secs_f64(), "{count} {took}");
}

/// Packets of all routes, by hop and direction.
fn packets(mesh: &TestMesh, hop: &str, direction: &str) -> f64 {
    mesh.metrics()
        .lines()
        .filter(|line| line.starts_with("msm_packets_total{"))
        .filter(|line| line.contains(&format!("hop=\"{hop}\",direction=\"{direction}\"")))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// `[plain rx, plain tx, mesh rx, mesh tx]`.
fn traffic(mesh: &TestMesh) -> [f64; 4] {
    [("plain", "rx"), ("plain", "tx"), ("mesh", "rx"), ("mesh", "tx")]
        .map(|(hop, direction)| packets(mesh, hop, direction))
}

#[test]
fn packets_are_counted_by_the_hop_that_they_came_and_went_by() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");

    // Pulled: the far member has a reader of its own, too.
    let publisher = Publisher::start(&far, "pulled");
    let mut own = far.block_on(far.mesh.open(&far.url("pulled"))).unwrap();
    let reader = Reader::start(&near, "pulled");
    for number in 0..20 {
        publisher.send(&numbered(number));
        reader.recv();
        far.block_on(own.next()).unwrap().unwrap();
    }
    // The first packet of a source is not counted as received (RFC 3550 A.1).
    assert_eq!(traffic(&far), [19.0, 20.0, 0.0, 20.0]);
    assert_eq!(traffic(&near), [0.0, 20.0, 19.0, 0.0]);
    let bytes = |mesh: &TestMesh, needle: &str| {
        let metrics = mesh.metrics();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("msm_payload_bytes_total{") && line.contains(needle));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap()
    };
    assert_eq!(bytes(&near, "hop=\"mesh\",direction=\"rx\""), 19.0 * 988.0);
    // What went stays counted when the member has left.
    let mut reader = reader;
    let named = [("Session", reader.session.as_str())];
    assert_eq!(reader.rtsp.ask("TEARDOWN", &near.url("pulled"), &named, b"").status, 200);
    drop(own);
    near.wait_value("msm_streams ", 0.0);
    far.wait_value("msm_sessions ", 1.0);
    assert_eq!(traffic(&far), [19.0, 20.0, 0.0, 20.0]);
    drop(publisher);
    far.wait_value("msm_streams ", 0.0);
    assert_eq!(traffic(&far), [19.0, 20.0, 0.0, 20.0]);

    // Pushed, by a route that the far member's application has published by before.
    let url = far.url("from/own");
    let application = far.block_on(far.mesh.publish(&url, VIDEO)).unwrap();
    let publisher = Publisher::start(&near, "from/near");
    let mut readers: Vec<_> =
        ["from/own", "from/near"].map(|path| far.block_on(far.mesh.open(&far.url(path))).unwrap()).into();
    for number in 0..10 {
        application.send(0, numbered(number)).unwrap();
        publisher.send(&numbered(number));
        for reader in &mut readers {
            far.block_on(reader.next()).unwrap().unwrap();
        }
    }
    assert_eq!(traffic(&far), [28.0, 40.0, 9.0, 20.0], "{}", far.metrics());
    assert_eq!(traffic(&near), [9.0, 20.0, 19.0, 10.0], "{}", near.metrics());
}

#[test]
fn who_was_let_in_and_who_was_not_is_counted_and_logged() {
    log::keep_all();
    let mesh = TestMesh::start(&format!(
        "routes:\n  - {{name: closed, match: {{url: '/closed/{{path...}}'}}, allow: ['spiffe://a.example/b']}}\n  \
         - {{name: open{}, match: {{url: '/{{path...}}'}}}}\n",
        reader_port()
    ));
    let _publisher = Publisher::start(&mesh, "one");
    let counted = |decision: &str| mesh.counter(&format!("msm_authorization_total{{decision=\"{decision}\""));
    let before = counted("allow");
    assert!(before > 0.0, "ANNOUNCE and SETUP");
    assert_eq!(describe(&mesh), 200);
    assert_eq!((counted("allow"), counted("deny")), (before + 1.0, 0.0));
    log::wait(&["DEBUG", "allowed", &mesh.url("one"), "read", "Plain", "open"]);
    assert_eq!(mesh.connect().ask("DESCRIBE", &mesh.url("closed/a"), &[], b"").status, 403);
    assert_eq!((counted("allow"), counted("deny")), (before + 1.0, 1.0));
    log::wait(&["WARN", "denied", &mesh.url("closed/a"), "Plain"]);
    // The application is no caller, and its requests are in the log all the same.
    let _own = mesh.block_on(mesh.mesh.open(&mesh.url("one"))).unwrap();
    log::wait(&["DEBUG", "allowed", &mesh.url("one"), "Own"]);
    assert_eq!(counted("allow"), before + 1.0);
}

#[test]
fn the_text_is_what_a_scraper_wants() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let _publisher = Publisher::start(&far, "one");
    let _reader = Reader::start(&near, "one");
    for text in [near.metrics(), far.metrics()] {
        assert!(text.ends_with("# EOF\n"));
        let (mut family, mut kind, mut families) = (String::new(), String::new(), Vec::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(described) = line.strip_prefix("# HELP ") {
                let (name, help) = described.split_once(' ').unwrap();
                assert!(name.starts_with("msm_") && help.len() > 5, "{line}");
                assert!(!families.contains(&name), "{name} comes twice");
                families.push(name);
                name.clone_into(&mut family);
            } else if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, typed) = typed.split_once(' ').unwrap();
                assert_eq!(name, family);
                typed.clone_into(&mut kind);
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').unwrap();
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
                assert!(["seconds", "bytes", "ratio"].contains(&unit), "{line}");
            } else {
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix =
                    name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
                let fits = match kind.as_str() {
                    "counter" => suffix == "_total",
                    "gauge" => suffix.is_empty(),
                    "histogram" => ["_bucket", "_count", "_sum"].contains(&suffix),
                    _ => false,
                };
                assert!(fits, "{line} is no {kind}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for wanted in ["msm_handshake_seconds", "msm_setup_seconds", "msm_hop_rtt_seconds", "msm_hops"] {
            assert!(families.contains(&wanted), "{wanted}");
        }
    }
}
