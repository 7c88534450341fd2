//! Requests on the wire: generic NACK (RFC 4585 §6.2.1), and what SDP says of retransmission (RFC 4588 §8).

use msm_core::rtcp::{Compound, Nack, Packet, RtcpWriteError, Writer};

/// Writes a request: one NACK packet for each copy that is asked for, of those packets of which so many are wanted.
///
/// `passes` are ascending indices: the first pass names everything, the next what is wanted twice, and so on. A peer that
/// knows nothing of copies answers what it is asked.
///
/// # Errors
///
/// No room. The passes that fitted are written.
pub fn write_request<'p>(
    writer: &mut Writer<'_>,
    sender_ssrc: u32,
    media_ssrc: u32,
    passes: impl IntoIterator<Item = &'p [u64]>,
) -> Result<(), RtcpWriteError> {
    let mut numbers = [0_u16; super::MAX_REQUEST];
    for pass in passes {
        let mut count = 0;
        for (place, index) in numbers.iter_mut().zip(pass) {
            // Numbers are 16 bits on the wire.
            *place = *index as u16;
            count += 1;
        }
        if count > 0 {
            writer.nack(sender_ssrc, media_ssrc, numbers.get(..count).unwrap_or_default())?;
        }
    }
    Ok(())
}

/// The NACKs of a datagram about `media_ssrc`. Packets that can not be read are passed over.
pub fn requests<'a>(compound: &Compound<'a>, media_ssrc: u32) -> impl Iterator<Item = Nack<'a>> + use<'a> {
    compound.packets().filter_map(move |packet| match packet {
        Ok(Packet::Nack(nack)) if nack.media_ssrc == media_ssrc => Some(nack),
        _ => None,
    })
}

/// The parameters of an `rtx` payload type: `a=fmtp:97 apt=96;rtx-time=3000` (RFC 4588 §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtxFormat {
    /// The payload type of the packets that are sent again.
    pub apt: u8,
    /// How long the sender keeps packets, in milliseconds.
    pub rtx_time: Option<u32>,
}

impl RtxFormat {
    /// Reads what follows the payload type in `a=fmtp`. Parameters that it does not know are passed over; `None` without a valid
    /// `apt`.
    #[must_use]
    pub fn read(parameters: &str) -> Option<Self> {
        let (mut apt, mut rtx_time) = (None, None);
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("apt") {
                apt = value.parse().ok().filter(|apt| *apt < 128);
            } else if name.eq_ignore_ascii_case("rtx-time") {
                rtx_time = value.parse().ok();
            }
        }
        Some(Self { apt: apt?, rtx_time })
    }
}

/// As it stands behind the payload type in `a=fmtp`.
impl std::fmt::Display for RtxFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "apt={}", self.apt)?;
        self.rtx_time.map_or(Ok(()), |time| write!(f, ";rtx-time={time}"))
    }
}

/// `a=ssrc-group:FID ORIGINAL RTX` (RFC 5576 §4.2, RFC 4588 §5.3): which stream another one sends again.
#[must_use]
pub fn read_fid(value: &str) -> Option<(u32, u32)> {
    let mut words = value.split_ascii_whitespace();
    let (semantics, media, rtx) = (words.next()?, words.next()?, words.next()?);
    let group = (media.parse().ok()?, rtx.parse().ok()?);
    (semantics.eq_ignore_ascii_case("FID") && words.next().is_none()).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::rtcp::Acceptance;

    #[test]
    fn many_losses_take_few_entries_and_copies_take_packets_of_their_own() {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        let lost: Vec<u64> = (0x2_fff8..0x3_0012).collect();
        let passes: [&[u64]; 2] = [&lost, &[0x2_fff9, 0x3_0001]];
        write_request(&mut writer, 1, 2, passes).unwrap();
        let compound = Compound::parse(writer.as_bytes(), Acceptance::ReducedSize).unwrap();
        let nacks: Vec<_> = requests(&compound, 2).collect();
        assert_eq!(requests(&compound, 3).count(), 0, "another stream's");
        assert_eq!((nacks.len(), nacks[0].pairs().len(), nacks[1].pairs().len()), (2, 2, 1));
        assert!(nacks[0].lost().eq(lost.iter().map(|index| *index as u16)));
        assert!(nacks[1].lost().eq([0xfff9, 1]));
        assert_eq!(writer.len(), 12 + 8 + 12 + 4);
        let mut small = [0; 20];
        let mut writer = Writer::new(&mut small);
        assert!(write_request(&mut writer, 1, 2, passes).is_err(), "the second packet does not fit");
        assert_eq!(writer.len(), 20);
    }

    #[test]
    fn formats_are_read_leniently_and_written_as_the_rfc_has_them() {
        let format = RtxFormat { apt: 96, rtx_time: Some(3000) };
        assert_eq!(format.to_string(), "apt=96;rtx-time=3000");
        for text in ["apt=96;rtx-time=3000", " apt=96; rtx-time=3000", "RTX-Time = 3000;x;APT=96;y=z"] {
            assert_eq!(RtxFormat::read(text), Some(format), "{text}");
        }
        assert_eq!(RtxFormat::read("apt=5"), Some(RtxFormat { apt: 5, rtx_time: None }));
        for text in ["", "apt", "apt=128", "apt=x", "rtx-time=3000"] {
            assert_eq!(RtxFormat::read(text), None, "{text}");
        }
        assert_eq!(read_fid("FID 1 4294967295"), Some((1, u32::MAX)));
        for text in ["", "FID 1", "FID 1 2 3", "FEC-FR 1 2", "FID 1 x"] {
            assert_eq!(read_fid(text), None, "{text}");
        }
    }
}
