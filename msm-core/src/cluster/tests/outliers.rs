//! Outliers: each rule, what it takes for nobody's fault, and for how long somebody is out.

use super::*;

fn options() -> ClusterOptions {
    ClusterOptions { outlier: Some(OutlierOptions::default()), ..ClusterOptions::default() }
}

fn bed(count: usize) -> Bed {
    Bed::new(named(count), options())
}

fn is_ejected(bed: &Bed, host: &str) -> bool {
    matches!(bed.health(host), Health::Ejected { .. })
}

#[test]
fn failures_in_a_row() {
    for failure in [
        Outcome::Unreachable,
        Outcome::TimedOut,
        Outcome::Protocol,
        Outcome::Refused { status: 500 },
        Outcome::Refused { status: 502 },
    ] {
        let mut bed = bed(2);
        (0..4).for_each(|url| bed.outcome("a", url, failure));
        bed.set_up("a", 1);
        (0..4).for_each(|url| bed.outcome("a", url, failure));
        assert!(!is_ejected(&bed, "a"), "one that was set up in between counts");
        bed.outcome("a", 1, failure);
        let until = bed.now + Duration::from_secs(30);
        assert_eq!(bed.health("a"), Health::Ejected { until, why: Why::Failures(5) });
        assert!(bed.cluster.check(bed.id("a")).is_err());
        assert_eq!(bed.counts(4), [0, 4]);
        let (id, endpoint) = (bed.id("a"), Endpoint::parse("rtsp://a").unwrap());
        assert_eq!(bed.events(), [ClusterEvent::Ejected { id, endpoint, why: Why::Failures(5), until }]);
    }
}

#[test]
fn what_was_asked_for_is_not_the_endpoints_fault() {
    let mut bed = bed(2);
    for url in 0..1000 {
        for status in [400, 401, 403, 404, 415, 453, 454, 459, 461, 503, 551] {
            bed.outcome("a", url, Outcome::Refused { status });
        }
    }
    assert!(!is_ejected(&bed, "a"), "URLs that nobody has");
    // One that was there and is gone, again and again.
    bed.set_up("b", 7);
    (0..100).for_each(|_| bed.outcome("a", 7, Outcome::Refused { status: 404 }));
    assert!(!is_ejected(&bed, "a"), "one URL");
    // What `b` has, `a` refuses.
    (0..5).for_each(|url| bed.set_up("b", 20 + url));
    (0..3).for_each(|url| bed.outcome("a", 20 + url, Outcome::Refused { status: 404 }));
    assert!(!is_ejected(&bed, "a"));
    (3..5).for_each(|url| bed.outcome("a", 20 + url, Outcome::Refused { status: 401 }));
    assert!(is_ejected(&bed, "a"));
}

#[test]
fn what_was_there_long_ago_may_have_ended() {
    let mut bed = bed(2);
    (0..5).for_each(|url| bed.set_up("b", url));
    bed.wait(KNOWN_FOR.as_millis() as u64);
    (0..5).for_each(|url| bed.outcome("a", url, Outcome::Refused { status: 404 }));
    assert!(!is_ejected(&bed, "a"));
}

#[test]
fn a_share_of_failures_within_the_window() {
    let mut own = bed(2);
    for step in 0..19_u64 {
        own.wait(step * 1000);
        if step % 2 == 0 { own.outcome("a", step, Outcome::TimedOut) } else { own.set_up("a", step) }
    }
    assert!(!is_ejected(&own, "a"), "19 are too few to tell");
    own.outcome("a", 1, Outcome::TimedOut);
    assert!(matches!(own.health("a"), Health::Ejected { why: Why::Ratio { failed: 11, of: 20 }, .. }));
    // The same over a longer time.
    let mut own = bed(2);
    for step in 0..100_u64 {
        own.wait(step * 2000);
        if step % 2 == 0 { own.outcome("a", step, Outcome::TimedOut) } else { own.set_up("a", step) }
    }
    assert!(!is_ejected(&own, "a"));
}

#[test]
fn media_that_stops_and_connections_that_break_off() {
    for (outcome, count, why) in [(Outcome::Silent, 3, Why::Silences(3)), (Outcome::Reset, 5, Why::Resets(5))]
    {
        // Several streams.
        let mut own = bed(2);
        (0..20).for_each(|_| own.begin("a"));
        (0..count - 1).for_each(|url| own.outcome("a", url, outcome));
        assert!(!is_ejected(&own, "a"));
        own.outcome("a", 99, outcome);
        assert!(matches!(own.health("a"), Health::Ejected { why: got, .. } if got == why));
        // One of many, which comes and goes by itself.
        let mut own = bed(2);
        (0..20).for_each(|_| own.begin("a"));
        (0..50).for_each(|_| own.outcome("a", 1, outcome));
        assert!(!is_ejected(&own, "a"));
        // The only one.
        let mut own = bed(2);
        own.begin("a");
        (0..count).for_each(|_| own.outcome("a", 1, outcome));
        assert!(is_ejected(&own, "a"));
        // Too long ago.
        let mut own = bed(2);
        for step in 0..50 {
            own.wait(step * 30_000 / (count - 1));
            own.outcome("a", step, outcome);
        }
        assert!(!is_ejected(&own, "a"));
    }
}

