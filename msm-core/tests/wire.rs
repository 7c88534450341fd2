//! Broken packets: every truncation, and many seeded mutations, of valid RTP and RTCP through all readers and
//! iterators; and agreement with the `rtp` and `rtcp` crates wherever those can be asked. The checks themselves are
//! the bodies of the fuzz targets.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm_core::rng::Rng;
use msm_core::rtcp::{Acceptance, Compound, FirEntry, ReportBlock, SenderInfo, Writer, packet_type};
use msm_core::rtp::{ExtensionBlock, RtpBuilder, RtpView};
use proptest::prelude::*;
use webrtc_util::marshal::Marshal;

#[path = "../../fuzz/bodies"]
#[allow(missing_docs, unreachable_pub)]
mod bodies {
    pub mod extensions;
    pub mod rtcp;
    pub mod rtp;
}

fn build(builder: RtpBuilder<'_>) -> Vec<u8> {
    let mut packet = vec![0; builder.packet_len().unwrap()];
    builder.write(&mut packet).unwrap();
    packet
}

fn rtp_samples() -> Vec<Vec<u8>> {
    let base = RtpBuilder {
        marker: true,
        payload_type: 96,
        sequence: 65_535,
        timestamp: 0xdead_beef,
        ssrc: 0x1234_5678,
        payload: b"some payload of no codec",
        ..RtpBuilder::default()
    };
    let one = ExtensionBlock::OneByte(&[(1, &[1, 2, 3]), (14, &[9; 16]), (3, &[0])]);
    let two = ExtensionBlock::TwoByte(&[(1, &[]), (255, &[7; 40]), (16, &[1, 2])]);
    let appbits = ExtensionBlock::Raw { profile: 0x100b, data: &[4, 1, 9, 0, 5, 0, 0, 0] };
    let stop = ExtensionBlock::Raw { profile: 0xbede, data: &[0x10, 7, 0xf0, 0x21, 1, 2, 0, 0] };
    let onvif = ExtensionBlock::Raw { profile: 0xabac, data: &[1; 12] };
    vec![
        build(base),
        build(RtpBuilder { payload: &[], ..base }),
        build(RtpBuilder { csrcs: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], ..base }),
        build(RtpBuilder { extension: one, ..base }),
        build(RtpBuilder { extension: two, csrcs: &[5], padding_len: 9, ..base }),
        build(RtpBuilder { extension: appbits, ..base }),
        build(RtpBuilder { extension: stop, padding_len: 1, ..base }),
        build(RtpBuilder { extension: onvif, ..base }),
        build(RtpBuilder { payload: &[], padding_len: 255, ..base }),
    ]
}

