//! What is wrong with bytes from a peer.

/// Why a message was refused. What follows it in the byte stream cannot be trusted any more: the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Start line and headers are larger than the limit.
    #[error("headers of more than {limit} bytes")]
    HeadersTooLarge {
        /// The limit.
        limit: usize,
    },
    /// More headers than the limit.
    #[error("more than {limit} headers")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// The body is larger than the limit.
    #[error("a body of {length} bytes, more than {limit}")]
    BodyTooLarge {
        /// What Content-Length says.
        length: u64,
        /// The limit.
        limit: usize,
    },
    /// The request URI is longer than the limit.
    #[error("a request URI of {length} bytes, more than {limit}")]
    UriTooLong {
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The start line is neither a request nor a response.
    #[error("start line `{0}` is neither a request nor a response")]
    BadStartLine(String),
    /// A version other than 1.0 and 2.0.
    #[error("RTSP version `{0}` is not supported")]
    BadVersion(String),
    /// A header line without a name or with control characters.
    #[error("header line {line}: {reason}")]
    BadHeader {
        /// Counted from 1, the start line not included.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Content-Length is not a plain number, or there is more than one.
    #[error("Content-Length `{0}`")]
    BadContentLength(String),
    /// A message took longer than the limit to arrive.
    #[error("a message took longer than the limit to arrive")]
    TooSlow,
    /// A value that would end a header line early.
    #[error("value of {name} has a line break or a control character")]
    Injection {
        /// The header.
        name: String,
    },
}

impl MessageError {
    /// A stable name, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HeadersTooLarge { .. } => "headers_too_large",
            Self::TooManyHeaders { .. } => "too_many_headers",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::UriTooLong { .. } => "uri_too_long",
            Self::BadStartLine(_) => "bad_start_line",
            Self::BadVersion(_) => "bad_version",
            Self::BadHeader { .. } => "bad_header",
            Self::BadContentLength(_) => "bad_content_length",
            Self::TooSlow => "too_slow",
            Self::Injection { .. } => "injection",
        }
    }

    /// The status that tells the peer (`RFC 2326 §7.1.1`).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { .. } | Self::HeadersTooLarge { .. } => 413,
            Self::UriTooLong { .. } => 414,
            Self::BadVersion(_) => 505,
            Self::TooSlow => 408,
            _ => 400,
        }
    }
}
