//! What a protected track keeps at most, by the formula of `docs/protection.md`, beside what the allocator has given when a peer has
//! done its worst. A formula that says too little fails, and so does one that says more than twice too much.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::alloc::System;
use std::time::{Duration, Instant};

use msm_core::rng::Rng;
use msm_fec::nack::{
    Arrival, ByteRing, History, HistoryLimits, Place, Requester, RequesterConfig, Responder, ResponderConfig,
};
use msm_fec::order::{Limits, Source, Window};
use msm_fec::paths::{Merge, MergeConfig};
use msm_fec::protect::{Receiver, ReceiverConfig, Sender, SenderConfig};
use msm_fec::rs::decoder::{Decoder, DecoderConfig};
use msm_fec::rs::encoder::{Encoder, EncoderConfig, Shape};
use msm_fec::rs::payload::Header;
use msm_fec::rs::ring::Ring;
use msm_fec::xor::flexfec;
use msm_fec::xor::recover::{self, Store, StoreLimits};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    let now = Instant::now();
    now + Duration::from_secs(10_000)
}

/// Makes something, does its worst to it, and holds what it has then to the formula.
fn measure<T>(what: &str, formula: usize, make: impl FnOnce() -> T, worst: impl FnOnce(&mut T)) {
    let before = in_use();
    let mut subject = make();
    worst(&mut subject);
    let measured = in_use().wrapping_sub(before);
    println!("{what}: {measured} bytes, {formula} by the formula");
    // The test's own output is among it.
    assert!(measured <= formula + 256, "{what} has {measured} bytes, and {formula} by the formula");
    assert!(2 * measured >= formula, "{what} has {measured} bytes, and {formula} by the formula");
    drop(subject);
}

fn packet(index: u64, length: usize) -> Vec<u8> {
    let mut packet = vec![0; length.max(12)];
    packet[..2].copy_from_slice(&[0x80, 96]);
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet
}

/// 48 bytes a packet, of a power of two of packets.
fn history(packets: usize) -> usize {
    48 * packets.next_power_of_two()
}

/// Two groups of blocks.
fn encoder(shape: Shape, packet_bytes: usize) -> usize {
    let (k, m, d) = (usize::from(shape.sources()), usize::from(shape.repairs()), usize::from(shape.depth()));
    2 * (d * m * (packet_bytes + 127) + k * (m + 2 * d) + 8 * d + 64 + 300)
}

/// What is missing, twice as much while a gap is taken in, and what waits.
fn requester(max_gaps: usize) -> usize {
    2 * 144 * max_gaps.next_power_of_two() + 16_384
}

/// Slots, and buffers of at least 1536 bytes.
fn window(limits: Limits, packet: usize) -> usize {
    let packets = limits.packets.next_power_of_two();
    let held = packets.min(limits.bytes / packet.max(1) + 1);
    56 * packets + held * packet.max(1536) + 24 * packets
}

fn decoder(config: DecoderConfig) -> usize {
    config.window / 2 + 3 * config.memory_bytes + config.memory_bytes / 20 + 70_000
}

fn ring(packets: usize, bytes: usize) -> usize {
    bytes + 24 * packets.next_power_of_two()
}

fn a_history_is_its_records_and_what_they_refer_to() {
    measure(
        "history and ring",
        history(1 << 16) + (1 << 20),
        || {
            let limits = HistoryLimits { age: Duration::from_secs(1 << 30), ..HistoryLimits::default() };
            (History::<Place>::new(limits), ByteRing::new(1 << 20))
        },
        |(history, ring)| {
            let now = start();
            for index in 0..300_000 {
                history.push(now, index, 12, ring.push(&[0; 12]).unwrap());
            }
        },
    );
}

