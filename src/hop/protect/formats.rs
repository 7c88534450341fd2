//! The payload types of a protected track, as the hop's description has them.

use msm_fec::nack::wire::RtxFormat;
use msm_fec::rs::sdp::{CLOCK_RATE, ENCODING, Parameters};
use msm_rtsp::sdp::{Beside, Protecting, Track};
use std::time::Duration;

const RTX: &str = "rtx";

/// Which payload types repair packets and retransmissions have on the flow beside a track's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Formats {
    /// Reed-Solomon repair packets.
    pub(crate) repair: u8,
    /// Retransmissions: the media's payload type, and theirs.
    rtx: Vec<(u8, u8)>,
}

impl Formats {
    /// Numbers that the track leaves free. `None` if there are not enough: it cannot be protected.
    fn of(track: &Track) -> Option<Self> {
        let mut free = Protecting::free_numbers(track.formats.iter().map(|format| format.number));
        let repair = free.next()?;
        let rtx = track.formats.iter().map(|format| Some((format.number, free.next()?)));
        Some(Self { repair, rtx: rtx.collect::<Option<_>>()? })
    }

    /// What the sender of a track offers for it.
    pub(crate) fn offer(track: &Track, latency: Duration) -> Option<(Self, Protecting)> {
        let own = Self::of(track)?;
        let latency_ms = super::milliseconds(latency)?;
        let parameters = Parameters { repair_window: latency };
        let repair = Beside {
            number: own.repair,
            encoding: ENCODING.to_owned(),
            clock_rate: CLOCK_RATE,
            parameters: parameters.to_string(),
        };
        let rtx = own.rtx.iter().zip(&track.formats).map(|((apt, number), format)| Beside {
            number: *number,
            encoding: RTX.to_owned(),
            clock_rate: format.clock_rate,
            parameters: RtxFormat { apt: *apt, rtx_time: Some(latency_ms) }.to_string(),
        });
        let formats = std::iter::once(repair).chain(rtx).collect();
        Some((own, Protecting { formats, nack: true, latency: Some(latency_ms) }))
    }

    /// What a description offers, as far as it is known here.
    pub(crate) fn offered(protecting: &Protecting) -> Option<Self> {
        let repair = protecting.formats.iter().find(|format| {
            format.encoding.eq_ignore_ascii_case(ENCODING) && Parameters::parse(&format.parameters).is_ok()
        })?;
        let rtx = protecting.formats.iter().filter(|format| format.encoding.eq_ignore_ascii_case(RTX));
        let rtx = rtx.filter_map(|format| Some((RtxFormat::read(&format.parameters)?.apt, format.number)));
        Some(Self { repair: repair.number, rtx: rtx.collect() })
    }

    /// The payload type of retransmissions of packets with this one.
    pub(crate) fn rtx_of(&self, media: u8) -> Option<u8> {
        self.rtx.iter().find(|(apt, _)| *apt == media).map(|(_, rtx)| *rtx)
    }

    /// The payload type of what was retransmitted under this one.
    pub(crate) fn media_of(&self, rtx: u8) -> Option<u8> {
        self.rtx.iter().find(|(_, number)| *number == rtx).map(|(apt, _)| *apt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_rtsp::limits::Limits;
    use msm_rtsp::sdp::{Description, TrackWay};

    #[test]
    fn what_one_side_offers_the_other_understands() {
        let text = b"v=0\r\nm=video 0 RTP/AVP 127 96\r\na=rtpmap:127 H264/90000\r\na=rtpmap:96 VP8/90000\r\n";
        let description = Description::parse(text, &Limits::default()).unwrap();
        let (own, protecting) = Formats::offer(&description.tracks[0], Duration::from_millis(80)).unwrap();
        let ways = [TrackWay { protecting, ..TrackWay::default() }];
        let read = Description::parse(&description.for_reader(false, &ways), &Limits::default()).unwrap();
        let track = &read.tracks[0];
        assert_eq!(track.protecting.latency, Some(80));
        assert_eq!(Formats::offered(&track.protecting), Some(own.clone()));
        assert_eq!((own.repair, own.rtx_of(127), own.rtx_of(96)), (126, Some(125), Some(124)));
        assert_eq!((own.media_of(124), own.media_of(126), own.rtx_of(3)), (Some(96), None, None));
        assert_eq!(Formats::offered(&Protecting::default()), None);
        assert_eq!(Formats::offer(track, Duration::ZERO), None);
    }
}
