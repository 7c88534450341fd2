//! Descriptions (`RFC 8866`): read leniently, checked, and rewritten for the side that gets them.

use std::net::IpAddr;

use msm_core::codec::Codec;
use msm_core::hub::{MediaKind, PayloadType, TrackInfo};
use sdp_types::{Attribute, Connection, Media, Origin, Session};

use crate::headers::Range;
use crate::limits::Limits;
use crate::url::track_control;

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

/// Where a reader's description says that media goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupOf {
    /// The group, its port and time to live.
    pub group: Option<(IpAddr, u16, u8)>,
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
    "rtcp-mux",
    "end-of-candidates",
    "ssrc",
    "ssrc-group",
    "x-sessionid",
];

impl Description {
    /// Reads and checks a description.
    ///
    /// Tolerated, as servers and cameras do them: bare line feeds, no `o=`, `s=` or `t=` line, lines that are no
    /// `x=value`, sections that are no RTP (left out).
    ///
    /// # Errors
    /// See [`SdpError`].
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Self, SdpError> {
        if text.len() > limits.body_bytes {
            return Err(SdpError::TooLarge { length: text.len(), limit: limits.body_bytes });
        }
        let mended = mend(&String::from_utf8_lossy(text))?;
        let sections = mended.lines().filter(|line| line.starts_with("m=")).count();
        if sections > limits.media_sections {
            return Err(SdpError::TooManyTracks { count: sections, limit: limits.media_sections });
        }
        let session =
            Session::parse(mended.as_bytes()).map_err(|error| SdpError::Syntax(error.to_string()))?;
        let tracks: Vec<Track> = session
            .medias
            .iter()
            .enumerate()
            .filter(|(_, media)| media.proto.to_ascii_uppercase().starts_with("RTP/"))
            .map(|(index, media)| track(&session, media, index))
            .collect();
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
    /// named `trackID=N` below the URL that the reader asked for.
    #[must_use]
    pub fn for_reader(&self, v6: bool, groups: &[GroupOf]) -> Vec<u8> {
        let any: IpAddr = if v6 { [0u8; 16].into() } else { [0u8; 4].into() };
        let mut session = self.session.clone();
        session.origin = Origin { unicast_address: any.to_string(), addrtype: any.into(), ..session.origin };
        session.connection = Some(Connection::from_ip_addr(any));
        clean(&mut session.attributes);
        session.attributes.push(Attribute::with_value("control", "*"));
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
                media.key = None;
                media.proto = plain(&media.proto);
                if let Some((group, port, ttl)) = groups.get(number).and_then(|group| group.group) {
                    media.port = port;
                    let ttl = group.is_ipv4().then_some(ttl);
                    media.connections.push(Connection::from_ip_addr_ttl(group, ttl));
                }
                media.attributes.push(Attribute::with_value("control", track_control(number)));
                Some(media)
            })
            .collect();
        session.key = None;
        let mut out = Vec::new();
        // Writing to memory does not fail.
        let _ = session.write(&mut out);
        out
    }

    /// The description for an upstream that the stream is published to.
    #[must_use]
    pub fn for_announce(&self) -> Vec<u8> {
        self.for_reader(false, &[])
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
        !HOP_ATTRIBUTES.iter().any(|hop| name.eq_ignore_ascii_case(hop))
    });
}

/// The protocol of a plain hop: what came encrypted is decrypted before it gets to the hub.
fn plain(protocol: &str) -> String {
    match protocol.to_ascii_uppercase().as_str() {
        "RTP/AVPF" | "RTP/SAVPF" => "RTP/AVPF".into(),
        _ => "RTP/AVP".into(),
    }
}

fn track(session: &Session, media: &Media, index: usize) -> Track {
    let connection = media.connections.first().or(session.connection.as_ref());
    let group = connection
        .and_then(|connection| connection.connection_address.split('/').next()?.parse::<IpAddr>().ok())
        .filter(IpAddr::is_multicast)
        .map(|group| (group, media.port));
    let filter =
        find(&media.attributes, "source-filter").or_else(|| find(&session.attributes, "source-filter"));
    Track {
        control: find(&media.attributes, "control").map(|control| control.trim().to_owned()),
        media: media.media.clone(),
        protocol: media.proto.clone(),
        formats: media.fmt.split_ascii_whitespace().filter_map(|number| format(media, number)).collect(),
        group,
        source_filter: filter
            .filter(|filter| filter.trim().to_ascii_lowercase().starts_with("incl"))
            .and_then(|filter| filter.split_ascii_whitespace().nth(4)?.parse().ok()),
        index,
    }
}

