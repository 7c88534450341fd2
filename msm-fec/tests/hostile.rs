//! Peers that lie, flood or are broken, against what recovers and repeats packets. Where each case is tested:
//!
//! | case | tests |
//! |---|---|
//! | headers that lie about sizes, masks, k + m, or where they begin | `lies_are_refused_by_name` of `rs::decoder`, `xor::{flexfec, st2022, ulpfec}`; `what_lies_about_its_length_is_refused` of `xor::red` |
//! | headers whose sums give no packet | `what_is_no_packet_never_comes_out` of `rs::decoder`; the second half of each `lies_are_refused_by_name` |
//! | repair packets of other streams, senders and types | `lies_are_refused_by_name`, `several_streams_are_read_and_named` (FlexFEC), `other_packets_are_refused_and_left_alone` (RTX) |
//! | requests for everything at once, and floods of them | [`a_flood_of_requests_gets_a_share_of_the_media`], `a_flood_is_answered_with_a_share_of_the_media` of `nack::responder` |
//! | a line that jumps, so that everything is missing | [`a_line_that_jumps_is_asked_for_within_its_allowance`], `a_jump_is_a_new_start_and_gaps_are_bounded` of `nack::requester` |
//! | requests for what was never sent | `what_was_never_sent_or_is_forgotten_is_counted` of `nack::responder` |
//! | retransmissions of what was never sent, or not asked for | [`retransmissions_of_anything_leave_in_order_and_once`] |
//! | sequence numbers that wrap, 16 bits of them and 32 | [`every_line_wraps`]; `the_line_wraps_anywhere`; the property tests of `rs` and `xor` begin on both sides of a wrap |
//! | clocks that jump, here and at the peer | `clocks_that_jump_end_nothing` of `nack::requester` and `order::window`; `is_bounded_in_bytes_in_time_and_in_packets` of `nack::history`; [`reports_of_nonsense_change_nothing_for_long`]. RTP timestamps are not asked by anybody |
//! | memory, of whatever is kept | `tests/memory.rs`, against the formula; `memory_has_a_limit_whatever_comes` and `what_waits_is_within_the_limit_of_memory` of `rs`; `the_oldest_give_way…` of `xor::recover`; `bytes_are_bounded_and_the_oldest_gap_gives_way` of `order::window` |
//! | bytes of any kind | the fuzz targets `reed_solomon`, `flexfec`, `st2022`, `ulpfec`, `nack`, `rtx`, and `tests/wire.rs` |
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use msm_core::rng::Rng;
use msm_core::rtcp::Writer;
use msm_core::rtp::RtpBuilder;
use msm_fec::nack::rtx::{self, Identity};
use msm_fec::nack::{
    ASKS_PER_PACKET, Arrival, ByteRing, History, HistoryLimits, Requester, RequesterConfig, Responder,
    ResponderConfig, wire,
};
use msm_fec::order::{Limits, Source, Verdict, Window};
use msm_fec::protect::{Report, Sender, SenderConfig, ToReceiver};
use msm_fec::rs::decoder::{Decoder, DecoderConfig};
use msm_fec::rs::encoder::{Encoder, EncoderConfig, Shape};
use msm_fec::rs::ring::Ring;
use msm_fec::xor::recover::{Store, StoreLimits};
use msm_fec::xor::{Line, flexfec, ulpfec};

const MEDIA: Identity = Identity { ssrc: 0xaaaa, payload_type: 96 };
const RTX: Identity = Identity { ssrc: 0xbbbb, payload_type: 97 };

fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    let now = Instant::now();
    now + Duration::from_secs(10_000)
}

fn packet(index: u64, payload: usize) -> Vec<u8> {
    let payload = vec![index as u8; payload];
    let builder = RtpBuilder {
        payload_type: MEDIA.payload_type,
        sequence: index as u16,
        ssrc: MEDIA.ssrc,
        payload: &payload,
        ..RtpBuilder::default()
    };
    let mut packet = vec![0; 12 + payload.len()];
    builder.write(&mut packet).unwrap();
    packet
}

