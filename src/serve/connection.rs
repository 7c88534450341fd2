//! One RTSP connection: bytes in, requests answered in order, interleaved packets both ways.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use msm_auth::identity::svid::PeerIdentity;
use msm_rtsp::hop::{CHANNEL, HEADER, HopHeader};
use msm_rtsp::message::{Request, Response};
use msm_rtsp::sdp::Description;
use msm_rtsp::server::{self, Asked, ServerEvent};
use tokio::net::TcpStream;

use super::admission::ConnectionPass;
use super::first_asked::FirstAsked;
use super::listener::Listening;
use super::login::Entry;
use super::offered::Offered;
use super::requests;
use super::session::{Owner, Session};
use crate::hop::association::Association;
use crate::metrics::HopKind;
use crate::net::gather::Gather;
use crate::net::tcp::Connection;
use crate::net::tls::{Tls, TlsError};
use crate::net::udp::canonical;
use crate::shared::Shared;
use crate::srtp::SharedKey;
use crate::upgrade::{self, Handed, back};
use crate::worker::Worker;

/// Read at once; also what a connection that publishes keeps.
const READ_BYTES: usize = 64 * 1024;

/// Answers that may wait for a client behind as much media as may wait for it.
const UNREAD_ANSWERS: usize = 64 * 1024;

/// What the requests of a connection share.
pub(crate) struct Context {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listening: Weak<Listening>,
    /// The listener's number.
    listener: usize,
    pub(crate) peer: SocketAddr,
    /// The address that the client knows us by.
    pub(crate) local: SocketAddr,
    pub(crate) connection: Rc<Connection>,
    /// Descriptions announced on this connection and not yet recorded, by URL.
    pub(crate) announced: RefCell<BTreeMap<String, Announced>>,
    /// When descriptions were asked for or announced on this connection.
    pub(crate) first_asked: FirstAsked,
    /// Keys that descriptions told on this connection.
    pub(crate) offered: RefCell<Offered>,
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
    /// Who it is, where that is another member of the mesh.
    pub(crate) member: Option<PeerIdentity>,
    /// What its sessions' media goes by, once a member has begun that.
    association: RefCell<Option<Rc<Association>>>,
    /// Requests of one session follow each other; those of different ones do not wait.
    lanes: RefCell<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// An announced stream.
#[derive(Clone)]
pub(crate) struct Announced {
    pub(crate) description: std::sync::Arc<Description>,
    /// Who the announcement came through.
    pub(crate) via: Vec<String>,
    /// The keys of our reports, as the publisher was told them, for each track that it announced as SRTP.
    pub(crate) keys: Rc<[Option<SharedKey>]>,
}

/// One interleaved channel.
#[derive(Clone)]
pub(crate) struct Channel {
    pub(crate) session: Weak<Session>,
    pub(crate) track: usize,
    pub(crate) rtcp: bool,
}

type Pending = Pin<Box<dyn Future<Output = Response>>>;

/// How serving a connection ended.
enum Outcome {
    /// It is over; a request was being answered then.
    Over(Option<(Asked, Pending)>),
    /// What it goes on with lives on another worker. These bytes are not looked at yet.
    Elsewhere { place: usize, received: BytesMut },
    /// What it asks for lives in the process before this one.
    Before { received: BytesMut },
}

/// A connection at the beginning.
struct Coming {
    connection: Rc<Connection>,
    member: Option<PeerIdentity>,
    peer: SocketAddr,
    /// The address that the client knows us by.
    local: SocketAddr,
    pass: ConnectionPass,
    /// What was read of it.
    received: BytesMut,
}

/// Serves a connection until either side ends it.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    stream: TcpStream,
    peer: SocketAddr,
    pass: ConnectionPass,
) {
    let shared = std::sync::Arc::clone(&worker.shared);
    let Some(connection) = secured(&shared, &listening, stream, peer).await else { return };
    let tls = connection.tls().filter(|_| listening.shared().settings.member.is_some());
    let member = match tls.map(Tls::member).transpose() {
        Ok(member) => member,
        Err(error) => {
            tracing::info!(%peer, %error, "no member");
            return worker.shared.metrics.add_refused(error.name());
        }
    };
    let Ok(local) = connection.local_addr() else { return };
    let coming =
        Coming { connection, member, peer, local: canonical(local), pass, received: BytesMut::new() };
    serve(worker, listening, coming).await;
}

/// Goes on with a connection of the process after this one.
pub(crate) fn go_on(worker: &Rc<Worker>, handed: Handed) {
    let Handed { listener, socket, relayed, peer, local, received } = handed;
    let Some(listening) = worker.listener(listener) else { return };
    let Some(pass) = worker.shared.admission.connection(peer.ip()) else {
        return worker.shared.metrics.add_dropped("connection_limit", 1);
    };
    let Ok(stream) = upgrade::stream(socket) else { return };
    let limit = worker.shared.settings().connection_queue;
    let connection =
        if relayed { Connection::carried(stream, limit) } else { Connection::new(stream, limit) };
    let received = BytesMut::from(received.as_slice());
    let coming = Coming { connection, member: None, peer, local, pass, received };
    tokio::task::spawn_local(serve(Rc::clone(worker), listening, coming));
}

