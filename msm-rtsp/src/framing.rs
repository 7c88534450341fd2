//! Messages and interleaved frames on one byte stream (`RFC 2326 §10.12`, `RFC 7826 §14`).
//!
//! The caller owns the buffer. Frames are named as ranges of it, so that packets are never copied, and messages are
//! parsed once they are whole. What has been looked at is remembered: a peer that sends byte by byte costs no more
//! than one that sends at once.

mod parse;

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use self::parse::Head;
use crate::error::MessageError;
use crate::limits::Limits;
use crate::message::{Request, Response, is_token_byte};

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
    /// Start line and headers of the current message, once they are whole.
    head: Option<Box<Head>>,
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
        self.started.and_then(|started| started.checked_add(self.limits.message_timeout))
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
            // Whatever cannot begin a word is no RTSP, TLS for one: no need to wait for more of it.
            [first, ..] if !is_token_byte(*first) => {
                Err(MessageError::BadStartLine(char::from(*first).escape_default().collect()))
            }
            _ => self.message(buffer),
        }
    }

    fn message(&mut self, buffer: &[u8]) -> Result<Item, MessageError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => {
                let Some(end) = self.find_head(buffer)? else { return Ok(Item::Incomplete) };
                let text = buffer.get(..end).unwrap_or_default();
                Box::new(Head::parse(text, &self.limits)?)
            }
        };
        let total = head.length.saturating_add(head.body);
        let Some(body) = buffer.get(head.length..total) else {
            self.head = Some(head);
            return Ok(Item::Incomplete);
        };
        Ok(head.into_item(Bytes::copy_from_slice(body)))
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
    fn what_cannot_begin_a_message_is_refused_at_once() {
        for first in [&b"\x16\x03\x01"[..], b" OPTIONS", b"(", b"\xff", b"\x80"] {
            assert_eq!(decode(first, &[]).unwrap_err().name(), "bad_start_line", "{first:?}");
        }
    }

    #[test]
    fn heads_end_at_the_limit_however_they_arrive() {
        let limits = Limits { header_bytes: 64, ..Limits::default() };
        for size in 56..=72usize {
            let mut text = b"A * RTSP/1.0\r\nX: ".to_vec();
            text.resize(size.saturating_sub(4), b'x');
            text.extend_from_slice(b"\r\n\r\n");
            let now = Instant::now();
            let whole = Decoder::new(limits.clone()).decode(now, &text);
            let mut decoder = Decoder::new(limits.clone());
            let bytewise = (1..=text.len()).map(|end| decoder.decode(now, &text[..end]));
            let mut bytewise = bytewise;
            let bytewise = bytewise.find(|item| *item != Ok(Item::Incomplete)).unwrap();
            assert_eq!(whole, bytewise, "{size} bytes");
            assert_eq!(whole.is_ok(), size <= 66, "{size} bytes");
        }
    }

    #[test]
    fn a_body_that_drips_is_not_parsed_again_for_every_byte() {
        let limits = Limits::default();
        let mut text = format!("A * RTSP/1.0\r\nContent-Length: {}\r\n\r\n", limits.body_bytes).into_bytes();
        let head = text.len();
        text.resize(head + limits.body_bytes, b'b');
        let now = Instant::now();
        let mut decoder = Decoder::new(limits);
        for end in 1..text.len() {
            assert_eq!(decoder.decode(now, &text[..end]), Ok(Item::Incomplete));
            assert_eq!(decoder.head.is_some(), end >= head, "kept while the body comes");
        }
        assert_eq!(decoder.decode(now, &text).unwrap().length(), text.len());
        assert!(decoder.head.is_none() && decoder.poll_timeout().is_none());
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
