use msm_core::rng::Rng;
use proptest::prelude::*;
use reed_solomon_erasure::galois_8::ReedSolomon;

use super::super::payload::{HEADER_BYTES, Header};
use super::*;

fn encoder(sources: u8, repairs: u8, depth: u8) -> Encoder {
    Encoder::new(EncoderConfig::default(), Some(Shape::new(sources, repairs, depth).unwrap())).unwrap()
}

fn packets(seed: u64, lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(seed);
    lengths
        .iter()
        .map(|length| {
            let mut packet = vec![0; *length];
            rng.fill(&mut packet);
            packet
        })
        .collect()
}

/// What the crate makes of the packets of a block, by the format's definition.
fn reference(packets: &[&Vec<u8>], code: u8, repairs: u8) -> Vec<Vec<u8>> {
    let longest = packets.iter().map(|packet| packet.len()).max().unwrap();
    let mut symbols: Vec<Vec<u8>> = packets
        .iter()
        .map(|packet| {
            let mut symbol = (packet.len() as u16).to_be_bytes().to_vec();
            symbol.extend_from_slice(packet);
            symbol.resize(2 + longest, 0);
            symbol
        })
        .collect();
    symbols.resize(usize::from(code), vec![0; 2 + longest]);
    let mut parity = vec![vec![0; 2 + longest]; usize::from(repairs)];
    ReedSolomon::new(usize::from(code), usize::from(repairs))
        .unwrap()
        .encode_sep(&symbols, &mut parity)
        .unwrap();
    parity
}

fn repairs(encoder: &mut Encoder) -> Vec<(Header, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(repair) = encoder.poll_repair() {
        let (header, _) = Header::parse(repair.payload).unwrap();
        assert_eq!(
            (header.first, header.sources, header.step),
            (repair.first as u16, repair.sources, repair.step)
        );
        all.push((header, repair.payload[HEADER_BYTES..].to_vec()));
    }
    all
}

/// Checks what `encoder` gives for `packets` that were sent from `first` on in one group of the shape.
fn check(encoder: &mut Encoder, first: u64, packets: &[Vec<u8>], shape: (u8, u8, u8)) {
    let (code, most, depth) = shape;
    let blocks: Vec<Vec<&Vec<u8>>> = (0..usize::from(depth))
        .map(|b| packets.iter().skip(b).step_by(usize::from(depth)).collect())
        .collect();
    let mut expected = Vec::new();
    for repair in 0..most {
        for (b, block) in blocks.iter().enumerate().filter(|(_, block)| !block.is_empty()) {
            let header = Header {
                first: (first + b as u64) as u16,
                sources: block.len() as u8,
                code,
                symbol: code + repair,
                step: depth,
            };
            expected.push((header, reference(block, code, most)[usize::from(repair)].clone()));
        }
    }
    assert!(repairs(encoder) == expected, "{} packets of {shape:?}", packets.len());
}

#[test]
fn repairs_come_when_the_block_is_full_and_not_before() {
    let mut encoder = encoder(3, 2, 1);
    let sent = packets(1, &[100, 1400, 12]);
    for (index, packet) in (65_534..).zip(&sent) {
        assert_eq!(encoder.poll_repair(), None);
        encoder.handle_source(index, packet).unwrap();
    }
    check(&mut encoder, 65_534, &sent, (3, 2, 1));
    assert!(!encoder.has_open());
    encoder.finish();
    assert_eq!(encoder.poll_repair(), None);
}

#[test]
fn the_example_of_the_document() {
    let mut encoder = encoder(4, 2, 1);
    let sent: [&[u8]; 4] =
        [&[0x80, 0x60, 0xff, 0xfe, 1], &[0x80, 0x60, 0xff, 0xff], &[0x80, 0xe0, 0, 0, 2, 3], &[0x80]];
    encoder.handle_burst(0xfffe, sent).unwrap();
    let text =
        |repair: Repair<'_>| repair.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let document = include_str!("../../../../docs/reed-solomon.md").replace(' ', "");
    for _ in 0..2 {
        let payload = text(encoder.poll_repair().unwrap());
        assert!(document.contains(&payload), "{payload} is not in docs/reed-solomon.md");
    }
    assert_eq!(encoder.poll_repair(), None);
}

#[test]
fn a_gap_ends_the_blocks() {
    let mut encoder = encoder(4, 1, 1);
    let sent = packets(2, &[50, 60, 70]);
    encoder.handle_source(10, &sent[0]).unwrap();
    encoder.handle_source(11, &sent[1]).unwrap();
    encoder.handle_source(13, &sent[2]).unwrap();
    check(&mut encoder, 10, &sent[..2], (4, 1, 1));
    encoder.finish();
    check(&mut encoder, 13, &sent[2..], (4, 1, 1));
}

#[test]
fn a_packet_that_can_not_be_protected_is_a_gap() {
    let mut encoder = encoder(4, 1, 1);
    let sent = packets(3, &[50, 1501, 0, 60]);
    let error = encoder.handle_burst(0, sent.iter().map(Vec::as_slice));
    assert_eq!(error, Err(SourceError::Long { length: 1501, allowed: 1500 }));
    check(&mut encoder, 0, &sent[..1], (4, 1, 1));
    assert_eq!(encoder.handle_source(4, &[]), Err(SourceError::Empty));
    encoder.finish();
    check(&mut encoder, 3, &sent[3..], (4, 1, 1));
}