/// On the wire: the retransmissions with all that they are longer by. The smallest packets are worst, as each is longer by
/// two bytes.
#[test]
fn a_flood_of_requests_gets_a_share_of_the_media() {
    for (payload, share) in [(0, 0.5), (1188, 0.5), (1188, 0.1)] {
        let mut now = start();
        let burst = 20_000;
        let config = ResponderConfig { share, start: burst, burst, ..ResponderConfig::default() };
        let mut responder = Responder::new(config);
        let (mut history, mut ring) = (History::new(HistoryLimits::default()), ByteRing::new(1 << 20));
        let mut writer = rtx::Writer::new(RTX, 0);
        let (mut media, mut again, mut asked) = (0, 0, 0);
        for index in 0x1_ff00..0x1_ff00 + 20_000_u64 {
            now += Duration::from_millis(1);
            let packet = packet(index, payload);
            history.push(now, index, packet.len(), ring.push(&packet).unwrap());
            responder.handle_media(packet.len());
            media += packet.len();
            // Everything that was ever sent and more, thrice a packet, in a few dozen bytes each.
            for _ in 0..3 {
                let all = (0..2000).map(|back| (index as u16).wrapping_sub(back).wrapping_add(100));
                asked += 8 + 4 * 2000 / 17;
                responder.handle_request(now, &mut history, all);
                while let Some(answer) = responder.poll_transmit(&history) {
                    let mut out = [0; 1500];
                    again += writer.write(ring.get(answer.reference).unwrap(), &mut out).unwrap();
                }
            }
        }
        let factor = (media + again) as f64 / media as f64;
        println!("{asked} bytes of requests: {factor:.3} times the media");
        assert!(again as f64 <= share * media as f64 + burst as f64, "{again} bytes beside {media}");
        assert!(factor > 1.0 + share * 0.9, "it is the share that stops it: {factor}");
        assert!(responder.stats().throttled > 0);
    }
}

/// Each packet of the peer makes thousands missing.
#[test]
fn a_line_that_jumps_is_asked_for_within_its_allowance() {
    let mut now = start();
    let config = RequesterConfig::new(Duration::from_millis(400));
    let mut requester = Requester::new(config);
    let (mut asked, mut bytes) = (0, 0);
    let packets = 5000;
    for packet in 0..packets {
        now += Duration::from_millis(1);
        requester.handle_packet(now, packet * 4000, Arrival::Media);
        requester.handle_timeout(now);
        while let Some(request) = requester.poll_transmit() {
            let mut buffer = [0; 8192];
            let mut writer = Writer::new(&mut buffer);
            wire::write_request(&mut writer, 1, MEDIA.ssrc, request.passes()).unwrap();
            bytes += writer.len();
            asked += request.passes().next().map_or(0, <[u64]>::len) as u64;
        }
        while requester.poll_event().is_some() {}
        let due = requester.poll_timeout().map(|(due, _)| due);
        assert!(due.is_none_or(|due| due > now), "it is not called again and again for what it may not do");
    }
    let stats = requester.stats();
    println!("{asked} asked for in {bytes} bytes after {packets} packets: {stats:?}");
    assert!(asked <= ASKS_PER_PACKET * packets + 4 * config.max_gaps as u64);
    assert!(
        asked > ASKS_PER_PACKET * packets / 2 && stats.throttled > 0,
        "it is the allowance that stops it"
    );
    // An honest line is asked for at once again.
    let begin = packets * 4000;
    for index in begin..begin + 3000 {
        now += Duration::from_millis(1);
        requester.handle_packet(now, index, Arrival::Media);
        requester.handle_timeout(now);
        while requester.poll_transmit().is_some() {}
    }
    requester.handle_packet(now, begin + 3002, Arrival::Media);
    let request = requester.poll_transmit().expect("two are missing");
    assert_eq!(request.passes().next(), Some(&[begin + 3000, begin + 3001][..]));
}

