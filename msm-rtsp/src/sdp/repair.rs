//! What one hop does about lost packets, as the attributes of a description say it.

use sdp_types::{Attribute, Media};

use super::{Format, rtpmap};

/// Encodings whose packets are no media, but repair that of others in the same section.
const REPAIRS: &[&str] = &["rtx", "ulpfec", "parityfec", "flexfec", "flexfec-03", "1d-interleaved-parityfec"];

/// What the sender of a track offers against loss, beside its media. It ends with the hop, as keys do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Packets can be asked for again: `a=rtcp-fb` with `nack` alone (`RFC 4585 §4.2`).
    pub nack: bool,
    /// Payload types of repair packets.
    pub formats: Vec<RepairFormat>,
}

/// One payload type of repair packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairFormat {
    /// Its number.
    pub number: u8,
    /// Its encoding name, in lower case.
    pub encoding: String,
    /// What `a=fmtp` says of it.
    pub parameters: String,
}

/// How the reader of a track may ask for packets again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Whether the profile is one of early feedback, `RTP/AVPF`. `RFC 4585 §4.2` has requests there alone; but live555 (and VLC
    /// with it) takes no section of that profile, and GStreamer asks for nothing in another one.
    pub early: bool,
    /// For how long packets can be asked for, in milliseconds (`RFC 4588 §8.1`).
    pub time: u32,
}

impl Repair {
    /// Whether packets can be asked for again. GStreamer's server says so by naming the type of those that come then.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.nack || self.formats.iter().any(|format| format.encoding == "rtx")
    }

    /// Takes what repairs out of a media section. One that has nothing else is left alone.
    pub(super) fn take(media: &mut Media) -> Self {
        let mut own = Self::default();
        let repair = |number: u8| {
            let maps = media.attributes.iter().filter(|own| own.attribute.eq_ignore_ascii_case("rtpmap"));
            let (_, (encoding, _)) =
                maps.filter_map(|own| rtpmap(own.value.as_deref()?)).find(|(own, _)| *own == number)?;
            let encoding = encoding.to_ascii_lowercase();
            REPAIRS.contains(&encoding.as_str()).then_some((number, encoding))
        };
        let mut seen = 0_u128;
        let numbers = media.fmt.split_ascii_whitespace().filter_map(|number| number.parse::<u8>().ok());
        // Each number once: there are 128 at most.
        let numbers = numbers.filter(|number| {
            let bit = 1_u128.checked_shl((*number).into()).unwrap_or_default();
            let fresh = seen | bit != seen;
            seen |= bit;
            fresh
        });
        let found: Vec<(u8, String)> = numbers.filter_map(repair).collect();
        let is_repair = |number: &str| found.iter().any(|(own, _)| number.parse() == Ok(*own));
        let mut left = media.fmt.split_ascii_whitespace().filter(|number| !is_repair(number)).peekable();
        if left.peek().is_none() {
            return own;
        }
        let left = left.collect::<Vec<_>>().join(" ");
        own.formats = found
            .iter()
            .map(|(number, encoding)| RepairFormat {
                number: *number,
                encoding: encoding.clone(),
                parameters: parameters(media, *number).unwrap_or_default().to_owned(),
            })
            .collect();
        media.attributes.retain(|attribute| {
            let name = attribute.attribute.trim();
            let value = attribute.value.as_deref().unwrap_or_default().trim();
            let first = value.split_ascii_whitespace().next().unwrap_or_default();
            if name.eq_ignore_ascii_case("rtcp-fb") {
                let mut words = value.split_ascii_whitespace().skip(1);
                own.nack |= words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("nack"))
                    && words.next().is_none();
                return false;
            }
            let of_format = ["rtpmap", "fmtp"].iter().any(|own| name.eq_ignore_ascii_case(own));
            !(of_format && is_repair(first))
        });
        media.fmt = left;
        own
    }
}

fn parameters(media: &Media, number: u8) -> Option<&str> {
    let formats = media.attributes.iter().filter(|own| own.attribute.eq_ignore_ascii_case("fmtp"));
    formats
        .filter_map(|own| own.value.as_deref()?.trim().split_once(' '))
        .find_map(|(own, parameters)| (own.parse() == Ok(number)).then(|| parameters.trim()))
}

impl Feedback {
    /// Adds to a media section that each of its payload types can be asked for again, and `types` are those of the packets
    /// that come then.
    pub(super) fn write(self, media: &mut Media, formats: &[Format], types: &[(u8, u8)]) {
        let mut attributes = Vec::new();
        for format in formats {
            attributes.push(Attribute::with_value("rtcp-fb", format!("{} nack", format.number)));
        }
        for (format, number) in types {
            // With the channels: ffmpeg takes those of the last line of the section for all of it.
            let clock = clock(media, formats, *format);
            let time = self.time;
            media.fmt += &format!(" {number}");
            attributes.push(Attribute::with_value("rtpmap", format!("{number} rtx/{clock}")));
            attributes.push(Attribute::with_value("fmtp", format!("{number} apt={format};rtx-time={time}")));
        }
        media.attributes.append(&mut attributes);
    }
}

/// Clock rate and channels of a payload type, as its `rtpmap` has them.
fn clock(media: &Media, formats: &[Format], number: u8) -> String {
    let maps = media.attributes.iter().filter(|own| own.attribute.eq_ignore_ascii_case("rtpmap"));
    let told = maps.filter_map(|own| own.value.as_deref()?.trim().split_once(' ')).find_map(|(own, map)| {
        let (_, clock) = map.trim().split_once('/')?;
        (own.parse() == Ok(number)).then(|| clock.trim().to_owned())
    });
    told.unwrap_or_else(|| {
        let rate = formats.iter().find(|own| own.number == number).map_or(90_000, |own| own.clock_rate);
        // L16 in stereo is the one static type with more than a channel (`RFC 3551 §6`).
        if number == 10 { format!("{rate}/2") } else { rate.to_string() }
    })
}

/// For each of the tracks' formats a free dynamic number, as far as there are some.
pub(super) fn free_types<'a>(tracks: impl Iterator<Item = &'a [Format]> + Clone) -> Vec<Vec<(u8, u8)>> {
    let used: Vec<u8> = tracks.clone().flatten().map(|format| format.number).collect();
    let mut free = (96_u8..128).filter(|number| !used.contains(number));
    tracks.map(|own| own.iter().map_while(|format| Some((format.number, free.next()?))).collect()).collect()
}
