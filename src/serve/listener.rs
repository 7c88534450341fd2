//! Accepting connections: one socket per worker on the same port, so that the kernel spreads them.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Instant;

use msm_rtsp::auth::users::Users;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::hub::receive::{Receiving, receive_readers};
use crate::net::pair::{Pair, PairRange};
use crate::net::tls::pem::ServerTls;
use crate::net::udp::{SocketOptions, UdpSocket, canonical, set_dscp};
use crate::serve::connection;
use crate::serve::multicast::GroupPool;
use crate::upgrade::{Kind, ListenerKey, PassedListener};
use crate::watched::{Refresh, Watched};
use crate::worker::Worker;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listener as configured.
#[derive(Clone)]
pub(crate) struct ListenerSettings {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) options: SocketOptions,
    /// RTP port of the pair that plain readers see; 0 takes any even one.
    pub(crate) reader_port: u16,
    /// A reader's or publisher's packets may come from any port of its address.
    pub(crate) same_ip: bool,
    pub(crate) multicast: Option<MulticastSettings>,
    /// Connections speak TLS by this.
    pub(crate) tls: Option<Arc<Watched<ServerTls>>>,
    /// Tracks are described as SRTP.
    pub(crate) srtp: bool,
    /// Other members of the mesh come in, by this.
    pub(crate) member: Option<Arc<rustls::ServerConfig>>,
    /// Only these may do more than ask for options.
    pub(crate) users: Option<Arc<Watched<Users>>>,
}

/// Where multicast readers of a listener are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MulticastSettings {
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
    /// RTP ports to take from, an even and an odd one a track.
    pub(crate) first_port: u16,
    pub(crate) last_port: u16,
    pub(crate) ttl: u8,
}

/// What the workers of a listener share.
pub(crate) struct ListenerShared {
    /// Names it on all workers as long as it is there, whatever its settings; never given to another one.
    pub(crate) id: usize,
    pub(crate) settings: ListenerSettings,
    /// Pairs for publishers, and for readers whose packets may come from another port than they named.
    pub(crate) ports: Arc<PairRange>,
    pub(crate) groups: Option<Arc<GroupPool>>,
    bound: AtomicU16,
    bound_pair: AtomicU16,
}

impl ListenerShared {
    pub(crate) fn new(settings: ListenerSettings) -> Arc<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            ports: Arc::new(PairRange::ephemeral()),
            groups: settings.multicast.as_ref().map(|groups| Arc::new(GroupPool::new(groups))),
            bound: AtomicU16::new(settings.address.port()),
            bound_pair: AtomicU16::new(settings.reader_port),
            settings,
        })
    }

    /// The same listener at the same sockets, with other settings.
    pub(crate) fn with(&self, settings: ListenerSettings) -> Arc<Self> {
        let groups = if settings.multicast == self.settings.multicast {
            self.groups.clone()
        } else {
            settings.multicast.as_ref().map(|groups| Arc::new(GroupPool::new(groups)))
        };
        Arc::new(Self {
            id: self.id,
            ports: Arc::clone(&self.ports),
            groups,
            bound: AtomicU16::new(self.bound.load(Ordering::Acquire)),
            bound_pair: AtomicU16::new(self.bound_pair.load(Ordering::Acquire)),
            settings,
        })
    }

    /// Whether a listener with these settings has the same sockets.
    pub(crate) fn has_sockets_of(&self, settings: &ListenerSettings) -> bool {
        let own = &self.settings;
        own.address == settings.address
            && own.options == settings.options
            && own.reader_port == settings.reader_port
            && own.member.is_some() == settings.member.is_some()
    }

    /// What makes it the same in another process.
    pub(crate) fn key(&self) -> ListenerKey {
        let own = &self.settings;
        ListenerKey {
            address: own.address,
            interface: own.options.interface.clone(),
            dscp: own.options.dscp,
            reader_port: own.reader_port,
            member: own.member.is_some(),
        }
    }

    /// What another process is told of it.
    pub(crate) fn passed(&self) -> PassedListener {
        let groups = self.groups.as_ref().map(|pool| pool.taken()).unwrap_or_default();
        PassedListener { id: self.id, name: self.settings.name.clone(), key: self.key(), groups }
    }

    /// What it has that is made of files.
    pub(crate) fn watched(&self) -> Vec<Arc<dyn Refresh>> {
        let tls = self.settings.tls.iter().map(|tls| Arc::clone(tls) as Arc<dyn Refresh>);
        tls.chain(self.settings.users.iter().map(|users| Arc::clone(users) as Arc<dyn Refresh>)).collect()
    }

    /// The address bound, once a worker has.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.settings.address.ip(), self.bound.load(Ordering::Acquire))
    }
}

