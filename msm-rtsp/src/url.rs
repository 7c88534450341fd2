//! RTSP URLs as they are written: nothing is normalised, because Digest, Content-Base and odd servers compare bytes.

use std::fmt;

/// Why a URL was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not `scheme://host…`.
    #[error("not an absolute URL")]
    NotAbsolute,
    /// A scheme other than rtsp, rtsps, rtspu.
    #[error("scheme `{0}` is not rtsp or rtsps")]
    Scheme(String),
    /// No host, or one with characters that no host has.
    #[error("no valid host")]
    Host,
    /// A port that is not 1 to 65535.
    #[error("no valid port")]
    Port,
    /// White space, control characters, or a path that climbs with `..`.
    #[error("path has white space, control characters or `..`")]
    Path,
}

/// An absolute RTSP URL.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl {
    scheme: String,
    userinfo: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    query: Option<String>,
}

impl RtspUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NotAbsolute)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "rtsp" | "rtsps" | "rtspu") {
            return Err(UrlError::Scheme(scheme.escape_debug().take(20).collect()));
        }
        if !rest.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
            return Err(UrlError::Path);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end).ok_or(UrlError::Host)?;
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo.to_owned()), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        let tail = tail.split('#').next().unwrap_or_default();
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        if climbs(path) {
            return Err(UrlError::Path);
        }
        Ok(Self { scheme, userinfo, host: host.to_owned(), port, path: path.to_owned(), query })
    }

    /// `rtsp`, `rtsps` or `rtspu`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host as written; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, or the scheme's: 554, and 322 for rtsps (`RFC 7826 §4.2`).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.scheme == "rtsps" { 322 } else { 554 })
    }

    /// The path with its leading slash, as written; empty if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// User and password, percent-decoded.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, String)> {
        let (user, password) = self.userinfo.as_deref()?.split_once(':')?;
        Some((percent_decode(user), percent_decode(password)))
    }

    /// The URL without user and password: what goes on the wire, into logs and errors.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        Self { userinfo: None, ..self.clone() }
    }

    /// The same place with another path and query, as written in `resource` (`/path?query`).
    #[must_use]
    pub fn with_resource(&self, resource: &str) -> Self {
        let (path, query) = match resource.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (resource, None),
        };
        Self { path: path.to_owned(), query, ..self.clone() }
    }

    /// Path and query.
    #[must_use]
    pub fn resource(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Without the password.
impl fmt::Display for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtspUrl({self})")
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("x") }))
    } else {
        match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:%*".contains(&byte) || byte >= 0x80;
    if host.is_empty() || !host.bytes().all(valid) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?),
    };
    Ok((host, port))
}

/// Whether a path leaves what it names by `..`, plain or percent-encoded, or hides control characters.
fn climbs(path: &str) -> bool {
    let decoded = percent_decode(path);
    decoded.bytes().any(|byte| byte < b' ' || byte == 0x7f)
        || decoded.split(['/', '\\']).any(|segment| segment == "..")
}

/// Percent-decoded text; what does not decode stays as it is.
#[must_use]
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        if let (b'%', [high, low, after @ ..]) = (byte, tail) {
            if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                out.push(high << 4 | low);
                rest = after;
                continue;
            }
        }
        out.push(*byte);
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How a track's control attribute becomes the URL of its SETUP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlPolicy {
    /// Base, `/`, control: what live555, ffmpeg and most cameras mean, and with a base that ends in `/` the same as
    /// RFC 3986.
    #[default]
    Append,
    /// RFC 3986 resolution: a base that does not end in `/` loses its last segment (`RFC 2326 App. C.1.1`).
    Resolve,
    /// Base and control, but with the base's query moved to the end, as GStreamer does.
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

/// Which track a SETUP's URI means, of a presentation that we described with controls named by [`track_control`].
///
/// Tolerates (protocol peers do all of these): a trailing slash; the track after the query (ffmpeg) or before it
/// (GStreamer); no track at all where the presentation has one only. `None` means that the URI is not of this
/// presentation or names no track of it.
#[must_use]
pub fn match_control(uri: &str, tracks: usize) -> Option<(String, Option<usize>)> {
    let (head, query) = match uri.split_once('?') {
        Some((head, query)) => (head, Some(query)),
        None => (uri, None),
    };
    if let Some((query, track)) = query.and_then(|query| query.rsplit_once('/')) {
        // `…?query/trackID=0`, or a slash that ffmpeg adds to the query.
        if let Some(track) = parse_track(track) {
            return (track < tracks)
                .then(|| (format!("{}?{query}", head.trim_end_matches('/')), Some(track)));
        }
        if track.is_empty() {
            return Some((format!("{}?{query}", head.trim_end_matches('/')), (tracks == 1).then_some(0)));
        }
    }
    let trimmed = head.trim_end_matches('/');
    let with_query = |base: &str| query.map_or_else(|| base.to_owned(), |query| format!("{base}?{query}"));
    if let Some((base, last)) = trimmed.rsplit_once('/') {
        if let Some(track) = parse_track(last) {
            return (track < tracks).then(|| (with_query(base.trim_end_matches('/')), Some(track)));
        }
    }
    Some((with_query(trimmed), (tracks == 1).then_some(0)))
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
    let number = segment.strip_prefix("trackID=").or_else(|| segment.strip_prefix("streamid="))?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_what_was_written() {
        let url = RtspUrl::parse("RTSP://us%3Aer:p%40ss@Cam.Local/a/../b?x=1&y=/z").err();
        assert_eq!(url, Some(UrlError::Path));
        let url = RtspUrl::parse("rtsp://us%3Aer:p%40ss@Cam.Local:8554/a/%41b?x=1&y=/z").unwrap();
        assert_eq!(url.credentials(), Some(("us:er".into(), "p@ss".into())));
        assert_eq!(url.to_string(), "rtsp://Cam.Local:8554/a/%41b?x=1&y=/z");
        assert!(!format!("{url:?}").contains("ss@"));
        assert_eq!((url.host(), url.port(), url.path()), ("Cam.Local", 8554, "/a/%41b"));
        let v6 = RtspUrl::parse("rtsp://[2001:db8::1]/s").unwrap();
        assert_eq!(
            (v6.host(), v6.port(), v6.to_string().as_str()),
            ("2001:db8::1", 554, "rtsp://[2001:db8::1]/s")
        );
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "*",
            "http://h/",
            "rtsp://",
            "rtsp://h:0/",
            "rtsp://h:99999/",
            "rtsp://[zz]/",
            "rtsp://h/a b",
            "rtsp://h/%2e%2e/x",
            "rtsp://h/a%0d%0ab",
            "rtsp://h\r\n/",
        ] {
            assert!(RtspUrl::parse(text).is_err(), "{text:?}");
        }
    }

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
}
