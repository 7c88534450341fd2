//! H.265 payloads, RFC 7798: single NAL unit, AP, FU. PACI packets are not looked into.
//!
//! `sprop-max-don-diff` > 0 puts a decoding order number into each AP and FU; RTSP peers do not use it, and it is not
//! expected here.

use super::{PayloadInfo, Units, aggregated};

/// VCL NAL unit types are below this (ITU-T H.265 table 7-1).
const VCL_END: u8 = 32;
/// BLA, IDR, CRA and the reserved IRAP types: pictures that decoding can start at.
const IRAP: std::ops::RangeInclusive<u8> = 16..=23;
const VPS: u8 = 32;
const PPS: u8 = 34;
const AP: u8 = 48;
const FU: u8 = 49;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut units = Units::default();
    if let Some((header, rest)) = payload.split_first_chunk::<2>() {
        match kind_of(header) {
            AP => {
                aggregated(rest, |unit| nal(&mut units, unit));
            }
            FU => fragment(&mut units, rest),
            _ => nal(&mut units, payload),
        }
    }
    units.info()
}

/// The NAL unit header is `F(1) type(6) layer(6) tid(3)`.
fn kind_of(header: &[u8; 2]) -> u8 {
    let [first, _] = header;
    (first >> 1) & 0x3f
}

/// A fragmentation unit, RFC 7798 §4.4.3: `S(1) E(1) type(6)`.
fn fragment(units: &mut Units, rest: &[u8]) {
    let Some((fu, data)) = rest.split_first() else { return };
    if fu & 0x80 != 0 {
        unit(units, fu & 0x3f, data.first().copied());
    } else {
        units.picture |= fu & 0x3f < VCL_END;
    }
}

fn nal(units: &mut Units, nal: &[u8]) {
    if let Some((header, data)) = nal.split_first_chunk::<2>() {
        unit(units, kind_of(header), data.first().copied());
    }
}

/// The first bit of a slice is `first_slice_segment_in_pic_flag` (ITU-T H.265 §7.3.6.1).
fn unit(units: &mut Units, kind: u8, first: Option<u8>) {
    match kind {
        0..VCL_END => {
            let first_slice = first.is_none_or(|byte| byte & 0x80 != 0);
            units.picture = true;
            units.frame_start |= first_slice;
            units.keyframe |= first_slice && IRAP.contains(&kind);
        }
        VPS..=PPS => units.parameters = true,
        _ => {}
    }
}
