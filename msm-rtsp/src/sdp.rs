//! Descriptions (`RFC 8866`): read leniently, checked, and rewritten for the side that gets them.

mod beside;
mod feedback;
mod keying;
mod mend;
mod successor;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use msm_core::codec::Codec;
use msm_core::hub::{MediaKind, PayloadType, TrackInfo};
use sdp_types::{Attribute, Connection, Media, Origin, Session};

use crate::headers::Range;
use crate::limits::Limits;
use crate::profile::Profile;
use crate::url::track_control;

pub use beside::{Beside, Protecting};
pub use feedback::Feedback;
pub use keying::Keying;

/// Why a description was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// It does not begin with `v=0`.
    #[error("a description begins with `v=0`")]
    NoVersion,
    /// It cannot be parsed.
    #[error("{0}")]
    Syntax(String),
    /// It is larger than the limit.
    #[error("{length} bytes, more than {limit}")]
    TooLarge {
        /// Its bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// It has more media sections than the limit.
    #[error("{count} media sections, more than {limit}")]
    TooManyTracks {
        /// Its media sections.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A control that cannot be part of a URL, or climbs out of the presentation.
    #[error("control `{}` of the description cannot be used", .control.escape_debug())]
    BadControl {
        /// Its first characters.
        control: String,
    },
    /// None of its media is RTP.
    #[error("no `m=` section is RTP")]
    NoTracks,
}

/// One RTP track of a description.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// The control attribute as written.
    pub control: Option<String>,
    /// `audio`, `video`, …
    pub media: String,
    /// `RTP/AVP`, …
    pub protocol: String,
    /// Numbers, encodings and clock rates.
    pub formats: Vec<Format>,
    /// The group and port of a multicast track.
    pub group: Option<(IpAddr, u16)>,
    /// The source that the group is filtered by.
    pub source_filter: Option<IpAddr>,
    /// The keys of what is sent, where it is SRTP.
    pub keying: Keying,
    /// What protects it on the hop that it came over.
    pub protecting: Protecting,
    index: usize,
}

/// One payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its number.
    pub number: u8,
    /// Its encoding name.
    pub encoding: String,
    /// Timestamp units a second.
    pub clock_rate: u32,
}

/// A checked description.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    session: Session,
    /// The RTP tracks, in the order of their sections.
    pub tracks: Vec<Track>,
    /// The presentation's control attribute.
    pub control: Option<String>,
    /// What can be sought in.
    pub range: Option<Range>,
}

/// How a track goes on the hop that a description is written for.
#[derive(Clone, Debug, Default)]
pub struct TrackWay {
    /// The group that it is sent to, its port and time to live.
    pub group: Option<(IpAddr, u16, u8)>,
    /// The keys that it is sent under: it is described as SRTP then.
    pub keying: Option<Keying>,
    /// How packets can be asked for again, if they can.
    pub feedback: Option<Feedback>,
    /// What protects it.
    pub protecting: Protecting,
}

/// Attributes that speak of the hop they came over, and mean nothing on the next.
const HOP_ATTRIBUTES: &[&str] = &[
    "control",
    "rtcp",
    "crypto",
    "key-mgmt",
    "candidate",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "fingerprint",
    "setup",
    "connection",
    "source-filter",
    "remote-candidates",
    "alternate-address",
    "altc",
    "ice-lite",
    "zrtp-hash",
    "tls-id",
    "rtcp-mux",
    "end-of-candidates",
    "ssrc",
    "ssrc-group",
    "rtcp-rsize",
    "x-sessionid",
];

