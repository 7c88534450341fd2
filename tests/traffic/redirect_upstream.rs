//! Servers that send their sessions elsewhere: the streams that come from them go, and readers notice nothing.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use msm::config::Config;

use crate::common::endpoint::{Endpoint, Player, check};
use crate::common::{Line, Reader, TcpPublisher, TestMesh, backend, reader_port, rtp};

const SOON: Duration = Duration::from_secs(10);

/// A mesh in front of these endpoints.
fn in_front_of(endpoints: &[String], failover: &str) -> TestMesh {
    let endpoints = backend::list(endpoints);
    backend::mesh(&format!("transport: tcp, endpoints: [{endpoints}], failover: {{{failover}}}"))
}

fn failovers(mesh: &TestMesh, reason: &str) -> f64 {
    mesh.counter(&format!("msm_failovers_total{{cluster=\"back\",reason=\"{reason}\"}}"))
}

/// Has the endpoint send whoever plays elsewhere.
fn send(from: &Endpoint, to: &str) {
    let connection = from.connection();
    let location = if to.is_empty() { String::new() } else { format!("Location: {to}\r\n") };
    let text =
        format!("REDIRECT rtsp://x/cam RTSP/1.0\r\nCSeq: 900\r\nSession: s{connection}\r\n{location}\r\n");
    from.server.raw(connection, text.as_bytes());
}

#[test]
fn the_old_server_plays_until_the_one_that_it_names_has_a_keyframe() {
    let epoch = Instant::now();
    let all = [1, 2, 3].map(|id| Endpoint::start(id, epoch));
    let mesh = in_front_of(&all.each_ref().map(Endpoint::url), "");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(800));
    let first = player.seen.last().unwrap().id;
    // To and fro between two of three, which no picker does by itself.
    let second = first % 3 + 1;
    let of = |id: u8| &all[usize::from(id) - 1];
    for (turn, (from, to)) in
        [(first, second), (second, first), (first, second), (second, first)].into_iter().enumerate()
    {
        player.seen.retain(|packet| packet.id == from);
        send(of(from), &format!("{}/cam", of(to).url()));
        player.watch_until(to, Duration::from_millis(600));
        let splice = check(&player.seen, from, to);
        // Both sent all the time.
        assert!(splice.gap < Duration::from_millis(300), "{splice:?}");
        assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{splice:?}");
        assert_eq!(failovers(&mesh, "redirected"), turn as f64 + 1.0, "{}", mesh.metrics());
        of(from).server.wait("TEARDOWN", turn / 2 + 1);
    }
    let third = 6 - first - second;
    assert!(of(third).server.asked("DESCRIBE").is_empty(), "the third was asked");
    // The server was answered.
    assert_eq!(of(first).server.wait("RTSP/1.0", 1).uri, "200");
}

#[test]
fn no_server_has_somebody_else_asked() {
    let epoch = Instant::now();
    let all = [1, 2].map(|id| Endpoint::start(id, epoch));
    let mesh = in_front_of(&all.each_ref().map(Endpoint::url), "");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(800));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let from = player.seen.last().unwrap().id;
    send(&all[usize::from(from) - 1], &format!("rtsp://{}/cam", other.local_addr().unwrap()));
    player.watch_until(3 - from, Duration::from_millis(600));
    check(&player.seen, from, 3 - from);
    assert!(other.accept().is_err(), "who is no endpoint of the cluster was connected to");
    // Without a usable Location, too.
    player.seen.retain(|packet| packet.id != from);
    send(&all[2 - usize::from(from)], "");
    player.watch_until(from, Duration::from_millis(300));
    check(&player.seen, 3 - from, from);
}

#[test]
fn servers_that_are_trusted_with_it_choose_any_other() {
    let epoch = Instant::now();
    let (one, two, other) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch), Endpoint::start(3, epoch));
    let mesh = in_front_of(&[one.url(), two.url()], "on_redirect: follow");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(800));
    let from = player.seen.last().unwrap().id;
    send(if from == 1 { &one } else { &two }, &format!("{}/elsewhere", other.url()));
    player.watch_until(3, Duration::from_millis(600));
    check(&player.seen, from, 3);
    assert!(other.server.asked("DESCRIBE")[0].uri.ends_with("/elsewhere"));
}

