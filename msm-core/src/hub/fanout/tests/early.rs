//! A new source whose first packets come early, or late: no latency grows for good, and tracks stay in sync meanwhile.

use super::super::super::testing::*;
use super::source::{Clocks, Source};
use super::stage::{Played, Twist, play, play_all};
use crate::rng::Rng;

const OVER: u64 = 4_000_000;
const END: u64 = OVER + 6_000_000;

/// A server whose first packets come 60 ms early, for 0.3 s.
fn early(start: u64) -> Source {
    Source { late_at_first: (-60_000, 300_000), ..Source::new(start, 4_000_000_000) }
}

fn old() -> Source {
    Source::new(0, 1_000_000)
}

/// When a source has begun that is so old when it takes over.
fn aged(age: u64) -> u64 {
    OVER - age - 150_000
}

fn assert_recovers(played: &Played, case: &str) {
    played.check(OVER);
    for track in [VIDEO, AUDIO] {
        let growth = played.growth(track);
        assert!(growth.abs() <= 10_000, "{case}: track {track} by {growth} µs");
    }
    let lip_sync = played.lip_sync(OVER);
    assert!(lip_sync <= 20_000, "{case}: lip-sync by {lip_sync} µs");
}

#[test]
fn an_early_start_makes_nobody_late() {
    let starts = [("warm", aged(450_000)), ("cold", OVER), ("old", OVER / 10)];
    for (case, start) in starts {
        let source = Source { start, ..early(start) };
        for clocks in [Clocks::Reports(0), Clocks::Reports(700_000), Clocks::RtpInfo, Clocks::None] {
            let (old, new) = (Source { clocks, ..old() }, Source { clocks, ..source });
            let played = play(&old, &new, OVER, END, 1);
            let case = format!("{case}, {clocks:?}");
            assert_recovers(&played, &case);
            let jumps = [VIDEO, AUDIO].map(|track| played.jumps(track));
            let moved: usize = jumps.iter().map(Vec::len).sum();
            assert_eq!(moved, if start == OVER / 10 { 0 } else { 2 }, "{case}: {jumps:?}");
            for (track, jumps) in jumps.iter().enumerate() {
                for (packet, by) in jumps {
                    assert!((by - 60_000).abs() <= 1_000, "{case}: by {by}");
                    let frame = played.sent[track][*packet];
                    assert!(frame.marker == (track == AUDIO), "{case}: the first packet of a frame");
                    let told = clocks != Clocks::Reports(0) || played.is_reported_at(track, *packet);
                    assert!(told, "{case}: readers hear of it at once");
                }
            }
        }
    }
}

#[test]
fn tracks_that_arrive_apart_move_with_the_same_moment() {
    for apart in [0, 90_000, 300_000] {
        let clocks = Clocks::Reports(0);
        let old = Source { apart, clocks, ..old() };
        for start in [aged(450_000), OVER] {
            let new = Source { apart, clocks, ..early(start) };
            let played = play(&old, &new, OVER, END, 1);
            assert_recovers(&played, &format!("{apart} apart"));
            let [video, audio] = [VIDEO, AUDIO].map(|track| {
                let jumps = played.jumps(track);
                assert_eq!(jumps.len(), 1, "{apart}: {jumps:?}");
                played.sent[track][jumps[0].0].capture
            });
            assert!(video.abs_diff(audio) <= new.frame, "{apart} apart: {video} and {audio}");
        }
    }
}

#[test]
fn a_source_that_comes_seldom_or_stalls_is_left_where_it_is() {
    // A frame a second: so few say nothing.
    let seldom = Source { frame: 1_000_000, together: 40, ..early(OVER) };
    // Five a second are enough.
    let enough = Source { frame: 200_000, together: 10, ..early(OVER) };
    // What is late by more than a second has stalled, as far as anybody knows.
    let stalled = Source { late_at_first: (-1_200_000, 200_000), delay: 1_300_000, ..early(OVER) };
    for (source, jumps) in [(seldom, 0), (enough, 1), (stalled, 0)] {
        let played = play(&old(), &source, OVER, END, 1);
        // Bursts are squeezed at first.
        played.check(OVER + 2_000_000);
        for track in [VIDEO, AUDIO] {
            assert_eq!(played.jumps(track).len(), jumps, "{source:?}: {:?}", played.jumps(track));
        }
    }
}

#[test]
fn a_clock_that_is_slow_or_fast_moves_nothing() {
    for slow in [-0.5, 0.5] {
        let new = Source { slow, clocks: Clocks::None, ..Source::new(OVER, 9) };
        let played = play(&old(), &new, OVER, END, 1);
        for track in [VIDEO, AUDIO] {
            assert_eq!(played.jumps(track), [], "{slow}");
            assert!(played.growth(track).abs() <= 5_000, "{slow}: {}", played.growth(track));
        }
    }
}

#[test]
fn pictures_that_are_shown_before_others_stay_before_them() {
    let old = Source { reordered: true, ..old() };
    for offset in 0..30 {
        let new = Source { reordered: true, ..early(aged(450_000 + offset * 10_000)) };
        let played = play(&old, &new, OVER, END, 1);
        played.check(OVER);
        assert!(played.growth(VIDEO).abs() <= 10_000, "{offset}: {}", played.growth(VIDEO));
        assert!(played.lip_sync(OVER) <= 20_000, "{offset}: {}", played.lip_sync(OVER));
    }
}

