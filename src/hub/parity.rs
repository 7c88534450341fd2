//! Repair packets among the media of a plain reader (RFC 5109), in one line of numbers, as GStreamer takes them.

use std::collections::VecDeque;

use msm_core::rtp::Header;
use msm_core::seq::{Unwrapper, distance};
use msm_fec::xor::Line;
use msm_fec::xor::ulpfec::{Encoder, EncoderOptions};

/// Packets of a block, at most: what the short mask names.
const MAX_BLOCK: usize = 16;

/// Blocks that late packets are put into their place of.
const REMEMBERED: usize = 16;

/// What repair packets are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParityPlan {
    /// Their payload type.
    pub(crate) payload_type: u8,
    /// Media packets that one of them is of.
    pub(crate) block: usize,
}

impl ParityPlan {
    /// Repair packets of this type that are about so many percent of the media.
    pub(crate) fn share(payload_type: u8, percent: u8) -> Option<Self> {
        let block = 100_usize.checked_div(usize::from(percent))?.clamp(1, MAX_BLOCK);
        Some(Self { payload_type, block })
    }
}

/// Makes repair packets of one track for one reader, and numbers them with the media.
#[derive(Clone, Debug)]
pub(crate) struct Parity {
    plan: ParityPlan,
    encoder: Option<Encoder>,
    numbers: Unwrapper,
    /// Original numbers, and what is added from there on; the newest last.
    shifts: VecDeque<(u16, u16)>,
    newest: Option<u16>,
    out: Vec<u8>,
    repair: Vec<u8>,
}

impl Parity {
    pub(crate) fn new(plan: ParityPlan) -> Self {
        Self {
            plan,
            encoder: None,
            numbers: Unwrapper::new(),
            shifts: VecDeque::new(),
            newest: None,
            out: Vec::new(),
            repair: Vec::new(),
        }
    }

    /// Takes packets of one size, of which the last may be shorter. `send` gets what is to be sent in their place: packets
    /// and the size of each but the last.
    pub(crate) fn handle(&mut self, packets: &[u8], segment: usize, send: &mut dyn FnMut(&mut [u8], usize)) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        for packet in packets.chunks(segment.max(1)) {
            let Ok(header) = Header::parse(packet) else { continue };
            let number = self.number(header.sequence);
            let start = out.len();
            out.extend_from_slice(packet);
            let Some(numbered) = out.get_mut(start..) else { continue };
            write_number(numbered, number);
            let index = self.numbers.unwrap(number);
            let Some(encoder) = encoder(&mut self.encoder, self.plan, header.ssrc) else { continue };
            // What is too long is not protected.
            let _ = encoder.handle_source(index, numbered);
            if let Some(repair) = encoder.poll_transmit(header.timestamp) {
                self.repair.clear();
                self.repair.extend_from_slice(repair);
                let number = self.number_of_repair();
                write_number(&mut self.repair, number);
                send(&mut out, segment);
                out.clear();
                let length = self.repair.len();
                send(&mut self.repair, length);
            }
        }
        if !out.is_empty() {
            send(&mut out, segment);
        }
        self.out = out;
    }

    /// The number of a media packet among the repair packets.
    fn number(&mut self, original: u16) -> u16 {
        if self.newest.is_none_or(|newest| distance(newest, original) > 0) {
            self.newest = Some(original);
        }
        let of_block = self.shifts.iter().rev().find(|(first, _)| distance(*first, original) >= 0);
        let oldest = self.shifts.front().map_or(0, |(_, shift)| shift.wrapping_sub(1));
        original.wrapping_add(of_block.map_or(oldest, |(_, shift)| *shift))
    }

    /// The number behind all others: those that follow are one higher.
    fn number_of_repair(&mut self) -> u16 {
        let newest = self.newest.unwrap_or(0);
        let shift = self.shifts.back().map_or(0, |(_, shift)| *shift);
        if self.shifts.len() >= REMEMBERED {
            self.shifts.pop_front();
        }
        self.shifts.push_back((newest.wrapping_add(1), shift.wrapping_add(1)));
        let number = newest.wrapping_add(1).wrapping_add(shift);
        self.numbers.unwrap(number);
        number
    }
}

