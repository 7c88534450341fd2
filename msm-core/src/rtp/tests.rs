//! Tests of the whole of `rtp`.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn elements(view: &RtpView<'_>) -> Vec<Result<(u8, Vec<u8>), &'static str>> {
    let each = |element: Element<'_>| (element.id, element.data.to_vec());
    view.extensions().map(|item| item.map(each).map_err(|error| error.name())).collect()
}

#[test]
fn rtcp_is_told_by_its_second_byte() {
    for byte in 0..=255_u8 {
        assert_eq!(is_rtcp(byte), (192..=223).contains(&byte), "{byte}");
    }
}

#[test]
fn a_header_stays_small() {
    assert!(size_of::<Header>() <= 20, "tables of segments keep one for each packet");
}

#[test]
fn a_plain_packet_is_read() {
    let packet = bytes("80e0 ffff deadbeef 12345678 0a0b0c");
    let view = RtpView::parse(&packet).unwrap();
    let expected = Header {
        marker: true,
        payload_type: 96,
        csrc_count: 0,
        padding_len: 0,
        sequence: 65_535,
        payload_offset: 12,
        payload_len: 3,
        timestamp: 0xdead_beef,
        ssrc: 0x1234_5678,
    };
    assert_eq!(view.header(), expected);
    assert_eq!(view.payload(), [10, 11, 12]);
    assert_eq!(view.extension(), None);
    assert_eq!(view.csrcs().len(), 0);
    assert_eq!(view.header().marker_pt(), 0xe0);
    assert_eq!(view.as_bytes(), packet);
}

#[test]
fn all_parts_of_variable_length_are_read_together() {
    let packet = bytes("b260 0001 00000002 00000003 0000000a 0000000b bede0001 10aa0000 0102 000003");
    let view = RtpView::parse(&packet).unwrap();
    assert_eq!(view.csrcs().collect::<Vec<_>>(), [10, 11]);
    assert_eq!(view.extension(), Some((0xbede, &[0x10, 0xaa, 0, 0][..])));
    assert_eq!(elements(&view), [Ok((1, vec![0xaa]))]);
    assert_eq!(view.payload(), [1, 2]);
    assert_eq!(view.padding_len(), 3);
    assert_eq!(view.header().packet_len(), packet.len());
}

#[test]
fn what_is_out_of_place_is_named_with_its_offset() {
    let error = |hex| Header::parse(&bytes(hex)).unwrap_err();
    assert_eq!(error(""), RtpError::TooShort { len: 0 });
    assert_eq!(error("8060 0001 00000002 000003"), RtpError::TooShort { len: 11 });
    assert_eq!(error("0060 0001 00000002 00000003"), RtpError::Version { version: 0 });
    assert_eq!(error("c060 0001 00000002 00000003"), RtpError::Version { version: 3 });
    let csrcs = error("8260 0001 00000002 00000003 00000004 000000");
    assert_eq!(csrcs, RtpError::CsrcList { end: 20, len: 19 });
    let extension = error("9160 0001 00000002 00000003 00000004 bede00");
    assert_eq!(extension, RtpError::Extension { offset: 16, end: 20, len: 19 });
    let extension = error("9060 0001 00000002 00000003 bede0002 00000000");
    assert_eq!(extension, RtpError::Extension { offset: 12, end: 24, len: 20 });
    assert_eq!(extension.to_string(), "header extension at offset 12 ends at 24, past the packet's 20 bytes");
    let padding = error("a060 0001 00000002 00000003 010200");
    assert_eq!(padding, RtpError::Padding { offset: 14, padding: 0, available: 3 });
    let padding = error("a060 0001 00000002 00000003 010204");
    assert_eq!(padding, RtpError::Padding { offset: 14, padding: 4, available: 3 });
    // Nothing behind the header: the last byte is not a count but a part of the SSRC.
    let padding = error("a060 0001 00000002 00000003");
    assert_eq!(padding, RtpError::Padding { offset: 11, padding: 3, available: 0 });
    assert_eq!(Header::parse(&[0x80; 65_536]), Err(RtpError::TooLong { len: 65_536 }));
    assert!(Header::parse(&[0x80; 65_535]).is_ok());
}

#[test]
fn padding_may_be_all_there_is() {
    let packet = bytes("a060 0001 00000002 00000003 00000004");
    let view = RtpView::parse(&packet).unwrap();
    assert_eq!((view.payload().len(), view.padding_len()), (0, 4));
}

#[test]
fn the_examples_of_rfc_8285_are_read() {
    // §4.2: lengths 1, 2 with padding between, 4.
    let one = bytes("9060 0001 00000002 00000003 bede0003 10aa 21bbcc 0000 33 dddddddd");
    let view = RtpView::parse(&one).unwrap();
    let expected = [Ok((1, vec![0xaa])), Ok((2, vec![0xbb, 0xcc])), Ok((3, vec![0xdd; 4]))];
    assert_eq!(elements(&view), expected);
    assert_eq!(view.element(3), Some(&[0xdd; 4][..]));
    assert_eq!(view.element(4), None);
    // §4.3: lengths 0, 1 with padding behind, 4; any application bits.
    for profile in ["1000", "1007", "100f"] {
        let two =
            [bytes("9060 0001 00000002 00000003"), bytes(profile), bytes("0003 0100 0201bb 00 0304dddddddd")]
                .concat();
        let expected = [Ok((1, vec![])), Ok((2, vec![0xbb])), Ok((3, vec![0xdd; 4]))];
        assert_eq!(elements(&RtpView::parse(&two).unwrap()), expected);
    }
}

