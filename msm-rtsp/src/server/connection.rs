//! Requests of one connection: checked before anybody looks at them, answered in their order.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use rtsp_types::{Method, Version};

use crate::error::MessageError;
use crate::framing::{Decoder, Item};
use crate::limits::Limits;
use crate::message::{Request, Response};
use crate::proxy::via;

/// The methods that are served.
pub const PUBLIC: &str =
    "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";
/// Those of RTSP 2.0, which has neither ANNOUNCE nor RECORD.
const PUBLIC_2: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// What connections of a server share.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What a client may make us hold.
    pub limits: Limits,
    /// The Server header.
    pub server: String,
    /// Our name in Via: a request that has it already came from us.
    pub pseudonym: String,
}

/// What an answer must repeat of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    cseq: u32,
    version: Version,
}

/// What came from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A request, to be answered by [`Connection::respond`] before the next is taken.
    Request(Asked, Box<Request>),
    /// A packet on an interleaved channel: a range of the buffer given to [`Connection::handle_input`].
    Frame {
        /// The channel.
        channel: u8,
        /// Where the packet is.
        payload: Range<usize>,
    },
}

/// One connection.
///
/// Give what arrived to [`Self::handle_input`] and remove what it took; send what [`Self::poll_transmit`] yields; call
/// [`Self::handle_timeout`] at [`Self::poll_timeout`]. Once [`Self::is_closing`], send what is left and close.
pub struct Connection {
    config: ServerConfig,
    decoder: Decoder,
    transmit: VecDeque<Vec<u8>>,
    closing: Option<MessageError>,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self {
            decoder: Decoder::new(config.limits.clone()),
            config,
            transmit: VecDeque::new(),
            closing: None,
        }
    }

    /// Looks at the front of what was received; returns the bytes taken. 0 means that more is needed.
    pub fn handle_input(&mut self, now: Instant, buffer: &[u8]) -> (usize, Option<ServerEvent>) {
        if self.closing.is_some() {
            return (0, None);
        }
        let item = match self.decoder.decode(now, buffer) {
            Ok(item) => item,
            Err(error) => {
                self.fail(error);
                return (0, None);
            }
        };
        let taken = item.length();
        let event = match item {
            Item::Incomplete | Item::Blank(_) => None,
            Item::Frame { channel, payload } => Some(ServerEvent::Frame { channel, payload }),
            // We ask nothing of clients: what they answer is nothing to us.
            Item::Response(..) => None,
            Item::Request(request, _) => self.check(request),
        };
        (taken, event)
    }

    fn check(&mut self, request: Box<Request>) -> Option<ServerEvent> {
        let Some(cseq) = request.cseq() else {
            // Nothing can be answered in a way that the client could match: it is told, and not trusted any further.
            let mut text = Vec::new();
            Response::new(400).with("Server", &self.config.server).write(&mut text);
            self.transmit.push_back(text);
            return None;
        };
        let asked = Asked { cseq, version: request.version };
        let required: Vec<&str> = request
            .headers
            .all("Require")
            .chain(request.headers.all("Proxy-Require"))
            .filter(|tag| !tag.is_empty())
            .collect();
        let refusal = if !required.is_empty() {
            Some(Response::new(551).with("Unsupported", required.join(", ")))
        } else if via::is_loop(&request.headers, &self.config.pseudonym) {
            Some(Response { reason: "Loop Detected".into(), ..Response::new(502) })
        } else {
            match (&request.method, request.version) {
                (Method::Extension(_) | Method::Redirect | Method::PlayNotify, version) => {
                    Some(Response::new(501).with("Public", public(version)))
                }
                (Method::Announce | Method::Record, Version::V2_0) => {
                    Some(Response::new(405).with("Allow", PUBLIC_2))
                }
                _ => None,
            }
        };
        match refusal {
            Some(response) => {
                self.respond(asked, response);
                None
            }
            None => Some(ServerEvent::Request(asked, request)),
        }
    }

    /// Answers a request.
    pub fn respond(&mut self, asked: Asked, response: Response) {
        let mut complete =
            Response { version: asked.version, headers: Default::default(), ..response.clone() }
                .with("CSeq", asked.cseq.to_string())
                .with("Server", &self.config.server);
        for (name, value) in response.headers.iter() {
            complete = complete.with(name, value);
        }
        let mut text = Vec::new();
        complete.write(&mut text);
        self.transmit.push_back(text);
    }

    /// Answers OPTIONS.
    #[must_use]
    pub fn options(version: Version) -> Response {
        Response::new(200).with("Public", public(version))
    }

    /// Bytes to send, in order.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closing.is_some() { None } else { self.decoder.poll_timeout() }
    }

    /// Ends the connection of a client that drips.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.fail(MessageError::TooSlow);
        }
    }

    /// Why the connection must end, once what is left to transmit was sent.
    #[must_use]
    pub fn is_closing(&self) -> Option<&MessageError> {
        self.closing.as_ref()
    }

    fn fail(&mut self, error: MessageError) {
        let mut text = Vec::new();
        Response::new(error.status())
            .with("Server", &self.config.server)
            .with("Connection", "close")
            .write(&mut text);
        self.transmit.push_back(text);
        self.closing = Some(error);
    }
}

