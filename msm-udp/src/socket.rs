//! The socket.

use std::io;
use std::mem::size_of_val;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use quinn_udp::UdpSocketState;
use socket2::SockRef;

use crate::buffers::RecvBuffers;
use crate::send::Transmit;
use crate::{recv, send};

/// A non-blocking UDP socket with GRO, GSO, ECN, destination addresses and the kernel's drop counter.
///
/// It implements [`AsRawFd`], so `tokio::io::unix::AsyncFd` takes it. Dropping it closes it.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    pub(crate) v6: bool,
    gro_segments: usize,
    /// 1 once the way out turned out not to support GSO.
    gso_segments: AtomicUsize,
    /// Upper six bits of the TOS or traffic class octet.
    dscp: AtomicU8,
    /// [`Socket::allow_fragmentation`] was called, and no datagram was too large so far.
    may_fragment: AtomicBool,
    drops: AtomicU64,
}

impl Socket {
    /// Takes a bound socket and sets it to non-blocking, with GRO, reception of ECN and destination addresses,
    /// no IP fragmentation, and the drop counter.
    ///
    /// # Errors
    ///
    /// The kernel refused an option that is needed: all of them exist since Linux 3.13, but GRO (5.0) and GSO
    /// (4.18), which are not needed: see [`gro_segments`](Self::gro_segments), [`max_gso_segments`](Self::max_gso_segments).
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        let v6 = socket.local_addr()?.is_ipv6();
        Ok(Self {
            v6,
            gro_segments: state.gro_segments(),
            gso_segments: AtomicUsize::new(state.max_gso_segments()),
            dscp: AtomicU8::new(0),
            may_fragment: AtomicBool::new(false),
            drops: AtomicU64::new(0),
            socket,
        })
    }

    /// Receives with one `recvmmsg` into as many slots as there are datagrams (or GRO runs) waiting; returns how
    /// many slots were filled.
    ///
    /// Fewer than [`RecvBuffers::slots`] means that the queue was found empty: the readiness of an async runtime
    /// can be cleared then, without another call to learn it. (A datagram that arrives in between raises a new
    /// edge.)
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing waits. A connected socket also reports ICMP errors here,
    /// as [`ConnectionRefused`](io::ErrorKind::ConnectionRefused). After an error no slot is filled.
    pub fn recv(&self, buffers: &mut RecvBuffers) -> io::Result<usize> {
        if let Some(drops) = recv::recv(self.socket.as_fd(), buffers)? {
            self.saw_drops(drops);
        }
        Ok(buffers.len())
    }

    /// Sends with one `sendmsg`; all datagrams leave, or none and an error comes back.
    ///
    /// If the way out can't do GSO (the driver has no checksum offload: `EIO`), the datagrams leave one by one, now
    /// and in later calls; then an error may come after some of them have left.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the send buffer is full. Everything else that the kernel reports,
    /// unfiltered: `EMSGSIZE` for a datagram above the MTU, `ECONNREFUSED`, `ENETUNREACH`, `EPERM` by a
    /// firewall, `EINVAL` for port 0 or more segments than the kernel takes (128 since Linux 6.9, 64 before). [`InvalidInput`](io::ErrorKind::InvalidInput) for a
    /// segment size of 0.
    pub fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let fd = self.socket.as_fd();
        let dscp = self.dscp.load(Relaxed);
        let Some(size) = transmit.segment_size.filter(|size| *size < transmit.contents.len()) else {
            return self.send_one(transmit);
        };
        if size == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "segment size is 0"));
        }
        if self.gso_segments.load(Relaxed) > 1 {
            match send::send(fd, self.v6, dscp, transmit) {
                Err(error) if error.raw_os_error() == Some(libc::EIO) => self.gso_segments.store(1, Relaxed),
                result => return result,
            }
        }
        transmit
            .contents
            .chunks(size)
            .try_for_each(|contents| self.send_one(&Transmit { contents, segment_size: None, ..*transmit }))
    }

    /// Sends one datagram; the first that is too large for its path turns fragmentation on, where that is allowed.
    fn send_one(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = || send::send(self.socket.as_fd(), self.v6, self.dscp.load(Relaxed), transmit);
        match send() {
            Err(error)
                if error.raw_os_error() == Some(libc::EMSGSIZE) && self.may_fragment.swap(false, Relaxed) =>
            {
                self.discover_mtu(libc::IP_PMTUDISC_WANT)?;
                send()
            }
            result => result,
        }
    }

    /// The most datagrams that one [`send`](Self::send) takes; 1 if GSO is not available.
    pub fn max_gso_segments(&self) -> usize {
        self.gso_segments.load(Relaxed)
    }

    /// The most datagrams that one slot can receive; 1 if GRO is not available.
    pub fn gro_segments(&self) -> usize {
        self.gro_segments
    }

    /// Datagrams the kernel dropped at this socket since it was opened, mostly because its buffer was full, as the
    /// last received datagram told: drops after it show with the next one, or by
    /// [`refresh_drops`](Self::refresh_drops).
    pub fn drops(&self) -> u64 {
        self.drops.load(Relaxed)
    }

    /// Asks the kernel for the drop counter (one system call) and returns the new [`drops`](Self::drops).
    pub fn refresh_drops(&self) -> u64 {
        if let Some(drops) = kernel_drops(self.socket.as_fd()) {
            self.saw_drops(drops);
        }
        self.drops()
    }

    /// Marks what is sent from now on with a DSCP (RFC 2474), 0 to 63.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) above 63, or the kernel's error.
    pub fn set_dscp(&self, dscp: u8) -> io::Result<()> {
        let octet = dscp << 2;
        if dscp > 63 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a DSCP has 6 bits: 0 to 63"));
        }
        if self.v6 {
            set_option(self.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_TCLASS, i32::from(octet))?;
        }
        // Also on an IPv6 socket: what a dual-stack one sends to IPv4 is marked by this one.
        set_option(self.as_fd(), libc::IPPROTO_IP, libc::IP_TOS, i32::from(octet))?;
        self.dscp.store(octet, Relaxed);
        Ok(())
    }

    /// Lets IP fragment a datagram that is larger than the path's MTU, as it does by default for UDP. Plain peers
    /// may send packets up to the last byte of their own MTU, and dropping those is worse than fragments.
    ///
    /// Until the first such datagram, IPv4 datagrams leave with DF set: the kernel then needs no identification for
    /// each, which is a good part of what a send costs.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn allow_fragmentation(&self) -> io::Result<()> {
        if self.v6 {
            set_option(self.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)?;
        }
        // Not PROBE: the path's MTU, as ICMP told it, is to count.
        self.discover_mtu(libc::IP_PMTUDISC_DO)?;
        self.may_fragment.store(true, Relaxed);
        Ok(())
    }

    fn discover_mtu(&self, how: i32) -> io::Result<()> {
        set_option(self.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, how)
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The options of the socket: buffer sizes, multicast membership.
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    /// Takes a value of the kernel's 32-bit counter, which wraps.
    fn saw_drops(&self, value: u32) {
        let known = self.drops.load(Relaxed);
        let more = value.wrapping_sub(known as u32);
        // A datagram queued before `refresh_drops` carries an older count.
        if more < 1 << 31 {
            self.drops.store(known.wrapping_add(u64::from(more)), Relaxed);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and length are those of `value`, which is alive until the call returns.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `SO_MEMINFO`, whose ninth field is the drop counter. Linux 4.6 and later.
fn kernel_drops(fd: BorrowedFd<'_>) -> Option<u32> {
    /// `SK_MEMINFO_VARS` of linux/sock_diag.h.
    const FIELDS: usize = 9;
    let mut fields = [0u32; FIELDS];
    let mut length = size_of_val(&fields) as libc::socklen_t;
    // SAFETY: the pointer and length are those of `fields`; the kernel writes no more than that and updates `length`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            fields.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let complete = length as usize == size_of_val(&fields);
    let [.., drops] = fields;
    (result == 0 && complete).then_some(drops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_counter_wraps_and_never_goes_back() {
        let socket = Socket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        for value in [1 << 30, 2 << 30, 3 << 30, u32::MAX - 1] {
            socket.saw_drops(value);
        }
        socket.saw_drops(3);
        assert_eq!(socket.drops(), (1 << 32) + 3);
        socket.saw_drops(1);
        assert_eq!(socket.drops(), (1 << 32) + 3);
        socket.saw_drops(4);
        assert_eq!(socket.drops(), (1 << 32) + 4);
    }

    #[test]
    fn without_gso_segments_leave_one_by_one() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = Socket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        from.gso_segments.store(1, Relaxed);
        let transmit = Transmit {
            destination: to.local_addr().unwrap(),
            contents: b"aaaabbbbcc",
            segment_size: Some(4),
            ecn: None,
            src_ip: None,
        };
        from.send(&transmit).unwrap();
        let mut buffer = [0; 100];
        for expected in ["aaaa", "bbbb", "cc"] {
            let length = to.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }
}
