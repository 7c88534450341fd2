//! Headers with a grammar of their own: Session, Range, RTP-Info, Public.

use std::time::Duration;

use msm_core::hub::RtpInfo;
use rtsp_types::Version;

/// Timeout of a session whose server names none (`RFC 2326 §12.37`).
pub const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest timeout that is believed: larger ones are read as this one, so that points in time can be computed.
pub const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The Session header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// The identifier, opaque.
    pub id: String,
    /// How long the session lives without a sign of its client.
    pub timeout: Duration,
}

impl SessionHeader {
    /// Reads a value; odd parameters are ignored.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        Self::parse_after(value, None)
    }

    /// Reads the value of a later answer: servers need not repeat the timeout of a session that is `known`.
    #[must_use]
    pub fn parse_after(value: &str, known: Option<&Self>) -> Option<Self> {
        let mut parts = value.split(';');
        let id = parts.next()?.trim();
        let timeout = parts
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("timeout"))
            .and_then(|(_, seconds)| seconds.trim().parse().ok())
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds).min(MAX_SESSION_TIMEOUT))
            .or_else(|| known.filter(|known| known.id == id).map(|known| known.timeout))
            .unwrap_or(DEFAULT_SESSION_TIMEOUT);
        (!id.is_empty()).then(|| Self { id: id.to_owned(), timeout })
    }

    /// The header's value in a response.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{};timeout={}", self.id, self.timeout.as_secs())
    }
}

/// The Range header (`RFC 2326 §12.29`), kept as written; NPT is looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(String);

impl Range {
    /// Reads a value.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let (unit, _) = value.split_once('=')?;
        let known = ["npt", "clock", "smpte", "smpte-25", "smpte-30-drop"];
        known.iter().any(|known| unit.trim().eq_ignore_ascii_case(known)).then(|| Self(value.to_owned()))
    }

    /// The value as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has an end: what is so described can be sought in, and is not live.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let Some((unit, span)) = self.0.split_once('=') else { return false };
        let span = span.split(';').next().unwrap_or_default();
        let end = span.split_once('-').map_or("", |(_, end)| end.trim());
        let is_npt = unit.trim().eq_ignore_ascii_case("npt");
        !end.is_empty() && (!is_npt || seconds(end).is_some_and(|end| end > 0.0))
    }

    /// Start in seconds, of an NPT range that names one.
    #[must_use]
    pub fn start_seconds(&self) -> Option<f64> {
        let span = self.0.strip_prefix("npt=")?;
        seconds(span.split('-').next()?.trim())
    }
}

/// NPT seconds or h:m:s.
fn seconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    for part in text.split(':') {
        let value: f64 = part.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)?;
        total = total * 60.0 + value;
    }
    Some(total)
}

/// One stream of an RTP-Info header, read as hints: cameras write all sorts of things here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtpInfoEntry {
    /// The track's URL.
    pub url: String,
    /// First sequence number.
    pub seq: Option<u16>,
    /// Timestamp at the start of the range.
    pub rtptime: Option<u32>,
    /// The source (2.0).
    pub ssrc: Option<u32>,
}

/// Reads RTP-Info of either version. Streams are separated by commas, which URLs may have too, as they may have `url=`:
/// only both together count.
#[must_use]
pub fn parse_rtp_info(value: &str) -> Vec<RtpInfoEntry> {
    let lower = value.to_ascii_lowercase();
    let begins = |at: &usize| {
        let before = lower.get(..*at).unwrap_or_default().trim_end();
        before.is_empty() || before.ends_with(',')
    };
    let starts: Vec<usize> = lower.match_indices("url=").map(|(at, _)| at).filter(begins).take(64).collect();
    let ends = starts.iter().copied().skip(1).chain([value.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| parse_entry(value.get(*start..end)?)).collect()
}

fn parse_entry(text: &str) -> Option<RtpInfoEntry> {
    let rest = text.get(4..)?.trim_start();
    let mut entry = RtpInfoEntry::default();
    let parameters = if let Some(quoted) = rest.strip_prefix('"') {
        let (url, rest) = quoted.split_once('"')?;
        entry.url = url.to_owned();
        rest
    } else {
        let (url, rest) = rest.split_once(';').unwrap_or((rest, ""));
        entry.url = url.trim().trim_end_matches(',').to_owned();
        rest
    };
    // A blank is the separator of 2.0, but not where a value is still to come: `seq= 7`.
    let mut packed = String::with_capacity(parameters.len());
    for character in parameters.chars() {
        if !(character.is_ascii_whitespace() && packed.ends_with('=')) {
            packed.push(character);
        }
    }
    for part in packed.split([';', ':', ' ', ',']) {
        let Some((key, value)) = part.split_once('=') else { continue };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "seq" => entry.seq = value.parse().ok(),
            "rtptime" => entry.rtptime = value.parse().ok(),
            "ssrc" => entry.ssrc = u32::from_str_radix(value, 16).ok(),
            _ => {}
        }
    }
    Some(entry)
}

