//! Formats of a media section that carry no media, but protect it on the hop that the description is of.

use sdp_types::{Attribute, Media};

/// Encoding names of formats that repair or repeat what the other formats carry.
const ENCODINGS: &[&str] = &["rtx", "x-msm-rs", "ulpfec"];

/// A payload type that protects the others of its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its number.
    pub number: u8,
    /// Its encoding name.
    pub encoding: String,
    /// Timestamp units a second.
    pub clock_rate: u32,
    /// What stands in its `a=fmtp`.
    pub parameters: String,
}

/// How a media section is protected on its hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protecting {
    /// The payload types beside the media's.
    pub formats: Vec<Beside>,
    /// Whether lost packets may be asked for (`a=rtcp-fb:… nack`, RFC 4585 §4.2).
    pub nack: bool,
    /// The latency budget in milliseconds that the sender of the description proposes, between members.
    pub latency: Option<u32>,
}

/// The attribute of [`Protecting::latency`].
const LATENCY: &str = "x-msm-latency";

impl Protecting {
    /// Payload types of the dynamic range (RFC 3551 §6) that a section does not use.
    pub fn free_numbers(taken: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
        let used = taken.fold(0_u128, |used, number| used | 1_u128.checked_shl(number.into()).unwrap_or(0));
        (96..=127_u8).rev().filter(move |number| used >> number & 1 == 0)
    }

    /// Whether packets can be asked for again. GStreamer's server says so by naming the type of those that come then.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.nack || self.formats.iter().any(|format| format.encoding == "rtx")
    }

    /// Takes it out of a section: it is of this hop alone.
    pub(super) fn take(media: &mut Media) -> Self {
        let mut own = Self::default();
        let number_of = |value: &str| value.split_ascii_whitespace().next()?.parse::<u8>().ok();
        for attribute in &media.attributes {
            let value = attribute.value.as_deref().unwrap_or_default();
            let name = attribute.attribute.as_str();
            if name.eq_ignore_ascii_case("rtpmap")
                && let Some((number, (encoding, clock_rate))) = super::rtpmap(value)
                && ENCODINGS.iter().any(|known| encoding.eq_ignore_ascii_case(known))
                && own.formats.iter().all(|format| format.number != number)
            {
                let encoding = encoding.to_ascii_lowercase();
                own.formats.push(Beside { number, encoding, clock_rate, parameters: String::new() });
            }
            let mut words = value.split_ascii_whitespace().skip(1);
            if name.eq_ignore_ascii_case("rtcp-fb") {
                own.nack |= words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("nack"))
                    && words.next().is_none();
            } else if name.eq_ignore_ascii_case(LATENCY) {
                own.latency = value.trim().parse().ok();
            }
        }
        let is_own = |number: u8| own.formats.iter().any(|own| own.number == number);
        let is_other = |word: &str| !word.parse::<u8>().is_ok_and(is_own);
        if !media.fmt.split_ascii_whitespace().any(is_other) {
            // A section of repair alone, which protects another one: it is media as any.
            own.formats.clear();
        }
        let formats = &mut own.formats;
        media.attributes.retain(|attribute| {
            let value = attribute.value.as_deref().unwrap_or_default();
            let name = attribute.attribute.as_str();
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let format =
                number_of(value).and_then(|number| formats.iter_mut().find(|own| own.number == number));
            match format {
                Some(format) if is("fmtp") => {
                    let parameters = value.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
                    format.parameters = parameters.trim().to_owned();
                    false
                }
                Some(_) if is("rtpmap") || is("rtcp-fb") => false,
                _ if is("rtcp-fb") => {
                    // What asks for pictures is left; it is asked for on any hop.
                    let mut words = value.split_ascii_whitespace().skip(1);
                    !words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("nack"))
                        || words.next().is_some()
                }
                _ => !is(LATENCY),
            }
        });
        let is_beside = |word: &str| {
            word.parse::<u8>().is_ok_and(|number| own.formats.iter().any(|own| own.number == number))
        };
        if !own.formats.is_empty() {
            let left: Vec<&str> =
                media.fmt.split_ascii_whitespace().filter(|word| !is_beside(word)).collect();
            media.fmt = left.join(" ");
        }
        own
    }

    pub(super) fn write(&self, media: &mut Media) {
        let mut push = |name: &str, value: String| media.attributes.push(Attribute::with_value(name, value));
        if self.nack {
            push("rtcp-fb", "* nack".to_owned());
        }
        for Beside { number, encoding, clock_rate, parameters } in &self.formats {
            push("rtpmap", format!("{number} {encoding}/{clock_rate}"));
            if !parameters.is_empty() {
                push("fmtp", format!("{number} {parameters}"));
            }
        }
        if let Some(latency) = self.latency {
            push(LATENCY, latency.to_string());
        }
        for format in &self.formats {
            media.fmt.push_str(&format!(" {}", format.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Description, TrackWay};
    use super::*;
    use crate::limits::Limits;

    const MEDIA: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96 97\r\n\
        a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=rtpmap:97 VP8/90000\r\n\
        a=rtcp-fb:96 nack pli\r\n";

    fn parse(text: &[u8]) -> Description {
        Description::parse(text, &Limits::default()).unwrap()
    }

    fn offered() -> Protecting {
        let beside = |number, encoding: &str, parameters: &str| Beside {
            number,
            encoding: encoding.into(),
            clock_rate: 90_000,
            parameters: parameters.into(),
        };
        Protecting {
            formats: vec![
                beside(127, "x-msm-rs", "version=1;repair-window=200000"),
                beside(126, "rtx", "apt=96;rtx-time=200"),
            ],
            nack: true,
            latency: Some(80),
        }
    }

    #[test]
    fn what_is_offered_is_found_and_goes_no_further() {
        let description = parse(MEDIA.as_bytes());
        assert_eq!(description.tracks[0].protecting, Protecting::default());
        let ways = [TrackWay { protecting: offered(), ..TrackWay::default() }];
        let text = description.for_reader(false, &ways);
        let shown = String::from_utf8_lossy(&text);
        assert!(shown.contains("RTP/AVP 96 97 127 126\r\n"), "{shown}");
        let read = parse(&text);
        assert_eq!(read.tracks[0].protecting, offered());
        assert_eq!(read.tracks[0].formats, description.tracks[0].formats);
        let plain = parse(&description.for_reader(false, &[]));
        assert_eq!(read.for_reader(false, &[]), plain.for_reader(false, &[]));
        assert!(String::from_utf8_lossy(&read.for_reader(false, &[])).contains("a=rtcp-fb:96 nack pli"));
    }

    #[test]
    fn numbers_are_taken_that_nobody_uses() {
        let free: Vec<u8> = Protecting::free_numbers([127, 0, 125, 255].into_iter()).take(3).collect();
        assert_eq!(free, [126, 124, 123]);
        assert_eq!(Protecting::free_numbers(0..=127).count(), 0);
    }
}
