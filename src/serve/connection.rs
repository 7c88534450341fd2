//! One RTSP connection: bytes in, requests answered in order, interleaved packets both ways.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use msm_rtsp::message::Response;
use msm_rtsp::sdp::Description;
use msm_rtsp::server::{self, Asked, ServerEvent};
use tokio::net::TcpStream;

use super::admission::ConnectionPass;
use super::listener::Listening;
use super::login::Entry;
use super::requests;
use super::session::Session;
use crate::net::gather::Gather;
use crate::net::tcp::Connection;
use crate::net::tls::TlsError;
use crate::net::udp::canonical;
use crate::shared::Shared;
use crate::worker::Worker;

/// Read at once; also what a connection that publishes keeps.
const READ_BYTES: usize = 64 * 1024;

/// Answers that may wait for a client behind as much media as may wait for it.
const UNREAD_ANSWERS: usize = 64 * 1024;

/// What the requests of a connection share.
pub(crate) struct Context {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listening: Weak<Listening>,
    pub(crate) peer: SocketAddr,
    /// The address that the client knows us by.
    pub(crate) local: SocketAddr,
    pub(crate) connection: Rc<Connection>,
    /// Descriptions announced on this connection and not yet recorded, by URL.
    pub(crate) announced: RefCell<BTreeMap<String, Announced>>,
    /// Sessions that end with this connection, as their media goes through it, or that were made on it.
    pub(crate) sessions: RefCell<Vec<Weak<Session>>>,
    /// Who takes the frames of each interleaved channel.
    pub(crate) channels: RefCell<BTreeMap<u8, Channel>>,
    /// Sessions by the identifier that a client gave its pipeline (`RFC 7826 §18.33`).
    pub(crate) pipelines: RefCell<BTreeMap<String, String>>,
    /// Who the client is, where the listener wants to know.
    pub(crate) entry: Option<Entry>,
    /// Frames for channels that nobody set up.
    unknown_channels: Cell<u64>,
}

/// An announced stream.
#[derive(Clone)]
pub(crate) struct Announced {
    pub(crate) description: std::sync::Arc<Description>,
    /// Who the announcement came through.
    pub(crate) via: Vec<String>,
}

/// One interleaved channel.
#[derive(Clone)]
pub(crate) struct Channel {
    pub(crate) session: Weak<Session>,
    pub(crate) track: usize,
    pub(crate) rtcp: bool,
}

type Pending = Pin<Box<dyn Future<Output = Response>>>;

/// Serves a connection until either side ends it.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    stream: TcpStream,
    peer: SocketAddr,
    _pass: ConnectionPass,
) {
    let Ok(local) = stream.local_addr() else { return };
    let shared = std::sync::Arc::clone(&worker.shared);
    let Some(connection) = secured(&shared, &listening, stream, peer).await else { return };
    let settings = &listening.shared.settings;
    let users = settings.users.clone();
    let entry = users.map(|users| Entry::new(users, settings.tls.is_some(), shared.seed()));
    let context = Rc::new(Context {
        listening: Rc::downgrade(&listening),
        peer,
        local: canonical(local),
        connection: Rc::clone(&connection),
        announced: RefCell::default(),
        sessions: RefCell::default(),
        channels: RefCell::default(),
        pipelines: RefCell::default(),
        entry,
        unknown_channels: Cell::new(0),
        worker,
    });
    drop(listening);
    shared.metrics.connections.inc();
    let unanswered = drive(&context).await;
    shared.metrics.connections.dec();
    shared.metrics.add_dropped("unknown_channel", context.unknown_channels.get());
    connection.close();
    if let Some((_, work)) = unanswered {
        // A request is not left half done: what it has set up so far is known to no one else, and is ended below.
        work.await;
    }
    let sessions = std::mem::take(&mut *context.sessions.borrow_mut());
    for session in sessions.iter().filter_map(Weak::upgrade) {
        session.connection_lost(&context.connection).await;
    }
}

