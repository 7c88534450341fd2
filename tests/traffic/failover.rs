//! Streams whose endpoint fails: another source takes over, and readers keep what they have.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use msm::EventKind;

use crate::common::endpoint::{BOTH, Endpoint, FRAME, GOP, Player, Seen, check};
use crate::common::{Reader, TestMesh, backend};

const SOON: Duration = Duration::from_secs(5);

/// A mesh in front of these endpoints.
fn in_front_of(endpoints: &[&Endpoint], cluster: &str) -> TestMesh {
    let endpoints = backend::list(endpoints.iter().map(|endpoint| endpoint.url()));
    behind(&format!("endpoints: [{endpoints}]{cluster}"))
}

/// A mesh in front of this cluster.
fn behind(cluster: &str) -> TestMesh {
    backend::mesh(&format!("transport: tcp, {cluster}"))
}

/// Until a source has settled.
const SETTLED: Duration = Duration::from_millis(2_500);

fn failovers(mesh: &TestMesh, reason: &str) -> f64 {
    mesh.counter(&format!("msm_failovers_total{{cluster=\"back\",reason=\"{reason}\"}}"))
}

/// Both endpoints; the one that plays first, and the other.
fn pair(epoch: Instant, cluster: &str) -> (TestMesh, Endpoint, Endpoint) {
    let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
    let mesh = in_front_of(&[&one, &two], cluster);
    (mesh, one, two)
}