impl Description {
    /// Reads and checks a description.
    ///
    /// Tolerated, as servers and cameras do them: bare line feeds; no `o=`, `s=` or `t=` line, or one too many; lines that
    /// are no `x=value`, or whose value is malformed; sections that are no RTP or cannot be parsed (left out).
    ///
    /// # Errors
    /// See [`SdpError`].
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Self, SdpError> {
        if text.len() > limits.body_bytes {
            return Err(SdpError::TooLarge { length: text.len(), limit: limits.body_bytes });
        }
        let mut session = mend::read(&String::from_utf8_lossy(text), limits)?;
        // Keys are of this hop alone. They are taken out, so that nothing that is made of the rest can have them.
        let shared = Keying::take(&mut session.attributes, &Keying::default());
        session.key = None;
        let mut of_hop: Vec<(Keying, Protecting)> = Vec::with_capacity(session.medias.len());
        for media in &mut session.medias {
            media.key = None;
            of_hop.push((Keying::take(&mut media.attributes, &shared), Protecting::take(media)));
        }
        let mut tracks: Vec<Track> = session
            .medias
            .iter()
            .zip(of_hop)
            .enumerate()
            .filter(|(_, (media, _))| media.proto.to_ascii_uppercase().starts_with("RTP/"))
            .map(|(index, (media, of_hop))| track(&session, media, of_hop, index))
            .collect();
        one_of_each(&mut tracks);
        if tracks.is_empty() {
            return Err(SdpError::NoTracks);
        }
        let attribute = |name: &str| find(&session.attributes, name);
        let range = attribute("range")
            .or_else(|| session.medias.iter().find_map(|media| find(&media.attributes, "range")))
            .and_then(Range::parse);
        Ok(Self {
            control: attribute("control").map(|control| control.trim().to_owned()),
            range,
            tracks,
            session,
        })
    }

    /// The same without the keys of the hop that it came over, which are of no use behind it.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        for track in &mut self.tracks {
            track.keying = Keying::default();
        }
        self
    }

    /// Whether it has no end: what is live is shared by its readers.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.range.as_ref().is_some_and(Range::is_finite)
    }

    /// What the hub needs to know of each track.
    #[must_use]
    pub fn track_infos(&self) -> Vec<TrackInfo> {
        self.tracks.iter().map(Track::info).collect()
    }

    /// The description for a reader of ours: every address and key of the hop that it came over taken out, tracks
    /// named `trackID=N` below the URL that the reader asked for. `ways` are of the tracks in their order; those that
    /// are not there are plain unicast.
    #[must_use]
    pub fn for_reader(&self, v6: bool, ways: &[TrackWay]) -> Vec<u8> {
        let any: IpAddr = if v6 { [0u8; 16].into() } else { [0u8; 4].into() };
        let mut session = self.session.clone();
        session.origin = Origin { unicast_address: any.to_string(), addrtype: any.into(), ..session.origin };
        session.connection = Some(Connection::from_ip_addr(any));
        // Whom to turn to about the upstream is nothing for its readers, and names its hosts.
        session.uri = None;
        session.emails.clear();
        session.phones.clear();
        clean(&mut session.attributes);
        session.attributes.push(Attribute::with_value("control", "*"));
        let rtx = self.rtx_types();
        session.medias = self
            .tracks
            .iter()
            .enumerate()
            .filter_map(|(number, track)| {
                let mut media = self.session.medias.get(track.index)?.clone();
                clean(&mut media.attributes);
                media.port = 0;
                media.num_ports = None;
                media.connections.clear();
                let way = ways.get(number);
                let feedback = way.and_then(|way| way.feedback);
                let early = feedback.is_some_and(|feedback| feedback.early);
                let profile = if early { Profile::Avpf } else { Profile::Avp };
                if let Some(feedback) = feedback {
                    let types = rtx.get(number).map(Vec::as_slice).unwrap_or_default();
                    feedback.write(&mut media, &track.formats, types);
                }
                media.proto = match way.and_then(|way| way.keying.as_ref()) {
                    Some(keying) => {
                        keying.write(&mut media.attributes);
                        profile.secure().to_string()
                    }
                    // What came encrypted is decrypted before it gets to the hub.
                    None => profile.plain().to_string(),
                };
                if let Some((group, port, ttl)) = way.and_then(|way| way.group) {
                    media.port = port;
                    let ttl = group.is_ipv4().then_some(ttl);
                    media.connections.push(Connection::from_ip_addr_ttl(group, ttl));
                }
                if let Some(way) = way {
                    way.protecting.write(&mut media);
                }
                media.attributes.push(Attribute::with_value("control", track_control(number)));
                Some(media)
            })
            .collect();
        let mut out = Vec::new();
        // Writing to memory does not fail.
        let _ = session.write(&mut out);
        out
    }

    /// For each track, the payload types of packets that are sent again to readers: original, and again. They are the
    /// same for all readers, and none is used by any track.
    #[must_use]
    pub fn rtx_types(&self) -> Vec<Vec<(u8, u8)>> {
        feedback::free_types(self.tracks.iter().map(|track| track.formats.as_slice()))
    }

    /// The description for an upstream that the stream is published to.
    #[must_use]
    pub fn for_announce(&self, ways: &[TrackWay]) -> Vec<u8> {
        self.for_reader(false, ways)
    }

    /// Index of the track whose control attribute ends a URL, as servers name it in RTP-Info; hosts are not compared,
    /// as some servers write wrong ones.
    #[must_use]
    pub fn track_of(&self, url: &str) -> Option<usize> {
        let url = url.trim_end_matches('/');
        let ends = |control: &str| {
            let control = control.trim_end_matches('/');
            let tail = control
                .split_once("://")
                .map_or(control, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
            !tail.is_empty()
                && url.strip_suffix(tail).is_some_and(|head| head.is_empty() || head.ends_with(['/', '?']))
        };
        self.tracks.iter().position(|track| track.control.as_deref().is_some_and(ends))
    }
}

