//! `sendto` and `sendmsg`.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::address::{self, NAME_BYTES};
use crate::control::{Ecn, SendControl};

/// Datagrams to send to one destination.
#[derive(Debug, Clone, Copy)]
pub struct Transmit<'a> {
    /// Where to. IPv4 works on a dual-stack socket too.
    pub destination: SocketAddr,
    /// The payload of one datagram, or of several, one after the other.
    pub contents: &'a [u8],
    /// Bytes of each datagram but the last, which may be shorter; `None`: `contents` is one datagram. At most
    /// [`Socket::max_gso_segments`](crate::Socket::max_gso_segments) datagrams and 65,507 bytes a call.
    pub segment_size: Option<usize>,
    /// Congestion notification; `None` sends what the socket is set to (Not-ECT, unless changed).
    pub ecn: Option<Ecn>,
    /// The address to send from, where the socket is bound to more than one.
    pub src_ip: Option<IpAddr>,
}

/// One `sendmsg`, or `sendto` where it has nothing more to say. `dscp` is in the upper six bits of its octet.
pub(crate) fn send(fd: BorrowedFd<'_>, v6_socket: bool, dscp: u8, transmit: &Transmit<'_>) -> io::Result<()> {
    let mut name = [0; NAME_BYTES];
    let name_length = address::encode(transmit.destination, v6_socket, &mut name);

    let mut control = SendControl::new();
    let segment_size = transmit.segment_size.filter(|size| *size < transmit.contents.len());
    prepare(&mut control, segment_size, transmit.src_ip)?;
    if let Some(ecn) = transmit.ecn {
        match transmit.destination.ip().to_canonical() {
            IpAddr::V4(_) => control.push_tos(dscp | ecn.bits()),
            IpAddr::V6(_) => control.push_traffic_class(dscp | ecn.bits()),
        }
    }
    let control = control.as_mut_slice();
    if control.is_empty() {
        // The kernel copies no message header: a tenth less time in the call.
        return retry(|| {
            // SAFETY: `name` and `contents` are alive until the call returns, with their true lengths; sendto only reads
            // them.
            unsafe {
                libc::sendto(
                    fd.as_raw_fd(),
                    transmit.contents.as_ptr().cast(),
                    transmit.contents.len(),
                    FLAGS,
                    name.as_ptr().cast(),
                    name_length as libc::socklen_t,
                )
            }
        });
    }

    let mut vector = libc::iovec {
        iov_base: transmit.contents.as_ptr().cast_mut().cast(),
        iov_len: transmit.contents.len(),
    };
    // SAFETY: msghdr is plain data; all zeroes is a valid value of it.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name_length as libc::socklen_t;
    header.msg_iov = &mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len() as _;
    // SAFETY: the header points to name, control data and one iovec over `contents`, all alive until the call returns,
    // with their true lengths; sendmsg only reads them.
    retry(|| unsafe { libc::sendmsg(fd.as_raw_fd(), &header, FLAGS) })
}

/// Writes what a send says besides its destination.
pub(crate) fn prepare(
    control: &mut SendControl,
    segment_size: Option<usize>,
    source: Option<IpAddr>,
) -> io::Result<()> {
    if let Some(size) = segment_size {
        let size = u16::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
        control.push_segment_size(size);
    }
    if let Some(source) = source {
        control.push_source(source);
    }
    Ok(())
}

/// Never waits, and a peer that is gone is an error, not a signal.
pub(crate) const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Calls again what a signal interrupted.
fn retry(call: impl Fn() -> libc::ssize_t) -> io::Result<()> {
    loop {
        if call() >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