/// One worker's part of a listener.
pub(crate) struct Listening {
    /// Its number among the mesh's listeners.
    pub(crate) index: usize,
    shared: RefCell<Arc<ListenerShared>>,
    /// The pair that all plain readers of this worker are served from.
    pub(crate) readers: Pair,
    receiving: RefCell<Option<Receiving>>,
    stopping: Rc<Notify>,
    tcp: RefCell<Option<Rc<TcpListener>>>,
    accepting: RefCell<AbortHandle>,
    /// Since when it takes no new sessions, as it is not in the configuration any more.
    left: Cell<Option<Instant>>,
}

impl Listening {
    /// The listener, with its settings of now.
    pub(crate) fn shared(&self) -> Arc<ListenerShared> {
        Arc::clone(&self.shared.borrow())
    }

    /// It goes on with these settings.
    pub(crate) fn set_shared(&self, shared: Arc<ListenerShared>) {
        *self.shared.borrow_mut() = shared;
    }

    /// Stops to accept; connections that are open go on, those that wait in the kernel are let in.
    pub(crate) fn stop(&self) {
        self.tcp.borrow_mut().take();
        self.stopping.notify_one();
    }

    /// It is not in the configuration any more: its sessions may end by themselves, and no new one begins.
    pub(crate) fn leave(&self, now: Instant) {
        self.left.set(Some(now));
        self.stop();
    }

    /// Since when it is not in the configuration any more.
    pub(crate) fn left(&self) -> Option<Instant> {
        self.left.get()
    }

    /// The sockets, for another process; none once it accepts nobody.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(Kind, OwnedFd)>> {
        let Some(tcp) = self.tcp.borrow().clone() else { return Ok(Vec::new()) };
        let listener = self.index;
        Ok(vec![
            (Kind::Tcp { listener }, tcp.as_fd().try_clone_to_owned()?),
            (Kind::Rtp { listener }, self.readers.rtp.copy()?),
            (Kind::Rtcp { listener }, self.readers.rtcp.copy()?),
        ])
    }

    /// Neither accepts nor reads: what comes waits in the kernel.
    pub(crate) fn pause(&self) {
        self.accepting.borrow().abort();
        self.receiving.borrow_mut().take();
    }

    /// Accepts and reads again.
    pub(crate) fn go_on(self: &Rc<Self>, worker: &Rc<Worker>) -> io::Result<()> {
        self.readers.rtp.hear()?;
        self.readers.rtcp.hear()?;
        *self.receiving.borrow_mut() = Some(receive_readers(worker, &self.readers));
        if let Some(tcp) = self.tcp.borrow().clone() {
            *self.accepting.borrow_mut() = accept_by(worker, Rc::downgrade(self), tcp, &self.stopping);
        }
        Ok(())
    }

    /// Another process accepts and reads; the sockets are for sending here, and in case that it does not any more.
    pub(crate) fn give_away(&self) {
        self.pause();
        self.readers.rtp.deafen();
        self.readers.rtcp.deafen();
    }

    /// Nobody accepts here any more, in neither process.
    pub(crate) fn close(&self) {
        self.accepting.borrow().abort();
        self.tcp.borrow_mut().take();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.borrow().abort();
    }
}

/// A worker's sockets of a listener, at which nobody is let in yet.
pub(crate) struct Bound {
    shared: Arc<ListenerShared>,
    tcp: TcpListener,
    readers: Pair,
}

/// Binds a worker's sockets of a listener, or takes those that another process has passed.
///
/// # Errors
/// [`Error::Socket`] that names the listener and the key to change.
pub(crate) fn bind_all(worker: &Worker, shared: Arc<ListenerShared>) -> Result<Bound, Error> {
    let name = shared.settings.name.clone();
    let tcp = match passed(worker, &shared, |listener| Kind::Tcp { listener }) {
        Some(socket) => inherit(&shared, socket),
        None => bind(&shared),
    };
    let tcp = tcp.map_err(|error| {
        Error::socket(format!("listener `{name}`: address {}/tcp", shared.address()), error)
    })?;
    let readers = match passed(worker, &shared, |listener| Kind::Rtp { listener }) {
        Some(socket) => inherit_readers(worker, &shared, socket),
        None => bind_readers(&shared),
    };
    let readers = readers.map_err(|error| {
        let port = shared.settings.reader_port;
        Error::socket(format!("listener `{name}`: ports {port}/udp and the one above (key `ports`)"), error)
    })?;
    Ok(Bound { shared, tcp, readers })
}

/// A socket of the listener that another process has passed for this worker.
fn passed(worker: &Worker, shared: &ListenerShared, kind: impl Fn(usize) -> Kind) -> Option<OwnedFd> {
    let upgrade = &worker.shared.upgrade;
    upgrade.socket(&kind(upgrade.theirs(shared.id)?), worker.id)
}

/// Starts to accept.
pub(crate) fn listen(worker: &Rc<Worker>, bound: Bound) -> Rc<Listening> {
    let Bound { shared, tcp, readers } = bound;
    let receiving = receive_readers(worker, &readers);
    let (stopping, tcp) = (Rc::new(Notify::new()), Rc::new(tcp));
    Rc::new_cyclic(|weak: &std::rc::Weak<Listening>| Listening {
        index: shared.id,
        shared: RefCell::new(shared),
        readers,
        receiving: RefCell::new(Some(receiving)),
        accepting: RefCell::new(accept_by(worker, weak.clone(), Rc::clone(&tcp), &stopping)),
        tcp: RefCell::new(Some(tcp)),
        stopping,
        left: Cell::new(None),
    })
}

