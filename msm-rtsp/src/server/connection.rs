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
    /// The peer is a member: it may require [`FEATURE`](crate::hop::FEATURE), and its requests are answered as they are
    /// ready, as they are of many sessions that wait for nothing of each other.
    pub member: bool,
}

/// Features of RTSP 2.0 that a client may require (`RFC 7826 §11.1`).
const FEATURES: [&str; 1] = ["play.basic"];

/// Which request an answer is for, and what it must repeat of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Counted from the connection's first request.
    index: u64,
    /// None where the request had none that could be repeated.
    cseq: Option<u32>,
    version: Version,
    /// The client told its features and is told ours (`RFC 7826 §18.51`).
    supported: bool,
}

/// What came from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A request, to be answered by [`Connection::respond`].
    Request(Asked, Box<Request>),
    /// An answer, to one of our [`Asks`](super::Asks) or to nothing.
    Response(Box<Response>),
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
///
/// Clients may send requests without waiting for answers (`RFC 2326 §9.1`). They are answered in the order in which they
/// came, in whatever order [`Self::respond`] is called; those of a member in that order. While [`Limits::pipelined_requests`] wait for their answers,
/// [`Self::handle_input`] takes nothing: call it again after [`Self::respond`].
pub struct Connection {
    config: ServerConfig,
    decoder: Decoder,
    /// Index of the request at the front of `answers`.
    first: u64,
    /// Answers by request, in the order of arrival; `None` until [`Self::respond`]. The front one is never ready.
    answers: VecDeque<Option<Vec<u8>>>,
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
            first: 0,
            answers: VecDeque::new(),
            transmit: VecDeque::new(),
            closing: None,
        }
    }

    /// Looks at the front of what was received; returns the bytes taken. 0 means that more is needed, or that answers
    /// are outstanding.
    pub fn handle_input(&mut self, now: Instant, buffer: &[u8]) -> (usize, Option<ServerEvent>) {
        if self.closing.is_some() || self.answers.len() >= self.config.limits.pipelined_requests.max(1) {
            return (0, None);
        }
        let item = match self.decoder.decode(now, buffer) {
            Ok(item) => item,
            Err(error) => {
                self.fail(error, cseq_of(buffer));
                return (0, None);
            }
        };
        let taken = item.length();
        let event = match item {
            Item::Incomplete | Item::Blank(_) => None,
            Item::Frame { channel, payload } => Some(ServerEvent::Frame { channel, payload }),
            Item::Response(response, _) => Some(ServerEvent::Response(response)),
            Item::Request(request, _) => self.check(request),
        };
        (taken, event)
    }

    fn check(&mut self, request: Box<Request>) -> Option<ServerEvent> {
        let asked = self.ask(&request);
        match self.refusal(&request, asked) {
            Some(response) => {
                self.respond(asked, response);
                None
            }
            None => Some(ServerEvent::Request(asked, request)),
        }
    }

    /// What is wrong with a request, whoever it is for.
    fn refusal(&self, request: &Request, asked: Asked) -> Option<Response> {
        if asked.cseq.is_none() {
            return Some(Response::new(400));
        }
        let unsupported = unsupported(request, self.config.member);
        if !unsupported.is_empty() {
            return Some(Response::new(551).with("Unsupported", unsupported.join(", ")));
        }
        if via::is_loop(&request.headers, &self.config.pseudonym) {
            return Some(Response { reason: "Loop Detected".into(), ..Response::new(502) });
        }
        match (&request.method, request.version) {
            (Method::Extension(_) | Method::Redirect | Method::PlayNotify, version) => {
                Some(Response::new(501).with("Public", public(version)))
            }
            // 2.0 has neither: the client may ask again by 1.0.
            (Method::Announce | Method::Record, Version::V2_0) => {
                Some(Response::new(505).with("Allow", PUBLIC_2))
            }
            _ => None,
        }
    }

    /// Enters a request that is to be answered in its turn.
    fn ask(&mut self, request: &Request) -> Asked {
        let supported = request.version == Version::V2_0 && request.headers.get("Supported").is_some();
        Asked { index: self.enter(), cseq: request.cseq(), version: request.version, supported }
    }

    fn enter(&mut self) -> u64 {
        let index = self.first.wrapping_add(self.answers.len() as u64);
        self.answers.push_back(None);
        index
    }

    /// Answers a request. The answer is sent once all requests that came before it are answered. A second answer to the
    /// same request is left out.
    pub fn respond(&mut self, asked: Asked, response: Response) {
        let Some(place) = usize::try_from(asked.index.wrapping_sub(self.first))
            .ok()
            .and_then(|place| self.answers.get_mut(place))
            .filter(|answer| answer.is_none())
        else {
            return;
        };
        let given = response.headers;
        let mut complete = Response {
            version: asked.version,
            headers: Default::default(),
            reason: response.reason,
            ..response
        };
        if let Some(cseq) = asked.cseq {
            complete = complete.with("CSeq", cseq.to_string());
        }
        complete = complete.with("Server", &self.config.server);
        if asked.supported {
            complete = complete.with("Supported", FEATURES.join(", "));
        }
        for (name, value) in given.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("CSeq")) {
            complete = complete.with(name, value);
        }
        let mut text = Vec::new();
        complete.write(&mut text);
        if self.config.member {
            self.transmit.push_back(text);
            *place = Some(Vec::new());
        } else {
            *place = Some(text);
        }
        while let Some(Some(_)) = self.answers.front() {
            let ready = self.answers.pop_front().flatten();
            self.transmit.extend(ready.filter(|text| !text.is_empty()));
            self.first = self.first.wrapping_add(1);
        }
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
            self.fail(MessageError::TooSlow, None);
        }
    }

    /// Why the connection must end, once what is left to transmit was sent. Requests that came whole before what ends it
    /// are answered first.
    #[must_use]
    pub fn is_closing(&self) -> Option<&MessageError> {
        self.closing.as_ref().filter(|_| self.answers.is_empty())
    }

    /// Tells the client why this is the end: clients match answers by number, so it is repeated if it can be found.
    fn fail(&mut self, error: MessageError, cseq: Option<u32>) {
        let asked = Asked { index: self.enter(), cseq, version: Version::V1_0, supported: false };
        self.respond(asked, Response::new(error.status()).with("Connection", "close"));
        self.closing = Some(error);
    }
}

/// The number of a request that cannot be read otherwise.
fn cseq_of(buffer: &[u8]) -> Option<u32> {
    let lines = buffer.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).take(32);
    let value = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"CSeq:").then(|| value.trim_ascii())
    })?;
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// The features that a request requires and that we do not have. A proxy answers for Proxy-Require
/// (`RFC 7826 §18.37`); as we end sessions instead of passing requests on, for Require too.
fn unsupported(request: &Request, member: bool) -> Vec<&str> {
    let required = request.headers.all("Require").chain(request.headers.all("Proxy-Require"));
    let tags = required.flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty());
    let known = |tag: &&str| match request.version {
        Version::V1_0 => member && *tag == crate::hop::FEATURE,
        Version::V2_0 => FEATURES.contains(tag),
    };
    tags.filter(|tag| !known(tag)).collect()
}

fn public(version: Version) -> &'static str {
    match version {
        Version::V1_0 => PUBLIC,
        Version::V2_0 => PUBLIC_2,
    }
}

#[cfg(test)]
mod tests;
