//! Checks: when they are made, and what they change.

use super::*;

fn options() -> ClusterOptions {
    let active = ActiveOptions {
        interval: Duration::from_secs(2),
        timeout: Duration::from_millis(500),
        unhealthy_after: 3,
        healthy_after: 2,
        ..ActiveOptions::new(CheckKind::Options)
    };
    ClusterOptions { active: Some(active), ..ClusterOptions::default() }
}

const FAILED: Result<(), CheckFailure> = Err(CheckFailure::Refused { status: 500 });

#[test]
fn a_shorter_interval_is_heeded_at_once() {
    let every = |interval| ActiveOptions { interval, ..ActiveOptions::new(CheckKind::Tcp) };
    let options = |interval| ClusterOptions { active: Some(every(interval)), ..ClusterOptions::default() };
    let mut bed = Bed::new(named(2), options(Duration::from_secs(3600)));
    bed.wait(3_600_000);
    bed.cluster.set_options(bed.now, options(Duration::from_secs(1)));
    let asked = bed.run(3_600_000 + 1_000, |_, _| Some(Ok(())));
    for host in ["a", "b"] {
        assert!(asked.iter().any(|(_, own)| own == host), "{host} was not asked: {asked:?}");
    }
    // What is due soon stays due then.
    let due = bed.cluster.poll_timeout();
    bed.cluster.set_options(bed.now, options(Duration::from_secs(2)));
    assert_eq!(bed.cluster.poll_timeout(), due);
}

#[test]
fn a_check_that_could_not_be_made_changes_nothing() {
    let kind = ActiveOptions { unhealthy_after: 2, ..ActiveOptions::new(CheckKind::Tcp) };
    let mut bed = Bed::new(named(2), ClusterOptions { active: Some(kind), ..ClusterOptions::default() });
    let mut failed = false;
    // The first check succeeds, one fails, and from then on none can be made.
    let mut made = 0;
    let mut later = 0;
    for _ in 0..200 {
        while let Some(check) = bed.cluster.poll_check(bed.now) {
            let is_first = check.endpoint.host == "a";
            made += u32::from(is_first);
            match made {
                _ if !is_first => bed.cluster.handle_check(bed.now, check.id, Ok(())),
                1 => bed.cluster.handle_check(bed.now, check.id, Ok(())),
                2 => {
                    failed = true;
                    bed.cluster.handle_check(bed.now, check.id, Err(CheckFailure::TimedOut));
                }
                _ => {
                    later += 1;
                    bed.cluster.forget_check(bed.now, check.id);
                }
            }
        }
        let Some((at, _)) = bed.cluster.poll_timeout() else { break };
        assert!(at > bed.now, "what is due stays due");
        bed.now = at;
        bed.cluster.handle_timeout(at);
    }
    assert!(failed && later > 10, "{later}");
    assert!(matches!(bed.health("a"), Health::Healthy));
    // And what failed before still counts.
    let id = bed.id("a");
    while bed.cluster.poll_check(bed.now).is_none_or(|check| check.id != id) {
        let (at, _) = bed.cluster.poll_timeout().unwrap();
        bed.now = at.max(bed.now + Duration::from_millis(1));
        bed.cluster.handle_timeout(bed.now);
    }
    bed.cluster.handle_check(bed.now, id, Err(CheckFailure::TimedOut));
    assert!(matches!(bed.health("a"), Health::Unhealthy { .. }));
}

#[test]
fn nobody_is_checked_unless_told() {
    let mut bed = Bed::new(named(2), ClusterOptions::default());
    assert_eq!(bed.cluster.poll_timeout(), None);
    assert_eq!(bed.cluster.poll_check(bed.now + Duration::from_secs(9)), None);
    assert_eq!(bed.health("a"), Health::Unknown);
}

#[test]
fn the_first_check_decides_at_once() {
    let mut bed = Bed::new(named(2), options());
    assert_eq!(bed.counts(4), [2, 2], "nobody knows yet, so both are used");
    bed.run(2_000, |check, _| Some(if check.endpoint.host == "a" { FAILED } else { Ok(()) }));
    let why = Why::Check(CheckFailure::Refused { status: 500 });
    assert_eq!((bed.health("a"), bed.health("b")), (Health::Unhealthy { why }, Health::Healthy));
    assert_eq!(bed.counts(4), [0, 4]);
    assert!(bed.cluster.check(bed.id("a")).is_err() && bed.cluster.check(bed.id("b")).is_ok());
    let mut news = bed.news();
    news.sort();
    assert_eq!(news, ["healthy b", "unhealthy a"]);
}

