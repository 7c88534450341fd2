//! Repair payloads: whatever they say, memory stays within its limits and a packet comes out once, with the right number; and what a
//! sender makes of the same bytes is recovered whatever was lost.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use msm_fec::rs::decoder::{Decoder, DecoderConfig, Taken, is_rtp};
use msm_fec::rs::encoder::{Encoder, EncoderConfig, Shape};
use msm_fec::rs::payload::{HEADER_BYTES, Header};
use msm_fec::rs::ring::Ring;
use msm_fec::rs::sdp::Parameters;

const CONFIG: DecoderConfig =
    DecoderConfig { packet_bytes: 600, window: 600, blocks: 4, memory_bytes: 6000, verify: is_rtp };

/// Reads `data` as packets, each behind a byte of kind and two of length; and as a sender's shape and packets.
pub fn run(data: &[u8]) {
    received(data);
    sent(data);
    if let Ok(parameters) = Parameters::parse(&String::from_utf8_lossy(data)) {
        assert_eq!(Parameters::parse(&parameters.to_string()), Ok(parameters));
    }
}

/// Source packets (an even kind, which is their distance from the one before) and repairs (an odd one).
fn received(data: &[u8]) {
    let (mut decoder, mut ring) = (Decoder::new(CONFIG), Ring::new(64, 8000));
    let (mut newest, mut out) = (65_530_u64, BTreeSet::new());
    let mut rest = data;
    while let [kind, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]) % 700).min(more.len());
        let (packet, more) = more.split_at(length);
        rest = more;
        if kind % 2 == 0 {
            newest = newest.wrapping_add_signed(i64::from(kind.cast_signed()) / 2).max(1);
            ring.insert(newest, packet);
            let new = decoder.handle_source(newest, &ring);
            assert!(!new || !out.contains(&newest), "{newest} was recovered before");
        } else {
            let taken = decoder.handle_repair(newest, packet, &ring);
            match Header::parse(packet) {
                Ok((header, symbol)) => {
                    assert_eq!(header.to_bytes(), packet[..HEADER_BYTES]);
                    assert_eq!(symbol.body, &packet[HEADER_BYTES + 2..]);
                }
                Err(_) => assert!(taken.is_err()),
            }
            if let Err(refusal) = taken {
                assert!(decoder.refused()[refusal.name()] > 0 && refusal.to_string().len() < 200);
            }
        }
        while let Some(recovered) = decoder.poll_recovered() {
            assert!(
                is_rtp(recovered.index, recovered.packet) && recovered.packet.len() <= CONFIG.packet_bytes
            );
            assert!(out.insert(recovered.index), "{} twice", recovered.index);
        }
        assert!(decoder.open_blocks() <= CONFIG.blocks);
        assert!(decoder.memory() <= 4 * CONFIG.memory_bytes, "{} bytes", decoder.memory());
    }
}

/// A block of a shape, with bytes of the input as packets, and as many losses as it has repairs.
fn sent(data: &[u8]) {
    let [sources, repairs, first, lengths, bytes @ ..] = data else { return };
    let (sources, repairs) = (1 + sources % 40, 1 + repairs % 10);
    let first = 65_500 + u64::from(*first);
    let mut encoder =
        Encoder::new(EncoderConfig::default(), Some(Shape::new(sources, repairs, 1).unwrap())).unwrap();
    let packets: Vec<(u64, Vec<u8>)> = (first..)
        .zip(0..usize::from(sources))
        .map(|(index, at)| {
            let mut packet = vec![0x80, 96];
            packet.extend_from_slice(&(index as u16).to_be_bytes());
            packet.extend(bytes.iter().cycle().skip(at).take(8 + at * usize::from(*lengths) % 1000));
            packet.resize(packet.len().max(12), 0);
            (index, packet)
        })
        .collect();
    let (mut decoder, mut ring) = (Decoder::new(DecoderConfig::default()), Ring::new(64, 1 << 16));
    let lost = |at: usize| at % 3 == usize::from(bytes.first().copied().unwrap_or(0)) % 3;
    let mut missing = Vec::new();
    for (at, (index, packet)) in packets.iter().enumerate() {
        encoder.handle_source(*index, packet).unwrap();
        if lost(at) && missing.len() < usize::from(repairs) {
            missing.push((*index, packet.clone()));
        } else {
            ring.insert(*index, packet);
            decoder.handle_source(*index, &ring);
        }
    }
    let newest = packets[packets.len() - 1].0;
    let mut kept = 0;
    while let Some(repair) = encoder.poll_repair() {
        match decoder.handle_repair(newest, repair.payload, &ring).unwrap() {
            Taken::Kept => kept += 1,
            Taken::Recovered => assert_eq!(kept + 1, missing.len()),
            _ => assert!(kept + 1 >= missing.len()),
        }
    }
    let mut recovered = Vec::new();
    while let Some(packet) = decoder.poll_recovered() {
        recovered.push((packet.index, packet.packet.to_vec()));
    }
    assert_eq!(recovered, missing);
}
