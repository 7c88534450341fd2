//! What is taken for the same, and what is not.

use super::*;
use crate::hub::testing::AUDIO;

#[test]
fn what_is_not_the_same_is_never_taken_for_it() {
    // Another encoder of the same camera: the same sizes and timestamps.
    let mut readers = Readers::new(&[]);
    for number in 0..5_000u32 {
        readers.first(OURS.packet(number, &payload(number)));
        let mut other = payload(number);
        other[1] ^= 1;
        readers.second(THEIRS.packet(number, &other));
        assert!(!readers.twin.is_identical());
    }
    assert_eq!(readers.twin.take_over(), None);
    // The same payloads, with another pace of timestamps.
    let mut readers = Readers::new(&[]);
    for number in 0..5_000u32 {
        readers.first(OURS.packet(number, &payload(number)));
        let timestamp = THEIRS.timestamp.wrapping_add(number);
        readers.second(View { timestamp, ..THEIRS }.packet(number, &payload(number)));
        assert!(!readers.twin.is_identical());
    }
}

#[test]
fn silence_and_tones_do_not_tell_where_two_lines_are() {
    for period in [1, 2, 31, 32, 33, 100, 1_000] {
        for lag in [0, 1, 10, 40, 500] {
            let mut readers = Readers::new(&[]);
            for number in 0..3_500u32 {
                readers.first(OURS.packet(number, &payload(number % period)));
                if number >= lag {
                    let own = number - lag;
                    readers.second(THEIRS.packet(own, &payload(own % period)));
                }
                // Before it comes again nobody knows that it will; and timestamps, which four packets share, tell where some are.
                let may_be = period > 2;
                assert!(
                    may_be || !readers.twin.is_identical(),
                    "period {period}, lag {lag}, packet {number}"
                );
                if let Some(offset) = readers.twin.offset(VIDEO) {
                    assert_eq!(offset, offset_of(THEIRS), "period {period}, lag {lag}, packet {number}");
                }
            }
            // And then somebody speaks.
            for number in 3_500..4_000u32 + lag {
                readers.first(OURS.packet(number, &payload(number)));
                let own = number - lag;
                readers.second(THEIRS.packet(own, &payload(if own < 3_500 { own % period } else { own })));
            }
            assert!(readers.twin.is_identical(), "period {period}, lag {lag}");
            assert_eq!(readers.twin.offset(VIDEO), Some(offset_of(THEIRS)), "period {period}, lag {lag}");
        }
    }
}

#[test]
fn one_source_by_two_ways_is_itself_even_when_silent() {
    let mut readers = Readers::new(&[]);
    for number in 0..200u32 {
        readers.first(OURS.packet(number, &payload(0)));
        readers.second(OURS.packet(number, &payload(0)));
    }
    assert!(readers.twin.is_identical());
    assert_eq!(readers.twin.take_over(), Some(vec![Some(Offset { sequence: 0, timestamp: 0 })]));
}

#[test]
fn it_is_forgotten_when_it_does_not_hold_any_more() {
    let play = |readers: &mut Readers, from: u32, to: u32, theirs: View, change: &dyn Fn(u32) -> u32| {
        for number in from..to {
            readers.first(OURS.packet(number, &payload(number)));
            readers.second(theirs.packet(number, &payload(change(number))));
        }
    };
    let same = |number| number;
    // One payload.
    let mut readers = Readers::new(&[]);
    play(&mut readers, 0, 300, THEIRS, &same);
    assert!(readers.twin.is_identical());
    play(&mut readers, 300, 301, THEIRS, &|number| number + 1);
    assert!(!readers.twin.is_identical());
    // It is the same again, after as much proof as before.
    play(&mut readers, 301, 301 + PROOF as u32 / 2, THEIRS, &same);
    assert!(!readers.twin.is_identical());
    play(&mut readers, 301 + PROOF as u32 / 2, 500, THEIRS, &same);
    assert!(readers.twin.is_identical());
    // Its numbers move on, and then its timestamps.
    let moved = View { sequence: THEIRS.sequence.wrapping_add(1), ..THEIRS };
    play(&mut readers, 500, 501, moved, &same);
    play(&mut readers, 501, 502, moved, &same);
    assert!(!readers.twin.is_identical());
    play(&mut readers, 502, 900, moved, &same);
    assert!(readers.twin.is_identical());
    play(&mut readers, 900, 901, View { timestamp: 9, ..moved }, &same);
    assert!(!readers.twin.is_identical());
    // A source that says that it begins anew.
    play(&mut readers, 901, 1_300, moved, &same);
    assert!(readers.twin.is_identical());
    readers.twin.forget(Side::Second, VIDEO);
    assert!(!readers.twin.is_identical());
    // What was the next packet by the second's numbers, when these moved, was let in before the first had one to hold it against.
    let wrong = readers.out.remove(501);
    assert_eq!(Header::parse(&wrong).unwrap().payload(&wrong), payload(500));
    assert_eq!(readers.check().len(), 1_299);
}

