//! Payloads as real packetizers send them (x264, x265, libvpx, SVT-AV1 through ffmpeg and GStreamer), cut short.

use super::*;

const KEY: PayloadInfo = PayloadInfo {
    starts_keyframe: true,
    parameter_sets: false,
    frame_start: true,
    only_parameter_sets: false,
};
const FRAME: PayloadInfo = PayloadInfo { starts_keyframe: false, ..KEY };
const SETS: PayloadInfo = PayloadInfo {
    starts_keyframe: false,
    parameter_sets: true,
    frame_start: false,
    only_parameter_sets: true,
};
const NOTHING: PayloadInfo = PayloadInfo {
    starts_keyframe: false,
    parameter_sets: false,
    frame_start: false,
    only_parameter_sets: false,
};

const H264_SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8];
const H264_PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

/// The samples: codec, payload, what is in it, name.
fn samples() -> Vec<(Codec, Vec<u8>, PayloadInfo, &'static str)> {
    let stap = |units: &[&[u8]]| {
        let mut out = vec![0x78];
        for unit in units {
            out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            out.extend_from_slice(unit);
        }
        out
    };
    let all = PayloadInfo { parameter_sets: true, ..KEY };
    vec![
        (Codec::H264, H264_SPS.to_vec(), SETS, "SPS"),
        (Codec::H264, H264_PPS.to_vec(), SETS, "PPS"),
        (Codec::H264, stap(&[H264_SPS, H264_PPS]), SETS, "STAP-A with SPS and PPS"),
        (Codec::H264, stap(&[H264_SPS, H264_PPS, &[0x65, 0x88, 0x84, 0x00]]), all, "STAP-A with IDR"),
        (Codec::H264, vec![0x65, 0x88, 0x84, 0x21, 0xa0], KEY, "IDR"),
        (Codec::H264, vec![0x65, 0x00, 0x6d, 0x88], NOTHING, "second slice of an IDR"),
        (Codec::H264, vec![0x7c, 0x85, 0x88, 0x84, 0x21], KEY, "FU-A, start of IDR"),
        (Codec::H264, vec![0x7c, 0x05, 0x88, 0x84, 0x21], NOTHING, "FU-A, middle of IDR"),
        (Codec::H264, vec![0x7c, 0x45, 0x88, 0x84, 0x21], NOTHING, "FU-A, end of IDR"),
        (Codec::H264, vec![0x5c, 0x81, 0x9a, 0x21, 0x6c], FRAME, "FU-A, start of a P slice"),
        (Codec::H264, vec![0x41, 0x9a, 0x21, 0x6c], FRAME, "P slice"),
        (Codec::H264, vec![0x06, 0x06, 0x01, 0xc4, 0x80], NOTHING, "recovery point SEI"),
        (Codec::H264, vec![0x09, 0xf0], NOTHING, "access unit delimiter"),
        (Codec::H265, vec![0x40, 0x01, 0x0c, 0x01, 0xff, 0xff], SETS, "VPS"),
        (Codec::H265, vec![0x42, 0x01, 0x01, 0x01, 0x60], SETS, "SPS"),
        (Codec::H265, vec![0x44, 0x01, 0xc1, 0x72], SETS, "PPS"),
        (
            Codec::H265,
            vec![0x60, 0x01, 0, 4, 0x40, 0x01, 0x0c, 0x01, 0, 4, 0x42, 0x01, 0x01, 0x01],
            SETS,
            "AP",
        ),
        (Codec::H265, vec![0x26, 0x01, 0xaf, 0x09], KEY, "IDR_W_RADL"),
        (Codec::H265, vec![0x2a, 0x01, 0xaf, 0x09], KEY, "CRA"),
        (Codec::H265, vec![0x62, 0x01, 0x93, 0xaf, 0x09], KEY, "FU, start of IDR"),
        (Codec::H265, vec![0x62, 0x01, 0x13, 0xaf, 0x09], NOTHING, "FU, middle of IDR"),
        (Codec::H265, vec![0x26, 0x01, 0x2f, 0x09], NOTHING, "second slice of an IDR"),
        (Codec::H265, vec![0x02, 0x01, 0xd0, 0x09], FRAME, "TRAIL_R"),
        (Codec::Av1, vec![0x18, 0x0a, 0x0b, 0x00, 0x00, 0x00], SETS_KEY, "N, sequence header alone"),
        (
            Codec::Av1,
            vec![0x28, 0x03, 0x0a, 0x0b, 0x00, 0x32, 0x10, 0x00],
            all,
            "N, sequence header and frame",
        ),
        (Codec::Av1, vec![0x20, 0x03, 0x0a, 0x0b, 0x00, 0x32, 0x10, 0x00], all, "sequence header without N"),
        (Codec::Av1, vec![0x10, 0x32, 0x10, 0x00], FRAME, "inter frame"),
        (Codec::Av1, vec![0x90, 0x0a, 0x0b, 0x00], NOTHING, "continuation that looks like a sequence header"),
        (Codec::Av1, vec![0x00, 0x02, 0x32, 0x10, 0x01, 0x32], FRAME, "W=0, each element with a length"),
        (Codec::Vp8, vec![0x10, 0x50, 0x1f, 0x00, 0x9d, 0x01, 0x2a, 0x80], KEY, "key frame"),
        (
            Codec::Vp8,
            vec![0x90, 0x80, 0x81, 0x23, 0x50, 0x1f, 0x00, 0x9d, 0x01, 0x2a],
            KEY,
            "15-bit picture id",
        ),
        (
            Codec::Vp8,
            vec![0x90, 0xe0, 0x11, 0x01, 0x20, 0x50, 0x1f, 0x00, 0x9d, 0x01, 0x2a],
            KEY,
            "I, L and T",
        ),
        (Codec::Vp8, vec![0x10, 0x51, 0x1f, 0x00, 0x12], FRAME, "inter frame"),
        (Codec::Vp8, vec![0x00, 0x50, 0x1f, 0x00, 0x9d, 0x01, 0x2a], NOTHING, "continuation"),
        (Codec::Vp8, vec![0x11, 0x50, 0x1f, 0x00, 0x9d, 0x01, 0x2a], NOTHING, "second partition"),
        (Codec::Vp9, vec![0x88, 0x05, 0x82, 0x49, 0x83, 0x42], KEY, "key frame, 7-bit picture id"),
        (
            Codec::Vp9,
            vec![0x8a, 0x81, 0x05, 0x18, 2, 128, 1, 104, 1, 0x14, 0x01, 0x82, 0x49],
            KEY,
            "with structure",
        ),
        (Codec::Vp9, vec![0xc8, 0x05, 0x86, 0x00, 0x40], FRAME, "inter frame"),
        (Codec::Vp9, vec![0x80, 0x05, 0x82, 0x49, 0x83], NOTHING, "continuation of a key frame"),
        (Codec::Vp9, vec![0x88, 0x05, 0x84, 0x49, 0x83], FRAME, "intra-only frame"),
        (Codec::Vp9, vec![0xa8, 0x05, 0x02, 0x07, 0x82, 0x49], NOTHING, "start of spatial layer 1"),
        (Codec::Vp9, vec![0xd8, 0x05, 0x03, 0x02, 0x86, 0x00], FRAME, "flexible mode, two references"),
        (Codec::Audio, H264_SPS.to_vec(), NOTHING, "audio is not looked at"),
        (Codec::Other, vec![0x65, 0x88], NOTHING, "other codecs are not looked at"),
    ]
}

