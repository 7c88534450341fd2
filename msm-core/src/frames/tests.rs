//! Frames that another implementation has put into packets, whole and with some missing; and bytes that are none.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rtp::codecs::{
    av1::Av1Payloader, h264::H264Payloader, h265::HevcPayloader, vp8::Vp8Payloader, vp9::Vp9Payloader,
};
use rtp::packetizer::Payloader;

use super::order::WAITING;
use super::*;

const MTU: usize = 100;

fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Bytes {
    let mut packet = vec![0x80, if marker { 0x80 } else { 0 } | 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&7u32.to_be_bytes());
    packet.extend_from_slice(payload);
    packet.into()
}

/// The packets of frames, each with the number of its frame.
fn packets(payloader: &mut dyn Payloader, frames: &[Bytes], first: u16) -> Vec<(usize, Bytes)> {
    let mut all = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let payloads = payloader.payload(MTU, frame).unwrap();
        let last = payloads.len() - 1;
        for (index, payload) in payloads.iter().enumerate() {
            let sequence = first.wrapping_add(all.len() as u16);
            all.push((number, packet(sequence, 3000 * number as u32, index == last, payload)));
        }
    }
    all
}

fn assemble(format: Format, packets: impl IntoIterator<Item = Bytes>) -> (Vec<Frame>, u64) {
    let mut assembler = Assembler::new(format);
    let mut frames = Vec::new();
    for packet in packets {
        assembler.handle_packet(&packet);
        frames.extend(std::iter::from_fn(|| assembler.poll_frame()));
    }
    assembler.handle_end();
    frames.extend(std::iter::from_fn(|| assembler.poll_frame()));
    (frames, assembler.left_out())
}

/// A unit with a start code; nothing in it looks like one.
fn unit(header: &[u8], length: usize, seed: usize) -> Vec<u8> {
    let mut unit = vec![0, 0, 0, 1];
    unit.extend_from_slice(header);
    // The first slice of its picture.
    unit.push(0x88);
    unit.extend((0..length).map(|at| (at * 31 + seed) as u8 | 1));
    unit
}

/// A keyframe with parameter sets, and others; some as long as several packets.
fn h264_frames() -> Vec<Bytes> {
    let keyframe = [unit(&[0x67], 8, 1), unit(&[0x68], 3, 2), unit(&[0x65], 700, 3)].concat();
    let others = (0..20).map(|number| unit(&[0x41], 20 + 45 * (number % 7), number));
    std::iter::once(keyframe).chain(others).map(Bytes::from).collect()
}

fn h265_frames() -> Vec<Bytes> {
    let sets = [unit(&[0x40, 1], 6, 1), unit(&[0x42, 1], 8, 2), unit(&[0x44, 1], 3, 3)].concat();
    let keyframe = [sets, unit(&[0x26, 1], 700, 4)].concat();
    // None whose last piece is as long as a piece can be: the other implementation does not mark that as the last.
    let others = (0..20).map(|number| unit(&[0x02, 1], 20 + 46 * (number % 7), number));
    std::iter::once(keyframe).chain(others).map(Bytes::from).collect()
}

/// Temporal units; OBUs have sizes.
fn av1_frames() -> Vec<Bytes> {
    let obu = |kind: u8, length: usize, seed: usize| {
        let mut obu = vec![kind << 3 | 2];
        if length >= 0x80 {
            obu.push(length as u8 | 0x80);
        }
        obu.push((if length >= 0x80 { length >> 7 } else { length }) as u8);
        obu.extend((0..length).map(|at| (at * 31 + seed) as u8));
        obu
    };
    let delimiter = vec![0x12, 0];
    let keyframe = [delimiter.clone(), obu(1, 11, 1), obu(6, 700, 2)].concat();
    let others = (0..20).map(|number| [delimiter.clone(), obu(6, 20 + 45 * (number % 7), number)].concat());
    std::iter::once(keyframe).chain(others).map(Bytes::from).collect()
}

fn vp8_frames() -> Vec<Bytes> {
    let frame = |key: bool, length: usize, seed: usize| {
        let mut frame = vec![u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a];
        frame.extend((0..length).map(|at| (at * 31 + seed) as u8));
        Bytes::from(frame)
    };
    (0..20).map(|number| frame(number == 0, 20 + 145 * (number % 7), number)).collect()
}

