//! What two sources bring, merged.

mod same;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::burst::SegmentTable;
use crate::hub::testing::{VIDEO, at, rtp, tracks};
use crate::rng::Rng;

/// What a source's numbers are of the camera's.
#[derive(Clone, Copy)]
struct View {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
}

const OURS: View = View { ssrc: 1, sequence: 65_000, timestamp: u32::MAX - 50_000, payload_type: 96 };
const THEIRS: View = View { ssrc: 2, sequence: 300, timestamp: 77, payload_type: 96 };

impl View {
    fn packet(self, number: u32, payload: &[u8]) -> Vec<u8> {
        let sequence = (number as u16).wrapping_add(self.sequence);
        let timestamp = (number / 4 * 3_600).wrapping_add(self.timestamp);
        rtp(self.payload_type, sequence, timestamp, self.ssrc, number % 4 == 3, payload)
    }
}

/// How the numbers of `theirs` become ours.
fn offset_of(theirs: View) -> Offset {
    Offset {
        sequence: OURS.sequence.wrapping_sub(theirs.sequence),
        timestamp: OURS.timestamp.wrapping_sub(theirs.timestamp),
    }
}

/// Payloads that are told apart; some come again and again.
fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![0x41, 0x9a];
    if number % 7 != 3 {
        payload.extend(number.to_be_bytes());
    }
    payload.resize(20 + number as usize % 30, 0xab);
    payload
}

/// What readers get: packets of a twin's line, in the order that they leave.
struct Readers {
    twin: Twin,
    out: Vec<Vec<u8>>,
    scratch: (Vec<u8>, Vec<(usize, usize)>),
    /// When what comes comes, in milliseconds.
    now: u64,
}

impl Readers {
    fn new(numbers: &[Vec<(u8, u8)>]) -> Self {
        let video: Arc<[TrackInfo]> = tracks()[..1].into();
        Readers { twin: Twin::new(&video, numbers, 5), out: Vec::new(), scratch: Default::default(), now: 0 }
    }

    fn poll(&mut self) {
        let (bytes, parts) = &mut self.scratch;
        while self.twin.poll_burst(VIDEO, bytes, parts) {
            let packets = parts.iter().map(|(start, len)| bytes[*start..*start + *len].to_vec());
            self.out.extend(packets);
        }
    }

    fn keep(&mut self, burst: &Burst<'_>) {
        for (index, segment) in burst.segments().iter().enumerate() {
            if segment.valid {
                self.out.push(burst.packet(index).unwrap().to_vec());
            }
        }
    }

    fn first(&mut self, mut packet: Vec<u8>) {
        let mut table = SegmentTable::new();
        let mut burst = Burst::from_gro(&mut packet, 0, at(self.now), 0, &mut table);
        self.twin.handle_first(VIDEO, &mut burst);
        self.poll();
        self.keep(&burst);
    }

    fn second(&mut self, mut packet: Vec<u8>) {
        let mut table = SegmentTable::new();
        let burst = Burst::from_gro(&mut packet, 0, at(self.now), 0, &mut table);
        self.twin.handle_second(VIDEO, &burst);
        self.poll();
    }

    /// A packet of the only source that is left, whose numbers are so far from the line's.
    fn alone(&mut self, mut packet: Vec<u8>, offset: Offset, ssrc: u32) {
        let mut table = SegmentTable::new();
        let mut burst = Burst::from_gro(&mut packet, 0, at(0), 0, &mut table);
        self.twin.handle_alone(VIDEO, &mut burst);
        let header = burst.segments()[0].header;
        if burst.valid() == 1 {
            let (sequence, timestamp) = (
                header.sequence.wrapping_add(offset.sequence),
                header.timestamp.wrapping_add(offset.timestamp),
            );
            patch_header(&mut packet, header.marker_pt(), sequence, timestamp, ssrc);
            self.out.push(packet);
        }
    }

