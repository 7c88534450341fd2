//! Streams that go on in a form that their readers were not told of: clients are told by ANNOUNCE, and go over where they say yes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::endpoint::{BOTH, Endpoint, FRAME, GOP, Player, Seen};
use crate::common::member::Ca;
use crate::common::{Reader, Rtsp, TestMesh, Told, reader_port};
use msm::config::Config;
use msm_auth::identity::source::IdentitySource;

const MOMENT: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(5);
/// Longer than a test takes: nobody ends for want of an answer.
const PATIENT: &str = "on_change: announce, announce_timeout: 20s";

/// H.265 instead of H.264, by another number.
fn h265() -> String {
    BOTH.replace("RTP/AVP 96", "RTP/AVP 98").replace("a=rtpmap:96 H264", "a=rtpmap:98 H265")
}

fn yaml(port: u16, endpoints: &[&Endpoint], failover: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| format!("'{}'", endpoint.url())).collect();
    format!(
        "workers: 2\nlisteners: [{{name: test, address: '127.0.0.1:0', ports: {port}}}]\n\
         routes: [{{name: all, match: {{url: '/{{path...}}'}}, backends: [{{cluster: back}}], idle_timeout: 500ms}}]\n\
         clusters: {{back: {{transport: tcp, endpoints: [{}], failover: {{{failover}}}}}}}\n",
        endpoints.join(", ")
    )
}

/// Two endpoints, the first of which is the one that plays.
struct Bed {
    mesh: TestMesh,
    port: u16,
    first: Endpoint,
    second: Endpoint,
}

impl Bed {
    /// The second endpoint describes the stream so; the first one's readers know H.264 and sound.
    fn start(failover: &str, description: &str) -> Bed {
        let epoch = Instant::now();
        let (first, second) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
        second.behaves.refuses.store(404, Ordering::SeqCst);
        *second.behaves.description.lock().unwrap() = description.to_owned();
        let is_h265 = description.contains("H265");
        second.behaves.h265.store(is_h265, Ordering::SeqCst);
        second.behaves.video.store(if is_h265 { 98 } else { 96 }, Ordering::SeqCst);
        let port = reader_port();
        // With one endpoint first, it is that one that plays.
        let mesh = TestMesh::from_yaml(&yaml(port, &[&first], failover));
        Bed { mesh, port, first, second }
    }

    /// From here on there are both, or the second one alone.
    fn reload(&self, endpoints: &[&Endpoint], failover: &str) {
        let text = yaml(self.port, endpoints, failover);
        let config = Config::from_yaml(&text, "test.yaml", std::iter::empty()).unwrap();
        self.mesh.block_on(self.mesh.mesh.reload(config)).unwrap();
    }

    /// The first endpoint is gone; the second has the stream.
    fn lose_the_first(&self, failover: &str) {
        self.reload(&[&self.first, &self.second], failover);
        self.second.behaves.refuses.store(0, Ordering::SeqCst);
        self.first.kill();
    }

    fn announces(&self, outcome: &str) -> f64 {
        announces(&self.mesh, outcome)
    }
}

fn announces(mesh: &TestMesh, outcome: &str) -> f64 {
    mesh.counter(&format!("msm_announces_total{{cluster=\"back\",outcome=\"{outcome}\"}}"))
}

/// The most that media may be shown earlier or later behind a change than before it, in milliseconds: much less than the time without media.
const SHIFT: f64 = 400.0;

/// What a client that asks now is told.
fn described(mesh: &TestMesh) -> Vec<u8> {
    mesh.connect().ask("DESCRIBE", &mesh.url("cam"), &[], b"").body
}