/// The connection as its listener wants it: where that is TLS, nothing is parsed before the handshake is done.
async fn secured(
    shared: &Shared,
    listening: &Listening,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Rc<Connection>> {
    let settings = &shared.settings;
    let Some(config) = listening.shared.settings.tls.as_ref().map(|tls| tls.get()) else {
        return Some(Connection::new(stream, settings.connection_queue));
    };
    let mut stopping = shared.stopping.subscribe();
    let handshake = async {
        let connection = Connection::tls_server(stream, config, settings.connection_queue)?;
        connection.handshake(settings.rtsp.message_timeout).await?;
        Ok(connection)
    };
    let outcome: Result<_, TlsError> = tokio::select! {
        outcome = handshake => outcome,
        _ = stopping.wait_for(|stopping| *stopping) => return None,
    };
    let name = &listening.shared.settings.name;
    match outcome {
        Ok(connection) => {
            if let Some(tls) = connection.tls() {
                tracing::debug!(
                    %peer,
                    listener = name,
                    version = tls.protocol_version(),
                    suite = tls.cipher_suite(),
                    alpn = tls.alpn().map(|own| own.escape_ascii().to_string()),
                    certificates = tls.peer_certificates().len(),
                    "TLS connection"
                );
            }
            Some(connection)
        }
        Err(error) => {
            tracing::info!(%peer, listener = name, %error, "connection refused");
            shared.metrics.add_refused(error.name());
            None
        }
    }
}

/// Serves the connection until it ends; returns the request that was being answered then.
async fn drive(context: &Rc<Context>) -> Option<(Asked, Pending)> {
    let shared = &context.worker.shared;
    let connection = &context.connection;
    let mut machine = server::Connection::new(requests::server_config(shared));
    let mut buffer = BytesMut::new();
    let mut gather = Gather::default();
    let mut pending: Option<(Asked, Pending)> = None;
    let mut idle_since = Instant::now();
    let mut idle_for = shared.settings.rtsp.message_timeout;
    let mut stopping = shared.stopping.subscribe();
    loop {
        // A client that does not read its answers is not asked for more requests.
        let reads = connection.queued() <= shared.settings.connection_queue + UNREAD_ANSWERS;
        while pending.is_none() && reads {
            let (taken, event) = machine.handle_input(Instant::now(), &buffer);
            match event {
                Some(ServerEvent::Frame { channel, payload }) => {
                    if let Some(packet) = buffer.get(payload) {
                        gather.push(channel, packet, &mut |channel, bytes, parts| {
                            frames(context, channel, bytes, parts);
                        });
                    }
                }
                Some(ServerEvent::Request(asked, request)) => {
                    idle_since = Instant::now();
                    idle_for = shared.settings.connection_timeout;
                    pending = Some((asked, Box::pin(requests::answer(Rc::clone(context), request))));
                }
                None => {}
            }
            buffer.advance(taken);
            if taken == 0 {
                break;
            }
        }
        gather.flush(&mut |channel, bytes, parts| frames(context, channel, bytes, parts));
        transmit(&mut machine, connection);
        if let Some(error) = machine.is_closing() {
            tracing::info!(peer = %context.peer, %error, "connection ended");
            shared.metrics.add_refused(error.name());
            linger(connection).await;
            return pending;
        }
        if connection.is_closed() {
            return pending;
        }
        // While a request is answered, what comes after it is late for no fault of the client's.
        let idle = (context.is_idle() && pending.is_none()).then(|| idle_since + idle_for);
        let slow = machine.poll_timeout().filter(|_| pending.is_none() && reads);
        let deadline = [slow, idle].into_iter().flatten().min();
        tokio::select! {
            biased;
            response = answer(&mut pending) => {
                if let Some((asked, response)) = response {
                    machine.respond(asked, response);
                    transmit(&mut machine, connection);
                    connection.release();
                }
                pending = None;
                if context.entry.as_ref().is_some_and(|entry| entry.is_over(shared.settings.auth_failures)) {
                    tracing::info!(peer = %context.peer, "connection ended: too many logins failed");
                    linger(connection).await;
                    return None;
                }
            }
            () = connection.drained() => connection.flush(),
            ready = connection.readable(), if pending.is_none() && reads => {
                if ready.is_err() || !read(connection, &mut buffer) {
                    return pending;
                }
            }
            () = sleep_until(deadline) => {
                let now = Instant::now();
                if slow.is_some_and(|at| at <= now) {
                    machine.handle_timeout(now);
                }
                if idle.is_some_and(|at| at <= now) {
                    return pending;
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        }
    }
}

/// Reads what is there; `false` when the peer is gone. An idle connection holds no buffer.
fn read(connection: &Connection, buffer: &mut BytesMut) -> bool {
    loop {
        buffer.reserve(READ_BYTES);
        match connection.read(buffer) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if buffer.is_empty() {
                    *buffer = BytesMut::new();
                }
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "a connection failed");
                return false;
            }
        }
    }
}

async fn answer(pending: &mut Option<(Asked, Pending)>) -> Option<(Asked, Response)> {
    match pending {
        Some((asked, work)) => {
            let response = work.await;
            Some((*asked, response))
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn transmit(machine: &mut server::Connection, connection: &Connection) {
    while let Some(bytes) = machine.poll_transmit() {
        connection.send_message(&bytes);
    }
}

/// Lets the last answer out before the connection closes.
async fn linger(connection: &Connection) {
    let deadline = tokio::time::sleep(Duration::from_secs(1));
    tokio::pin!(deadline);
    while connection.has_output() && !connection.is_closed() {
        tokio::select! {
            () = connection.drained() => connection.flush(),
            () = &mut deadline => return,
        }
    }
}

/// Packets of one interleaved channel, to whoever set it up.
fn frames(context: &Context, channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]) {
    let target = context.channels.borrow().get(&channel).cloned();
    let session = target.as_ref().and_then(|target| target.session.upgrade());
    match (target, session) {
        (Some(target), Some(session)) => {
            session.handle_frames(Instant::now(), target.track, target.rtcp, bytes, parts);
        }
        _ => context.unknown_channels.set(context.unknown_channels.get() + parts.len() as u64),
    }
}

impl Context {
    /// Whether nothing lives on this connection that keeps it open.
    fn is_idle(&self) -> bool {
        self.sessions.borrow_mut().retain(|session| session.strong_count() > 0);
        self.sessions.borrow().is_empty()
    }

    /// The session's requests come on this connection from now on.
    pub(crate) fn adopt(&self, session: &Rc<Session>) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|own| own.strong_count() > 0);
        if !sessions.iter().any(|own| std::ptr::eq(own.as_ptr(), Rc::as_ptr(session))) {
            sessions.push(Rc::downgrade(session));
        }
    }

    /// The listener's number and shared part.
    pub(crate) fn listener(&self) -> Option<Rc<Listening>> {
        self.listening.upgrade()
    }

    /// The peer's address.
    pub(crate) fn peer_ip(&self) -> IpAddr {
        self.peer.ip()
    }
}
