use super::super::testing::{epoch, ms};
use super::*;

const BUDGET: Duration = ms(100);

/// Knows a round trip of 20 ms, and has seen packet 9.
fn requester() -> (Instant, Requester) {
    let mut requester = Requester::new(RequesterConfig::new(BUDGET));
    for _ in 0..50 {
        requester.handle_rtt(ms(20));
    }
    let now = epoch();
    requester.handle_packet(now, 9, Arrival::Media);
    (now, requester)
}

/// What is asked for now, each packet as often as copies of its answer are wanted.
fn asked(requester: &mut Requester) -> Vec<Vec<u64>> {
    let mut all = Vec::new();
    while let Some(request) = requester.poll_transmit() {
        all.push(request.passes().flatten().copied().collect());
        assert!(all.len() < 100, "requests end");
    }
    all
}

/// Everything that happens until `end` if nothing comes.
fn run(requester: &mut Requester, start: Instant, end: Instant) -> Vec<(Duration, Vec<u64>)> {
    let mut all = Vec::new();
    let mut now = start;
    loop {
        all.extend(asked(requester).into_iter().map(|request| (now - start, request)));
        let Some((due, Reason::Gap)) = requester.poll_timeout() else { return all };
        if due > end {
            return all;
        }
        assert!(due > now, "time goes on");
        now = due;
        requester.handle_timeout(now);
    }
}

#[test]
fn a_gap_is_asked_for_at_once_again_when_overdue_and_not_when_it_is_too_late() {
    let (now, mut requester) = requester();
    requester.handle_packet(now, 10, Arrival::Media);
    assert!(asked(&mut requester).is_empty() && requester.poll_timeout().is_none(), "no loss, no work");
    requester.handle_packet(now, 13, Arrival::Media);
    let all = run(&mut requester, now, now + ms(200));
    assert_eq!(all[0], (Duration::ZERO, vec![11, 12]), "a single copy of each");
    let second = all.iter().find(|(at, _)| *at > ms(10)).unwrap();
    assert!(second.0 >= ms(21) && second.0 < ms(23), "{second:?}");
    let (last, request) = all.last().unwrap();
    assert!(*last <= ms(80) && *last > ms(60), "a round trip fits behind the last request: {last:?}");
    assert!(request.len() > 2, "copies of the answer in the last round: {request:?}");
    assert!(requester.stats().request_copies > 0);
    let events: Vec<_> = std::iter::from_fn(|| requester.poll_event()).collect();
    assert!(
        matches!(
            events[..],
            [Event::GaveUp { index: 11, rounds: 4 }, Event::GaveUp { index: 12, rounds: 4 }]
        ),
        "{events:?}"
    );
    assert_eq!(requester.stats().gave_up, 2);
    assert!(requester.poll_timeout().is_none() && !requester.is_missing(11));
}

#[test]
fn what_came_is_not_asked_for_again_and_tells_the_round_trip() {
    let (now, mut requester) = requester();
    requester.handle_packet(now, 12, Arrival::Media);
    assert_eq!(asked(&mut requester), [[10, 11]]);
    requester.handle_packet(now + ms(30), 10, Arrival::Retransmission);
    requester.handle_packet(now + ms(30), 11, Arrival::Repaired);
    assert!(asked(&mut requester).is_empty() && requester.poll_timeout().is_none());
    let stats = requester.stats();
    assert_eq!((stats.answered, stats.repaired, stats.late), (1, 1, 0));
    let rtt = requester.rtt().smoothed().unwrap();
    assert!(rtt > ms(21) && rtt < ms(22), "{rtt:?}");
    assert!(requester.loss().rate() > 0.1);
}

#[test]
fn reordering_is_learnt_and_waited_for() {
    let (now, mut requester) = requester();
    requester.handle_packet(now, 11, Arrival::Media);
    assert_eq!(asked(&mut requester), [[10]], "nothing known of reordering");
    requester.handle_packet(now + ms(4), 10, Arrival::Media);
    assert_eq!((requester.stats().late, requester.stats().spurious), (1, 1));
    assert!(requester.loss().rate() < 1e-9, "it was not lost");
    requester.handle_packet(now + ms(5), 13, Arrival::Media);
    assert!(asked(&mut requester).is_empty());
    let (due, _) = requester.poll_timeout().unwrap();
    assert!(due > now + ms(9) && due <= now + ms(10), "{:?}", due - now);
    requester.handle_packet(now + ms(9), 12, Arrival::Media);
    assert!(asked(&mut requester).is_empty(), "it came in time");
    assert_eq!((requester.stats().late, requester.stats().spurious), (2, 1));
    // Behind its answer, too.
    requester.handle_packet(now + ms(10), 15, Arrival::Media);
    requester.handle_timeout(now + ms(19));
    assert_eq!(asked(&mut requester), [[14]]);
    requester.handle_packet(now + ms(29), 14, Arrival::Retransmission);
    requester.handle_packet(now + ms(30), 14, Arrival::Media);
    assert_eq!((requester.stats().spurious, requester.reorder().delay(now + ms(30))), (2, ms(25)));
    // After a while without, gaps are loss again.
    let later = now + Duration::from_secs(120);
    requester.handle_packet(later, 17, Arrival::Media);
    assert_eq!(asked(&mut requester), [[16]]);
}

