//! ULPFEC and RED from anybody: no panic, nothing twice, nothing past a limit; and what an honest sender protects comes back.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use super::parity::{LIMITS, PAYLOAD_TYPE, SSRC, anything, comes_back, honest};
use msm_fec::xor::ulpfec::{Decoder, DecoderOptions, Encoder, EncoderOptions, MAX_MASK};
use msm_fec::xor::{Line, red};

fn decoder() -> Decoder {
    Decoder::new(DecoderOptions { ssrc: SSRC, payload_type: PAYLOAD_TYPE, limits: LIMITS })
}

/// Takes `data` as events, as a RED payload, and as source packets of a sender.
pub fn run(data: &[u8]) {
    anything(data, decoder());
    if let Ok(blocks) = red::parse(data) {
        let blocks: Vec<_> = blocks.collect();
        assert!((1..=red::MAX_BLOCKS).contains(&blocks.len()));
        let mut written = Vec::new();
        red::write(&blocks, &mut written).unwrap();
        assert_eq!(written, data, "what was read is what there was");
    }
    let Some((&form, data)) = data.split_first() else { return };
    let count = usize::from(form) % MAX_MASK + 1;
    let Some((packets, lost)) = honest(data, count) else { return };
    if packets.len() < 2 {
        return;
    }
    let line = Line { payload_type: PAYLOAD_TYPE, ssrc: SSRC, sequence: 0 };
    let options = EncoderOptions::new(line, count, usize::from(form / 48).clamp(1, count));
    let mut encoder = Encoder::new(options).unwrap();
    let mut repairs = Vec::new();
    for (index, packet) in &packets {
        encoder.handle_source(*index, packet).unwrap();
    }
    while let Some(repair) = encoder.poll_transmit(0) {
        repairs.push(repair.to_vec());
    }
    comes_back(decoder(), &packets, lost, &repairs);
}
