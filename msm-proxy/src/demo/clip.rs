//! The embedded clip: RTP packets in the `rtpdump` form of rtptools, read once at start.

use msm_core::rtp::RtpView;

use super::source::SEND_TIME_ID;

/// H.264 and Opus, a few seconds that loop without a seam.
const CLIP: &[u8] = include_bytes!("../../assets/demo.rtpdump");
/// What the clip's packets are.
const DESCRIPTION: &str = include_str!("../../assets/demo.sdp");

/// First line of the format, before address and port.
const MAGIC: &[u8] = b"#!rtpplay1.0 ";
/// Bytes of the binary file header: start time, source address, port, padding.
const FILE_HEADER: usize = 16;

/// One packet of the clip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClipPacket {
    /// Milliseconds since the clip's start.
    pub(crate) offset_ms: u32,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    /// Timestamp since the track's first packet.
    pub(crate) timestamp: u32,
    pub(crate) payload: &'static [u8],
}

/// Why the clip cannot be played.
#[derive(Debug, thiserror::Error)]
#[error("the embedded clip is damaged at byte {0}")]
pub(crate) struct ClipError(usize);

/// Reads the clip in the order of sending.
pub(crate) fn load() -> Result<Vec<ClipPacket>, ClipError> {
    parse(CLIP)
}

/// The description, with the extension in which the source says when it sent each packet.
pub(crate) fn description() -> String {
    let extension =
        format!("a=extmap:{SEND_TIME_ID} http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n");
    let mut text = String::new();
    for line in DESCRIPTION.lines() {
        text.push_str(line);
        text.push_str("\r\n");
        if line.starts_with("a=rtpmap:") {
            text.push_str(&extension);
        }
    }
    text
}

fn parse(clip: &'static [u8]) -> Result<Vec<ClipPacket>, ClipError> {
    let line = clip.iter().position(|byte| *byte == b'\n').ok_or(ClipError(0))?;
    if !clip.starts_with(MAGIC) {
        return Err(ClipError(0));
    }
    let mut at = line + 1 + FILE_HEADER;
    let mut packets: Vec<ClipPacket> = Vec::new();
    let mut first = [None::<u32>; 128];
    while at < clip.len() {
        let error = || ClipError(at);
        let header = clip.get(at..at + 8).ok_or_else(error)?;
        let &[l0, l1, p0, p1, o0, o1, o2, o3] = header else { return Err(error()) };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let rtp_length = usize::from(u16::from_be_bytes([p0, p1]));
        let packet = clip.get(at + 8..at + length).ok_or_else(error)?;
        // Length 0 marks RTCP, which the source makes anew.
        if rtp_length > 0 {
            let view = RtpView::parse(packet).map_err(|_| error())?;
            let start = first.get_mut(usize::from(view.payload_type())).ok_or_else(error)?;
            let start = *start.get_or_insert(view.timestamp());
            packets.push(ClipPacket {
                offset_ms: u32::from_be_bytes([o0, o1, o2, o3]),
                marker: view.marker(),
                payload_type: view.payload_type(),
                timestamp: view.timestamp().wrapping_sub(start),
                payload: view.payload(),
            });
        }
        at += length.max(8);
    }
    packets.sort_by_key(|packet| packet.offset_ms);
    if packets.is_empty() { Err(ClipError(at)) } else { Ok(packets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_is_whole_and_small() {
        assert!(CLIP.len() <= 400 * 1024, "the clip is {} bytes", CLIP.len());
        let packets = load().unwrap();
        assert!(packets.iter().any(|packet| packet.payload_type == 96));
        assert!(packets.iter().any(|packet| packet.payload_type == 97));
        assert!(packets.iter().all(|packet| packet.payload.len() <= 1200));
    }

    #[test]
    fn damage_is_an_error() {
        for end in [0, 10, 40, CLIP.len() - 1] {
            assert!(parse(&CLIP[..end]).is_err(), "cut at {end}");
        }
    }
}