fn rtcp_samples() -> Vec<Vec<u8>> {
    let block = ReportBlock {
        ssrc: 7,
        fraction_lost: 3,
        cumulative_lost: -5,
        extended_highest_sequence: 0x1_0005,
        jitter: 90,
        last_sr: 0xb705_2000,
        delay_since_last_sr: 0x5_4000,
    };
    let mut samples = Vec::new();
    let mut buffer = [0; 2_000];
    let mut writer = Writer::new(&mut buffer);
    writer
        .sender_report(&SenderInfo { ssrc: 1, packet_count: 2, ..SenderInfo::default() }, &[block, block])
        .unwrap();
    writer.sdes_cname(1, "camera@studio").unwrap();
    writer.nack(1, 7, &[65_530, 65_535, 3, 400]).unwrap();
    writer.fir(1, &[FirEntry { ssrc: 7, sequence: 1 }, FirEntry { ssrc: 8, sequence: 255 }]).unwrap();
    writer.pli(1, 7).unwrap();
    writer.bye(&[1, 2], "teardown").unwrap();
    samples.push(writer.as_bytes().to_vec());
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(9, &[block; 31]).unwrap().bye(&[], "").unwrap();
    samples.push(writer.as_bytes().to_vec());
    // Two chunks, one of several items; a packet of padding; REMB; transport-cc; APP; XR with RRT; unknown.
    for hex in [
        "82ca0007 00000001 01026162 06000000 00000002 01036162 63080100 00000000",
        "a0c90002 00000001 00000004",
        "8fce0007 01020304 00000000 52454d42 030a1234 00000001 00000002 00000003",
        "8fcd0005 00000001 00000002 00050003 00001203 20036464",
        "85cc0003 00000001 6e616d65 01020304",
        "80cf0004 00000001 04000002 01020304 05060708",
        "81c80006 00000001",
        "83d10001 00000001",
    ] {
        samples.push(bytes(hex));
    }
    samples
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Truncations, extensions and `count` seeded mutations of each sample.
fn sweep(samples: &[Vec<u8>], count: usize, body: fn(&[u8])) {
    let mut rng = Rng::new(0x5eed);
    for sample in samples {
        for end in 0..=sample.len() {
            body(&sample[..end]);
        }
        for _ in 0..count {
            let mut mutated = sample.clone();
            for _ in 0..=rng.range(0..4) {
                // Headers are where mutations matter most.
                let span = if rng.range(0..2) == 0 { mutated.len().min(24) } else { mutated.len() };
                let at = rng.range(0..span as u64) as usize;
                mutated[at] = match rng.range(0..4) {
                    0 => rng.next_u16() as u8,
                    1 => mutated[at] ^ (1 << rng.range(0..8)),
                    2 => mutated[at].wrapping_add(1),
                    _ => [0, 1, 0x7f, 0x80, 0xff][rng.range(0..5) as usize],
                };
            }
            match rng.range(0..8) {
                0 => mutated.truncate(rng.range(0..mutated.len() as u64) as usize),
                1 => mutated.extend_from_slice(&rng.next_u32().to_be_bytes()),
                2 => mutated.extend_from_within(..),
                _ => {}
            }
            body(&mutated);
        }
    }
}

#[test]
fn broken_rtp_never_panics() {
    sweep(&rtp_samples(), 4_000, bodies::rtp::run);
}

#[test]
fn broken_extensions_never_panic() {
    let samples: Vec<Vec<u8>> = rtp_samples()
        .iter()
        .filter_map(|sample| {
            let (profile, block) = RtpView::parse(sample).unwrap().extension()?;
            Some([&[u8::from(profile != 0xbede), 0], block].concat())
        })
        .collect();
    assert_eq!(samples.len(), 5);
    sweep(&samples, 4_000, bodies::extensions::run);
}

#[test]
fn broken_rtcp_never_panics() {
    sweep(&rtcp_samples(), 4_000, bodies::rtcp::run);
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::new(9);
    for _ in 0..20_000 {
        let mut data = vec![0; rng.range(0..64) as usize];
        rng.fill(&mut data);
        if let Some(first) = data.first_mut() {
            *first = *first & 0x3f | 0x80;
        }
        bodies::rtp::run(&data);
        bodies::extensions::run(&data);
        if let [_, packet_type, high, low, ..] = &mut data[..] {
            *packet_type = 200 + (*packet_type & 7);
            (*high, *low) = (0, *low & 7);
        }
        bodies::rtcp::run(&data);
    }
}

#[test]
fn the_largest_packets_are_read() {
    let mut packet = vec![0x80; 65_535];
    bodies::rtp::run(&packet);
    packet.push(0);
    bodies::rtp::run(&packet);
    let mut nack = vec![0; 65_532];
    nack[..4].copy_from_slice(&[0x81, 205, 0x3f, 0xfe]);
    bodies::rtcp::run(&nack);
}

prop_compose! {
    fn elements(two_byte: bool)(
        elements in proptest::collection::vec(
            (1_u8..=if two_byte { 255 } else { 14 }, proptest::collection::vec(any::<u8>(), if two_byte { 0..40 } else { 1..17 })),
            0..6,
        ),
    ) -> Vec<(u8, Vec<u8>)> { elements }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What the `rtp` crate writes, we read the same; what we write, it reads the same (inside the body).
    #[test]
    fn rtp_agrees_with_the_rtp_crate(
        (marker, payload_type, sequence, timestamp, ssrc) in (any::<bool>(), 0_u8..128, any::<u16>(), any::<u32>(), any::<u32>()),
        csrcs in proptest::collection::vec(any::<u32>(), 0..16),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        one in elements(false),
        two in elements(true),
        form in 0..3,
        padding_len in 0_u8..9,
    ) {
        let one: Vec<(u8, &[u8])> = one.iter().map(|(id, data)| (*id, &data[..])).collect();
        let two: Vec<(u8, &[u8])> = two.iter().map(|(id, data)| (*id, &data[..])).collect();
        let (extension, elements) = match form {
            0 => (ExtensionBlock::None, &[][..]),
            1 => (ExtensionBlock::OneByte(&one), &one[..]),
            _ => (ExtensionBlock::TwoByte(&two), &two[..]),
        };
        let ours = build(RtpBuilder {
            marker, payload_type, sequence, timestamp, ssrc, csrcs: &csrcs, extension, payload: &payload, padding_len,
        });
        bodies::rtp::run(&ours);

        // Their writer cannot write this padding, nor an extension without elements.
        let theirs = rtp::packet::Packet {
            header: rtp::header::Header {
                version: 2,
                extension: !elements.is_empty(),
                marker, payload_type, sequence_number: sequence, timestamp, ssrc,
                csrc: csrcs.clone(),
                extension_profile: if form == 1 { 0xbede } else { 0x1000 },
                extensions: elements
                    .iter()
                    .map(|(id, data)| rtp::header::Extension { id: *id, payload: data.to_vec().into() })
                    .collect(),
                ..Default::default()
            },
            payload: payload.clone().into(),
        };
        let theirs = theirs.marshal().unwrap();
        bodies::rtp::run(&theirs);
        if padding_len == 0 && (form == 0 || !elements.is_empty()) {
            prop_assert_eq!(&ours[..], &theirs[..]);
        }
    }

    #[test]
    fn rtcp_agrees_with_the_rtcp_crate(
        numbers in proptest::collection::vec(any::<u32>(), 8),
        lost in proptest::collection::btree_set(any::<u16>(), 1..40),
        blocks in proptest::collection::vec(any::<[u8; 24]>(), 0..32),
        reason in ".{0,40}",
        cname in ".{0,60}",
    ) {
        let blocks: Vec<_> = blocks.iter().map(ReportBlock::from_bytes).collect();
        let lost: Vec<_> = lost.into_iter().collect();
        let info = SenderInfo {
            ssrc: numbers[0],
            ntp: msm_core::ntp::NtpTime::from_bits(u64::from(numbers[1]) << 32 | u64::from(numbers[2])),
            rtp_timestamp: numbers[3],
            packet_count: numbers[4],
            octet_count: numbers[5],
        };
        let mut buffer = vec![0; 8_192];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(&info, &blocks).unwrap();
        writer.receiver_report(numbers[0], &blocks).unwrap();
        writer.sdes_cname(numbers[0], &cname).unwrap();
        writer.nack(numbers[0], numbers[6], &lost).unwrap();
        writer.fir(numbers[0], &[FirEntry { ssrc: numbers[7], sequence: 3 }]).unwrap();
        writer.pli(numbers[0], numbers[6]).unwrap();
        writer.bye(&numbers, &reason).unwrap();
        bodies::rtcp::run(writer.as_bytes());
        // It reads the whole datagram, too, and writes the same bytes; apart from SDES and BYE, whose alignment it
        // takes for padding with a count.
        let theirs = rtcp::packet::unmarshal(&mut writer.as_bytes()).unwrap();
        prop_assert_eq!(theirs.len(), 7);
        let ours = Compound::parse(writer.as_bytes(), Acceptance::Compound).unwrap();
        for (ours, theirs) in ours.raw_packets().zip(&theirs) {
            if !matches!(ours.packet_type, packet_type::SDES | packet_type::BYE) {
                prop_assert_eq!(ours.bytes, &theirs.marshal().unwrap()[..]);
            }
        }
    }
}