fn check_told(told: &Told, mesh: &TestMesh, session: &str) {
    let url = mesh.url("cam");
    assert_eq!(told.line, format!("ANNOUNCE {url} RTSP/1.0"));
    assert_eq!(told.header("session"), session, "{told:?}");
    assert_eq!(told.header("content-type"), "application/sdp");
    assert_eq!(told.header("content-base"), format!("{url}/"));
    assert!(told.header("cseq").parse::<u32>().is_ok_and(|number| number > 0), "{told:?}");
    assert_eq!(
        String::from_utf8_lossy(&told.body),
        String::from_utf8_lossy(&described(mesh)),
        "it is what DESCRIBE says now"
    );
}

/// Checks a track that goes over from endpoint 1 to 2 in one line; how much later in milliseconds its media is shown.
fn check_line(seen: &[Seen], track: usize, payload_types: [u8; 2]) -> f64 {
    let line: Vec<_> = seen.iter().filter(|packet| packet.track == track).collect();
    let at = line.iter().position(|packet| packet.id == 2).expect("nothing of the second endpoint");
    assert!(at > 0 && line[at..].iter().all(|packet| packet.id == 2), "it goes back");
    assert!(line[..at].iter().all(|packet| packet.payload_type == payload_types[0]));
    assert!(line[at..].iter().all(|packet| packet.payload_type == payload_types[1]));
    for pair in line.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc, "track {track}");
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "track {track}: {pair:?}");
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
        assert!(step > 0 || (track == 0 && step == 0), "track {track}: {pair:?}");
    }
    let rate = [90.0, 48.0][track];
    let shown = |packet: &Seen| {
        let frame = f64::from(packet.frame?) * FRAME as f64;
        Some(f64::from(packet.timestamp.wrapping_sub(line[0].timestamp)) / rate - frame)
    };
    let before = line[..at].iter().rev().find_map(|packet| shown(packet)).unwrap();
    line.iter().rev().find_map(|packet| shown(packet)).unwrap() - before
}

fn has_ended(rtsp: &mut Rtsp, within: Duration) {
    let began = Instant::now();
    assert!(rtsp.is_closed() && began.elapsed() < within, "{:?}", began.elapsed());
}