fn vp9_frames() -> Vec<Bytes> {
    // The other implementation says of each that it needs no other.
    (0..20usize)
        .map(|number| {
            let header = if number == 0 { 0x82 } else { 0x86 };
            let mut frame = vec![header];
            frame.extend((0..20 + 145 * (number % 7)).map(|at| (at * 31 + number) as u8));
            Bytes::from(frame)
        })
        .collect()
}

fn each_format() -> Vec<(Format, Box<dyn Payloader + Send + Sync>, Vec<Bytes>)> {
    vec![
        (Format::H264, Box::<H264Payloader>::default(), h264_frames()),
        (Format::H265, Box::<HevcPayloader>::default(), h265_frames()),
        (Format::Av1, Box::<Av1Payloader>::default(), av1_frames()),
        (Format::Vp8, Box::<Vp8Payloader>::default(), vp8_frames()),
        (Format::Vp9, Box::<Vp9Payloader>::default(), vp9_frames()),
    ]
}

#[test]
fn what_another_implementation_has_taken_apart_is_put_together() {
    for (format, mut payloader, frames) in each_format() {
        // Across the end of the numbers.
        let packets = packets(&mut *payloader, &frames, 65_500);
        assert!(packets.len() > 2 * frames.len(), "{format:?}");
        let (got, left_out) = assemble(format, packets.into_iter().map(|(_, packet)| packet));
        assert_eq!((got.len(), left_out), (frames.len(), 0), "{format:?}");
        for (number, (got, wanted)) in got.iter().zip(&frames).enumerate() {
            assert_eq!(got.data, wanted, "{format:?} {number}");
            assert_eq!((got.timestamp, got.after_loss), (3000 * number as u32, false));
            assert_eq!(got.keyframe, number == 0, "{format:?} {number}");
        }
    }
}

#[test]
fn frames_without_a_marker_end_where_the_next_begins() {
    let mut payloader = H264Payloader::default();
    let packets = packets(&mut payloader, &h264_frames(), 1).into_iter().map(|(_, packet)| {
        let mut packet = packet.to_vec();
        packet[1] &= 0x7f;
        Bytes::from(packet)
    });
    let (got, left_out) = assemble(Format::H264, packets);
    assert!(got.iter().map(|frame| &frame.data).eq(&h264_frames()));
    assert_eq!(left_out, 0);
}

#[test]
fn keyframes_have_the_parameter_sets_of_the_description_unless_they_have_their_own() {
    let own = h264_frames().swap_remove(0);
    let bare = |seed| Bytes::from(unit(&[0x65], 150, seed));
    let mut payloader = H264Payloader::default();
    let frames = [own.clone(), bare(1), Bytes::from(unit(&[0x41], 50, 2))];
    let mut assembler = Assembler::new(Format::H264);
    assembler.set_parameter_sets([&[0x67, 9][..], &[0x68, 8]]);
    let packets = packets(&mut payloader, &frames, 0);
    for (_, packet) in &packets {
        assembler.handle_packet(packet);
    }
    let next = packets.len() as u16;
    assembler.handle_packet(&packet(next, 9000, false, &[0x09, 0xf0]));
    assembler.handle_packet(&packet(next + 1, 9000, true, &bare(3)[4..]));
    let sets = [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68, 8];
    let with_sets = |rest: &[u8]| [&sets, rest].concat();
    let mut wanted = vec![own.to_vec(), with_sets(&frames[1]), frames[2].to_vec()];
    // Behind the delimiter, where there is one.
    wanted.push([&[0, 0, 0, 1, 0x09, 0xf0][..], &with_sets(&bare(3))].concat());
    let got: Vec<_> =
        std::iter::from_fn(|| assembler.poll_frame()).map(|frame| frame.data.to_vec()).collect();
    assert_eq!(got, wanted);
}

