//! How a server's tracks relate by its `RTP-Info`, where it sends no reports (RFC 2326 §12.33).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::endpoint::{Endpoint, FRAME, Player, check};
use crate::common::{TestMesh, reader_port};

/// Frames by which sound comes late.
const LATE: u32 = 6;

/// Late readers are told times where the stream's packets are at hand, which is on one worker.
fn in_front_of(endpoints: &[&Endpoint], failover: &str) -> TestMesh {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{}\"", endpoint.url())).collect();
    TestMesh::from_yaml(&format!(
        "workers: 1\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{transport: tcp, endpoints: [{}]{failover}}}\n",
        reader_port(),
        endpoints.join(", ")
    ))
}

#[test]
fn late_readers_are_told_times_of_one_moment_though_sound_comes_late() {
    let camera = Endpoint::start(1, Instant::now());
    camera.behaves.informs.store(true, Ordering::SeqCst);
    camera.behaves.late_sound.store(LATE, Ordering::SeqCst);
    let mesh = in_front_of(&[&camera], "");
    let mut first = Player::start(&mesh);
    first.begin(Duration::from_millis(1_000));
    let mut late = Player::start(&mesh);
    let times: Vec<u32> = late
        .info
        .split("rtptime=")
        .skip(1)
        .map(|rest| rest.split([',', ';']).next().unwrap().parse().unwrap())
        .collect();
    late.begin(Duration::from_millis(500));
    let of = |track: usize| {
        late.seen.iter().find(|packet| packet.track == track && packet.frame.is_some()).unwrap()
    };
    let (picture, sound) = (of(0), of(1));
    assert_eq!(times[0], picture.timestamp, "{}", late.info);
    // The time of the sound that belongs to the first picture.
    let later = i64::from(sound.frame.unwrap()) - i64::from(picture.frame.unwrap());
    let expected = sound.timestamp.wrapping_sub((later * FRAME as i64 * 48) as u32);
    let apart = times[1].wrapping_sub(expected).cast_signed();
    assert!(apart.abs() <= 2, "{apart} ticks: {}", late.info);
}

#[test]
fn tracks_stay_in_sync_over_a_splice_and_a_promotion() {
    for standby in ["none", "warm"] {
        let epoch = Instant::now();
        let (one, two) = (Endpoint::start(1, epoch), Endpoint::start(2, epoch));
        for endpoint in [&one, &two] {
            endpoint.behaves.informs.store(true, Ordering::SeqCst);
        }
        let mesh = in_front_of(&[&one, &two], &format!(", failover: {{standby: {standby}}}"));
        let mut player = Player::start(&mesh);
        player.begin(Duration::from_millis(200));
        let from = player.seen.last().unwrap().id;
        let (first, second) = if from == 1 { (&one, &two) } else { (&two, &one) };
        second.behaves.late_sound.store(LATE, Ordering::SeqCst);
        player.watch(Duration::from_millis(1_500));
        first.kill();
        player.watch_until(3 - from, Duration::from_millis(2_500));
        let splice = check(&player.seen, from, 3 - from);
        assert!((splice.later[0] - splice.later[1]).abs() <= 20.0, "{standby}: {splice:?}");
    }
}

#[test]
fn numbers_that_cannot_be_are_not_told() {
    let camera = Endpoint::start(1, Instant::now());
    camera.behaves.informs.store(true, Ordering::SeqCst);
    let mesh = in_front_of(&[&camera], "");
    let mut first = Player::start(&mesh);
    first.begin(Duration::from_millis(300));
    // Sound of five seconds ago, as servers write that tell each track's own start.
    camera.behaves.late_sound.store(125, Ordering::SeqCst);
    first.watch(Duration::from_millis(5_500));
    let mut late = Player::start(&mesh);
    late.begin(Duration::from_millis(300));
    let time: u32 =
        late.info.rsplit("rtptime=").next().unwrap().split([',', ';']).next().unwrap().parse().unwrap();
    let sound = late.seen.iter().find(|packet| packet.track == 1).unwrap();
    let apart = sound.timestamp.wrapping_sub(time).cast_signed();
    assert!(apart.abs() < 48_000, "{apart} ticks from the first sound: {}", late.info);
}