#[test]
fn loss_on_the_way_from_the_source() {
    let lossy = Outcome::Loss { lost: 60, expected: 500 };
    let fine = Outcome::Loss { lost: 2, expected: 500 };
    let mut own = bed(3);
    for _ in 0..3 {
        own.outcome("a", 1, lossy);
        own.outcome("b", 2, fine);
    }
    assert!(!is_ejected(&own, "a"), "1500 packets are too few to tell");
    own.outcome("a", 1, lossy);
    assert!(matches!(own.health("a"), Health::Ejected { why: Why::Loss { lost: 240, of: 2000 }, .. }));
    // Everybody's packets are lost: that is the way to this process.
    let mut own = bed(3);
    for _ in 0..100 {
        ["b", "c", "a"].iter().for_each(|host| own.outcome(host, 1, lossy));
    }
    assert!(!["a", "b", "c"].iter().any(|host| is_ejected(&own, host)));
    // Below the threshold.
    let mut own = bed(2);
    (0..100).for_each(|_| own.outcome("a", 1, Outcome::Loss { lost: 49, expected: 500 }));
    assert!(!is_ejected(&own, "a"));
    // More lost than there were says nothing impossible.
    own.outcome("a", 1, Outcome::Loss { lost: u64::MAX, expected: u64::MAX });
    own.outcome("a", 1, Outcome::Loss { lost: u64::MAX, expected: 1 });
}

#[test]
fn garbage() {
    let mut own = bed(2);
    own.outcome("a", 1, Outcome::Garbage { packets: 999 });
    own.wait(30_000);
    own.outcome("a", 1, Outcome::Garbage { packets: 999 });
    assert!(!is_ejected(&own, "a"), "not within one window");
    own.outcome("a", 1, Outcome::Garbage { packets: 1 });
    assert!(matches!(own.health("a"), Health::Ejected { why: Why::Garbage(1000), .. }));
}

#[test]
fn garbage_that_all_bring_is_nobodys() {
    let hosts = ["a", "b", "c"];
    let second = |own: &mut Bed, garbage: [u64; 3]| {
        own.now += Duration::from_secs(1);
        for (host, packets) in hosts.iter().zip(garbage) {
            own.outcome(host, 1, Outcome::Loss { lost: 0, expected: 1000 });
            own.outcome(host, 1, Outcome::Garbage { packets });
        }
    };
    // Each relays the same camera, or this process cannot read what is none.
    let mut own = bed(3);
    hosts.iter().for_each(|host| own.begin(host));
    (0..300).for_each(|_| second(&mut own, [400, 350, 450]));
    assert!(!hosts.iter().any(|host| is_ejected(&own, host)), "{:?}", own.news());
    // One brings so much more than the others.
    (0..40).for_each(|_| second(&mut own, [400, 400, 3_000]));
    assert_eq!(own.news(), ["ejected c"]);
    // A few in many are the number that they are, and as much more than none.
    let mut own = bed(3);
    (0..29).for_each(|_| second(&mut own, [40, 0, 0]));
    assert_eq!(own.news(), ["ejected a"]);
}

#[test]
fn who_is_told_of_first_is_not_the_worst() {
    for outcome in [Outcome::Loss { lost: 600, expected: 5000 }, Outcome::Garbage { packets: 5000 }] {
        let mut own = bed(2);
        ["a", "b"].iter().for_each(|host| own.begin(host));
        for _ in 0..60 {
            own.now += Duration::from_secs(1);
            ["a", "b"].iter().for_each(|host| own.outcome(host, 1, outcome));
        }
        assert_eq!(own.news(), [""; 0], "{outcome:?}");
        // Where the other one is silent nothing is waited for in vain.
        let mut own = bed(2);
        ["a", "b"].iter().for_each(|host| own.begin(host));
        for second in 0..4 {
            assert_eq!(is_ejected(&own, "a"), second > 2, "{outcome:?} after {second}");
            own.outcome("a", 1, outcome);
            own.now += Duration::from_secs(1);
        }
    }
}