#[test]
fn aggregates_are_taken_apart_and_those_that_lie_left_out() {
    let stap = |tail: &[u8]| [&[0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3], tail].concat();
    let whole = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3];
    let one = |payload: &[u8]| assemble(Format::H264, [packet(1, 0, true, payload)]);
    let (got, left_out) = one(&stap(&[]));
    assert_eq!((&got[0].data[..], left_out), (&whole[..], 0));
    // One byte more than units, one unit longer than the packet, one without a byte, and none at all.
    for payload in [&stap(&[0])[..], &stap(&[0, 9, 1]), &stap(&[0, 0]), &[0x78]] {
        assert_eq!(one(payload), (Vec::new(), 1), "{payload:?}");
    }
}

#[test]
fn pieces_without_a_beginning_or_an_end_are_no_frame() {
    let piece =
        |sequence, timestamp, fu, marker| packet(sequence, timestamp, marker, &[0x7c, fu, 0x88, 1, 2]);
    let all = [
        // Its beginning is missing; then its end, two ways.
        piece(1, 0, 0x45, true),
        piece(2, 1, 0x85, true),
        piece(3, 2, 0x85, false),
        // Begins and ends; begins twice.
        piece(4, 3, 0xc5, true),
        piece(5, 4, 0x85, false),
        piece(6, 4, 0x85, false),
        piece(7, 4, 0x45, true),
        // And one that is whole.
        piece(8, 5, 0x85, false),
        piece(9, 5, 0x45, true),
    ];
    let (got, left_out) = assemble(Format::H264, all);
    assert_eq!((got.len(), left_out), (1, 5));
    assert!(got[0].after_loss && got[0].keyframe && got[0].timestamp == 5);
    assert_eq!(&got[0].data[..], [0, 0, 0, 1, 0x65, 0x88, 1, 2, 0x88, 1, 2]);
}

/// Timestamps of what comes of H.264 packets with these numbers, timestamps, markers and payloads, and whether something was lost before.
fn came(format: Format, packets: &[(u16, u32, bool, &[u8])]) -> Vec<(u32, bool)> {
    let packets = packets
        .iter()
        .map(|(sequence, timestamp, marker, payload)| packet(*sequence, *timestamp, *marker, payload));
    assemble(format, packets).0.iter().map(|frame| (frame.timestamp, frame.after_loss)).collect()
}

const SLICE: &[u8] = &[0x41, 0x88, 1];
const NEXT_SLICE: &[u8] = &[0x41, 0x48, 1];

#[test]
fn a_picture_that_its_source_left_off_in_is_no_frame() {
    // Another source has taken over in the middle of the second one: numbers go on.
    let all = [(1, 0, false, SLICE), (2, 0, true, NEXT_SLICE), (3, 1, false, SLICE), (4, 5, true, SLICE)];
    assert_eq!(came(Format::H264, &all), [(0, false), (5, true)]);
    // And it begins in the middle of one.
    let all = [(1, 0, true, SLICE), (2, 5, true, NEXT_SLICE), (3, 6, true, SLICE)];
    assert_eq!(came(Format::H264, &all), [(0, false), (6, true)]);
}

#[test]
fn what_stands_before_a_picture_begins_it_after_a_loss() {
    let delimiter: &[u8] = &[0x09, 0xf0, 0];
    let all = [(1, 0, true, SLICE), (3, 6, false, delimiter), (4, 6, true, SLICE)];
    assert_eq!(came(Format::H264, &all), [(0, false), (6, true)]);
    let delimiter: &[u8] = &[0x46, 0x01, 0x50];
    let slice: &[u8] = &[0x02, 0x01, 0x88, 1];
    let all = [(1, 0, true, slice), (3, 6, false, delimiter), (4, 6, true, slice)];
    assert_eq!(came(Format::H265, &all), [(0, false), (6, true)]);
}

#[test]
fn tiles_without_their_frame_header_are_no_frame() {
    // N and a sequence header; a frame header; then only tiles are left of a unit, and one is whole again.
    let (first, frame, tiles): (&[u8], &[u8], &[u8]) =
        (&[0x18, 0x0a, 1, 2], &[0x10, 0x30, 1, 2], &[0x10, 0x20, 1, 2]);
    let all = [(1, 0, false, first), (2, 0, true, frame), (4, 1, true, tiles), (5, 2, true, frame)];
    assert_eq!(came(Format::Av1, &all), [(0, false), (2, true)]);
}

