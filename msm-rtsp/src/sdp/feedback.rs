//! What we offer against loss of what we send, as descriptions say it.

use sdp_types::{Attribute, Media};

use super::{Format, Protecting};

/// How whoever gets a track from us may ask for packets again, or gets repair packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Whether the profile is one of early feedback, `RTP/AVPF`. `RFC 4585 §4.2` has requests there alone; but live555 (and VLC
    /// with it) takes no section of that profile, and GStreamer asks for nothing in another one.
    pub early: bool,
    /// Repair packets come among the media (`RFC 5109`) instead. Of RTSP software GStreamer's recording server takes them, in the
    /// profile with early feedback; no player does.
    pub parity: bool,
    /// For how long packets can be asked for, in milliseconds (`RFC 4588 §8.1`).
    pub time: u32,
}

impl Feedback {
    /// Adds to a media section that each of its payload types can be asked for again, and `types` are those of the packets
    /// that come then.
    pub(super) fn write(self, media: &mut Media, formats: &[Format], types: &[(u8, u8)]) {
        let mut attributes = Vec::new();
        if let Some((format, number)) = types.first().filter(|_| self.parity) {
            let clock = clock(media, formats, *format);
            media.fmt += &format!(" {number}");
            attributes.push(Attribute::with_value("rtpmap", format!("{number} ulpfec/{clock}")));
            attributes.push(Attribute::with_value("fmtp", format!("{number} apt={format}")));
            media.attributes.append(&mut attributes);
            return;
        }
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

/// For each of the tracks' formats a number that no track uses, as far as there are some.
pub(super) fn free_types<'a>(tracks: impl Iterator<Item = &'a [Format]> + Clone) -> Vec<Vec<(u8, u8)>> {
    let used = tracks.clone().flatten().map(|format| format.number);
    let mut free = Protecting::free_numbers(used);
    tracks.map(|own| own.iter().map_while(|format| Some((format.number, free.next()?))).collect()).collect()
}
