//! Members come and go; who is known stays.

use super::*;

#[test]
fn endpoints_take_turns_and_what_was_tried_is_left_out() {
    let mut bed = Bed::new(named(2), ClusterOptions::default());
    let hosts: Vec<_> = (0..3).map(|_| bed.pick().unwrap()).collect();
    assert_eq!(hosts, ["a", "b", "a"]);
    let ids = [bed.id("a"), bed.id("b")];
    assert_eq!(bed.pick_without(&ids[..1]), Ok("b".into()));
    assert_eq!(bed.pick_without(&ids), Err(PickError::Tried));
    assert_eq!(Bed::new(Vec::new(), ClusterOptions::default()).pick(), Err(PickError::Empty));
}

#[test]
fn who_stays_is_known_and_who_goes_is_told() {
    let mut bed = Bed::new(named(2), ClusterOptions::default());
    let (a, b) = (bed.id("a"), bed.id("b"));
    bed.begin("a");
    bed.begin("b");
    bed.cluster.set_endpoints(bed.now, &specs(&["rtsp://c", "rtsp://b", "rtsp://b"]));
    assert_eq!(bed.cluster.endpoints().count(), 2);
    assert_eq!(bed.id("b"), b);
    assert!(![a, b].contains(&bed.id("c")));
    let endpoint = Endpoint::parse("rtsp://a").unwrap();
    assert_eq!(bed.events(), [ClusterEvent::Removed { id: a, endpoint }]);
    assert!(bed.cluster.check(a).is_err() && bed.cluster.check(b).is_ok());
    assert_eq!(bed.cluster.sessions(), 2);
    bed.cluster.end(a);
    bed.cluster.end(a);
    assert_eq!(bed.cluster.sessions(), 1);
    let sessions: Vec<u32> = bed.cluster.view(bed.now).map(|view| view.sessions).collect();
    assert_eq!(sessions, [0, 1]);
}

#[test]
fn the_same_list_again_changes_nothing() {
    let mut bed = Bed::new(named(3), ClusterOptions::default());
    let mut picks = Vec::new();
    for _ in 0..6 {
        bed.cluster.set_endpoints(bed.now, &named(3));
        picks.push(bed.pick().unwrap());
    }
    assert_eq!(picks, ["a", "b", "c", "a", "b", "c"]);
    assert_eq!(bed.events(), []);
}

#[test]
fn another_weight_or_order_keeps_sessions() {
    let mut bed = Bed::new(
        named(2),
        ClusterOptions { balance: BalanceKind::LeastStreams, ..ClusterOptions::default() },
    );
    (0..3).for_each(|_| bed.begin("a"));
    let mut turned = named(2);
    turned.reverse();
    turned[1].weight = 8;
    bed.cluster.set_endpoints(bed.now, &turned);
    // 4 of 8 against 1 of 1.
    assert_eq!(bed.pick(), Ok("a".into()));
    let options = ClusterOptions { balance: BalanceKind::Random, ..ClusterOptions::default() };
    bed.cluster.set_options(bed.now, options);
    assert_eq!(bed.cluster.view(bed.now).map(|view| view.sessions).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn new_sessions_count_before_they_are_measured() {
    let options = ClusterOptions { balance: BalanceKind::LeastBitrate, ..ClusterOptions::default() };
    let mut bed = Bed::new(named(2), options);
    for (host, bitrate) in [("a", 9_000_000), ("b", 5_000_000)] {
        bed.begin(host);
        bed.cluster.set_bitrate(bed.id(host), bitrate);
        bed.cluster.set_bitrate(bed.id(host), bitrate);
    }
    // Each new one is expected to bring what the others do, 7, and then 14 / 3: after one `b` has 12.
    let mut picks = Vec::new();
    for _ in 0..3 {
        let picked = bed.pick().unwrap();
        bed.begin(&picked);
        picks.push(picked);
    }
    assert_eq!(picks, ["b", "a", "b"]);
    let b = bed.id("b");
    bed.cluster.set_bitrate(b, 1_000_000);
    bed.cluster.set_bitrate(b, 1_000_000);
    assert_eq!(bed.pick(), Ok("b".into()), "what is measured is what counts");
}
