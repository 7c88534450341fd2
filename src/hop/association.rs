//! What two members share: their TLS connection, the way of their packets, and the flows of all their sessions.

mod path;
mod paths;
mod way;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use msm_auth::identity::svid::PeerIdentity;
use msm_core::hop::Label;
use msm_core::hop::path::PathConfig;
use tokio::sync::Notify;

pub(crate) use self::path::MAX_PATHS;
use self::path::Paths;
pub(crate) use self::paths::Take;
pub(crate) use self::way::Way;
use super::inlet::{Inlet, Target};
use super::keys::{Direction, FlowKey, SUITE};
use super::outlet::Outlet;
use super::port::HopPort;
use super::tokens::Tokens;
use crate::error::Error;
use crate::events::{EventKind, Subscribers};
use crate::metrics::{HopCount, PlanCount};
use crate::net::tcp::Connection;
use crate::net::tls::Tls;
use crate::status::{FlowProtection, HopStatus, milliseconds};
use crate::worker::Worker;

/// How long packets of the epoch before may still be under way.
const OVERLAP: Duration = Duration::from_secs(10);

/// Which end of the association this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    fn sends(self) -> Direction {
        match self {
            Side::Dialler => Direction::FromDialler,
            Side::Acceptor => Direction::FromAcceptor,
        }
    }

    fn receives(self) -> Direction {
        match self {
            Side::Dialler => Direction::FromAcceptor,
            Side::Acceptor => Direction::FromDialler,
        }
    }
}

/// One association, on one worker.
pub(crate) struct Association {
    /// The opening side's name for it.
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) port: Rc<HopPort>,
    worker: Weak<Worker>,
    peer: RefCell<PeerIdentity>,
    /// The peer's address of the signalling, for logs.
    pub(crate) remote: SocketAddr,
    /// The connection that keys for sending come from, and its epoch.
    current: RefCell<(Rc<Connection>, u32)>,
    /// The next one, whose packets are opened already.
    next: RefCell<Option<(Rc<Connection>, u32)>>,
    /// The main path first. None before its control flow is open.
    paths: RefCell<Paths>,
    /// Those that are up, as bits.
    paths_up: Cell<u8>,
    /// The one that took packets last of those that take turns.
    turn: Cell<usize>,
    /// Where the signalling says that the peer is.
    remotes: RefCell<Vec<SocketAddr>>,
    way: Cell<Way>,
    /// Its part of the process's metrics.
    count: RefCell<Option<HopCount>>,
    max_datagram: Cell<usize>,
    /// The same, for packets that are to pass by any path.
    least_datagram: Cell<usize>,
    flows: RefCell<Vec<Flow>>,
    tokens: RefCell<Tokens>,
    /// The way became known, or another.
    changed: Notify,
    rearm: Notify,
    ended: Cell<bool>,
    on_end: RefCell<Vec<Box<dyn FnOnce()>>>,
    /// Whoever wants to know was told that it is there.
    told: Cell<bool>,
}

/// A flow's part of the keys.
struct Flow {
    key: FlowKey,
    end: End,
}

impl Flow {
    fn is_alive(&self) -> bool {
        match &self.end {
            End::In(inlet) => inlet.strong_count() > 0,
            End::Out(outlet) => outlet.strong_count() > 0,
        }
    }
}

enum End {
    In(Weak<Inlet>),
    Out(Weak<Outlet>),
}

