//! SPIFFE IDs and trust domains (`SPIFFE-ID §2`), and what policies match them with.

use std::fmt;
use std::str::FromStr;

mod matching;

pub use matching::IdMatch;

/// The longest trust domain (`SPIFFE-ID §2.1`), in bytes.
pub const MAX_TRUST_DOMAIN: usize = 255;
/// The longest SPIFFE ID, scheme included (`SPIFFE-ID §2.3`), in bytes.
pub const MAX_ID: usize = 2048;

const SCHEME: &str = "spiffe://";

/// Why a text is no SPIFFE ID, trust domain or matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Nothing was given.
    #[error("empty: expected spiffe://<trust domain>/<path>")]
    Empty,
    /// It does not begin with the scheme.
    #[error("`{0}` does not begin with spiffe://")]
    Scheme(String),
    /// Longer than [`MAX_ID`].
    #[error("a SPIFFE ID of {0} bytes: the most is {MAX_ID}")]
    TooLong(usize),
    /// Nothing stands between the scheme and the path.
    #[error("the trust domain is missing: expected spiffe://<trust domain>/<path>")]
    NoTrustDomain,
    /// Longer than [`MAX_TRUST_DOMAIN`].
    #[error("a trust domain of {0} bytes: the most is {MAX_TRUST_DOMAIN}")]
    TrustDomainTooLong(usize),
    /// A port, user information, percent-encoding, or another character that is not allowed.
    #[error("trust domain `{domain}` has `{found}`: only a-z, 0-9, `.`, `-` and `_` are allowed")]
    TrustDomainCharacter {
        /// The trust domain as given.
        domain: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// An empty segment, which `//` makes.
    #[error("path `{0}` has an empty segment")]
    EmptySegment(String),
    /// A slash at the end.
    #[error("path `{0}` ends with a slash")]
    TrailingSlash(String),
    /// A segment of one dot or two.
    #[error("path `{0}` has a segment `.` or `..`")]
    DotSegment(String),
    /// A query, a fragment, percent-encoding, or another character that is not allowed.
    #[error("path `{path}` has `{found}`: only letters, digits, `.`, `-` and `_` are allowed in a segment")]
    PathCharacter {
        /// The path as given.
        path: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// A matcher's `*` is not the whole last segment.
    #[error("`{0}`: `*` can only be the whole last segment, as in spiffe://example.org/ns/prod/*")]
    Wildcard(String),
}

impl IdError {
    /// A stable name, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Scheme(_) => "scheme",
            Self::TooLong(_) => "too_long",
            Self::NoTrustDomain => "no_trust_domain",
            Self::TrustDomainTooLong(_) => "trust_domain_too_long",
            Self::TrustDomainCharacter { .. } => "trust_domain_character",
            Self::EmptySegment(_) => "empty_segment",
            Self::TrailingSlash(_) => "trailing_slash",
            Self::DotSegment(_) => "dot_segment",
            Self::PathCharacter { .. } => "path_character",
            Self::Wildcard(_) => "wildcard",
        }
    }
}

/// A trust domain in its canonical form, which is lower case (`SPIFFE-ID §2.1`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// Takes `example.org` or `spiffe://example.org`; upper case becomes lower case.
    ///
    /// # Errors
    ///
    /// What breaks `SPIFFE-ID §2.1`, or a path after the trust domain.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Self::checked(strip_scheme(text).unwrap_or(text))
    }

    fn checked(name: &str) -> Result<Self, IdError> {
        if name.is_empty() {
            return Err(IdError::NoTrustDomain);
        }
        if name.len() > MAX_TRUST_DOMAIN {
            return Err(IdError::TrustDomainTooLong(name.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some(found) = name.chars().find(|&c| !allowed(c)) {
            return Err(IdError::TrustDomainCharacter { domain: name.into(), found });
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The name, without the scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

/// A SPIFFE ID in its canonical form: scheme and trust domain in lower case, the path as it is.
///
/// Equality is byte by byte on that form, so the path is case-sensitive (`SPIFFE-ID §2.2`). An ID without a path names
/// the trust domain itself: no member can have it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    /// Empty, or a slash and what follows.
    path: Box<str>,
}

impl SpiffeId {
    /// # Errors
    ///
    /// What breaks `SPIFFE-ID §2`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (trust_domain, path) = split(text)?;
        check_path(path)?;
        Ok(Self { trust_domain, path: path.into() })
    }

    /// The trust domain, whose bundle is the only one that can vouch for this ID.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Empty, or a slash and what follows.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the path is empty, as a signing certificate's must be (`X509-SVID §4.2`) and a leaf's must not.
    #[must_use]
    pub fn is_trust_domain(&self) -> bool {
        self.path.is_empty()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.trust_domain, self.path)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

/// What follows the scheme, which is compared without case (`RFC 3986 §3.1`).
fn strip_scheme(text: &str) -> Option<&str> {
    let head = text.get(..SCHEME.len())?;
    if head.eq_ignore_ascii_case(SCHEME) { text.get(SCHEME.len()..) } else { None }
}

fn split(text: &str) -> Result<(TrustDomain, &str), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID {
        return Err(IdError::TooLong(text.len()));
    }
    let rest = strip_scheme(text).ok_or_else(|| IdError::Scheme(text.into()))?;
    let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Ok((TrustDomain::checked(name)?, path))
}

fn check_path(path: &str) -> Result<(), IdError> {
    let Some(inner) = path.strip_prefix('/') else {
        return Ok(());
    };
    if path.ends_with('/') {
        return Err(IdError::TrailingSlash(path.into()));
    }
    for segment in inner.split('/') {
        match segment {
            "" => return Err(IdError::EmptySegment(path.into())),
            "." | ".." => return Err(IdError::DotSegment(path.into())),
            _ => {}
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some(found) = segment.chars().find(|&c| !allowed(c)) {
            return Err(IdError::PathCharacter { path: path.into(), found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