/// The endpoint that plays, its number, and the other's.
fn playing<'e>(one: &'e Endpoint, two: &'e Endpoint) -> (&'e Endpoint, u8, u8) {
    let deadline = Instant::now() + SOON;
    loop {
        match (one.plays(), two.plays()) {
            (true, _) => return (one, 1, 2),
            (_, true) => return (two, 2, 1),
            _ => assert!(Instant::now() < deadline, "nobody plays"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn readers_keep_one_line_when_the_connection_breaks_off() {
    let (mesh, one, two) = pair(Instant::now(), "");
    let mut player = Player::start(&mesh);
    let udp = Reader::start(&mesh, "cam");
    let mut app = mesh.block_on(mesh.mesh.open(&mesh.url("cam"))).unwrap();
    let mut events = app.events();
    player.begin(Duration::from_millis(1_500));
    let (first, from, to) = playing(&one, &two);
    first.kill();
    player.watch_until(to, SETTLED);
    let event = mesh.block_on(async { tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap() });
    let EventKind::Spliced { from: before, to: after, reason, identical, gap } = event.kind else {
        panic!("{event:?}")
    };
    assert!(before != after && !identical && gap.is_some_and(|gap| gap < SOON), "{before} {after} {gap:?}");
    assert_eq!(failovers(&mesh, reason), 1.0);
    let splice = check(&player.seen, from, to);
    assert!(splice.gap < Duration::from_millis(1_000), "{splice:?}");
    assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{splice:?}");
    assert!((splice.later[0] - splice.later[1]).abs() <= 20.0, "{splice:?}");
    // The others saw the same.
    let mut lines = [Vec::new(), Vec::new()];
    while let Some(packet) = udp.try_recv(Duration::from_millis(200)) {
        lines[0].push(Seen::of(0, &packet, Instant::now()));
        if lines[0].last().is_some_and(|packet| packet.id == to) {
            break;
        }
    }
    mesh.block_on(async {
        loop {
            let packet = tokio::time::timeout(SOON, app.next()).await.unwrap().unwrap().unwrap();
            lines[1].push(Seen::of(packet.track, packet.raw(), Instant::now()));
            if packet.track == 0 && lines[1].last().is_some_and(|packet| packet.id == to) {
                break;
            }
        }
    });
    for line in lines {
        let line: Vec<_> = line.into_iter().filter(|packet| packet.track == 0).collect();
        let changes = line.windows(2).filter(|pair| pair[0].id != pair[1].id).count();
        assert_eq!(changes, 1);
        for pair in line.windows(2) {
            assert_eq!((pair[1].ssrc, pair[1].sequence), (pair[0].ssrc, pair[0].sequence.wrapping_add(1)));
        }
    }
    assert_eq!(failovers(&mesh, "reset"), 1.0, "{}", mesh.metrics());
    assert_eq!(mesh.counter("msm_failover_gap_seconds_count{cluster=\"back\"}"), 1.0);
    let status = mesh.block_on(mesh.mesh.status());
    let stream = &status.streams[0];
    let endpoint = if to == 1 { one.url() } else { two.url() };
    assert_eq!(stream.endpoint.as_deref(), Some(&*format!("{endpoint}/cam")));
    assert_eq!(stream.failovers, 1);
    assert!(stream.last_gap_ms.is_some_and(|gap| gap > 0.0 && gap < 1_000.0), "{stream:?}");
}

#[test]
fn silence_is_noticed_in_its_time_whatever_the_signalling_does() {
    let (mesh, one, two) = pair(Instant::now(), ", health: {media_timeout: 500ms}");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(1_000));
    let (first, from, to) = playing(&one, &two);
    first.behaves.silent.store(true, Ordering::SeqCst);
    player.watch_until(to, SETTLED);
    let splice = check(&player.seen, from, to);
    let keyframe = Duration::from_millis(FRAME * GOP);
    let bound = Duration::from_millis(500 + 250) + keyframe;
    assert!(splice.gap >= Duration::from_millis(450) && splice.gap < bound, "{splice:?}");
    assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{splice:?}");
    assert!((splice.later[0] - splice.later[1]).abs() <= 20.0, "{splice:?}");
    assert_eq!(failovers(&mesh, "silent"), 1.0, "{}", mesh.metrics());
    first.server.wait("TEARDOWN", 1);
}

#[test]
fn what_a_frozen_server_is_asked_does_not_keep_others_from_going_on() {
    let (mesh, one, two) = pair(Instant::now(), ", health: {media_timeout: 500ms}");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(500));
    let mut other = Player::start(&mesh);
    let (first, from, to) = playing(&one, &two);
    *first.behaves.freezes.lock().unwrap() = "GET_PARAMETER".to_owned();
    // It is asked before it falls silent, and would be waited for for ten seconds.
    let asked = format!(
        "GET_PARAMETER {} RTSP/1.0\r\nCSeq: 99\r\nSession: {}\r\nContent-Type: text/parameters\r\nContent-Length: 6\r\n\r\ncolour",
        mesh.url("cam"),
        other.session
    );
    other.rtsp.raw(asked.as_bytes());
    first.server.wait("GET_PARAMETER", 1);
    player.watch(Duration::from_millis(800));
    assert!(player.seen.iter().all(|packet| packet.id == from), "it plays, however long it takes to answer");
    first.behaves.silent.store(true, Ordering::SeqCst);
    player.watch_until(to, Duration::from_millis(300));
    let splice = check(&player.seen, from, to);
    assert!(splice.gap < Duration::from_secs(3), "{splice:?}");
    assert_eq!(failovers(&mesh, "silent"), 1.0, "{}", mesh.metrics());
    let answer = other.rtsp.answer();
    assert_eq!(answer.status, 504, "{answer:?}");
    first.behaves.freezes.lock().unwrap().clear();
}

#[test]
fn a_server_that_ends_or_forgets_the_session_is_left() {
    for how in ["TEARDOWN", "BYE", "454"] {
        let (mesh, one, two) = pair(Instant::now(), "");
        let mut player = Player::start(&mesh);
        player.begin(Duration::from_millis(300));
        let (first, from, to) = playing(&one, &two);
        match how {
            "TEARDOWN" => {
                let text = format!("TEARDOWN {}/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n", first.url());
                first.server.raw(first.connection(), text.as_bytes());
            }
            "BYE" => {
                let connection = first.connection();
                first.behaves.silent.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(60));
                for channel in [1, 3] {
                    first.server.frame(
                        connection,
                        channel,
                        &[0x80, 201, 0, 1, 0, 0, 0, from, 0x81, 203, 0, 1, 0, 0, 0, from],
                    );
                }
            }
            _ => first.behaves.forgets.store(454, Ordering::SeqCst),
        }
        player.watch_until(to, Duration::from_millis(300));
        check(&player.seen, from, to);
        let reason = if how == "BYE" { "bye" } else { "ended" };
        assert_eq!(failovers(&mesh, reason), 1.0, "{how}: {}", mesh.metrics());
    }
}

#[test]
fn a_server_that_is_started_again_gets_its_readers_back() {
    let epoch = Instant::now();
    let only = Endpoint::start(1, epoch);
    let mesh = in_front_of(&[&only], "");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(500));
    only.kill();
    std::thread::sleep(Duration::from_millis(700));
    only.behaves.refuses.store(0, Ordering::SeqCst);
    let count = player.seen.len();
    player.watch(SETTLED + Duration::from_millis(1_500));
    assert!(player.seen.len() > count + 100);
    for track in [0, 1] {
        let line: Vec<_> = player.seen.iter().filter(|packet| packet.track == track).collect();
        for pair in line.windows(2) {
            assert_eq!((pair[1].ssrc, pair[1].sequence), (pair[0].ssrc, pair[0].sequence.wrapping_add(1)));
        }
    }
    assert_eq!(failovers(&mesh, "reset"), 1.0);
}

