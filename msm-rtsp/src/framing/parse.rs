//! Start line and headers of a message.
//!
//! Lenient where peers are sloppy and nothing can be hidden by it: bare line feeds, a missing reason phrase, white space
//! around names and values, continued lines, any request URI without white space. Strict where two readers of the same
//! bytes could see different messages: Content-Length, control characters, names that are none.

use bytes::Bytes;
use rtsp_types::{Method, Version};

use super::Item;
use crate::error::MessageError;
use crate::limits::Limits;
use crate::message::{Headers, Request, Response, is_token};

#[derive(Debug)]
enum Start {
    Request { method: Method, uri: String, version: Version },
    Response { version: Version, status: u16, reason: String },
}

/// Everything of a message but its body.
#[derive(Debug)]
pub(super) struct Head {
    start: Start,
    headers: Headers,
    /// Bytes of start line and headers, with the empty line that ends them.
    pub(super) length: usize,
    /// Bytes of the body.
    pub(super) body: usize,
}

impl Head {
    /// Reads `text`, which ends with an empty line.
    pub(super) fn parse(text: &[u8], limits: &Limits) -> Result<Self, MessageError> {
        let mut lines =
            text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = parse_start(lines.next().unwrap_or_default(), limits)?;
        let headers = parse_headers(lines, limits)?;
        let body = content_length(&headers, limits)?;
        Ok(Self { start, headers, length: text.len(), body })
    }

    pub(super) fn into_item(self, body: Bytes) -> Item {
        let length = self.length.saturating_add(body.len());
        let headers = self.headers;
        match self.start {
            Start::Request { method, uri, version } => {
                Item::Request(Box::new(Request { method, uri, version, headers, body }), length)
            }
            Start::Response { version, status, reason } => {
                Item::Response(Box::new(Response { version, status, reason, headers, body }), length)
            }
        }
    }
}

fn parse_start(line: &[u8], limits: &Limits) -> Result<Start, MessageError> {
    let bad = || MessageError::BadStartLine(String::from_utf8_lossy(line).escape_debug().take(80).collect());
    let text = std::str::from_utf8(line).map_err(|_| bad())?;
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(bad());
    }
    let text = text.trim_end_matches(' ');
    if text.starts_with("RTSP/") {
        // A missing reason phrase is tolerated.
        let (protocol, rest) = text.split_once(' ').ok_or_else(bad)?;
        let rest = rest.trim_start_matches(' ');
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        let status =
            code.parse().ok().filter(|status| digits && (100..600).contains(status)).ok_or_else(bad)?;
        return Ok(Start::Response { version: version(protocol)?, status, reason: reason.to_owned() });
    }
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let (Some(method), Some(uri), Some(protocol), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    if !is_token(method) || !protocol.starts_with("RTSP/") {
        return Err(bad());
    }
    if uri.len() > limits.uri_bytes {
        return Err(MessageError::UriTooLong { length: uri.len(), limit: limits.uri_bytes });
    }
    Ok(Start::Request { method: Method::from(method), uri: uri.to_owned(), version: version(protocol)? })
}

fn version(text: &str) -> Result<Version, MessageError> {
    match text {
        "RTSP/1.0" => Ok(Version::V1_0),
        "RTSP/2.0" => Ok(Version::V2_0),
        other => Err(MessageError::BadVersion(other.escape_debug().take(20).collect())),
    }
}

/// A header that is still being put together.
struct Raw {
    line: usize,
    name: String,
    value: String,
}

fn parse_headers<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Headers, MessageError> {
    // Only these: what Unicode calls white space is part of the text around it.
    const BLANK: [char; 2] = [' ', '\t'];
    let mut raw: Vec<Raw> = Vec::new();
    for (index, bytes) in lines.enumerate() {
        let line = index.saturating_add(1);
        let bad = |reason| MessageError::BadHeader { line, reason };
        if bytes.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        if text.starts_with(BLANK) {
            // It goes on with the header before it, whatever it looks like (RFC 2326 §4.2 by way of HTTP).
            let before = raw.last_mut().ok_or_else(|| bad("a continuation of nothing"))?;
            let more = text.trim_matches(BLANK);
            if !before.value.is_empty() && !more.is_empty() {
                before.value.push(' ');
            }
            before.value.push_str(more);
            continue;
        }
        if raw.len() >= limits.header_count {
            return Err(MessageError::TooManyHeaders { limit: limits.header_count });
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad("no colon"))?;
        raw.push(Raw {
            line,
            name: name.trim_end_matches(BLANK).to_owned(),
            value: value.trim_matches(BLANK).to_owned(),
        });
    }
    let mut headers = Headers::default();
    for Raw { line, name, value } in &raw {
        headers.push(name, value).map_err(|_| MessageError::BadHeader {
            line: *line,
            reason: "a name that is no token, or a control character in the value",
        })?;
    }
    Ok(headers)
}

