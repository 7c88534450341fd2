//! A source of RTP that looks like H.264 video.

use std::io;
use std::net::SocketAddr;

use msm_udp::{Socket, Transmit};

use crate::PACKET_BYTES;

/// Payload type of the source.
pub const PAYLOAD_TYPE: u8 = 96;

/// A keyframe comes each so many packets, so that what a proxy keeps for late readers starts anew.
const KEYFRAME_PACKETS: u32 = 512;

/// The first frames are all keyframes: a new source is on probation with its first packets (RFC 3550 App. A.1).
const FIRST_KEYFRAMES: u32 = 16;

/// Sends bursts of RTP packets from one socket to one address.
#[derive(Debug)]
pub struct Source {
    socket: Socket,
    destination: SocketAddr,
    ssrc: u32,
    packets: u32,
    next_keyframe: u32,
    timestamp: u32,
    buffer: Vec<u8>,
}

impl Source {
    /// A source on `socket`, which stays the source's address.
    ///
    /// # Errors
    ///
    /// The socket refused an option.
    pub fn new(socket: std::net::UdpSocket, destination: SocketAddr) -> io::Result<Self> {
        let ssrc = 0x4d53_0000 | u32::from(socket.local_addr()?.port());
        let socket = Socket::new(socket)?;
        Ok(Self { socket, destination, ssrc, packets: 0, next_keyframe: 0, timestamp: 0, buffer: Vec::new() })
    }

    /// The SSRC.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets sent, and the timestamp of the last: what a sender report says.
    pub fn sent(&self) -> (u32, u32) {
        (self.packets, self.timestamp)
    }

    /// Sends one frame of `packets` packets in one call (GSO).
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn send(&mut self, packets: usize) -> io::Result<()> {
        self.timestamp = self.timestamp.wrapping_add(3000);
        self.buffer.resize(packets * PACKET_BYTES, 0);
        let keyframe = self.packets >= self.next_keyframe;
        if keyframe && self.packets >= FIRST_KEYFRAMES {
            self.next_keyframe = self.packets.saturating_add(KEYFRAME_PACKETS);
        }
        for (index, packet) in self.buffer.chunks_exact_mut(PACKET_BYTES).enumerate() {
            let marker = u8::from(index + 1 == packets) << 7;
            let header = header(marker | PAYLOAD_TYPE, self.packets as u16, self.timestamp, self.ssrc);
            let (head, payload) = packet.split_at_mut(header.len());
            head.copy_from_slice(&header);
            if let Some(nal) = payload.first_chunk_mut() {
                // A slice of an IDR picture, or of another; the first slice of the picture, or a later one.
                *nal = [if keyframe { 0x65 } else { 0x41 }, if index == 0 { 0x88 } else { 0x44 }];
            }
            set_number(packet, self.packets);
            self.packets = self.packets.wrapping_add(1);
        }
        self.socket.send(&Transmit {
            destination: self.destination,
            contents: &self.buffer,
            segment_size: Some(PACKET_BYTES),
            ecn: None,
            src_ip: None,
        })
    }
}

/// A fixed RTP header (RFC 3550 §5.1).
fn header(marker_and_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = 0x80;
    header[1] = marker_and_type;
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    header
}

/// Writes the number of a packet, which no relay changes, for latency.
pub fn set_number(packet: &mut [u8], number: u32) {
    if let Some(place) = packet.get_mut(16..20) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// The number that [`Source::send`] wrote into a packet.
pub fn number(packet: &[u8]) -> Option<u32> {
    packet.get(16..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A compound of sender report and SDES CNAME (RFC 3550 §6.4.1, §6.5).
pub fn sender_report(ssrc: u32, packets: u32, timestamp: u32) -> Vec<u8> {
    let since_1900 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() + 2_208_988_800);
    let mut report = vec![0x80, 200, 0, 6];
    for word in
        [ssrc, since_1900 as u32, 0, timestamp, packets, packets.wrapping_mul(PACKET_BYTES as u32 - 12)]
    {
        report.extend(word.to_be_bytes());
    }
    report.extend([0x81, 202, 0, 3]);
    report.extend(ssrc.to_be_bytes());
    // CNAME, 5 bytes, then the end of the chunk.
    report.extend([1, 5, b'b', b'e', b'n', b'c', b'h', 0]);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_carry_number_sequence_and_marker() {
        let sink = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut source = Source::new(socket, sink.local_addr().unwrap()).unwrap();
        source.send(2).unwrap();
        source.send(1).unwrap();
        let mut buffer = [0; 2000];
        for (index, marker) in [(0, false), (1, true), (2, true)] {
            assert_eq!(sink.recv(&mut buffer).unwrap(), PACKET_BYTES);
            assert_eq!(number(&buffer), Some(index));
            assert_eq!(u32::from(u16::from_be_bytes([buffer[2], buffer[3]])), index);
            assert_eq!(buffer[1] >> 7 == 1, marker);
        }
    }

    #[test]
    fn a_sender_report_has_its_lengths_right() {
        let report = sender_report(7, 1, 2);
        assert_eq!(report.len(), 4 * 7 + 4 * 4);
    }
}
