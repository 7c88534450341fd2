//! Limits of the engine, by way of FlexFEC.

use super::*;
use crate::xor::Line;
use crate::xor::flexfec::{Decoder, DecoderOptions, Encoder, EncoderOptions, Shape};
use crate::xor::testing::{FEC_PT, FEC_SSRC, Receiver, SSRC, packets};

fn receiver(limits: Limits) -> Receiver<crate::xor::flexfec::FlexFec> {
    Receiver::new(Decoder::new(DecoderOptions {
        ssrc: SSRC,
        payload_type: FEC_PT,
        repair_ssrc: None,
        limits,
    }))
}

/// The repair packet of two packets, of which the second does not come.
fn pair(first: u64, seed: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let line = Line { payload_type: FEC_PT, ssrc: FEC_SSRC, sequence: 0 };
    let mut encoder = Encoder::new(EncoderOptions::new(SSRC, line, Shape::Rows { columns: 2 })).unwrap();
    let truth = packets(seed, first, 2);
    for (index, packet) in &truth {
        encoder.handle_source(*index, packet).unwrap();
    }
    (encoder.poll_transmit(0).unwrap().to_vec(), truth.into_values().collect())
}

#[test]
fn the_oldest_repair_packet_gives_way() {
    let mut receiver = receiver(Limits { open: 4, ..Limits::default() });
    receiver.source(999, &packets(1, 999, 1)[&999]);
    let pairs: Vec<_> = (0..6).map(|at| pair(1000 + 2 * at, at)).collect();
    for (repair, _) in &pairs {
        receiver.repair(repair).unwrap();
    }
    assert_eq!(receiver.decoder.open(), 4);
    assert_eq!(receiver.decoder.counters().refused(Refusal::Crowded), 2);
    for (at, (_, sources)) in pairs.iter().enumerate() {
        receiver.source(1000 + 2 * at as u64, &sources[0]);
    }
    let recovered: Vec<u64> = receiver.recovered.keys().copied().collect();
    assert_eq!(recovered, [1005, 1007, 1009, 1011]);
    assert_eq!(receiver.decoder.open(), 0);
}

#[test]
fn what_falls_out_of_the_window_is_given_up() {
    let mut receiver = receiver(Limits { window: 64, ..Limits::default() });
    receiver.source(999, &packets(1, 999, 1)[&999]);
    let (repair, sources) = pair(1000, 1);
    receiver.repair(&repair).unwrap();
    receiver.source(1064, &packets(1, 1064, 1)[&1064]);
    assert_eq!(receiver.decoder.open(), 1);
    receiver.source(1065, &packets(1, 1065, 1)[&1065]);
    assert_eq!(receiver.decoder.open(), 0);
    assert_eq!(receiver.decoder.counters().refused(Refusal::Expired), 1);
    receiver.source(1000, &sources[0]);
    assert!(receiver.recovered.is_empty());
    assert_eq!(receiver.repair(&repair), Err(Refusal::FarAway));
}

#[test]
fn what_the_store_has_lost_is_not_made_up() {
    let mut receiver = receiver(Limits::default());
    receiver.source(999, &packets(1, 999, 1)[&999]);
    let (repair, sources) = pair(1000, 1);
    receiver.source(1000, &sources[0]);
    receiver.store.clear();
    receiver.repair(&repair).unwrap();
    assert_eq!(receiver.decoder.counters().refused(Refusal::Expired), 1);
    // Both came and neither is kept: then nothing is missing, and nothing comes twice.
    receiver.source(1001, &sources[1]);
    receiver.store.clear();
    receiver.repair(&repair).unwrap();
    assert_eq!((receiver.decoder.counters().unneeded, receiver.recovered.len()), (1, 0));
}

#[test]
fn who_does_not_poll_loses_what_there_is_no_room_for() {
    let mut receiver = receiver(Limits { recovered_bytes: 1000, ..Limits::default() });
    for at in 0..20 {
        let (repair, sources) = pair(1000 + 2 * at, at);
        receiver.store.insert(1000 + 2 * at, &sources[0]);
        receiver.decoder.handle_source(1000 + 2 * at, &receiver.store);
        receiver.decoder.handle_repair(&repair, &receiver.store).unwrap();
    }
    let mut polled = 0;
    while receiver.decoder.poll_recovered().is_some() {
        polled += 1;
    }
    assert!((1..20).contains(&polled));
    let counters = receiver.decoder.counters();
    assert_eq!((counters.recovered, counters.refused(Refusal::Overrun)), (20, 20 - polled));
}

#[test]
fn a_decoder_that_may_keep_nothing_recovers_nothing() {
    let limits = Limits { window: 0, open: 0, recovered_bytes: 0, packet: 0 };
    let mut receiver = receiver(limits);
    let (repair, sources) = pair(1000, 1);
    receiver.source(1000, &sources[0]);
    assert_eq!(receiver.repair(&repair), Err(Refusal::TooLong));
    let mut receiver = self::receiver(Limits { packet: 2048, ..limits });
    receiver.source(1000, &sources[0]);
    receiver.repair(&repair).unwrap();
    assert_eq!(receiver.decoder.counters().refused(Refusal::Overrun), 1);
    assert!(receiver.recovered.is_empty());
}

#[test]
fn a_leap_of_the_index_forgets_all() {
    let mut receiver = receiver(Limits::default());
    receiver.source(999, &packets(1, 999, 1)[&999]);
    let (repair, _) = pair(1000, 1);
    receiver.repair(&repair).unwrap();
    for index in [u64::MAX, 0, u64::MAX - 1, 1 << 40] {
        receiver.source(index, &packets(1, 7, 1)[&7]);
    }
    assert_eq!(receiver.decoder.open(), 0);
    assert_eq!(receiver.repair(&repair), Err(Refusal::FarAway));
    assert!(receiver.recovered.is_empty());
}
