//! The client's side of one RTSP connection: requests and their answers, authentication, keep-alives, frames.
//!
//! [`Client`] does no I/O. The caller issues a command ([`Client::describe`], [`Client::setup`], …), sends what
//! [`Client::poll_transmit`] yields, gives what arrives to [`Client::handle_input`], and calls
//! [`Client::handle_timeout`] at [`Client::poll_timeout`]. One command is outstanding at a time; keep-alives come
//! between by themselves.
//!
//! ```
//! use std::time::Instant;
//! use msm_rtsp::client::{Client, ClientConfig, ClientEvent};
//! use msm_rtsp::url::RtspUrl;
//!
//! let now = Instant::now();
//! let mut client = Client::new(ClientConfig::new(RtspUrl::parse("rtsp://camera/one")?, 7));
//! client.describe(now)?;
//! let sent = client.poll_transmit().unwrap();
//! assert!(sent.starts_with(b"DESCRIBE rtsp://camera/one RTSP/1.0\r\n"));
//! let answer = b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n";
//! let (taken, event) = client.handle_input(now, answer)?;
//! assert_eq!(taken, answer.len());
//! assert!(matches!(event, Some(ClientEvent::Answer(response)) if response.status == 404));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod pipeline;
#[cfg(test)]
mod tests;

pub use answers::{Described, described, setup_answer};
pub use pipeline::{MAX_OUTSTANDING, Pipeline, PipelineEvent, RequestId};

use std::collections::VecDeque;
use std::ops::Range as Bytes;
use std::time::{Duration, Instant};

use rtsp_types::Method;

use crate::auth::{AuthError, Authenticator, Credentials};
use crate::error::MessageError;
use crate::framing::{Decoder, Item};
use crate::headers::{SessionHeader, lists};
use crate::limits::Limits;
use crate::message::{Request, Response, method_name};
use crate::transport::TransportSpec;
use crate::url::RtspUrl;

/// What a client connection is made with.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The presentation. Credentials in it are used, and never sent as part of the URL.
    pub url: RtspUrl,
    /// Credentials; those of the URL where `None`.
    pub credentials: Option<Credentials>,
    /// The User-Agent header.
    pub user_agent: String,
    /// Values of Via to send, so that loops are seen.
    pub via: Vec<String>,
    /// How long an answer may take. Default 10 s.
    pub timeout: Duration,
    /// What the server may make us hold.
    pub limits: Limits,
    /// Makes client nonces.
    pub seed: u64,
}

impl ClientConfig {
    /// The defaults for a URL.
    #[must_use]
    pub fn new(url: RtspUrl, seed: u64) -> Self {
        Self {
            url,
            credentials: None,
            user_agent: concat!("msm/", env!("CARGO_PKG_VERSION")).into(),
            via: Vec::new(),
            timeout: Duration::from_secs(10),
            limits: Limits::default(),
            seed,
        }
    }
}

/// Why a client connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's bytes are no RTSP.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The server does not accept us.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// No answer in time.
    #[error("no answer to {0} in time")]
    Timeout(String),
    /// A command while another is outstanding.
    #[error("{0} is still unanswered")]
    Busy(String),
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The answer to the outstanding command.
    Answer(Box<Response>),
    /// A packet on an interleaved channel: a range of the buffer given to [`Client::handle_input`].
    Frame {
        /// The channel.
        channel: u8,
        /// Where the packet is.
        payload: Bytes<usize>,
    },
    /// The server asks to go elsewhere (`RFC 2326 §10.10`).
    Redirect(Option<String>),
    /// The server ended the session (2.0 TEARDOWN), or says that it has none to keep alive.
    Ended,
}

const SESSION_NOT_FOUND: u16 = 454;

struct Pending {
    cseq: u32,
    request: Request,
    keep_alive: bool,
    authorized: bool,
    /// That of the authenticator when it was sent.
    generation: u64,
    deadline: Instant,
}

/// See the [module](self).
pub struct Client {
    config: ClientConfig,
    decoder: Decoder,
    auth: Authenticator,
    next_cseq: u32,
    pending: VecDeque<Pending>,
    transmit: VecDeque<Vec<u8>>,
    session: Option<SessionHeader>,
    /// The URL that the session plays or records by.
    aggregate: Option<String>,
    public: Option<String>,
    keep_alive: Option<Instant>,
    /// Answers to requests that we did not send, or gave up.
    pub unexpected_answers: u64,
}

impl Client {
    /// A client for a connection that is open or about to be.
    #[must_use]
    pub fn new(mut config: ClientConfig) -> Self {
        let of_url = config.url.credentials().map(|(user, password)| Credentials { user, password });
        let credentials = config.credentials.take().or(of_url);
        config.url = config.url.without_credentials();
        Self {
            decoder: Decoder::new(config.limits.clone()),
            auth: Authenticator::new(credentials, config.seed),
            next_cseq: 1,
            pending: VecDeque::new(),
            transmit: VecDeque::new(),
            session: None,
            aggregate: None,
            public: None,
            keep_alive: None,
            unexpected_answers: 0,
            config,
        }
    }

