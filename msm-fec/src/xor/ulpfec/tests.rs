use super::header::Header;
use super::*;
use crate::xor::recover::{Head, Parity, Refusal};
use crate::xor::red::{self, Block};
use crate::xor::testing::{FEC_PT, Receiver, SSRC, Sent, losses, packets};
use crate::xor::{EncodeError, Line};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LINE: Line = Line { payload_type: FEC_PT, ssrc: SSRC, sequence: 0 };

fn receiver() -> Receiver<decoder::UlpFec> {
    receiver_of(SSRC, FEC_PT)
}

fn receiver_of(ssrc: u32, payload_type: u8) -> Receiver<decoder::UlpFec> {
    Receiver::new(Decoder::new(DecoderOptions { ssrc, payload_type, limits: Default::default() }))
}

fn send(packets: usize, repairs: usize, truth: &BTreeMap<u64, Vec<u8>>) -> Vec<Sent> {
    let mut encoder = Encoder::new(EncoderOptions::new(LINE, packets, repairs)).unwrap();
    let mut sent = Vec::new();
    for (index, packet) in truth {
        sent.push(Sent::Source(*index));
        encoder.handle_source(*index, packet).unwrap();
        if index == truth.keys().next_back().unwrap() {
            encoder.flush();
        }
        while let Some(packet) = encoder.poll_transmit(5) {
            sent.push(Sent::Repair(packet.to_vec()));
        }
    }
    assert_eq!(encoder.dropped(), 0);
    sent
}

/// The four packets of RFC 5109 §10: SSRC 2, numbers 8 to 11, timestamps 3 to 9, payloads of 200, 140, 100 and 340 bytes, types 11
/// and 18 in turn, the first and the third with the marker.
fn example() -> BTreeMap<u64, Vec<u8>> {
    let packet = |at: u8, len: usize| {
        let mut packet = vec![
            0x80,
            if at.is_multiple_of(2) { 0x80 | 11 } else { 18 },
            0,
            8 + at,
            0,
            0,
            0,
            3 + 2 * at,
            0,
            0,
            0,
            2,
        ];
        packet.extend((0..len).map(|byte| (byte as u8).wrapping_mul(7).wrapping_add(at)));
        (0x1_0008 + u64::from(at), packet)
    };
    [(0, 200), (1, 140), (2, 100), (3, 340)].into_iter().map(|(at, len)| packet(at, len)).collect()
}

fn sum(packets: &[&Vec<u8>], from: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| packets.iter().fold(0, |sum, packet| sum ^ packet.get(12 + at).unwrap_or(&0));
    (from..from + len).map(byte).collect()
}

#[test]
fn one_level_is_the_first_example_of_the_standard() {
    // RFC 5109 §10.1.
    let truth = example();
    let line = Line { payload_type: 127, ssrc: 2, sequence: 1 };
    let mut encoder = Encoder::new(EncoderOptions::new(line, 4, 1)).unwrap();
    for (index, packet) in &truth {
        encoder.handle_source(*index, packet).unwrap();
    }
    let mut expected = vec![0x80, 127, 0, 1, 0, 0, 0, 9, 0, 0, 0, 2];
    expected.extend([0, 0]); // E, L, P, X, CC; M and PT: 11 ^ 18 ^ 11 ^ 18
    expected.extend([0, 8]); // SN base
    expected.extend([0, 0, 0, 8]); // 3 ^ 5 ^ 7 ^ 9
    expected.extend(372_u16.to_be_bytes()); // 200 ^ 140 ^ 100 ^ 340
    expected.extend(340_u16.to_be_bytes()); // protection length
    expected.extend(61_440_u16.to_be_bytes()); // mask 1111000000000000
    expected.extend(sum(&truth.values().collect::<Vec<_>>(), 0, 340));
    assert_eq!(encoder.poll_transmit(9).unwrap(), expected);
    assert!(encoder.poll_transmit(9).is_none());
    for lost in truth.keys().skip(1) {
        let mut receiver = receiver_of(2, 127);
        let mut sent: Vec<Sent> = truth.keys().map(|index| Sent::Source(*index)).collect();
        sent.push(Sent::Repair(expected.clone()));
        receiver.take(&sent, &truth, &BTreeSet::from([*lost]));
        assert_eq!(receiver.recovered.len(), 1);
    }
}

