//! URL patterns: `rtsp://*.studio.example/news/{feed}`.

use super::host::HostPattern;
use super::segment::{is_dot, normalize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest pattern, template or request path that is looked at, in bytes. A longer request path matches nothing.
pub const MAX_URL_BYTES: usize = 4096;
/// Most path segments in a pattern, and most in a request path that is looked at.
pub const MAX_SEGMENTS: usize = 128;

/// A pattern that URLs are matched against.
///
/// `scheme://host[:port]/path`, or `/path` alone for any scheme, host and port.
///
/// | part | forms |
/// |---|---|
/// | scheme | a name, or `*`; `rtsp` is `rtsps` as well, which is the same over TLS, and `rtsps` is that alone |
/// | host | a name or address (letter case ignored); `*` for any; a leading `*` label for one or more labels (`*.studio.example`); any other `*` label for exactly one |
/// | port | a number; absent: any |
/// | path | literal segments; `{name}` for one segment that is not empty; `{name...}`, last, for the rest, which may be empty |
///
/// Segments are compared in the normal form of RFC 3986 §6.2.2: `%63` is `c`, but `%2F` is never a separator. A path with
/// a `.` or `..` segment, however it is spelt, matches nothing. One `/` at the end of a request's path is ignored,
/// except by `{name...}`, which captures the rest as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPattern {
    text: String,
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
    segments: Vec<Segment>,
    rest: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Capture(Arc<str>),
}

/// What is wrong with a URL pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Neither `scheme://…` nor `/path`.
    #[error("neither `scheme://host/path` nor `/path`")]
    Shape,
    /// Longer than [`MAX_URL_BYTES`] or deeper than [`MAX_SEGMENTS`].
    #[error("longer than {MAX_URL_BYTES} bytes or {MAX_SEGMENTS} segments")]
    TooLong,
    /// The scheme is not letters, digits, `+`, `-`, `.`, and not `*`.
    #[error("`{0}` is not a scheme; write e.g. `rtsp` or `*`")]
    Scheme(String),
    /// The host is not one, or has a `*` inside a label.
    #[error(
        "`{0}` is not a host; write a name, an address, `*`, or `*` as a whole label (`*.studio.example`)"
    )]
    Host(String),
    /// The port is not 1 to 65535.
    #[error("`{0}` is not a port (1 to 65535)")]
    Port(String),
    /// User information has no place in a pattern.
    #[error("a pattern has no `user:password@`")]
    UserInfo,
    /// A query or fragment: routes look at the path only.
    #[error("a pattern has no `?` or `#`: routes match the path")]
    Query,
    /// A space or control character.
    #[error("a space or control character")]
    Control,
    /// A `.` or `..` segment can never match.
    #[error("a `.` or `..` segment never matches")]
    DotSegment,
    /// `*` in the path.
    #[error("`*` in the path of a pattern; write `{{name}}` for one segment or `{{name...}}` for the rest")]
    Star,
    /// A brace that does not enclose a whole segment, or encloses no name.
    #[error("`{0}`: braces enclose a whole segment and a name of letters, digits and `_`")]
    Braces(String),
    /// `{name...}` before the end.
    #[error("`{{{0}...}}` must be the last segment")]
    RestNotLast(String),
    /// The same name twice.
    #[error("`{{{0}}}` stands twice")]
    DuplicateName(String),
}

/// What the placeholders of a pattern stood for in one URL, in normal form: nothing in a value can end a line or begin
/// a query or fragment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    values: Vec<(Arc<str>, String)>,
}

impl Captures {
    /// The value of `{name}` or `{name...}`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(own, _)| &**own == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, in the pattern's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (&**name, value.as_str()))
    }
}

/// Whether `text` can be the name in `{name}`.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Splits `host[:port]`; the host keeps the brackets of an IPv6 literal.
pub(crate) fn split_authority(authority: &str) -> (&str, Option<&str>) {
    let after_literal = authority.rfind(']').map_or(0, |at| at.saturating_add(1));
    match authority.get(after_literal..).and_then(|tail| tail.rfind(':')) {
        Some(at) => {
            let (host, port) = authority.split_at(after_literal.saturating_add(at));
            (host, port.strip_prefix(':'))
        }
        None => (authority, None),
    }
}

/// Parses a port from 1 to 65535.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

