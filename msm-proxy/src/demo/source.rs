//! The embedded source: the clip in a loop, with timestamps and sequence numbers that never jump.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use msm::Publisher;
use msm_core::ntp::NtpTime;
use msm_core::rtcp::{SenderInfo, Writer};

use super::clip::ClipPacket;

/// How often each track's sender report is sent.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Identifier of the abs-send-time extension in the clip's description.
pub(crate) const SEND_TIME_ID: u8 = 1;

struct Track {
    payload_type: u8,
    clock_rate: u32,
    ssrc: u32,
    sequence: u16,
    base: u32,
    packets: u32,
    octets: u32,
    /// Timestamp units of one loop.
    loop_units: u32,
}

/// Plays `clip` into `publisher` until that ends or the future is dropped.
pub(crate) async fn run(publisher: &Publisher, clip: &[ClipPacket]) -> Result<(), msm::Error> {
    // Video is track 0, audio track 1, as in the description.
    let mut tracks = [track(96, 90_000, clip), track(97, 48_000, clip)];
    let loop_time = Duration::from_millis(loop_ms(clip));
    let start = Instant::now();
    let mut next_report = start;
    for turn in 0u32.. {
        let begin = start + loop_time * turn;
        for packet in clip {
            let due = begin + Duration::from_millis(u64::from(packet.offset_ms));
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let Some((index, track)) =
                tracks.iter_mut().enumerate().find(|(_, track)| track.payload_type == packet.payload_type)
            else {
                continue;
            };
            let timestamp =
                track.base.wrapping_add(track.loop_units.wrapping_mul(turn)).wrapping_add(packet.timestamp);
            publisher.send(index, write(track, packet, timestamp))?;
            if Instant::now() >= next_report {
                next_report += REPORT_INTERVAL;
                report(publisher, &tracks, start)?;
            }
        }
    }
    Ok(())
}

fn track(payload_type: u8, clock_rate: u32, clip: &[ClipPacket]) -> Track {
    let units = loop_ms(clip).saturating_mul(u64::from(clock_rate)) / 1000;
    Track {
        payload_type,
        clock_rate,
        ssrc: 0x6d73_6d00 | u32::from(payload_type),
        sequence: 1,
        base: 0,
        packets: 0,
        octets: 0,
        loop_units: u32::try_from(units).unwrap_or(u32::MAX),
    }
}

/// The clip's length: whole seconds, as its maker promises.
fn loop_ms(clip: &[ClipPacket]) -> u64 {
    let last = clip.iter().map(|packet| packet.offset_ms).max().unwrap_or(0);
    u64::from(last / 1000 + 1) * 1000
}

fn write(track: &mut Track, packet: &ClipPacket, timestamp: u32) -> Bytes {
    let mut bytes = Vec::with_capacity(20 + packet.payload.len());
    let marker = u8::from(packet.marker) << 7;
    bytes.extend_from_slice(&[0x90, marker | packet.payload_type]);
    bytes.extend_from_slice(&track.sequence.to_be_bytes());
    bytes.extend_from_slice(&timestamp.to_be_bytes());
    bytes.extend_from_slice(&track.ssrc.to_be_bytes());
    // One element of three bytes in the one-byte form (RFC 8285 §4.2).
    bytes.extend_from_slice(&[0xbe, 0xde, 0x00, 0x01, SEND_TIME_ID << 4 | 2]);
    bytes.extend_from_slice(&send_time());
    bytes.extend_from_slice(packet.payload);
    track.sequence = track.sequence.wrapping_add(1);
    track.packets = track.packets.wrapping_add(1);
    track.octets = track.octets.wrapping_add(u32::try_from(packet.payload.len()).unwrap_or(0));
    Bytes::from(bytes)
}

fn report(publisher: &Publisher, tracks: &[Track], start: Instant) -> Result<(), msm::Error> {
    let ntp = NtpTime::from_unix(unix_time());
    let elapsed = start.elapsed();
    for (index, track) in tracks.iter().enumerate() {
        let units = elapsed.as_micros().saturating_mul(u128::from(track.clock_rate)) / 1_000_000;
        #[allow(clippy::cast_possible_truncation, reason = "RTP time wraps at 32 bits")]
        let rtp = track.base.wrapping_add(units as u32);
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        let info = SenderInfo {
            ssrc: track.ssrc,
            ntp,
            rtp_timestamp: rtp,
            packet_count: track.packets,
            octet_count: track.octets,
        };
        if writer
            .sender_report(&info, &[])
            .and_then(|writer| writer.sdes_cname(track.ssrc, b"demo@msm"))
            .is_ok()
        {
            publisher.send_rtcp(index, Bytes::copy_from_slice(writer.as_bytes()))?;
        }
    }
    Ok(())
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Now in the 6.18 fixed-point form of the abs-send-time extension.
fn send_time() -> [u8; 3] {
    fixed(unix_time())
}

fn fixed(time: Duration) -> [u8; 3] {
    let units = (time.as_nanos() << 18) / 1_000_000_000;
    #[allow(clippy::cast_possible_truncation, reason = "the form keeps 24 bits")]
    let [_, high, middle, low] = (units as u32).to_be_bytes();
    [high, middle, low]
}

/// How long ago `stamp` was written.
pub(crate) fn age(stamp: &[u8]) -> Option<Duration> {
    let &[high, middle, low] = stamp else { return None };
    let [now_high, now_middle, now_low] = send_time();
    let then = u32::from_be_bytes([0, high, middle, low]);
    let now = u32::from_be_bytes([0, now_high, now_middle, now_low]);
    let units = now.wrapping_sub(then) & 0x00ff_ffff;
    // The clock may step back a little: an age of more than half the range is that.
    let units = if units > 0x007f_ffff { 0 } else { units };
    Some(Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 18))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_seconds_in_18_fraction_bits() {
        assert_eq!(fixed(Duration::from_millis(500)), [0x02, 0x00, 0x00]);
        assert_eq!(fixed(Duration::from_secs(64)), [0, 0, 0]);
        let age = age(&fixed(unix_time() - Duration::from_millis(20))).unwrap();
        assert!(age >= Duration::from_millis(19) && age < Duration::from_secs(5), "{age:?}");
    }
}
