use super::*;
use crate::nack::testing::{epoch, ms};
use msm_core::rng::Rng;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn stats(merge: &Merge, path: usize) -> PathStats {
    merge.stats(path).unwrap()
}

#[test]
fn the_first_copy_wins_and_each_path_is_told_of() {
    let (now, mut merge) = (epoch(), Merge::new(MergeConfig::default()));
    for index in 100..1124 {
        let at = now + ms(index);
        // Path 0 loses each tenth, path 1 is 5 ms later and loses nothing.
        if index % 10 != 0 {
            assert_eq!(merge.handle_packet(at, 0, index), Admit::First);
        }
        if index >= 105 {
            let late = index - 5;
            let expected = if late % 10 == 0 && late > 100 { Admit::Recovered } else { Admit::Copy };
            if late > 100 {
                assert_eq!(merge.handle_packet(at, 1, late), expected, "{late}");
                assert_eq!(merge.handle_packet(at, 1, late), Admit::Copy, "doubled on its way");
            }
        }
    }
    let (fast, slow) = (stats(&merge, 0), stats(&merge, 1));
    assert_eq!(merge.covered(), 101);
    assert_eq!((fast.lost, fast.recovered, fast.first), (102, 0, 921));
    assert_eq!((slow.lost, slow.recovered, slow.first), (0, 101, 101));
    assert_eq!((slow.duplicates, slow.received), (1018, 1018));
    assert!(slow.skew > ms(3) && slow.skew <= ms(5) && fast.skew == Duration::ZERO, "{slow:?}");
    assert!(fast.alive && slow.alive && !stats(&merge, 2).alive);
    assert_eq!(merge.stats(4), None);
    assert_eq!(merge.handle_packet(now, 4, 1125), Admit::Stray);
}

#[test]
fn a_path_that_dies_or_returns_costs_no_packet() {
    let (mut now, mut merge) = (epoch(), Merge::new(MergeConfig::default()));
    let mut events = Vec::new();
    for index in 0..3000 {
        now += ms(1);
        let cut = (1000..2000).contains(&index);
        let first: Vec<bool> = [cut, false]
            .iter()
            .enumerate()
            .filter(|(_, cut)| !**cut)
            .map(|(path, _)| merge.handle_packet(now, path, index).is_first())
            .collect();
        assert_eq!(first.iter().filter(|first| **first).count(), 1, "{index}");
        if merge.poll_timeout().is_some_and(|(at, Reason::Silence)| at <= now) {
            merge.handle_timeout(now);
        }
        events.extend(std::iter::from_fn(|| merge.poll_event()).map(|event| (index, event)));
    }
    assert!(
        matches!(events[..], [(1495..1505, Event::Died { path: 0 }), (2000, Event::Returned { path: 0 })]),
        "{events:?}"
    );
    assert_eq!((stats(&merge, 0).lost, stats(&merge, 1).lost), (0, 0), "death is no loss");
    // The source pauses: nobody died.
    merge.handle_timeout(now + ms(60_000));
    assert_eq!(merge.poll_event(), None);
    assert!(merge.handle_packet(now + ms(60_000), 0, 3000).is_first());
}

#[test]
fn jumps_and_strays() {
    let (now, mut merge) = (epoch(), Merge::new(MergeConfig { window: 1024, ..MergeConfig::default() }));
    merge.handle_packet(now, 0, 70);
    assert_eq!(merge.handle_packet(now, 0, 69), Admit::First, "before the first");
    assert_eq!(
        merge.handle_packet(now, 0, 3000),
        Admit::First,
        "further than the window, and the line still"
    );
    assert_eq!(merge.handle_packet(now, 1, 3000), Admit::Copy);
    assert_eq!(merge.handle_packet(now, 0, 70), Admit::Late);
    assert_eq!(merge.handle_packet(now, 0, 2500), Admit::First);
    assert_eq!(merge.handle_packet(now, 0, 1 << 40), Admit::First);
    assert_eq!(merge.poll_event(), Some(Event::Restarted { next: 1 << 40 }));
    assert_eq!(merge.handle_packet(now, 0, 10), Admit::Stray);
    assert_eq!(merge.handle_packet(now, 0, 500), Admit::Stray);
    assert_eq!(merge.handle_packet(now, 1, 501), Admit::First, "two in a row are the line");
    assert_eq!(merge.handle_packet(now, 0, 502), Admit::First);
    for index in [u64::MAX, 1 << 48] {
        assert_eq!(merge.handle_packet(now, 0, index), Admit::Stray);
    }
    assert_eq!(merge.restarts(), 2);
}

