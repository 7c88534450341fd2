//! Whether readers of one description can go on with what another one describes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Description, Format, Track};

/// Parameters of a format without which a decoder that was made by another value of them makes noise (`RFC 3640 §4.1`,
/// `RFC 6416 §7.3`).
const DECISIVE: &[&str] =
    &["config", "mode", "sizelength", "indexlength", "indexdeltalength", "constantduration"];

/// Parameters that hold parameter sets: `RFC 6184 §8.1`, `RFC 7798 §7.1`; in the order that they are to be sent in.
const SETS: &[&str] = &["sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets"];

/// The most parameter sets that are taken from a description, and the bytes of one: it is to fit a packet.
const MAX_SETS: usize = 8;
const MAX_SET_BYTES: usize = 1200;

impl Description {
    /// What readers of `self` need to go on with `next`: for each track, `next`'s payload types and ours for the same formats;
    /// nothing where they have the same numbers.
    ///
    /// # Errors
    /// What they cannot take, for people.
    pub fn successor(&self, next: &Description) -> Result<Vec<Vec<(u8, u8)>>, String> {
        if self.tracks.len() != next.tracks.len() {
            return Err(format!("{} tracks instead of {}", next.tracks.len(), self.tracks.len()));
        }
        let tracks = self.tracks.iter().zip(&next.tracks).enumerate();
        tracks
            .map(|(number, (own, other))| {
                self.same(own, next, other).map_err(|why| format!("track {number}: {why}"))
            })
            .collect()
    }

    fn same(&self, own: &Track, next: &Description, other: &Track) -> Result<Vec<(u8, u8)>, String> {
        if !own.media.eq_ignore_ascii_case(&other.media) {
            return Err(format!("{} instead of {}", other.media, own.media));
        }
        let mut taken: Vec<u8> = Vec::new();
        let mut numbers = Vec::new();
        for format in &other.formats {
            let same = own.formats.iter().find(|own_format| {
                !taken.contains(&own_format.number)
                    && is_same(own_format, format)
                    && self.channels(own, own_format.number) == next.channels(other, format.number)
            });
            if let Some(same) = same {
                taken.push(same.number);
                numbers.push((format.number, same.number));
            }
        }
        // Servers name first what they send.
        if let (Some(ours), Some(theirs)) = (own.formats.first(), other.formats.first()) {
            let Some((_, number)) = numbers.iter().find(|(from, _)| *from == theirs.number) else {
                return Err(format!("{} instead of {}", name(theirs), name(ours)));
            };
            for key in DECISIVE {
                let (before, after) =
                    (self.parameter(own, *number, key), next.parameter(other, theirs.number, key));
                if !same_value(before, after) {
                    return Err(format!("{} with another {key}", name(theirs)));
                }
            }
        }
        let unchanged = numbers.iter().all(|(from, to)| from == to) && numbers.len() == other.formats.len();
        Ok(if unchanged { Vec::new() } else { numbers })
    }

    /// The payload type of a track that its description has parameter sets for, and these, to be sent before a keyframe.
    #[must_use]
    pub fn parameter_sets(&self, track: usize) -> Option<(u8, Vec<Vec<u8>>)> {
        let track = self.tracks.get(track)?;
        let format = track.formats.iter().find(|format| {
            ["H264", "H265", "HEVC"].iter().any(|name| format.encoding.eq_ignore_ascii_case(name))
        })?;
        let sets: Vec<Vec<u8>> = SETS
            .iter()
            .filter_map(|key| self.parameter(track, format.number, key))
            .flat_map(|value| value.split(','))
            .filter_map(|set| STANDARD.decode(set.trim()).ok())
            .filter(|set| (1..=MAX_SET_BYTES).contains(&set.len()))
            .take(MAX_SETS)
            .collect();
        (!sets.is_empty()).then_some((format.number, sets))
    }

    /// The parameters of a track's first format (`a=fmtp`, `RFC 8866 §6.15`), without its payload type.
    #[must_use]
    pub fn parameters(&self, track: usize) -> Option<&str> {
        let track = self.tracks.get(track)?;
        self.of_format(track, "fmtp", track.formats.first()?.number)
    }

