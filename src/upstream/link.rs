//! An RTSP connection to an upstream: the client machine on a TCP socket.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use msm_rtsp::client::{Client, ClientConfig, ClientError, ClientEvent};
use msm_rtsp::message::Response;
use msm_rtsp::url::RtspUrl;

use super::connect::{dial, secure};
use crate::error::Error;
use crate::hop;
use crate::hop::connect::Dialled;
use crate::hop::trust::Trust;
use crate::net::gather::Gather;
use crate::net::tcp::Connection;
use crate::net::udp::canonical;
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// Messages that may wait for a server behind as much media as may wait for it.
const UNREAD_MESSAGES: usize = 1024 * 1024;

/// Takes bursts of interleaved packets: channel, bytes, places in them.
pub(crate) type OnFrames<'a> = dyn FnMut(u8, &mut [u8], &[(usize, usize)]) + 'a;

/// A connection to an upstream.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) connection: Rc<Connection>,
    pub(crate) peer: IpAddr,
    pub(crate) local: IpAddr,
    name: String,
    buffer: BytesMut,
    gather: Gather,
    queue_limit: usize,
    /// Where the server sent us while an answer was waited for.
    elsewhere: Option<Option<String>>,
    /// What its peer is trusted for, where that is by its SVID.
    trust: Option<Trust>,
    /// Its peer gets no credentials of the cluster's.
    anonymous: bool,
}

impl Link {
    /// Connects to the URL's host; for a mesh cluster, to one of its `peers` who is no member.
    pub(crate) async fn connect(
        worker: &Worker,
        url: &RtspUrl,
        settings: &ClusterSettings,
        via: Vec<String>,
    ) -> Result<Self, Error> {
        if settings.members.is_some() {
            let dialled = hop::connect::connect(worker, settings, url).await?;
            return Self::fallback(worker, url, settings, via, dialled);
        }
        let name = url.to_string();
        let unreachable =
            |source: io::Error| Error::Unreachable { endpoint: name.clone(), source: Arc::new(source) };
        let stream = tokio::time::timeout(settings.connect_timeout, dial(url, settings)).await;
        let stream = match stream {
            Err(_) => {
                return Err(Error::UpstreamTimeout { endpoint: name, request: "TCP connect".into() });
            }
            Ok(stream) => stream.map_err(&unreachable)?,
        };
        let peer = canonical(stream.peer_addr().map_err(&unreachable)?).ip();
        let local = canonical(stream.local_addr().map_err(&unreachable)?).ip();
        let connection = secure(worker, stream, url, settings).await;
        let connection = connection
            .map_err(|reason| Error::UpstreamTls { endpoint: name.clone(), reason: reason.to_string() })?;
        Ok(Self::over(worker, url, settings, via, connection, (local, peer)))
    }

    /// Another connection to the same server.
    pub(crate) async fn again(
        &self,
        worker: &Worker,
        settings: &ClusterSettings,
        via: Vec<String>,
    ) -> Result<Self, Error> {
        let without = self.anonymous.then(|| settings.for_strangers());
        let settings = without.as_deref().unwrap_or(settings);
        Self::connect(worker, self.client.url(), settings, via).await
    }

    /// Plain RTSP with one of a mesh cluster's `peers`, on this connection.
    pub(crate) fn fallback(
        worker: &Worker,
        url: &RtspUrl,
        settings: &ClusterSettings,
        via: Vec<String>,
        dialled: Dialled,
    ) -> Result<Self, Error> {
        let local = dialled.connection.local_addr();
        let local = local.map_err(|error| Error::socket(format!("connection to {url}"), error))?;
        let trust = settings.members.as_ref().map(|members| Trust::of(&dialled, &members.source));
        let ends = (canonical(local).ip(), dialled.remote.ip());
        let link = Self::over(worker, url, settings, via, dialled.connection, ends);
        Ok(Self { trust, ..link })
    }

    fn over(
        worker: &Worker,
        url: &RtspUrl,
        settings: &ClusterSettings,
        via: Vec<String>,
        connection: Rc<Connection>,
        (local, peer): (IpAddr, IpAddr),
    ) -> Self {
        let config = ClientConfig {
            credentials: settings.credentials.clone(),
            via,
            timeout: settings.timeout,
            limits: worker.shared.settings().rtsp.clone(),
            ..ClientConfig::new(url.clone(), worker.shared.seed())
        };
        Self {
            client: Client::new(config),
            connection,
            peer,
            local,
            name: url.to_string(),
            buffer: BytesMut::new(),
            gather: Gather::default(),
            // Media is bounded before messages are.
            queue_limit: worker.shared.settings().connection_queue + UNREAD_MESSAGES,
            elsewhere: None,
            trust: None,
            anonymous: settings.credentials.is_none(),
        }
    }

    /// Whether the peer is still trusted, where that is by its SVID. What ends the session is in the log.
    pub(crate) fn check_trust(&mut self, now: Instant) -> Result<(), String> {
        let Some(trust) = &mut self.trust else { return Ok(()) };
        trust.check(now).map_err(|why| {
            let (upstream, peer) = (&self.name, &trust.peer.id);
            tracing::error!(upstream, %peer, why, "the peer is trusted no more: its session ends");
            "the peer is trusted no more".to_owned()
        })
    }