#[test]
fn the_largest_is_held_against_the_others_of_the_same_time() {
    let mut own = bed(2);
    own.begin("b");
    // The first that is told of the cluster, and a while before what is told of the other one.
    own.outcome("b", 1, Outcome::Loss { lost: 10, expected: 80 });
    own.now += Duration::from_millis(1_500);
    own.begin("a");
    for _ in 0..200 {
        own.outcome("b", 1, Outcome::Loss { lost: 10, expected: 80 });
        own.outcome("a", 1, Outcome::Loss { lost: 600, expected: 4800 });
        own.outcome("b", 1, Outcome::Garbage { packets: 10 });
        own.outcome("a", 1, Outcome::Garbage { packets: 600 });
        own.now += Duration::from_secs(1);
    }
    assert_eq!(own.news(), [""; 0], "all lose one in eight");
}

#[test]
fn it_returns_and_the_next_time_is_longer() {
    let mut bed = bed(2);
    for seconds in [30, 60, 90] {
        let ejected = bed.now;
        (0..5).for_each(|url| bed.outcome("a", url, Outcome::Unreachable));
        // What its sessions still say while they leave is nothing new.
        (0..9).for_each(|url| bed.outcome("a", url, Outcome::Reset));
        let since_start = |at: Instant, start: Instant| (at - start).as_millis() as u64;
        let back = since_start(ejected, bed.start) + seconds * 1000;
        bed.wait(back - 1);
        assert_eq!(bed.counts(2), [0, 2], "{seconds}");
        bed.wait(back);
        assert_eq!(bed.counts(2), [1, 1], "{seconds}");
        assert!(bed.cluster.check(bed.id("a")).is_ok());
        assert_eq!(bed.news(), ["ejected a", "returned a"]);
        (0..4).for_each(|url| bed.outcome("a", url, Outcome::Unreachable));
        assert!(!is_ejected(&bed, "a"), "what was before is forgotten");
        bed.set_up("a", 1);
    }
    assert_eq!(bed.cluster.view(bed.now).next().unwrap().ejections, 3);
}

#[test]
fn the_last_one_stays_and_so_does_the_share_that_is_not_to_be_ejected() {
    let fail =
        |bed: &mut Bed, host: &str| (0..9).for_each(|url| bed.outcome(host, url, Outcome::Unreachable));
    let ejected = |bed: &Bed| {
        bed.cluster.view(bed.now).filter(|view| matches!(view.health, Health::Ejected { .. })).count()
    };
    for (count, share, wanted) in
        [(1, 100, 0), (2, 100, 1), (2, 50, 1), (3, 50, 1), (4, 50, 2), (5, 10, 1), (5, 0, 0), (5, 100, 4)]
    {
        let outlier = OutlierOptions { max_ejected: share, ..OutlierOptions::default() };
        let mut bed = Bed::new(
            named(count),
            ClusterOptions { outlier: Some(outlier), panic_threshold: 0, ..ClusterOptions::default() },
        );
        let hosts: Vec<String> = named(count).into_iter().map(|spec| spec.endpoint.host).collect();
        hosts.iter().for_each(|host| fail(&mut bed, host));
        assert_eq!(ejected(&bed), wanted, "{share}% of {count}");
        assert!(bed.pick().is_ok());
    }
    // One without a weight, or whose checks fail, is nobody who could take over.
    let mut specs = named(2);
    specs[1].weight = 0;
    let mut bed = Bed::new(specs, options());
    fail(&mut bed, "a");
    assert_eq!(ejected(&bed), 0);
}

#[test]
fn thresholds_of_zero_turn_rules_off() {
    let outlier = OutlierOptions {
        failures: 0,
        failure_ratio: 0,
        silences: 0,
        resets: 0,
        loss: 0,
        garbage: 0,
        ..OutlierOptions::default()
    };
    for outlier in [Some(outlier), None] {
        let mut bed = Bed::new(named(3), ClusterOptions { outlier, ..ClusterOptions::default() });
        for url in 0..200 {
            for outcome in [
                Outcome::Unreachable,
                Outcome::Silent,
                Outcome::Reset,
                Outcome::Loss { lost: 900, expected: 1000 },
                Outcome::Garbage { packets: 1000 },
            ] {
                bed.outcome("a", url, outcome);
            }
        }
        assert_eq!((bed.health("a"), bed.events().len()), (Health::Unknown, 0));
    }
}

#[test]
fn without_rules_those_that_are_out_return_at_once() {
    let mut bed = bed(2);
    (0..5).for_each(|url| bed.outcome("a", url, Outcome::Unreachable));
    assert_eq!(bed.counts(2), [0, 2]);
    bed.cluster.set_options(bed.now, ClusterOptions::default());
    assert_eq!(bed.counts(2), [1, 1]);
    assert_eq!(bed.news(), ["ejected a", "returned a"]);
    assert_eq!(bed.cluster.poll_timeout(), None);
}
