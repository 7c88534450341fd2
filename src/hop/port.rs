//! The one UDP port of a member: a socket for each worker, and who gets what comes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::hop::Label;
use msm_core::hop::label::MAX_FLOWS;
use msm_core::hop::path::Ends;
use tokio::task::AbortHandle;

use super::counters::HopCounters;
use super::inlet::Inlet;
use super::protect::Counts;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::net::udp::{SocketOptions, UdpSocket, canonical};
use crate::shared::Shared;
use crate::upgrade::Kind;
use crate::worker::Worker;

/// Some receive errors repeat at once: the pause keeps the worker from spinning.
const RETRY: Duration = Duration::from_millis(1);

/// Where the port is, and with which options.
#[derive(Clone, Debug)]
pub(crate) struct PortSettings {
    /// Port 0 takes any.
    pub(crate) address: SocketAddr,
    pub(crate) options: SocketOptions,
}

/// A worker's part of the port.
pub(crate) struct HopPort {
    pub(crate) socket: Rc<UdpSocket>,
    /// Packets on their way out.
    pub(crate) buffer: RefCell<Vec<u8>>,
    pub(crate) counters: HopCounters,
    worker: usize,
    generation: u8,
    flows: RefCell<HashMap<u32, Weak<Inlet>>>,
    next: Cell<u32>,
    /// Of flows that are over.
    lost: Cell<u64>,
    /// What protection did, of flows that are over too.
    counts: Cell<Counts>,
    receiving: RefCell<Option<AbortHandle>>,
}

impl HopPort {
    /// Opens the port on every worker, once; the address, for peers to be told.
    ///
    /// # Errors
    /// [`Error::Socket`] that names the address.
    pub(crate) async fn address(worker: &Worker) -> Result<SocketAddr, Error> {
        let shared = Arc::clone(&worker.shared);
        let opened = shared.hop.address.get_or_try_init(|| async {
            let mut settings = shared.hop.settings.clone();
            if settings.address.port() == 0 && shared.worker_count() > 1 {
                let free = free_port(settings.address);
                settings.address =
                    free.map_err(|error| Error::socket("mesh port: any UDP port".to_owned(), error))?;
            }
            alone(&shared, &settings)?;
            // In the order of their numbers: the kernel knows the sockets by the order in which they were bound.
            for handle in shared.workers() {
                let own = settings.clone();
                let bound = handle.call(move |worker| Self::open(worker, &own)).await?;
                settings.address = bound
                    .map_err(|error| Error::socket(format!("mesh port {}/udp", settings.address), error))?;
            }
            Ok::<_, Error>(settings.address)
        });
        opened.await.copied()
    }

    fn open(worker: &Rc<Worker>, settings: &PortSettings) -> io::Result<SocketAddr> {
        // Alone, a worker gets everything anyway, and each packet a little sooner.
        let shares = worker.shared.worker_count() > 1;
        let options = SocketOptions { reuse_port: shares, probes_mtu: true, ..settings.options.clone() };
        let passed = worker.shared.upgrade.socket(&Kind::Mesh, worker.id);
        let is_passed = passed.is_some();
        let socket = match passed {
            Some(socket) => UdpSocket::inherit(socket, settings.address, &options)?,
            None => UdpSocket::bind(settings.address, &options)?,
        };
        // The program belongs to the sockets that share the port, wherever they went.
        if shares && worker.id == 0 && !is_passed {
            // Without it packets still arrive: those that come to another worker are handed over.
            if let Err(error) = socket.steer_by_label() {
                tracing::warn!(%error, "the kernel does not steer packets to workers");
            }
        }
        let bound = socket.local_addr();
        let port = Rc::new(Self {
            socket: Rc::new(socket),
            buffer: RefCell::default(),
            counters: HopCounters::default(),
            worker: worker.id,
            generation: worker.shared.hop.generation,
            flows: RefCell::default(),
            next: Cell::new(0),
            lost: Cell::new(0),
            counts: Cell::default(),
            receiving: RefCell::new(None),
        });
        port.start(worker);
        worker.set_hop_port(&port);
        Ok(bound)
    }

