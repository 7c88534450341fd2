//! RTSP sessions: they live on the worker of the connection that made them, and outlive it where media is UDP.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use msm_auth::identity::id::SpiffeId;
use msm_core::hub::ReaderId;
use msm_core::route::{Action, Headers};
use msm_rtsp::message::{Method, Request, Version};
use msm_rtsp::server;
use msm_rtsp::url::RtspUrl;

use super::admission::SessionPass;
use super::elsewhere::Sent;
use super::publisher::PublisherRole;
use super::reader::ReaderRole;
use super::requests::open;
use super::route_seats::RouteSeat;
use crate::error::Error;
use crate::hop::association::Association;
use crate::hub::handle::HubHandle;
use crate::hub::registry::HubKey;
use crate::hub::shard::{EndReason, OnEnd};
use crate::net::tcp::Connection;
use crate::routing::{Ask, Caller, Resolved, Routing, client_at, client_of};
use crate::worker::Worker;

/// How long a reader that has said BYE is given for its TEARDOWN.
const AFTER_BYE: Duration = Duration::from_secs(2);

/// What a session does.
pub(crate) enum Role {
    Reader(ReaderRole),
    Publisher(Box<PublisherRole>),
}

/// The parts of a session that its requests change, one at a time.
pub(crate) struct SessionState {
    pub(crate) machine: server::Session,
    pub(crate) role: Role,
    /// The URL as the client asked for it, which all answers are expressed in.
    pub(crate) url: String,
    /// When its client's first request came, until it plays or records.
    pub(crate) asked: Option<Instant>,
    /// Its place among the sessions of its route.
    pub(crate) _seat: RouteSeat,
}

/// Who a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whoever has this address, at this listener: what was begun within TLS, or by a user, does not go on without.
    Address { ip: IpAddr, listener: usize },
    /// A member, wherever it is.
    Member(SpiffeId),
}

impl Owner {
    /// The number of the listener that it came by, of plain clients.
    pub(crate) fn listener(&self) -> Option<usize> {
        match self {
            Owner::Address { listener, .. } => Some(*listener),
            Owner::Member(_) => None,
        }
    }

    /// What routes look at of a request of its that came in by a listener.
    pub(crate) fn ask<'a>(&self, action: Action, listener: &str, headers: &'a dyn Headers) -> Ask<'a> {
        let (caller, client) = match self {
            Owner::Address { ip, .. } => (Caller::Plain, client_at(*ip)),
            Owner::Member(id) => (Caller::Member(id.clone()), client_of(&id.to_string())),
        };
        Ask { action, caller, listener: Some(listener.to_owned()), headers, client }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Address { ip, .. } => ip.fmt(f),
            Owner::Member(id) => id.fmt(f),
        }
    }
}

/// What a session was let in for, which a new table of routes is asked again.
pub(crate) struct Grant {
    pub(crate) id: String,
    /// The worker that the session lives on.
    pub(crate) worker: usize,
    pub(crate) owner: Owner,
    pub(crate) url: RtspUrl,
    /// What else routes look at: the listener that it came by, and what its first SETUP said.
    pub(crate) listener: String,
    pub(crate) headers: msm_rtsp::message::Headers,
    /// What its client speaks.
    pub(crate) version: Version,
    /// What a reader reads.
    pub(crate) reads: Mutex<Option<HubKey>>,
    /// Where a publisher's stream goes; `None` of a reader.
    pub(crate) publishes: Option<HubKey>,
    /// Where its client was sent, once the routes redirect its URL.
    pub(super) sent: Mutex<Option<Sent>>,
}

impl Grant {
    /// Whether these routes let the session go on. A reader stays with the stream that it reads, wherever its URL leads now;
    /// a publisher whose stream would go elsewhere has to come again.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, routing: &Routing) -> Result<Resolved, Error> {
        let action = if self.publishes.is_some() { Action::Publish } else { Action::Read };
        let resolved = routing.resolve(&self.url, &self.owner.ask(action, &self.listener, &self.headers))?;
        match &self.publishes {
            Some(key) if *key != resolved.publish_key() => {
                Err(Error::Refused(format!("{} is published elsewhere now", self.url)))
            }
            _ => Ok(resolved),
        }
    }

    /// Whether the session is to go over to the stream that its URL leads to now.
    pub(crate) fn is_to_move(&self, resolved: &Resolved) -> bool {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.migrate && reads.as_ref().is_some_and(|key| *key != resolved.key())
    }
}

