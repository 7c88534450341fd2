//! FlexFEC from anybody: no panic, nothing twice, nothing past a limit; and what an honest sender protects comes back.
#![allow(clippy::panic, clippy::unwrap_used)]

use super::parity::{LIMITS, PAYLOAD_TYPE, SSRC, anything, comes_back, honest};
use msm_fec::xor::Line;
use msm_fec::xor::flexfec::{Decoder, DecoderOptions, Encoder, EncoderOptions, RepairWindow, Shape};

fn decoder() -> Decoder {
    Decoder::new(DecoderOptions { ssrc: SSRC, payload_type: PAYLOAD_TYPE, repair_ssrc: None, limits: LIMITS })
}

/// Takes `data` as events, as source packets of a sender, and as a parameter of SDP.
pub fn run(data: &[u8]) {
    anything(data, decoder());
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(window) = RepairWindow::parse(text)
    {
        assert_eq!(RepairWindow::parse(&window.to_string()), Some(window));
    }
    let Some((&form, data)) = data.split_first() else { return };
    let (shape, count) = match form % 4 {
        0 => (Shape::Mask { packets: 30, repairs: usize::from(form / 4 % 8) + 1 }, 30),
        1 => (Shape::Rows { columns: form / 4 + 2 }, usize::from(form / 4) + 2),
        2 => (Shape::Columns { columns: 4, rows: form / 16 + 2 }, 4 * (usize::from(form / 16) + 2)),
        _ => (Shape::Grid { columns: form / 16 + 1, rows: 3 }, 3 * (usize::from(form / 16) + 1)),
    };
    let Some((packets, lost)) = honest(data, count) else { return };
    let line = Line { payload_type: PAYLOAD_TYPE, ssrc: 1, sequence: 0 };
    let mut encoder = Encoder::new(EncoderOptions::new(SSRC, line, shape)).unwrap();
    let mut repairs = Vec::new();
    for (index, packet) in &packets {
        encoder.handle_source(*index, packet).unwrap();
        while let Some(repair) = encoder.poll_transmit(0) {
            repairs.push(repair.to_vec());
        }
    }
    comes_back(decoder(), &packets, lost, &repairs);
}