fn answers_that_wait_are_bounded() {
    let limits = HistoryLimits { age: Duration::from_secs(1 << 30), ..HistoryLimits::default() };
    let mut history = History::<()>::new(limits);
    let now = start();
    for index in 0..100_000 {
        history.push(now, index, 12, ());
    }
    measure(
        "answers",
        8 * 1024,
        || Responder::new(ResponderConfig { start: 100 << 20, burst: 100 << 20, ..Default::default() }),
        |responder| {
            for _ in 0..50 {
                responder.handle_request(now, &mut history, 0..=u16::MAX);
            }
        },
    );
}

fn blocks_are_those_of_two_groups() {
    for (k, m, d) in [(10, 2, 1), (50, 10, 1), (30, 6, 8), (200, 55, 1)] {
        let shape = Shape::new(k, m, d).unwrap();
        measure(
            "encoder",
            encoder(shape, 1500),
            || Encoder::new(EncoderConfig::default(), Some(shape)).unwrap(),
            |encoder| {
                let mut rng = Rng::new(1);
                let bytes = [7; 1500];
                for index in 0..10_000 {
                    let length = rng.range(1..1501) as usize;
                    encoder.handle_source(index, &bytes[..length]).unwrap();
                    while encoder.poll_repair().is_some() {}
                }
            },
        );
    }
}

fn gaps_are_bounded_whatever_is_missing() {
    measure(
        "requester",
        requester(4096),
        || Requester::new(RequesterConfig::new(Duration::from_secs(3600))),
        |requester| {
            let mut now = start();
            for packet in 0..2000 {
                now += Duration::from_millis(1);
                requester.handle_packet(now, packet * 3900, Arrival::Media);
                while requester.poll_transmit().is_some() {}
            }
        },
    );
}

fn packets_that_wait_for_others_are_bounded() {
    let limits = Limits { packets: 2048, bytes: 1 << 20, ..Limits::new(Duration::from_secs(3600)) };
    for length in [12, 1400] {
        measure(
            "order window",
            window(limits, length),
            || Window::new(limits),
            |window| {
                let now = start();
                // Every other packet comes.
                for index in 0..10_000 {
                    let packet = packet(2 * index, length);
                    if window.handle_packet(now, 2 * index, Source::Media, &packet)
                        == msm_fec::order::Verdict::Again
                    {
                        while window.poll_ready().is_some() {}
                    }
                    while window.poll_event().is_some() {}
                }
            },
        );
    }
}

/// Blocks that never come to an end, and others that give packets that nobody polls.
fn flood(decoder: &mut Decoder, ring: &mut Ring, packets: u64) {
    let mut rng = Rng::new(4);
    let mut body = vec![0; 1498];
    rng.fill(&mut body);
    for index in 0..packets {
        ring.insert(index, &packet(index, 1400));
        decoder.handle_source(index, ring);
        for symbol in 0..3 {
            let lone = rng.range(0..2) == 0;
            let (sources, code) = if lone { (1, 1) } else { (60, 60) };
            let first = index as u16 ^ rng.range(0..200) as u16;
            let header = Header { first, sources, code, symbol: code + symbol, step: 1 };
            let mut payload = header.to_bytes().to_vec();
            // The length stands in front of what is to be the packet.
            payload.extend(1490_u16.to_be_bytes());
            payload.extend(packet(u64::from(first), 1490));
            let _ = decoder.handle_repair(index, &payload, ring);
        }
    }
}

fn repairs_that_wait_are_bounded() {
    let config = DecoderConfig { memory_bytes: 200_000, ..DecoderConfig::default() };
    let mut packets = Ring::new(256, 500_000);
    measure(
        "decoder",
        decoder(config),
        || Decoder::new(config),
        |decoder| flood(decoder, &mut packets, 3000),
    );
    measure(
        "ring",
        ring(2048, 1 << 20),
        || Ring::new(2048, 1 << 20),
        |ring| {
            (0..5000).for_each(|index| assert!(ring.insert(index, &[0; 1400])));
        },
    );
}