/// One RTSP session.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    pub(crate) grant: Arc<Grant>,
    /// What its media goes by, between members.
    pub(crate) association: Option<Weak<Association>>,
    pub(crate) state: tokio::sync::Mutex<SessionState>,
    worker: Weak<Worker>,
    /// The connection that media goes through, or that the last request came on.
    connection: RefCell<Weak<Connection>>,
    /// Packets of a publisher, by track; for frames, which come between requests.
    sink: RefCell<Option<super::publisher::FrameSink>>,
    reader: Cell<Option<ReaderKey>>,
    seen: Cell<Instant>,
    timeout: Duration,
    _pass: SessionPass,
}

/// A reader in the process: the worker of its fan-out, the stream, and its number there.
pub(crate) type ReaderKey = (usize, u64, ReaderId);

/// The sessions of one worker.
#[derive(Default)]
pub(crate) struct SessionTable {
    sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    readers: RefCell<BTreeMap<ReaderKey, Weak<Session>>>,
}

/// Which worker each session of the process lives on, and what it was let in for.
#[derive(Default)]
pub(crate) struct SessionDirectory(Mutex<HashMap<String, Arc<Grant>>>);

impl SessionDirectory {
    pub(crate) fn worker_of(&self, id: &str) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(|own| own.worker)
    }

    /// What a session was let in for, while it is up.
    pub(crate) fn grant(&self, id: &str) -> Option<Arc<Grant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(Arc::clone)
    }

    /// All sessions that are up.
    pub(crate) fn grants(&self) -> Vec<Arc<Grant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Whether sessions that are up came by a listener.
    pub(crate) fn uses_listener(&self, id: usize) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().any(|own| own.owner.listener() == Some(id))
    }

    fn insert(&self, grant: &Arc<Grant>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(grant.id.clone(), Arc::clone(grant));
    }

    fn remove(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl SessionTable {
    pub(crate) fn get(&self, id: &str) -> Option<Rc<Session>> {
        self.sessions.borrow().get(id).map(Rc::clone)
    }

    /// A reader showed that it lives.
    pub(crate) fn touch_reader(&self, reader: ReaderKey, now: Instant) {
        let session = self.readers.borrow().get(&reader).and_then(Weak::upgrade);
        if let Some(session) = session {
            session.touch(now);
        }
    }

    pub(crate) fn all(&self) -> Vec<Rc<Session>> {
        self.sessions.borrow().values().map(Rc::clone).collect()
    }
}

/// Makes a session and enters it.
pub(crate) fn create(
    worker: &Rc<Worker>,
    grant: Grant,
    association: Option<&Rc<Association>>,
    connection: &Rc<Connection>,
    state: SessionState,
    pass: SessionPass,
) -> Rc<Session> {
    let grant = Arc::new(grant);
    let session = Rc::new(Session {
        id: grant.id.clone(),
        owner: grant.owner.clone(),
        grant: Arc::clone(&grant),
        association: association.map(Rc::downgrade),
        state: tokio::sync::Mutex::new(state),
        worker: Rc::downgrade(worker),
        connection: RefCell::new(Rc::downgrade(connection)),
        sink: RefCell::new(None),
        reader: Cell::new(None),
        seen: Cell::new(Instant::now()),
        timeout: worker.shared.settings().session_timeout,
        _pass: pass,
    });
    worker.sessions.sessions.borrow_mut().insert(session.id.clone(), Rc::clone(&session));
    worker.shared.sessions.insert(&grant);
    worker.shared.metrics.sessions.inc();
    session
}

/// Removes a session; what it held is given back when its last user is done.
pub(crate) fn remove(worker: &Worker, id: &str) {
    let removed = worker.sessions.sessions.borrow_mut().remove(id);
    if let Some(session) = removed {
        worker.shared.sessions.remove(id);
        worker.shared.metrics.sessions.dec();
        if let Some(reader) = session.reader.take() {
            worker.sessions.readers.borrow_mut().remove(&reader);
        }
        session.sink.borrow_mut().take();
    }
}

/// Ends every session, as the mesh shuts down.
pub(crate) fn end_all(worker: &Rc<Worker>) {
    for session in worker.sessions.all() {
        session.end(worker);
    }
}

/// Ends the sessions of an association that is over.
pub(crate) fn end_association(worker: &Rc<Worker>, id: u64) {
    for session in worker.sessions.all() {
        let own = session.association.as_ref().and_then(Weak::upgrade);
        // The association may be on its way out of memory already.
        let is_of = own.is_some_and(|own| own.id == id) || session.is_orphan();
        if is_of {
            remove(worker, &session.id);
        }
    }
}

/// Ends the sessions of this worker that came by a listener.
pub(crate) fn end_of_listener(worker: &Rc<Worker>, listener: usize) {
    let sessions = worker.sessions.all().into_iter();
    for session in sessions.filter(|session| session.owner.listener() == Some(listener)) {
        tracing::info!(session = %session.id, peer = %session.owner, "session ends: its listener was removed");
        session.end(worker);
    }
}

/// Whether sessions go by an association.
pub(crate) fn uses_association(worker: &Rc<Worker>, id: u64) -> bool {
    let is_of = |session: &Rc<Session>| {
        session.association.as_ref().and_then(Weak::upgrade).is_some_and(|own| own.id == id)
    };
    worker.sessions.all().iter().any(is_of)
}

/// Ends sessions whose client has not shown itself for the timeout and a grace, and those that were sent elsewhere and have not gone.
pub(crate) fn expire(worker: &Rc<Worker>, now: Instant) {
    for session in worker.sessions.all() {
        let why = match (session.grant.outstays(now), session.is_expired(now)) {
            (true, _) => "session ends: it was sent elsewhere, and did not leave in its time",
            (_, true) => "session timed out",
            _ => continue,
        };
        tracing::info!(session = %session.id, peer = %session.owner, "{why}");
        session.end(worker);
    }
}

impl Session {
    pub(crate) fn touch(&self, now: Instant) {
        self.seen.set(now);
    }

    /// The session's media now goes through, or its requests come on, `connection`.
    pub(crate) fn attach(&self, connection: &Rc<Connection>) {
        *self.connection.borrow_mut() = Rc::downgrade(connection);
        // It may have been away when it was sent elsewhere.
        self.tell_where();
    }

    /// The connection that it is attached to, if that is still there.
    pub(super) fn connection(&self) -> Option<Rc<Connection>> {
        self.connection.borrow().upgrade()
    }

    /// Whether the connection is the one the session lives on.
    pub(crate) fn is_attached(&self, connection: &Rc<Connection>) -> bool {
        self.connection.borrow().upgrade().is_some_and(|own| Rc::ptr_eq(&own, connection))
    }

    /// Enters the reader that the session has become.
    pub(crate) fn set_reader(self: &Rc<Self>, worker: &Worker, reader: ReaderKey) {
        if worker.sessions.get(&self.id).is_none() {
            return;
        }
        let before = self.reader.replace(Some(reader));
        let mut readers = worker.sessions.readers.borrow_mut();
        if let Some(before) = before {
            readers.remove(&before);
        }
        readers.insert(reader, Rc::downgrade(self));
    }

    /// If it reads the stream `from`, it reads `next` from that one's next keyframe on.
    pub(crate) async fn go_over(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        from: u64,
        next: &Arc<HubHandle>,
    ) -> bool {
        let mut state = self.state.lock().await;
        let Role::Reader(reader) = &mut state.role else { return false };
        if reader.lease.id != from || from == next.id || worker.sessions.get(&self.id).is_none() {
            return false;
        }
        match reader.move_to(worker, next.lease(), || self.on_end()).await {
            Ok(()) => {
                if let Some(placed) = reader.placed() {
                    self.set_reader(worker, placed);
                }
                true
            }
            Err(error) => {
                tracing::warn!(session = %self.id, peer = %self.owner, %error, "cannot go over to another stream");
                false
            }
        }
    }

    /// Goes over to the stream that its URL leads to now.
    pub(crate) async fn change_stream(self: &Rc<Self>, worker: &Rc<Worker>) {
        let grant = &self.grant;
        let ask = self.owner.ask(Action::Read, &grant.listener, &grant.headers);
        let via = vec![format!("RTSP/1.0 {}", worker.shared.pseudonym)];
        let (resolved, next) = match open(worker, &grant.url, via, &ask).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(session = %self.id, peer = %self.owner, url = %grant.url, %error, "stays with its stream: the one that the routes lead to cannot be had");
                return;
            }
        };
        let from = match &self.state.lock().await.role {
            Role::Reader(reader) => reader.lease.id,
            Role::Publisher(_) => return,
        };
        if self.go_over(worker, from, &next).await {
            tracing::debug!(session = %self.id, peer = %self.owner, url = %grant.url, hub = next.id, "reads another backend's stream");
            *grant.reads.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolved.key());
        }
    }

    pub(crate) fn set_sink(&self, sink: super::publisher::FrameSink) {
        *self.sink.borrow_mut() = Some(sink);
    }

    /// Packets that came interleaved: a publisher's media, or a reader's reports.
    pub(crate) fn handle_frames(
        &self,
        now: Instant,
        track: usize,
        rtcp: bool,
        bytes: &mut [u8],
        parts: &[(usize, usize)],
    ) {
        self.touch(now);
        if let Some(sink) = self.sink.borrow().as_ref() {
            sink.handle(now, track, rtcp, bytes, parts);
            return;
        }
        let shard = self
            .reader
            .get()
            .and_then(|(_, hub, reader)| Some((self.worker.upgrade()?.shard_of(hub)?, reader)));
        if let (true, Some((shard, reader))) = (rtcp, shard) {
            for (offset, length) in parts {
                if let Some(datagram) = bytes.get(*offset..offset.saturating_add(*length)) {
                    shard.handle_reader_rtcp(now, reader, track, datagram);
                }
            }
        }
    }

    /// What ends the session when its stream or its reader does.
    pub(crate) fn on_end(self: &Rc<Self>) -> OnEnd {
        let session = Rc::downgrade(self);
        Box::new(move |reason: EndReason| {
            let Some(session) = session.upgrade() else { return };
            let Some(worker) = session.worker.upgrade() else { return };
            tracing::info!(session = %session.id, peer = %session.owner, ?reason, "session ends");
            // Later, as the caller may be in the middle of a burst.
            tokio::task::spawn_local(async move {
                if reason == EndReason::ReaderBye {
                    // Many say BYE just before their TEARDOWN, which they want answered.
                    tokio::time::sleep(AFTER_BYE).await;
                }
                session.end(&worker);
            });
        })
    }

    /// Ends the session and, unless other sessions live on it, its connection: RTSP 1.0 has no other way to tell.
    pub(crate) fn end(&self, worker: &Worker) {
        if worker.sessions.get(&self.id).is_none() {
            return;
        }
        // Its BYE may go by the connection that is closed below.
        let here = self.reader.get().filter(|(place, ..)| *place == worker.id);
        if let Some((shard, reader)) = here.and_then(|(_, hub, reader)| Some((worker.shard_of(hub)?, reader)))
        {
            shard.remove(Instant::now(), reader, true);
        }
        remove(worker, &self.id);
        if let Some(association) = &self.association {
            if let Some(association) = association.upgrade() {
                // The connection is shared with other sessions: the member is told of this one.
                let told = Request::new(Method::Teardown, "*").with("Session", &self.id);
                association.connection().send_request(told);
            }
            return;
        }
        let own = std::mem::take(&mut *self.connection.borrow_mut());
        let Some(connection) = own.upgrade() else { return };
        drop(own);
        // Only sessions hold a connection weakly.
        if Rc::weak_count(&connection) == 0 {
            connection.close();
        }
    }

    /// Its connection is gone: a session whose media went through it ends; another waits for its client to come back.
    pub(crate) async fn connection_lost(&self, connection: &Rc<Connection>) {
        // Between members the association outlives a connection.
        if self.association.is_some() || !self.is_attached(connection) {
            return;
        }
        let Some(worker) = self.worker.upgrade() else { return };
        let ends = match &self.state.lock().await.role {
            // Without a track there is nothing to come back to.
            Role::Reader(reader) => reader.is_interleaved() || reader.tracks.is_empty(),
            // No publisher comes back to an old session, and a dead one would hold the URL.
            Role::Publisher(_) => true,
        };
        if ends {
            remove(&worker, &self.id);
        }
    }

    /// Whether its association is gone.
    fn is_orphan(&self) -> bool {
        self.association.as_ref().is_some_and(|association| association.strong_count() == 0)
    }

    fn is_expired(&self, now: Instant) -> bool {
        if self.association.is_some() {
            // As long as the association lives, so does its other end.
            return self.is_orphan();
        }
        let media = self.sink.borrow().as_ref().and_then(super::publisher::FrameSink::last_media);
        let seen = media.map_or(self.seen.get(), |media| media.max(self.seen.get()));
        // A grace of a quarter: clients send keep-alives late.
        now.saturating_duration_since(seen) > self.timeout + self.timeout / 4
    }
}