/// The body's length. A second header, a continued one, a sign, or anything but digits would let one reader see other
/// messages than another: refused.
fn content_length(headers: &Headers, limits: &Limits) -> Result<usize, MessageError> {
    let mut values = headers.all("Content-Length");
    let Some(value) = values.next() else { return Ok(0) };
    let bad = |value: &str| MessageError::BadContentLength(value.escape_debug().take(40).collect());
    if let Some(second) = values.next() {
        return Err(bad(&format!("{value}, {second}")));
    }
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(value));
    }
    // More digits than a number holds are a large number, not a strange one.
    let length = value.parse().unwrap_or(u64::MAX);
    match usize::try_from(length) {
        Ok(body) if body <= limits.body_bytes => Ok(body),
        _ => Err(MessageError::BodyTooLarge { length, limit: limits.body_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, MessageError> {
        Head::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn sloppy_messages_are_read() {
        for text in [
            "RTSP/1.0 200\r\n\r\n",
            "RTSP/1.0  200  OK \n\n",
            "SETUP trackID=1 RTSP/1.0\nCSeq :\t7 \n\n",
            "SETUP rtsp://h/\u{e9} RTSP/2.0\r\nX: a\r\n\tb\r\n\r\n",
        ] {
            parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        }
        let head = parse("A * RTSP/1.0\r\nX:\r\n a\r\n \r\n\r\n").unwrap();
        assert_eq!(head.headers.get("X"), Some("a"));
        let head = parse("A * RTSP/1.0\r\nX: a\r\n  b \r\nCSeq : 7\r\n\r\n").unwrap();
        assert_eq!((head.headers.get("x"), head.headers.get("cseq")), (Some("a b"), Some("7")));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (headers, name) in [
            ("Content-Length: 5\r\nContent-Length: 5", "bad_content_length"),
            ("Content-Length: 0\r\ncontent-length: 5", "bad_content_length"),
            ("Content-Length: 0, 5", "bad_content_length"),
            ("Content-Length: 1\r\n 0", "bad_content_length"),
            ("Content-Length: +4", "bad_content_length"),
            ("Content-Length: -1", "bad_content_length"),
            ("Content-Length: 0x5", "bad_content_length"),
            ("Content-Length:", "bad_content_length"),
            ("Content-Length: \u{a0}5", "bad_content_length"),
            ("Content-Length: 99999999999999999999999", "body_too_large"),
            ("Content-Length\u{a0}: 5", "bad_header"),
            ("Content-Length\x0c: 5", "bad_header"),
            ("Content Length: 5", "bad_header"),
            (": 5", "bad_header"),
            (" X: 5", "bad_header"),
            ("X", "bad_header"),
            ("X: a\rContent-Length: 5", "bad_header"),
            ("X: a\0b", "bad_header"),
            ("X: a\x7f", "bad_header"),
            ("X: a\r\n \x1bb", "bad_header"),
        ] {
            let error = parse(&format!("OPTIONS * RTSP/1.0\r\n{headers}\r\n\r\n")).unwrap_err();
            assert_eq!(error.name(), name, "{headers:?}: {error}");
        }
        // A continued line is part of the header before it, even one that looks like Content-Length.
        let head = parse("OPTIONS * RTSP/1.0\r\nX: a\r\n Content-Length: 5\r\n\r\n").unwrap();
        assert_eq!((head.body, head.headers.get("Content-Length")), (0, None));
    }

    #[test]
    fn start_lines_that_are_none_are_refused() {
        for (line, name) in [
            ("", "bad_start_line"),
            ("OPTIONS", "bad_start_line"),
            ("OPTIONS *", "bad_start_line"),
            ("OPTIONS * x RTSP/1.0", "bad_start_line"),
            ("OPTIONS\t*\tRTSP/1.0", "bad_start_line"),
            ("GET / HTTP/1.1", "bad_start_line"),
            ("OP(TIONS * RTSP/1.0", "bad_start_line"),
            ("OPTIONS a\rb RTSP/1.0", "bad_start_line"),
            ("OPTIONS * RTSP/3.0", "bad_version"),
            ("OPTIONS * RTSP/1.0x", "bad_version"),
            ("RTSP/1.0", "bad_start_line"),
            ("RTSP/1.0 20", "bad_start_line"),
            ("RTSP/1.0 +20 OK", "bad_start_line"),
            ("RTSP/1.0 2000 OK", "bad_start_line"),
            ("RTSP/1.0 999 OK", "bad_start_line"),
            ("RTSP/9 200 OK", "bad_version"),
        ] {
            assert_eq!(parse(&format!("{line}\r\n\r\n")).unwrap_err().name(), name, "{line:?}");
        }
        let long = format!("OPTIONS rtsp://h/{} RTSP/1.0\r\n\r\n", "a".repeat(4096));
        assert_eq!(
            (parse(&long).unwrap_err().name(), parse(&long).unwrap_err().status()),
            ("uri_too_long", 414)
        );
    }
}