    /// The presentation's URL, without credentials.
    #[must_use]
    pub fn url(&self) -> &RtspUrl {
        &self.config.url
    }

    /// The session that the server gave us.
    #[must_use]
    pub fn session(&self) -> Option<&SessionHeader> {
        self.session.as_ref()
    }

    /// OPTIONS: learns what the server can do.
    ///
    /// # Errors
    /// [`ClientError::Busy`] while a command is outstanding, as for every command.
    pub fn options(&mut self, now: Instant) -> Result<(), ClientError> {
        self.command(now, Request::new(Method::Options, self.config.url.to_string()))
    }

    /// DESCRIBE.
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn describe(&mut self, now: Instant) -> Result<(), ClientError> {
        let request = Request::new(Method::Describe, self.config.url.to_string());
        self.command(now, request.with("Accept", "application/sdp"))
    }

    /// ANNOUNCE.
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn announce(&mut self, now: Instant, description: Vec<u8>) -> Result<(), ClientError> {
        let request = Request::new(Method::Announce, self.config.url.to_string());
        self.command(now, request.with_body("application/sdp", description))
    }

    /// SETUP of one track; `key_mgmt` is the value of a `KeyMgmt` header with the key of what we send
    /// (`RFC 4567 §4.2`).
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn setup(
        &mut self,
        now: Instant,
        url: &str,
        transport: &TransportSpec,
        key_mgmt: Option<&str>,
    ) -> Result<(), ClientError> {
        let request = Request::new(Method::Setup, url).with("Transport", transport.to_string());
        let request = key_mgmt.into_iter().fold(request, |request, value| request.with("KeyMgmt", value));
        self.command(now, request)
    }

    /// PLAY of the presentation at `url`, with the given Range, Scale and Speed values.
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn play(&mut self, now: Instant, url: &str, headers: &[(&str, &str)]) -> Result<(), ClientError> {
        let request = headers
            .iter()
            .fold(Request::new(Method::Play, url), |request, (name, value)| request.with(name, value));
        self.command(now, request)
    }

    /// PAUSE, RECORD, TEARDOWN: what has no more to say than its session.
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn control(&mut self, now: Instant, method: Method, url: &str) -> Result<(), ClientError> {
        let request = Request::new(method, url);
        self.command(now, request)
    }

    /// GET_PARAMETER or SET_PARAMETER with a body.
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn parameter(
        &mut self,
        now: Instant,
        set: bool,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(), ClientError> {
        let method = if set { Method::SetParameter } else { Method::GetParameter };
        let request = Request::new(method, self.aggregate()).with_body(content_type, body);
        self.command(now, request)
    }

    /// Keeps the session alive from now on, twice in its timeout.
    pub fn start_keep_alive(&mut self, now: Instant) {
        self.keep_alive = self.session.as_ref().and_then(|session| now.checked_add(session.timeout / 2));
    }

    /// What the session is known by: servers look for it where it plays, which need not be where it was described.
    fn aggregate(&self) -> String {
        self.aggregate.clone().unwrap_or_else(|| self.config.url.to_string())
    }

    fn command(&mut self, now: Instant, request: Request) -> Result<(), ClientError> {
        if let Some(pending) = self.pending.iter().find(|pending| !pending.keep_alive) {
            return Err(ClientError::Busy(method_name(&pending.request.method).into()));
        }
        self.send(now, request, false, false)
    }

    fn send(
        &mut self,
        now: Instant,
        request: Request,
        keep_alive: bool,
        authorized: bool,
    ) -> Result<(), ClientError> {
        let cseq = self.next_cseq;
        self.next_cseq = self.next_cseq.wrapping_add(1);
        let mut sent = Request { headers: Default::default(), ..request.clone() }
            .with("CSeq", cseq.to_string())
            .with("User-Agent", &self.config.user_agent);
        if let Some(session) = &self.session {
            sent = sent.with("Session", &session.id);
        }
        for via in &self.config.via {
            sent = sent.with("Via", via);
        }
        if let Some(authorization) = self.auth.authorize(method_name(&request.method), &request.uri) {
            sent = sent.with("Authorization", authorization);
        }
        for (name, value) in request.headers.iter() {
            sent = sent.with(name, value);
        }
        let mut text = Vec::new();
        sent.write(&mut text)?;
        self.transmit.push_back(text);
        let deadline = now + self.config.timeout;
        let generation = self.auth.generation();
        self.pending.push_back(Pending { cseq, request, keep_alive, authorized, generation, deadline });
        Ok(())
    }

    /// Bytes to send, in order.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let answers = self.pending.iter().map(|pending| pending.deadline);
        answers.chain(self.keep_alive).chain(self.decoder.poll_timeout()).min()
    }