#[test]
fn a_tail_probe_and_a_hold_off_and_one_round_that_fits() {
    let (now, mut requester) = requester();
    requester.set_hold_off(ms(10));
    requester.handle_next(now, 12);
    requester.handle_next(now + ms(1), 12);
    assert!(asked(&mut requester).is_empty());
    requester.handle_timeout(now + ms(10));
    assert_eq!(asked(&mut requester), [[10, 11]]);
    assert_eq!((requester.stats().gaps, requester.next_index()), (2, Some(12)));
    let (now, mut requester) = self::requester();
    requester.set_config(RequesterConfig { copy_share: 1.0, ..RequesterConfig::new(ms(25)) });
    requester.handle_packet(now, 11, Arrival::Media);
    let all = run(&mut requester, now, now + ms(100));
    assert!(all.len() > 1 && all[0].1.len() > 1, "copies, as it is the only round: {all:?}");
    let (now, mut requester) = self::requester();
    requester.set_config(RequesterConfig::new(ms(19)));
    requester.handle_packet(now, 11, Arrival::Media);
    assert!(run(&mut requester, now, now + ms(100)).is_empty(), "no round trip fits");
    assert_eq!(requester.poll_event(), Some(Event::GaveUp { index: 10, rounds: 0 }));
}

#[test]
fn a_jump_is_a_new_start_and_gaps_are_bounded() {
    let (now, mut requester) = requester();
    requester.handle_packet(now, 9 + 4097, Arrival::Media);
    assert_eq!((requester.stats().restarts, requester.stats().gaps), (0, 4096));
    let named: usize = asked(&mut requester).iter().map(Vec::len).sum();
    assert_eq!(named, 4096);
    requester.handle_packet(now, 9 + 4096 + 100, Arrival::Media);
    assert_eq!((requester.gaps.len(), requester.stats().overflow), (4096, 98));
    requester.handle_packet(now, 1 << 40, Arrival::Media);
    assert_eq!((requester.stats().restarts, requester.gaps.len()), (1, 0));
    assert_eq!(requester.poll_event(), Some(Event::Restarted { next: 1 << 40 }));
    // Far back: one packet is a stray, two that follow each other are the line.
    requester.handle_packet(now, 500, Arrival::Media);
    requester.handle_packet(now, 700, Arrival::Media);
    assert_eq!(requester.stats().restarts, 1);
    requester.handle_packet(now, 701, Arrival::Media);
    assert_eq!((requester.stats().restarts, requester.next_index()), (2, Some(702)));
    for index in [u64::MAX, 1 << 48] {
        requester.handle_packet(now, index, Arrival::Media);
        requester.handle_next(now, index);
    }
    assert_eq!(requester.next_index(), Some(702), "no index of a line");
}

#[test]
fn clocks_that_jump_end_nothing() {
    let (now, mut requester) = requester();
    requester.handle_packet(now, 11, Arrival::Media);
    asked(&mut requester);
    requester.handle_timeout(now - Duration::from_secs(900));
    assert!(asked(&mut requester).is_empty());
    requester.handle_packet(now - Duration::from_secs(900), 13, Arrival::Media);
    assert_eq!(asked(&mut requester), [[12]]);
    requester.handle_timeout(now + Duration::from_secs(1 << 33));
    assert!(asked(&mut requester).is_empty());
    assert_eq!(requester.stats().gave_up, 2);
    // An answer after the jump is no sample of half a century.
    requester.handle_packet(now + Duration::from_secs(1 << 33), 15, Arrival::Media);
    assert_eq!(asked(&mut requester), [[14]]);
}

/// The round trip grows fourfold: every answer comes after more requests than one.
#[test]
fn a_round_trip_that_grows_is_found_out() {
    let (mut now, mut requester) = requester();
    let mut index = 10;
    for _ in 0..160 {
        now += Duration::from_secs(1);
        requester.handle_packet(now, index + 1, Arrival::Media);
        let end = now + ms(80);
        run(&mut requester, now, end);
        requester.handle_packet(end, index, Arrival::Retransmission);
        index += 2;
    }
    assert!(requester.rtt().smoothed().is_some_and(|rtt| rtt > ms(60)), "{:?}", requester.rtt());
}