#[test]
fn the_only_endpoint_plays_on_until_it_ends() {
    let one = Endpoint::start(1, Instant::now());
    let mesh = in_front_of(&[one.url()], "");
    let mut player = Player::start(&mesh);
    player.begin(Duration::from_millis(800));
    send(&one, &format!("{}/cam", one.url()));
    player.watch(Duration::from_secs(3));
    let longest = player
        .seen
        .iter()
        .filter(|packet| packet.track == 0)
        .collect::<Vec<_>>()
        .windows(2)
        .map(|pair| {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            pair[1].at - pair[0].at
        })
        .max();
    assert!(longest.unwrap() < Duration::from_secs(1), "{longest:?}");
    assert!(one.server.asked("TEARDOWN").is_empty(), "it was left");
    assert_eq!(mesh.counter("msm_failovers_total"), 0.0, "{}", mesh.metrics());
}

/// Two meshes as servers of one stream: the route of one of them becomes a redirect to the other.
#[test]
fn a_redirect_of_one_mesh_takes_the_readers_of_another_over() {
    let ports = [reader_port(), reader_port()];
    let yaml = |port: u16, out: &str| {
        format!(
            "listeners:\n  - {{name: test, address: '127.0.0.1:0', ports: {port}}}\nroutes:\n  \
             - {{name: in, match: {{url: '/{{p...}}', actions: [publish]}}}}\n  \
             - {{name: out, match: {{url: '/{{p...}}', actions: [read]}}{out}}}\n"
        )
    };
    let servers = ports.map(|port| TestMesh::from_yaml(&yaml(port, "")));
    let mut publishers = servers.each_ref().map(|server| TcpPublisher::start(server, "cam"));
    let urls = servers.each_ref().map(|server| format!("rtsp://{}", server.address));
    let front = in_front_of(&urls, "");
    let reader = Reader::start(&front, "cam");
    servers.iter().find(|server| server.counter("msm_readers{") > 0.0).expect("somebody plays");
    let old = usize::from(servers[1].counter("msm_readers{") > 0.0);
    let new = 1 - old;
    let mut line = Line::default();
    // Each sends a keyframe now and then, at moments of its own.
    let packet = |of: usize, number: u16| {
        let nal = if number % 7 == 3 * of as u16 { 0x65 } else { 0x41 };
        let mut packet = rtp(number, u32::from(number) * 3600, of as u32 + 1, nal, 300);
        packet[20] = of as u8;
        packet[21..23].copy_from_slice(&number.to_be_bytes());
        packet
    };
    for number in 0..14 {
        publishers[old].send(&packet(old, number));
        line.check(&reader.recv(), &packet(old, number));
    }
    let out = format!(", redirect: {{to: '{}', leave_within: 1h}}", urls[new]);
    let config = Config::from_yaml(&yaml(ports[old], &out), "test.yaml", std::iter::empty()).unwrap();
    let changes = servers[old].block_on(servers[old].mesh.reload(config)).unwrap();
    assert_eq!(changes.redirected, 1, "{changes}");
    let (deadline, mut number) = (Instant::now() + SOON, 14);
    let mut seen = Vec::new();
    while seen.iter().filter(|(of, _)| *of == new).count() < 20 {
        assert!(Instant::now() < deadline, "it does not go over: {seen:?}");
        for of in [old, new] {
            publishers[of].send(&packet(of, number));
        }
        number += 1;
        while let Some(came) = reader.try_recv(Duration::from_millis(15)) {
            let (of, number) = (usize::from(came[20]), u16::from_be_bytes([came[21], came[22]]));
            line.check(&came, &packet(of, number));
            seen.push((of, number));
        }
    }
    let at = seen.iter().position(|(of, _)| *of == new).unwrap();
    assert!(seen[at..].iter().all(|(of, _)| *of == new), "{seen:?}");
    assert!(packet(new, seen[at].1)[12] == 0x65, "it begins with a keyframe: {seen:?}");
    for part in [&seen[..at], &seen[at..]] {
        assert!(part.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "something is missing: {seen:?}");
    }
    // Of the old one everything came until the new one took over.
    assert!(seen[at].1 <= seen[at - 1].1 + 1, "{seen:?}");
    servers[old].wait_value("msm_readers{", 0.0);
}