impl Association {
    /// An association on its first connection. The control flow is not there before [`Self::open_control`].
    pub(crate) fn new(
        worker: &Rc<Worker>,
        port: &Rc<HopPort>,
        side: Side,
        id: u64,
        peer: PeerIdentity,
        connection: (Rc<Connection>, u32),
        remote: SocketAddr,
    ) -> Rc<Self> {
        worker.shared.metrics.associations.inc();
        let own = Rc::new(Self {
            id,
            side,
            port: Rc::clone(port),
            worker: Rc::downgrade(worker),
            peer: RefCell::new(peer),
            remote,
            current: RefCell::new(connection),
            next: RefCell::new(None),
            max_datagram: Cell::new(PathConfig::default().base),
            least_datagram: Cell::new(PathConfig::default().base),
            paths: RefCell::default(),
            paths_up: Cell::new(0),
            turn: Cell::new(0),
            remotes: RefCell::default(),
            way: Cell::new(Way::Unknown),
            count: RefCell::new((side == Side::Acceptor).then(|| worker.shared.metrics.hops.accepted())),
            flows: RefCell::default(),
            tokens: RefCell::new(Tokens::new(id)),
            changed: Notify::new(),
            rearm: Notify::new(),
            ended: Cell::new(false),
            on_end: RefCell::default(),
            told: Cell::new(false),
        });
        worker.add_hop(&own);
        own
    }

    /// Enters a dialled one in the metrics, as one with an endpoint of this cluster.
    pub(crate) fn set_cluster(&self, worker: &Worker, cluster: &str) {
        *self.count.borrow_mut() = Some(worker.shared.metrics.hops.dialled(cluster));
    }

    /// Who the other member is.
    pub(crate) fn peer(&self) -> PeerIdentity {
        self.peer.borrow().clone()
    }

    /// The epoch that is sent with.
    pub(crate) fn epoch(&self) -> u32 {
        self.current.borrow().1
    }

    /// One that was not tried yet: the peer may have taken up one whose connection was lost before it could say so.
    pub(crate) fn next_epoch(&self) -> Option<u32> {
        let tried = self.next.borrow().as_ref().map_or(0, |(_, epoch)| *epoch);
        self.epoch().max(tried).checked_add(1)
    }

