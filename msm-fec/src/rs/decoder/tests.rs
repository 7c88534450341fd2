use std::collections::BTreeMap;

use msm_core::rng::Rng;
use proptest::prelude::*;
use reed_solomon_erasure::galois_8::ReedSolomon;

use super::super::encoder::{Encoder, EncoderConfig, Shape};
use super::super::payload::PayloadError;
use super::super::ring::Ring;
use super::*;

/// Source packets that are at hand for ever.
#[derive(Default)]
struct All(BTreeMap<u64, Vec<u8>>);

impl Sources for All {
    fn get(&self, index: u64) -> Option<&[u8]> {
        self.0.get(&index).map(Vec::as_slice)
    }
}

/// RTP with the sequence number of `index`, of at least 12 bytes.
fn packet(index: u64, length: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.resize(length.max(12), 0);
    Rng::new(index).fill(&mut packet[4..]);
    packet
}

/// What a sender sends: source packets by index, and each block's repairs with the index of its first packet.
struct Sent {
    sources: Vec<(u64, Vec<u8>)>,
    repairs: Vec<(u64, Vec<u8>)>,
}

fn send(shape: (u8, u8, u8), first: u64, lengths: &[usize]) -> Sent {
    let shape = Shape::new(shape.0, shape.1, shape.2).unwrap();
    let mut encoder = Encoder::new(EncoderConfig::default(), Some(shape)).unwrap();
    let sources: Vec<_> =
        (first..).zip(lengths).map(|(index, length)| (index, packet(index, *length))).collect();
    let mut repairs = Vec::new();
    let mut poll = |encoder: &mut Encoder| {
        while let Some(repair) = encoder.poll_repair() {
            repairs.push((repair.first, repair.payload.to_vec()));
        }
    };
    for (index, packet) in &sources {
        encoder.handle_source(*index, packet).unwrap();
        poll(&mut encoder);
    }
    encoder.finish();
    poll(&mut encoder);
    Sent { sources, repairs }
}

fn poll(decoder: &mut Decoder) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(recovered) = decoder.poll_recovered() {
        all.push((recovered.index, recovered.packet.to_vec()));
    }
    all
}

#[test]
fn a_packet_is_back_with_the_first_repair_that_suffices() {
    let sent = send((4, 2, 1), 65_534, &[100, 1200, 12, 700]);
    let (mut decoder, mut all) = (Decoder::new(DecoderConfig::default()), All::default());
    for at in [0, 3] {
        let (index, packet) = sent.sources[at].clone();
        all.0.insert(index, packet);
        assert!(decoder.handle_source(index, &all) && !decoder.handle_source(index, &all));
    }
    assert_eq!(decoder.handle_repair(65_537, &sent.repairs[1].1, &all), Ok(Taken::Kept));
    assert_eq!(decoder.poll_recovered(), None);
    let duplicate = decoder.handle_repair(65_537, &sent.repairs[1].1, &all);
    assert_eq!(duplicate, Err(Refusal::Duplicate { first: 65_534, symbol: 5 }));
    assert_eq!(decoder.handle_repair(65_537, &sent.repairs[0].1, &all), Ok(Taken::Recovered));
    assert_eq!(poll(&mut decoder), sent.sources[1..3]);
    assert!(!decoder.handle_source(65_535, &all), "it is there already");
    assert_eq!(decoder.handle_repair(65_537, &sent.repairs[0].1, &all), Ok(Taken::Unneeded));
    assert_eq!((decoder.open_blocks(), decoder.counts().recovered, decoder.counts().unneeded), (0, 2, 1));
    assert_eq!(decoder.refused(), &BTreeMap::from([("duplicate", 1)]));
}

#[test]
fn a_late_source_packet_makes_the_block_whole() {
    let sent = send((3, 1, 1), 7, &[50, 60, 70]);
    let (mut decoder, mut all) = (Decoder::new(DecoderConfig::default()), All::default());
    assert_eq!(decoder.handle_repair(9, &sent.repairs[0].1, &all), Ok(Taken::Kept));
    all.0.extend(sent.sources[1..].iter().cloned());
    assert!(decoder.handle_source(8, &all));
    assert_eq!(decoder.poll_recovered(), None);
    assert!(decoder.handle_source(9, &all));
    assert_eq!(poll(&mut decoder), sent.sources[..1]);
}

