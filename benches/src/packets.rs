//! What the packet path does to a burst, one step at a time: measured as wall time by `packets`, as instructions by
//! `instructions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::burst::{Burst, SegmentTable};
use msm_core::codec::Codec;
use msm_core::hub::{
    Fanout, FanoutConfig, Ingest, IngestConfig, Kind, MediaKind, Outgoing, ReaderSetup, ReaderTrack,
    SendOutcome, Sink, TrackInfo,
};
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
    table: SegmentTable,
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
        let mut packets = Self {
            bytes,
            table: SegmentTable::new(),
            stats: ReceiverStats::new(SSRC),
            sequence: 0,
            now: Instant::now(),
        };
        // The source is past its probation, and the table has its memory.
        packets.statistics()?;
        packets.split();
        Ok(packets)
    }

    /// Splits and validates the burst as it is received; returns how many packets are valid.
    pub fn split(&mut self) -> usize {
        Burst::from_gro(&mut self.bytes, PACKET_BYTES, self.now, 0, &mut self.table).valid()
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

/// A keyframe begins each so many bursts, so that what is kept for late readers starts anew.
const KEYFRAME_BURSTS: u16 = 32;

/// Counts what a fan-out sends.
#[derive(Debug, Default)]
struct Count {
    sends: u64,
    bytes: u64,
}

impl Sink<u32> for Count {
    fn send(&mut self, _reader: &mut u32, packets: Outgoing<'_>) -> SendOutcome {
        if packets.kind == Kind::Rtp {
            self.sends += 1;
            self.bytes += packets.bytes.len() as u64;
        }
        SendOutcome::Sent
    }
}

/// A stream's ingest and its fan-out to some readers, without sockets.
pub struct Hub {
    bytes: Vec<u8>,
    table: SegmentTable,
    ingest: Ingest,
    fanout: Fanout<u32>,
    count: Count,
    bursts: u16,
    now: Instant,
}

impl Hub {
    /// A hub whose readers play.
    ///
    /// # Errors
    ///
    /// More readers than a hub takes.
    pub fn new(readers: u32) -> Result<Self> {
        let now = Instant::now();
        let info = TrackInfo::new(MediaKind::Video, PAYLOAD_TYPE, Codec::H264, CLOCK_RATE);
        let tracks: Arc<[TrackInfo]> = [info].into();
        let mut fanout = Fanout::new(tracks.clone(), FanoutConfig::default(), now);
        for index in 0..readers {
            let track = ReaderTrack { track: 0, dest: index, ssrc: index, payload_types: Vec::new() };
            let setup = ReaderSetup { seed: u64::from(index), tracks: vec![track], late_join: true };
            let reader = fanout.add_reader(now, setup).map_err(Error::from)?;
            fanout.play(now, reader).map_err(Error::from)?;
        }
        let mut hub = Self {
            bytes: Packets::plain()?.bytes,
            table: SegmentTable::new(),
            ingest: Ingest::new(tracks, IngestConfig::default(), 1, now),
            fanout,
            count: Count::default(),
            bursts: 0,
            now,
        };
        // The source is past its probation, every reader has caught up from a keyframe, the cache has its memory.
        let mut steady = 0;
        for _ in 0..KEYFRAME_BURSTS * 40 {
            let before = hub.count.sends;
            steady = if hub.burst() - before == u64::from(readers) { steady + 1 } else { 0 };
            if steady == KEYFRAME_BURSTS * 2 {
                return Ok(hub);
            }
        }
        Err("the readers do not catch up".into())
    }

    /// Takes the stream's next burst, from the receive buffer to every reader's send; returns how many RTP
    /// sends there have been. What is due by its clock, such as reports, is done too.
    pub fn burst(&mut self) -> u64 {
        let keyframe = self.bursts.is_multiple_of(KEYFRAME_BURSTS);
        // The fan-out has patched the headers in place: make them the source's again.
        for (index, packet) in self.bytes.chunks_exact_mut(PACKET_BYTES).enumerate() {
            let sequence = self.bursts.wrapping_mul(BURST as u16).wrapping_add(index as u16);
            let marker = u8::from(index + 1 == BURST) << 7;
            patch_header(packet, marker | PAYLOAD_TYPE, sequence, u32::from(self.bursts) * 3000, SSRC);
            if let Some(nal) = packet.get_mut(12) {
                *nal = if keyframe && index == 0 { 0x65 } else { 0x41 };
            }
        }
        self.bursts = self.bursts.wrapping_add(1);
        self.now += Duration::from_millis(33);
        let mut burst = Burst::from_gro(&mut self.bytes, PACKET_BYTES, self.now, 0, &mut self.table);
        self.ingest.handle_rtp(self.now, 0, &mut burst);
        self.fanout.handle_rtp(self.now, 0, &mut burst, &mut self.count);
        if self.fanout.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
            self.fanout.handle_timeout(self.now, &mut self.count);
        }
        while self.ingest.poll_event().is_some() {}
        while self.fanout.poll_event().is_some() {}
        self.count.sends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_does_its_work() {
        for (mut packets, extensions) in [(Packets::plain().unwrap(), 0), (Packets::extended().unwrap(), 2)] {
            assert_eq!(packets.split(), BURST);
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

    #[test]
    fn a_hub_sends_each_burst_once_to_each_reader() {
        let mut hub = Hub::new(3).unwrap();
        let (sends, bytes) = (hub.count.sends, hub.count.bytes);
        // Across a wrap of the sequence number.
        for _ in 0..5000 {
            hub.burst();
        }
        assert_eq!(hub.count.sends - sends, 3 * 5000);
        assert_eq!(hub.count.bytes - bytes, 3 * 5000 * (BURST * PACKET_BYTES) as u64);
    }
}