#[test]
fn a_keyframe_that_lacks_half_of_its_parameter_sets_gets_those_of_the_description() {
    let mut assembler = Assembler::new(Format::H264);
    assembler.set_parameter_sets([&[0x67, 9][..], &[0x68, 8]]);
    // The packet between is lost: it had the other one.
    for (sequence, timestamp, marker, payload) in
        [(1, 0, true, SLICE), (3, 6, false, &[0x68, 7, 7][..]), (4, 6, true, &[0x65, 0x88, 1])]
    {
        assembler.handle_packet(&packet(sequence, timestamp, marker, payload));
    }
    assembler.handle_end();
    let frames: Vec<_> = std::iter::from_fn(|| assembler.poll_frame()).collect();
    let sets = [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68, 8];
    assert_eq!(frames[1].data[..12], sets);
    assert!(frames[1].keyframe && frames[1].after_loss);
}

#[test]
fn other_payload_types_lie_between_frames_and_break_none() {
    let mut assembler = Assembler::new(Format::H264);
    assembler.set_payload_types(vec![96]);
    let other = |sequence, timestamp| {
        let mut other = packet(sequence, timestamp, false, b"something else").to_vec();
        other[1] = 97;
        Bytes::from(other)
    };
    let all = [
        packet(1, 0, false, SLICE),
        other(2, 0),
        packet(3, 0, true, NEXT_SLICE),
        other(4, 0),
        packet(5, 1, true, SLICE),
    ];
    for packet in &all {
        assembler.handle_packet(packet);
    }
    let frames: Vec<_> = std::iter::from_fn(|| assembler.poll_frame()).collect();
    let told: Vec<_> =
        frames.iter().map(|frame| (frame.timestamp, frame.payload_type, frame.after_loss)).collect();
    assert_eq!((&told[..], assembler.left_out()), (&[(0, 96, false), (1, 96, false)][..], 0));
}

#[test]
fn a_frame_that_never_ends_is_left_out_and_kept_no_longer() {
    let mut assembler = Assembler::new(Format::H264);
    assembler.set_max_bytes(1000);
    let pieces = (0..100u16).map(|number| {
        let fu = if number == 0 { 0x85 } else { 0x05 };
        packet(number, 0, false, &[&[0x7c, fu][..], &[0x88; 100]].concat())
    });
    for piece in pieces {
        assembler.handle_packet(&piece);
        let kept = assembler.building.as_ref().map_or(0, |building| building.parts.data.capacity());
        assert!(kept <= 2048, "{kept}");
    }
    assembler.handle_end();
    assert_eq!((assembler.poll_frame(), assembler.left_out()), (None, 1));
}

const HBR: &str = "streamtype=5; mode=AAC-hbr; config=1190; SizeLength=13; IndexLength=3; IndexDeltaLength=3";

/// A payload of units, of which each header has 13 bits of size and 3 of index.
fn aac(sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let mut payload = ((16 * sizes.len()) as u16).to_be_bytes().to_vec();
    sizes.iter().for_each(|size| payload.extend_from_slice(&((size << 3) as u16).to_be_bytes()));
    payload.extend_from_slice(data);
    payload
}

#[test]
fn units_of_aac_come_one_by_one_and_from_pieces() {
    let format = Format::of("MPEG4-GENERIC", HBR).unwrap();
    let big: Vec<u8> = (0..250).collect();
    let all = [
        packet(1, 1000, true, &aac(&[3, 0, 2], &[1, 2, 3, 4, 5])),
        packet(2, 4072, false, &aac(&[250], &big[..100])),
        packet(3, 4072, false, &aac(&[250], &big[100..200])),
        packet(4, 4072, true, &aac(&[250], &big[200..])),
        // Its sizes do not fit; its headers are no headers; a piece is too long.
        packet(5, 5096, true, &aac(&[3, 4], &[1; 6])),
        packet(6, 6120, true, &[0, 15, 0, 24, 1, 2, 3]),
        packet(7, 7144, false, &aac(&[250], &big[..200])),
        packet(8, 7144, true, &aac(&[250], &big[..100])),
        packet(9, 8168, true, &aac(&[1], &[9])),
    ];
    let (got, left_out) = assemble(format, all);
    let got: Vec<_> = got.iter().map(|frame| (frame.timestamp, &frame.data[..], frame.after_loss)).collect();
    let wanted: [(u32, &[u8], bool); 4] =
        [(1000, &[1, 2, 3], false), (2024, &[4, 5], false), (4072, &big, false), (8168, &[9], true)];
    assert_eq!((&got[..], left_out), (&wanted[..], 3));
    for (encoding, parameters) in [("H264", "packetization-mode=2"), ("H265", "sprop-max-don-diff=1")] {
        assert_eq!(Format::of(encoding, parameters), None);
    }
    for other in ["mode=generic", "sizelength=13;ctsdeltalength=4", "sizelength=99", "sizelength=x"] {
        assert_eq!(Format::of("mpeg4-generic", other), None, "{other}");
    }
}

