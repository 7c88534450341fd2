//! Messages and interleaved frames on one byte stream (`RFC 2326 §10.12`, `RFC 7826 §14`).
//!
//! The caller owns the buffer. Frames are named as ranges of it, so that packets are never copied, and messages are
//! parsed once they are whole. What has been looked at is remembered: a peer that sends byte by byte costs no more
//! than one that sends at once.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use rtsp_types::{Method, Version};

use crate::error::MessageError;
use crate::limits::Limits;
use crate::message::{Headers, Request, Response, is_token};

/// Bytes of a frame's header: `$`, channel, length.
pub const FRAME_HEADER: usize = 4;

/// What stands at the beginning of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// Nothing whole yet.
    Incomplete,
    /// Blank lines between messages, to be skipped.
    Blank(usize),
    /// A packet on a channel: `payload` is a range of the buffer.
    Frame {
        /// The channel.
        channel: u8,
        /// Where the packet is.
        payload: Range<usize>,
    },
    /// A request of `length` bytes.
    Request(Box<Request>, usize),
    /// A response of `length` bytes.
    Response(Box<Response>, usize),
}

impl Item {
    /// Bytes that it takes of the buffer.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Incomplete => 0,
            Self::Blank(length) | Self::Request(_, length) | Self::Response(_, length) => *length,
            Self::Frame { payload, .. } => payload.end,
        }
    }
}

/// Finds messages and frames. After each item the caller removes [`Item::length`] bytes from the buffer's front.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Bytes of the current message in which no end of headers was found.
    scanned: usize,
    /// The current message's end of headers and its length, once known.
    head: Option<(usize, usize)>,
    started: Option<Instant>,
}

impl Decoder {
    /// A decoder for one connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, scanned: 0, head: None, started: None }
    }

    /// When the message that has begun must be whole.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.started.map(|started| started + self.limits.message_timeout)
    }

    /// Looks at the front of `buffer`.
    ///
    /// # Errors
    /// The stream cannot be read any further, or its peer is too slow.
    pub fn decode(&mut self, now: Instant, buffer: &[u8]) -> Result<Item, MessageError> {
        let item = self.item(buffer)?;
        if matches!(item, Item::Incomplete) && !buffer.is_empty() {
            let started = *self.started.get_or_insert(now);
            if now.saturating_duration_since(started) > self.limits.message_timeout {
                return Err(MessageError::TooSlow);
            }
        } else {
            self.started = None;
            self.scanned = 0;
            self.head = None;
        }
        Ok(item)
    }

    fn item(&mut self, buffer: &[u8]) -> Result<Item, MessageError> {
        match buffer {
            [] => Ok(Item::Incomplete),
            [b'$', channel, high, low, ..] => {
                let end = FRAME_HEADER + usize::from(u16::from_be_bytes([*high, *low]));
                if buffer.len() < end {
                    return Ok(Item::Incomplete);
                }
                Ok(Item::Frame { channel: *channel, payload: FRAME_HEADER..end })
            }
            [b'$', ..] => Ok(Item::Incomplete),
            [b'\r' | b'\n' | 0, ..] => {
                let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n' | 0)).count();
                Ok(Item::Blank(blank))
            }
            _ => self.message(buffer),
        }
    }

    fn message(&mut self, buffer: &[u8]) -> Result<Item, MessageError> {
        let (head, total) = match self.head {
            Some(known) => known,
            None => {
                let Some(head) = self.find_head(buffer)? else { return Ok(Item::Incomplete) };
                let body = content_length(buffer.get(..head).unwrap_or_default(), &self.limits)?;
                let known = (head, head.saturating_add(body));
                self.head = Some(known);
                known
            }
        };
        let (Some(text), Some(body)) = (buffer.get(..head), buffer.get(head..total)) else {
            return Ok(Item::Incomplete);
        };
        parse(text, body, &self.limits)
    }

    /// The length of start line and headers with the empty line that ends them.
    fn find_head(&mut self, buffer: &[u8]) -> Result<Option<usize>, MessageError> {
        let mut from = self.scanned;
        while let Some(offset) =
            buffer.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let after = from + offset + 1;
            if after > self.limits.header_bytes {
                break;
            }
            match buffer.get(after..) {
                Some([b'\n', ..]) => return Ok(Some(after + 1)),
                Some([b'\r', b'\n', ..]) => return Ok(Some(after + 2)),
                Some([] | [b'\r']) | None => {
                    self.scanned = from + offset;
                    return Ok(None);
                }
                Some(_) => from = after,
            }
        }
        if buffer.len() > self.limits.header_bytes {
            return Err(MessageError::HeadersTooLarge { limit: self.limits.header_bytes });
        }
        self.scanned = from.max(buffer.len());
        Ok(None)
    }
}