#[test]
fn late_readers_are_let_in_while_there_is_no_source_and_all_end_when_there_is_none_for_too_long() {
    let only = Endpoint::start(1, Instant::now());
    let mesh = in_front_of(&[&only], ", failover: {hold: 3s}");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(500));
    only.kill();
    let began = Instant::now();
    let mut late = Player::start(&mesh);
    assert!(began.elapsed() < Duration::from_secs(1), "it had to wait for {:?}", began.elapsed());
    only.behaves.refuses.store(0, Ordering::SeqCst);
    late.watch(Duration::from_millis(300));
    player.watch(Duration::from_millis(300));
    assert_eq!(
        late.seen.iter().find(|packet| [1, 5].contains(&packet.nal)).map(|packet| packet.nal),
        Some(5)
    );
    // And now for good.
    only.kill();
    let began = Instant::now();
    assert!(player.rtsp.is_closed() && late.rtsp.is_closed());
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2_000) && took < Duration::from_secs(6), "{took:?}");
    mesh.wait_value("msm_streams ", 0.0);
}

#[test]
fn payload_types_with_other_numbers_are_those_that_readers_know_and_parameter_sets_come_in_band() {
    let (mesh, one, two) = pair(Instant::now(), "");
    for (endpoint, set) in [(&one, "ZwEB,aAEB"), (&two, "ZwIB,aAIB")] {
        let sets = format!("a=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets={set}");
        *endpoint.behaves.description.lock().unwrap() = BOTH.replace("a=rtpmap:96 H264/90000", &sets);
    }
    let mut player = Player::start(&mesh);
    let (first, from, to) = playing(&one, &two);
    let second = if to == 1 { &one } else { &two };
    let description = second.behaves.description.lock().unwrap().replace("96", "112");
    *second.behaves.description.lock().unwrap() = description;
    second.behaves.video.store(112, Ordering::SeqCst);
    second.behaves.no_sets.store(true, Ordering::SeqCst);
    player.begin(Duration::from_millis(500));
    first.kill();
    player.watch_until(to, Duration::from_millis(500));
    check(&player.seen, from, to);
    assert_eq!(player.seen.iter().find(|packet| packet.track == 0).unwrap().payload_type, 96);
}

#[test]
fn what_readers_cannot_take_is_passed_over_or_ends_them() {
    let h265 = BOTH.replace("H264", "H265");
    for (policy, ends) in [("skip", false), ("end", true)] {
        let (mesh, one, two) = pair(Instant::now(), &format!(", failover: {{on_change: {policy}}}"));
        let mut player = Player::start(&mesh);
        player.begin(Duration::from_millis(300));
        let (first, from, to) = playing(&one, &two);
        let second = if to == 1 { &one } else { &two };
        *second.behaves.description.lock().unwrap() = h265.clone();
        let described = first.server.asked("DESCRIBE").len();
        first.server.cut();
        if ends {
            let began = Instant::now();
            assert!(
                player.rtsp.is_closed() && began.elapsed() < Duration::from_secs(3),
                "{:?}",
                began.elapsed()
            );
            continue;
        }
        first.server.wait("PLAY", 2);
        player.watch(Duration::from_millis(500));
        assert!(player.seen.iter().all(|packet| packet.id == from));
        assert!(first.server.asked("DESCRIBE").len() > described);
        assert!(second.server.asked("SETUP").is_empty());
    }
}