fn public(version: Version) -> &'static str {
    match version {
        Version::V1_0 => PUBLIC,
        Version::V2_0 => PUBLIC_2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(ServerConfig {
            limits: Limits::default(),
            server: "msm".into(),
            pseudonym: "msm-1".into(),
        })
    }

    fn feed(connection: &mut Connection, bytes: &[u8]) -> (Vec<ServerEvent>, String) {
        let (mut rest, mut events) = (bytes, Vec::new());
        loop {
            let (taken, event) = connection.handle_input(Instant::now(), rest);
            events.extend(event);
            if taken == 0 {
                break;
            }
            rest = &rest[taken..];
        }
        let mut sent = String::new();
        while let Some(bytes) = connection.poll_transmit() {
            sent += &String::from_utf8(bytes).unwrap();
        }
        (events, sent)
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (request, status) in [
            ("OPTIONS * RTSP/1.0\r\n\r\n", "400"),
            ("OPTIONS * RTSP/1.0\r\nCSeq: x1\r\n\r\n", "400"),
            ("FLY * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "501"),
            ("RECORD * RTSP/2.0\r\nCSeq: 1\r\n\r\n", "405"),
            ("PLAY rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nRequire: x.y\r\n\r\n", "551"),
            ("PLAY rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nVia: RTSP/1.0 other, RTSP/1.0 msm-1\r\n\r\n", "502"),
        ] {
            let (events, sent) = feed(&mut connection(), request.as_bytes());
            assert!(events.is_empty() && sent.split(' ').nth(1) == Some(status), "{request:?}: {sent}");
        }
    }

    #[test]
    fn answers_repeat_number_and_version() {
        let mut connection = connection();
        let (events, _) = feed(&mut connection, b"OPTIONS * RTSP/2.0\r\nCSeq: 12\r\n\r\n$\x05\x00\x01x");
        let [ServerEvent::Request(asked, _), ServerEvent::Frame { channel: 5, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        connection.respond(*asked, Connection::options(Version::V2_0));
        let (_, sent) = feed(&mut connection, b"");
        assert!(sent.starts_with("RTSP/2.0 200 OK\r\nCSeq: 12\r\n"), "{sent}");
        assert!(sent.contains("Public: OPTIONS, DESCRIBE, SETUP"), "{sent}");
    }

    #[test]
    fn garbage_closes() {
        let mut connection = connection();
        let (events, sent) =
            feed(&mut connection, b"\x16\x03\x01\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        assert!(events.is_empty() && sent.starts_with("RTSP/1.0 400 "), "{sent}");
        assert_eq!(connection.is_closing().map(MessageError::name), Some("bad_start_line"));
    }
}