#[test]
fn who_says_yes_goes_on_in_its_session() {
    let bed = Bed::start(PATIENT, &h265());
    let (mut player, mut udp) = (Player::start(&bed.mesh), Reader::start(&bed.mesh, "cam"));
    player.begin(2 * MOMENT);
    bed.lose_the_first(PATIENT);
    let (told, of_udp) = (player.rtsp.next_told(), udp.rtsp.next_told());
    check_told(&told, &bed.mesh, &player.session);
    check_told(&of_udp, &bed.mesh, &udp.session);
    assert!(String::from_utf8_lossy(&told.body).contains("a=rtpmap:98 H265/90000"));
    // It takes its time, by which its timestamps advance.
    std::thread::sleep(5 * MOMENT);
    player.rtsp.reply(&told, 200);
    player.watch_until(2, Duration::from_millis(FRAME * GOP) + 2 * MOMENT);
    let later = [check_line(&player.seen, 0, [96, 98]), check_line(&player.seen, 1, [97, 97])];
    assert!(later.iter().all(|later| later.abs() < SHIFT), "{later:?}");
    assert!((later[0] - later[1]).abs() <= 20.0, "{later:?}");
    let first = player.seen.iter().find(|packet| packet.track == 0 && packet.id == 2).unwrap();
    assert_eq!(first.nal, 32, "it begins with the parameter sets of a keyframe");
    // Whoever takes longer is waited for.
    udp.rtsp.reply(&of_udp, 200);
    let deadline = Instant::now() + SOON;
    let mut last: Option<Seen> = None;
    loop {
        let seen = Seen::of(0, &udp.recv(), Instant::now());
        if let Some(last) = last {
            assert_eq!((seen.ssrc, seen.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
        }
        last = Some(seen);
        if seen.id == 2 {
            assert_eq!(seen.payload_type, 98);
            break;
        }
        assert!(Instant::now() < deadline, "it does not go over");
    }
    // It is one session like any other.
    let url = bed.mesh.url("cam");
    for (rtsp, session) in [(&mut player.rtsp, &player.session), (&mut udp.rtsp, &udp.session)] {
        assert_eq!(rtsp.ask("GET_PARAMETER", &url, &[("Session", session)], b"").status, 200);
        assert_eq!(rtsp.ask("TEARDOWN", &url, &[("Session", session)], b"").status, 200);
    }
    assert_eq!((bed.announces("moved"), bed.announces("refused")), (2.0, 0.0));
    bed.mesh.wait_value("msm_streams ", 0.0);
    bed.mesh.wait_value("msm_sessions ", 0.0);
}

#[test]
fn who_says_no_ends_and_the_log_says_why() {
    crate::common::log::keep();
    let bed = Bed::start(PATIENT, &h265());
    let (mut player, mut terse) = (Player::start(&bed.mesh), Player::start(&bed.mesh));
    player.begin(MOMENT);
    bed.lose_the_first(PATIENT);
    let told = player.rtsp.next_told();
    player.rtsp.reply(&told, 501);
    has_ended(&mut player.rtsp, SOON);
    // Without a number, as ffmpeg answers.
    terse.rtsp.next_told();
    terse.rtsp.raw(b"RTSP/1.0 501 Not Implemented\r\n\r\n");
    has_ended(&mut terse.rtsp, SOON);
    bed.mesh.wait_value("msm_sessions ", 0.0);
    assert_eq!(bed.announces("refused"), 2.0);
    for session in [&player.session, &terse.session] {
        crate::common::log::wait(&["another form", "refused", "answers ANNOUNCE with 501", session]);
    }
    // Who comes again has the other form.
    let mut again = Player::start(&bed.mesh);
    again.watch_until(2, MOMENT);
}

#[test]
fn who_does_not_answer_in_time_ends() {
    let bed = Bed::start("on_change: announce, announce_timeout: 400ms", &h265());
    let mut player = Player::start(&bed.mesh);
    player.begin(MOMENT);
    bed.lose_the_first("on_change: announce, announce_timeout: 400ms");
    player.rtsp.next_told();
    let began = Instant::now();
    has_ended(&mut player.rtsp, SOON);
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(bed.announces("unanswered"), 1.0);
}

#[test]
fn who_cannot_go_over_is_not_asked() {
    let picture = "m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\na=control:trackID=0\r\n";
    let only_video = format!("{}{picture}", BOTH.split("m=").next().unwrap());
    let two_pictures =
        only_video.clone() + "m=video 0 RTP/AVP 97\r\na=rtpmap:97 H265/90000\r\na=control:trackID=1\r\n";
    // Fewer tracks, other kinds; a player that says yes to everything; one that speaks a version without ANNOUNCE.
    let nods: &[(&str, &str)] = &[("User-Agent", "GStreamer/1.26.2")];
    for (description, more, version) in [
        (&only_video, &[][..], "1.0"),
        (&two_pictures, &[][..], "1.0"),
        (&h265(), nods, "1.0"),
        (&h265(), &[][..], "2.0"),
    ] {
        let bed = Bed::start(PATIENT, description);
        let mut rtsp = bed.mesh.connect();
        rtsp.version = version;
        let mut player = Player::with(rtsp, &bed.mesh, more);
        // The picture is of the same kind: whoever has set up that alone goes on.
        let mut half = Reader::start(&bed.mesh, "cam");
        player.begin(MOMENT);
        bed.lose_the_first(PATIENT);
        has_ended(&mut player.rtsp, SOON);
        let told = half.rtsp.next_told();
        half.rtsp.reply(&told, 200);
        while Seen::of(0, &half.recv(), Instant::now()).id != 2 {}
        bed.mesh.wait_counter("msm_announces_total{cluster=\"back\",outcome=\"moved\"}", 1.0);
        assert_eq!((bed.announces("not_asked"), bed.announces("moved")), (1.0, 1.0));
    }
}

#[test]
fn a_track_with_another_clock_is_another_source() {
    let description = h265().replace("L16/48000", "L16/44100");
    let bed = Bed::start(PATIENT, &description);
    let mut player = Player::start(&bed.mesh);
    player.begin(MOMENT);
    bed.lose_the_first(PATIENT);
    let told = player.rtsp.next_told();
    player.rtsp.reply(&told, 200);
    player.watch_until(2, 2 * MOMENT);
    check_line(&player.seen, 0, [96, 98]);
    let ssrc =
        |id: u8| player.seen.iter().find(|seen| seen.track == 1 && seen.id == id).map(|seen| seen.ssrc);
    assert!(ssrc(1).is_some() && ssrc(2).is_some() && ssrc(1) != ssrc(2), "RFC 7160 §4.1");
}

#[test]
fn an_endpoint_with_the_form_that_readers_know_is_preferred() {
    let bed = Bed::start(PATIENT, &h265());
    let third = Endpoint::start(3, Instant::now());
    let mut player = Player::start(&bed.mesh);
    player.begin(MOMENT);
    bed.reload(&[&bed.first, &bed.second, &third], PATIENT);
    bed.second.behaves.refuses.store(0, Ordering::SeqCst);
    bed.first.kill();
    player.watch_until(3, MOMENT);
    assert!(player.rtsp.told.is_empty(), "{:?}", player.rtsp.told);
}

#[test]
fn an_endpoint_that_is_left_plays_until_readers_have_said_yes() {
    let bed = Bed::start(PATIENT, &h265());
    let (mut player, mut other) = (Player::start(&bed.mesh), Player::start(&bed.mesh));
    player.begin(MOMENT);
    bed.second.behaves.refuses.store(0, Ordering::SeqCst);
    bed.reload(&[&bed.second], PATIENT);
    let patience = Instant::now() + SOON;
    while player.rtsp.told.is_empty() {
        assert!(player.next().id == 1 && Instant::now() < patience, "nobody is told");
    }
    player.watch(2 * MOMENT);
    assert_eq!(player.seen.last().unwrap().id, 1, "it plays on until there is an answer");
    let told = player.rtsp.next_told();
    check_told(&told, &bed.mesh, &player.session);
    player.rtsp.reply(&told, 200);
    player.watch_until(2, 2 * MOMENT);
    let later = check_line(&player.seen, 0, [96, 98]);
    assert!(later.abs() < SHIFT, "{later}");
    // Both have the same camera: hardly a picture of it is missing.
    let pictures = player.seen.iter().filter(|seen| seen.track == 0 && seen.frame.is_some());
    let pictures: Vec<_> = pictures.map(|seen| (seen.id, seen.frame.unwrap_or_default())).collect();
    let at = pictures.iter().position(|(id, _)| *id == 2).unwrap();
    let missing = pictures[at].1.saturating_sub(pictures[at - 1].1);
    assert!(u64::from(missing) < GOP, "{missing} pictures");
    let told = other.rtsp.next_told();
    other.rtsp.reply(&told, 405);
    has_ended(&mut other.rtsp, SOON);
    assert_eq!((bed.announces("moved"), bed.announces("refused")), (1.0, 1.0));
    bed.first.server.wait("TEARDOWN", 1);
}

#[test]
fn a_member_ends_and_does_as_its_own_cluster_says() {
    for (policy, says) in [(PATIENT, Some(200)), (PATIENT, Some(501)), ("on_change: end", None)] {
        let ca = Ca::new("test.example");
        let epoch = Instant::now();
        let (first, second) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
        let routes = format!(
            "routes: [{{name: all, match: {{url: '/{{path...}}'}}, allow: ['spiffe://test.example/near'], backends: [{{cluster: cam}}]}}]\n\
             clusters: {{cam: {{endpoints: ['{}', '{}'], transport: tcp, failover: {{{PATIENT}}}}}}}\n",
            first.url(),
            second.url()
        );
        second.behaves.refuses.store(503, Ordering::SeqCst);
        let (far, hop) = crate::common::pair::far(&ca.member("/far"), &routes);
        let source = ca.member("/near") as Arc<dyn IdentitySource>;
        let near = TestMesh::with(
            &format!(
                "workers: 2\nlisteners: [{{name: test, address: '127.0.0.1:0', ports: {}}}]\n\
                 routes: [{{name: all, match: {{url: '/{{path...}}'}}, backends: [{{cluster: back}}], idle_timeout: 500ms}}]\n\
                 clusters: {{back: {{endpoints: ['rtsp://{hop}'], hop: mesh, peers: ['spiffe://test.example/far'], failover: {{{policy}}}}}}}\n",
                reader_port()
            ),
            |builder| builder.identity(source),
        );
        let mut player = Player::start(&near);
        player.begin(MOMENT);
        *second.behaves.description.lock().unwrap() = h265();
        second.behaves.h265.store(true, Ordering::SeqCst);
        second.behaves.video.store(98, Ordering::SeqCst);
        second.behaves.refuses.store(0, Ordering::SeqCst);
        first.kill();
        let Some(status) = says else {
            has_ended(&mut player.rtsp, SOON);
            continue;
        };
        let told = player.rtsp.next_told();
        check_told(&told, &near, &player.session);
        // The member was not asked: it says yes to everything.
        assert_eq!(far.counter("msm_announces_total{cluster=\"cam\",outcome=\"not_asked\"}"), 1.0);
        player.rtsp.reply(&told, status);
        if status == 200 {
            player.watch_until(2, 2 * MOMENT);
            check_line(&player.seen, 0, [96, 98]);
            assert_eq!(announces(&near, "moved"), 1.0);
        } else {
            has_ended(&mut player.rtsp, SOON);
            assert_eq!(announces(&near, "refused"), 1.0);
        }
    }
}

#[test]
fn who_is_to_go_to_another_backend_is_told_and_stays_if_it_says_no() {
    let epoch = Instant::now();
    let (old, new) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
    *new.behaves.description.lock().unwrap() = h265();
    new.behaves.h265.store(true, Ordering::SeqCst);
    new.behaves.video.store(98, Ordering::SeqCst);
    let port = reader_port();
    let yaml = |of_old: u8, of_new: u8| {
        format!(
            "workers: 2\nlisteners: [{{name: test, address: '127.0.0.1:0', ports: {port}}}]\n\
             routes: [{{name: all, match: {{url: '/{{path...}}'}}, migrate: true, idle_timeout: 500ms, \
             backends: [{{cluster: old, weight: {of_old}}}, {{cluster: back, weight: {of_new}}}]}}]\n\
             clusters:\n  old: {{transport: tcp, endpoints: ['{}']}}\n  \
             back: {{transport: tcp, endpoints: ['{}'], failover: {{{PATIENT}}}}}\n",
            old.url(),
            new.url()
        )
    };
    let mesh = TestMesh::from_yaml(&yaml(1, 0));
    let (mut goes, mut stays) = (Player::start(&mesh), Player::start(&mesh));
    goes.begin(MOMENT);
    let config = Config::from_yaml(&yaml(0, 1), "test.yaml", std::iter::empty()).unwrap();
    mesh.block_on(mesh.mesh.reload(config)).unwrap();
    let (told, of_stays) = (goes.rtsp.next_told(), stays.rtsp.next_told());
    check_told(&told, &mesh, &goes.session);
    goes.rtsp.reply(&told, 200);
    stays.rtsp.reply(&of_stays, 501);
    goes.watch_until(2, MOMENT);
    let later = check_line(&goes.seen, 0, [96, 98]);
    assert!(later.abs() < SHIFT, "{later}");
    mesh.wait_counter("msm_announces_total{cluster=\"back\",outcome=\"refused\"}", 1.0);
    stays.watch(MOMENT);
    stays.seen.clear();
    stays.watch(MOMENT);
    assert!(stays.seen.iter().all(|seen| seen.id == 1));
    assert_eq!(announces(&mesh, "moved"), 1.0);
}
