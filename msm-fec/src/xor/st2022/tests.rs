use super::*;
use crate::xor::recover::Refusal;
use crate::xor::testing::{Receiver, SSRC, Sent, losses, packets};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn receiver() -> Receiver<decoder::St2022> {
    Receiver::new(Decoder::new(DecoderOptions { ssrc: SSRC, ..Default::default() }))
}

fn send(options: EncoderOptions, truth: &BTreeMap<u64, Vec<u8>>) -> Vec<Sent> {
    let mut encoder = Encoder::new(options).unwrap();
    let mut sent = Vec::new();
    let mut numbers = [options.sequences.0, options.sequences.1];
    for (index, packet) in truth {
        sent.push(Sent::Source(*index));
        encoder.handle_source(*index, packet).unwrap();
        if index == truth.keys().next_back().unwrap() {
            encoder.flush();
        }
        while let Some((direction, packet)) = encoder.poll_transmit(5) {
            let number = &mut numbers[usize::from(direction == Direction::Row)];
            assert_eq!(packet[2..4], number.to_be_bytes(), "each stream has a line of its own");
            assert_eq!(FecPacket::parse(packet).unwrap().direction, direction);
            *number = number.wrapping_add(1);
            sent.push(Sent::Repair(packet.to_vec()));
        }
    }
    assert_eq!((encoder.dropped(), encoder.unprotected()), (0, 0));
    sent
}