/// Whatever a sender repeats: what was lost, what was not, what will be, and what never was.
#[test]
fn retransmissions_of_anything_leave_in_order_and_once() {
    let mut rng = Rng::new(3);
    let mut now = start();
    let budget = Duration::from_millis(100);
    let (packets, bytes) = (512, 100_000);
    let mut window = Window::new(Limits { packets, bytes, ..Limits::new(budget) });
    let mut requester = Requester::new(RequesterConfig { max_gaps: 600, ..RequesterConfig::new(budget) });
    let mut out: Vec<u64> = Vec::new();
    let mut next = 0xfff0_u64;
    for _ in 0..60_000 {
        now += Duration::from_micros(500);
        let (index, source) = if rng.range(0..2) == 0 {
            next += 1 + u64::from(rng.range(0..10) == 0);
            (next, Source::Media)
        } else {
            ((next + rng.range(0..3)).saturating_sub(rng.range(0..400)), Source::Nack)
        };
        let arrival = if source == Source::Media { Arrival::Media } else { Arrival::Retransmission };
        requester.handle_packet(now, index, arrival);
        let packet = packet(index, 100);
        let mut verdict = window.handle_packet(now, index, source, &packet);
        if verdict == Verdict::Again {
            out.extend(std::iter::from_fn(|| window.poll_ready().map(|ready| ready.index)));
            verdict = window.handle_packet(now, index, source, &packet);
        }
        out.extend((verdict == Verdict::Pass).then_some(index));
        window.handle_timeout(now);
        while let Some(ready) = window.poll_ready() {
            assert_eq!(ready.packet, self::packet(ready.index, 100));
            out.push(ready.index);
        }
        requester.handle_timeout(now);
        while requester.poll_transmit().is_some() || requester.poll_event().is_some() {}
        while window.poll_event().is_some() {}
        assert!(window.held().0 <= packets && window.held().1 <= bytes);
    }
    // Far from where the line is they are of no line, and do not move it.
    let at = out.last().copied().unwrap();
    for far in [at + 10_000, at + 10_001, at.saturating_sub(20_000), 1 << 40] {
        requester.handle_packet(now, far, Arrival::Retransmission);
        let verdict = window.handle_packet(now, far, Source::Nack, &packet(far, 1));
        assert!(matches!(verdict, Verdict::Stray | Verdict::Duplicate), "{far}: {verdict:?}");
    }
    assert!(window.next_index().unwrap() < at + 1000 && requester.next_index().unwrap() < at + 1000);
    assert_eq!(window.stats().restarts + requester.stats().restarts, 0);
    assert!(out.windows(2).all(|pair| pair[0] < pair[1]), "in order, and once");
    println!("{} of 60000 left: {:?}", out.len(), window.stats());
    assert!(out.len() > 10_000);
}

/// What a receiver tells its sender may be anything.
#[test]
fn reports_of_nonsense_change_nothing_for_long() {
    let mut now = start();
    let mut sender = Sender::<u64>::new(SenderConfig::new(Duration::from_millis(100)));
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1.0, 1e300, f64::MIN_POSITIVE];
    let times = [Duration::ZERO, Duration::MAX, Duration::from_nanos(1), Duration::from_secs(1 << 40)];
    let mut rng = Rng::new(8);
    let (mut media, mut more) = (0, 0);
    for index in 0..40_000_u64 {
        now += if index % 33 == 0 { Duration::from_millis(40) } else { Duration::from_micros(100) };
        let packet = packet(index, 1188);
        sender.handle_source(now, index, &packet, index % 33 == 32, index);
        media += packet.len();
        if rng.range(0..20) == 0 {
            let value = |rng: &mut Rng| values[rng.range(0..values.len() as u64) as usize];
            let time = |rng: &mut Rng| times[rng.range(0..times.len() as u64) as usize];
            let (loss, burst) = (value(&mut rng), value(&mut rng));
            let (rtt, reorder) = (Some(time(&mut rng)), time(&mut rng));
            sender.handle_report(now, &Report { id: index as u8, loss, burst, rtt, reorder });
            sender.handle_request(now, (0..4000).map(|back| (index as u16).wrapping_sub(back)));
        }
        sender.handle_timeout(now);
        while let Some(sent) = sender.poll_transmit() {
            more += match sent {
                ToReceiver::Repair(repair) => repair.payload.len() + 12,
                ToReceiver::Again(_) => packet.len() + rtx::OVERHEAD,
                ToReceiver::Next(_) => 0,
            };
        }
    }
    let overhead = more as f64 / media as f64;
    println!("overhead {overhead:.3}: {}", sender.explain());
    // Half of the media for repair, half for answers, and the answers' burst.
    assert!(overhead <= 1.0 + 262_144.0 / media as f64, "{overhead}");
}

