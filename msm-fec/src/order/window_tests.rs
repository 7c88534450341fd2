use super::*;
use crate::nack::testing::{epoch, ms};
use msm_core::rng::Rng;
use proptest::prelude::*;

fn window() -> Window {
    Window::new(Limits { latency: ms(100), packets: 64, bytes: 4000 })
}

/// Gives a packet whose bytes are its index; what leaves, in order.
fn give(window: &mut Window, now: Instant, index: u64, source: Source) -> (Verdict, Vec<u64>) {
    let packet = index.to_be_bytes();
    let mut left = Vec::new();
    let mut verdict = window.handle_packet(now, index, source, &packet);
    if verdict == Verdict::Again {
        left = ready(window);
        verdict = window.handle_packet(now, index, source, &packet);
        assert_ne!(verdict, Verdict::Again, "there is room now");
    }
    if verdict == Verdict::Pass {
        left.push(index);
    }
    left.extend(ready(window));
    (verdict, left)
}

fn ready(window: &mut Window) -> Vec<u64> {
    let mut left = Vec::new();
    while let Some(Delivered { index, packet, .. }) = window.poll_ready() {
        assert_eq!(packet, index.to_be_bytes());
        left.push(index);
    }
    left
}

#[test]
fn what_is_expected_leaves_at_once_and_what_is_behind_a_gap_waits_for_it() {
    let (now, mut window) = (epoch(), window());
    for index in 7..50 {
        assert_eq!(give(&mut window, now, index, Source::Media), (Verdict::Pass, vec![index]));
    }
    assert_eq!((window.handle_run(50, 10), window.handle_run(61, 3), window.next_index()), (10, 0, Some(60)));
    assert_eq!((window.poll_timeout(), window.stats().held), (None, 0));
    assert_eq!(give(&mut window, now, 62, Source::Media), (Verdict::Held, vec![]));
    assert_eq!(give(&mut window, now, 62, Source::Nack), (Verdict::Duplicate, vec![]));
    assert_eq!(window.handle_run(63, 2), 0, "not ahead of what waits");
    assert_eq!(give(&mut window, now, 60, Source::Fec), (Verdict::Pass, vec![60]));
    assert_eq!(give(&mut window, now, 61, Source::Nack), (Verdict::Pass, vec![61, 62]));
    assert_eq!(give(&mut window, now, 61, Source::Media), (Verdict::Duplicate, vec![]));
    assert_eq!((window.poll_timeout(), window.held()), (None, (0, 0)));
    let stats = window.stats();
    assert_eq!((stats.recovered_fec, stats.recovered_nack, stats.duplicates), (1, 1, 2));
    assert_eq!((stats.delivered, stats.held, stats.unrecovered), (56, 1, 0));
}

#[test]
fn each_gap_is_given_up_when_its_own_time_is_over() {
    let (now, mut window) = (epoch(), window());
    give(&mut window, now, 0, Source::Media);
    give(&mut window, now, 2, Source::Media);
    give(&mut window, now + ms(30), 5, Source::Media);
    window.handle_next(now + ms(40), 8);
    assert_eq!(window.poll_timeout(), Some((now + ms(100), Reason::Deadline)));
    window.handle_timeout(now + ms(99));
    assert_eq!(ready(&mut window), []);
    window.handle_timeout(now + ms(100));
    assert_eq!(ready(&mut window), [2]);
    assert_eq!(window.poll_event(), Some(Event::Unrecovered { first: 1, last: 1 }));
    assert_eq!(window.poll_timeout(), Some((now + ms(130), Reason::Deadline)));
    assert_eq!(give(&mut window, now + ms(110), 1, Source::Nack).0, Verdict::Late);
    assert_eq!(give(&mut window, now + ms(110), 4, Source::Nack), (Verdict::Held, vec![]));
    window.handle_timeout(now + ms(200));
    assert_eq!(ready(&mut window), [4, 5]);
    assert_eq!(window.poll_event(), Some(Event::Unrecovered { first: 3, last: 3 }));
    assert_eq!(window.poll_event(), Some(Event::Unrecovered { first: 6, last: 7 }), "known from the probe");
    assert_eq!((window.next_index(), window.poll_timeout()), (Some(8), None));
    assert_eq!((window.stats().unrecovered, window.stats().late), (4, 1));
}