    fn numbers(&self) -> Vec<u32> {
        let number =
            |packet: &Vec<u8>| u32::from(Header::parse(packet).unwrap().sequence.wrapping_sub(OURS.sequence));
        self.out.iter().map(number).collect()
    }

    /// Checks that all that has come out is what the first source sends, and nothing twice.
    fn check(&self) -> Vec<u32> {
        let numbers = self.numbers();
        let mut seen = BTreeMap::new();
        for (number, packet) in numbers.iter().zip(&self.out) {
            assert_eq!(*packet, OURS.packet(*number, &payload(*number)), "packet {number}");
            assert_eq!(seen.insert(*number, ()), None, "packet {number} came twice");
        }
        numbers
    }
}

#[test]
fn two_sources_with_other_numbers_are_found_and_merged_whoever_is_ahead() {
    for (lag, lead) in [(0, 0), (1, 0), (30, 0), (1_500, 0), (0, 1), (0, 5), (0, 20)] {
        let mut readers = Readers::new(&[]);
        let mut known = None;
        for number in 0..4_000u32 {
            if number >= lead {
                readers.first(OURS.packet(number - lead, &payload(number - lead)));
            }
            if number >= lag {
                readers.second(THEIRS.packet(number - lag, &payload(number - lag)));
            }
            if readers.twin.is_identical() {
                known.get_or_insert(number);
            }
        }
        let known = known.unwrap_or_else(|| panic!("lag {lag}, lead {lead}: not found"));
        assert!(known < 200 + lag, "lag {lag}, lead {lead}: not before {known}");
        let numbers = readers.check();
        assert!(numbers.is_sorted(), "lag {lag}, lead {lead}");
        assert_eq!(numbers.len() as u32, 4_000, "lag {lag}, lead {lead}: all that either has brought");
        let ahead = readers.twin.filled();
        assert_eq!(ahead > 0, lead > 0, "lag {lag}, lead {lead}: {ahead} packets of the second");
    }
}

#[test]
fn the_second_goes_on_with_the_next_packet_when_the_first_is_lost() {
    for (lag, lead, lost) in [(0, 0, 0), (20, 0, 0), (0, 9, 0), (0, 900, 0), (700, 0, 3)] {
        let mut readers = Readers::new(&[]);
        let mut number = 0;
        while number < 2_400 {
            if number >= lead {
                readers.first(OURS.packet(number - lead, &payload(number - lead)));
            }
            if number >= lag {
                readers.second(THEIRS.packet(number - lag, &payload(number - lag)));
            }
            number += 1;
        }
        // Silence of the first before anybody notices.
        for _ in 0..200 {
            readers.second(THEIRS.packet(number - lag, &payload(number - lag)));
            number += 1;
        }
        let offsets = readers.twin.take_over().expect("they are identical");
        let offset = offsets[0].unwrap();
        assert_eq!(offset, offset_of(THEIRS));
        readers.poll();
        // What is lost now is lost.
        number += lost;
        for _ in 0..1_000 {
            readers.alone(THEIRS.packet(number - lag, &payload(number - lag)), offset, OURS.ssrc);
            number += 1;
        }
        let numbers = readers.check();
        assert!(numbers.is_sorted(), "lag {lag}, lead {lead}");
        let last = *numbers.last().unwrap();
        assert_eq!(last, number - lag - 1);
        assert_eq!(numbers.len() as u32, last + 1, "lag {lag}, lead {lead}: nothing is missing");
        assert!(readers.twin.is_over());
    }
}

#[test]
fn what_the_second_was_ahead_is_not_sent_again_when_it_is_gone() {
    let mut readers = Readers::new(&[]);
    for number in 0..1_000 {
        readers.second(THEIRS.packet(number + 12, &payload(number + 12)));
        readers.first(OURS.packet(number, &payload(number)));
    }
    assert_eq!(readers.numbers().last(), Some(&1_011));
    readers.twin.leave();
    let none = Offset { sequence: 0, timestamp: 0 };
    for number in 1_000..1_200 {
        assert_eq!(readers.twin.is_over(), number > 1_011 + 64);
        readers.alone(OURS.packet(number, &payload(number)), none, OURS.ssrc);
    }
    let numbers = readers.check();
    assert!(numbers.is_sorted() && numbers.len() == 1_200);
}

