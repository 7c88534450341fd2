//! The stream: 25 frames a second, the packets of each 0.1 ms apart.

use std::time::{Duration, Instant};

use msm_core::rng::Rng;

use super::cell::Rate;

/// Bytes of every packet of the stream, RTP header included.
pub const PACKET_BYTES: usize = crate::PACKET_BYTES;

/// From one frame's first packet to the next one's.
pub const FRAME: Duration = Duration::from_millis(40);

/// From packet to packet within a frame.
pub const SPACING: Duration = Duration::from_micros(100);

/// Bytes of the RTP header of a packet: neither CSRCs nor extensions (RFC 3550 §5.1).
const HEADER_BYTES: usize = 12;

/// Who sends the stream.
const SSRC: u32 = 0x6d73_6d31;

/// One packet of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media {
    /// Consecutive from 0; the low 16 bits are its sequence number.
    pub index: u64,
    /// The frame that it is of.
    pub frame: u64,
    /// Whether it is the last of the frame: the RTP marker.
    pub last: bool,
}

impl Media {
    /// Its RTP packet, [`PACKET_BYTES`] long, for ends that protect bytes. What `buffer` has no room for is left out.
    pub fn write(&self, buffer: &mut [u8]) {
        let mut header = [0; HEADER_BYTES];
        let [sequence_high, sequence_low] = (self.index as u16).to_be_bytes();
        header[..4].copy_from_slice(&[0x80, u8::from(self.last) << 7 | 96, sequence_high, sequence_low]);
        // 90 kHz, as all video (RFC 3551 §5).
        header[4..8].copy_from_slice(&(self.frame.wrapping_mul(3_600) as u32).to_be_bytes());
        header[8..].copy_from_slice(&SSRC.to_be_bytes());
        let split = buffer.len().min(HEADER_BYTES);
        let (head, payload) = buffer.split_at_mut(split);
        head.copy_from_slice(header.get(..split).unwrap_or_default());
        Rng::new(self.index).fill(payload);
    }
}

/// When the packet `index` is sent, after the start.
#[must_use]
pub fn sent_after(rate: Rate, index: u64) -> Duration {
    let (frame, place) = (index / rate.per_frame(), index % rate.per_frame());
    // A run is shorter than 2^32 frames, which is five years.
    FRAME * u32::try_from(frame).unwrap_or(u32::MAX) + SPACING * u32::try_from(place).unwrap_or(u32::MAX)
}

/// The packets of a stream, each at its time.
#[derive(Debug)]
pub struct Traffic {
    rate: Rate,
    packets: u64,
    next: u64,
    frame: u64,
    place: u64,
    at: Instant,
}

impl Traffic {
    /// `packets` packets from `start` on.
    #[must_use]
    pub fn new(rate: Rate, packets: u64, start: Instant) -> Self {
        Self { rate, packets, next: 0, frame: 0, place: 0, at: start }
    }

    /// When the next is sent.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        (self.next < self.packets).then_some(self.at)
    }

    /// The next, if it is due at `now`.
    pub fn due(&mut self, now: Instant) -> Option<Media> {
        self.next_at().filter(|&at| at <= now)?;
        let last = self.place + 1 == self.rate.per_frame();
        let media = Media { index: self.next, frame: self.frame, last };
        self.next += 1;
        if last {
            self.at += FRAME - SPACING * self.place as u32;
            self.frame += 1;
            self.place = 0;
        } else {
            self.at += SPACING;
            self.place += 1;
        }
        Some(media)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_when_the_schedule_says() {
        let start = Instant::now();
        for rate in [Rate::Eight, Rate::Two] {
            let mut traffic = Traffic::new(rate, 1_000, start);
            for index in 0..1_000 {
                let at = traffic.next_at().unwrap();
                assert_eq!(at - start, sent_after(rate, index));
                assert_eq!(traffic.due(at - Duration::from_nanos(1)), None);
                let media = traffic.due(at).unwrap();
                assert_eq!((media.index, media.frame), (index, index / rate.per_frame()));
                assert_eq!(media.last, (index + 1) % rate.per_frame() == 0);
            }
            assert_eq!(traffic.next_at(), None);
        }
    }

    #[test]
    fn bytes_are_a_packet_of_their_own() {
        let mut bytes = [[0; PACKET_BYTES]; 2];
        Media { index: 65_537, frame: 2, last: true }.write(&mut bytes[0]);
        Media { index: 1, frame: 2, last: true }.write(&mut bytes[1]);
        assert_eq!(bytes[0][..12], [0x80, 0xe0, 0, 1, 0, 0, 0x1c, 0x20, 0x6d, 0x73, 0x6d, 0x31]);
        assert_eq!(bytes[0][..12], bytes[1][..12]);
        assert_ne!(bytes[0], bytes[1]);
        Media { index: 1, frame: 2, last: true }.write(&mut [0; 5]);
    }
}
