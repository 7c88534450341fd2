//! What a worker thread owns.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_auth::identity::UnixTime;
use msm_core::burst::SegmentTable;
use msm_udp::RecvBuffers;

use super::listeners::Listeners;
use crate::api::reader::SeatPlace;
use crate::error::Error;
use crate::events::EndCause;
use crate::hop::association::Association;
use crate::hop::dial::Peers;
use crate::hop::port::HopPort;
use crate::hub::dest::{SendErrors, WorkerSink};
use crate::hub::handle::HubHandle;
use crate::hub::home::Home;
use crate::hub::put_off::PutOff;
use crate::hub::registry::ReaderRef;
use crate::hub::shard::Shard;
use crate::net::udp::UdpSocket;
use crate::serve::session::SessionTable;
use crate::shared::Shared;
use crate::status::HopStatus;
use crate::upgrade::pipe::Pipe;

/// Receive buffers of a worker, each one GRO run. Memory is touched, and thus used, only as packets fill it.
const RECEIVE_SLOTS: usize = 8;
/// How often counters are published and sessions are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The state of one worker thread. Everything here is used by that thread only.
pub(crate) struct Worker {
    pub(crate) id: usize,
    /// Where its grid of times begins.
    pub(crate) epoch: Instant,
    pub(crate) shared: Arc<Shared>,
    pub(crate) buffers: RefCell<RecvBuffers>,
    pub(crate) segments: RefCell<SegmentTable>,
    pub(crate) homes: RefCell<BTreeMap<u64, Rc<Home>>>,
    pub(crate) shards: RefCell<BTreeMap<u64, Rc<Shard>>>,
    pub(crate) sessions: SessionTable,
    pub(super) listeners: Listeners,
    /// Readers inside the application that this worker sends to.
    pub(crate) seats: RefCell<Vec<std::sync::Weak<std::sync::Mutex<SeatPlace>>>>,
    pub(crate) send_errors: SendErrors,
    /// Where packets for plain hops are protected, a burst at a time.
    room: RefCell<Vec<u8>>,
    put_off: RefCell<PutOff>,
    published_errors: Cell<[u64; 6]>,
    foreign: Cell<u64>,
    receive_errors: Cell<u64>,
    socket_drops: Cell<u64>,
    /// Hops to upstreams that are open.
    leaving: Cell<usize>,
    /// This worker's part of the member's UDP port.
    hop_port: RefCell<Option<Rc<HopPort>>>,
    /// Connections to other members.
    pub(crate) hop_peers: Peers,
    /// Towards the process before this one, while it has sessions.
    pub(crate) pipe: RefCell<Option<Rc<Pipe>>>,
    /// All associations, for the status.
    hop_list: RefCell<Vec<std::rc::Weak<Association>>>,
    /// Associations that other members opened.
    pub(crate) associations: RefCell<BTreeMap<u64, std::rc::Weak<Association>>>,
}

/// A hop to an upstream that is open on a worker.
pub(crate) struct UpstreamPass(std::rc::Weak<Worker>);

impl Drop for UpstreamPass {
    fn drop(&mut self) {
        if let Some(worker) = self.0.upgrade() {
            worker.leaving.set(worker.leaving.get().saturating_sub(1));
        }
    }
}

impl Worker {
    pub(super) fn new(id: usize, shared: Arc<Shared>) -> Self {
        Self {
            id,
            epoch: Instant::now(),
            shared,
            buffers: RefCell::new(RecvBuffers::new(RECEIVE_SLOTS)),
            segments: RefCell::default(),
            homes: RefCell::default(),
            shards: RefCell::default(),
            sessions: SessionTable::default(),
            listeners: Listeners::default(),
            seats: RefCell::default(),
            send_errors: SendErrors::default(),
            room: RefCell::default(),
            put_off: RefCell::default(),
            published_errors: Cell::default(),
            foreign: Cell::new(0),
            receive_errors: Cell::new(0),
            socket_drops: Cell::new(0),
            leaving: Cell::new(0),
            hop_port: RefCell::new(None),
            hop_peers: Peers::default(),
            pipe: RefCell::default(),
            hop_list: RefCell::default(),
            associations: RefCell::default(),
        }
    }

