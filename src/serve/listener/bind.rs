//! The sockets of a listener: bound, or passed by another process.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

use super::{ListenerShared, Listening};
use crate::error::Error;
use crate::net::pair::Pair;
use crate::net::udp::{SocketOptions, UdpSocket, set_dscp};
use crate::upgrade::Kind;
use crate::worker::Worker;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A worker's sockets of a listener, at which nobody is let in yet.
pub(crate) struct Bound {
    pub(super) shared: Arc<ListenerShared>,
    pub(super) tcp: TcpListener,
    pub(super) readers: Pair,
}

/// Binds a worker's sockets of a listener, or takes those that another process has passed.
///
/// # Errors
/// [`Error::Socket`] that names the listener and the key to change.
pub(crate) fn bind_all(worker: &Worker, shared: Arc<ListenerShared>) -> Result<Bound, Error> {
    let name = shared.settings.name.clone();
    let tcp = bind_tcp(worker, &shared)?;
    let readers = match passed(worker, &shared, |listener| Kind::Rtp { listener }) {
        Some(socket) => inherit_readers(worker, &shared, socket),
        None => bind_readers(worker, &shared),
    };
    let readers = readers.map_err(|error| {
        let port = shared.settings.reader_port;
        Error::socket(format!("listener `{name}`: ports {port}/udp and the one above (key `ports`)"), error)
    })?;
    Ok(Bound { shared, tcp, readers })
}

/// The one that accepts.
///
/// # Errors
/// As of [`bind_all`].
pub(super) fn bind_tcp(worker: &Worker, shared: &ListenerShared) -> Result<TcpListener, Error> {
    let tcp = match passed(worker, shared, |listener| Kind::Tcp { listener }) {
        Some(socket) => inherit(shared, socket),
        None => bind(worker, shared),
    };
    let name = &shared.settings.name;
    tcp.map_err(|error| Error::socket(format!("listener `{name}`: address {}/tcp", shared.address()), error))
}

/// A socket of the listener that another process has passed for this worker.
fn passed(worker: &Worker, shared: &ListenerShared, kind: impl Fn(usize) -> Kind) -> Option<OwnedFd> {
    let upgrade = &worker.shared.upgrade;
    upgrade.socket(&kind(upgrade.theirs(shared.id)?), worker.id)
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

/// Whether a place of a listener is still to be found free. The sockets of all workers share its port, and would share it with those of another
/// process as well, so that each would get a part of what comes. What this process has there itself may be leaving, and what another one has that
/// hands over to this one goes.
fn is_to_be_free(worker: &Worker, is_there: impl Fn(&Listening) -> bool) -> bool {
    let is_own = || worker.all_listening().iter().any(|own| is_there(own));
    worker.id == 0 && !worker.shared.upgrade.takes_over() && !is_own()
}

fn bind(worker: &Worker, shared: &ListenerShared) -> io::Result<TcpListener> {
    let port = shared.address().port();
    if port != 0 && is_to_be_free(worker, |own| own.shared().address().port() == port) {
        open(shared, false)?;
    }
    let socket = open(shared, true)?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    shared.bound.store(listener.local_addr()?.port(), Ordering::Release);
    Ok(listener)
}

/// A socket at the listener's address, beside others or not.
fn open(shared: &ListenerShared, beside: bool) -> io::Result<Socket> {
    let address = shared.address();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(beside)?;
    socket.set_nonblocking(true)?;
    if let Some(interface) = &shared.settings.options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(dscp) = shared.settings.options.dscp {
        set_dscp(&SockRef::from(&socket), address.is_ipv6(), dscp)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
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
    set_dscp(&own, expected.is_ipv6(), shared.settings.options.dscp.unwrap_or(0))?;
    let listener = TcpListener::from_std(std::net::TcpListener::from(socket))?;
    shared.bound.store(listener.local_addr()?.port(), Ordering::Release);
    Ok(listener)
}

/// The same of the pair, whose other half belongs to its first.
fn inherit_readers(worker: &Worker, shared: &ListenerShared, rtp: OwnedFd) -> io::Result<Pair> {
    let rtcp = passed(worker, shared, |listener| Kind::Rtcp { listener }).ok_or(io::ErrorKind::NotFound)?;
    let options = SocketOptions { reuse_port: true, ..shared.settings.options.clone() };
    let ip = shared.settings.address.ip();
    let rtp = UdpSocket::inherit(rtp, SocketAddr::new(ip, shared.settings.reader_port), &options)?;
    let next = rtp.local_addr().port().checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
    let rtcp = UdpSocket::inherit(rtcp, SocketAddr::new(ip, next), &options)?;
    let pair = Pair { rtp: Rc::new(rtp), rtcp: Rc::new(rtcp) };
    shared.bound_pair.store(pair.ports().0, Ordering::Release);
    Ok(pair)
}

fn bind_readers(worker: &Worker, shared: &ListenerShared) -> io::Result<Pair> {
    let alone = &shared.settings.options;
    let ip = shared.settings.address.ip();
    let pair = match shared.bound_pair.load(Ordering::Acquire) {
        0 => shared.ports.bind(ip, alone)?.shared()?,
        port if is_to_be_free(worker, |own| own.readers.ports().0 == port) => {
            Pair::bind(ip, port, alone)?.shared()?
        }
        port => Pair::bind(ip, port, &SocketOptions { reuse_port: true, ..alone.clone() })?,
    };
    shared.bound_pair.store(pair.ports().0, Ordering::Release);
    Ok(pair)
}