#[test]
fn what_happens_meanwhile_changes_nothing() {
    // While it is measured, when it is decided, and right before and after the move.
    for after in (0..30).map(|step| 200_000 + step * 133_000) {
        for twist in [Twist::Renumber, Twist::Restore] {
            for start in [aged(450_000), OVER] {
                let sources = [(0, old()), (OVER, early(start))];
                let played = play_all(&sources, END, 1, &[(OVER + after, twist)]);
                assert_recovers(&played, &format!("{twist:?} after {after} from {start}"));
                let jumps = [VIDEO, AUDIO].map(|track| played.jumps(track).len());
                assert_eq!(jumps, [1, 1], "{twist:?} after {after}");
            }
        }
    }
}

#[test]
fn a_packet_of_before_the_move_that_comes_late_stays_before_it() {
    let sources = [(0, old()), (OVER, early(aged(450_000)))];
    for after in (20..35).map(|step| step * 100_000) {
        let twists = [(OVER + after, Twist::Overtaken(700_000)), (OVER + after + 650_000, Twist::Renumber)];
        let played = play_all(&sources, END, 1, &twists);
        played.check(END);
        let sound = &played.sent[AUDIO];
        let jumps = played.jumps(AUDIO).iter().any(|(_, by)| (by - 60_000).abs() <= 1_000);
        let came =
            sound.windows(2).filter(|pair| pair[1].of == 1 && pair[1].capture < pair[0].capture).count();
        assert_eq!((jumps, came), (true, 1), "{after}: {:?}", played.jumps(AUDIO));
    }
}

#[test]
fn a_source_that_is_lost_while_it_settles_leaves_nothing_behind() {
    for after in (1..40).map(|step| step * 110_000) {
        let next = early(OVER + after);
        let third = Source { numbers: 77, ..next };
        for clocks in [Clocks::Reports(0), Clocks::RtpInfo] {
            let [old, second, third] =
                [old(), early(aged(450_000)), third].map(|source| Source { clocks, ..source });
            let sources = [(0, old), (OVER, second), (OVER + after, third)];
            let played = play_all(&sources, END + after, 1, &[]);
            assert_recovers(&played, &format!("{clocks:?}, lost after {after}"));
        }
    }
}

#[test]
fn a_first_track_that_ends_is_not_waited_for_for_ever() {
    for after in [0, 500_000, 1_900_000] {
        let sources = [(0, old()), (OVER, Source { apart: 20_000, ..early(OVER) })];
        let play = |end: u64| play_all(&sources, end, 1, &[(OVER + 150_000 + after, Twist::Mute)]);
        assert!(!play(OVER + 9_000_000).settled[VIDEO], "{after}");
        assert!(play(OVER + 13_000_000).settled[VIDEO], "{after}");
    }
}

#[test]
fn a_report_that_comes_late_puts_tracks_in_sync_all_the_same() {
    let old = Source { apart: 90_000, ..old() };
    let new = Source { apart: 10_000, clocks: Clocks::Reports(4_500_000), ..early(OVER) };
    let played = play(&old, &new, OVER, END + 4_000_000, 1);
    played.check(OVER);
    assert_eq!(played.settled, [true; 2]);
    let (before, after) = (played.lip_sync(OVER), played.lip_sync(OVER + 5_000_000));
    assert!(before > 60_000 && after <= 1_000, "{before}, {after}");
}

/// Sources at random: what is wrong with them at first does not stay.
#[test]
fn nothing_that_a_start_may_bring_stays() {
    for seed in 0..1000 {
        let mut rng = Rng::new(seed);
        let mut millis = |range: std::ops::Range<u64>| rng.range(range) * 1_000;
        let (frame, jitter, apart) =
            ([20_000, 40_000, 100_000][seed as usize % 3], millis(0..8), millis(0..100));
        let clocks =
            [Clocks::Reports(millis(0..900)), Clocks::RtpInfo, Clocks::None][(seed / 3) as usize % 3];
        let start =
            [aged(millis(1..1_500)), OVER + millis(0..1_500), aged(3_000_000)][(seed / 9) as usize % 3];
        let late = millis(0..240) as i64 - 120_000;
        let old = Source { jitter, apart, clocks, ..old() };
        let new = Source {
            late_at_first: (late, millis(0..500)),
            jitter,
            apart,
            frame,
            together: 1 + seed % 4,
            clocks,
            ..Source::new(start, (seed as u32).wrapping_mul(77_000_001))
        };
        let played = play(&old, &new, OVER, END + 3_000_000, seed);
        // Without clocks they are waited for.
        assert_eq!(played.settled, [clocks != Clocks::None; 2], "{seed}: {old:?} {new:?}");
        // While old packets are squeezed, they are where they fit.
        let from = OVER.max(start + new.delay) + 1_200_000;
        played.check(from);
        for track in [VIDEO, AUDIO] {
            let growth = played.growth(track);
            assert!(growth.abs() <= 20_000, "{seed}: track {track} by {growth} µs, {old:?} {new:?}");
        }
        // Without clocks tracks are placed by their arrival, each with its own start.
        let from = if clocks == Clocks::None { from + 3_000_000 } else { from };
        let lip_sync = played.lip_sync(from);
        assert!(lip_sync <= 20_000, "{seed}: lip-sync by {lip_sync} µs, {old:?} {new:?}");
    }
}