#[test]
fn after_that_it_takes_as_many_in_a_row_as_is_said() {
    let mut bed = Bed::new(named(2), options());
    // What `a` answers, one after the other.
    let script = [true, false, false, true, false, false, false, true, false, true, true];
    let mut after = Vec::new();
    let mut number = 0;
    let mut millis = 0;
    while number < script.len() {
        millis += 10;
        let mut asked = false;
        bed.run(millis, |check, _| {
            if check.endpoint.host == "a" {
                asked = true;
                number += 1;
                return Some(if script[number - 1] { Ok(()) } else { FAILED });
            }
            Some(Ok(()))
        });
        if asked {
            after.push(matches!(bed.health("a"), Health::Healthy));
        }
    }
    assert_eq!(after, [true, true, true, true, true, true, false, false, false, false, true]);
    let of_a: Vec<String> = bed.news().into_iter().filter(|news| news.ends_with('a')).collect();
    assert_eq!(of_a, ["healthy a", "unhealthy a", "healthy a"]);
}

#[test]
fn checks_are_spread_and_come_at_the_interval_give_or_take_a_tenth() {
    let mut bed = Bed::new(named(200), options());
    let asked = bed.run(60_000, |_, _| Some(Ok(())));
    let first: Vec<u64> = asked.iter().take(200).map(|(at, _)| *at).collect();
    for tenth in 0..10 {
        let range = tenth * 200..(tenth + 1) * 200;
        let count = first.iter().filter(|at| range.contains(*at)).count();
        // 20 ± 5 standard deviations.
        assert!(count < 42, "{count} of 200 in the same 200 ms");
    }
    let of_a: Vec<u64> = asked.iter().filter(|(_, host)| host == "a").map(|(at, _)| *at).collect();
    let gaps: Vec<u64> = of_a.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().all(|gap| (1_799..=2_201).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max() > gaps.iter().min(), "jitter");
    assert!((27..=33).contains(&of_a.len()));
}

#[test]
fn at_most_one_is_under_way_and_one_that_is_not_answered_has_timed_out() {
    let mut bed = Bed::new(named(2), options());
    // `a` never answers.
    let asked = bed.run(20_000, |check, _| (check.endpoint.host == "b").then_some(Ok(())));
    let of_a: Vec<u64> = asked.iter().filter(|(_, host)| host == "a").map(|(at, _)| *at).collect();
    // 500 ms and a second of grace, then the interval.
    assert!(of_a.windows(2).all(|two| (3_299..=3_701).contains(&(two[1] - two[0]))), "{of_a:?}");
    assert_eq!(bed.health("a"), Health::Unhealthy { why: Why::Check(CheckFailure::TimedOut) });
    // An answer that comes when nobody has asked says nothing.
    let (a, b) = (bed.id("a"), bed.id("b"));
    (0..9).for_each(|_| bed.cluster.handle_check(bed.now, b, FAILED));
    assert_eq!(bed.health("b"), Health::Healthy);
    bed.cluster.set_endpoints(bed.now, &specs(&["rtsp://b"]));
    bed.events();
    bed.cluster.handle_check(bed.now, a, FAILED);
    assert_eq!(bed.events(), [], "the check of one that has gone is void");
    let asked = bed.run(30_000, |_, _| Some(Ok(())));
    assert!(!asked.is_empty() && asked.iter().all(|(_, host)| host == "b"));
}

#[test]
fn without_checks_nobody_is_unhealthy() {
    let mut bed = Bed::new(named(3), options());
    bed.run(2_000, |check, _| Some(if check.endpoint.host == "a" { FAILED } else { Ok(()) }));
    assert_eq!(bed.counts(4)[0], 0);
    bed.cluster.set_options(bed.now, ClusterOptions::default());
    assert_eq!(bed.cluster.poll_timeout(), None);
    assert!(bed.counts(6)[0] > 0);
    bed.cluster.set_options(bed.now, options());
    assert!(bed.cluster.poll_timeout().is_some());
}