/// Whether `text` is a scheme (RFC 3986 §3.1).
pub(super) fn is_scheme(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

impl UrlPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn parse(text: &str) -> Result<UrlPattern, PatternError> {
        if text.len() > MAX_URL_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(PatternError::Control);
        }
        if text.contains(['?', '#']) {
            return Err(PatternError::Query);
        }
        let (scheme, host, port, path) = if text.starts_with('/') {
            (None, HostPattern::Any, None, text)
        } else {
            let (scheme, rest) = text.split_once("://").ok_or(PatternError::Shape)?;
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (host, port) = parse_authority(authority)?;
            (parse_scheme(scheme)?, host, port, path)
        };
        let (segments, rest) = parse_path(path)?;
        Ok(UrlPattern { text: text.to_owned(), scheme, host, port, segments, rest })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the placeholders, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let captures = self.segments.iter().filter_map(|segment| match segment {
            Segment::Capture(name) => Some(&**name),
            Segment::Literal(_) => None,
        });
        captures.chain(self.rest.as_deref())
    }

    /// The name of the `{name...}` placeholder.
    pub fn rest_name(&self) -> Option<&str> {
        self.rest.as_deref()
    }

    /// The one path that is meant, in normal form, when there is no placeholder.
    pub fn literal_path(&self) -> Option<String> {
        let mut path = String::new();
        for segment in &self.segments {
            let Segment::Literal(text) = segment else { return None };
            path.push('/');
            path.push_str(text);
        }
        if path.is_empty() {
            path.push('/');
        }
        self.rest.is_none().then_some(path)
    }

    /// Matches a URL's parts. `port: None` means the scheme's own port; `path` is as received, without the query.
    pub fn matches(&self, scheme: &str, host: &str, port: Option<u16>, path: &str) -> Option<Captures> {
        let is_wanted = |wanted: &String| {
            wanted.eq_ignore_ascii_case(scheme) || (wanted == "rtsp" && scheme.eq_ignore_ascii_case("rtsps"))
        };
        if !self.scheme.as_ref().is_none_or(is_wanted) {
            return None;
        }
        if self.port.is_some_and(|wanted| port.or_else(|| default_port(scheme)) != Some(wanted)) {
            return None;
        }
        if !self.host.matches(host) {
            return None;
        }
        self.match_path(&split_path(path)?)
    }

    /// Matches a path that [`split_path`] prepared.
    fn match_path(&self, path: &[String]) -> Option<Captures> {
        let mut given = path;
        let mut captures = Captures::default();
        for wanted in &self.segments {
            let (segment, tail) = given.split_first()?;
            match wanted {
                Segment::Literal(text) if text == segment => {}
                Segment::Capture(name) if !segment.is_empty() => {
                    captures.values.push((Arc::clone(name), segment.clone()));
                }
                Segment::Literal(_) | Segment::Capture(_) => return None,
            }
            given = tail;
        }
        match (&self.rest, given) {
            (Some(name), rest) => captures.values.push((Arc::clone(name), rest.join("/"))),
            (None, []) => {}
            (None, [last]) if last.is_empty() => {}
            (None, _) => return None,
        }
        Some(captures)
    }
}

/// The normalized segments of a request's path; `None` for a path that no pattern may match: with a `.` or `..`
/// segment, too long, or not beginning with `/`.
fn split_path(path: &str) -> Option<Vec<String>> {
    if path.len() > MAX_URL_BYTES {
        return None;
    }
    let inner = match path.strip_prefix('/') {
        Some(inner) => inner,
        None if path.is_empty() => "",
        None => return None,
    };
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let mut segments = Vec::new();
    for raw in inner.split('/') {
        let segment = normalize(raw);
        if is_dot(&segment) || segments.len() >= MAX_SEGMENTS {
            return None;
        }
        segments.push(segment);
    }
    Some(segments)
}

/// Whether no pattern may match this request path, whatever its routes: see [`UrlPattern`].
pub(super) fn is_unroutable(path: &str) -> bool {
    split_path(path).is_none()
}

/// The port that a URL without one means.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("rtsp") {
        Some(554)
    } else if scheme.eq_ignore_ascii_case("rtsps") {
        Some(322)
    } else {
        None
    }
}

fn parse_scheme(scheme: &str) -> Result<Option<String>, PatternError> {
    match scheme {
        "*" => Ok(None),
        text if is_scheme(text) => Ok(Some(text.to_ascii_lowercase())),
        text => Err(PatternError::Scheme(text.to_owned())),
    }
}

fn parse_authority(authority: &str) -> Result<(HostPattern, Option<u16>), PatternError> {
    if authority.contains('@') {
        return Err(PatternError::UserInfo);
    }
    let (host, port) = split_authority(authority);
    let port =
        port.map(|text| parse_port(text).ok_or_else(|| PatternError::Port(text.to_owned()))).transpose()?;
    let host = HostPattern::parse(host).ok_or_else(|| PatternError::Host(host.to_owned()))?;
    Ok((host, port))
}

fn parse_path(path: &str) -> Result<(Vec<Segment>, Option<Arc<str>>), PatternError> {
    let mut segments = Vec::new();
    let mut names: Vec<Arc<str>> = Vec::new();
    // One `/` at the end means nothing, as in requests.
    let inner = path.strip_prefix('/').unwrap_or_default();
    // But what follows `{name...}` would be part of the rest.
    let means_nothing = |rest: &&str| !rest.is_empty() && !rest.ends_with("...}");
    let inner = inner.strip_suffix('/').filter(means_nothing).unwrap_or(inner);
    if inner.is_empty() {
        return Ok((segments, None));
    }
    let mut raw = inner.split('/').peekable();
    while let Some(text) = raw.next() {
        if segments.len() >= MAX_SEGMENTS {
            return Err(PatternError::TooLong);
        }
        if let Some(inside) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let (name, rest) = match inside.strip_suffix("...") {
                Some(name) => (name, true),
                None => (inside, false),
            };
            if !is_name(name) {
                return Err(PatternError::Braces(text.to_owned()));
            }
            if names.iter().any(|own| &**own == name) {
                return Err(PatternError::DuplicateName(name.to_owned()));
            }
            let name: Arc<str> = Arc::from(name);
            if rest {
                return match raw.peek() {
                    None => Ok((segments, Some(name))),
                    Some(_) => Err(PatternError::RestNotLast(name.to_string())),
                };
            }
            names.push(Arc::clone(&name));
            segments.push(Segment::Capture(name));
            continue;
        }
        if text.contains(['{', '}']) {
            return Err(PatternError::Braces(text.to_owned()));
        }
        if text.contains('*') {
            return Err(PatternError::Star);
        }
        let literal = normalize(text);
        if is_dot(&literal) {
            return Err(PatternError::DotSegment);
        }
        segments.push(Segment::Literal(literal));
    }
    Ok((segments, None))
}

impl FromStr for UrlPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<UrlPattern, PatternError> {
        UrlPattern::parse(text)
    }
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