    /// Gives what was counted to the process's metrics.
    pub(crate) fn publish(&self, metrics: &Metrics) {
        for (reason, count) in self.counters.take() {
            metrics.add_dropped(reason, count);
        }
        let flows: Vec<_> = self.flows.borrow().values().filter_map(Weak::upgrade).collect();
        let lost: u64 = flows.iter().map(|flow| flow.fresh_loss()).sum();
        metrics.hop_lost.inc_by(lost + self.lost.take());
        let counts = flows.iter().map(|flow| flow.fresh_counts());
        metrics.protection.add(counts.fold(self.counts.take(), Counts::add));
    }

    /// Whether it is on every address of the host, so that what leaves has a choice.
    pub(crate) fn has_any_address(&self) -> bool {
        self.socket.local_addr().ip().is_unspecified()
    }

    /// Receives from now on, once the process before this one does not.
    pub(crate) fn start(self: &Rc<Self>, worker: &Rc<Worker>) {
        let task = tokio::task::spawn_local(receive(Rc::downgrade(worker), Rc::clone(self)));
        *self.receiving.borrow_mut() = Some(task.abort_handle());
    }

    /// Stops to receive.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.receiving.borrow_mut().take() {
            task.abort();
        }
    }

    /// Enters a flow under a new label. Labels are taken in turn: one that was given back is not given out again soon.
    ///
    /// # Errors
    /// [`Error::Capacity`] if all labels of this worker are in use.
    pub(crate) fn enter(&self, make: impl FnOnce(Label) -> Rc<Inlet>) -> Result<Rc<Inlet>, Error> {
        let mut flows = self.flows.borrow_mut();
        let limit = MAX_FLOWS as usize / 2;
        let exhausted =
            || Error::Capacity { what: "flows of one worker on mesh hops", limit, key: "workers" };
        if flows.len() >= limit {
            return Err(exhausted());
        }
        loop {
            let index = self.next.get();
            self.next.set((index + 1) % MAX_FLOWS);
            let label = Label::new(self.worker, self.generation, index).ok_or_else(exhausted)?;
            if let std::collections::hash_map::Entry::Vacant(place) = flows.entry(label.ssrc()) {
                let inlet = make(label);
                place.insert(Rc::downgrade(&inlet));
                return Ok(inlet);
            }
        }
    }

    /// Keeps the loss of a flow that is over for the counters.
    pub(crate) fn add_lost(&self, packets: u64) {
        self.lost.set(self.lost.get() + packets);
    }

    /// Keeps what protection did for the counters.
    pub(crate) fn add_counts(&self, counts: Counts) {
        self.counts.set(self.counts.get().add(counts));
    }

    /// Forgets a label.
    pub(crate) fn leave(&self, label: Label) {
        self.flows.borrow_mut().remove(&label.ssrc());
    }

    /// Datagrams that came together: at these places of the buffer. Each run of one label goes to its flow.
    pub(crate) fn handle(
        &self,
        worker: &Worker,
        now: Instant,
        bytes: &mut [u8],
        stride: usize,
        from: Option<Ends>,
    ) {
        let total = bytes.len();
        let stride = if stride == 0 { total.max(1) } else { stride };
        let mut start = 0;
        while start < total {
            let Some(label) = bytes.get(start..).and_then(Label::of) else {
                self.counters.add("hop_malformed", 1);
                start += stride;
                continue;
            };
            let mut end = start + stride;
            while end < total && bytes.get(end..).and_then(Label::of) == Some(label) {
                end += stride;
            }
            let end = end.min(total);
            if let Some(run) = bytes.get_mut(start..end) {
                self.handle_run(worker, now, label, run, stride, from);
            }
            start = end;
        }
    }

    fn handle_run(
        &self,
        worker: &Worker,
        now: Instant,
        label: Label,
        run: &mut [u8],
        stride: usize,
        from: Option<Ends>,
    ) {
        let packets = run.len().div_ceil(stride) as u64;
        if label.worker() != self.worker {
            self.hand_over(worker, label, run, stride, from, packets);
            return;
        }
        let inlet = self.flows.borrow().get(&label.ssrc()).and_then(Weak::upgrade);
        match inlet {
            Some(inlet) => {
                let length = run.len();
                let places = (0..length).step_by(stride).map(|at| (at, stride.min(length - at)));
                inlet.handle(now, run, places, from);
            }
            None if worker.hands_on(label, run, stride, from) => {}
            None => self.counters.add("hop_unknown_label", packets),
        }
    }

    /// Packets that came as interleaved frames.
    pub(crate) fn handle_frames(
        &self,
        worker: &Worker,
        now: Instant,
        bytes: &mut [u8],
        parts: &[(usize, usize)],
    ) {
        for (offset, length) in parts {
            if let Some(packet) = bytes.get_mut(*offset..offset.saturating_add(*length)) {
                self.handle(worker, now, packet, *length, None);
            }
        }
    }

    /// What the kernel gave to the wrong worker, or came through the connection of another one.
    fn hand_over(
        &self,
        worker: &Worker,
        label: Label,
        run: &[u8],
        stride: usize,
        from: Option<Ends>,
        packets: u64,
    ) {
        self.counters.add("hop_stray", packets);
        let Ok(owner) = worker.shared.worker(label.worker()) else {
            self.counters.add("hop_unknown_label", packets);
            return;
        };
        let mut run = run.to_vec();
        let taken = owner.offer(move |worker| {
            if let Some(port) = worker.hop_port() {
                port.handle(worker, Instant::now(), &mut run, stride, from);
            }
        });
        if !taken {
            self.counters.add("worker_ring", packets);
        }
    }
}