#[test]
fn loss_and_disorder_on_both_ways_leave_one_line_with_all_that_has_come() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let theirs = View {
            ssrc: rng.next_u32(),
            sequence: rng.next_u16(),
            timestamp: rng.next_u32(),
            payload_type: 96,
        };
        let below = |rng: &mut Rng, most: u32| rng.next_u32() % most;
        let loss = below(&mut rng, 120);
        let skew = i64::from(below(&mut rng, 400)) - 200;
        let mut ways: [Vec<(i64, u32)>; 2] = Default::default();
        for (side, way) in ways.iter_mut().enumerate() {
            for number in 0..3_000 {
                // One in a thousand up to one in ten is lost, and some overtake others.
                if below(&mut rng, 1_000) >= loss {
                    let late = if below(&mut rng, 20) == 0 { below(&mut rng, 8) } else { 0 };
                    let behind = if side == 1 { skew } else { 0 };
                    way.push((i64::from(number + late) + behind, number));
                }
            }
            way.sort_unstable();
        }
        let mut readers = Readers::new(&[]);
        let (mut ours, mut other) = (ways[0].iter().peekable(), ways[1].iter().peekable());
        let mut known = None;
        let killed = 2_000 + i64::from(below(&mut rng, 300));
        let mut came = vec![false; 3_000];
        let mut offset = None;
        for time in -200..3_300i64 {
            while let Some((_, number)) = ours.next_if(|(due, _)| *due <= time && *due < killed) {
                came[*number as usize] = true;
                readers.first(OURS.packet(*number, &payload(*number)));
            }
            while let Some((_, number)) = other.next_if(|(due, _)| *due <= time) {
                let packet = theirs.packet(*number, &payload(*number));
                came[*number as usize] = true;
                match offset {
                    None => readers.second(packet),
                    Some(offset) => readers.alone(packet, offset, OURS.ssrc),
                }
            }
            if readers.twin.is_identical() {
                known.get_or_insert(time);
            }
            if time == killed + 50 {
                offset = readers.twin.take_over().expect("identical")[0];
                readers.poll();
            }
        }
        let known = known.unwrap_or_else(|| panic!("seed {seed}: not found"));
        assert!(known < 1_000, "seed {seed}: {known}");
        let mut got: Vec<_> = readers.check();
        got.sort_unstable();
        for number in (known.max(0) + 300) as u32..2_900 {
            assert_eq!(
                got.binary_search(&number).is_ok(),
                came[number as usize],
                "seed {seed}: packet {number}"
            );
        }
    }
}

#[test]
fn what_is_far_ahead_waits_until_the_first_is_lost_and_no_further_than_it_is_kept() {
    // A second ahead, in small packets: all of it is kept.
    let lead = 100;
    let mut readers = Readers::new(&[]);
    for number in 0..1_000 {
        readers.second(THEIRS.packet(number + lead, &payload(number + lead)));
        readers.first(OURS.packet(number, &payload(number)));
    }
    assert_eq!(duration_of(lead), Duration::from_secs(1));
    assert_eq!(readers.numbers().last(), Some(&999));
    assert!(readers.twin.take_over().is_some());
    readers.poll();
    assert_eq!(readers.numbers().last(), Some(&(999 + lead)));
    readers.check();
    // What has been written over cannot be sent.
    let large = |number: u32| [&payload(number)[..], &[0; 60_000]].concat();
    let mut twin = Readers::new(&[]);
    for number in 0..500 {
        twin.second(THEIRS.packet(number + lead, &large(number + lead)));
        twin.first(OURS.packet(number, &large(number)));
    }
    assert!(twin.twin.is_identical());
    assert_eq!(twin.twin.take_over(), None);
}

fn duration_of(packets: u32) -> Duration {
    Duration::from_millis(u64::from(packets / 4 * 40))
}
