//! Members that drain: others that read from them go over to another member, and readers lose nothing.

use std::time::{Duration, Instant};

use crate::common::TestMesh;
use crate::common::chain::{far, near};
use crate::common::endpoint::{Endpoint, Player, check};
use crate::common::member::Ca;

/// Begins the end; how long it takes.
fn drain(mesh: &TestMesh, deadline: Duration) -> std::thread::JoinHandle<Duration> {
    let own = mesh.mesh.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        runtime.block_on(own.shutdown(deadline));
        began.elapsed()
    })
}

#[test]
fn readers_go_over_to_another_member_at_once() {
    let ca = Ca::new("test.example");
    let epoch = Instant::now();
    let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
    let ((first, first_hop), (second, second_hop)) = (far(&ca, &one), far(&ca, &two));
    let near = near(&ca, &[first_hop, second_hop], "");
    let mut player = Player::start(&near);
    player.begin(Duration::from_millis(1_000));
    let from = player.seen.last().unwrap().id;
    let leaves = if from == 1 { &first } else { &second };
    let thread = drain(leaves, Duration::from_secs(60));
    player.watch_until(3 - from, Duration::from_millis(1_000));
    let splice = check(&player.seen, from, 3 - from);
    assert!(splice.gap < Duration::from_millis(300), "{splice:?}");
    assert!(splice.later.iter().all(|later| later.abs() < 60.0), "{splice:?}");
    let redirected = near.counter("msm_failovers_total{cluster=\"back\",reason=\"redirected\"}");
    assert_eq!(redirected, 1.0, "{}", near.metrics());
    // It is over as soon as nobody reads from it any more, which is long before its time.
    let took = thread.join().unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn who_has_no_other_member_reads_until_the_end() {
    let ca = Ca::new("test.example");
    let one = Endpoint::start(1, Instant::now());
    let (member, hop) = far(&ca, &one);
    let near = near(&ca, &[hop], "");
    let mut player = Player::start(&near);
    player.begin(Duration::from_millis(1_000));
    let deadline = Duration::from_secs(3);
    let (began, thread) = (Instant::now(), drain(&member, deadline));
    player.watch(deadline - Duration::from_millis(500));
    assert!(began.elapsed() < deadline, "too slow to say anything");
    let video: Vec<_> = player.seen.iter().filter(|packet| packet.track == 0).collect();
    for pair in video.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert!(pair[1].at - pair[0].at < Duration::from_secs(1), "{pair:?}");
    }
    assert!(thread.join().unwrap() >= deadline);
}