/// The address with a port that nobody has. The kernel counts a port as free for sockets that share it (`SO_REUSEPORT`) if other sockets
/// of the same user have it that share it, too: two members would get each other's packets. So it is asked by a socket that does not share.
fn free_port(address: SocketAddr) -> io::Result<SocketAddr> {
    std::net::UdpSocket::bind(address)?.local_addr()
}

/// Sees that no other process has the port, unless that has passed it. The kernel would let this one's sockets join, behind the other's, and
/// steer to the other's what is for labels of this one's.
fn alone(shared: &Shared, settings: &PortSettings) -> Result<(), Error> {
    if shared.upgrade.has_socket(&Kind::Mesh) || settings.address.port() == 0 {
        return Ok(());
    }
    let options = SocketOptions { reuse_port: false, ..settings.options.clone() };
    let Err(error) = UdpSocket::bind(settings.address, &options) else { return Ok(()) };
    let error = match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process has it, whose sessions may be ending: wait for its end, or take it over by `upgrade.socket` \
             with the same `address`, `ports` and `interface`",
        ),
        _ => error,
    };
    Err(Error::socket(format!("mesh port {}/udp", settings.address), error))
}

async fn receive(worker: Weak<Worker>, port: Rc<HopPort>) {
    let Some(shared) = worker.upgrade().map(|worker| Arc::clone(&worker.shared)) else { return };
    shared.upgrade.mine().await;
    drop(shared);
    loop {
        let Some(strong) = worker.upgrade() else { return };
        let outcome = port
            .socket
            .receive(&strong.buffers, |received| {
                // Where it came to is where its answers leave from, of several addresses.
                let local = received.dst_ip.filter(|_| port.has_any_address());
                let from = Ends { remote: canonical(received.source), local };
                port.handle(&strong, Instant::now(), received.bytes, received.stride, Some(from));
            })
            .await;
        if let Err(error) = outcome {
            strong.count_receive_error(&error);
            tokio::time::sleep(RETRY).await;
        }
        strong.observe_drops(&port.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_port_that_others_share_is_not_free() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let shared = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
            socket.set_only_v6(false).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&any.into()).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            (socket, port)
        };
        // One in a hundred ports; a socket that shares would hit one of them with near certainty.
        let taken: Vec<_> = (0..300).map(|_| shared()).collect();
        for _ in 0..1000 {
            let port = free_port(any).unwrap().port();
            assert!(taken.iter().all(|(_, own)| *own != port), "{port}");
        }
    }
}
