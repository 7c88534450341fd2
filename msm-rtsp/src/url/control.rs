//! Control attributes: how they become URLs, and how the URLs of requests are taken back to tracks.

use super::{RtspUrl, UrlError, climbs};

/// How a track's control attribute becomes the URL of its SETUP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlPolicy {
    /// Base, `/`, control: what live555, ffmpeg and most cameras mean, and with a base that ends in `/` the same as
    /// RFC 3986.
    #[default]
    Append,
    /// RFC 3986 resolution: a base that does not end in `/` loses its last segment (`RFC 2326 App. C.1.1`).
    Resolve,
    /// As [`Self::Append`], but the control goes before the base's query, as GStreamer has it.
    BeforeQuery,
}

/// The URL of a track's SETUP from the presentation's base and the track's control attribute.
#[must_use]
pub fn join_control(base: &str, control: &str, policy: ControlPolicy) -> String {
    if control == "*" || control.is_empty() {
        return base.to_owned();
    }
    let lower = control.to_ascii_lowercase();
    if lower.starts_with("rtsp://") || lower.starts_with("rtsps://") {
        return control.to_owned();
    }
    let append = |base: &str| format!("{}/{}", base.trim_end_matches('/'), control.trim_start_matches('/'));
    match policy {
        ControlPolicy::Append => append(base),
        ControlPolicy::BeforeQuery => match base.split_once('?') {
            Some((path, query)) => format!("{}?{query}", append(path)),
            None => append(base),
        },
        ControlPolicy::Resolve => {
            let parsed = url::Url::parse(base).ok().and_then(|base| base.join(control).ok());
            parsed.map_or_else(|| append(base), |url| url.to_string())
        }
    }
}

/// Whether a control attribute may become part of a URL: no white space or control characters, no climbing out of the
/// presentation with `..`, and no scheme but RTSP's. Hosts are not judged: many servers write one of their own network.
///
/// # Errors
/// See [`UrlError`].
pub fn check_control(control: &str) -> Result<(), UrlError> {
    if !control.bytes().all(|byte| byte > b' ' && byte != 0x7f)
        || climbs(control.split('?').next().unwrap_or_default())
    {
        return Err(UrlError::Path);
    }
    // `a/b://c` has no scheme: it names something below `a`.
    let before_path = control.split(['/', '?']).next().unwrap_or_default();
    if before_path.ends_with(':') { RtspUrl::parse(control).map(|_| ()) } else { Ok(()) }
}

/// What a request's URI means within a presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of it.
    Aggregate,
    /// One track, by its place in the description.
    Track(usize),
}

impl Target {
    /// The track that a SETUP means, of a presentation with so many: the only one needs no name
    /// (ffmpeg with MPEG-TS).
    #[must_use]
    pub fn track(self, tracks: usize) -> Option<usize> {
        match self {
            Self::Track(track) => (track < tracks).then_some(track),
            Self::Aggregate => (tracks == 1).then_some(0),
        }
    }
}

/// What [`match_track`] tolerates. Each includes what is above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchPolicy {
    /// Nothing: the URI is base and control joined by [`ControlPolicy::Append`], to the byte.
    Exact,
    /// Another host, as of a client behind NAT or a proxy; slashes at the end; the control before or after the query, or
    /// resolved by RFC 3986; no more than the control.
    #[default]
    SamePath,
    /// Any URI that ends in the control of exactly one track. Only for requests whose session says which presentation
    /// they mean.
    Suffix,
}

/// Finds what `uri` means in a presentation at `base` whose tracks have these control attributes: somebody else's
/// description, such as a publisher's. For those that we wrote ourselves see [`match_control`].
///
/// `None`: it is of another presentation, or of none. Controls that [`check_control`] refuses match nothing.
#[must_use]
pub fn match_track(uri: &str, base: &str, controls: &[&str], policy: MatchPolicy) -> Option<Target> {
    check_control(uri).ok()?;
    let named = || {
        let named = controls.iter().enumerate();
        named.filter(|(_, control)| !matches!(**control, "" | "*") && check_control(control).is_ok())
    };
    if policy == MatchPolicy::Exact {
        let exact = |control: &str| join_control(base, control, ControlPolicy::Append) == uri;
        let track = named().find(|(_, control)| exact(control)).map(|(index, _)| Target::Track(index));
        return track.or((uri == base).then_some(Target::Aggregate));
    }
    let wanted = Resource::of(uri);
    let joined = |control: &str| {
        let policies = [ControlPolicy::Append, ControlPolicy::BeforeQuery, ControlPolicy::Resolve];
        uri == control
            || policies.iter().any(|policy| Resource::of(&join_control(base, control, *policy)) == wanted)
    };
    if let Some((index, _)) = named().find(|(_, control)| joined(control)) {
        return Some(Target::Track(index));
    }
    if Resource::of(base) == wanted {
        return Some(Target::Aggregate);
    }
    if policy < MatchPolicy::Suffix {
        return None;
    }
    let mut ending = named().filter(|(_, control)| {
        let tail = Resource::of(control).path.rsplit('/').next().unwrap_or_default();
        !tail.is_empty()
            && [Some(wanted.path), wanted.query]
                .iter()
                .flatten()
                .any(|part| part.strip_suffix(tail).is_some_and(|rest| rest.ends_with('/')))
    });
    match (ending.next(), ending.next()) {
        (Some((index, _)), None) => Some(Target::Track(index)),
        _ => None,
    }
}

