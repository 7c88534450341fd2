//! Tests of the whole of `rtcp`.

use super::*;
use crate::ntp::NtpTime;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Reads the one packet of `hex`, in a reduced-size datagram, and hands it to `check`.
fn with_packet(hex: &str, check: impl FnOnce(Result<Packet<'_>, RtcpError>)) {
    let datagram = bytes(hex);
    let compound = Compound::parse(&datagram, Acceptance::ReducedSize).unwrap();
    let mut packets = compound.packets();
    check(packets.next().unwrap());
    assert_eq!(packets.next(), None);
}

#[test]
fn the_rules_of_compound_packets_are_kept() {
    let parse = |hex: &str, acceptance| Compound::parse(&bytes(hex), acceptance).map(|_| ());
    let strict = |hex| parse(hex, Acceptance::Compound);
    let lax = |hex| parse(hex, Acceptance::ReducedSize);
    let pli = "81ce0002 00000001 00000002";
    assert_eq!(strict("80c90001 00000001"), Ok(()));
    assert_eq!(strict(pli), Err(RtcpError::FirstPacket { packet_type: 206 }));
    assert_eq!(lax(pli), Ok(()));
    assert_eq!(lax(""), Err(RtcpError::TooShort { offset: 0, len: 0 }));
    assert_eq!(lax("80c900"), Err(RtcpError::TooShort { offset: 0, len: 3 }));
    assert_eq!(strict("80c90001 00000001 81"), Err(RtcpError::TooShort { offset: 8, len: 1 }));
    assert_eq!(strict("40c90001 00000001"), Err(RtcpError::Version { offset: 0, version: 1 }));
    let version = strict("80c90001 00000001 00000000");
    assert_eq!(version, Err(RtcpError::Version { offset: 8, version: 0 }));
    let length = strict("80c90001 00000001 80c90002 00000001");
    assert_eq!(length, Err(RtcpError::Length { offset: 8, end: 20, len: 16 }));
    assert_eq!(
        length.unwrap_err().to_string(),
        "RTCP packet at offset 8 ends at 20, past the datagram's 16 bytes"
    );
}

#[test]
fn padding_is_for_the_last_packet() {
    let parse = |hex: &str| Compound::parse(&bytes(hex), Acceptance::Compound).map(|_| ());
    assert_eq!(parse("80c90001 00000001 a0c90002 00000001 00000004"), Ok(()));
    let not_last = parse("a0c90002 00000001 00000004 80c90001 00000001");
    assert_eq!(not_last, Err(RtcpError::PaddingNotLast { offset: 0 }));
    for (count, padding) in [("00", 0), ("03", 3), ("0c", 12)] {
        let error = parse(&format!("a0c90002 00000001 000000{count}"));
        assert_eq!(error, Err(RtcpError::Padding { offset: 11, padding, available: 8 }));
    }
    // Padding is no part of the packet.
    let datagram = bytes("a0c90003 00000001 00000000 00000008");
    let compound = Compound::parse(&datagram, Acceptance::Compound).unwrap();
    let raw = compound.raw_packets().next().unwrap();
    assert_eq!((raw.bytes.len(), raw.padding_len, raw.ssrc()), (8, 8, Some(1)));
    let Some(Ok(Packet::ReceiverReport(report))) = compound.packets().next() else { panic!() };
    assert!(report.extension.is_empty());
    // Padding that eats the report makes the report too short.
    let datagram = bytes("a0c90001 00000004");
    let compound = Compound::parse(&datagram, Acceptance::Compound).unwrap();
    assert_eq!(compound.packets().next().unwrap().unwrap_err().name(), "truncated");
}

#[test]
fn sender_reports_are_read() {
    let hex = "81c8000d 00000001 b44db705 20000000 00000002 00000003 00000004 \
               00000007 10fffffb 00010005 0000005a b7052000 00054000 cafebabe";
    with_packet(hex, |packet| {
        let Ok(Packet::SenderReport(report)) = packet else { panic!("{packet:?}") };
        let info = SenderInfo {
            ssrc: 1,
            ntp: NtpTime::from_bits(0xb44d_b705_2000_0000),
            rtp_timestamp: 2,
            packet_count: 3,
            octet_count: 4,
        };
        assert_eq!(report.info, info);
        let block = ReportBlock {
            ssrc: 7,
            fraction_lost: 16,
            cumulative_lost: -5,
            extended_highest_sequence: 0x1_0005,
            jitter: 90,
            last_sr: 0xb705_2000,
            delay_since_last_sr: 0x0005_4000,
        };
        assert_eq!(report.blocks.len(), 1);
        assert_eq!(report.blocks.collect::<Vec<_>>(), [block]);
        assert_eq!(report.extension, [0xca, 0xfe, 0xba, 0xbe]);
    });
    let error = RtcpError::Truncated { packet_type: 200, count: 1, offset: 0, needed: 52, len: 28 };
    with_packet("81c80006 00000001 00000000 00000000 00000000 00000000 00000000", |packet| {
        assert_eq!(packet, Err(error));
    });
}

#[test]
fn cumulative_loss_is_clamped_to_its_24_bits() {
    let written = |cumulative_lost| {
        ReportBlock::from_bytes(&ReportBlock { cumulative_lost, ..ReportBlock::default() }.to_bytes())
            .cumulative_lost
    };
    assert_eq!(written(i32::MAX), 0x7f_ffff);
    assert_eq!(written(i32::MIN), -0x80_0000);
    assert_eq!(written(-1), -1);
}

#[test]
fn a_broken_packet_does_not_hide_those_behind_it() {
    let datagram = bytes("82c90001 00000001 a1cd0001 ef000000 81cb0001 00000001");
    assert_eq!(
        Compound::parse(&datagram, Acceptance::Compound),
        Err(RtcpError::PaddingNotLast { offset: 8 })
    );
    let datagram = bytes("82c90001 00000001 81cd0001 ef000000 81cb0001 00000001");
    let compound = Compound::parse(&datagram, Acceptance::Compound).unwrap();
    let packets: Vec<_> =
        compound.packets().map(|packet| packet.map(|packet| packet.name()).map_err(|e| e.name())).collect();
    assert_eq!(packets, [Err("truncated"), Err("truncated"), Ok("bye")]);
}

#[test]
fn source_descriptions_are_read() {
    // Two chunks: CNAME and TOOL, then CNAME that fills its words up to the terminator's own word.
    let hex = "82ca0008 00000001 01026162 06017800 00000002 01066364 65666768 00000000 00000000";
    with_packet(hex, |packet| {
        let Ok(Packet::Sdes(sdes)) = packet else { panic!("{packet:?}") };
        assert_eq!(sdes.cname(1), Some(&b"ab"[..]));
        assert_eq!(sdes.cname(2), Some(&b"cdefgh"[..]));
        assert_eq!(sdes.cname(3), None);
        let first = sdes.chunks().next().unwrap().unwrap();
        let items: Vec<_> = first.items().map(|item| (item.item_type, item.text)).collect();
        assert_eq!(items, [(sdes_type::CNAME, &b"ab"[..]), (sdes_type::TOOL, &b"x"[..])]);
    });
    // Without the terminator, the packet ends right behind the item.
    with_packet("81ca0002 00000001 01026162", |packet| {
        let Ok(Packet::Sdes(sdes)) = packet else { panic!("{packet:?}") };
        assert_eq!(sdes.cname(1), Some(&b"ab"[..]));
    });
    with_packet("81ca0002 00000001 01036162", |packet| {
        assert_eq!(packet, Err(RtcpError::SdesItem { item_type: 1, offset: 8, end: 12 }));
    });
    with_packet("81ca0002 00000001 01016101", |packet| {
        assert_eq!(packet, Err(RtcpError::SdesItem { item_type: 1, offset: 11, end: 12 }));
    });
    with_packet("82ca0002 00000001 00000000", |packet| {
        assert_eq!(packet.unwrap_err().name(), "truncated", "one chunk of two");
    });
    with_packet("80ca0000", |packet| assert!(matches!(packet, Ok(Packet::Sdes(_)))));
}

#[test]
fn goodbyes_are_read() {
    with_packet("82cb0004 00000001 00000002 06627965 20210000", |packet| {
        let Ok(Packet::Bye(bye)) = packet else { panic!("{packet:?}") };
        assert_eq!(bye.sources().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(bye.reason, Some(&b"bye !\0"[..]));
    });
    with_packet("81cb0002 00000001 04627965", |packet| {
        assert_eq!(packet.unwrap_err().name(), "truncated", "the reason passes the end");
    });
    with_packet("82cb0001 00000001", |packet| assert_eq!(packet.unwrap_err().name(), "truncated"));
    with_packet("80cb0000", |packet| assert!(matches!(packet, Ok(Packet::Bye(_)))));
}

#[test]
fn lost_packets_are_named_by_nacks() {
    with_packet("81cd0004 00000001 00000002 fffe8001 00050000", |packet| {
        let Ok(Packet::Nack(nack)) = packet else { panic!("{packet:?}") };
        assert_eq!((nack.sender_ssrc, nack.media_ssrc), (1, 2));
        assert_eq!(nack.lost().collect::<Vec<_>>(), [65_534, 65_535, 14, 5]);
    });
    assert_eq!(NackPair { packet_id: 65_535, bitmask: 0xffff }.lost().count(), 17);
}

#[test]
fn other_feedback_is_read() {
    with_packet("84ce0004 00000001 00000000 00000007 2a000000", |packet| {
        let Ok(Packet::Fir(fir)) = packet else { panic!("{packet:?}") };
        assert_eq!(fir.entries().collect::<Vec<_>>(), [FirEntry { ssrc: 7, sequence: 42 }]);
    });
    // Exponent 8, mantissa 0x31234.
    with_packet("8fce0006 00000001 00000000 52454d42 02231234 00000002 00000003", |packet| {
        let Ok(Packet::Remb(remb)) = packet else { panic!("{packet:?}") };
        assert_eq!(remb.bitrate, 0x3_1234 << 8);
        assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [2, 3]);
    });
    with_packet("8fce0004 00000001 00000000 52454d42 00ffffff", |packet| {
        let Ok(Packet::Remb(remb)) = packet else { panic!("{packet:?}") };
        assert_eq!(remb.bitrate, u64::MAX, "a bitrate that does not fit");
    });
    with_packet("8fce0003 00000001 00000000 41424344", |packet| {
        assert!(matches!(packet, Ok(Packet::Unknown(_))), "other application-layer feedback");
    });
    with_packet("8fcd0005 00000001 00000002 00050003 ffffff03 20036464", |packet| {
        let Ok(Packet::TransportCc(feedback)) = packet else { panic!("{packet:?}") };
        assert_eq!((feedback.base_sequence, feedback.status_count), (5, 3));
        assert_eq!((feedback.reference_time, feedback.feedback_count), (-1, 3));
        assert_eq!(feedback.data, [0x20, 0x03, 0x64, 0x64]);
    });
    with_packet("85cc0003 00000001 6e616d65 01020304", |packet| {
        let expected = App { subtype: 5, ssrc: 1, name: *b"name", data: &[1, 2, 3, 4] };
        assert_eq!(packet, Ok(Packet::App(expected)));
    });
    with_packet("80cf0005 00000001 04000002 01020304 05060708 ff070000", |packet| {
        let Ok(Packet::Xr(report)) = packet else { panic!("{packet:?}") };
        let blocks: Vec<_> = report.blocks().map(Result::unwrap).collect();
        let rrt = XrBlock { block_type: 4, type_specific: 0, data: &[1, 2, 3, 4, 5, 6, 7, 8] };
        assert_eq!(blocks, [rrt, XrBlock { block_type: 255, type_specific: 7, data: &[] }]);
    });
    with_packet("80cf0002 00000001 04000001", |packet| {
        assert_eq!(packet, Err(RtcpError::XrBlock { block_type: 4, offset: 8, end: 12 }));
    });
}

/// These make the `rtcp` crate 0.17.2 panic.
#[test]
fn packets_that_trip_other_parsers_are_errors() {
    let name = |hex: &str| {
        let mut name = "";
        with_packet(hex, |packet| name = packet.unwrap_err().name());
        name
    };
    // REMB with more sources than there are.
    assert_eq!(name("8fce0004 00000001 00000000 52454d42 34974f31"), "truncated");
    // NACK without media source: as it stands its padding is wrong already.
    let datagram = bytes("a1cd0001 ef000000");
    let error = Compound::parse(&datagram, Acceptance::ReducedSize).unwrap_err();
    assert_eq!(error, RtcpError::Padding { offset: 7, padding: 0, available: 4 });
    assert_eq!(name("81cd0001 ef000000"), "truncated");
    assert_eq!(name("81cd0002 ef000000 00000000"), "truncated");
    // FIR without media source, without entries, with half an entry.
    assert_eq!(name("84ce0001 48ec1900"), "truncated");
    assert_eq!(name("84ce0002 48ec1900 00000000"), "truncated");
    assert_eq!(name("84ce0003 48ec1900 00000000 00000000"), "entries");
    assert_eq!(name("81ce0001 00000001"), "truncated");
    assert_eq!(name("8fcd0003 00000001 00000002 00050003"), "truncated");
    assert_eq!(name("85cc0001 00000001"), "truncated");
    assert_eq!(name("80cf0000"), "truncated");
}

#[test]
fn written_packets_have_the_bytes_of_the_rfcs() {
    let mut buffer = [0xee; 256];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.is_empty());
    writer.receiver_report(1, &[]).unwrap();
    assert_eq!(writer.as_bytes(), bytes("80c90001 00000001"));
    writer.sdes_cname(1, "abc").unwrap();
    let cname = "81ca0003 00000001 01036162 63000000";
    assert_eq!(&writer.as_bytes()[8..], bytes(cname));
    writer.bye(&[1], "bye").unwrap();
    assert_eq!(&writer.as_bytes()[24..], bytes("81cb0002 00000001 03627965"));
    writer.pli(1, 2).unwrap().fir(1, &[FirEntry { ssrc: 7, sequence: 42 }]).unwrap();
    let expected = "81ce0002 00000001 00000002 84ce0004 00000001 00000000 00000007 2a000000";
    assert_eq!(&writer.as_bytes()[36..], bytes(expected));
    let start = writer.len();
    writer.nack(1, 2, &[65_534, 65_535, 65_535, 14, 15, 5]).unwrap();
    assert_eq!(&writer.finish()[start..], bytes("81cd0005 00000001 00000002 fffe8001 000f0000 00050000"));
}

