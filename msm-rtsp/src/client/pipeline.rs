//! Requests of many sessions on one connection, answered in any order.

use std::collections::VecDeque;
use std::ops::Range as Bytes;
use std::time::{Duration, Instant};

use super::ClientError;
use crate::framing::{Decoder, Item};
use crate::limits::Limits;
use crate::message::{Request, Response, method_name};

/// Requests that may wait for their answers.
pub const MAX_OUTSTANDING: usize = 4096;

/// Names a request, to know its answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u32);

/// What came on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineEvent {
    /// The answer to a request.
    Answer(RequestId, Box<Response>),
    /// No answer came in time. What comes later is left out.
    Unanswered(RequestId, String),
    /// A packet on an interleaved channel: a range of the buffer given to [`Pipeline::handle_input`].
    Frame {
        /// The channel.
        channel: u8,
        /// Where the packet is.
        payload: Bytes<usize>,
    },
    /// The server asks or tells something; it has been answered with 200.
    Request(Box<Request>),
}

struct Pending {
    id: RequestId,
    method: String,
    deadline: Instant,
}

/// The client's side of a connection that several sessions share, as between members.
///
/// Give requests to [`request`](Self::request) and what arrives to [`handle_input`](Self::handle_input), which yields one
/// event a call; send what [`poll_transmit`](Self::poll_transmit) yields; call [`poll_event`](Self::poll_event) after
/// [`handle_timeout`](Self::handle_timeout), which is due at [`poll_timeout`](Self::poll_timeout). Answers may come in any
/// order and are matched by CSeq (`RFC 2326 §12.17`).
pub struct Pipeline {
    decoder: Decoder,
    timeout: Duration,
    next: u32,
    pending: VecDeque<Pending>,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<PipelineEvent>,
}

impl Pipeline {
    /// A connection on which an answer may take `timeout`.
    #[must_use]
    pub fn new(limits: Limits, timeout: Duration) -> Self {
        Self {
            decoder: Decoder::new(limits),
            timeout,
            next: 1,
            pending: VecDeque::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`ClientError::Busy`] with [`MAX_OUTSTANDING`] requests unanswered; [`ClientError::Message`] for one that cannot be
    /// written.
    pub fn request(&mut self, now: Instant, request: Request) -> Result<RequestId, ClientError> {
        if self.pending.len() >= MAX_OUTSTANDING {
            return Err(ClientError::Busy(method_name(&request.method).into()));
        }
        let id = RequestId(self.next);
        self.next = self.next.wrapping_add(1).max(1);
        let method = method_name(&request.method).to_owned();
        let mut text = Vec::new();
        request.with("CSeq", id.0.to_string()).write(&mut text)?;
        self.transmit.push_back(text);
        self.pending.push_back(Pending { id, method, deadline: now + self.timeout });
        Ok(id)
    }

    /// Bytes to send, in order.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
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
    ) -> Result<(usize, Option<PipelineEvent>), ClientError> {
        let item = self.decoder.decode(now, buffer)?;
        let taken = item.length();
        let event = match item {
            Item::Incomplete | Item::Blank(_) => None,
            Item::Frame { channel, payload } => Some(PipelineEvent::Frame { channel, payload }),
            Item::Response(response, _) if (100..200).contains(&response.status) => {
                if let Some(pending) = self.find(&response).and_then(|place| self.pending.get_mut(place)) {
                    pending.deadline = now + self.timeout;
                }
                None
            }
            Item::Response(response, _) => self
                .find(&response)
                .and_then(|place| self.pending.remove(place))
                .map(|pending| PipelineEvent::Answer(pending.id, response)),
            Item::Request(request, _) => {
                let mut text = Vec::new();
                let cseq = request.cseq().unwrap_or_default();
                Response::new(200).with("CSeq", cseq.to_string()).write(&mut text);
                self.transmit.push_back(text);
                Some(PipelineEvent::Request(request))
            }
        };
        Ok((taken, event))
    }