/// The encoder, made when the source is known.
fn encoder(own: &mut Option<Encoder>, plan: ParityPlan, ssrc: u32) -> Option<&mut Encoder> {
    if own.is_none() {
        let line = Line { payload_type: plan.payload_type, ssrc, sequence: 0 };
        *own = Encoder::new(EncoderOptions::new(line, plan.block, 1)).ok();
    }
    own.as_mut()
}

fn write_number(packet: &mut [u8], number: u16) {
    if let Some(place) = packet.get_mut(2..4) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_fec::xor::recover::{Store, StoreLimits};
    use msm_fec::xor::ulpfec::{Decoder, DecoderOptions};

    fn packet(number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        let mut packet = vec![0x80, 96, high, low, 0, 0, high, low, 0, 0, 0, 7, high, low];
        packet.resize(40, low);
        packet
    }

    fn number(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[2], packet[3]])
    }

    #[test]
    fn media_and_repair_have_one_line_and_any_one_of_a_block_comes_back() {
        let mut parity = Parity::new(ParityPlan::share(100, 20).unwrap());
        let mut sent: Vec<Vec<u8>> = Vec::new();
        // Runs of other lengths than blocks, over the end of the numbers, and one packet that comes late.
        let mut numbers: Vec<u16> = (0..103).map(|n| 65_490_u16.wrapping_add(n)).collect();
        numbers.swap(49, 50);
        for run in numbers.chunks(7) {
            let bytes: Vec<u8> = run.iter().flat_map(|number| packet(*number)).collect();
            parity.handle(&bytes, 40, &mut |packets, segment| {
                sent.extend(packets.chunks(segment).map(<[u8]>::to_vec));
            });
        }
        let mut line: Vec<u16> = sent.iter().map(|packet| number(packet)).collect();
        line.sort_by_key(|number| number.wrapping_sub(65_490));
        assert!(line.windows(2).all(|two| two[1] == two[0].wrapping_add(1)), "{line:?}");
        let repairs = sent.iter().filter(|packet| packet[1] == 100).count();
        assert_eq!((sent.len(), repairs), (103 + 20, 20));
        let options = DecoderOptions { ssrc: 7, payload_type: 100, limits: Default::default() };
        let (mut decoder, mut store) = (Decoder::new(options), Store::new(StoreLimits::default()));
        let mut numbers = Unwrapper::new();
        let mut recovered = 0;
        for (place, packet) in sent.iter().enumerate() {
            let index = numbers.unwrap(number(packet));
            if packet[1] == 100 {
                decoder.handle_repair(packet, &store).unwrap();
            } else if place < 6 || place % 6 != 2 {
                store.insert(index, packet);
                decoder.handle_source(index, &store);
            }
            while let Some(own) = decoder.poll_recovered() {
                assert!(sent.iter().any(|packet| packet == own.packet));
                recovered += 1;
            }
        }
        assert_eq!(recovered, 19);
    }

    #[test]
    fn a_share_is_a_block() {
        let block = |percent| ParityPlan::share(100, percent).map(|plan| plan.block);
        let blocks = [0, 1, 5, 6, 20, 33, 50, 51, 100, 255].map(block);
        let wanted =
            [None, Some(16), Some(16), Some(16), Some(5), Some(3), Some(2), Some(1), Some(1), Some(1)];
        assert_eq!(blocks, wanted);
    }

    #[test]
    fn what_is_no_packet_is_not_sent() {
        let mut parity = Parity::new(ParityPlan { payload_type: 200, block: 1 });
        let mut sent = 0;
        parity.handle(&[1, 2, 3], 3, &mut |_, _| sent += 1);
        // A type that cannot be: media goes on without repair.
        parity.handle(&packet(1), 40, &mut |packets, _| sent += packets.len());
        assert_eq!(sent, 40);
    }
}