/// The two repair packets of RFC 5109 §10.2: A and B by 70 bytes; C and D by 70 bytes, and of all four the 90 bytes behind them.
fn two_levels(truth: &BTreeMap<u64, Vec<u8>>, further: usize) -> [Vec<u8>; 2] {
    let [a, b, c, d] = [8, 9, 10, 11].map(|number| &truth[&(0x1_0000 + number)]);
    // M and PT: 1 and 11 ^ 18; SN base; timestamp, lengths
    let mut first = vec![0, 0x80 | 25, 0, 8, 0, 0, 0, 3 ^ 5, 0, 200 ^ 140, 0, 70, 0xc0, 0];
    first.extend(sum(&[a, b], 0, 70));
    let mut second = vec![0, 0x80 | 25, 0, 8, 0, 0, 0, 7 ^ 9];
    second.extend((100_u16 ^ 340).to_be_bytes());
    second.extend([0, 70]);
    second.extend(0b0011_0000_0000_0000_u16.to_be_bytes());
    second.extend(sum(&[c, d], 0, 70));
    second.extend((further as u16).to_be_bytes());
    second.extend(0b1111_0000_0000_0000_u16.to_be_bytes());
    second.extend(sum(&[a, b, c, d], 70, further));
    [first, second]
}

#[test]
fn two_levels_are_the_second_example_of_the_standard() {
    let truth = example();
    let [first, second] = two_levels(&truth, 90);
    assert_eq!(second[8..10], 304_u16.to_be_bytes());
    let header = Header::parse(&second).unwrap();
    let levels: Vec<_> = header.levels.iter().flatten().map(|(mask, _, len)| (mask >> 112, *len)).collect();
    assert_eq!(levels, [(0x3000, 70), (0xf000, 90)]);
    // The first one is what we would write, were it not for its protection length.
    let mut parity = Parity::default();
    for packet in truth.values().take(2) {
        let (head, body) = Head::split(packet).unwrap();
        parity.add(head, body);
    }
    let mut written = Vec::new();
    Header::write(8, 0b11 << 126, &parity, 70, &mut written);
    assert_eq!(written, first);

    // C has 100 bytes: 70 by level 0, the rest by level 1. D has 340, of which 160 are protected: that makes no packet.
    let [a, b, c, d] = [0x1_0008, 0x1_0009, 0x1_000a, 0x1_000b];
    for (lost, comes) in [(c, true), (d, false)] {
        let mut receiver = receiver_of(2, 127);
        for (index, packet) in truth.iter().filter(|(index, _)| **index != lost) {
            receiver.source(*index, packet);
        }
        receiver.decoder.handle_payload(&second, &receiver.store).unwrap();
        let recovered =
            receiver.decoder.poll_recovered().map(|recovered| (recovered.index, recovered.packet.to_vec()));
        assert_eq!(recovered, comes.then(|| (lost, truth[&lost].clone())));
        assert_eq!(receiver.decoder.counters().refused(Refusal::Length), u64::from(!comes));
    }
    // Level 1 waits for what only level 1 protects.
    let mut receiver = receiver_of(2, 127);
    receiver.source(a, &truth[&a]);
    receiver.source(d, &truth[&d]);
    receiver.decoder.handle_payload(&second, &receiver.store).unwrap();
    assert!(receiver.decoder.poll_recovered().is_none());
    assert_eq!(receiver.decoder.open(), 1);
    receiver.source(b, &truth[&b]);
    assert_eq!(receiver.recovered, BTreeMap::from([(c, truth[&c].clone())]));
}

#[test]
fn the_long_mask_names_48_packets() {
    let truth = packets(1, 0x1_fff0, 48);
    for (count, long) in [(16, false), (17, true), (48, true)] {
        let truth: BTreeMap<_, _> = truth.clone().into_iter().take(count).collect();
        let sent = send(count, 1, &truth);
        let Some(Sent::Repair(repair)) = sent.last() else { panic!("the repair packet is the last") };
        assert_eq!(repair[12] & 0x40 != 0, long, "{count}");
        for lost in [0x1_fff1, 0x1_fff0 + count as u64 - 1] {
            let mut receiver = receiver();
            receiver.take(&sent, &truth, &BTreeSet::from([lost]));
            assert_eq!(receiver.recovered.len(), 1);
        }
    }
}

#[test]
fn it_travels_inside_red() {
    let truth = packets(1, 0x1_0000, 4);
    let sent = send(4, 1, &truth);
    let Some(Sent::Repair(repair)) = sent.last() else { panic!() };
    let media = &[9; 40];
    let mut payload = Vec::new();
    // A repair packet rides in front of the media of a later packet (RFC 5109 §14.2), if it fits ten bits.
    let fec = Block { payload_type: FEC_PT, timestamp_offset: 0, data: &repair[12..] };
    red::write(&[fec, Block { payload_type: 96, timestamp_offset: 0, data: media }], &mut payload).unwrap();
    let mut receiver = receiver();
    for index in [0x1_0000, 0x1_0001, 0x1_0003] {
        receiver.source(index, &truth[&index]);
    }
    for block in red::parse(&payload).unwrap().filter(|block| block.payload_type == FEC_PT) {
        receiver.decoder.handle_payload(block.data, &receiver.store).unwrap();
    }
    let recovered = receiver.decoder.poll_recovered().unwrap();
    assert_eq!((recovered.index, recovered.packet), (0x1_0002, &truth[&0x1_0002][..]));
}