    /// A parameter of a format's `a=fmtp`.
    fn parameter(&self, track: &Track, number: u8, key: &str) -> Option<&str> {
        self.of_format(track, "fmtp", number)?.split(';').find_map(|parameter| {
            let (own, value) = parameter.trim().split_once('=')?;
            own.trim().eq_ignore_ascii_case(key).then(|| value.trim())
        })
    }

    /// The channels of an audio format.
    fn channels(&self, track: &Track, number: u8) -> u32 {
        let map = self.of_format(track, "rtpmap", number);
        map.and_then(|map| map.trim().split('/').nth(2)?.trim().parse().ok()).unwrap_or(1)
    }

    /// What an attribute says of one format.
    fn of_format(&self, track: &Track, attribute: &str, number: u8) -> Option<&str> {
        let media = self.session.medias.get(track.index)?;
        media.attributes.iter().filter(|own| own.attribute.eq_ignore_ascii_case(attribute)).find_map(|own| {
            let (format, rest) = own.value.as_deref()?.trim().split_once(' ')?;
            (format.parse() == Ok(number)).then_some(rest)
        })
    }
}

fn is_same(one: &Format, other: &Format) -> bool {
    one.encoding.eq_ignore_ascii_case(&other.encoding) && one.clock_rate == other.clock_rate
}

fn same_value(before: Option<&str>, after: Option<&str>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before.eq_ignore_ascii_case(after),
        // What is left out may stand in the stream.
        _ => true,
    }
}

fn name(format: &Format) -> String {
    format!("{}/{}", format.encoding, format.clock_rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const LINE: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==;profile-level-id=42C01E\r\n\
        m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\n\
        a=fmtp:97 mode=AAC-hbr;config=1190;sizelength=13\r\n";

    fn parse(text: &str) -> Description {
        Description::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn what_readers_can_go_on_with() {
        let line = parse(LINE);
        let with = |from: &str, to: &str| {
            assert!(LINE.contains(from), "{from}");
            line.successor(&parse(&LINE.replace(from, to)))
        };
        assert_eq!(with("profile-level-id=42C01E", "profile-level-id=640028"), Ok(vec![vec![], vec![]]));
        assert_eq!(
            with("a=fmtp:97 mode=AAC-hbr;config=1190;sizelength=13\r\n", ""),
            Ok(vec![vec![], vec![]])
        );
        assert_eq!(with("mpeg4-generic", "MPEG4-GENERIC"), Ok(vec![vec![], vec![]]));
        // Other numbers for the same.
        let renumbered = LINE.replace("96", "35").replace("97", "96").replace("RTP/AVP 35", "RTP/AVP 35 100");
        assert_eq!(line.successor(&parse(&renumbered)), Ok(vec![vec![(35, 96)], vec![(96, 97)]]));
        for (from, to, says) in [
            ("H264", "H265", "track 0: H265/90000 instead of H264/90000"),
            ("48000/2", "44100/2", "track 1: mpeg4-generic/44100 instead of mpeg4-generic/48000"),
            ("48000/2", "48000/1", "track 1: mpeg4-generic/48000 instead of mpeg4-generic/48000"),
            ("config=1190", "config=1210", "track 1: mpeg4-generic/48000 with another config"),
            ("m=audio", "m=application", "track 1: application instead of audio"),
            ("m=audio 0 RTP/AVP 97", "m=audio 0 udp 97", "1 tracks instead of 2"),
        ] {
            assert_eq!(with(from, to), Err(says.to_owned()));
        }
    }

    #[test]
    fn parameter_sets_are_read() {
        let (number, sets) = parse(LINE).parameter_sets(0).unwrap();
        assert_eq!((number, sets.len(), sets[0][0], &*sets[1]), (96, 2, 0x67, &[0x68, 0xcb, 0x8c, 0xb2][..]));
        assert_eq!(parse(LINE).parameter_sets(1), None);
        let h265 = "v=0\r\nm=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\na=fmtp:98 sprop-pps=RAHA; sprop-sps=QgEB;sprop-vps=QAEM\r\n";
        let (number, sets) = parse(h265).parameter_sets(0).unwrap();
        let first: Vec<_> = sets.iter().map(|set| set[0]).collect();
        assert_eq!((number, first), (98, vec![0x40, 0x42, 0x44]));
        let broken = h265.replace("QgEB", "*").replace("QAEM", "").replace("RAHA", &"A".repeat(4000));
        assert_eq!(parse(&broken).parameter_sets(0), None);
    }
}
