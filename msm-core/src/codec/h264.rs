//! H.264 payloads, RFC 6184: single NAL unit, STAP-A/B, FU-A/B. MTAPs (interleaved mode) are not looked into.

use super::{PayloadInfo, Units, aggregated};

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const FU_A: u8 = 28;
const FU_B: u8 = 29;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut units = Units::default();
    if let Some((header, rest)) = payload.split_first() {
        match header & 0x1f {
            STAP_A => {
                aggregated(rest, |unit| nal(&mut units, unit));
            }
            // STAP-B has a decoding order number first (RFC 6184 §5.7.1).
            STAP_B => {
                aggregated(rest.get(2..).unwrap_or_default(), |unit| nal(&mut units, unit));
            }
            FU_A => fragment(&mut units, rest, 1),
            FU_B => fragment(&mut units, rest, 3),
            _ => nal(&mut units, payload),
        }
    }
    units.info()
}

/// A fragmentation unit, RFC 6184 §5.8: `S(1) E(1) R(1) type(5)`. Only the start fragment begins something.
fn fragment(units: &mut Units, rest: &[u8], header_len: usize) {
    let Some(fu) = rest.first() else { return };
    let data = rest.get(header_len..).unwrap_or_default();
    if fu & 0x80 != 0 {
        unit(units, fu & 0x1f, data.first().copied());
    } else {
        units.picture |= matches!(fu & 0x1f, SLICE..=IDR);
    }
}

fn nal(units: &mut Units, nal: &[u8]) {
    if let Some(header) = nal.first() {
        unit(units, header & 0x1f, nal.get(1).copied());
    }
}

/// `first` is the byte after the NAL header. `first_mb_in_slice` is coded as ue(v), so a set top bit means 0: the
/// first slice of its picture (ITU-T H.264 §7.3.3, §9.1).
fn unit(units: &mut Units, kind: u8, first: Option<u8>) {
    match kind {
        SLICE..=IDR => {
            let first_slice = first.is_none_or(|byte| byte & 0x80 != 0);
            units.picture = true;
            units.frame_start |= first_slice && matches!(kind, SLICE | 2 | IDR);
            units.keyframe |= first_slice && kind == IDR;
        }
        SPS | PPS => units.parameters = true,
        _ => {}
    }
}