/// The line of repair packets, and what they protect, over 16 and 32 bits.
#[test]
fn every_line_wraps() {
    for first in [0xfff0_u64, 0x1_fff0, 0xffff_fff0, (1 << 40) - 8] {
        let packets: Vec<(u64, Vec<u8>)> =
            (first..first + 32).map(|index| (index, packet(index, 50 + index as usize % 9))).collect();
        let lost: BTreeSet<u64> = [first + 5, first + 14, first + 16, first + 31].into();
        let (mut ring, mut store) = (Ring::new(64, 1 << 16), Store::new(StoreLimits::default()));
        let shape = Shape::new(8, 2, 2).unwrap();
        let mut encoder = Encoder::new(EncoderConfig::default(), Some(shape)).unwrap();
        let line = Line { payload_type: 98, ssrc: 5, sequence: u16::MAX };
        let shape = flexfec::Shape::Grid { columns: 8, rows: 4 };
        let mut flex = flexfec::Encoder::new(flexfec::EncoderOptions::new(MEDIA.ssrc, line, shape)).unwrap();
        let line = Line { ssrc: MEDIA.ssrc, ..line };
        let mut ulp = ulpfec::Encoder::new(ulpfec::EncoderOptions::new(line, 8, 2)).unwrap();
        let mut decoder = Decoder::new(DecoderConfig::default());
        let mut of_flex = flexfec::Decoder::new(flexfec::DecoderOptions {
            ssrc: MEDIA.ssrc,
            payload_type: 98,
            repair_ssrc: None,
            limits: Default::default(),
        });
        let mut of_ulp = ulpfec::Decoder::new(ulpfec::DecoderOptions {
            ssrc: MEDIA.ssrc,
            payload_type: 98,
            limits: Default::default(),
        });
        let mut back: [BTreeSet<u64>; 3] = Default::default();
        for (index, packet) in &packets {
            if !lost.contains(index) {
                ring.insert(*index, packet);
                store.insert(*index, packet);
                decoder.handle_source(*index, &ring);
                of_flex.handle_source(*index, &store);
                of_ulp.handle_source(*index, &store);
            }
            encoder.handle_source(*index, packet).unwrap();
            flex.handle_source(*index, packet).unwrap();
            ulp.handle_source(*index, packet).unwrap();
            while let Some(repair) = encoder.poll_repair() {
                decoder.handle_repair(*index, repair.payload, &ring).unwrap();
            }
            while let Some(repair) = flex.poll_transmit(0) {
                of_flex.handle_repair(repair, &store).unwrap();
            }
            while let Some(repair) = ulp.poll_transmit(0) {
                of_ulp.handle_repair(repair, &store).unwrap();
            }
            let truth = |index: u64| &packets[(index - first) as usize].1[..];
            while let Some(recovered) = decoder.poll_recovered() {
                assert_eq!(recovered.packet, truth(recovered.index));
                back[0].insert(recovered.index);
            }
            while let Some(recovered) = of_flex.poll_recovered() {
                assert_eq!(recovered.packet, truth(recovered.index));
                back[1].insert(recovered.index);
            }
            while let Some(recovered) = of_ulp.poll_recovered() {
                assert_eq!(recovered.packet, truth(recovered.index));
                back[2].insert(recovered.index);
            }
        }
        for back in back {
            assert!(lost.iter().all(|index| back.contains(index)), "{lost:?} {back:?} from {first:#x} on");
        }
    }
}
