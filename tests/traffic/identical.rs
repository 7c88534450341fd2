//! Streams whose standby brings the same packets as their source: readers do not notice when that is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::endpoint::{self, Endpoint, FRAME, GOP, Numbers, Player, Seen};
use crate::common::member::Ca;
use crate::common::{Reader, TestMesh, backend, chain};

const SOON: Duration = Duration::from_secs(15);
const STANDBY: &str = "failover: {standby: warm}";
/// What another relay of the same camera begins with.
const OTHER: Numbers = Numbers { ssrc: 9, sequence: 65_000, timestamp: u32::MAX - 200_000 };

/// A mesh in front of endpoints at these addresses, one of which is a standby.
fn front(endpoints: &[String], more: &str) -> TestMesh {
    let endpoints = backend::list(endpoints);
    backend::mesh(&format!("endpoints: [{endpoints}], {STANDBY}, {more}"))
}

/// The endpoint that a stream comes from, and whether its standby is known to bring the same.
fn origin(mesh: &TestMesh) -> (String, bool) {
    let status = mesh.block_on(mesh.mesh.status());
    let stream = &status.streams[0];
    (stream.endpoint.clone().unwrap_or_default(), stream.standby_identical)
}

/// Plays until the standby is known to bring the same; where the stream comes from.
fn identical(mesh: &TestMesh, player: &mut Player) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        player.watch(Duration::from_millis(50));
        if let (endpoint, true) = origin(mesh) {
            return endpoint;
        }
        assert!(Instant::now() < deadline, "{:?}", mesh.block_on(mesh.mesh.status()).streams);
    }
}

/// Plays until the middle of a group of pictures.
fn middle(player: &mut Player) {
    while player.next().frame.is_none_or(|frame| u64::from(frame) % GOP != GOP / 2) {}
}

/// Checks that a player missed nothing and got nothing twice, with exact timestamps; the longest time without a picture.
fn complete(seen: &[Seen]) -> Duration {
    for track in [0, 1] {
        let line: Vec<_> = seen.iter().filter(|packet| packet.track == track).collect();
        let rate = [90, 48][track];
        for pair in line.windows(2) {
            assert_eq!(pair[1].ssrc, pair[0].ssrc, "track {track}");
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "track {track}: {pair:?}");
        }
        let frames: Vec<_> =
            line.iter().filter_map(|packet| Some((packet.frame?, packet.timestamp))).collect();
        for pair in frames.windows(2) {
            assert_eq!(pair[1].0, pair[0].0 + 1, "track {track}: a frame is missing, or comes twice");
            assert_eq!(pair[1].1.wrapping_sub(pair[0].1), FRAME as u32 * rate, "track {track}: {pair:?}");
        }
        assert!(frames.len() > 20, "track {track}: {} frames", frames.len());
        // Before the first picture there may be what belongs to none.
        let packets = line.iter().skip_while(|packet| packet.frame.is_none()).count();
        let each = [4, 1][track];
        assert!(packets.abs_diff(each * frames.len()) < each, "track {track}: {packets} packets");
    }
    let pictures: Vec<_> = seen.iter().filter(|packet| packet.track == 0).map(|packet| packet.at).collect();
    pictures.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

/// A reader of pictures by UDP, which keeps up.
struct ByUdp {
    over: Arc<AtomicBool>,
    seen: JoinHandle<Vec<Seen>>,
}

impl ByUdp {
    fn start(mesh: &TestMesh) -> Self {
        let reader = Reader::start(mesh, "cam");
        let over = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&over);
        let seen = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !own.load(Ordering::SeqCst) {
                let packet = reader.try_recv(Duration::from_millis(100));
                seen.extend(packet.map(|packet| Seen::of(0, &packet, Instant::now())));
            }
            seen
        });
        Self { over, seen }
    }
}

/// Checks what a reader of pictures by UDP got, all in all.
fn complete_by_udp(reader: ByUdp) {
    reader.over.store(true, Ordering::SeqCst);
    let line = reader.seen.join().unwrap();
    for pair in line.windows(2) {
        assert_eq!((pair[1].ssrc, pair[1].sequence), (pair[0].ssrc, pair[0].sequence.wrapping_add(1)));
    }
    let frames: Vec<_> = line.iter().filter_map(|packet| packet.frame).collect();
    assert!(frames.len() > 20 && frames.windows(2).all(|pair| pair[1] == pair[0] + 1), "{frames:?}");
}

fn went_on(mesh: &TestMesh, reason: &str) {
    assert_eq!(
        mesh.counter(&format!("msm_failovers_total{{cluster=\"back\",reason=\"{reason}\"}}")),
        1.0,
        "{}",
        mesh.metrics()
    );
    assert_eq!(mesh.counter("msm_failovers_identical_total{cluster=\"back\"}"), 1.0, "{}", mesh.metrics());
}

