//! RTSP URLs as they are written: nothing is normalised, because Digest, Content-Base and odd servers compare bytes.

mod control;

pub use control::{
    ControlPolicy, MatchPolicy, Target, check_control, join_control, match_control, match_track,
    presentation, track_control,
};

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
// One text, as each request has several of these made of it: userinfo, host, path and query, one after the other.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl {
    text: String,
    host: usize,
    path: usize,
    query: usize,
    has_userinfo: bool,
    has_query: bool,
    port: Option<u16>,
    scheme: Scheme,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Rtsp,
    Rtsps,
    Rtspu,
}

/// What a URL is made of.
#[derive(Clone, Copy)]
struct Parts<'a> {
    scheme: Scheme,
    userinfo: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
    query: Option<&'a str>,
}

impl From<Parts<'_>> for RtspUrl {
    fn from(parts: Parts<'_>) -> Self {
        let userinfo = parts.userinfo.unwrap_or_default();
        let query = parts.query.unwrap_or_default();
        let lengths = [userinfo.len(), parts.host.len(), parts.path.len(), query.len()];
        let mut text = String::with_capacity(lengths.into_iter().fold(0, usize::saturating_add));
        text.push_str(userinfo);
        let host = text.len();
        text.push_str(parts.host);
        let path = text.len();
        text.push_str(parts.path);
        let from = text.len();
        text.push_str(query);
        Self {
            text,
            host,
            path,
            query: from,
            has_userinfo: parts.userinfo.is_some(),
            has_query: parts.query.is_some(),
            port: parts.port,
            scheme: parts.scheme,
        }
    }
}

impl Scheme {
    /// The scheme that a URL begins with, and what follows `://`.
    fn split(text: &str) -> Option<(Self, &str)> {
        let (name, rest) = text.split_at_checked(4)?;
        if !name.eq_ignore_ascii_case("rtsp") {
            return None;
        }
        let (scheme, rest) = match rest.as_bytes().first()? {
            b's' | b'S' => (Self::Rtsps, rest.get(1..)?),
            b'u' | b'U' => (Self::Rtspu, rest.get(1..)?),
            _ => (Self::Rtsp, rest),
        };
        Some((scheme, rest.strip_prefix("://")?))
    }
}

impl RtspUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = Scheme::split(text) else {
            let (scheme, _) = text.split_once("://").ok_or(UrlError::NotAbsolute)?;
            return Err(UrlError::Scheme(scheme.to_ascii_lowercase().escape_debug().take(20).collect()));
        };
        // Without an early end, so that many bytes are looked at at a time.
        if !rest.bytes().fold(true, |good, byte| good & (byte > b' ') & (byte != 0x7f)) {
            return Err(UrlError::Path);
        }
        let is_end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
        let end = rest.as_bytes().iter().position(is_end).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end).ok_or(UrlError::Host)?;
        let (userinfo, address) = match split_last(authority, b'@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        let is_end = |byte: &u8| matches!(byte, b'?' | b'#');
        let (path, tail) = match tail.as_bytes().iter().position(is_end) {
            Some(end) => tail.split_at_checked(end).ok_or(UrlError::Path)?,
            None => (tail, ""),
        };
        let query = tail.strip_prefix('?').map(|query| query.split('#').next().unwrap_or_default());
        if climbs(path) {
            return Err(UrlError::Path);
        }
        Ok(Parts { scheme, userinfo, host, port, path, query }.into())
    }

    fn parts(&self) -> Parts<'_> {
        let Self { scheme, port, .. } = *self;
        let userinfo = self.has_userinfo.then(|| self.text.get(..self.host).unwrap_or_default());
        Parts { scheme, userinfo, host: self.host(), port, path: self.path(), query: self.query() }
    }

    /// `rtsp`, `rtsps` or `rtspu`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        match self.scheme {
            Scheme::Rtsp => "rtsp",
            Scheme::Rtsps => "rtsps",
            Scheme::Rtspu => "rtspu",
        }
    }

    /// The host as written; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(self.host..self.path).unwrap_or_default()
    }

    /// The port, or the scheme's: 554, and 322 for rtsps (`RFC 7826 §4.2`).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.scheme == Scheme::Rtsps { 322 } else { 554 })
    }

    /// The path with its leading slash, as written; empty if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..self.query).unwrap_or_default()
    }

    /// What follows `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.has_query.then(|| self.text.get(self.query..).unwrap_or_default())
    }

    /// User and password, percent-decoded. A user alone has an empty password, as cameras have them.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, String)> {
        let userinfo = self.parts().userinfo.filter(|userinfo| !userinfo.is_empty())?;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Some((percent_decode(user), percent_decode(password)))
    }

    /// The URL without user and password: what goes on the wire, into logs and errors.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        Parts { userinfo: None, ..self.parts() }.into()
    }

    /// The same place, as the connection that a request came on tells: `rtsps` over TLS, else `rtsp`. Some clients write
    /// `rtsp` over TLS, and anybody can write `rtsps` without.
    #[must_use]
    pub fn over(self, tls: bool) -> Self {
        Self { scheme: if tls { Scheme::Rtsps } else { Scheme::Rtsp }, ..self }
    }

    /// The same place with another path and query, as written in `resource` (`/path?query`).
    #[must_use]
    pub fn with_resource(&self, resource: &str) -> Self {
        let (path, query) = match resource.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (resource, None),
        };
        Parts { path, query, ..self.parts() }.into()
    }

    /// Path and query.
    #[must_use]
    pub fn resource(&self) -> String {
        match self.query() {
            Some(query) => format!("{}?{query}", self.path()),
            None => self.path().to_owned(),
        }
    }
}