    /// The connection of the epoch that is sent with.
    pub(crate) fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.current.borrow().0)
    }

    /// The main path's control flow from the peer.
    pub(crate) fn control_inlet(&self) -> Option<Rc<Inlet>> {
        self.path(0).map(|path| Rc::clone(&path.control.0))
    }

    /// What it is like now.
    pub(crate) fn status(&self) -> HopStatus {
        let (connection, epoch) = self.current.borrow().clone();
        let tls = connection.tls().map(Tls::summary).unwrap_or_default();
        let peer = self.peer();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        HopStatus {
            peer: peer.id.to_string(),
            remote: self.remote.to_string(),
            dialled: self.side == Side::Dialler,
            tls,
            srtp: SUITE.name().to_owned(),
            epoch,
            way: match self.way.get() {
                Way::Unknown => "unknown".to_owned(),
                Way::Udp(_, to) => format!("udp {to}"),
                Way::Tcp => "tcp".to_owned(),
            },
            max_datagram: self.path_in_use().map_or(0, |path| path.max_datagram()),
            rtt_ms: self.rtt().map(milliseconds),
            paths: self.paths.borrow().iter().flatten().map(|path| path.status()).collect(),
            flows: self.flows.borrow().iter().filter(|flow| flow.is_alive()).count(),
            peer_expires_in: peer.expires.as_secs().saturating_sub(now),
            protection: self.protection(),
        }
    }

    /// Gives what was counted of what is sent to the worker's port.
    pub(crate) fn publish(&self) {
        for flow in self.flows.borrow().iter() {
            if let End::Out(outlet) = &flow.end
                && let Some(outlet) = outlet.upgrade()
            {
                self.port.add_counts(outlet.fresh_counts());
            }
        }
    }

    fn protection(&self) -> Vec<FlowProtection> {
        let of = |flow: &Flow| match &flow.end {
            End::In(inlet) => inlet.upgrade()?.protection(),
            End::Out(outlet) => outlet.upgrade()?.protection(),
        };
        self.flows.borrow().iter().filter_map(of).collect()
    }

    /// The round trip of the path in use, once it was measured.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.path_in_use().and_then(|path| path.rtt())
    }

    /// The largest UDP payload, or what takes its place.
    pub(crate) fn max_datagram(&self) -> usize {
        self.max_datagram.get()
    }

    /// Random bits.
    pub(crate) fn seed(&self) -> Result<u64, Error> {
        Ok(self.worker.upgrade().ok_or(Error::Stopped)?.shared.seed())
    }

    /// Counts a protected flow of this side; and who is told of it.
    pub(crate) fn protected_flow(&self) -> Result<(PlanCount, Arc<Subscribers>), Error> {
        let worker = self.worker.upgrade().ok_or(Error::Stopped)?;
        Ok((worker.shared.metrics.protection.flow(), Arc::clone(&worker.shared.events)))
    }

    /// A token for a SETUP of this side.
    pub(crate) fn next_token(&self) -> u64 {
        self.tokens.borrow_mut().next()
    }

    /// Takes the token of a SETUP of the peer.
    ///
    /// # Errors
    /// [`Error::Refused`] if it was used before: two flows would have one key.
    pub(crate) fn take_token(&self, token: u64) -> Result<(), Error> {
        if self.tokens.borrow_mut().take(token) {
            return Ok(());
        }
        Err(Error::Refused(format!("token {token:016x} was used before, or is long past")))
    }

    /// A new flow from the peer, in the track that `token` names.
    pub(crate) fn inlet(self: &Rc<Self>, token: u64, target: Target) -> Result<Rc<Inlet>, Error> {
        self.inlet_on(0, token, target)
    }

    /// The same, by a path.
    pub(crate) fn inlet_on(
        self: &Rc<Self>,
        path: usize,
        token: u64,
        target: Target,
    ) -> Result<Rc<Inlet>, Error> {
        let inlet = Inlet::new(&Rc::downgrade(self), &self.port, path, target)?;
        let key = FlowKey { token, label: inlet.label, direction: self.side.receives() };
        for (connection, epoch) in self.connections() {
            inlet.install(&key.derive(&connection, epoch)?, epoch)?;
        }
        self.enter(Flow { key, end: End::In(Rc::downgrade(&inlet)) });
        Ok(inlet)
    }

    /// A new flow to the peer, which calls it `label`; `twin` is the one that comes back.
    pub(crate) fn outlet(
        self: &Rc<Self>,
        token: u64,
        label: Label,
        twin: &Rc<Inlet>,
    ) -> Result<Rc<Outlet>, Error> {
        self.outlet_from(token, label, twin, self.first_number()?)
    }

    /// The same, whose line begins with a number that the peer was told.
    pub(crate) fn outlet_from(
        self: &Rc<Self>,
        token: u64,
        label: Label,
        twin: &Rc<Inlet>,
        first: u16,
    ) -> Result<Rc<Outlet>, Error> {
        let outlet = self.outlet_alone(token, label, first)?;
        outlet.set_twin(twin);
        twin.set_back(&outlet);
        Ok(outlet)
    }

    /// A number for a line to begin with.
    pub(crate) fn first_number(&self) -> Result<u16, Error> {
        Ok(self.seed()? as u16 & 0x7fff)
    }

    /// A new flow to the peer that nothing comes back on.
    ///
    /// # Errors
    /// [`Error::Refused`] for the label of another flow of that track: they would have one key, and both begin their numbers.
    pub(crate) fn outlet_beside(self: &Rc<Self>, token: u64, label: Label) -> Result<Rc<Outlet>, Error> {
        self.outlet_alone(token, label, self.first_number()?)
    }

    fn outlet_alone(self: &Rc<Self>, token: u64, label: Label, first: u16) -> Result<Rc<Outlet>, Error> {
        let key = FlowKey { token, label, direction: self.side.sends() };
        if self.flows.borrow().iter().any(|flow| flow.is_alive() && flow.key == key) {
            return Err(Error::Refused(format!("label {label} is another flow's of the same track")));
        }
        let outlet = Outlet::new(self, label, first);
        let (connection, epoch) = self.current.borrow().clone();
        outlet.switch(&key.derive(&connection, epoch)?, epoch)?;
        self.enter(Flow { key, end: End::Out(Rc::downgrade(&outlet)) });
        Ok(outlet)
    }

    fn enter(&self, flow: Flow) {
        let mut flows = self.flows.borrow_mut();
        flows.retain(Flow::is_alive);
        flows.push(flow);
    }

    fn connections(&self) -> Vec<(Rc<Connection>, u32)> {
        let current = self.current.borrow().clone();
        self.next.borrow().clone().into_iter().chain([current]).collect()
    }

    /// Opens packets of a new epoch, whose connection this is. `peer` is who it is with.
    ///
    /// # Errors
    /// [`Error::Refused`] if that is somebody else than before, or the epoch is not a later one.
    pub(crate) fn prepare(
        &self,
        connection: &Rc<Connection>,
        epoch: u32,
        peer: PeerIdentity,
    ) -> Result<(), Error> {
        let before = self.peer().id;
        if peer.id != before {
            return Err(Error::Refused(format!("the association is {before}'s, and not {}'s", peer.id)));
        }
        if epoch <= self.epoch() {
            return Err(Error::Refused(format!("epoch {epoch} is not later than {}", self.epoch())));
        }
        for flow in self.flows.borrow().iter() {
            if let End::In(inlet) = &flow.end
                && let Some(inlet) = inlet.upgrade()
            {
                inlet.install(&flow.key.derive(connection, epoch)?, epoch)?;
            }
        }
        *self.next.borrow_mut() = Some((Rc::clone(connection), epoch));
        *self.peer.borrow_mut() = peer;
        Ok(())
    }

    /// Sends with the keys of the epoch that was [prepared](Self::prepare): the peer opens them by now.
    pub(crate) fn switch(self: &Rc<Self>) -> Result<(), Error> {
        let Some((connection, epoch)) = self.next.borrow_mut().take() else { return Ok(()) };
        for flow in self.flows.borrow().iter() {
            if let End::Out(outlet) = &flow.end
                && let Some(outlet) = outlet.upgrade()
            {
                outlet.switch(&flow.key.derive(&connection, epoch)?, epoch)?;
            }
        }
        let (_, before) = self.current.replace((connection, epoch));
        // Behind a connection that was lost, much may be lost.
        self.tell_next();
        tracing::info!(peer = %self.peer().id, epoch, "hop re-keyed");
        if let Some(worker) = self.worker.upgrade() {
            worker.shared.metrics.hop_rekeys.inc();
        }
        let association = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(OVERLAP).await;
            let Some(association) = association.upgrade() else { return };
            for flow in association.flows.borrow().iter() {
                if let End::In(inlet) = &flow.end
                    && let Some(inlet) = inlet.upgrade()
                {
                    inlet.retire(before);
                }
            }
        });
        Ok(())
    }

    /// It is there, as whoever wants to know is told.
    pub(crate) fn tell_connected(&self) {
        self.told.set(true);
        self.tell(|| EventKind::PeerConnected { remote: self.remote });
    }

    fn tell(&self, kind: impl FnOnce() -> EventKind) {
        if let Some(worker) = self.worker.upgrade() {
            worker.shared.events.tell(None, || (self.peer().id.to_string(), kind()));
        }
    }

    /// Calls `on_end` once when the association ends.
    pub(crate) fn on_end(&self, on_end: Box<dyn FnOnce()>) {
        self.on_end.borrow_mut().push(on_end);
    }

    /// Whether it is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Ends it, and what lives on it.
    pub(crate) fn end(&self, why: &str) {
        if self.ended.replace(true) {
            return;
        }
        tracing::info!(peer = %self.peer().id, remote = %self.remote, why, "association ended");
        if self.told.get() {
            self.tell(|| EventKind::PeerLost { remote: self.remote, reason: why.to_owned() });
        }
        self.count.borrow_mut().take();
        for (connection, _) in self.connections() {
            connection.close();
        }
        self.changed.notify_waiters();
        self.rearm.notify_one();
        let on_end = std::mem::take(&mut *self.on_end.borrow_mut());
        for on_end in on_end {
            on_end();
        }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.upgrade() {
            worker.shared.metrics.associations.dec();
        }
    }
}