impl Track {
    /// The profile that its `m=` line names; `None` if it is not known.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        Profile::from_protocol(&self.protocol)
    }

    /// Whether it is SRTP.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.profile().is_some_and(Profile::is_secure)
    }

    fn info(&self) -> TrackInfo {
        let kind = match self.media.to_ascii_lowercase().as_str() {
            "video" => MediaKind::Video,
            "audio" => MediaKind::Audio,
            _ => MediaKind::Other,
        };
        let payload_types = self
            .formats
            .iter()
            .map(|format| PayloadType {
                number: format.number,
                codec: match (kind, Codec::from_encoding_name(&format.encoding)) {
                    (MediaKind::Audio, Codec::Other) => Codec::Audio,
                    (_, codec) => codec,
                },
                clock_rate: format.clock_rate,
            })
            .collect();
        TrackInfo { kind, payload_types, ssrc: None }
    }
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.attribute.eq_ignore_ascii_case(name))?.value.as_deref()
}

fn clean(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| {
        let name = attribute.attribute.trim();
        let value = attribute.value.as_deref().unwrap_or_default();
        // A bundle has one transport for all tracks, where every track of ours has its own; other groups say what
        // belongs together on any hop.
        let bundle = name.eq_ignore_ascii_case("group")
            && value.split_ascii_whitespace().next().is_some_and(|kind| kind.eq_ignore_ascii_case("BUNDLE"));
        !bundle && !HOP_ATTRIBUTES.iter().any(|hop| name.eq_ignore_ascii_case(hop))
    });
}

/// Servers that speak several profiles describe a track once for each (GStreamer): the sections have one control, and can
/// be set up once. That with early feedback stays, where it brings anything.
fn one_of_each(tracks: &mut Vec<Track>) {
    let rank = |track: &Track| {
        let profile = track.profile();
        let early = matches!(profile, Some(Profile::Avpf | Profile::Savpf));
        let early = early && (track.protecting.can_ask() || !track.protecting.formats.is_empty());
        (profile.is_some_and(Profile::is_secure), early)
    };
    let mut kept: Vec<Track> = Vec::with_capacity(tracks.len());
    for track in tracks.drain(..) {
        let same = |own: &&mut Track| {
            own.control.is_some()
                && own.control == track.control
                && own.media == track.media
                && own.protocol != track.protocol
        };
        match kept.iter_mut().find(same) {
            Some(own) if rank(&track) > rank(own) => *own = track,
            Some(_) => {}
            None => kept.push(track),
        }
    }
    *tracks = kept;
}