/// Without the password.
impl fmt::Display for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        if self.host().contains(':') {
            write!(f, "[{}]", self.host())?
        } else {
            f.write_str(self.host())?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.path())?;
        match self.query() {
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

/// `rsplit_once` for texts of a few bytes, of which it takes most of its time to begin.
fn split_last(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = text.bytes().rposition(|byte| byte == at)?;
    Some((text.get(..place)?, text.get(place.saturating_add(1)..)?))
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("x") }))
    } else {
        match split_last(address, b':') {
            // An IPv6 address must be in brackets: without them nobody knows where the port begins.
            Some((host, _)) if host.bytes().any(|byte| byte == b':') => return Err(UrlError::Host),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    let valid = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'%' | b'*')
            || byte >= 0x80
    };
    if host.is_empty() || !host.bytes().all(valid) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None | Some("") => None,
        Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) => return Err(UrlError::Port),
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?),
    };
    Ok((host, port))
}

/// A URI as it came, for logs: without user and password, and with nothing in it that a terminal obeys.
#[must_use]
pub fn shown(uri: &str) -> String {
    let anonymous = uri.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end)?;
        let (_, address) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://{address}{tail}"))
    });
    anonymous.as_deref().unwrap_or(uri).escape_debug().to_string()
}

/// Whether a path leaves what it names by `..`, plain or percent-encoded, or hides control characters.
fn climbs(path: &str) -> bool {
    // What most paths are: nothing to decode, and no second dot in a row. Their bytes have been looked at.
    let mut before = b'/';
    let is_odd = |byte: u8| {
        let before = std::mem::replace(&mut before, byte);
        byte == b'%' || (byte == b'.' && before == b'.')
    };
    if !path.bytes().any(is_odd) {
        return false;
    }
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
        if let (b'%', [high, low, after @ ..]) = (byte, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = after;
            continue;
        }
        out.push(*byte);
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
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
    fn uris_are_shown_without_credentials_and_control_characters() {
        for (uri, wanted) in [
            ("rtsp://us:p@ss@h:1/a@b?c=d@e", "rtsp://h:1/a@b?c=d@e"),
            ("rtsps://user@h", "rtsps://h"),
            ("rtsp://h/a@b", "rtsp://h/a@b"),
            ("rtsp://h/\u{1b}[2J", "rtsp://h/\\u{1b}[2J"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(shown(uri), wanted);
        }
    }

    #[test]
    fn credentials_are_read_and_not_shown() {
        for (text, expected) in [
            ("rtsp://u:p@h/", Some(("u", "p"))),
            ("rtsp://admin@h/", Some(("admin", ""))),
            ("rtsp://u:a:b@c@h:554/", Some(("u", "a:b@c"))),
            ("rtsp://@h/", None),
            ("rtsp://h/a@b", None),
        ] {
            let url = RtspUrl::parse(text).unwrap();
            let credentials = url.credentials();
            let found = credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
            assert_eq!(found, expected, "{text}");
            assert_eq!(url.host(), "h", "{text}");
            assert!(expected.is_none() || !format!("{url} {url:?}").contains('@'), "{url}");
            assert_eq!(url.without_credentials().credentials(), None);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "*",
            "http://h/",
            "rtsp://",
            "rtsp://h:0/",
            "rtsp://h:+554/",
            "rtsp://h:5 54/",
            "rtsp://2001:db8::1/s",
            "rtsp://[::1]x/",
            "rtsp://[::1/",
            "rtsp://u@/",
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
}