/// The header of a frame; `None` for a packet longer than its 16-bit length can say.
#[must_use]
pub fn frame_header(channel: u8, length: usize) -> Option<[u8; FRAME_HEADER]> {
    let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
    Some([b'$', channel, high, low])
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The body's length. Two headers that differ, a sign, or anything but digits would let one side see other messages
/// than the other: refused.
fn content_length(head: &[u8], limits: &Limits) -> Result<usize, MessageError> {
    let mut length: Option<u64> = None;
    for line in lines(head).skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if !name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default().trim_ascii()).into_owned();
        let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse::<u64>().ok().filter(|_| plain);
        let Some(number) = number.filter(|number| length.is_none_or(|before| before == *number)) else {
            return Err(MessageError::BadContentLength(value.escape_debug().take(40).collect()));
        };
        length = Some(number);
    }
    let length = length.unwrap_or(0);
    match usize::try_from(length) {
        Ok(body) if body <= limits.body_bytes => Ok(body),
        _ => Err(MessageError::BodyTooLarge { length, limit: limits.body_bytes }),
    }
}

fn parse(head: &[u8], body: &[u8], limits: &Limits) -> Result<Item, MessageError> {
    let length = head.len().saturating_add(body.len());
    let body = Bytes::copy_from_slice(body);
    let mut lines = lines(head);
    let start = lines.next().unwrap_or_default();
    let bad_start =
        || MessageError::BadStartLine(String::from_utf8_lossy(start).escape_debug().take(80).collect());
    let start = std::str::from_utf8(start).map_err(|_| bad_start())?.trim_end();
    let headers = parse_headers(lines, limits)?;
    if start.starts_with("RTSP/") {
        // A missing reason phrase is tolerated.
        let (text, rest) = start.split_once(' ').ok_or_else(bad_start)?;
        let rest = rest.trim_start();
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = code
            .parse()
            .ok()
            .filter(|status| (100..600).contains(status) && code.len() == 3)
            .ok_or_else(bad_start)?;
        let response = Response { version: version(text)?, status, reason: reason.to_owned(), headers, body };
        return Ok(Item::Response(Box::new(response), length));
    }
    let mut words = start.split(' ').filter(|word| !word.is_empty());
    let (Some(method), Some(uri), Some(text), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad_start());
    };
    if !is_token(method) || !uri.bytes().all(|byte| byte > b' ' && byte != 0x7f) || !text.starts_with("RTSP/")
    {
        return Err(bad_start());
    }
    let request =
        Request { method: Method::from(method), uri: uri.to_owned(), version: version(text)?, headers, body };
    Ok(Item::Request(Box::new(request), length))
}

fn version(text: &str) -> Result<Version, MessageError> {
    match text {
        "RTSP/1.0" => Ok(Version::V1_0),
        "RTSP/2.0" => Ok(Version::V2_0),
        other => Err(MessageError::BadVersion(other.escape_debug().take(20).collect())),
    }
}