const SETS_KEY: PayloadInfo = PayloadInfo {
    starts_keyframe: true,
    parameter_sets: true,
    frame_start: false,
    only_parameter_sets: true,
};

#[test]
fn real_payloads() {
    for (codec, payload, expected, name) in samples() {
        assert_eq!(inspect(codec, &payload), expected, "{codec:?}: {name}");
    }
}

#[test]
fn every_cut_and_every_byte_value_is_survived() {
    for (_, payload, _, _) in samples() {
        for codec in [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp8, Codec::Vp9] {
            for cut in 0..=payload.len() {
                inspect(codec, &payload[..cut]);
                for value in 0..=255 {
                    let mut bytes = payload[..cut].to_vec();
                    if let Some(last) = bytes.last_mut() {
                        *last = value;
                    }
                    inspect(codec, &bytes);
                }
            }
            for at in 0..payload.len() {
                for bit in 0..8 {
                    let mut bytes = payload.clone();
                    bytes[at] ^= 1 << bit;
                    inspect(codec, &bytes);
                }
            }
        }
    }
}

#[test]
fn lying_lengths_stop_the_walk() {
    // The second unit claims 65,535 bytes: the SPS before it still counts, the IDR behind it does not exist.
    let payload = [0x78, 0, 2, 0x67, 0x42, 0xff, 0xff, 0x65, 0x88];
    assert_eq!(inspect(Codec::H264, &payload), SETS);
    // A LEB128 that never ends.
    assert_eq!(inspect(Codec::Av1, &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), NOTHING);
    // A VP9 picture group of 255 entries in 3 bytes.
    assert_eq!(inspect(Codec::Vp9, &[0x0a, 0x08, 0xff, 0xff, 0x00, 0x00]), NOTHING);
}

#[test]
fn names() {
    assert_eq!(Codec::from_encoding_name("h264"), Codec::H264);
    assert_eq!(Codec::from_encoding_name("Av1"), Codec::Av1);
    assert_eq!(Codec::from_encoding_name("MPEG4-GENERIC"), Codec::Audio);
    assert_eq!(Codec::from_encoding_name("MP2T"), Codec::Other);
    assert_eq!(Codec::from_static_payload_type(0), Some(Codec::Audio));
    assert_eq!(Codec::from_static_payload_type(26), Some(Codec::Other));
    assert_eq!(Codec::from_static_payload_type(96), None);
}
