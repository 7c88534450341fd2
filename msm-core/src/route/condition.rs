//! What a route may ask of a request beside its URL.

use super::split::{hash, mix};
use std::fmt;

/// A header that a request must have, and what its value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPattern {
    name: String,
    text: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
}

/// What is wrong with a [`HeaderPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderPatternError {
    /// Not a token (RFC 7826 §20.2.2).
    #[error("`{0}` is not the name of a header; write e.g. `User-Agent`")]
    Name(String),
    /// Nothing.
    #[error("is empty; write `*` for any value")]
    Empty,
    /// A `*` in the middle.
    #[error("has a `*` in the middle; `*` may stand at the beginning and at the end: `VLC*`, `*VLC*`")]
    Star,
}

impl HeaderPattern {
    /// A header's name, in any case, and a pattern of its value: `*` for any, `VLC*` for one that begins so, `*VLC` for one that ends
    /// so, `*VLC*` for one that contains it, anything else for itself. Values are compared byte for byte.
    ///
    /// # Errors
    /// See [`HeaderPatternError`].
    pub fn parse(name: &str, text: &str) -> Result<HeaderPattern, HeaderPatternError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderPatternError::Name(name.to_owned()));
        }
        let (begins, inner) = text.strip_prefix('*').map_or((false, text), |inner| (true, inner));
        let (ends, inner) = inner.strip_suffix('*').map_or((false, inner), |inner| (true, inner));
        if inner.contains('*') {
            return Err(HeaderPatternError::Star);
        }
        let value = match (begins, ends) {
            (false, false) if inner.is_empty() => return Err(HeaderPatternError::Empty),
            _ if inner.is_empty() => Value::Any,
            (false, false) => Value::Exact(inner.to_owned()),
            (false, true) => Value::Prefix(inner.to_owned()),
            (true, false) => Value::Suffix(inner.to_owned()),
            (true, true) => Value::Contains(inner.to_owned()),
        };
        Ok(HeaderPattern { name: name.to_owned(), text: text.to_owned(), value })
    }

    /// The header's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a value is meant.
    pub fn matches(&self, value: &str) -> bool {
        match &self.value {
            Value::Any => true,
            Value::Exact(text) => value == text,
            Value::Prefix(text) => value.starts_with(text),
            Value::Suffix(text) => value.ends_with(text),
            Value::Contains(text) => value.contains(text),
        }
    }
}

impl fmt::Display for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// The headers of a request.
pub trait Headers {
    /// Whether one of this name, in any case, has a value that passes.
    fn any(&self, name: &str, passes: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// A request without headers, such as the application's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn any(&self, _: &str, _: &mut dyn FnMut(&str) -> bool) -> bool {
        false
    }
}

impl Headers for [(String, String)] {
    fn any(&self, name: &str, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        self.iter().any(|(own, value)| own.eq_ignore_ascii_case(name) && passes(value))
    }
}

impl Headers for Vec<(String, String)> {
    fn any(&self, name: &str, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        self.as_slice().any(name, passes)
    }
}

/// Whether the point that a client and a URL hash to is among a percentage of all. It stays when the percentage grows; and what one
/// `salt` takes says nothing of what another takes.
pub fn is_among(point: u64, salt: &str, percent: u8) -> bool {
    let draw = mix(point ^ hash(salt.as_bytes()));
    // The upper 32 bits times 100 fit.
    (draw >> 32).wrapping_mul(100) >> 32 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers() {
        let hit = |text: &str, value: &str| HeaderPattern::parse("User-Agent", text).unwrap().matches(value);
        assert!(hit("VLC*", "VLC/3.0.18") && hit("VLC*", "VLC") && !hit("VLC*", "LibVLC"));
        assert!(hit("*VLC*", "LibVLC/3.0") && !hit("*VLC*", "vlc"));
        assert!(hit("*3.0", "LibVLC/3.0") && !hit("*3.0", "LibVLC/3.0.1"));
        assert!(hit("VLC", "VLC") && !hit("VLC", "VLC/3"));
        assert!(hit("*", "") && hit("**", "anything"));
    }

    #[test]
    fn what_is_no_header_pattern() {
        use HeaderPatternError as E;
        assert_eq!(HeaderPattern::parse("User Agent", "*"), Err(E::Name("User Agent".into())));
        assert_eq!(HeaderPattern::parse("", "*"), Err(E::Name(String::new())));
        assert_eq!(HeaderPattern::parse("X", ""), Err(E::Empty));
        for text in ["a*b", "*a*b*", "***"] {
            assert_eq!(HeaderPattern::parse("X", text), Err(E::Star), "{text}");
        }
    }

    #[test]
    fn names_of_headers_have_no_case() {
        let headers =
            vec![("user-agent".to_owned(), "x".to_owned()), ("USER-AGENT".to_owned(), "y".to_owned())];
        assert!(headers.any("User-Agent", &mut |value| value == "y"));
        assert!(!headers.any("Accept", &mut |_| true) && !NoHeaders.any("User-Agent", &mut |_| true));
    }

    #[test]
    fn a_percentage_is_that_share_of_all_points_and_grows_without_moving() {
        const POINTS: u64 = 100_000;
        let point = |index: u64| hash(&index.to_be_bytes());
        let taken = |salt: &str, percent| {
            (0..POINTS).map(|index| is_among(point(index), salt, percent)).collect::<Vec<bool>>()
        };
        let count = |taken: &[bool]| taken.iter().filter(|is| **is).count() as f64;
        // Five standard deviations of a binomial distribution.
        let bound = |share: f64| 5.0 * (POINTS as f64 * share * (1.0 - share)).sqrt();
        let (few, more, other) = (taken("a", 5), taken("a", 20), taken("b", 20));
        assert!((count(&few) - 5_000.0).abs() <= bound(0.05), "{}", count(&few));
        assert!((count(&more) - 20_000.0).abs() <= bound(0.2), "{}", count(&more));
        assert!(few.iter().zip(&more).all(|(few, more)| !few || *more), "who was in stays in");
        let both = more.iter().zip(&other).filter(|(one, other)| **one && **other).count() as f64;
        assert!((both - 4_000.0).abs() <= bound(0.04), "one says nothing of the other: {both}");
        assert_eq!((count(&taken("a", 0)), count(&taken("a", 100))), (0.0, POINTS as f64));
    }
}