#[test]
fn the_line_may_jump_both_ways_and_strays_do_not_move_it() {
    let (now, mut window) = (epoch(), window());
    give(&mut window, now, 1000, Source::Media);
    give(&mut window, now, 1002, Source::Media);
    assert_eq!(give(&mut window, now, 5000, Source::Media), (Verdict::Pass, vec![1002, 5000]));
    assert_eq!(window.poll_event(), Some(Event::Unrecovered { first: 1001, last: 1001 }));
    assert_eq!(window.poll_event(), Some(Event::Restarted { next: 5000, skipped: 3997 }));
    assert_eq!(give(&mut window, now, 5002, Source::Media).0, Verdict::Held);
    assert_eq!(give(&mut window, now, 10, Source::Media), (Verdict::Stray, vec![]));
    assert_eq!(give(&mut window, now, 20, Source::Media), (Verdict::Stray, vec![]));
    assert_eq!(give(&mut window, now, 21, Source::Media), (Verdict::Pass, vec![5002, 21]));
    assert_eq!((window.next_index(), window.stats().restarts), (Some(22), 2));
    for index in [u64::MAX, 1 << 48] {
        assert_eq!(give(&mut window, now, index, Source::Media).0, Verdict::Stray);
        window.handle_next(now, index);
    }
    assert_eq!(window.poll_timeout(), None);
}

#[test]
fn bytes_are_bounded_and_the_oldest_gap_gives_way() {
    let (now, mut window) = (epoch(), window());
    window.handle_packet(now, 0, Source::Media, &[]);
    let packet = [7; 1000];
    for index in [2, 3, 5, 6] {
        assert_eq!(window.handle_packet(now, index, Source::Media, &packet), Verdict::Held);
    }
    assert_eq!(window.handle_packet(now, 7, Source::Media, &packet), Verdict::Again);
    let left: Vec<u64> = std::iter::from_fn(|| window.poll_ready().map(|ready| ready.index)).collect();
    assert_eq!((left, window.held()), (vec![2, 3], (2, 2000)));
    assert_eq!(window.handle_packet(now, 7, Source::Media, &packet), Verdict::Held);
    assert_eq!((window.stats().overflow, window.stats().unrecovered), (1, 1));
    // A packet larger than all the room is taken when nothing else is held.
    let mut window = self::window();
    window.handle_packet(now, 0, Source::Media, &[]);
    assert_eq!(window.handle_packet(now, 2, Source::Media, &[0; 5000]), Verdict::Held);
    assert_eq!(window.handle_packet(now, 3, Source::Media, &[0; 1]), Verdict::Again);
    assert!(window.poll_ready().is_some());
}

#[test]
fn clocks_that_jump_end_nothing() {
    let (now, mut window) = (epoch(), window());
    give(&mut window, now, 0, Source::Media);
    give(&mut window, now, 2, Source::Media);
    window.handle_timeout(now - Duration::from_secs(900));
    give(&mut window, now - Duration::from_secs(900), 4, Source::Media);
    assert_eq!(ready(&mut window), []);
    window.handle_timeout(now + Duration::from_secs(1 << 33));
    assert_eq!(ready(&mut window), [2, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes in: what leaves is a part of it, byte for byte, in order, once; and time empties the window.
    #[test]
    fn what_leaves_came_in_and_leaves_in_order_and_once(
        seed: u64, first in prop_oneof![Just(0_u64), Just(0xfff0), Just(0xffff_fff0), Just((1 << 48) - 400)],
        loss in 0.0..0.5_f64, disorder in 0_u64..80, duplicates in 0.0..0.3_f64,
    ) {
        let mut rng = Rng::new(seed);
        let mut now = epoch();
        let mut window = window();
        let mut arrivals: Vec<(u64, u64)> = Vec::new();
        for number in 0..300 {
            for _ in 0..1 + u64::from(rng.next_f64() < duplicates) {
                if rng.next_f64() >= loss {
                    arrivals.push((number + rng.range(0..disorder + 1), first + number));
                }
            }
        }
        arrivals.sort_by_key(|arrival| arrival.0);
        let mut left = Vec::new();
        for (_, index) in &arrivals {
            now += ms(rng.range(0..8));
            if rng.next_f64() < 0.5 {
                window.handle_timeout(now);
                left.extend(ready(&mut window));
            }
            left.extend(give(&mut window, now, *index, Source::Media).1);
            prop_assert!(window.held().0 <= 64 && window.held().1 <= 4000);
        }
        window.handle_timeout(now + ms(100));
        left.extend(ready(&mut window));
        // Two in a row from further behind than the window reaches are a line that has begun anew: it goes back there, and nowhere else.
        let back = left.windows(2).filter(|pair| pair[0] >= pair[1]).count() as u64;
        prop_assert!(back <= window.stats().restarts, "{left:?}");
        prop_assert!(disorder >= 64 || window.stats().restarts == 0, "{left:?}");
        prop_assert!(left.iter().all(|index| arrivals.iter().any(|arrival| arrival.1 == *index)));
        prop_assert_eq!(window.held(), (0, 0));
        prop_assert!(window.poll_timeout().is_none());
        let stats = window.stats();
        prop_assert_eq!(stats.delivered, left.len() as u64);
        if let (Some(first), Some(last), 0) = (left.first(), left.last(), stats.restarts) {
            prop_assert_eq!(stats.delivered + stats.unrecovered, last - first + 1);
        }
    }
}