async fn serve(worker: Rc<Worker>, listening: Rc<Listening>, coming: Coming) {
    let Coming { connection, member, peer, local, pass, received } = coming;
    let index = listening.index;
    let shared = std::sync::Arc::clone(&worker.shared);
    let own = listening.shared();
    let settings = &own.settings;
    let users = settings.users.clone();
    let entry = users.map(|users| Entry::new(users, settings.tls.is_some(), shared.seed()));
    let context = Rc::new(Context {
        listening: Rc::downgrade(&listening),
        listener: index,
        peer,
        local,
        connection: Rc::clone(&connection),
        announced: RefCell::default(),
        first_asked: FirstAsked::default(),
        offered: RefCell::default(),
        sessions: RefCell::default(),
        channels: RefCell::default(),
        pipelines: RefCell::default(),
        entry,
        unknown_channels: Cell::new(0),
        member,
        association: RefCell::new(None),
        lanes: RefCell::default(),
        worker,
    });
    drop(listening);
    shared.metrics.connections.inc();
    let outcome = drive(&context, received).await;
    shared.metrics.connections.dec();
    shared.metrics.add_dropped("unknown_channel", context.unknown_channels.get());
    let unanswered = match outcome {
        Outcome::Over(unanswered) => unanswered,
        Outcome::Before { received } => return back::hand(context, connection, index, pass, received),
        Outcome::Elsewhere { place, received } => {
            let Ok(context) = Rc::try_unwrap(context) else { return connection.close() };
            let Context { member, connection: own, worker, .. } = context;
            drop(own);
            let (Some((stream, tls, limit)), Ok(place)) =
                (connection.into_parts(), worker.shared.worker(place))
            else {
                return;
            };
            let _ = place.post(move |worker| {
                let Some(listening) = worker.listener(index) else { return };
                let Ok(connection) = Connection::from_parts(stream, tls, limit) else { return };
                let coming = Coming { connection, member, peer, local, pass, received };
                tokio::task::spawn_local(serve(Rc::clone(worker), listening, coming));
            });
            return;
        }
    };
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
    let settings = shared.settings();
    let listener = listening.shared();
    let own = &listener.settings;
    let config = own.member.clone().or_else(|| own.tls.as_ref().map(|tls| Arc::clone(&tls.get().config)));
    let Some(config) = config else {
        return Some(Connection::new(stream, settings.connection_queue));
    };
    let mut stopping = shared.stopping.subscribe();
    let began = Instant::now();
    let handshake = async {
        let connection = Connection::tls_server(stream, config, settings.connection_queue)?;
        connection.handshake(settings.rtsp.message_timeout).await?;
        Ok(connection)
    };
    let outcome: Result<_, TlsError> = tokio::select! {
        outcome = handshake => outcome,
        _ = stopping.wait_for(|stopping| *stopping) => return None,
    };
    let name = &own.name;
    match outcome {
        Ok(connection) => {
            let hop = if own.member.is_some() { HopKind::Mesh } else { HopKind::Plain };
            shared.metrics.handshakes.accepted(hop, began.elapsed());
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

/// An answer to a member. Boxed, as each connection's queue keeps room for some.
type Done = Box<(Asked, Response)>;

/// Serves the connection until it ends.
async fn drive(context: &Rc<Context>, mut buffer: BytesMut) -> Outcome {
    let shared = &context.worker.shared;
    let connection = &context.connection;
    // A connection keeps the limits that it began with.
    let settings = shared.settings();
    let mut machine = server::Connection::new(requests::server_config(shared, context.member.is_some()));
    let (done, mut answers) = tokio::sync::mpsc::unbounded_channel::<Done>();
    let mut is_first = true;
    let mut gather = Gather::default();
    let mut pending: Option<(Asked, Pending)> = None;
    let mut idle_since = Instant::now();
    let mut idle_for = settings.rtsp.message_timeout;
    let mut stopping = shared.stopping.subscribe();
    loop {
        // A client that does not read its answers is not asked for more requests.
        let reads = connection.queued() <= settings.connection_queue + UNREAD_ANSWERS;
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
                    idle_for = settings.connection_timeout;
                    if context.member.is_some() {
                        let place = elsewhere(context, &request).filter(|_| is_first);
                        if let Some(place) = place {
                            return Outcome::Elsewhere { place, received: buffer };
                        }
                        is_first = false;
                        answer_in_lane(context, asked, request, done.clone());
                        buffer.advance(taken);
                        continue;
                    }
                    if back::goes_back(context, &request).await {
                        linger(connection).await;
                        return Outcome::Before { received: buffer };
                    }
                    pending = Some((asked, Box::pin(requests::answer(Rc::clone(context), request))));
                }
                Some(ServerEvent::Response(response)) => {
                    if let Some(method) = connection.answered(&response) {
                        let status = response.status;
                        tracing::debug!(peer = %context.peer, method, status, "the client answers");
                    }
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
            return Outcome::Over(pending);
        }
        if connection.is_closed() {
            return Outcome::Over(pending);
        }
        // While a request is answered, what comes after it is late for no fault of the client's.
        // Members show that they live, whatever sessions they have.
        let quiet = context.member.is_some() || context.is_idle();
        let idle = (quiet && pending.is_none()).then(|| idle_since + idle_for);
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
                if context.entry.as_ref().is_some_and(|entry| entry.is_over(shared.settings().auth_failures)) {
                    // Those that failed are in the log, as far as they were looked at.
                    tracing::debug!(peer = %context.peer, "connection ended: too many logins failed");
                    linger(connection).await;
                    return Outcome::Over(None);
                }
            }
            () = connection.drained() => connection.flush(),
            Some(answered) = answers.recv() => {
                let (asked, response) = *answered;
                machine.respond(asked, response);
                transmit(&mut machine, connection);
            }
            ready = connection.readable(), if pending.is_none() && reads => {
                if ready.is_err() || !read(connection, &mut buffer) {
                    return Outcome::Over(pending);
                }
            }
            () = sleep_until(deadline) => {
                let now = Instant::now();
                if slow.is_some_and(|at| at <= now) {
                    machine.handle_timeout(now);
                }
                if idle.is_some_and(|at| at <= now) {
                    return Outcome::Over(pending);
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => return Outcome::Over(None),
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
pub(crate) async fn linger(connection: &Connection) {
    let deadline = tokio::time::sleep(Duration::from_secs(1));
    tokio::pin!(deadline);
    while connection.has_output() && !connection.is_closed() {
        tokio::select! {
            () = connection.drained() => connection.flush(),
            () = &mut deadline => return,
        }
    }
}

/// The worker that the association lives on which a member's first request goes on with, if that is another one.
fn elsewhere(context: &Context, request: &Request) -> Option<usize> {
    let header = request.headers.get(HEADER).and_then(HopHeader::parse)?;
    let place = context.worker.shared.hop.associations.worker_of(header.association?)?;
    (place != context.worker.id).then_some(place)
}

/// Answers a member's request once those of its session that came before it are answered.
fn answer_in_lane(
    context: &Rc<Context>,
    asked: Asked,
    request: Box<Request>,
    done: tokio::sync::mpsc::UnboundedSender<Done>,
) {
    let lane = context.lane(&request);
    let context = Rc::clone(context);
    tokio::task::spawn_local(async move {
        let _turn = match &lane {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        let response = requests::answer(context, request).await;
        let _ = done.send(Box::new((asked, response)));
    });
}

/// Packets of one interleaved channel, to whoever set it up.
fn frames(context: &Context, channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]) {
    if context.member.is_some() {
        if let Some(port) = context.worker.hop_port().filter(|_| channel == CHANNEL) {
            port.handle_frames(&context.worker, Instant::now(), bytes, parts);
        }
        return;
    }
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
    pub(crate) fn is_idle(&self) -> bool {
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

    /// Who owns the sessions that are made here.
    pub(crate) fn owner(&self) -> Owner {
        match &self.member {
            Some(member) => Owner::Member(member.id.clone()),
            None => Owner::Address { ip: self.peer_ip(), listener: self.listener },
        }
    }

    /// What the sessions' media goes by, between members.
    pub(crate) fn association(&self) -> Option<Rc<Association>> {
        self.association.borrow().as_ref().map(Rc::clone)
    }

    pub(crate) fn set_association(&self, association: Rc<Association>) {
        *self.association.borrow_mut() = Some(association);
    }

    /// What a request waits for: those of its session.
    fn lane(&self, request: &Request) -> Option<Rc<tokio::sync::Mutex<()>>> {
        let name = request.headers.get("Session").or_else(|| request.headers.get("Pipelined-Requests"))?;
        let mut lanes = self.lanes.borrow_mut();
        lanes.retain(|_, lane| lane.strong_count() > 0);
        if let Some(lane) = lanes.get(name).and_then(Weak::upgrade) {
            return Some(lane);
        }
        let lane = Rc::new(tokio::sync::Mutex::new(()));
        lanes.insert(name.to_owned(), Rc::downgrade(&lane));
        Some(lane)
    }

    /// The peer's address.
    pub(crate) fn peer_ip(&self) -> IpAddr {
        self.peer.ip()
    }
}