#[test]
fn without_loss_nothing_is_kept() {
    let sent = send((10, 3, 2), 1000, &[900; 60]);
    let (mut decoder, mut all) = (Decoder::new(DecoderConfig::default()), All::default());
    for (index, packet) in &sent.sources {
        all.0.insert(*index, packet.clone());
        decoder.handle_source(*index, &all);
    }
    for (_, payload) in &sent.repairs {
        assert_eq!(decoder.handle_repair(1059, payload, &All::default()), Ok(Taken::Unneeded));
    }
    assert_eq!(decoder.memory(), 0);
}

#[test]
fn packets_that_are_at_hand_no_more_count_as_lost_but_do_not_come_twice() {
    let sent = send((6, 3, 1), 30, &[200; 6]);
    let (mut decoder, mut ring) = (Decoder::new(DecoderConfig::default()), Ring::new(4, 10_000));
    for (index, packet) in &sent.sources[..5] {
        ring.insert(*index, packet);
        decoder.handle_source(*index, &ring);
    }
    // Of 30 to 34, the ring still has 31 to 34.
    assert_eq!(decoder.handle_repair(34, &sent.repairs[0].1, &ring), Ok(Taken::Kept));
    assert_eq!(decoder.handle_repair(34, &sent.repairs[2].1, &ring), Ok(Taken::Recovered));
    assert_eq!(poll(&mut decoder), sent.sources[5..]);
}

#[test]
fn repairs_that_the_crate_made_recover_too() {
    let (sources, repairs, bytes) = (20, 5, 800);
    let packets: Vec<Vec<u8>> = (0..sources).map(|index| packet(index, bytes)).collect();
    let symbols: Vec<Vec<u8>> =
        packets.iter().map(|packet| [&(bytes as u16).to_be_bytes(), packet.as_slice()].concat()).collect();
    let mut parity = vec![vec![0; bytes + 2]; repairs];
    ReedSolomon::new(sources as usize, repairs).unwrap().encode_sep(&symbols, &mut parity).unwrap();
    for kernel in Kernel::available() {
        let (mut decoder, mut all) = (Decoder::with_kernel(DecoderConfig::default(), kernel), All::default());
        for index in (0..sources).filter(|index| index % 4 != 1) {
            all.0.insert(index, packets[index as usize].clone());
            decoder.handle_source(index, &all);
        }
        for (symbol, parity) in (sources as u8..).zip(&parity) {
            let header = Header { first: 0, sources: sources as u8, code: sources as u8, symbol, step: 1 };
            decoder.handle_repair(19, &[&header.to_bytes(), parity.as_slice()].concat(), &all).unwrap();
        }
        let expected: Vec<_> =
            [1, 5, 9, 13, 17].map(|index| (index, packets[index as usize].clone())).to_vec();
        assert_eq!(poll(&mut decoder), expected, "{}", kernel.name());
    }
}

/// A repair payload with a symbol of its own choice.
fn lie(header: Header, length: u16, body: &[u8]) -> Vec<u8> {
    [&header.to_bytes()[..], &length.to_be_bytes(), body].concat()
}

const HEADER: Header = Header { first: 100, sources: 4, code: 4, symbol: 4, step: 1 };

#[test]
fn lies_are_refused_by_name() {
    let all = All::default();
    let mut decoder = Decoder::new(DecoderConfig { packet_bytes: 100, window: 1000, ..Default::default() });
    let body = [0; 60];
    let mut refused =
        |newest: u64, payload: Vec<u8>| decoder.handle_repair(newest, &payload, &all).unwrap_err();
    assert_eq!(refused(103, vec![0; 9]), Refusal::Payload(PayloadError::Short(9)));
    assert_eq!(refused(103, lie(HEADER, 60, &[0; 101])), Refusal::Long(101));
    for first in [100 + 1004, 65_536 - 900, 40_000] {
        let lied = lie(Header { first: first as u16, ..HEADER }, 60, &body);
        assert!(matches!(refused(103, lied), Refusal::Far { .. }), "{first}");
    }
    let wide = Header { sources: 100, code: 100, symbol: 100, step: 64, ..HEADER };
    assert!(matches!(refused(103, lie(wide, 60, &body)), Refusal::Far { .. }));
    // Before the first index there is none.
    assert!(matches!(refused(5, lie(Header { first: 65_000, ..HEADER }, 60, &body)), Refusal::Far { .. }));
    assert!(matches!(
        refused(u64::MAX, lie(Header { first: 200, ..HEADER }, 60, &body)),
        Refusal::Far { .. }
    ));

    assert_eq!(decoder.handle_repair(103, &lie(HEADER, 60, &body), &all), Ok(Taken::Kept));
    let mut refused = |payload: Vec<u8>| decoder.handle_repair(103, &payload, &all).unwrap_err();
    for other in [
        lie(Header { symbol: 5, ..HEADER }, 60, &[0; 61]),
        lie(Header { symbol: 5, sources: 3, ..HEADER }, 60, &body),
        lie(Header { symbol: 5, code: 5, ..HEADER }, 60, &body),
    ] {
        assert_eq!(refused(other), Refusal::Disagrees(100));
    }
    let counted: Vec<_> = decoder.refused().iter().map(|(name, count)| (*name, *count)).collect();
    assert_eq!(counted, [("disagrees", 3), ("far", 6), ("long", 1), ("short", 1)]);
    assert_eq!(poll(&mut decoder), []);
}