    fn find(&self, response: &Response) -> Option<usize> {
        let cseq = response.cseq()?;
        self.pending.iter().position(|pending| pending.id.0 == cseq)
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).chain(self.decoder.poll_timeout()).min()
    }

    /// Gives up what is overdue.
    ///
    /// # Errors
    /// The peer drips a message.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ClientError> {
        let events = &mut self.events;
        self.pending.retain(|pending| {
            if pending.deadline <= now {
                events.push_back(PipelineEvent::Unanswered(pending.id, pending.method.clone()));
            }
            pending.deadline > now
        });
        if self.decoder.poll_timeout().is_some_and(|due| due <= now) {
            return Err(crate::error::MessageError::TooSlow.into());
        }
        Ok(())
    }

    /// What [`handle_timeout`](Self::handle_timeout) found.
    pub fn poll_event(&mut self) -> Option<PipelineEvent> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtsp_types::Method;

    fn pipeline() -> Pipeline {
        Pipeline::new(Limits::default(), Duration::from_secs(10))
    }

    #[test]
    fn answers_come_in_any_order() {
        let now = Instant::now();
        let mut pipeline = pipeline();
        let first = pipeline.request(now, Request::new(Method::Describe, "rtsp://b/one")).unwrap();
        let second = pipeline.request(now, Request::new(Method::Describe, "rtsp://b/two")).unwrap();
        assert!(
            pipeline.poll_transmit().unwrap().starts_with(b"DESCRIBE rtsp://b/one RTSP/1.0\r\nCSeq: 1\r\n")
        );
        assert!(pipeline.poll_transmit().is_some());
        for (cseq, id) in [(2, second), (1, first)] {
            let text = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n");
            let (taken, event) = pipeline.handle_input(now, text.as_bytes()).unwrap();
            assert_eq!(taken, text.len());
            assert!(matches!(event, Some(PipelineEvent::Answer(of, _)) if of == id));
        }
        // Once more is once too often.
        let (_, event) = pipeline.handle_input(now, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n").unwrap();
        assert_eq!(event, None);
        assert_eq!(pipeline.poll_timeout(), None);
    }

    #[test]
    fn one_that_is_not_answered_leaves_the_others() {
        let now = Instant::now();
        let mut pipeline = pipeline();
        let slow = pipeline.request(now, Request::new(Method::Describe, "rtsp://b/one")).unwrap();
        let later = now + Duration::from_secs(5);
        let other = pipeline.request(later, Request::new(Method::Setup, "rtsp://b/two")).unwrap();
        let due = pipeline.poll_timeout().unwrap();
        assert_eq!(due, now + Duration::from_secs(10));
        pipeline.handle_timeout(due).unwrap();
        assert_eq!(pipeline.poll_event(), Some(PipelineEvent::Unanswered(slow, "DESCRIBE".into())));
        let (_, event) = pipeline.handle_input(due, b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n").unwrap();
        assert!(matches!(event, Some(PipelineEvent::Answer(of, _)) if of == other));
    }

    #[test]
    fn what_the_server_tells_is_answered() {
        let now = Instant::now();
        let mut pipeline = pipeline();
        let told = b"TEARDOWN rtsp://b/one RTSP/1.0\r\nCSeq: 9\r\nSession: 4\r\n\r\n";
        let (_, event) = pipeline.handle_input(now, told).unwrap();
        assert!(matches!(event, Some(PipelineEvent::Request(request)) if request.session() == Some("4")));
        assert!(pipeline.poll_transmit().unwrap().starts_with(b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n"));
    }

    #[test]
    fn requests_without_end_are_refused() {
        let now = Instant::now();
        let mut pipeline = pipeline();
        for _ in 0..MAX_OUTSTANDING {
            pipeline.request(now, Request::new(Method::Options, "*")).unwrap();
        }
        assert!(matches!(
            pipeline.request(now, Request::new(Method::Options, "*")),
            Err(ClientError::Busy(_))
        ));
    }
}
