//! Packets put together: whatever they are, frames have bytes, no more than the packets had, and none is kept past the limit.

use bytes::Bytes;
use msm_core::frames::{Assembler, Format};

/// A byte that says which format, then packets, each after a byte that says how long its payload is, and one for number, marker and timestamp.
pub fn run(data: &[u8]) {
    let Some((&kind, mut rest)) = data.split_first() else { return };
    let formats = [Format::H264, Format::H265, Format::Av1, Format::Vp8, Format::Vp9, Format::Whole];
    let aac = Format::of("mpeg4-generic", "sizelength=13;indexlength=3;indexdeltalength=3");
    let format = formats.get(usize::from(kind)).copied().or(aac);
    let mut assembler = Assembler::new(format.unwrap_or(Format::Whole));
    assembler.set_max_bytes(4096);
    let (mut sequence, mut timestamp, mut had, mut got) = (0u16, 0u32, 0usize, 0usize);
    let mut drain = |assembler: &mut Assembler, had: usize| {
        while let Some(frame) = assembler.poll_frame() {
            assert!(!frame.data.is_empty());
            got += frame.data.len();
        }
        // A start code for each byte of an aggregate at most, or a delimiter and a size.
        assert!(got <= 8 * had + 64);
    };
    while let Some((&[length, what], after)) = rest.split_first_chunk::<2>() {
        let (payload, next) = after.split_at(usize::from(length).min(after.len()));
        rest = next;
        had += payload.len();
        sequence = sequence.wrapping_add(u16::from(what & 7)).wrapping_sub(1);
        timestamp = timestamp.wrapping_add(u32::from(what >> 3 & 1));
        let mut packet = vec![0x80, (what & 0x80) | 96];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7]);
        packet.extend_from_slice(payload);
        assembler.handle_packet(&Bytes::from(packet));
        drain(&mut assembler, had);
    }
    assembler.handle_end();
    drain(&mut assembler, had);
}