fn format(media: &Media, number: &str) -> Option<Format> {
    let number: u8 = number.parse().ok().filter(|number| *number < 128)?;
    let map = media
        .attributes
        .iter()
        .filter(|attribute| attribute.attribute.eq_ignore_ascii_case("rtpmap"))
        .find_map(|attribute| {
            let (own, rest) = attribute.value.as_deref()?.trim().split_once(' ')?;
            let mut parts = rest.trim().split('/');
            let encoding = parts.next()?.trim().to_owned();
            let clock_rate = parts.next().and_then(|rate| rate.trim().parse().ok()).unwrap_or(90_000);
            (own.parse() == Ok(number)).then_some((encoding, clock_rate))
        });
    let (encoding, clock_rate) = map.unwrap_or_else(|| static_type(number));
    Some(Format { number, encoding, clock_rate })
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

/// Puts in what servers leave out, and drops lines that are none.
fn mend(text: &str) -> Result<String, SdpError> {
    let mut lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| matches!(line.as_bytes(), [kind, b'=', ..] if kind.is_ascii_lowercase()))
        .filter(|line| line.len() > 2);
    let first = lines.next().filter(|line| line.trim() == "v=0").ok_or(SdpError::NoVersion)?;
    let rest: Vec<&str> = lines.collect();
    let head_end = rest.iter().position(|line| line.starts_with("m=")).unwrap_or(rest.len());
    let head = rest.get(..head_end).unwrap_or_default();
    let has = |kind: &str| head.iter().any(|line| line.starts_with(kind));
    let mut out = format!("{first}\r\n");
    let origin =
        head.iter().find(|line| line.starts_with("o=") && line.split_ascii_whitespace().count() == 6);
    out += origin.copied().unwrap_or("o=- 0 0 IN IP4 0.0.0.0");
    out += "\r\n";
    if !has("s=") {
        out += "s=-\r\n";
    }
    let mut timed = has("t=");
    for line in &rest {
        if line.starts_with("o=") {
            continue;
        }
        if !timed && (line.starts_with("a=") || line.starts_with("m=")) {
            out += "t=0 0\r\n";
            timed = true;
        }
        out += line;
        out += "\r\n";
    }
    if !timed {
        out += "t=0 0\r\n";
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: &str = "v=0\n\
        s=Media Presentation\nc=IN IP4 0.0.0.0\nb=AS:5050\na=control:rtsp://10.0.0.9:554/cam/\n\
        m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000 \na=fmtp:96\na=control:rtsp://10.0.0.9:554/cam/trackID=1\n\
        m=application 0 TCP/WS x\nm=audio 0 RTP/AVP 8 97\na=rtpmap:97 mpeg4-generic/16000/1\na=control:trackID=2\nnonsense\n";

    fn parse(text: &str) -> Result<Description, SdpError> {
        Description::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_camera_s_description_is_understood() {
        let description = parse(CAMERA).unwrap();
        assert_eq!(description.tracks.len(), 2);
        assert!(description.is_live());
        let infos = description.track_infos();
        assert_eq!(infos[0].payload_types[0].codec, Codec::H264);
        let rates: Vec<_> =
            infos[1].payload_types.iter().map(|format| (format.number, format.clock_rate)).collect();
        assert_eq!(rates, [(8, 8000), (97, 16_000)]);
        assert_eq!(description.track_of("rtsp://wrong/cam/trackID=1"), Some(0));
        assert_eq!(description.track_of("rtsp://10.0.0.9/cam/trackID=2/"), Some(1));
        assert_eq!(description.track_of("rtsp://10.0.0.9/cam/trackID=3"), None);
    }

    #[test]
    fn readers_see_our_names_only() {
        let text = "v=0\r\no=root 7 7 IN IP4 10.0.0.9\r\ns=x\r\nc=IN IP4 239.1.1.1/16\r\nt=0 0\r\na=range:npt=0-12.5\r\n\
            a=source-filter: incl IN IP4 239.1.1.1 10.0.0.9\r\n\
            m=video 5000 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\na=control:streamid=0\r\na=extmap:1 urn:x\r\n";
        let description = parse(text).unwrap();
        assert_eq!(description.tracks[0].group, Some(("239.1.1.1".parse().unwrap(), 5000)));
        assert_eq!(description.tracks[0].source_filter, "10.0.0.9".parse().ok());
        assert!(!description.is_live());
        let rewritten = String::from_utf8(description.for_reader(false, &[])).unwrap();
        insta::assert_snapshot!(rewritten.replace('\r', ""), @r"
        v=0
        o=root 7 7 IN IP4 0.0.0.0
        s=x
        c=IN IP4 0.0.0.0
        t=0 0
        a=range:npt=0-12.5
        a=control:*
        m=video 0 RTP/AVP 96
        a=rtpmap:96 H264/90000
        a=fmtp:96 packetization-mode=1
        a=extmap:1 urn:x
        a=control:trackID=0
        ");
        let group = GroupOf { group: Some(("239.9.9.9".parse().unwrap(), 6000, 4)) };
        let rewritten = String::from_utf8(description.for_reader(false, &[group])).unwrap();
        assert!(rewritten.contains("m=video 6000 RTP/AVP 96\r\nc=IN IP4 239.9.9.9/4\r\n"), "{rewritten}");
    }

    #[test]
    fn what_is_no_description_is_refused() {
        assert_eq!(parse("").unwrap_err(), SdpError::NoVersion);
        assert_eq!(parse("hello").unwrap_err(), SdpError::NoVersion);
        assert_eq!(parse("v=0\r\ns=x\r\n").unwrap_err(), SdpError::NoTracks);
        let many = format!("v=0\r\n{}", "m=video 0 RTP/AVP 96\r\n".repeat(100));
        assert!(matches!(parse(&many).unwrap_err(), SdpError::TooManyTracks { count: 100, .. }));
        let large = format!("v=0\r\n{}", "a=x:y\r\n".repeat(100_000));
        assert!(matches!(parse(&large).unwrap_err(), SdpError::TooLarge { .. }));
    }

    #[test]
    fn mutations_never_panic() {
        let mut seed = msm_core::rng::Rng::new(3);
        for _ in 0..20_000 {
            let mut bytes = CAMERA.as_bytes().to_vec();
            for _ in 0..=seed.next_u32() % 8 {
                let at = seed.next_u32() as usize % bytes.len();
                bytes[at] = seed.next_u32() as u8;
            }
            if let Ok(description) = Description::parse(&bytes, &Limits::default()) {
                let again = description.for_reader(true, &[]);
                Description::parse(&again, &Limits::default()).unwrap();
            }
        }
    }
}