#[test]
fn readers_miss_nothing_when_one_of_two_relays_is_lost_in_the_middle_of_a_group() {
    for how in ["reset", "silent"] {
        let epoch = Instant::now();
        let (one, two) = (Endpoint::start(1, epoch), Endpoint::relay(1, epoch, OTHER));
        let mesh = front(&[one.url(), two.url()], "transport: tcp, health: {media_timeout: 1500ms}");
        let mut player = Player::start(&mesh);
        player.begin(Duration::from_millis(100));
        let from = identical(&mesh, &mut player);
        let udp = ByUdp::start(&mesh);
        player.watch(Duration::from_millis(500));
        middle(&mut player);
        let (first, second) = if from.starts_with(&one.url()) { (&one, &two) } else { (&two, &one) };
        match how {
            "reset" => first.kill(),
            _ => first.behaves.silent.store(true, Ordering::SeqCst),
        }
        let deadline = Instant::now() + SOON;
        while !origin(&mesh).0.starts_with(&second.url()) {
            assert!(Instant::now() < deadline, "nobody takes over");
            player.watch(Duration::from_millis(50));
        }
        player.watch(Duration::from_millis(1_000));
        let gap = complete(&player.seen);
        complete_by_udp(udp);
        went_on(&mesh, how);
        // It took 1500 ms to find out that it was silent, and readers had the other's packets at once.
        assert!(gap < Duration::from_millis(1_000), "{how}: {gap:?}");
        let status = mesh.block_on(mesh.mesh.status());
        assert!(status.streams[0].last_gap_ms.unwrap() < 1_000.0, "{:?}", status.streams);
    }
}

/// Two relays of one camera, a mesh that knows them to be the same, and a player: first the one that it plays from, then its standby.
fn relays(more: &str) -> (TestMesh, Player, [Endpoint; 2]) {
    let epoch = Instant::now();
    let (one, two) = (Endpoint::start(1, epoch), Endpoint::relay(1, epoch, OTHER));
    let mesh = front(&[one.url(), two.url()], more);
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(100));
    let from = identical(&mesh, &mut player);
    let all = if from.starts_with(&one.url()) { [one, two] } else { [two, one] };
    (mesh, player, all)
}

#[test]
fn what_one_loses_is_filled_from_the_other() {
    let (mesh, mut player, [one, two]) = relays("transport: tcp");
    player.watch(Duration::from_millis(300));
    player.seen.clear();
    // Their numbers are 45,000 and a bit apart: not the same packets.
    one.behaves.loses.store(7, Ordering::SeqCst);
    two.behaves.loses.store(11, Ordering::SeqCst);
    player.watch(Duration::from_millis(3_000));
    let line: Vec<_> = player.seen.iter().filter(|packet| packet.track == 0).collect();
    let mut numbers: Vec<_> =
        line.iter().map(|packet| packet.sequence.wrapping_sub(line[0].sequence).cast_signed()).collect();
    numbers.sort_unstable();
    let missing: i32 = numbers.windows(2).map(|pair| i32::from(pair[1] - pair[0]) - 1).sum();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "a packet came twice");
    // One in 77 is lost by both.
    let most = numbers.len() as i32 / 77 + 2;
    assert!(missing <= most, "{missing} of {} are missing, {most} at most are lost by both", numbers.len());
    mesh.wait_counter("msm_standby_packets_total{cluster=\"back\"}", 20.0);
    assert!(origin(&mesh).1, "it is known to be the same");
}

#[test]
fn a_standby_that_is_lost_is_not_noticed_and_the_next_one_is_found_to_be_the_same() {
    let (mesh, mut player, [first, second]) = relays("transport: tcp");
    second.server.cut();
    let deadline = Instant::now() + SOON;
    while origin(&mesh).1 {
        assert!(Instant::now() < deadline, "it is still said to be there");
        player.watch(Duration::from_millis(50));
    }
    assert!(identical(&mesh, &mut player).starts_with(&first.url()));
    complete(&player.seen);
    assert_eq!(mesh.counter("msm_failovers_total"), 0.0);
}

#[test]
fn other_pictures_of_the_same_camera_are_another_source() {
    let epoch = Instant::now();
    let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
    let mesh = front(&[one.url(), two.url()], "transport: tcp");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(2_500));
    assert!(!origin(&mesh).1);
    let from = player.seen.last().unwrap().id;
    (if from == 1 { &one } else { &two }).kill();
    player.watch_until(3 - from, Duration::from_millis(300));
    endpoint::check(&player.seen, from, 3 - from);
    assert_eq!(mesh.counter("msm_failovers_identical_total"), 0.0, "{}", mesh.metrics());
    assert_eq!(mesh.counter("msm_standby_packets_total"), 0.0);
}

/// Plays from one of two that are found to be the same until that is gone, and goes on: nothing is missed. They are gone when they are
/// dropped.
fn one_is_gone(mesh: &TestMesh, one: (TestMesh, SocketAddr), two: (TestMesh, SocketAddr)) {
    let mut player = Player::start(mesh);
    player.begin(Duration::from_millis(100));
    let from = identical(mesh, &mut player);
    let udp = ByUdp::start(mesh);
    player.watch(Duration::from_millis(500));
    middle(&mut player);
    let (gone, _stays) = if from.contains(&one.1.to_string()) { (one, two) } else { (two, one) };
    drop(gone);
    player.watch(Duration::from_millis(2_000));
    complete(&player.seen);
    complete_by_udp(udp);
    assert_eq!(mesh.counter("msm_failovers_identical_total{cluster=\"back\"}"), 1.0, "{}", mesh.metrics());
}