#[test]
fn what_spans_no_packets_is_a_frame_each() {
    assert_eq!(Format::of("opus", "stereo=1"), Some(Format::Whole));
    let all = [packet(1, 0, true, b"one"), packet(2, 960, false, b"two"), packet(4, 2880, false, b"four")];
    let (got, _) = assemble(Format::Whole, all);
    let got: Vec<_> = got.iter().map(|frame| (&frame.data[..], frame.after_loss)).collect();
    assert_eq!(got, [(&b"one"[..], false), (b"two", false), (b"four", true)]);
}

#[test]
fn a_line_that_begins_anew_goes_on() {
    let one = |number: u16| packet(number, u32::from(number), false, &[number as u8]);
    let numbers = (30_000..30_040u16).chain(20_000..20_040);
    let (got, _) = assemble(Format::Whole, numbers.map(one));
    assert!(got.len() >= 60 && got.last().unwrap().timestamp == 20_039, "{}", got.len());
}

proptest! {
    #[test]
    fn each_frame_is_whole_or_left_out(
        format in 0..5usize,
        // All but the first packet: what was before the first that comes is nothing that can be known.
        lost in prop::collection::btree_set(1..400usize, 0..40),
        late in prop::collection::btree_map(1..400usize, 1..8usize, 0..40),
    ) {
        let (format, mut payloader, frames) = each_format().swap_remove(format);
        let all = packets(&mut *payloader, &frames, 65_500);
        let damaged: BTreeSet<_> = lost.iter().filter_map(|lost| Some(all.get(*lost)?.0)).collect();
        let mut coming: Vec<_> = all.into_iter().enumerate().filter(|(index, _)| !lost.contains(index)).collect();
        // Some come some packets later.
        coming.sort_by_key(|(index, _)| index + late.get(index).copied().unwrap_or(0));
        let last_lost = lost.iter().copied().filter(|lost| coming.last().is_some_and(|(last, _)| lost > last)).count();
        let (got, _) = assemble(format, coming.into_iter().map(|(_, (_, packet))| packet));
        let mut next = 0;
        for frame in &got {
            let number = (frame.timestamp / 3000) as usize;
            prop_assert!(number >= next && !damaged.contains(&number));
            prop_assert_eq!(&frame.data, &frames[number]);
            prop_assert!(frame.after_loss || number == next, "{} after {}", number, next);
            next = number + 1;
        }
        // Whatever is whole is there: its beginning is seen even where what was before it was lost.
        prop_assert!(got.len() + damaged.len() == frames.len() || lost.len() > WAITING || last_lost > 0);
    }

    #[test]
    fn no_bytes_do_harm(
        format in 0..6usize,
        payloads in prop::collection::vec((any::<u16>(), 0..3u32, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let formats = [Format::H264, Format::H265, Format::Av1, Format::Vp8, Format::Vp9];
        let format = formats.get(format).copied().unwrap_or_else(|| Format::of("mpeg4-generic", HBR).unwrap());
        let packets = payloads.iter().enumerate().map(|(index, (jump, timestamp, marker, payload))| {
            let sequence = if jump % 8 == 0 { *jump } else { index as u16 };
            packet(sequence, *timestamp, *marker, payload)
        });
        let bytes: usize = payloads.iter().map(|(.., payload)| payload.len()).sum();
        let (got, _) = assemble(format, packets);
        prop_assert!(got.iter().map(|frame| frame.data.len()).sum::<usize>() <= 8 * bytes);
        prop_assert!(got.iter().all(|frame| !frame.data.is_empty()));
    }
}