fn parity_codes_keep_what_their_document_says() {
    let limits = recover::Limits::default();
    let formula =
        limits.open * (limits.packet + 500) + limits.recovered_bytes + 112 * usize::from(limits.window);
    let mut store = Store::new(StoreLimits::default());
    measure(
        "parity decoder",
        formula,
        || {
            flexfec::Decoder::new(flexfec::DecoderOptions {
                ssrc: 7,
                payload_type: 98,
                repair_ssrc: None,
                limits,
            })
        },
        |decoder| {
            for index in 0..4000_u64 {
                store.insert(index, &packet(index, 1200));
                decoder.handle_source(index, &store);
                // Two packets ahead of everything, each time others.
                let mut repair = vec![0x81, 98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 7];
                repair.extend([0x40, 96, 0, 10, 0, 0, 0, 0]);
                repair.extend((index as u16 + 10).to_be_bytes());
                repair.extend([200, 2]);
                repair.resize(2040, 1);
                let _ = decoder.handle_repair(&repair, &store);
            }
        },
    );
}

fn paths_keep_a_window_of_marks() {
    let config = MergeConfig::default();
    measure(
        "merge",
        config.window as usize * 3 + 4096,
        || Merge::new(config),
        |merge| {
            let mut now = start();
            for index in 0..100_000_u64 {
                now += Duration::from_millis(1);
                merge.handle_packet(now, index as usize % 8, index * 7 % 90_000);
            }
        },
    );
}

/// Both ends of a track with the defaults, under all of it at once.
fn a_track_is_the_sum_of_its_parts() {
    let budget = Duration::from_millis(100);
    let config = SenderConfig::new(budget);
    let sender = history(config.history.packets) + EncoderConfig::default().memory_bytes + 8 * 1024 + 4096;
    let receiver = requester(4096)
        + window(Limits::new(budget), 1400)
        + decoder(DecoderConfig::default())
        + ring(2048, ReceiverConfig::new(budget).ring_bytes);
    println!("a track: sender {} KiB, receiver {} KiB at most", sender >> 10, receiver >> 10);
    let before = in_use();
    let mut sending = Sender::<u64>::new(config);
    let mut receiving = Receiver::new(ReceiverConfig::new(budget));
    let made = in_use().wrapping_sub(before);
    let mut now = start();
    let mut rng = Rng::new(2);
    for index in 0..60_000_u64 {
        now += Duration::from_micros(100);
        let length = 12 + rng.range(0..1400) as usize;
        let packet = packet(index, length);
        sending.handle_source(now, index, &packet, index % 8 == 7, index);
        sending.handle_request(now, (0..200).map(|back| (index as u16).wrapping_sub(back)));
        if rng.range(0..3) == 0 {
            receiving.handle_packet(now, index, Source::Media, &packet);
        }
        let header = Header { first: index as u16, sources: 40, code: 40, symbol: 41, step: 1 };
        let repair = [&header.to_bytes()[..], &[1, 2], &packet].concat();
        receiving.handle_repair(now, &repair);
        receiving.handle_timeout(now);
        while receiving.poll_delivered().is_some() {}
        while receiving.poll_transmit(now).is_some() {}
        while sending.poll_transmit().is_some() {}
    }
    let measured = in_use().wrapping_sub(before);
    println!("made of {} KiB, {} KiB under load", made >> 10, measured >> 10);
    assert!(made < 1 << 20, "what is not used is not taken: {made} bytes");
    assert!(measured <= sender + receiver, "{measured} bytes of {}", sender + receiver);
}

/// One test, as what is counted is the whole process's.
#[test]
fn every_part_keeps_what_its_formula_says() {
    a_history_is_its_records_and_what_they_refer_to();
    answers_that_wait_are_bounded();
    blocks_are_those_of_two_groups();
    gaps_are_bounded_whatever_is_missing();
    packets_that_wait_for_others_are_bounded();
    repairs_that_wait_are_bounded();
    parity_codes_keep_what_their_document_says();
    paths_keep_a_window_of_marks();
    a_track_is_the_sum_of_its_parts();
}
