//! Limits: never more sessions than are allowed.

use super::*;

fn limited(sessions: Option<u32>, sessions_per_endpoint: Option<u32>) -> ClusterOptions {
    ClusterOptions { limits: ClusterLimits { sessions, sessions_per_endpoint }, ..ClusterOptions::default() }
}

#[test]
fn one_endpoint_is_full_and_then_all_are() {
    for kind in pick::KINDS_OF_TESTS {
        let mut bed = Bed::new(named(3), ClusterOptions { balance: kind, ..limited(None, Some(4)) });
        for _ in 0..12 {
            let host = bed.pick().unwrap();
            bed.begin(&host);
            assert!(bed.cluster.view(bed.now).all(|view| view.sessions <= 4), "{}", kind.name());
        }
        let full = Err(PickError::Full { limit: "limits.sessions_per_endpoint", of: 4 });
        assert_eq!(bed.pick(), full);
        assert_eq!(bed.pick_without(&[bed.id("a")]), full);
        bed.cluster.end(bed.id("b"));
        assert_eq!(bed.pick(), Ok("b".into()), "{}", kind.name());
        assert_eq!(bed.pick_without(&[bed.id("b")]), full);
        assert_eq!(bed.pick_without(&[bed.id("a"), bed.id("b"), bed.id("c")]), Err(PickError::Tried));
    }
}

#[test]
fn the_cluster_is_full() {
    let mut bed = Bed::new(named(2), limited(Some(3), None));
    for _ in 0..3 {
        let host = bed.pick().unwrap();
        bed.begin(&host);
    }
    let full = PickError::Full { limit: "limits.sessions", of: 3 };
    assert_eq!(bed.pick(), Err(full));
    assert_eq!(full.to_string(), "`limits.sessions` of 3 is reached");
    // One that leaves with its sessions leaves no room until they have ended.
    let a = bed.id("a");
    bed.cluster.set_endpoints(bed.now, &specs(&["rtsp://b"]));
    assert_eq!(bed.pick(), Err(full));
    bed.cluster.end(a);
    assert_eq!(bed.pick(), Ok("b".into()));
}

#[test]
fn a_limit_that_is_lowered_ends_nobody() {
    let mut bed = Bed::new(named(2), limited(None, Some(9)));
    (0..5).for_each(|_| bed.begin("a"));
    bed.cluster.set_options(bed.now, limited(None, Some(2)));
    assert!(bed.cluster.check(bed.id("a")).is_ok());
    assert_eq!(bed.counts(4), [0, 4]);
    (0..4).for_each(|_| bed.cluster.end(bed.id("a")));
    assert_eq!(bed.counts(4), [2, 2]);
}

#[test]
fn an_endpoint_that_is_named_is_had_where_it_may_be_picked() {
    let mut bed = Bed::new(named(3), limited(None, Some(2)));
    let port = bed.cluster.endpoints().next().unwrap().1.endpoint.port;
    let at = |bed: &Bed, host: &str, port| bed.cluster.at(host, port).map(|(id, _)| id);
    assert_eq!(at(&bed, "B", port), Some(bed.id("b")));
    assert_eq!(at(&bed, "b", port + 1), None, "another port is another server");
    assert_eq!(at(&bed, "elsewhere", port), None);
    (0..2).for_each(|_| bed.begin("b"));
    assert_eq!(at(&bed, "b", port), None, "full");
    bed.cluster.set_options(bed.now, limited(Some(2), None));
    assert_eq!(at(&bed, "a", port), None, "the cluster is full");
    bed.cluster.set_options(bed.now, limited(None, None));
    assert_eq!(at(&bed, "a", port), Some(bed.id("a")));
    bed.cluster.set_endpoints(bed.now, &specs(&["rtsp://b"]));
    assert_eq!(at(&bed, "a", port), None, "it has gone");
}