    pub(super) fn start(self: &Rc<Self>) {
        let worker = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let Some(worker) = worker.upgrade() else { return };
                worker.end_unused();
                crate::serve::session::expire(&worker, Instant::now());
                worker.end_left_listeners(Instant::now());
            }
        });
    }

    /// This worker's part of the member's UDP port, once it is open.
    pub(crate) fn hop_port(&self) -> Option<Rc<HopPort>> {
        self.hop_port.borrow().as_ref().map(Rc::clone)
    }

    /// Enters an association, for the status.
    pub(crate) fn add_hop(&self, association: &Rc<Association>) {
        let mut list = self.hop_list.borrow_mut();
        list.retain(|own| own.strong_count() > 0);
        list.push(Rc::downgrade(association));
    }

    /// What this worker's associations are like now.
    pub(crate) fn hop_status(&self) -> Vec<HopStatus> {
        let list = self.hop_list.borrow();
        let alive = list.iter().filter_map(std::rc::Weak::upgrade);
        alive.filter(|own| !own.has_ended()).map(|own| own.status()).collect()
    }

    /// When the first SVID expires of those that members showed here.
    pub(crate) fn first_peer_expiry(&self) -> Option<UnixTime> {
        let list = self.hop_list.borrow();
        let alive = list.iter().filter_map(std::rc::Weak::upgrade);
        alive.filter(|own| !own.has_ended()).map(|own| own.peer().expires).min()
    }

    pub(crate) fn set_hop_port(&self, port: &Rc<HopPort>) {
        *self.hop_port.borrow_mut() = Some(Rc::clone(port));
    }

    /// The shard of a stream, if this worker has one.
    pub(crate) fn shard_of(&self, hub: u64) -> Option<Rc<Shard>> {
        self.shards.borrow().get(&hub).map(Rc::clone)
    }

    /// The shard of a stream on this worker, created and joined to the stream's home when it is not there yet.
    pub(crate) async fn shard(self: &Rc<Self>, handle: &Arc<HubHandle>) -> Result<Rc<Shard>, Error> {
        if let Some(shard) = self.shards.borrow().get(&handle.id) {
            return Ok(Rc::clone(shard));
        }
        let id = handle.id;
        let home = self.shared.worker(handle.worker)?;
        let receiver = home
            .call(move |home| home.homes.borrow().get(&id).map(|home| home.attach()))
            .await?
            .ok_or(Error::StreamEnded)?;
        // Another request may have created it while this one waited; then the ring just made is dropped again.
        if let Some(shard) = self.shards.borrow().get(&handle.id) {
            return Ok(Rc::clone(shard));
        }
        let shard = Shard::start(self, Arc::clone(handle), Instant::now());
        shard.feed(receiver);
        Ok(shard)
    }

    /// Passes a reader's wish for a keyframe to the stream's home. Later, as the caller may be in the middle of a burst.
    pub(crate) fn request_keyframe(self: &Rc<Self>, handle: &Arc<HubHandle>, now: Instant, track: usize) {
        let id = handle.id;
        if let Ok(home) = self.shared.worker(handle.worker) {
            let _ = home.offer(move |worker| {
                let home = worker.homes.borrow().get(&id).map(Rc::clone);
                if let Some(home) = home {
                    home.request_keyframe(now, track);
                }
            });
        }
    }

    /// A receiver report that came to this worker; it is handed on where the reader lives on another.
    pub(crate) fn handle_report(self: &Rc<Self>, reader: ReaderRef, datagram: &[u8]) {
        if reader.worker == self.id {
            self.handle_own_report(reader, datagram);
        } else if let Ok(worker) = self.shared.worker(reader.worker) {
            let datagram = datagram.to_vec();
            if !worker.offer(move |worker| worker.handle_own_report(reader, &datagram)) {
                self.shared.metrics.add_dropped("report_backlog", 1);
            }
        }
    }

    fn handle_own_report(self: &Rc<Self>, reader: ReaderRef, datagram: &[u8]) {
        let shard = self.shards.borrow().get(&reader.hub).map(Rc::clone);
        let now = Instant::now();
        let genuine = |shard: Rc<Shard>| shard.handle_reader_rtcp(now, reader.reader, reader.track, datagram);
        if !shard.is_some_and(genuine) {
            return;
        }
        // The session lives by what is the reader's own.
        let key = (reader.worker, reader.hub, reader.reader);
        if reader.owner == self.id {
            self.sessions.touch_reader(key, now);
        } else if let Ok(owner) = self.shared.worker(reader.owner) {
            let _ = owner.offer(move |owner| owner.sessions.touch_reader(key, Instant::now()));
        }
    }

    /// What sends for this worker's fan-outs.
    pub(crate) fn sink(&self, now: Instant) -> WorkerSink<'_> {
        WorkerSink { errors: &self.send_errors, room: &self.room, put_off: &self.put_off, now }
    }

    /// Counts datagrams from somebody who is not the flow's peer.
    pub(crate) fn count_foreign(&self, bytes: usize, stride: usize) {
        self.foreign.set(self.foreign.get() + bytes.div_ceil(stride.max(1)).max(1) as u64);
    }

    /// Counts a failed receive; ICMP errors come in this way.
    pub(crate) fn count_receive_error(&self, error: &io::Error) {
        tracing::trace!(%error, "receive failed");
        self.receive_errors.set(self.receive_errors.get() + 1);
    }

    /// Counts what the kernel dropped at `socket` since the last look.
    pub(crate) fn observe_drops(&self, socket: &UdpSocket) {
        let fresh = socket.fresh_drops();
        if fresh > 0 {
            self.socket_drops.set(self.socket_drops.get() + fresh);
        }
    }

    /// Tells the readers that are left that their streams are over.
    pub(super) fn end_shards(&self) {
        let shards: Vec<_> = self.shards.borrow().values().map(Rc::clone).collect();
        for shard in shards {
            shard.end(Instant::now());
        }
    }

    /// Lets go of everything that holds on to the worker, sockets among it.
    pub(super) fn clear(&self) {
        let shards = std::mem::take(&mut *self.shards.borrow_mut());
        let homes = std::mem::take(&mut *self.homes.borrow_mut());
        if let Some(port) = self.hop_port.borrow_mut().take() {
            port.stop();
        }
        drop((shards, homes));
        self.close_listeners();
    }

    /// Whether upstreams are still being left.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get() > 0
    }

    /// Counts a hop to an upstream, which is given time to be left when the mesh shuts down.
    pub(crate) fn upstream(self: &Rc<Self>) -> UpstreamPass {
        self.leaving.set(self.leaving.get() + 1);
        UpstreamPass(Rc::downgrade(self))
    }

    /// Ends every stream and every session of this worker.
    pub(crate) fn end_all(self: &Rc<Self>) {
        let now = Instant::now();
        let homes: Vec<_> = self.homes.borrow().values().map(Rc::clone).collect();
        for home in homes {
            home.handle.set_ended(EndCause::Shutdown);
            home.end(now);
        }
        // Readers hear it before their connections close.
        self.end_shards();
        crate::serve::session::end_all(self);
        self.publish();
    }

    /// Gives what this worker has counted to the process's metrics.
    pub(crate) fn publish(&self) {
        let metrics = &self.shared.metrics;
        metrics.add_dropped("unknown_source", self.foreign.take());
        metrics.add_dropped("receive_error", self.receive_errors.take());
        metrics.add_dropped("socket_buffer", self.socket_drops.take());
        let hops: Vec<_> = self.hop_list.borrow().iter().filter_map(std::rc::Weak::upgrade).collect();
        hops.iter().for_each(|hop| hop.publish());
        if let Some(port) = self.hop_port() {
            port.publish(metrics);
        }
        if let Some(pipe) = self.pipe.borrow().as_ref() {
            metrics.add_dropped("predecessor_backlog", pipe.fresh_drops());
        }
        let now = self.send_errors.each();
        let before = self.published_errors.get();
        for ((reason, count), before) in now.iter().zip(before) {
            metrics.add_dropped(reason, count.saturating_sub(before));
        }
        self.published_errors.set(now.map(|(_, count)| count));
        let homes: Vec<_> = self.homes.borrow().values().map(Rc::clone).collect();
        for home in homes {
            home.publish_metrics();
        }
        let shards: Vec<_> = self.shards.borrow().values().map(Rc::clone).collect();
        for shard in shards {
            shard.publish_metrics();
        }
    }

    /// Ends parts of streams that nobody reads here: what is fed to them by their home would be kept for nobody.
    fn end_unused(&self) {
        let unused: Vec<_> =
            self.shards.borrow().values().filter(|own| own.is_unused(self.id)).map(Rc::clone).collect();
        for shard in unused {
            shard.end(Instant::now());
        }
    }
}