    /// Whether the session is to go on by another connection, as this one's SVIDs are on their way out.
    pub(crate) fn is_old(&self, now: Instant) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.is_due(now))
    }

    /// There is no other connection yet.
    pub(crate) fn postpone(&mut self, now: Instant) {
        if let Some(trust) = &mut self.trust {
            trust.postpone(now);
        }
    }

    /// Whether nothing goes over it in the clear.
    pub(crate) fn is_tls(&self) -> bool {
        self.connection.tls().is_some()
    }

    /// The endpoint, for errors and logs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An error of the protocol on this link.
    pub(crate) fn protocol(&self, reason: impl Into<String>) -> Error {
        Error::UpstreamProtocol { endpoint: self.name.clone(), reason: reason.into() }
    }

    /// A client error as one of the mesh.
    pub(crate) fn error(&self, error: ClientError) -> Error {
        match error {
            ClientError::Timeout(request) => Error::UpstreamTimeout { endpoint: self.name.clone(), request },
            ClientError::Auth(error) => Error::UpstreamStatus {
                endpoint: self.name.clone(),
                request: "authentication".into(),
                status: 401,
                reason: error.to_string(),
            },
            other => self.protocol(other.to_string()),
        }
    }

    /// Issues a command and waits for its answer, whatever its status.
    pub(crate) async fn ask(
        &mut self,
        command: impl FnOnce(&mut Client, Instant) -> Result<(), ClientError>,
        frames: &mut OnFrames<'_>,
    ) -> Result<Response, Error> {
        command(&mut self.client, Instant::now()).map_err(|error| self.error(error))?;
        loop {
            match self.follow(frames).await? {
                ClientEvent::Answer(response) => return Ok(*response),
                ClientEvent::Ended => return Err(Error::StreamEnded),
                ClientEvent::Redirect(to) => self.elsewhere = Some(to),
                ClientEvent::Frame { .. } => {}
            }
        }
    }

    /// As [`Self::ask`]; an answer that is no success is an error.
    pub(crate) async fn demand(
        &mut self,
        request: &'static str,
        command: impl FnOnce(&mut Client, Instant) -> Result<(), ClientError>,
        frames: &mut OnFrames<'_>,
    ) -> Result<Response, Error> {
        let response = self.ask(command, frames).await?;
        if response.is_success() {
            return Ok(response);
        }
        Err(Error::UpstreamStatus {
            endpoint: self.name.clone(),
            request: request.into(),
            status: response.status,
            reason: response.reason,
        })
    }

    /// The next thing that the server says; packets go to `frames` meanwhile. Cancel safe.
    pub(crate) async fn next(&mut self, frames: &mut OnFrames<'_>) -> Result<ClientEvent, Error> {
        match self.elsewhere.take() {
            Some(to) => Ok(ClientEvent::Redirect(to)),
            None => self.follow(frames).await,
        }
    }

    async fn follow(&mut self, frames: &mut OnFrames<'_>) -> Result<ClientEvent, Error> {
        loop {
            if let Some(event) = self.parse(frames)? {
                return Ok(event);
            }
            while let Some(bytes) = self.client.poll_transmit() {
                self.connection.send_message(&bytes);
            }
            if self.connection.queued() > self.queue_limit {
                return Err(self.protocol("the server asks, and does not read what it is answered"));
            }
            if self.connection.is_closed() {
                return Err(self.protocol("the connection was closed"));
            }
            let deadline = self.client.poll_timeout();
            tokio::select! {
                biased;
                () = self.connection.drained() => self.connection.flush(),
                ready = self.connection.readable() => {
                    ready.map_err(|error| self.protocol(error.to_string()))?;
                    self.read()?;
                }
                () = sleep_until(deadline) => {
                    self.client.handle_timeout(Instant::now()).map_err(|error| self.error(error))?;
                }
            }
        }
    }

    fn parse(&mut self, mut frames: &mut OnFrames<'_>) -> Result<Option<ClientEvent>, Error> {
        let now = Instant::now();
        let outcome = loop {
            let (taken, event) = match self.client.handle_input(now, &self.buffer) {
                Ok(outcome) => outcome,
                Err(error) => break Err(error),
            };
            let event = match event {
                Some(ClientEvent::Frame { channel, payload }) => {
                    if let Some(packet) = self.buffer.get(payload) {
                        self.gather.push(channel, packet, &mut frames);
                    }
                    None
                }
                other => other,
            };
            self.buffer.advance(taken);
            if event.is_some() || taken == 0 {
                break Ok(event);
            }
        };
        self.gather.flush(&mut frames);
        outcome.map_err(|error| self.error(error))
    }

    fn read(&mut self) -> Result<(), Error> {
        self.buffer.reserve(READ_BYTES);
        match self.connection.read(&mut self.buffer) {
            Ok(0) => Err(self.protocol("the server closed the connection")),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                Ok(())
            }
            Err(error) => Err(self.protocol(error.to_string())),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
