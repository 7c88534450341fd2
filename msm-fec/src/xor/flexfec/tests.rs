use super::*;
use crate::xor::Line;
use crate::xor::recover::{Limits, Refusal};
use crate::xor::testing::{FEC_PT, FEC_SSRC, Receiver, SSRC, Sent, losses, packets};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LINE: Line = Line { payload_type: FEC_PT, ssrc: FEC_SSRC, sequence: 65_535 };
const OPTIONS: DecoderOptions = DecoderOptions {
    ssrc: SSRC,
    payload_type: FEC_PT,
    repair_ssrc: Some(FEC_SSRC),
    limits: Limits { window: 1024, open: 128, recovered_bytes: 256 << 10, packet: 2048 },
};

fn receiver() -> Receiver<decoder::FlexFec> {
    Receiver::new(Decoder::new(OPTIONS))
}

fn send(shape: Shape, truth: &BTreeMap<u64, Vec<u8>>) -> Vec<Sent> {
    let mut encoder = Encoder::new(EncoderOptions::new(SSRC, LINE, shape)).unwrap();
    let mut sent = Vec::new();
    for (index, packet) in truth {
        sent.push(Sent::Source(*index));
        encoder.handle_source(*index, packet).unwrap();
        while let Some(repair) = encoder.poll_transmit(77) {
            sent.push(Sent::Repair(repair.to_vec()));
        }
    }
    encoder.flush();
    while let Some(repair) = encoder.poll_transmit(77) {
        sent.push(Sent::Repair(repair.to_vec()));
    }
    assert_eq!((encoder.dropped(), encoder.unprotected()), (0, 0));
    sent
}

fn repairs(sent: &[Sent]) -> Vec<&[u8]> {
    let repairs = sent.iter().filter_map(|sent| match sent {
        Sent::Repair(packet) => Some(packet.as_slice()),
        Sent::Source(_) => None,
    });
    repairs.collect()
}

/// Source packets of two bytes, whose sums can be done by hand.
fn small(index: u64) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend((index as u16).to_be_bytes());
    packet.extend((3000 * index as u32).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend([index as u8, 0xf0]);
    packet
}

fn smalls(range: std::ops::Range<u64>) -> BTreeMap<u64, Vec<u8>> {
    range.map(|index| (index, small(index))).collect()
}

/// A repair packet with a FEC header and sum that a test made up.
fn forged(fec: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x81, FEC_PT, 0, 0, 0, 0, 0, 0];
    packet.extend(FEC_SSRC.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(fec);
    packet
}

#[test]
fn a_row_is_what_the_standard_draws() {
    // RFC 8627 §4.2.2.2, figures 12 and 13: R = 0, F = 1, L = 4, D = 0; §6.2: sums of PT, length, timestamp and bodies.
    let sent = send(Shape::Rows { columns: 4 }, &smalls(0x1_0001..0x1_0005));
    let [repair] = repairs(&sent)[..] else { panic!("one repair packet") };
    let mut expected = vec![0x81, FEC_PT, 0xff, 0xff, 0, 0, 0, 77];
    expected.extend(FEC_SSRC.to_be_bytes());
    expected.extend(SSRC.to_be_bytes());
    expected.extend([0x40, 0x00, 0x00, 0x00]); // R F P X CC, M PT: four times 96; four times 2 bytes
    let timestamp = (0x1_0001..0x1_0005).fold(0, |sum, index: u32| sum ^ (3000 * index));
    expected.extend(timestamp.to_be_bytes());
    expected.extend([0, 1, 4, 0]); // SN base, L, D
    expected.extend([4, 0]); // 1 ^ 2 ^ 3 ^ 4, and four times the same
    assert_eq!(repair, expected);
}

#[test]
fn a_grid_has_rows_with_d_1_and_then_columns() {
    // RFC 8627 §4.2.2.2: in two dimensions D = 1 says of a row that columns follow behind all rows.
    let sent = send(Shape::Grid { columns: 3, rows: 2 }, &smalls(0x1_fffe..0x2_0004));
    let bases: Vec<_> = repairs(&sent).iter().map(|packet| packet[24..28].to_vec()).collect();
    let expected: [[u8; 4]; 5] =
        [[0xff, 0xfe, 3, 1], [0, 1, 3, 1], [0xff, 0xfe, 3, 2], [0xff, 0xff, 3, 2], [0, 0, 3, 2]];
    assert_eq!(bases, expected, "and the base wraps");
    assert!(matches!(sent[3], Sent::Repair(_)), "a row goes out when it is full");
}