#[test]
fn a_source_that_begins_with_old_frames_makes_nobody_late() {
    let (mesh, one, two) = pair(Instant::now(), "");
    for endpoint in [&one, &two] {
        endpoint.behaves.bursts.store(true, Ordering::SeqCst);
    }
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(1_500));
    let (first, from, to) = playing(&one, &two);
    first.kill();
    player.watch_until(to, SETTLED);
    let splice = check(&player.seen, from, to);
    assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{splice:?}");
    assert!((splice.later[0] - splice.later[1]).abs() <= 20.0, "{splice:?}");
}

#[test]
fn a_warm_standby_takes_over_at_once() {
    for (how, bound) in [("reset", 150), ("silent", 500 + 100)] {
        let (mesh, one, two) =
            pair(Instant::now(), ", health: {media_timeout: 500ms}, failover: {standby: warm}");
        let mut player = Player::start(&mesh);
        player.begin(Duration::from_millis(500));
        let deadline = Instant::now() + SOON;
        while !(one.plays() && two.plays()) {
            assert!(Instant::now() < deadline, "no standby");
            player.watch(Duration::from_millis(50));
        }
        player.watch(Duration::from_millis(FRAME * GOP + 200));
        let status = mesh.block_on(mesh.mesh.status());
        assert_eq!(status.streams.len(), 1, "{status:?}");
        let from = player.seen.last().unwrap().id;
        let (first, to) = if from == 1 { (&one, 2) } else { (&two, 1) };
        let second = if from == 1 { &two } else { &one };
        assert_eq!(status.streams[0].standby.as_deref(), Some(&*format!("{}/cam", second.url())));
        let plays = second.server.asked("PLAY").len();
        match how {
            "reset" => first.kill(),
            _ => first.behaves.silent.store(true, Ordering::SeqCst),
        }
        player.watch_until(to, SETTLED);
        let splice = check(&player.seen, from, to);
        assert!(splice.gap <= Duration::from_millis(bound), "{how}: {splice:?}");
        assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{splice:?}");
        assert!((splice.later[0] - splice.later[1]).abs() <= 20.0, "{splice:?}");
        assert_eq!(second.server.asked("PLAY").len(), plays, "it played already");
        assert_eq!(failovers(&mesh, how), 1.0);
    }
}

#[test]
fn a_standby_that_dies_is_replaced_and_one_endpoint_has_none() {
    let (mesh, one, two) = pair(Instant::now(), ", failover: {standby: warm}");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(300));
    let from = player.seen.last().unwrap().id;
    let second = if from == 1 { &two } else { &one };
    second.server.wait("PLAY", 1);
    second.server.cut();
    second.server.wait("PLAY", 2);
    player.watch(Duration::from_millis(200));
    assert!(player.seen.iter().all(|packet| packet.id == from), "nobody notices");
    drop(player);
    second.server.wait("TEARDOWN", 1);
    mesh.wait_value("msm_streams ", 0.0);
    let mesh = in_front_of(&[&one], ", failover: {standby: warm}");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(1_200));
    let status = mesh.block_on(mesh.mesh.status());
    assert_eq!(status.streams[0].standby.as_deref(), Some("none: there is no other endpoint"));
}

#[test]
fn an_endpoint_that_is_removed_is_left_without_a_gap() {
    for standby in ["none", "warm"] {
        let (one, two) = (Endpoint::start(1, Instant::now()), Endpoint::start(2, Instant::now()));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("targets.json");
        let put = |endpoints: &[&Endpoint]| {
            let targets: Vec<_> =
                endpoints.iter().map(|endpoint| format!("\"{}\"", endpoint.server.address)).collect();
            std::fs::write(dir.path().join("new"), format!("[{{\"targets\": [{}]}}]", targets.join(", ")))
                .unwrap();
            std::fs::rename(dir.path().join("new"), &file).unwrap();
        };
        put(&[&one]);
        let mesh = behind(&format!("files: [\"{}\"], failover: {{standby: {standby}}}", file.display()));
        let mut player = Player::start(&mesh);
        player.begin(Duration::from_millis(800));
        put(&[&two]);
        player.watch_until(2, Duration::from_millis(800));
        let splice = check(&player.seen, 1, 2);
        assert!(splice.gap < Duration::from_millis(150), "{splice:?}");
        assert_eq!(failovers(&mesh, "left"), 1.0, "{}", mesh.metrics());
        one.server.wait("TEARDOWN", 1);
    }
}
