//! Packets, sockets for them, and what becomes of them.

use std::net::UdpSocket;
use std::time::Duration;

/// A description of one H.264 track.
pub const VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n";

/// An H.264 packet that is a keyframe of its own.
pub fn keyframe(sequence: u16, timestamp: u32, ssrc: u32, length: usize) -> Vec<u8> {
    rtp(sequence, timestamp, ssrc, 0x65, length)
}

/// An H.264 packet whose NAL unit has `nal` as first byte.
pub fn rtp(sequence: u16, timestamp: u32, ssrc: u32, nal: u8, length: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    // A slice that begins its picture.
    packet.extend_from_slice(&[nal, 0x88]);
    packet.resize(length.max(14), 0x55);
    packet
}

/// Whether an RTCP datagram holds a BYE (RFC 3550 §6.6).
pub fn has_bye(mut datagram: &[u8]) -> bool {
    while datagram.len() >= 4 {
        if datagram[1] == 203 {
            return true;
        }
        let length = 4 * (usize::from(u16::from_be_bytes([datagram[2], datagram[3]])) + 1);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    false
}

/// Waits for a BYE on a socket.
pub fn wait_bye(rtcp: &UdpSocket) {
    let mut scratch = [0; 2048];
    loop {
        let length = rtcp.recv(&mut scratch).expect("a BYE comes");
        if has_bye(&scratch[..length]) {
            return;
        }
    }
}

/// A pair of sockets on neighbouring ports, even first.
pub fn pair() -> (UdpSocket, UdpSocket) {
    for _ in 0..1000 {
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            for socket in [&rtp, &rtcp] {
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            }
            return (rtp, rtcp);
        }
    }
    panic!("no pair of ports is free");
}

/// One reader's line of packets: one SSRC, numbers without a gap, the publisher's bytes.
#[derive(Default)]
pub struct Line {
    last: Option<(u16, Vec<u8>)>,
}

impl Line {
    pub fn check(&mut self, packet: &[u8], sent: &[u8]) {
        assert!(packet[12..] == sent[12..], "payload: {} bytes for {} sent", packet.len(), sent.len());
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some((last, ssrc)) = &self.last {
            assert_eq!(sequence, last.wrapping_add(1), "sequence numbers have a gap");
            assert_eq!(packet[8..12], ssrc[..], "the SSRC changed");
        }
        self.last = Some((sequence, packet[8..12].to_vec()));
    }
}