/// Writes RTP-Info for tracks given by URL, source and first packet.
#[must_use]
pub fn write_rtp_info(version: Version, tracks: &[(String, u32, RtpInfo)]) -> String {
    let entry = |(url, ssrc, info): &(String, u32, RtpInfo)| match version {
        Version::V1_0 => format!("url={url};seq={};rtptime={}", info.seq, info.rtptime),
        Version::V2_0 => format!("url=\"{url}\" ssrc={ssrc:08X}:seq={};rtptime={}", info.seq, info.rtptime),
    };
    tracks.iter().map(entry).collect::<Vec<_>>().join(",")
}

/// Whether a Public or Allow list has `method`.
#[must_use]
pub fn lists(value: &str, method: &str) -> bool {
    value.split(',').any(|listed| listed.trim().eq_ignore_ascii_case(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_have_a_timeout() {
        let header = SessionHeader::parse(" 66CA ; timeout=65 ").unwrap();
        assert_eq!((header.id.as_str(), header.timeout.as_secs()), ("66CA", 65));
        assert_eq!(SessionHeader::parse("x;timeout=nonsense").unwrap().timeout, DEFAULT_SESSION_TIMEOUT);
        assert_eq!(SessionHeader::parse(" ; timeout=1"), None);
    }

    #[test]
    fn a_range_with_an_end_is_not_live() {
        for (text, finite) in [
            ("npt=now-", false),
            ("npt=0-", false),
            ("npt=0.000-", false),
            ("npt=0-12.5", true),
            ("npt=0:00:00-0:01:00", true),
            ("clock=20260101T000000Z-", false),
            ("npt=0-0", false),
        ] {
            assert_eq!(Range::parse(text).unwrap().is_finite(), finite, "{text}");
        }
        assert_eq!(Range::parse("npt=1:02-").unwrap().start_seconds(), Some(62.0));
        assert_eq!(Range::parse("lightyears=1-2"), None);
    }

    #[test]
    fn rtp_info_of_both_versions_and_of_cameras() {
        let one =
            "url=rtsp://h/s/trackID=0;seq=9810092;rtptime=3450012,url=rtsp://h/s/trackID=1;seq=7;rtptime=9;";
        let entries = parse_rtp_info(one);
        assert_eq!(
            (entries.len(), entries[0].seq, entries[1].seq, entries[1].rtptime),
            (2, None, Some(7), Some(9))
        );
        let two =
            "url=\"rtsp://h/s/a\" ssrc=0D12F123:seq=5712;rtptime=934207921, url=\"b\" ssrc=4FAD8726:seq=1";
        let entries = parse_rtp_info(two);
        assert_eq!(
            (entries[0].ssrc, entries[0].seq, entries[1].url.as_str()),
            (Some(0x0D12_F123), Some(5712), "b")
        );
        assert!(parse_rtp_info("garbage;;=,").is_empty());
    }

    #[test]
    fn written_rtp_info_reads_back() {
        let tracks = [("rtsp://h/s/trackID=0".to_owned(), 7, RtpInfo { seq: 1, rtptime: 2 })];
        for version in [Version::V1_0, Version::V2_0] {
            let entry = &parse_rtp_info(&write_rtp_info(version, &tracks))[0];
            assert_eq!(
                (entry.url.as_str(), entry.seq, entry.rtptime),
                ("rtsp://h/s/trackID=0", Some(1), Some(2))
            );
        }
    }

    #[test]
    fn rtp_info_with_blanks_and_with_url_in_a_query() {
        let one =
            &parse_rtp_info("url= rtsp://h/s/trackID=1;seq= 37967;rtptime= 4157390718;ssrc= 30A98EE7")[0];
        let expected = RtpInfoEntry {
            url: "rtsp://h/s/trackID=1".into(),
            seq: Some(37967),
            rtptime: Some(4_157_390_718),
            ssrc: Some(0x30A9_8EE7),
        };
        assert_eq!(*one, expected);
        let two = parse_rtp_info("url=rtsp://h/s/0?url=x;seq=10;rtptime=20 , \turl=rtsp://h/s/1?a,b;seq=11");
        let got: Vec<_> = two.iter().map(|entry| (entry.url.as_str(), entry.seq)).collect();
        assert_eq!(got, [("rtsp://h/s/0?url=x", Some(10)), ("rtsp://h/s/1?a,b", Some(11))]);
    }
}