/// Source packets of two bytes, whose sums can be done by hand. Those of odd index have P and M, and type 33 | 64.
fn small(index: u64) -> Vec<u8> {
    let odd = index & 1 == 1;
    let mut packet = vec![if odd { 0xa0 } else { 0x80 }, if odd { 0xe1 } else { 33 }];
    packet.extend((index as u16).to_be_bytes());
    packet.extend((index as u32 * 100).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend([index as u8, 1]);
    packet
}

fn smalls(range: std::ops::Range<u64>) -> BTreeMap<u64, Vec<u8>> {
    range.map(|index| (index, small(index))).collect()
}

fn kinds(sent: &[Sent]) -> Vec<String> {
    let kind = |sent: &Sent| match sent {
        Sent::Source(index) => index.to_string(),
        Sent::Repair(packet) => {
            let fec = FecPacket::parse(packet).unwrap();
            format!("{:?} {}", fec.direction, fec.base)
        }
    };
    sent.iter().map(kind).collect()
}

#[test]
fn headers_are_those_of_the_standard() {
    // RFC 6015 §4.2 draws the same header.
    let options = EncoderOptions { sequences: (65_535, 9), ..EncoderOptions::new(5, 4) };
    let sent = send(options, &smalls(0x1_0000..0x1_0014));
    let fec: Vec<&Vec<u8>> = sent
        .iter()
        .filter_map(|sent| if let Sent::Repair(packet) = sent { Some(packet) } else { None })
        .collect();
    assert_eq!(fec.len(), 4 + 5);
    // The row 0 to 4 has two odd packets, the row 5 to 9 three.
    let timestamps =
        |indices: [u32; 5]| indices.iter().fold(0, |sum, index| sum ^ (index * 100)).to_be_bytes();
    let row = |base: u8, number: u8, odd: bool, indices: [u32; 5]| {
        let mut packet =
            vec![if odd { 0xa0 } else { 0x80 }, 96 | u8::from(odd) << 7, 0, number, 0, 0, 0, 5, 0, 0, 0, 0];
        // SN base, length, E and PT, mask, TS, N D type index, offset, NA, SN base ext
        packet.extend([0, base, 0, 2, 0x80 | if odd { 0x61 } else { 33 }, 0, 0, 0]);
        packet.extend(timestamps(indices.map(|index| index | 0x1_0000)));
        packet.extend([0x40, 1, 5, 0]);
        packet.extend([indices.iter().fold(0, |sum, index| sum ^ *index as u8), 1]);
        packet
    };
    assert_eq!(fec[0], &row(0, 9, false, [0, 1, 2, 3, 4]));
    assert_eq!(fec[1], &row(5, 10, true, [5, 6, 7, 8, 9]));
    let column = fec.iter().find(|packet| packet[24] == 0).unwrap();
    assert_eq!(column[..4], [0x80, 96, 0xff, 0xff]);
    assert_eq!(column[12..16], [0, 0, 0, 0], "column 0 has lengths 2, 2, 2, 2");
    assert_eq!(column[24..], [0, 5, 4, 0, 5 ^ 10 ^ 15, 0]);
}

#[test]
fn columns_are_spread_over_the_next_matrix() {
    let sent = kinds(&send(EncoderOptions::new(4, 5), &smalls(0x1_0000..0x1_0000 + 60)));
    let place = |what: &str| sent.iter().position(|sent| sent == what).unwrap();
    for column in 0..4 {
        let after = 0x1_0000 + 20 + 5 * column;
        let at = place(&after.to_string());
        let next = sent[at + 1..].iter().position(|sent| !sent.contains(' ')).unwrap();
        assert!(sent[at + 1..at + 1 + next].contains(&format!("Column {column}")));
        // So column and source packet are between L and L × D packets apart.
        let last = 16 + column;
        assert!((4..=20).contains(&(20 + 5 * column - last)));
    }
    assert_eq!(sent[place("65539") + 1], "Row 0", "a row goes out when it is full");
}

#[test]
fn columns_alone_may_be_narrow() {
    let alone = |columns, rows| {
        Encoder::new(EncoderOptions { row_fec: false, ..EncoderOptions::new(columns, rows) }).is_ok()
    };
    let both = |columns, rows| Encoder::new(EncoderOptions::new(columns, rows)).is_ok();
    for (columns, rows, as_columns, as_both) in [
        (1, 4, true, false),
        (3, 20, true, false),
        (4, 4, true, true),
        (5, 20, true, true),
        (20, 5, true, true),
        (20, 6, false, false),
        (21, 4, false, false),
        (4, 21, false, false),
        (4, 3, false, false),
        (0, 4, false, false),
    ] {
        assert_eq!(alone(columns, rows), as_columns, "{columns} {rows}");
        assert_eq!(both(columns, rows), as_both, "{columns} {rows}");
    }
    assert!(Encoder::new(EncoderOptions { payload_type: 128, ..EncoderOptions::new(4, 4) }).is_err());
}

#[test]
fn rows_and_columns_help_each_other() {
    // A burst of a row and a half: no row has only one loss, three columns have two, and still all comes back.
    let truth = packets(1, 0x1_fff0, 100);
    let sent = send(EncoderOptions::new(5, 5), &truth);
    let at = |row: u64, column: u64| 0x1_fff0 + 25 + 5 * row + column;
    let lost = BTreeSet::from([at(1, 0), at(1, 1), at(2, 0), at(2, 3), at(3, 3), at(3, 4)]);
    let mut both = receiver();
    both.take(&sent, &truth, &lost);
    assert_eq!(both.recovered.len(), 6);
    let mut columns = receiver();
    let alone = send(EncoderOptions { row_fec: false, ..EncoderOptions::new(5, 5) }, &truth);
    columns.take(&alone, &truth, &lost);
    assert_eq!(columns.recovered.len(), 2, "columns alone cannot");
    // Four corners of a rectangle are what nobody can have.
    let lost = BTreeSet::from([at(1, 1), at(1, 3), at(3, 1), at(3, 3)]);
    let mut corners = receiver();
    corners.take(&sent, &truth, &lost);
    assert_eq!(corners.recovered.len(), 0);
}

#[test]
fn a_fec_packet_is_never_read_as_rtp() {
    // Of the sums of P, X and CC, RTP would make padding, an extension and contributing sources.
    let truth = packets(9, 0x1_0000, 40);
    let sent = send(EncoderOptions::new(5, 4), &truth);
    let strange = |sent: &&Sent| matches!(sent, Sent::Repair(packet) if packet[0] & 0x3f != 0);
    let Some(Sent::Repair(packet)) = sent.iter().find(strange) else { panic!("no packet has P, X or CC") };
    assert!(msm_core::rtp::RtpView::parse(packet).map_or(true, |view| view.payload() != &packet[12..]));
    let mut receiver = receiver();
    receiver.take(&sent, &truth, &losses(4, 0x1_0001..0x1_0028, 10));
    assert!(receiver.recovered.len() > 1);
}

#[test]
fn the_first_packets_say_what_the_matrix_is() {
    let truth = packets(2, 0x1_0000, 60);
    let sent = send(EncoderOptions::new(6, 5), &truth);
    let mut receiver = receiver();
    assert_eq!(receiver.decoder.matrix(), (None, None));
    receiver.take(&sent, &truth, &BTreeSet::from([0x1_0003, 0x1_0007]));
    assert_eq!(receiver.recovered.len(), 2);
    assert_eq!(receiver.decoder.matrix(), (Some(6), Some(5)));
    let other = packets(3, 0x1_0000 + 60, 40);
    for sent in send(EncoderOptions::new(5, 4), &other) {
        match sent {
            Sent::Source(index) => receiver.source(index, &other[&index]),
            Sent::Repair(packet) => assert_eq!(receiver.repair(&packet), Err(Refusal::Changed)),
        }
    }
    receiver.decoder.forget_dimensions();
    let third = packets(3, 0x1_0000 + 100, 40);
    receiver.recovered.clear();
    receiver.take(&send(EncoderOptions::new(5, 4), &third), &third, &BTreeSet::from([0x1_0000 + 105]));
    assert_eq!((receiver.decoder.matrix(), receiver.recovered.len()), ((Some(5), Some(4)), 1));
}

#[test]
fn lies_are_refused_by_name() {
    let fec = |base: u16, kind: u8, offset: u8, count: u8, length: u8| {
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend(base.to_be_bytes());
        packet.extend([0, length, 0x80 | 33, 0, 0, 0, 0, 0, 0, 0, kind, offset, count, 0, 1, 2]);
        packet
    };
    let mut receiver = receiver();
    assert_eq!(receiver.repair(&fec(5, 0x40, 1, 4, 2)), Err(Refusal::NoSource));
    receiver.source(0x1_0004, &small(0x1_0004));
    let mut version = fec(5, 0, 4, 5, 2);
    version[0] = 0;
    let mut long = fec(5, 0x40, 1, 4, 2);
    long.resize(2049, 0);
    for (packet, refusal) in [
        (fec(5, 0, 4, 5, 2)[..27].to_vec(), Refusal::Short),
        (version, Refusal::NotRtp),
        (fec(5, 0x08, 4, 5, 2), Refusal::Code),
        (fec(5, 0x50, 1, 5, 2), Refusal::Code),
        (fec(5, 0, 0, 5, 2), Refusal::Dimensions),
        (fec(5, 0, 5, 0, 2), Refusal::Dimensions),
        (fec(5, 0x40, 1, 0, 2), Refusal::Dimensions),
        (fec(5, 0x40, 2, 5, 2), Refusal::Dimensions),
        (fec(5, 0x40, 1, 21, 2), Refusal::Dimensions),
        (fec(5, 0, 20, 6, 2), Refusal::Dimensions),
        (fec(5, 0, 21, 4, 2), Refusal::Dimensions),
        (fec(5, 0, 4, 21, 2), Refusal::Dimensions),
        (fec(5 + 0x8000, 0, 5, 5, 2), Refusal::FarAway),
        (fec(5 + 1025, 0, 5, 5, 2), Refusal::FarAway),
        (long, Refusal::TooLong),
    ] {
        assert_eq!(receiver.repair(&packet), Err(refusal), "{packet:x?}");
        assert!(receiver.decoder.counters().refused(refusal) > 0);
        assert_eq!(receiver.decoder.matrix(), (None, None), "what is refused teaches nothing");
    }
    receiver.repair(&fec(4, 0x40, 1, 2, 0)).unwrap();
    assert_eq!(receiver.decoder.matrix(), (Some(2), None));
    assert_eq!(receiver.recovered.keys().collect::<Vec<_>>(), [&0x1_0005]);
    assert_eq!(receiver.repair(&fec(5, 0, 3, 4, 2)), Err(Refusal::Changed));
    receiver.repair(&fec(5, 0x40, 1, 2, 0xff)).unwrap();
    assert_eq!(receiver.decoder.counters().refused(Refusal::Length), 1, "253 bytes of a sum of two");
    assert_eq!((receiver.recovered.len(), receiver.decoder.open()), (1, 0));
}

proptest! {
    #[test]
    fn what_comes_out_went_in(columns in 4u8..=10, rows in 4u8..=10, row_fec: bool, seed: u64, first in 0x1_0000u64..0x3_0000, share in 0u64..40) {
        let truth = packets(seed, first, 300);
        let sent = send(EncoderOptions { row_fec, ..EncoderOptions::new(columns, rows) }, &truth);
        let lost = losses(seed, truth.keys().copied().skip(1), share);
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &lost);
        prop_assert!(receiver.recovered.keys().all(|index| lost.contains(index)));
    }

    #[test]
    fn one_loss_of_each_row_or_each_column_comes_back(columns in 4u8..=10, rows in 4u8..=10, by_row: bool, seed: u64, first in 0x1_0000u64..0x3_0000) {
        let (width, height) = (u64::from(columns), u64::from(rows));
        let matrices = 3;
        let truth = packets(seed, first, (matrices * width * height) as usize);
        let sent = send(EncoderOptions { row_fec: by_row, ..EncoderOptions::new(columns, rows) }, &truth);
        let mut rng = msm_core::rng::Rng::new(seed);
        let mut lost = BTreeSet::new();
        for matrix in 0..matrices {
            let base = first + matrix * width * height;
            if by_row {
                lost.extend((0..height).map(|row| base + row * width + rng.range(0..width)));
            } else {
                lost.extend((0..width).map(|column| base + column + width * rng.range(0..height)));
            }
        }
        // The very first tells where the stream begins.
        lost.remove(&first);
        let mut receiver = receiver();
        receiver.take(&sent, &truth, &lost);
        prop_assert_eq!(receiver.recovered.keys().copied().collect::<BTreeSet<_>>(), lost);
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic(fec in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..40)) {
        let mut receiver = receiver();
        receiver.source(0x1_0000, &small(0x1_0000));
        for mut packet in fec {
            if let Some(first) = packet.first_mut() {
                *first = *first & 0x3f | 0x80;
            }
            let _ = receiver.repair(&packet);
        }
    }
}