/// Path and query of a URL without the slashes that peers add to either. A relative one is all path.
#[derive(PartialEq, Eq)]
struct Resource<'a> {
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Resource<'a> {
    fn of(url: &'a str) -> Self {
        let resource = match url.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or_default()
            }
            _ => url,
        };
        let (path, query) = match resource.split_once('?') {
            Some((path, query)) => (path, Some(query.trim_end_matches('/'))),
            None => (resource, None),
        };
        Self { path: path.trim_end_matches('/'), query }
    }
}

/// Which track a SETUP's URI means, of a presentation that we described with controls named by [`track_control`].
///
/// Tolerates (peers do all of these): a trailing slash; the track after the query (ffmpeg) or before it (GStreamer); no
/// track at all where the presentation has one only; the names that ffmpeg (`streamid=`) and GStreamer (`stream=`) give
/// the tracks that they publish. `None` means that the URI is not of this presentation or names no track of it.
#[must_use]
pub fn match_control(uri: &str, tracks: usize) -> Option<(String, Option<usize>)> {
    let (head, query) = match uri.split_once('?') {
        Some((head, query)) => (head, Some(query.trim_end_matches('/'))),
        None => (uri, None),
    };
    let head = head.trim_end_matches('/');
    if let Some((query, track)) = query.and_then(|query| query.rsplit_once('/'))
        && let Some(track) = parse_track(track)
    {
        return (track < tracks).then(|| (format!("{head}?{}", query.trim_end_matches('/')), Some(track)));
    }
    let with_query = |base: &str| query.map_or_else(|| base.to_owned(), |query| format!("{base}?{query}"));
    if let Some((base, last)) = head.rsplit_once('/')
        && let Some(track) = parse_track(last)
    {
        return (track < tracks).then(|| (with_query(base.trim_end_matches('/')), Some(track)));
    }
    Some((with_query(head), (tracks == 1).then_some(0)))
}

/// The URI of a presentation without the track that it may name, and without a trailing slash.
#[must_use]
pub fn presentation(uri: &str) -> String {
    match_control(uri, usize::MAX).map_or_else(|| uri.to_owned(), |(base, _)| base)
}

/// The control attribute of track `index` in descriptions that we write.
#[must_use]
pub fn track_control(index: usize) -> String {
    format!("trackID={index}")
}

