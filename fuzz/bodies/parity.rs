//! What the three XOR decoders promise alike. Not a target itself.
#![allow(clippy::panic, clippy::indexing_slicing)]

use msm_fec::xor::recover::{Decoder, Limits, Recovered, Refusal, Scheme, Store, StoreLimits};
use std::collections::BTreeSet;

pub const SSRC: u32 = 0x5eed_5eed;
pub const PAYLOAD_TYPE: u8 = 98;
/// Small, so that each of them is reached.
pub const LIMITS: Limits = Limits { window: 300, open: 8, recovered_bytes: 4096, packet: 512 };

/// A source packet of the stream.
pub fn source(index: u64, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend((index as u16).to_be_bytes());
    packet.extend((index as u32).wrapping_mul(90).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(body);
    packet
}

/// Takes `data` as a list of events, each a length, a step and bytes: a source packet so many numbers on, or, with a step of 0, a
/// repair packet.
pub fn anything<S: Scheme>(data: &[u8], mut decoder: Decoder<S>) {
    let mut store = Store::new(StoreLimits { bytes: 8192, packets: 64 });
    let (mut index, mut known, mut refused) = (0x1_fff0_u64, BTreeSet::new(), 0);
    let mut rest = data;
    while let [len, step, tail @ ..] = rest {
        let (bytes, behind) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = behind;
        if *step == 0 {
            let before = decoder.counters().repairs;
            refused += u64::from(decoder.handle_repair(bytes, &store).is_err());
            assert_eq!(decoder.counters().repairs, before + 1);
        } else {
            index = index.wrapping_add_signed(i64::from(step.cast_signed()));
            store.insert(index, &source(index, bytes));
            decoder.handle_source(index, &store);
            known.insert(index);
        }
        while let Some(Recovered { index, packet }) = decoder.poll_recovered() {
            assert!(known.insert(index), "{index} was there already");
            assert_eq!(packet[2..4], (index as u16).to_be_bytes());
            assert_eq!(packet[8..12], SSRC.to_be_bytes());
            assert!(packet.len() <= LIMITS.packet && msm_core::rtp::RtpView::parse(packet).is_ok());
            let packet = packet.to_vec();
            store.insert(index, &packet);
        }
        assert!(decoder.open() <= LIMITS.open);
    }
    let counted: u64 = Refusal::ALL.iter().map(|reason| decoder.counters().refused(*reason)).sum();
    assert!(counted >= refused, "a refusal was not counted");
}

/// Source packets with their indices.
pub type Packets = Vec<(u64, Vec<u8>)>;

/// Source packets from `data`, for an honest sender: bodies of mixed lengths, and which of them is lost.
pub fn honest(data: &[u8], count: usize) -> Option<(Packets, usize)> {
    let (&[lost, size], data) = data.split_first_chunk()?;
    let size = usize::from(size % 64) + 1;
    let bodies = data.chunks(size).chain(std::iter::repeat(&[][..]));
    let packets: Vec<_> =
        (0x1_fff9..).zip(bodies).take(count).map(|(index, body)| (index, source(index, body))).collect();
    // The first one tells where the stream begins.
    Some((packets, 1 + usize::from(lost) % count.saturating_sub(1).max(1)))
}

/// The one that is lost comes back as it was, once.
pub fn comes_back<S: Scheme>(
    mut decoder: Decoder<S>,
    packets: &[(u64, Vec<u8>)],
    lost: usize,
    repairs: &[Vec<u8>],
) {
    let mut store = Store::new(StoreLimits { bytes: 1 << 16, packets: 512 });
    for (at, (index, packet)) in packets.iter().enumerate() {
        if at != lost {
            store.insert(*index, packet);
            decoder.handle_source(*index, &store);
        }
    }
    for repair in repairs {
        assert_eq!(decoder.handle_repair(repair, &store), Ok(()));
    }
    let (index, packet) = &packets[lost];
    let recovered = decoder.poll_recovered().unwrap_or_else(|| panic!("{lost} of {} is lost", packets.len()));
    assert_eq!((recovered.index, recovered.packet), (*index, &packet[..]));
    assert!(decoder.poll_recovered().is_none());
}