#[test]
fn shapes_change_with_the_next_block() {
    let mut encoder = encoder(2, 1, 1);
    let sent = packets(4, &[20; 9]);
    encoder.handle_source(0, &sent[0]).unwrap();
    encoder.set_shape(Some(Shape::new(3, 2, 2).unwrap())).unwrap();
    encoder.handle_source(1, &sent[1]).unwrap();
    check(&mut encoder, 0, &sent[..2], (2, 1, 1));
    encoder.handle_burst(2, sent[2..8].iter().map(Vec::as_slice)).unwrap();
    check(&mut encoder, 2, &sent[2..8], (3, 2, 2));
    encoder.set_shape(None).unwrap();
    encoder.handle_source(8, &sent[8]).unwrap();
    encoder.finish();
    assert_eq!(encoder.poll_repair(), None);
}

#[test]
fn fewer_repairs_of_a_short_block() {
    let mut encoder = encoder(20, 8, 2);
    encoder.handle_burst(0, packets(5, &[40; 5]).iter().map(Vec::as_slice)).unwrap();
    encoder.finish_with(3);
    let all = repairs(&mut encoder);
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|(header, _)| header.symbol < 23));
}

#[test]
fn repairs_that_nobody_polls_are_dropped_and_counted() {
    let mut encoder = encoder(2, 2, 2);
    let groups = MAX_WAITING_GROUPS + 2;
    let sent = packets(6, &vec![30; 4 * groups]);
    encoder.handle_burst(0, sent.iter().take(4).map(Vec::as_slice)).unwrap();
    encoder.poll_repair().unwrap();
    encoder.handle_burst(4, sent.iter().skip(4).map(Vec::as_slice)).unwrap();
    assert_eq!(encoder.dropped(), 3 + 4);
    let left = repairs(&mut encoder);
    assert_eq!(left.len(), 4 * MAX_WAITING_GROUPS);
    assert_eq!(left[0].0.first, 8);
    let memory = encoder.memory();
    encoder.handle_burst(4 * groups as u64, sent.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(encoder.memory(), memory);
}

#[test]
fn what_waits_is_within_the_limit_of_memory() {
    let config = EncoderConfig { memory_bytes: 40_000, ..Default::default() };
    let mut encoder = Encoder::new(config, Some(Shape::new(2, 2, 2).unwrap())).unwrap();
    let sent = packets(8, &[30; 40]);
    encoder.handle_burst(0, sent.iter().map(Vec::as_slice)).unwrap();
    assert!(encoder.memory() <= 40_000 && encoder.dropped() == 4 * 4, "{}", encoder.dropped());
    encoder.set_shape(Some(Shape::new(4, 10, 1).unwrap())).unwrap();
    encoder.handle_burst(40, sent.iter().map(Vec::as_slice)).unwrap();
    assert!(encoder.memory() <= 40_000, "{}", encoder.memory());
    assert_eq!(repairs(&mut encoder).last().unwrap().0.first, 76);
}

#[test]
fn memory_is_what_the_formula_says_and_within_its_limit() {
    let shape = Shape::new(20, 4, 8).unwrap();
    let mut encoder = Encoder::new(EncoderConfig::default(), Some(shape)).unwrap();
    let sent = packets(7, &[1500; 160]);
    for round in 0..4 {
        encoder.handle_burst(round * 160, sent.iter().map(Vec::as_slice)).unwrap();
        while encoder.poll_repair().is_some() {}
    }
    let stated = 2 * (8 * 4 * (1500 + 127) + 20 * (4 + 2 * 8));
    assert!(encoder.memory() <= stated + 2 * 1024, "{} where {stated} are stated", encoder.memory());

    let small = EncoderConfig { memory_bytes: 64 << 10, ..Default::default() };
    assert!(matches!(Encoder::new(small, Some(shape)), Err(ShapeError::Memory { .. })));
    let mut encoder = Encoder::new(small, Some(Shape::new(10, 2, 1).unwrap())).unwrap();
    assert!(encoder.set_shape(Some(shape)).is_err());
    assert_eq!(encoder.shape(), Some(Shape::new(10, 2, 1).unwrap()));
    assert_eq!(Shape::new(128, 128, 1), Err(ShapeError::Symbols(256)));
    assert_eq!(Shape::new(1, 0, 1), Err(ShapeError::Zero));
    assert_eq!(Shape::new(1, 1, 65), Err(ShapeError::Depth(65)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn repairs_are_the_crates(
        (sources, repairs, depth) in (1_u8..40, 1_u8..12, 1_u8..6),
        first in any::<u32>(),
        lengths in prop::collection::vec(1_usize..1500, 1..200),
        burst in 1_usize..40,
        same in any::<bool>(),
        kernel in 0_usize..4,
    ) {
        let lengths: Vec<usize> = lengths.iter().map(|length| if same { lengths[0] } else { *length }).collect();
        let sent = packets(u64::from(first), &lengths);
        let kernel = Kernel::available().nth(kernel).unwrap_or(Kernel::portable());
        let shape = Shape::new(sources, repairs, depth).unwrap();
        let mut encoder = Encoder::with_kernel(EncoderConfig::default(), Some(shape), kernel).unwrap();
        let mut first = u64::from(first);
        for group in sent.chunks(shape.packets()) {
            for (at, burst) in group.chunks(burst).enumerate().map(|(at, packets)| (at * burst, packets)) {
                encoder.handle_burst(first + at as u64, burst.iter().map(Vec::as_slice)).unwrap();
            }
            encoder.finish();
            check(&mut encoder, first, group, (sources, repairs, depth));
            first += group.len() as u64;
        }
        prop_assert_eq!(encoder.dropped(), 0);
    }
}