#[test]
fn two_relays_by_udp_number_each_session_anew_and_are_found_to_be_the_same() {
    let camera = Endpoint::start(1, Instant::now());
    let relay = || {
        let mesh = TestMesh::start(&format!(
            "routes: [{{name: all, match: {{url: '/{{path...}}'}}, backends: [{{cluster: cam}}]}}]\n\
             clusters: {{cam: {{endpoints: [\"{}\"], transport: tcp}}}}",
            camera.url()
        ));
        let address = mesh.address;
        (mesh, address)
    };
    let (one, two) = (relay(), relay());
    let urls = [one.1, two.1].map(|address| format!("rtsp://{address}"));
    let mesh = front(&urls, "transport: udp");
    one_is_gone(&mesh, one, two);
}

#[test]
fn two_members_that_relay_one_camera_are_found_to_be_the_same() {
    let ca = Ca::new("test.example");
    let camera = Endpoint::start(1, Instant::now());
    let (one, two) = (chain::far(&ca, &camera), chain::far(&ca, &camera));
    let mesh = chain::near(&ca, &[one.1, two.1], &format!(", {STANDBY}"));
    one_is_gone(&mesh, one, two);
}

/// What is known of an endpoint.
fn health(mesh: &TestMesh, of: &Endpoint) -> &'static str {
    let status = mesh.block_on(mesh.mesh.status());
    let found = status.endpoints.iter().find(|endpoint| endpoint.url.starts_with(&of.url()));
    found.unwrap_or_else(|| panic!("{:?}", status.endpoints)).health
}

#[test]
fn what_a_standby_loses_speaks_against_its_endpoint() {
    let outlier = "health: {outlier: {loss: 5%, min_packets: 150, ejection: 1h, max_ejection: 1h}, panic_threshold: 0%}";
    let (mesh, mut player, [first, second]) = relays(&format!("transport: tcp, {outlier}"));
    second.behaves.loses.store(4, Ordering::SeqCst);
    let deadline = Instant::now() + SOON;
    while health(&mesh, &second) != "ejected" {
        assert!(Instant::now() < deadline, "{:?}", mesh.block_on(mesh.mesh.status()).endpoints);
        player.watch(Duration::from_millis(100));
    }
    assert!(origin(&mesh).0.starts_with(&first.url()), "the stream stays");
    complete(&player.seen);
}

#[test]
fn a_standby_that_takes_over_is_not_blamed_for_what_came_before() {
    let epoch = Instant::now();
    let all = [1, 2, 3].map(|id| Endpoint::start(id, epoch));
    let outlier = "health: {outlier: {loss: 5%, min_packets: 150, ejection: 1h, max_ejection: 1h, max_ejected: 100%}, panic_threshold: 0%}";
    let mesh = front(&all.each_ref().map(Endpoint::url), &format!("transport: tcp, {outlier}"));
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(100));
    let from = player.seen.last().unwrap().id;
    let first = &all[usize::from(from) - 1];
    let standby = || mesh.block_on(mesh.mesh.status()).streams[0].standby.clone().unwrap_or_default();
    let deadline = Instant::now() + SOON;
    let second = loop {
        if let Some(found) = all.iter().find(|endpoint| standby().starts_with(&endpoint.url())) {
            break found;
        }
        assert!(Instant::now() < deadline, "no standby: {}", standby());
        player.watch(Duration::from_millis(50));
    };
    player.watch(Duration::from_millis(2_000));
    // It is left for its losses, and the standby's packets are counted where these are.
    first.behaves.loses.store(2, Ordering::SeqCst);
    while !origin(&mesh).0.starts_with(&second.url()) {
        assert!(Instant::now() < deadline, "{:?}", mesh.block_on(mesh.mesh.status()).endpoints);
        player.watch(Duration::from_millis(50));
    }
    assert_eq!(health(&mesh, first), "ejected");
    player.watch(Duration::from_millis(4_000));
    assert_ne!(health(&mesh, second), "ejected", "{:?}", mesh.block_on(mesh.mesh.status()).endpoints);
    assert!(origin(&mesh).0.starts_with(&second.url()));
}

#[test]
fn a_standby_that_sends_us_away_at_once_is_not_had_again_and_again() {
    let (_mesh, mut player, [_first, second]) = relays("transport: tcp");
    let before = second.server.asked("PLAY").len();
    let until = Instant::now() + Duration::from_secs(5);
    let mut sent = None;
    while Instant::now() < until {
        if second.plays() && sent != Some(second.connection()) {
            let connection = second.connection();
            second.server.raw(connection, b"REDIRECT rtsp://x/cam RTSP/1.0\r\nCSeq: 900\r\n\r\n");
            sent = Some(connection);
        }
        player.watch(Duration::from_millis(10));
    }
    // After 1 s, 2 s and 4 s.
    let times = second.server.asked("PLAY").len() - before;
    assert!((1..=3).contains(&times), "{times} times");
    complete(&player.seen);
}