#[test]
fn reserved_identifiers_end_the_extension_and_not_the_packet() {
    for stop in ["f0", "ff", "07"] {
        let packet =
            [bytes("9060 0001 00000002 00000003 bede0002 10aa"), bytes(stop), bytes("10bb10cc00 0102")]
                .concat();
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(elements(&view), [Ok((1, vec![0xaa]))]);
        assert_eq!(view.payload(), [1, 2], "the tail of the extension is no payload");
    }
}

#[test]
fn other_profiles_have_no_elements() {
    let packet = bytes("9060 0001 00000002 00000003 abac0001 10aa0000");
    let view = RtpView::parse(&packet).unwrap();
    assert_eq!(view.extension(), Some((0xabac, &[0x10, 0xaa, 0, 0][..])));
    assert_eq!(view.extensions().next(), None);
}

/// These make the `rtp` crate 0.17.2 panic, or read payload as extension.
#[test]
fn packets_that_trip_other_parsers_are_bounded() {
    let packet = bytes("9060 0001 00000001 00000002 bede0001 1f000000");
    let view = RtpView::parse(&packet).unwrap();
    let error = view.extensions().next().unwrap().unwrap_err();
    assert_eq!(error, RtpError::Element { id: 1, offset: 0, end: 17, len: 4 });
    assert_eq!(view.extensions().count(), 1, "an error ends the iteration");
    assert_eq!(view.element(1), None);

    let packet = bytes("9035 0001 00000001 00000002 10000001 000000d5");
    let view = RtpView::parse(&packet).unwrap();
    assert_eq!(elements(&view), [Err("extension_element")]);

    let packet = bytes("9060 0001 00000001 00000002 bede0001 15aabbcc 01020304");
    let view = RtpView::parse(&packet).unwrap();
    assert_eq!(elements(&view), [Err("extension_element")]);
    assert_eq!(view.payload(), [1, 2, 3, 4], "payload stays payload");

    for refused in ["0060 0001 00000001 00000002 00000000", "a060 0001 00000001 00000002 00000000"] {
        assert!(RtpView::parse(&bytes(refused)).is_err());
    }
}

#[test]
fn patching_leaves_short_packets_alone() {
    let mut short = [7; 11];
    patch_header(&mut short, 1, 2, 3, 4);
    assert_eq!(short, [7; 11]);
    let mut packet = bytes("9060 0001 00000001 00000002 bede0001 10aa0000 01");
    patch_header(&mut packet, 0xe1, 0x0203, 0x0405_0607, 0x0809_0a0b);
    assert_eq!(packet, bytes("90e1 0203 04050607 08090a0b bede0001 10aa0000 01"));
}

#[test]
fn fields_are_set_one_by_one() {
    let mut packet = bytes("9060 0001 00000001 00000002 bede0001 21aabb00 01");
    let mut rewriter = RtpRewriter::parse(&mut packet).unwrap();
    rewriter.set_marker(true);
    rewriter.set_payload_type(0xff);
    assert_eq!(rewriter.as_bytes()[1], 0xff);
    rewriter.set_marker(false);
    rewriter.set_sequence(0x1234);
    rewriter.set_timestamp(0x0102_0304);
    rewriter.set_ssrc(0xffee_ddcc);
    assert!(rewriter.set_element(2, &[1, 2]));
    assert!(!rewriter.set_element(2, &[1]) && !rewriter.set_element(3, &[1, 2]));
    assert_eq!(rewriter.header().payload_type, 127);
    assert_eq!(packet, bytes("907f 1234 01020304 ffeeddcc bede0001 21010200 01"));
}

#[test]
fn a_rewriter_with_another_packets_header_stays_in_bounds() {
    let long = bytes("9060 0001 00000001 00000002 bede0001 21aabb00 01");
    let header = Header::parse(&long).unwrap();
    for len in 0..long.len() {
        let mut packet = long[..len].to_vec();
        let mut rewriter = RtpRewriter::new(&mut packet, header);
        rewriter.set_sequence(9);
        assert_eq!(rewriter.element_mut(2).is_some(), len >= 20);
        assert!(header.payload(&packet).is_empty());
    }
}

#[test]
fn the_builder_refuses_what_the_format_cannot_say() {
    let name = |builder: RtpBuilder<'_>| builder.write(&mut [0; 70_000]).unwrap_err().name();
    let base = RtpBuilder::default();
    assert_eq!(name(RtpBuilder { payload_type: 128, ..base }), "payload_type");
    assert_eq!(name(RtpBuilder { csrcs: &[0; 16], ..base }), "csrc_count");
    assert_eq!(name(RtpBuilder { payload: &[0; 65_524], ..base }), "too_long");
    for (id, len) in [(0_u8, 1), (15, 1), (1, 0), (1, 17)] {
        let elements = [(id, &[0; 17][..len])];
        assert_eq!(
            name(RtpBuilder { extension: ExtensionBlock::OneByte(&elements), ..base }),
            "extension_element"
        );
    }
    for (id, len) in [(0_u8, 1), (1, 256)] {
        let elements = [(id, &[0; 256][..len])];
        assert_eq!(
            name(RtpBuilder { extension: ExtensionBlock::TwoByte(&elements), ..base }),
            "extension_element"
        );
    }
    let raw = ExtensionBlock::Raw { profile: 1, data: &[0; 3] };
    assert_eq!(name(RtpBuilder { extension: raw, ..base }), "extension_length");
    let mut small = [7; 13];
    let packet = RtpBuilder { payload: &[1, 2], ..base };
    let error = packet.write(&mut small).unwrap_err();
    assert_eq!(error, RtpWriteError::BufferTooSmall { needed: 14, available: 13 });
    assert_eq!(small, [7; 13], "nothing was written");
    let mut small = [7; 11];
    assert!(write_header(&mut small, false, 0, 0, 0, 0).is_err());
    assert_eq!(small, [7; 11], "nothing was written");
}