#[test]
fn lies_are_refused_by_name() {
    // One packet, number 5, of two bytes, and the sum of it.
    let honest = [0, 96, 0, 5, 0, 0, 0, 0, 0, 2, 0, 2, 0x80, 0, 1, 2];
    let with = |at: usize, byte: u8| {
        let mut fec = honest.to_vec();
        fec[at] = byte;
        fec
    };
    let rtp = |fec: &[u8]| {
        let mut packet = vec![0x80, FEC_PT, 0, 0, 0, 0, 0, 0];
        packet.extend(SSRC.to_be_bytes());
        packet.extend(fec);
        packet
    };
    let mut receiver = receiver();
    assert_eq!(receiver.repair(&rtp(&honest)), Err(Refusal::NoSource));
    let source = packets(1, 0x1_0004, 1);
    receiver.source(0x1_0004, &source[&0x1_0004]);
    let mut levels = honest.to_vec();
    (0..MAX_LEVELS).for_each(|_| levels.extend([0, 0, 0x80, 0]));
    let mut other_stream = rtp(&honest);
    other_stream[11] ^= 1;
    let mut other_type = rtp(&honest);
    other_type[1] ^= 1;
    for (packet, refusal) in [
        (vec![0x80; 5], Refusal::NotRtp),
        (other_type, Refusal::PayloadType),
        (other_stream, Refusal::OtherStream),
        (rtp(&honest[..9]), Refusal::Short),
        (rtp(&honest[..10]), Refusal::Short),
        (rtp(&honest[..13]), Refusal::Short),
        (rtp(&honest[..15]), Refusal::LevelLength),
        (rtp(&with(10, 0xff)), Refusal::LevelLength),
        (rtp(&with(0, 0x80)), Refusal::Reserved),
        (rtp(&with(0, 0x40)), Refusal::Short),
        (rtp(&with(12, 0)), Refusal::Empty),
        (rtp(&with(2, 0x80)), Refusal::FarAway),
        (rtp(&with(2, 0x04)), Refusal::FarAway),
        (rtp(&levels), Refusal::Levels),
        (rtp(&[&honest[..], &[0; 3]].concat()), Refusal::Short),
    ] {
        assert_eq!(receiver.repair(&packet), Err(refusal), "{packet:x?}");
        assert!(receiver.decoder.counters().refused(refusal) > 0);
    }
    for (fec, refusal) in [
        (with(9, 3), Refusal::Length),
        (with(8, 0xff), Refusal::Length),
        (with(0, 0x3f), Refusal::Inconsistent),
    ] {
        receiver.repair(&rtp(&fec)).unwrap();
        assert!(receiver.decoder.counters().refused(refusal) > 0, "{refusal}");
    }
    assert_eq!((receiver.recovered.len(), receiver.decoder.open()), (0, 0));
    receiver.repair(&rtp(&honest)).unwrap();
    assert_eq!(receiver.recovered.len(), 1);
}

#[test]
fn blocks_without_a_mask_are_not_made() {
    for (packets, repairs) in [(0, 0), (4, 0), (4, 5), (49, 1)] {
        let made = Encoder::new(EncoderOptions::new(LINE, packets, repairs));
        assert!(matches!(made, Err(EncodeError::Dimensions { .. })), "{packets} {repairs}");
    }
    let line = Line { payload_type: 200, ..LINE };
    assert!(Encoder::new(EncoderOptions::new(line, 4, 1)).is_err());
}

proptest! {
    #[test]
    fn what_comes_out_went_in(count in 1usize..=48, repairs in 1usize..=8, seed: u64, first in 0x1_0000u64..0x3_0000, share in 0u64..40) {
        let truth = packets(seed, first, 200);
        let sent = send(count, repairs.min(count), &truth);
        let lost = losses(seed, truth.keys().copied().skip(1), share);
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &lost);
        prop_assert!(receiver.recovered.keys().all(|index| lost.contains(index)));
    }

    #[test]
    fn a_burst_as_long_as_a_block_has_repairs_comes_back(count in 1usize..=48, repairs in 1usize..=8, seed: u64, first in 0x1_0000u64..0x3_0000) {
        let repairs = repairs.min(count);
        let truth = packets(seed, first, 200);
        let sent = send(count, repairs, &truth);
        let blocks = 200 / count as u64;
        let block = first + count as u64 * (seed % blocks);
        let begin = block + seed / 7 % (count - repairs + 1) as u64;
        let lost: BTreeSet<u64> = (begin..begin + repairs as u64).filter(|index| *index > first).collect();
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &lost);
        prop_assert_eq!(receiver.recovered.keys().copied().collect::<BTreeSet<_>>(), lost);
    }
}
