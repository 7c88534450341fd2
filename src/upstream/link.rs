//! An RTSP connection to an upstream: the client machine on a TCP socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use msm_rtsp::client::{Client, ClientConfig, ClientError, ClientEvent};
use msm_rtsp::message::Response;
use msm_rtsp::url::RtspUrl;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::error::Error;
use crate::metrics::HopKind;
use crate::net::gather::Gather;
use crate::net::tcp::Connection;
use crate::net::tls::TlsError;
use crate::net::udp::{canonical, set_dscp};
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
}

impl Link {
    /// Connects to the URL's host.
    pub(crate) async fn connect(
        worker: &Worker,
        url: &RtspUrl,
        settings: &ClusterSettings,
        via: Vec<String>,
    ) -> Result<Self, Error> {
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
        let config = ClientConfig {
            credentials: settings.credentials.clone(),
            via,
            timeout: settings.timeout,
            limits: worker.shared.settings.rtsp.clone(),
            ..ClientConfig::new(url.clone(), worker.shared.seed())
        };
        Ok(Self {
            client: Client::new(config),
            connection,
            peer,
            local,
            name,
            buffer: BytesMut::new(),
            gather: Gather::default(),
            // Media is bounded before messages are.
            queue_limit: worker.shared.settings.connection_queue + UNREAD_MESSAGES,
        })
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
            match self.next(frames).await? {
                ClientEvent::Answer(response) => return Ok(*response),
                ClientEvent::Ended => return Err(Error::StreamEnded),
                ClientEvent::Redirect(_) | ClientEvent::Frame { .. } => {}
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

/// Puts TLS on the connection where the URL asks for it.
async fn secure(
    worker: &Worker,
    stream: TcpStream,
    url: &RtspUrl,
    settings: &ClusterSettings,
) -> Result<Rc<Connection>, TlsError> {
    let queue = worker.shared.settings.connection_queue;
    if url.scheme() != "rtsps" {
        return Ok(Connection::new(stream, queue));
    }
    let unusable = |reason: String| TlsError::Io(io::Error::new(io::ErrorKind::InvalidInput, reason));
    let (tls, cluster) = (Arc::clone(&settings.tls), settings.name.clone());
    let name = tls.server_name(url.host()).ok_or_else(|| {
        unusable(format!(
            "{} is no name that a certificate can have; set `tls.server_name` of cluster `{cluster}`",
            url.host()
        ))
    })?;
    // Files may have to be read, which is not for a thread that carries media.
    let loaded = tokio::task::spawn_blocking(move || tls.load(&cluster)).await.map_err(io::Error::other)?;
    let config = loaded.map_err(|problem| unusable(format!("tls.{problem}")))?.get();
    let connection = Connection::tls_client(stream, config, name, queue)?;
    let handshake = connection.handshake(settings.connect_timeout);
    worker.shared.metrics.handshakes.dial(HopKind::Plain, handshake).await?;
    Ok(connection)
}

pub(crate) async fn dial(url: &RtspUrl, settings: &ClusterSettings) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host((url.host(), url.port())).await? {
        match dial_one(address, settings).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr, settings: &ClusterSettings) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if let Some(interface) = &settings.options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(dscp) = settings.options.dscp {
        set_dscp(&socket2::SockRef::from(&socket), address.is_ipv6(), dscp)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
