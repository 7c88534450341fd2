//! What is wrong with patterns.

use super::{MAX_SEGMENTS, MAX_URL_BYTES};

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