fn parse_track(segment: &str) -> Option<usize> {
    let number = ["trackID=", "streamid=", "stream="].iter().find_map(|name| segment.strip_prefix(name))?;
    // A larger number is no track of any description: the segment is part of the presentation's name.
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<u16>().ok())?.map(usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_join_as_servers_mean_them() {
        let policy = ControlPolicy::default();
        assert_eq!(join_control("rtsp://h/s/", "track1", policy), "rtsp://h/s/track1");
        assert_eq!(join_control("rtsp://h/s", "track1", policy), "rtsp://h/s/track1");
        assert_eq!(join_control("rtsp://h/s?a=1", "track1", policy), "rtsp://h/s?a=1/track1");
        assert_eq!(join_control("rtsp://h/s?a=1", "t", ControlPolicy::BeforeQuery), "rtsp://h/s/t?a=1");
        assert_eq!(join_control("rtsp://h/d/s", "t", ControlPolicy::Resolve), "rtsp://h/d/t");
        assert_eq!(join_control("rtsp://h/s", "rtsp://h/x/t", policy), "rtsp://h/x/t");
        assert_eq!(join_control("rtsp://h/s", "*", policy), "rtsp://h/s");
    }

    #[test]
    fn setup_uris_find_their_track() {
        let hit = |uri, tracks| match_control(uri, tracks);
        assert_eq!(hit("rtsp://h/s/trackID=1", 2), Some(("rtsp://h/s".into(), Some(1))));
        assert_eq!(hit("rtsp://h/s//trackID=1/", 2), Some(("rtsp://h/s".into(), Some(1))));
        assert_eq!(hit("rtsp://h/s?q=1/trackID=0", 2), Some(("rtsp://h/s?q=1".into(), Some(0))));
        assert_eq!(hit("rtsp://h/s/trackID=0?q=1", 2), Some(("rtsp://h/s?q=1".into(), Some(0))));
        assert_eq!(hit("rtsp://h/s?q=1/", 2), Some(("rtsp://h/s?q=1".into(), None)));
        assert_eq!(hit("rtsp://h/s/", 1), Some(("rtsp://h/s".into(), Some(0))));
        assert_eq!(hit("rtsp://h/s", 2), Some(("rtsp://h/s".into(), None)));
        assert_eq!(hit("rtsp://h/s/trackID=2", 2), None);
    }

    #[test]
    fn slashes_after_the_query_hide_no_track() {
        let hit = |uri, tracks| match_control(uri, tracks);
        assert_eq!(hit("rtsp://h/s/trackID=0?q=1/", 2), Some(("rtsp://h/s?q=1".into(), Some(0))));
        assert_eq!(hit("rtsp://h/s?q=1/trackID=0/", 2), Some(("rtsp://h/s?q=1".into(), Some(0))));
        assert_eq!(hit("rtsp://h/s/?q=a/b", 2), Some(("rtsp://h/s?q=a/b".into(), None)));
        assert_eq!(hit("rtsp://h/s/stream=1", 2), Some(("rtsp://h/s".into(), Some(1))));
        assert_eq!(hit("rtsp://h/s/trackID=+1", 2), Some(("rtsp://h/s/trackID=+1".into(), None)));
        assert_eq!(hit("rtsp://h/s/trackID=99999999999999999999", 2).unwrap().1, None);
        assert_eq!(presentation("rtsp://h/s/?q=1/"), presentation("rtsp://h/s?q=1"));
    }

    #[test]
    fn tracks_of_others_are_found_as_their_clients_name_them() {
        use MatchPolicy::{Exact, SamePath, Suffix};
        use Target::{Aggregate, Track};
        let plain = "rtsp://h:8554/live/cam";
        let query = "rtsp://h:8554/live/cam?q=1";
        for (uri, base, controls, policy, expected) in [
            ("rtsp://h:8554/live/cam/stream=1", plain, &["stream=0", "stream=1"], Exact, Some(Track(1))),
            ("rtsp://h:8554/live/cam", plain, &["a", "b"], Exact, Some(Aggregate)),
            ("rtsp://h:8554/live/cam/", plain, &["a", "b"], Exact, None),
            ("rtsp://h:8554/live/cam/", plain, &["a", "b"], SamePath, Some(Aggregate)),
            // live555's publisher counts from one.
            (
                "rtsp://h:8554/live/cam/trackID=2",
                plain,
                &["trackID=1", "trackID=2"],
                SamePath,
                Some(Track(1)),
            ),
            ("rtsp://192.168.0.9/live/cam/b/", plain, &["a", "b"], SamePath, Some(Track(1))),
            ("rtsp://h:8554/live/cam?q=1/b", query, &["a", "b"], SamePath, Some(Track(1))),
            ("rtsp://h:8554/live/cam/b?q=1", query, &["a", "b"], SamePath, Some(Track(1))),
            ("rtsp://h:8554/live/cam?q=1/", query, &["a", "b"], SamePath, Some(Aggregate)),
            ("rtsp://h:8554/live/cam?q=2/b", query, &["a", "b"], SamePath, None),
            ("rtsp://h:8554/live/b", plain, &["a", "b"], SamePath, Some(Track(1))),
            ("b", plain, &["a", "b"], SamePath, Some(Track(1))),
            (
                "rtsp://nat/x/1",
                plain,
                &["rtsp://10.0.0.1/x/0", "rtsp://10.0.0.1/x/1"],
                SamePath,
                Some(Track(1)),
            ),
            ("rtsp://h/elsewhere/b", plain, &["a", "b"], SamePath, None),
            ("rtsp://h/elsewhere/b", plain, &["a", "b"], Suffix, Some(Track(1))),
            ("rtsp://h/elsewhere?x=/b", plain, &["a", "b"], Suffix, Some(Track(1))),
            ("rtsp://h/elsewhere/b", plain, &["b", "x/b"], Suffix, None),
            ("rtsp://h/elsewhere/ab", plain, &["a", "b"], Suffix, None),
            ("rtsp://h:8554/live/cam", plain, &["*", ""], Suffix, Some(Aggregate)),
            ("rtsp://h:8554/live/cam/../b", plain, &["a", "../b"], Suffix, None),
            ("http://h:8554/live/cam", plain, &["a", "b"], Suffix, None),
            ("*", plain, &["*", "*"], Suffix, None),
        ] {
            assert_eq!(match_track(uri, base, controls, policy), expected, "{uri} by {policy:?}");
        }
        assert_eq!((Aggregate.track(1), Aggregate.track(2)), (Some(0), None));
        assert_eq!((Track(1).track(2), Track(2).track(2)), (Some(1), None));
    }

    #[test]
    fn controls_that_play_tricks_are_refused() {
        for control in [
            "trackID=1",
            "*",
            "",
            "a/b://c",
            "rtsp://other:554/x/1",
            "streamid=0?x=..",
            "a=b:c",
            "?x=http://y",
        ] {
            assert_eq!(check_control(control), Ok(()), "{control}");
        }
        for control in [
            "../x",
            "a/../../x",
            "a/%2e%2E/x",
            "..\\x",
            "a b",
            "a\r\nSession: 1",
            "a\0",
            "a%0d%0ab",
            "http://h/x",
            "file:///etc/passwd",
            "rtsp:///x",
            "rtsp://h/../x",
            "javascript:",
        ] {
            assert!(check_control(control).is_err(), "{control}");
        }
    }
}
