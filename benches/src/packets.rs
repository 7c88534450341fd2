//! What the packet path does to a burst, one step at a time: measured as wall time by `packets`, as instructions by
//! `instructions`.

use std::time::{Duration, Instant};

use msm_core::rtp::{ExtensionBlock, Header, RtpBuilder, RtpView, patch_header};
use msm_core::stats::ReceiverStats;

use crate::rtp::PAYLOAD_TYPE;
use crate::{Error, PACKET_BYTES, Result};

/// Packets of each burst.
pub const BURST: usize = 16;

const SSRC: u32 = 0x4d53_4d00;
const CLOCK_RATE: u32 = 90_000;

/// A burst in a buffer, and what is kept from one to the next.
#[derive(Debug)]
pub struct Packets {
    bytes: Vec<u8>,
    stats: ReceiverStats,
    sequence: u16,
    now: Instant,
}

impl Packets {
    /// A burst of packets with a fixed header only.
    ///
    /// # Errors
    ///
    /// None: the packets fit.
    pub fn plain() -> Result<Self> {
        Self::new(&[], ExtensionBlock::None)
    }

    /// A burst of packets with a contributing source and two header extensions (RFC 8285).
    ///
    /// # Errors
    ///
    /// None: the packets fit.
    pub fn extended() -> Result<Self> {
        Self::new(&[7], ExtensionBlock::OneByte(&[(1, &[1, 2, 3]), (5, &[9, 9])]))
    }

    fn new(csrcs: &[u32], extension: ExtensionBlock<'_>) -> Result<Self> {
        let mut bytes = vec![0; BURST * PACKET_BYTES];
        for (index, packet) in bytes.chunks_exact_mut(PACKET_BYTES).enumerate() {
            let mut builder = RtpBuilder {
                payload_type: PAYLOAD_TYPE,
                sequence: index as u16,
                ssrc: SSRC,
                csrcs,
                extension,
                ..RtpBuilder::default()
            };
            let payload = vec![0x41; PACKET_BYTES - builder.packet_len()?];
            builder.payload = &payload;
            builder.write(packet)?;
        }
        let mut packets = Self { bytes, stats: ReceiverStats::new(SSRC), sequence: 0, now: Instant::now() };
        // The source is past its probation.
        packets.statistics()?;
        Ok(packets)
    }

    /// Parses each packet and looks at each header extension; returns a sum of what was read.
    ///
    /// # Errors
    ///
    /// None: the packets are valid.
    pub fn parse(&self) -> Result<u32> {
        let mut sum = 0;
        for packet in self.bytes.chunks_exact(PACKET_BYTES) {
            let view = RtpView::parse(packet).map_err(Error::from)?;
            sum +=
                u32::from(view.sequence()) + view.payload().len() as u32 + view.extensions().count() as u32;
        }
        Ok(sum)
    }

    /// Rewrites the header of each packet, as for each reader.
    pub fn rewrite(&mut self) {
        for packet in self.bytes.chunks_exact_mut(PACKET_BYTES) {
            self.sequence = self.sequence.wrapping_add(1);
            patch_header(packet, PAYLOAD_TYPE, self.sequence, u32::from(self.sequence) * 3000, SSRC);
        }
    }

    /// Takes each packet into the statistics, as the next burst of the stream; returns the highest sequence number.
    ///
    /// # Errors
    ///
    /// None: the packets are valid.
    pub fn statistics(&mut self) -> Result<u32> {
        let first = self.bytes.get(..PACKET_BYTES).unwrap_or_default();
        let mut header: Header = Header::parse(first).map_err(Error::from)?;
        for _ in 0..BURST {
            self.sequence = self.sequence.wrapping_add(1);
            header.sequence = self.sequence;
            header.timestamp = header.timestamp.wrapping_add(3000);
            self.now += Duration::from_millis(33);
            self.stats.handle_rtp(self.now, &header, CLOCK_RATE);
        }
        Ok(self.stats.extended_highest_sequence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_does_its_work() {
        for (mut packets, extensions) in [(Packets::plain().unwrap(), 0), (Packets::extended().unwrap(), 2)] {
            let payload = if extensions == 0 { PACKET_BYTES - 12 } else { PACKET_BYTES - 12 - 4 - 4 - 8 };
            let sum = BURST * (payload + extensions) + (0..BURST).sum::<usize>();
            assert_eq!(packets.parse().unwrap() as usize, sum);
            let before = packets.statistics().unwrap();
            assert_eq!(packets.statistics().unwrap(), before + BURST as u32);
            packets.rewrite();
            let first = RtpView::parse(&packets.bytes).unwrap();
            assert_eq!(first.sequence(), packets.sequence.wrapping_sub(BURST as u16 - 1));
        }
    }
}