#[test]
fn what_is_no_packet_never_comes_out() {
    let all = All::default();
    let header = Header { sources: 1, code: 1, symbol: 1, ..HEADER };
    let good = packet(100, 60);
    let padded = [good.as_slice(), &[0; 4]].concat();
    let mut decoder = Decoder::new(DecoderConfig::default());
    for lied in [
        lie(header, 0, &good),
        lie(header, 61, &good),
        lie(header, 59, &good),
        lie(header, 60, &packet(101, 60)),
        lie(header, 8, &[0x80, 96, 0, 100, 1, 2, 3, 4]),
        lie(header, 60, &[&good[..], &[0, 1]].concat()),
    ] {
        assert_eq!(decoder.handle_repair(100, &lied, &all), Err(Refusal::Inconsistent(100)));
    }
    assert_eq!((decoder.open_blocks(), poll(&mut decoder)), (0, vec![]));
    assert_eq!(decoder.handle_repair(100, &lie(header, 60, &padded), &all), Ok(Taken::Recovered));
    assert_eq!(poll(&mut decoder), [(100, good)]);
    assert_eq!(decoder.refused()["inconsistent"], 6);

    // A source packet that can't have been in the block.
    let mut all = All::default();
    all.0.insert(200, packet(200, 80));
    decoder.handle_source(200, &all);
    let short = Header { first: 200, sources: 2, code: 2, symbol: 2, step: 1 };
    assert_eq!(decoder.handle_repair(201, &lie(short, 60, &[0; 60]), &all), Err(Refusal::Inconsistent(200)));
    assert_eq!(decoder.open_blocks(), 0);
}

#[test]
fn blocks_leave_with_the_window() {
    let mut decoder = Decoder::new(DecoderConfig { window: 1000, ..Default::default() });
    let mut all = All::default();
    for first in [100, 110, 1000] {
        decoder
            .handle_repair(first, &lie(Header { first: first as u16, ..HEADER }, 60, &[0; 60]), &all)
            .unwrap();
    }
    for (index, open) in [(1103, 3), (1104, 2), (1113, 2), (1114, 1), (9000, 0)] {
        all.0.insert(index, packet(index, 60));
        decoder.handle_source(index, &all);
        assert_eq!(decoder.open_blocks(), open, "{index}");
    }
    assert_eq!((decoder.counts().expired, decoder.counts().crowded), (3, 0));
}

#[test]
fn memory_has_a_limit_whatever_comes() {
    let config = DecoderConfig {
        packet_bytes: 1000,
        blocks: 5,
        memory_bytes: 20_000,
        window: 4096,
        verify: |_, _| true,
    };
    let mut decoder = Decoder::new(config);
    let all = All::default();
    let mut rng = Rng::new(5);
    let limit = 3 * config.memory_bytes + config.memory_bytes / 20 + 1000;
    for round in 0..20_000_u64 {
        let sources = rng.range(1..60) as u8;
        let code = sources + rng.range(0..3) as u8;
        let header = Header {
            first: (round / 4 + rng.range(0..30)) as u16,
            sources,
            code,
            symbol: code + rng.range(0..40) as u8,
            step: rng.range(1..5) as u8,
        };
        let mut body = vec![0; rng.range(1..1000) as usize];
        rng.fill(&mut body);
        let _ = decoder.handle_repair(round / 4, &lie(header, body.len() as u16, &body), &all);
        assert!(decoder.open_blocks() <= 5);
        assert!(decoder.memory() <= limit, "{} bytes", decoder.memory());
    }
    assert!(decoder.counts().crowded > 0 && decoder.counts().recovered > 0);
    assert!(decoder.refused()["inconsistent"] > 0);

    // A single block that takes all of it is refused more.
    let mut decoder = Decoder::new(config);
    for symbol in 40..60 {
        let header = Header { first: 7, sources: 40, code: 40, symbol, step: 1 };
        assert_eq!(decoder.handle_repair(7, &lie(header, 60, &[0; 60]), &all), Ok(Taken::Kept));
    }
    let header = Header { first: 7, sources: 40, code: 40, symbol: 60, step: 1 };
    assert_eq!(decoder.handle_repair(7, &lie(header, 60, &[0; 60]), &all), Err(Refusal::Memory(7)));
}