fn accept_by(
    worker: &Rc<Worker>,
    listening: std::rc::Weak<Listening>,
    tcp: Rc<TcpListener>,
    stopping: &Rc<Notify>,
) -> AbortHandle {
    let accepting = accept(Rc::clone(worker), listening, tcp, Rc::clone(stopping));
    tokio::task::spawn_local(accepting).abort_handle()
}

/// An address that this host can bind: where it has no IPv6, `[::]` means all of IPv4.
pub(crate) fn without_v6(mut address: SocketAddr) -> SocketAddr {
    if address.ip() == Ipv6Addr::UNSPECIFIED && !has_v6() {
        address.set_ip(Ipv4Addr::UNSPECIFIED.into());
    }
    address
}

/// Whether the kernel has IPv6 at all; it may be built without, or started with `ipv6.disable=1`.
fn has_v6() -> bool {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))
        .is_ok_and(|socket| socket.bind(&any.into()).is_ok())
}

fn bind(shared: &ListenerShared) -> io::Result<TcpListener> {
    let address = shared.address();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    if let Some(interface) = &shared.settings.options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(dscp) = shared.settings.options.dscp {
        set_dscp(&SockRef::from(&socket), address.is_ipv6(), dscp)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    shared.bound.store(listener.local_addr()?.port(), Ordering::Release);
    Ok(listener)
}

/// Takes a socket that another process has passed, if it is what it is said to be.
fn inherit(shared: &ListenerShared, socket: OwnedFd) -> io::Result<TcpListener> {
    let own = SockRef::from(&socket);
    let address = own.local_addr()?.as_socket();
    let expected = shared.settings.address;
    let is_it = own.is_listener()?
        && address.is_some_and(|own| {
            own.ip() == expected.ip() && (expected.port() == 0 || own.port() == expected.port())
        });
    if !is_it {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("was passed a socket at {address:?}"),
        ));
    }
    own.set_nonblocking(true)?;
    let listener = TcpListener::from_std(std::net::TcpListener::from(socket))?;
    shared.bound.store(listener.local_addr()?.port(), Ordering::Release);
    Ok(listener)
}

/// The same of the pair, whose other half belongs to its first.
fn inherit_readers(worker: &Worker, shared: &ListenerShared, rtp: OwnedFd) -> io::Result<Pair> {
    let rtcp = passed(worker, shared, |listener| Kind::Rtcp { listener }).ok_or(io::ErrorKind::NotFound)?;
    let options = SocketOptions { reuse_port: true, ..shared.settings.options.clone() };
    let ip = shared.settings.address.ip();
    let (rtp, rtcp) = (UdpSocket::inherit(rtp, ip, &options)?, UdpSocket::inherit(rtcp, ip, &options)?);
    let pair = Pair { rtp: Rc::new(rtp), rtcp: Rc::new(rtcp) };
    shared.bound_pair.store(pair.ports().0, Ordering::Release);
    Ok(pair)
}

fn bind_readers(shared: &ListenerShared) -> io::Result<Pair> {
    let options = SocketOptions { reuse_port: true, ..shared.settings.options.clone() };
    let ip = shared.settings.address.ip();
    let port = shared.bound_pair.load(Ordering::Acquire);
    let pair = if port == 0 { shared.ports.bind(ip, &options)? } else { Pair::bind(ip, port, &options)? };
    shared.bound_pair.store(pair.ports().0, Ordering::Release);
    Ok(pair)
}

async fn accept(
    worker: Rc<Worker>,
    listening: std::rc::Weak<Listening>,
    tcp: Rc<TcpListener>,
    stopping: Rc<Notify>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted,
            () = stopping.notified() => break,
        };
        match accepted {
            Ok((stream, peer)) => let_in(&worker, &listening, stream, peer),
            Err(error) => {
                // Out of files or of memory: let what is there go on, and try again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    // The kernel has taken them: closing the socket would reset them.
    let Some(Ok(tcp)) = Rc::into_inner(tcp).map(TcpListener::into_std) else { return };
    while let Ok((stream, peer)) = tcp.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            let_in(&worker, &listening, stream, peer);
        }
    }
}

fn let_in(worker: &Rc<Worker>, listening: &std::rc::Weak<Listening>, stream: TcpStream, peer: SocketAddr) {
    let Some(listening) = listening.upgrade() else { return };
    let peer = canonical(peer);
    let Some(pass) = worker.shared.admission.connection(peer.ip()) else {
        worker.shared.metrics.add_dropped("connection_limit", 1);
        return;
    };
    let _ = stream.set_nodelay(true);
    tokio::task::spawn_local(connection::run(Rc::clone(worker), listening, stream, peer, pass));
}