fn parse_headers<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Headers, MessageError> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (number, line) in lines.enumerate() {
        let bad = |reason| MessageError::BadHeader { line: number + 1, reason };
        if line.is_empty() {
            continue;
        }
        if line.iter().any(|byte| *byte == b'\r' || *byte == 0) {
            return Err(bad("a line break or NUL inside the line"));
        }
        let text = String::from_utf8_lossy(line);
        if text.starts_with([' ', '\t']) {
            // A continued line (RFC 2326 §4.2 by way of HTTP).
            let (_, value) = headers.last_mut().ok_or_else(|| bad("a continuation of nothing"))?;
            value.push(' ');
            value.push_str(text.trim());
            continue;
        }
        if headers.len() >= limits.header_count {
            return Err(MessageError::TooManyHeaders { limit: limits.header_count });
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad("no colon"))?;
        headers.push((name.trim_end().to_owned(), value.trim().to_owned()));
    }
    let mut checked = Headers::default();
    for (number, (name, value)) in headers.iter().enumerate() {
        checked.push(name, value).map_err(|_| MessageError::BadHeader {
            line: number + 1,
            reason: "a name that is no token, or a control character in the value",
        })?;
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `stream` as it arrives in pieces that end at `cuts`.
    fn decode(stream: &[u8], cuts: &[usize]) -> Result<Vec<String>, MessageError> {
        let now = Instant::now();
        let mut decoder = Decoder::new(Limits::default());
        let (mut buffer, mut items, mut taken) = (Vec::new(), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([stream.len()]) {
            buffer.extend_from_slice(&stream[taken..cut]);
            taken = cut;
            loop {
                let item = decoder.decode(now, &buffer)?;
                let length = item.length();
                match item {
                    Item::Incomplete => break,
                    Item::Blank(_) => {}
                    Item::Frame { channel, payload } => {
                        items.push(format!("{channel} {:?}", &buffer[payload]))
                    }
                    other => items.push(format!("{other:?}")),
                }
                buffer.drain(..length);
            }
        }
        Ok(items)
    }

    const STREAM: &[u8] =
        b"\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x03abcRTSP/1.0 200\nCSeq: 2\n\n\
        SET_PARAMETER rtsp://h/p RTSP/2.0\r\nCSeq:3\r\nContent-Length: 5\r\n\r\nhello$\x00\x00\x00";

    #[test]
    fn every_split_gives_the_same_items() {
        let whole = decode(STREAM, &[]).unwrap();
        assert_eq!(whole.len(), 5);
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                assert_eq!(decode(STREAM, &[first, second]).unwrap(), whole, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn what_smuggles_is_refused() {
        for (text, name) in [
            (
                &b"OPTIONS * RTSP/1.0\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"[..],
                "bad_content_length",
            ),
            (b"OPTIONS * RTSP/1.0\r\nContent-Length: +4\r\n\r\n", "bad_content_length"),
            (b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999\r\n\r\n", "body_too_large"),
            (b"OPTIONS * RTSP/1.0\r\n: empty\r\n\r\n", "bad_header"),
            (b"OPTIONS * RTSP/1.0\r\nA: b\rC: d\r\n\r\n", "bad_header"),
            (b"OPTIONS * RTSP/3.0\r\n\r\n", "bad_version"),
            (b"OPTIONS *\r\n\r\n", "bad_start_line"),
            (b"RTSP/1.0 2000 OK\r\n\r\n", "bad_start_line"),
        ] {
            assert_eq!(decode(text, &[]).unwrap_err().name(), name, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn limits_hold() {
        let long = [b"OPTIONS * RTSP/1.0\r\nX: ".as_slice(), &[b'a'; 20_000]].concat();
        assert_eq!(decode(&long, &[]).unwrap_err().name(), "headers_too_large");
        let many = [b"OPTIONS * RTSP/1.0\r\n".as_slice(), &b"A:b\r\n".repeat(200), b"\r\n"].concat();
        assert_eq!(decode(&many, &[]).unwrap_err().name(), "too_many_headers");
        let mut decoder = Decoder::new(Limits::default());
        let start = Instant::now();
        assert_eq!(decoder.decode(start, b"OPT"), Ok(Item::Incomplete));
        let deadline = decoder.poll_timeout().unwrap();
        assert_eq!(deadline, start + Limits::default().message_timeout);
        let late = deadline + std::time::Duration::from_millis(1);
        assert_eq!(decoder.decode(late, b"OPTI"), Err(MessageError::TooSlow));
    }
}