#[test]
fn windows_are_for_what_is_under_way_and_may_grow() {
    assert_eq!(window_for(850.0, ms(50), ms(10)), 1024);
    assert_eq!(window_for(100_000.0, ms(450), ms(10)), 131_072);
    for rate in [f64::INFINITY, f64::NAN, -1.0] {
        assert!((LEAST_WINDOW..=MOST_WINDOW).contains(&window_for(rate, Duration::MAX, ms(1))));
    }
    let (now, mut merge) = (epoch(), Merge::new(MergeConfig { window: 1024, ..MergeConfig::default() }));
    for index in (0..5000).step_by(2) {
        merge.handle_packet(now, 0, index);
    }
    for (window, odd) in [(16_384, Admit::Recovered), (1024, Admit::Copy), (4096, Admit::Copy)] {
        merge.set_window(window);
        for index in 4100..4999 {
            let expected = if index % 2 == 0 { Admit::Copy } else { odd };
            assert_eq!(merge.handle_packet(now, 1, index), expected, "{window} {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each packet that any path brings goes on just once, if the paths differ by no more than the window.
    #[test]
    fn every_packet_goes_on_once(
        seed: u64, first in prop_oneof![Just(0_u64), Just(0xff00), Just(0xffff_ff00), 0..1_u64 << 47],
        losses in prop::array::uniform3(0.0..0.9_f64), skews in prop::array::uniform3(0_u64..400), disorder in 0_u64..100,
    ) {
        let mut rng = Rng::new(seed);
        let mut arrivals = Vec::new();
        for number in 0..2500_u64 {
            for (path, (loss, skew)) in losses.iter().zip(&skews).enumerate() {
                if rng.next_f64() >= *loss {
                    arrivals.push((number + skew + rng.range(0..disorder + 1), first + number, path));
                }
            }
        }
        arrivals.sort_by_key(|arrival| arrival.0);
        let mut merge = Merge::new(MergeConfig { window: 1024, ..MergeConfig::default() });
        let mut seen = BTreeSet::new();
        let start = epoch();
        for (at, index, path) in arrivals {
            let admit = merge.handle_packet(start + ms(at), path, index);
            prop_assert_eq!(admit.is_first(), seen.insert(index), "{} {:?}", index - first, admit);
        }
        let total: u64 = (0..3).map(|path| stats(&merge, path).first).sum();
        prop_assert_eq!(total, seen.len() as u64);
    }
}

#[test]
fn what_one_path_lost_and_another_brought_is_counted_once() {
    for skew in [0, 7] {
        let (now, mut rng) = (epoch(), Rng::new(5 + skew));
        let mut merge = Merge::new(MergeConfig::default());
        let (mut covered, mut lost) = (0, 0);
        let mut queue = Vec::new();
        for index in 0..5000_u64 {
            let arrives: Vec<bool> = (0..2).map(|_| rng.next_f64() >= 0.1).collect();
            for (path, _) in arrives.iter().enumerate().filter(|(_, arrives)| **arrives) {
                queue.push((index + skew * path as u64, path, index));
            }
            // The ends are not told apart from what is still under way.
            if (100..4900).contains(&index) {
                covered += u64::from(arrives[0] != arrives[1]);
                lost += u64::from(!arrives[0] && !arrives[1]);
            }
        }
        queue.sort_unstable();
        let mut before = 0;
        for (at, path, index) in queue {
            merge.handle_packet(now + ms(at), path, index);
            if index < 100 {
                before = merge.covered();
            }
        }
        assert!(
            lost > 0 && merge.covered().abs_diff(covered + before) <= 60,
            "{} {covered}",
            merge.covered()
        );
    }
    // Overtaken on its own path: not lost after all.
    let (now, mut merge) = (epoch(), Merge::new(MergeConfig::default()));
    for (path, index) in [(0, 1), (1, 1), (0, 2), (1, 3), (0, 3), (1, 2)] {
        merge.handle_packet(now, path, index);
    }
    assert_eq!(merge.covered(), 0);
}

#[test]
fn a_timeout_that_was_handled_does_not_stay() {
    let (now, mut merge) = (epoch(), Merge::new(MergeConfig::default()));
    merge.handle_packet(now, 0, 1);
    merge.handle_packet(now, 1, 1);
    // Path 0 is silent from here on, and the source pauses before that has been so for long enough.
    merge.handle_packet(now + ms(480), 1, 2);
    let (at, _) = merge.poll_timeout().unwrap();
    merge.handle_timeout(at);
    assert_eq!((at, merge.poll_timeout(), merge.poll_event()), (now + ms(500), None, None));
    merge.handle_packet(now + ms(520), 1, 3);
    let (at, _) = merge.poll_timeout().unwrap();
    merge.handle_timeout(at);
    assert_eq!((at, merge.poll_event()), (now + ms(520), Some(Event::Died { path: 0 })));
    assert_eq!(merge.poll_timeout(), None);
}

#[test]
fn copies_that_nobody_vouches_for_are_counted_and_nothing_else() {
    let (now, mut merge) = (epoch(), Merge::new(MergeConfig::default()));
    for index in 65_500..65_600 {
        assert!(merge.handle_packet(now, 0, index).is_first());
        // Its copy by the other path, and what is ahead, or long past, or never came.
        merge.handle_copy(now, 1, index as u16);
        merge.handle_copy(now, 1, (index + 7) as u16);
        merge.handle_copy(now, 1, (index + 40_000) as u16);
        merge.handle_copy(now, 1, (index - 1000) as u16);
    }
    let of = |path: usize| merge.stats(path).map(|stats| (stats.received, stats.first, stats.lost));
    assert_eq!((of(0), of(1)), (Some((100, 100, 0)), Some((100, 0, 0))));
    assert!(merge.handle_packet(now, 0, 65_607).is_first(), "nothing has taken its place");
    merge.handle_copy(now, 1, 65_603_u32 as u16);
    assert_eq!(merge.handle_packet(now, 0, 65_603), Admit::First, "out of order on its own path");
    assert_eq!(merge.handle_packet(now, 1, 65_604), Admit::Recovered, "passed over by the other");
}
