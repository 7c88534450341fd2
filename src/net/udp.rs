//! A UDP socket of a worker: readiness by tokio, batched receive and GSO send by `msm-udp`.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use msm_udp::{Received, RecvBuffers, SendQueue, Transmit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a socket is opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketOptions {
    /// Several workers bind the same port; the kernel spreads flows over them.
    pub(crate) reuse_port: bool,
    /// Device to bind to (`SO_BINDTODEVICE`).
    pub(crate) interface: Option<String>,
    /// Nothing is ever fragmented: whoever sends finds out what the path takes (`RFC 8899`).
    pub(crate) probes_mtu: bool,
    /// Differentiated services code point, 0 to 63.
    pub(crate) dscp: Option<u8>,
    /// Asked of the kernel, which may give less: see [`super::limits`].
    pub(crate) buffer_bytes: usize,
}

/// A non-blocking UDP socket on a worker's runtime.
pub(crate) struct UdpSocket {
    socket: Rc<msm_udp::Socket>,
    /// None while another process reads it: the runtime is not to be woken up for what comes.
    io: RefCell<Option<Rc<AsyncFd<Readable>>>>,
    local: SocketAddr,
    known_drops: Cell<u64>,
}

struct Readable(Rc<msm_udp::Socket>);

impl AsRawFd for Readable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl UdpSocket {
    /// Opens and binds a socket. `address` may have port 0.
    pub(crate) fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let SocketAddr::V6(v6) = address {
            // `[::]` serves IPv4 readers too, as mapped addresses.
            socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        prepare(&socket, options)?;
        socket.bind(&address.into())?;
        Self::adopt(socket, options)
    }

    /// Lets others join at its port, which was bound without: so it was free, and nobody else had it in between.
    pub(crate) fn share(&self) -> io::Result<()> {
        SockRef::from(self.socket.as_ref()).set_reuse_port(true)
    }

    /// Takes a bound socket.
    pub(crate) fn adopt(socket: Socket, options: &SocketOptions) -> io::Result<Self> {
        let socket: std::net::UdpSocket = socket.into();
        let local = socket.local_addr()?;
        let socket = msm_udp::Socket::new(socket)?;
        if !options.probes_mtu {
            socket.allow_fragmentation()?;
        }
        if let Some(dscp) = options.dscp {
            socket.set_dscp(dscp)?;
        }
        let own = Self { socket: Rc::new(socket), io: RefCell::new(None), local, known_drops: Cell::new(0) };
        own.hear()?;
        Ok(own)
    }

    /// Takes a socket that another process has passed, if it is of this address, which may have port 0.
    pub(crate) fn inherit(socket: OwnedFd, address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let local = socket.local_addr()?.as_socket();
        let is_it = |local: SocketAddr| {
            local.ip() == address.ip() && (address.port() == 0 || local.port() == address.port())
        };
        if socket.r#type()? != Type::DGRAM || !local.is_some_and(is_it) {
            let what = format!("was passed a socket at {local:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let own = Self::adopt(socket, options)?;
        if options.dscp.is_none() {
            // It may have had one.
            own.socket.set_dscp(0)?;
        }
        // What was dropped before has been counted there.
        own.known_drops.set(own.socket.refresh_drops());
        Ok(own)
    }

    /// Another descriptor of it.
    pub(crate) fn copy(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Is for sending alone from now on. Nobody may be receiving.
    pub(crate) fn deafen(&self) {
        self.io.borrow_mut().take();
    }

    /// Receives, too.
    pub(crate) fn hear(&self) -> io::Result<()> {
        if self.io.borrow().is_some() {
            return Ok(());
        }
        let socket = Readable(Rc::clone(&self.socket));
        // Sending never waits: to be told of room would wake the worker once more after each burst that it sent.
        #[expect(
            deprecated,
            reason = "its successor is unsafe; msm_udp::Socket keeps its descriptor until it is dropped"
        )]
        let io = AsyncFd::with_interest(socket, Interest::READABLE)?;
        *self.io.borrow_mut() = Some(Rc::new(io));
        Ok(())
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Packets that the kernel dropped at this socket since the last call (`SO_RXQ_OVFL`).
    pub(crate) fn fresh_drops(&self) -> u64 {
        let drops = self.socket.drops();
        drops.saturating_sub(self.known_drops.replace(drops))
    }

    /// Waits until the socket is readable, receives once, and calls `each` for every run of packets.
    ///
    /// One `recvmmsg` a wake-up: a batch that is not full means that the queue was drained, so readiness is cleared
    /// without asking the kernel again. Cancel safe: nothing is received before the wait ends.
    pub(crate) async fn receive(
        &self,
        buffers: &RefCell<RecvBuffers>,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<()> {
        let Some(io) = self.io.borrow().clone() else { return std::future::pending().await };
        let mut guard = io.readable().await?;
        let mut buffers = buffers.borrow_mut();
        match self.socket.recv(&mut buffers) {
            Ok(count) => {
                if count < buffers.slots() {
                    guard.clear_ready();
                }
                for index in 0..count {
                    if let Some(received) = buffers.get_mut(index) {
                        each(received);
                    }
                }
                Ok(())
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock {
                    guard.clear_ready();
                    return Ok(());
                }
                Err(error)
            }
        }
    }

    /// Lets the kernel pick the worker's socket by label: see [`msm_udp::steer_by_label`].
    pub(crate) fn steer_by_label(&self) -> io::Result<()> {
        msm_udp::steer_by_label(&*self.socket)
    }

    /// Sends now or fails: never waits, never swallows an error.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.send(transmit)
    }

    /// Makes all sends that wait: see [`msm_udp::Socket::send_queue`].
    pub(crate) fn send_queue(
        &self,
        queue: &mut SendQueue,
        failed: &mut dyn FnMut(usize, &Transmit<'_>, io::Error),
    ) {
        self.socket.send_queue(queue, failed);
    }
}

/// Applies the options that every media socket has.
pub(crate) fn prepare(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if options.buffer_bytes > 0 {
        // Best effort: the kernel caps both at rmem_max and wmem_max, which the start-up check reports.
        let _ = socket.set_recv_buffer_size(options.buffer_bytes);
        let _ = socket.set_send_buffer_size(options.buffer_bytes);
    }
    Ok(())
}

/// Sets the DSCP of a TCP socket.
pub(crate) fn set_dscp(socket: &SockRef<'_>, v6: bool, dscp: u8) -> io::Result<()> {
    let tos = u32::from(dscp & 0x3f) << 2;
    if v6 { socket.set_tclass_v6(tos) } else { socket.set_tos_v4(tos) }
}

/// An address as people write it: a mapped IPv4 address as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_passed_is_what_it_is_said_to_be() {
        let options = SocketOptions::default();
        let own = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = own();
        let address = socket.local_addr().unwrap();
        let passed = UdpSocket::inherit(socket.into(), address, &options).unwrap();
        assert_eq!(passed.local_addr(), address);
        assert!(UdpSocket::inherit(own().into(), any, &options).is_ok());
        let refused = |socket: OwnedFd, address| {
            let error = UdpSocket::inherit(socket, address, &options).map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        };
        refused(own().into(), address);
        refused(own().into(), SocketAddr::from(([127, 0, 0, 2], 0)));
        refused(std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(), any);
        refused(std::os::unix::net::UnixDatagram::unbound().unwrap().into(), any);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(UdpSocket::inherit(file.into(), any, &options).is_err());
    }
}