fn track(
    session: &Session,
    media: &Media,
    (keying, protecting): (Keying, Protecting),
    index: usize,
) -> Track {
    let connection = media.connections.first().or(session.connection.as_ref());
    let group = connection
        .and_then(|connection| connection.connection_address.split('/').next()?.parse::<IpAddr>().ok())
        .filter(IpAddr::is_multicast)
        .map(|group| (group, media.port));
    Track {
        control: find(&media.attributes, "control").map(|control| control.trim().to_owned()),
        media: media.media.clone(),
        protocol: media.proto.clone(),
        formats: formats(media),
        group,
        source_filter: source_filter(session, media, group.map(|(group, _)| group)),
        keying,
        protecting,
        index,
    }
}

/// The one source that packets to `group` come from (`RFC 4570`): the first filter that speaks of the group, those of
/// the media section before those of the session. Several sources in it are none to filter by.
fn source_filter(session: &Session, media: &Media, group: Option<IpAddr>) -> Option<IpAddr> {
    let attributes = media.attributes.iter().chain(&session.attributes);
    let mut sources = attributes
        .filter(|attribute| attribute.attribute.eq_ignore_ascii_case("source-filter"))
        .find_map(|attribute| {
            // Mode, network, kind of address, destination, sources.
            let mut words = attribute.value.as_deref()?.split_ascii_whitespace();
            words.next().filter(|mode| mode.eq_ignore_ascii_case("incl"))?;
            let destination = words.nth(2)?;
            (destination == "*" || (group.is_some() && destination.parse().ok() == group)).then_some(words)
        })?;
    let source = sources.next()?.parse().ok();
    source.filter(|_| sources.next().is_none())
}

/// The formats of a media section, each number once: there are 128 at most.
fn formats(media: &Media) -> Vec<Format> {
    let mut maps = BTreeMap::new();
    for attribute in &media.attributes {
        if attribute.attribute.eq_ignore_ascii_case("rtpmap")
            && let Some((number, map)) = attribute.value.as_deref().and_then(rtpmap)
        {
            maps.entry(number).or_insert(map);
        }
    }
    let mut seen = 0_u128;
    let mut formats = Vec::new();
    for number in media.fmt.split_ascii_whitespace().filter_map(|number| number.parse::<u8>().ok()) {
        let bit = 1_u128.checked_shl(number.into()).unwrap_or_default();
        if seen | bit == seen {
            // Named before, or no payload type.
            continue;
        }
        seen |= bit;
        let (encoding, clock_rate) = maps.remove(&number).unwrap_or_else(|| static_type(number));
        formats.push(Format { number, encoding, clock_rate });
    }
    formats
}

/// Number, encoding name and clock rate of an `rtpmap`.
fn rtpmap(value: &str) -> Option<(u8, (String, u32))> {
    let (number, rest) = value.trim().split_once(' ')?;
    let mut parts = rest.trim().split('/');
    let encoding = parts.next()?.trim().to_owned();
    let clock_rate = parts.next().and_then(|rate| rate.trim().parse().ok()).unwrap_or(90_000);
    Some((number.parse().ok()?, (encoding, clock_rate)))
}

/// Static payload types (`RFC 3551 §6`).
fn static_type(number: u8) -> (String, u32) {
    let (encoding, clock_rate) = match number {
        0 => ("PCMU", 8000),
        3 => ("GSM", 8000),
        4 => ("G723", 8000),
        5 => ("DVI4", 8000),
        6 => ("DVI4", 16_000),
        7 => ("LPC", 8000),
        8 => ("PCMA", 8000),
        9 => ("G722", 8000),
        10 | 11 => ("L16", 44_100),
        12 => ("QCELP", 8000),
        13 => ("CN", 8000),
        14 => ("MPA", 90_000),
        15 => ("G728", 8000),
        16 => ("DVI4", 11_025),
        17 => ("DVI4", 22_050),
        18 => ("G729", 8000),
        25 => ("CelB", 90_000),
        26 => ("JPEG", 90_000),
        28 => ("nv", 90_000),
        31 => ("H261", 90_000),
        32 => ("MPV", 90_000),
        33 => ("MP2T", 90_000),
        34 => ("H263", 90_000),
        _ => ("unknown", 90_000),
    };
    (encoding.to_owned(), clock_rate)
}