#[test]
fn a_packet_that_does_not_fit_leaves_the_others() {
    let mut buffer = [0xee; 20];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(1, &[]).unwrap();
    let error = writer.sdes_cname(1, "abc").unwrap_err();
    assert_eq!(error, RtcpWriteError::BufferTooSmall { packet_type: 202, needed: 16, available: 12 });
    assert_eq!(writer.len(), 8);
    writer.pli(1, 2).unwrap();
    assert_eq!(writer.pli(1, 2).unwrap_err().name(), "buffer_too_small");
    assert_eq!(writer.len(), 20);
}

#[test]
fn what_the_format_cannot_say_is_refused() {
    let mut buffer = [0; 4_096];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(writer.receiver_report(1, &[ReportBlock::default(); 32]).unwrap_err().name(), "count");
    assert_eq!(
        writer.sender_report(&SenderInfo::default(), &[ReportBlock::default(); 32]).unwrap_err().name(),
        "count"
    );
    assert_eq!(writer.bye(&[0; 32], "").unwrap_err().name(), "count");
    assert_eq!(writer.bye(&[0], [0; 256]).unwrap_err().name(), "text");
    assert_eq!(writer.sdes_cname(1, [0; 256]).unwrap_err().name(), "text");
    assert_eq!(writer.nack(1, 2, &[]).unwrap_err().name(), "count");
    assert_eq!(writer.fir(1, &[]).unwrap_err().name(), "count");
    assert!(writer.is_empty());
    writer.receiver_report(1, &[ReportBlock::default(); 31]).unwrap();
    writer.sdes_cname(1, [b'x'; 255]).unwrap().bye(&[0; 31], [b'y'; 255]).unwrap();
    let compound = Compound::parse(writer.as_bytes(), Acceptance::Compound).unwrap();
    assert!(compound.packets().all(|packet| packet.is_ok()));
}
