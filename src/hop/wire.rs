//! The signalling to another member: requests of many sessions on one TLS connection.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use msm_rtsp::client::{Pipeline, PipelineEvent, RequestId};
use msm_rtsp::hop::CHANNEL;
use msm_rtsp::limits::Limits;
use msm_rtsp::message::{Request, Response};
use tokio::sync::oneshot;

use super::port::HopPort;
use crate::error::Error;
use crate::net::gather::Gather;
use crate::net::tcp::Connection;
use crate::worker::Worker;

/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// How long, and how often, a connection is read that cannot be written any more: a megabyte, more than a socket holds by itself.
const LAST_WORDS: Duration = Duration::from_millis(100);
const LAST_READS: usize = 16;

/// Messages that may wait for a member behind as much media as may wait for it.
const UNREAD_MESSAGES: usize = 1024 * 1024;

/// A request, and who waits for its answer.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Response, Error>>,
}

/// One TLS connection to a member.
pub(crate) struct Wire {
    pub(crate) connection: Rc<Connection>,
    name: String,
    pipeline: Pipeline,
    buffer: BytesMut,
    gather: Gather,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Response, Error>>>,
    queue_limit: usize,
    /// How often it is read once it cannot be written any more.
    rest: usize,
}

impl Wire {
    pub(crate) fn new(
        connection: Rc<Connection>,
        name: String,
        limits: Limits,
        timeout: Duration,
        queue: usize,
    ) -> Self {
        Self {
            connection,
            name,
            pipeline: Pipeline::new(limits, timeout),
            buffer: BytesMut::new(),
            gather: Gather::default(),
            waiting: BTreeMap::new(),
            queue_limit: queue + UNREAD_MESSAGES,
            rest: LAST_READS,
        }
    }

    /// Sends a request; its answer goes to who waits for it.
    pub(crate) fn ask(&mut self, ask: Ask) {
        let Ask { request, reply } = ask;
        match self.pipeline.request(Instant::now(), request) {
            Ok(id) => {
                self.waiting.insert(id, reply);
                self.flush();
            }
            Err(error) => {
                let _ = reply.send(Err(self.protocol(error.to_string())));
            }
        }
    }

    /// Whether nobody waits for an answer any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands out answers and packets until the member tells something by itself. Cancel safe.
    ///
    /// # Errors
    /// The connection is of no more use; everybody who waited is told.
    pub(crate) async fn next(&mut self, worker: &Worker, port: &HopPort) -> Result<Box<Request>, Error> {
        let outcome = self.follow(worker, port).await;
        if let Err(error) = &outcome {
            for (_, reply) in std::mem::take(&mut self.waiting) {
                let _ = reply.send(Err(error.clone()));
            }
        }
        outcome
    }

    async fn follow(&mut self, worker: &Worker, port: &HopPort) -> Result<Box<Request>, Error> {
        loop {
            if let Some(told) = self.parse(worker, port)? {
                return Ok(told);
            }
            self.flush();
            if self.connection.queued() > self.queue_limit {
                return Err(self.protocol("the member asks, and does not read what it is answered"));
            }
            if self.connection.is_closed() {
                // Who does not take our answers any more may have said what became of its sessions before it went.
                let readable = tokio::time::timeout(LAST_WORDS, self.connection.readable());
                if self.rest > 0 && matches!(readable.await, Ok(Ok(()))) {
                    self.rest -= 1;
                    self.read()?;
                    continue;
                }
                return Err(self.protocol("the connection was closed"));
            }
            let deadline = self.pipeline.poll_timeout();
            let timeout = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.connection.drained() => self.connection.flush(),
                ready = self.connection.readable() => {
                    ready.map_err(|error| self.protocol(error.to_string()))?;
                    self.read()?;
                }
                () = timeout => {
                    let late = self.pipeline.handle_timeout(Instant::now());
                    late.map_err(|error| self.protocol(error.to_string()))?;
                    while let Some(event) = self.pipeline.poll_event() {
                        self.settle(event);
                    }
                }
            }
        }
    }

    fn flush(&mut self) {
        while let Some(bytes) = self.pipeline.poll_transmit() {
            self.connection.send_message(&bytes);
        }
    }

    fn parse(&mut self, worker: &Worker, port: &HopPort) -> Result<Option<Box<Request>>, Error> {
        let now = Instant::now();
        let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            if channel == CHANNEL {
                port.handle_frames(worker, now, bytes, parts);
            }
        };
        let outcome = loop {
            let (taken, event) = match self.pipeline.handle_input(now, &self.buffer) {
                Ok(outcome) => outcome,
                Err(error) => break Err(error),
            };
            let mut told = None;
            match event {
                Some(PipelineEvent::Frame { channel, payload }) => {
                    if let Some(packet) = self.buffer.get(payload) {
                        self.gather.push(channel, packet, &mut frames);
                    }
                }
                Some(PipelineEvent::Request(request)) => told = Some(request),
                Some(PipelineEvent::Answer(id, response)) => {
                    // What came before the answer is with its flow before it.
                    self.gather.flush(&mut frames);
                    if let Some(reply) = self.waiting.remove(&id) {
                        let _ = reply.send(Ok(*response));
                    }
                }
                Some(PipelineEvent::Unanswered(..)) | None => {}
            }
            self.buffer.advance(taken);
            if told.is_some() || taken == 0 {
                break Ok(told);
            }
        };
        self.gather.flush(&mut frames);
        outcome.map_err(|error| self.protocol(error.to_string()))
    }

    fn settle(&mut self, event: PipelineEvent) {
        if let PipelineEvent::Unanswered(id, request) = event
            && let Some(reply) = self.waiting.remove(&id)
        {
            let _ = reply.send(Err(Error::UpstreamTimeout { endpoint: self.name.clone(), request }));
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        self.buffer.reserve(READ_BYTES);
        match self.connection.read(&mut self.buffer) {
            Ok(1..) => Ok(()),
            Ok(0) => Err(self.protocol("the member closed the connection")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(self.protocol(error.to_string())),
        }
    }

    pub(crate) fn protocol(&self, reason: impl Into<String>) -> Error {
        Error::UpstreamProtocol { endpoint: self.name.clone(), reason: reason.into() }
    }
}