    /// Sends keep-alives that are due, and gives up on answers that are overdue. A keep-alive that is not answered is
    /// no reason to end: some cameras answer none.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] for a command.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ClientError> {
        self.pending.retain(|pending| !pending.keep_alive || pending.deadline > now);
        if let Some(late) = self.pending.iter().find(|pending| pending.deadline <= now) {
            let method = method_name(&late.request.method).to_owned();
            self.pending.retain(|pending| pending.deadline > now);
            return Err(ClientError::Timeout(method));
        }
        if self.keep_alive.is_some_and(|due| due <= now) {
            let lists_method = |method| self.public.as_deref().is_some_and(|public| lists(public, method));
            let method = if lists_method("GET_PARAMETER") {
                Method::GetParameter
            } else if lists_method("SET_PARAMETER") {
                Method::SetParameter
            } else {
                Method::Options
            };
            self.send(now, Request::new(method, self.aggregate()), true, false)?;
            self.start_keep_alive(now);
        }
        if self.decoder.poll_timeout().is_some_and(|due| due <= now) {
            return Err(MessageError::TooSlow.into());
        }
        Ok(())
    }

    /// Looks at the front of what was received; returns the bytes taken, to be removed by the caller once it has dealt
    /// with the event. 0 means that more is needed.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn handle_input(
        &mut self,
        now: Instant,
        buffer: &[u8],
    ) -> Result<(usize, Option<ClientEvent>), ClientError> {
        let item = self.decoder.decode(now, buffer)?;
        let taken = item.length();
        let event = match item {
            Item::Incomplete | Item::Blank(_) => None,
            Item::Frame { channel, payload } => Some(ClientEvent::Frame { channel, payload }),
            Item::Response(response, _) => self.answered(now, response)?,
            Item::Request(request, _) => self.asked(&request),
        };
        Ok((taken, event))
    }

    fn answered(
        &mut self,
        now: Instant,
        response: Box<Response>,
    ) -> Result<Option<ClientEvent>, ClientError> {
        if (100..200).contains(&response.status) {
            for pending in &mut self.pending {
                pending.deadline = now + self.config.timeout;
            }
            return Ok(None);
        }
        // Some servers leave CSeq out: the answer is then to the oldest request.
        let position = match response.cseq() {
            Some(cseq) => self.pending.iter().position(|pending| pending.cseq == cseq),
            None => (!self.pending.is_empty()).then_some(0),
        };
        let Some(pending) = position.and_then(|position| self.pending.remove(position)) else {
            self.unexpected_answers += 1;
            return Ok(None);
        };
        if response.status == 401 {
            // Another request was under way with the same nonce, and its refusal brought a newer one.
            if pending.generation != self.auth.generation() {
                self.send(now, pending.request, pending.keep_alive, pending.authorized)?;
                return Ok(None);
            }
            let challenge = self.auth.handle_challenge(response.headers.all("WWW-Authenticate"));
            match challenge {
                Ok(()) if !pending.authorized || !pending.keep_alive => {
                    self.send(now, pending.request, pending.keep_alive, true)?;
                    return Ok(None);
                }
                Err(error) if !pending.keep_alive => return Err(error.into()),
                _ => return Ok(None),
            }
        }
        if let Some(public) = response.headers.get("Public") {
            self.public = Some(public.to_owned());
        }
        if response.is_success() {
            self.succeeded(pending.request, &response);
        }
        if pending.keep_alive {
            // The server has forgotten the session, as one that was started anew has (`RFC 2326 §11.3.6`).
            return Ok((response.status == SESSION_NOT_FOUND).then_some(ClientEvent::Ended));
        }
        Ok(Some(ClientEvent::Answer(response)))
    }

    /// What the success of a request changes.
    fn succeeded(&mut self, request: Request, response: &Response) {
        match request.method {
            Method::Setup => {
                // Some cameras change the identifier between two SETUPs: the latest one counts.
                let header = response.headers.get("Session");
                let parse = |value| SessionHeader::parse_after(value, self.session.as_ref());
                if let Some(session) = header.and_then(parse) {
                    self.session = Some(session);
                }
            }
            Method::Play | Method::Record => self.aggregate = Some(request.uri),
            Method::Teardown => {
                self.session = None;
                self.aggregate = None;
                self.keep_alive = None;
            }
            _ => {}
        }
    }

    /// A request of the server.
    fn asked(&mut self, request: &Request) -> Option<ClientEvent> {
        let other = |named| self.session.as_ref().is_some_and(|own| own.id != named);
        let (status, event) = match &request.method {
            Method::Redirect | Method::Teardown if request.session().is_some_and(other) => {
                (SESSION_NOT_FOUND, None)
            }
            Method::Options | Method::GetParameter | Method::SetParameter => (200, None),
            Method::Redirect => {
                (200, Some(ClientEvent::Redirect(request.headers.get("Location").map(str::to_owned))))
            }
            Method::Teardown => (200, Some(ClientEvent::Ended)),
            _ => (501, None),
        };
        let mut response = Response { version: request.version, ..Response::new(status) };
        if let Some(cseq) = request.headers.get("CSeq") {
            response = response.with("CSeq", cseq);
        }
        if request.method == Method::Options {
            response = response.with("Public", "OPTIONS, GET_PARAMETER, SET_PARAMETER, REDIRECT, TEARDOWN");
        }
        let mut text = Vec::new();
        response.write(&mut text);
        self.transmit.push_back(text);
        event
    }
}