#[test]
fn masks_are_of_15_46_or_110_bits() {
    // RFC 8627 §4.2.2.1, figure 11: k = 1 says that more follows; the last 64 bits have no k.
    let fec = |span: u64| {
        let mut truth = smalls(100..101);
        truth.insert(100 + span - 1, small(100 + span - 1));
        let sent = send(Shape::Mask { packets: 2, repairs: 1 }, &truth);
        repairs(&sent)[0][24..].to_vec()
    };
    assert_eq!(fec(15)[..4], [0, 100, 0x40, 0x01]);
    assert_eq!(fec(16)[..8], [0, 100, 0xc0, 0x00, 0x40, 0, 0, 0]);
    assert_eq!(fec(46)[..8], [0, 100, 0xc0, 0x00, 0, 0, 0, 1]);
    assert_eq!(fec(47)[..16], [0, 100, 0xc0, 0x00, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(fec(110)[..16], [0, 100, 0xc0, 0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    for (span, len) in [(15, 4), (46, 8), (110, 16)] {
        assert_eq!(fec(span).len(), len + 2, "and behind it the sum");
    }
}

#[test]
fn a_mask_that_reaches_too_far_is_begun_anew() {
    let mut truth = smalls(100..102);
    truth.insert(300, small(300));
    let sent = send(Shape::Mask { packets: 3, repairs: 1 }, &truth);
    assert_eq!(repairs(&sent).len(), 2);
    let mut receiver = receiver();
    receiver.take(&sent, &truth, &BTreeSet::from([101]));
    assert_eq!(receiver.recovered.len(), 1);
}

#[test]
fn several_streams_are_read_and_named() {
    let fec = [0x40, 0, 0, 9, 0, 0, 0, 1, 0, 5, 3, 1, 0, 7, 2, 0, 0xaa];
    let header = Header::parse(&fec, [1, 2].into_iter()).unwrap().unwrap();
    let named: Vec<_> = header.protected().collect();
    let fixed =
        |ssrc, base, columns, rows| Protected { ssrc, base, pattern: Pattern::Fixed { columns, rows } };
    assert_eq!(named, [fixed(1, 5, 3, 1), fixed(2, 7, 2, 0)]);
    assert_eq!(header.len, 16);
    let masks = [0x00, 0, 0, 9, 0, 0, 0, 1, 0, 5, 0xc0, 0, 0x40, 0, 0, 0, 0, 7, 0x60, 0];
    let header = Header::parse(&masks, [1, 2].into_iter()).unwrap().unwrap();
    let named: Vec<_> = header.protected().map(|each| (each.base, each.pattern)).collect();
    assert_eq!(named, [(5, Pattern::Mask(0b1000_0000_0000_0001 << 112)), (7, Pattern::Mask(0b11 << 126))]);
    let mut packet = forged(&[]);
    packet[0] = 0x82;
    packet.extend(7_u32.to_be_bytes());
    packet.extend(fec);
    let mut receiver = receiver();
    receiver.source(0x1_0005, &small(0x1_0005));
    assert_eq!(receiver.repair(&packet), Err(Refusal::SeveralStreams));
}

#[test]
fn a_retransmission_is_the_packet() {
    let truth = packets(1, 0x1_fffd, 5);
    let mut encoder = Encoder::new(EncoderOptions::new(SSRC, LINE, Shape::Rows { columns: 9 })).unwrap();
    let mut receiver = receiver();
    for index in [0x1_fffd, 0x1_fffe, 0x2_0001] {
        receiver.source(index, &truth[&index]);
    }
    for index in [0x1_ffff, 0x1_ffff, 0x1_fffe] {
        encoder.retransmit(&truth[&index]).unwrap();
        let repair = encoder.poll_transmit(0).unwrap();
        assert_eq!(repair[0], 0x80, "it needs no contributing source");
        receiver.repair(repair).unwrap();
    }
    assert_eq!(receiver.recovered, BTreeMap::from([(0x1_ffff, truth[&0x1_ffff].clone())]));
    assert_eq!(receiver.decoder.counters().unneeded, 2);
    // One of another stream, and one that is no packet.
    let mut other = truth[&0x1_ffff].clone();
    other[8] ^= 1;
    encoder.retransmit(&other).unwrap();
    assert_eq!(receiver.repair(encoder.poll_transmit(0).unwrap()), Err(Refusal::OtherStream));
    let mut packet = forged(&[0x8f; 12]);
    packet[0] = 0x80;
    packet.drain(12..16);
    assert_eq!(receiver.repair(&packet), Err(Refusal::Inconsistent));
}

#[test]
fn a_row_of_one_is_a_copy_too() {
    // RFC 8627 §4.2.2.2: L = 1 and D = 0.
    let truth = packets(3, 0x1_0000, 3);
    let sent = send(Shape::Rows { columns: 1 }, &truth);
    let mut receiver = receiver();
    receiver.take(&sent, &truth, &BTreeSet::from([0x1_0001, 0x1_0002]));
    assert_eq!(receiver.recovered.len(), 2);
}

#[test]
fn lies_are_refused_by_name() {
    let sum = |fec: &[u8]| forged(fec);
    // Bytes 0 to 7 of a sum: one packet of two bytes is missing.
    let fixed =
        |base: [u8; 2], l, d, len: u8| sum(&[0x40, 96, 0, len, 0, 0, 0, 0, base[0], base[1], l, d, 1, 2]);
    let mask = |bits: [u8; 2]| sum(&[0, 96, 0, 2, 0, 0, 0, 0, 0, 5, bits[0], bits[1], 1, 2]);
    let mut receiver = receiver();
    assert_eq!(receiver.repair(&fixed([0, 5], 1, 0, 2)), Err(Refusal::NoSource));
    receiver.source(0x1_0004, &small(0x1_0004));
    let mut other_type = fixed([0, 5], 1, 0, 2);
    other_type[1] += 1;
    let mut other_sender = fixed([0, 5], 1, 0, 2);
    other_sender[11] ^= 1;
    let mut other_stream = fixed([0, 5], 1, 0, 2);
    other_stream[15] ^= 1;
    let mut of_nothing = fixed([0, 5], 1, 0, 2);
    of_nothing.drain(12..16);
    of_nothing[0] = 0x80;
    let mut long = fixed([0, 5], 1, 0, 2);
    long.resize(3000, 0);
    for (packet, refusal) in [
        (vec![0x81; 11], Refusal::NotRtp),
        (other_type, Refusal::PayloadType),
        (other_sender, Refusal::OtherStream),
        (other_stream, Refusal::OtherStream),
        (of_nothing, Refusal::OtherStream),
        (sum(&[0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0]), Refusal::Reserved),
        (sum(&[0x40, 0, 0]), Refusal::Short),
        (sum(&[0x40, 0, 0, 0, 0, 0, 0, 0, 0, 5]), Refusal::Short),
        (sum(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x80, 0, 0]), Refusal::Short),
        (sum(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x80, 0, 0x80, 0, 0, 0, 1]), Refusal::Short),
        (fixed([0, 5], 0, 0, 2), Refusal::Reserved),
        (fixed([0, 5], 0, 3, 2), Refusal::Reserved),
        (mask([0, 0]), Refusal::Empty),
        (fixed([0x80, 5], 1, 0, 2), Refusal::FarAway),
        (fixed([0x04, 5], 1, 0, 2), Refusal::FarAway),
        (fixed([0, 5], 255, 255, 2), Refusal::FarAway),
        (long, Refusal::TooLong),
    ] {
        assert_eq!(receiver.repair(&packet), Err(refusal), "{packet:x?}");
        assert!(receiver.decoder.counters().refused(refusal) > 0);
    }
    // What only shows when it is used.
    for (packet, refusal) in [
        (fixed([0, 5], 1, 0, 3), Refusal::Length),
        (fixed([0, 5], 1, 0, 255), Refusal::Length),
        (sum(&[0x4f, 96, 0, 2, 0, 0, 0, 0, 0, 5, 1, 0, 1, 2]), Refusal::Inconsistent),
    ] {
        let before = receiver.decoder.counters().refused(refusal);
        assert_eq!(receiver.repair(&packet), Ok(()));
        assert_eq!(receiver.decoder.counters().refused(refusal), before + 1, "{refusal}");
    }
    assert!(receiver.recovered.is_empty());
    assert_eq!(receiver.decoder.open(), 0);
    receiver.repair(&fixed([0, 5], 1, 0, 2)).unwrap();
    assert_eq!(receiver.recovered.len(), 1, "the honest one");
}

#[test]
fn shapes_without_a_header_are_not_made() {
    let make = |shape| Encoder::new(EncoderOptions::new(SSRC, LINE, shape)).map(|_| ());
    for shape in [
        Shape::Mask { packets: 0, repairs: 0 },
        Shape::Mask { packets: 4, repairs: 5 },
        Shape::Mask { packets: 111, repairs: 1 },
        Shape::Rows { columns: 0 },
        Shape::Columns { columns: 3, rows: 1 },
        Shape::Grid { columns: 0, rows: 4 },
    ] {
        assert!(make(shape).is_err(), "{shape:?}");
    }
    assert!(make(Shape::Mask { packets: 110, repairs: 110 }).is_ok());
    assert!(make(Shape::Grid { columns: 255, rows: 255 }).is_ok());
    let line = Line { payload_type: 128, ..LINE };
    assert!(Encoder::new(EncoderOptions::new(SSRC, line, Shape::Rows { columns: 1 })).is_err());
}

#[test]
fn a_gap_begins_rows_and_columns_anew() {
    let mut encoder =
        Encoder::new(EncoderOptions::new(SSRC, LINE, Shape::Grid { columns: 2, rows: 2 })).unwrap();
    for index in [1, 2, 3, 10, 11, 12, 13] {
        encoder.handle_source(index, &small(index)).unwrap();
    }
    let mut bases = Vec::new();
    while let Some(packet) = encoder.poll_transmit(0) {
        bases.push((packet[25], packet[27]));
    }
    assert_eq!(bases, [(1, 1), (10, 1), (12, 1), (10, 2), (11, 2)]);
    assert_eq!(encoder.unprotected(), 3);
    assert!(encoder.handle_source(14, &[0x80; 11]).is_err());
    assert!(encoder.handle_source(14, &[0x80; 2049]).is_err());
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (1usize..=110, 1usize..=20)
            .prop_map(|(packets, repairs)| Shape::Mask { packets, repairs: repairs.min(packets) }),
        (1u8..=20).prop_map(|columns| Shape::Rows { columns }),
        (1u8..=12, 2u8..=12).prop_map(|(columns, rows)| Shape::Columns { columns, rows }),
        (1u8..=12, 2u8..=12).prop_map(|(columns, rows)| Shape::Grid { columns, rows }),
    ]
}

proptest! {
    #[test]
    fn what_comes_out_went_in(shape in shapes(), seed: u64, first in 0x1_0000u64..0x3_0000, share in 0u64..40) {
        let truth = packets(seed, first, 300);
        let sent = send(shape, &truth);
        let lost = losses(seed, truth.keys().copied().skip(1), share);
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &lost);
        prop_assert!(receiver.recovered.keys().all(|index| lost.contains(index)));
    }

    #[test]
    fn one_loss_of_a_repair_packet_comes_back(shape in shapes(), seed: u64, first in 0x1_0000u64..0x3_0000) {
        let truth = packets(seed, first, 300);
        let sent = send(shape, &truth);
        // The last repair packet of these shapes protects the end, or leaves a rest that is not protected.
        let protected: u64 = match shape {
            Shape::Mask { .. } => 300,
            Shape::Rows { columns } | Shape::Grid { columns, .. } => 300 / u64::from(columns) * u64::from(columns),
            Shape::Columns { columns, rows } => {
                let matrix = u64::from(columns) * u64::from(rows);
                300 / matrix * matrix
            }
        };
        let lost = first + 1 + seed % 299;
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &BTreeSet::from([lost]));
        let expected = lost < first + protected;
        prop_assert_eq!(receiver.recovered.contains_key(&lost), expected);
    }

    #[test]
    fn reordering_does_not_matter(shape in shapes(), seed: u64, share in 0u64..20) {
        let truth = packets(seed, 0x1_fff0, 200);
        let mut sent = send(shape, &truth);
        let lost = losses(seed, truth.keys().copied().skip(1), share);
        let mut in_order = receiver();
        in_order.take(&sent, &truth, &lost);
        let mut rng = msm_core::rng::Rng::new(seed);
        for at in 1..sent.len() {
            let other = at - rng.range(0..(at as u64).min(12)) as usize;
            if other > 0 {
                sent.swap(at, other);
            }
        }
        // And now and then twice.
        let sent: Vec<_> = sent.into_iter().flat_map(|packet| vec![packet; 1 + usize::from(rng.range(0..9) == 0)]).collect();
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &lost);
        let came: Vec<_> = receiver.recovered.keys().filter(|index| lost.contains(index)).collect();
        prop_assert_eq!(came, in_order.recovered.keys().collect::<Vec<_>>());
    }
}