#[test]
fn all_tracks_must_be_the_same_and_one_that_never_came_need_not() {
    let mut twin = Twin::new(&tracks(), &[], 5);
    let mut table = SegmentTable::new();
    let mut give = |twin: &mut Twin, track: usize, side: Side, mut packet: Vec<u8>| {
        let mut burst = Burst::from_gro(&mut packet, 0, at(0), 0, &mut table);
        match side {
            Side::First => twin.handle_first(track, &mut burst),
            Side::Second => twin.handle_second(track, &burst),
        }
    };
    for number in 0..200 {
        give(&mut twin, VIDEO, Side::First, OURS.packet(number, &payload(number)));
        give(&mut twin, VIDEO, Side::Second, THEIRS.packet(number, &payload(number)));
    }
    assert!(twin.is_identical());
    for number in 200..400 {
        give(&mut twin, VIDEO, Side::First, OURS.packet(number, &payload(number)));
        give(&mut twin, VIDEO, Side::Second, THEIRS.packet(number, &payload(number)));
        give(&mut twin, AUDIO, Side::First, OURS.packet(number, &payload(number)));
    }
    assert!(!twin.is_identical());
    assert_eq!(twin.take_over(), None);
    for number in 400..600 {
        give(&mut twin, AUDIO, Side::First, OURS.packet(number, &payload(number)));
        give(&mut twin, AUDIO, Side::Second, THEIRS.packet(number, &payload(number)));
    }
    assert!(twin.is_identical());
}

#[test]
fn payload_types_become_those_of_the_first() {
    let theirs = View { payload_type: 112, ..THEIRS };
    let mut readers = Readers::new(&[vec![(112, 96)]]);
    for number in 0..300 {
        readers.second(theirs.packet(number + 3, &payload(number + 3)));
        readers.second(View { payload_type: 113, ..theirs }.packet(number + 900, &payload(1)));
        readers.first(OURS.packet(number, &payload(number)));
    }
    assert!(readers.twin.filled() > 100);
    readers.check();
}

#[test]
fn one_that_is_far_behind_does_not_go_on_where_the_other_ends() {
    // A packet each 10 ms: 60 ms behind, then half a second, as a server that was started later.
    for (lag, is_near) in [(6, true), (50, false)] {
        let mut readers = Readers::new(&[]);
        for number in 0..1_000u32 {
            readers.now = u64::from(number) * 10;
            readers.first(OURS.packet(number, &payload(number)));
            if let Some(own) = number.checked_sub(lag) {
                readers.second(THEIRS.packet(own, &payload(own)));
            }
        }
        assert_eq!(readers.twin.is_identical(), is_near, "{lag} packets behind");
        assert_eq!(readers.twin.offset(VIDEO), Some(offset_of(THEIRS)));
        assert_eq!(readers.twin.take_over().is_some(), is_near, "{lag} packets behind");
        // What the first loses comes from nobody so late.
        assert_eq!(readers.check().len(), 1_000);
    }
}
