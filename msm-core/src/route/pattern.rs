//! URL patterns: `rtsp://*.studio.example/news/{feed}`.

pub use self::error::PatternError;
use super::host::HostPattern;
use super::path::{self, NormalPath};
use super::precedence::Step;
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

    /// A path that is meant: `x` for each placeholder.
    pub(super) fn example(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            path.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Capture(_) => "x",
            });
        }
        if self.rest.is_some() || path.is_empty() {
            path.push_str(if self.rest.is_some() { "/x" } else { "/" });
        }
        path
    }

    /// Whether it says which hosts are meant.
    pub fn names_host(&self) -> bool {
        self.host != HostPattern::Any
    }

    /// Whether it says which port is meant.
    pub fn names_port(&self) -> bool {
        self.port.is_some()
    }

    /// Matches a URL's parts. `port: None` means the scheme's own port; `path` is as received, without the query.
    pub fn matches(&self, scheme: &str, host: &str, port: Option<u16>, path: &str) -> Option<Captures> {
        if !self.fits(scheme, port) {
            return None;
        }
        if !self.host.matches(host) {
            return None;
        }
        let path = NormalPath::of(path)?;
        let mut captures = Captures::default();
        self.walk(path.rest(), |name, value| captures.values.push((Arc::clone(name), value.to_owned())))
            .then_some(captures)
    }

    /// Whether scheme and port of a URL are meant.
    pub(super) fn fits(&self, scheme: &str, port: Option<u16>) -> bool {
        let is_wanted = |wanted: &String| {
            wanted.eq_ignore_ascii_case(scheme) || (wanted == "rtsp" && scheme.eq_ignore_ascii_case("rtsps"))
        };
        self.scheme.as_ref().is_none_or(is_wanted)
            && self.port.is_none_or(|wanted| port.or_else(|| default_port(scheme)) == Some(wanted))
    }

    /// Whether a path in normal form is meant; `capture` is told what the placeholders stand for as far as it is.
    pub(super) fn walk<'p>(
        &self,
        mut rest: Option<&'p str>,
        mut capture: impl FnMut(&Arc<str>, &'p str),
    ) -> bool {
        for wanted in &self.segments {
            let Some((segment, tail)) = rest.map(path::first) else { return false };
            match wanted {
                Segment::Literal(text) if text == segment => {}
                Segment::Capture(name) if !segment.is_empty() => capture(name, segment),
                Segment::Literal(_) | Segment::Capture(_) => return false,
            }
            rest = tail;
        }
        match &self.rest {
            Some(name) => {
                capture(name, rest.unwrap_or_default());
                true
            }
            None => rest.is_none_or(str::is_empty),
        }
    }

    /// What the placeholders stand for in a path in normal form that is meant.
    pub(super) fn captures(&self, path: &NormalPath<'_>) -> Captures {
        let mut values = Vec::new();
        self.walk(path.rest(), |name, value| values.push((Arc::clone(name), value.to_owned())));
        Captures { values }
    }

    /// What one placeholder stands for in a path in normal form that is meant.
    pub(super) fn value<'p>(&self, path: &'p NormalPath<'_>, name: &str) -> Option<&'p str> {
        let is_it = |segment: &Segment| matches!(segment, Segment::Capture(own) if **own == *name);
        if let Some(depth) = self.segments.iter().position(is_it) {
            return path.rest()?.split('/').nth(depth);
        }
        if self.rest.as_deref() != Some(name) {
            return None;
        }
        let after = self.segments.iter().try_fold(path.rest()?, |rest, _| path::first(rest).1);
        Some(after.unwrap_or_default())
    }

    /// The host.
    pub(super) fn host(&self) -> &HostPattern {
        &self.host
    }

    /// The port, if one is named.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The scheme in lower case, if one is named.
    pub(super) fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// The path's element at `depth`.
    pub(super) fn step(&self, depth: usize) -> Step<'_> {
        match self.segments.get(depth) {
            Some(Segment::Literal(text)) => Step::Text(text),
            Some(Segment::Capture(_)) => Step::One,
            None if self.rest.is_some() => Step::Rest,
            None => Step::End,
        }
    }
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

mod error;
#[cfg(test)]
mod tests;
