//! ST 2022-1 from anybody: no panic, nothing twice, nothing past a limit; and what an honest sender protects comes back.
#![allow(clippy::panic, clippy::unwrap_used)]

use super::parity::{LIMITS, SSRC, anything, comes_back, honest};
use msm_fec::xor::st2022::{Decoder, DecoderOptions, Encoder, EncoderOptions};

fn decoder() -> Decoder {
    Decoder::new(DecoderOptions { ssrc: SSRC, limits: LIMITS, ..DecoderOptions::default() })
}

/// Takes `data` as events, and as source packets of a sender.
pub fn run(data: &[u8]) {
    anything(data, decoder());
    let Some((&form, data)) = data.split_first() else { return };
    let (columns, rows) = (4 + form % 5, 4 + form / 64);
    let Some((packets, lost)) = honest(data, usize::from(columns) * usize::from(rows)) else { return };
    let options = EncoderOptions { row_fec: form & 32 == 0, ..EncoderOptions::new(columns, rows) };
    let mut encoder = Encoder::new(options).unwrap();
    let mut repairs = Vec::new();
    for (index, packet) in &packets {
        encoder.handle_source(*index, packet).unwrap();
        while let Some((_, repair)) = encoder.poll_transmit(0) {
            repairs.push(repair.to_vec());
        }
    }
    encoder.flush();
    while let Some((_, repair)) = encoder.poll_transmit(0) {
        repairs.push(repair.to_vec());
    }
    comes_back(decoder(), &packets, lost, &repairs);
}