#[test]
fn recovered_packets_that_nobody_polls_are_counted() {
    let config = DecoderConfig { memory_bytes: 3000, ..Default::default() };
    let mut decoder = Decoder::new(config);
    for index in 0..6 {
        let header = Header { first: index as u16, sources: 1, code: 1, symbol: 1, step: 1 };
        decoder.handle_repair(index, &lie(header, 1000, &packet(index, 1000)), &All::default()).unwrap();
    }
    assert_eq!(decoder.counts().unpolled, 3);
    assert_eq!(poll(&mut decoder), [3, 4, 5].map(|index| (index, packet(index, 1000))));
}

/// What arrives: a source packet or a repair, by its place in [`Sent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Source(usize),
    Repair(usize),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Everything of a block comes out that has lost no more than it has repairs, in whatever order it arrives; and of
    /// the others nothing that was not sent.
    #[test]
    fn what_comes_out_was_sent_and_all_of_it_that_can(
        shape in (1_u8..30, 1_u8..10, 1_u8..5),
        first in prop_oneof![0_u64..10, 65_400_u64..65_600, (1_u64 << 40)..(1_u64 << 41)],
        lengths in prop::collection::vec(12_usize..1500, 1..120),
        loss in 0_u64..60,
        seed in any::<u64>(),
        shuffled in any::<bool>(),
    ) {
        let sent = send(shape, first, &lengths);
        let mut rng = Rng::new(seed);
        let mut arrivals: Vec<Arrival> = (0..sent.sources.len()).map(Arrival::Source).collect();
        arrivals.extend((0..sent.repairs.len()).map(Arrival::Repair));
        arrivals.retain(|_| rng.range(0..100) >= loss);
        let mut doubled: Vec<Arrival> = arrivals.iter().copied().filter(|_| rng.range(0..4) == 0).collect();
        arrivals.append(&mut doubled);
        if shuffled {
            for at in (1..arrivals.len()).rev() {
                arrivals.swap(at, rng.range(0..at as u64 + 1) as usize);
            }
        }

        let (mut decoder, mut all) = (Decoder::new(DecoderConfig::default()), All::default());
        let mut out = BTreeMap::new();
        let mut newest = first;
        for arrival in &arrivals {
            match *arrival {
                Arrival::Source(at) => {
                    let (index, packet) = &sent.sources[at];
                    newest = newest.max(*index);
                    all.0.insert(*index, packet.clone());
                    decoder.handle_source(*index, &all);
                }
                Arrival::Repair(at) => match decoder.handle_repair(newest, &sent.repairs[at].1, &all) {
                    Ok(_) | Err(Refusal::Duplicate { .. }) => {}
                    Err(refusal) => prop_assert!(false, "{refusal}"),
                },
            }
            for (index, packet) in poll(&mut decoder) {
                prop_assert!(!all.0.contains_key(&index), "{index} was there");
                prop_assert!(out.insert(index, packet).is_none(), "{index} twice");
            }
        }
        for (index, packet) in &out {
            prop_assert_eq!(packet, &sent.sources[(index - first) as usize].1);
        }
        // What each block could give.
        arrivals.sort();
        arrivals.dedup();
        let came = |arrival: Arrival| arrivals.binary_search(&arrival).is_ok();
        let mut repairs: BTreeMap<u64, (Header, usize)> = BTreeMap::new();
        for (at, (block, payload)) in sent.repairs.iter().enumerate() {
            let (header, _) = Header::parse(payload).unwrap();
            repairs.entry(*block).or_insert((header, 0)).1 += usize::from(came(Arrival::Repair(at)));
        }
        for (block, (header, repairs)) in repairs {
            let lost: Vec<u64> = (0..u64::from(header.sources))
                .map(|i| block + i * u64::from(header.step))
                .filter(|index| !came(Arrival::Source((index - first) as usize)))
                .collect();
            // Those that came late may have been recovered before.
            let back = lost.iter().filter(|index| out.contains_key(index)).count();
            prop_assert_eq!(back, if lost.len() <= repairs { lost.len() } else { 0 }, "{:?}", header);
        }
        prop_assert!(!decoder.refused().contains_key("inconsistent"));
    }
}
