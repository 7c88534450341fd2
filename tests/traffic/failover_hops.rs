//! Streams that come from other members, and go on from another one, or from what is none.

use std::time::{Duration, Instant};

use crate::common::TestMesh;
use crate::common::chain::{far, near};
use crate::common::endpoint::{Endpoint, Player, check};
use crate::common::front::Front;
use crate::common::member::Ca;

fn failovers(mesh: &TestMesh) -> f64 {
    mesh.counter("msm_failovers_total{cluster=\"back\"")
}

#[test]
fn readers_of_a_member_go_on_with_another_one() {
    for standby in ["none", "warm"] {
        let ca = Ca::new("test.example");
        let epoch = Instant::now();
        let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
        let ((first, first_hop), (second, second_hop)) = (far(&ca, &one), far(&ca, &two));
        let near = near(&ca, &[first_hop, second_hop], &format!(", failover: {{standby: {standby}}}"));
        let mut player = Player::start(&near);
        player.begin(Duration::from_millis(1_500));
        let from = player.seen.last().unwrap().id;
        let (gone, stays, to) = if from == 1 { (first, second, 2) } else { (second, first, 1) };
        drop(gone);
        player.watch_until(to, Duration::from_millis(2_500));
        let splice = check(&player.seen, from, to);
        assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{standby}: {splice:?}");
        assert!((splice.later[0] - splice.later[1]).abs() <= 20.0, "{standby}: {splice:?}");
        assert_eq!(failovers(&near), 1.0, "{}", near.metrics());
        drop(player);
        near.wait_value("msm_streams ", 0.0);
        stays.wait_value("msm_sessions ", 0.0);
    }
}

#[test]
fn a_member_that_is_given_up_while_it_is_asked_keeps_no_session() {
    let ca = Ca::new("test.example");
    let epoch = Instant::now();
    let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
    let ((first, first_hop), (second, second_hop)) = (far(&ca, &one), far(&ca, &two));
    let near = near(&ca, &[first_hop, second_hop], ", failover: {hold: 6s}");
    let mut player = Player::start(&near);
    player.begin(Duration::from_millis(500));
    let from = player.seen.last().unwrap().id;
    let (gone, stays, camera, to) =
        if from == 1 { (first, second, &two, 2) } else { (second, first, &one, 1) };
    *camera.behaves.freezes.lock().unwrap() = "PLAY".to_owned();
    drop(gone);
    // The second attempt has begun: the first was given up without an answer.
    stays.wait_value("msm_sessions ", 2.0);
    camera.behaves.freezes.lock().unwrap().clear();
    player.watch_until(to, Duration::from_millis(1_000));
    check(&player.seen, from, to);
    stays.wait_value("msm_sessions ", 1.0);
    drop(player);
    near.wait_value("msm_streams ", 0.0);
    stays.wait_value("msm_sessions ", 0.0);
}

#[test]
fn a_stream_moves_from_a_plain_server_to_a_member_and_back() {
    let ca = Ca::new("test.example");
    let epoch = Instant::now();
    let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
    // The first speaks RTSP over TLS, the second is a member.
    let front = Front::start(&ca.member("/far"), false, one.server.address);
    let (member, hop) = far(&ca, &two);
    let near = near(&ca, &[front.address, hop], ", fallback: rtsps");
    let mut player = Player::start(&near);
    player.begin(Duration::from_millis(800));
    let from = player.seen.last().unwrap().id;
    let mut member = Some(member);
    if from == 1 {
        one.kill();
        front.cut();
    } else {
        member = None;
    }
    player.watch_until(3 - from, Duration::from_millis(800));
    check(&player.seen, from, 3 - from);
    assert_eq!(failovers(&near), 1.0, "{}", near.metrics());
    if from == 2 {
        return;
    }
    // And back.
    one.behaves.refuses.store(0, std::sync::atomic::Ordering::SeqCst);
    drop(member);
    player.seen.retain(|packet| packet.id == 2);
    player.watch_until(1, Duration::from_millis(800));
    check(&player.seen, 2, 1);
    let rx = |hop: &str| {
        near.counter(&format!(
            "msm_packets_total{{route=\"all\",cluster=\"back\",hop=\"{hop}\",direction=\"rx\"}}"
        ))
    };
    assert!(rx("plain") > 50.0 && rx("mesh") > 50.0, "{}", near.metrics());
}
