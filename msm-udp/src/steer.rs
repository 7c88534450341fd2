//! Steering of datagrams among the sockets that share a port.

use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd};

/// A classic BPF program over the UDP payload. It yields the worker that a datagram's label names: the top eight bits of the
/// SSRC, which RTP has at offset 8 and RTCP (second byte 192 to 223, `RFC 5761 §4`) at offset 4. What is too short yields 0.
const PROGRAM: [libc::sock_filter; 7] = [
    op(LOAD_BYTE, 0, 0, 1),
    op(JUMP_IF_AT_LEAST, 0, 3, 192),
    op(JUMP_IF_ABOVE, 2, 0, 223),
    op(LOAD_BYTE, 0, 0, 4),
    op(RETURN_A, 0, 0, 0),
    op(LOAD_BYTE, 0, 0, 8),
    op(RETURN_A, 0, 0, 0),
];

/// `BPF_LD | BPF_B | BPF_ABS`
const LOAD_BYTE: u16 = 0x30;
/// `BPF_JMP | BPF_JGE | BPF_K`
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JGT | BPF_K`
const JUMP_IF_ABOVE: u16 = 0x25;
/// `BPF_RET | BPF_A`
const RETURN_A: u16 = 0x16;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Lets the kernel pick the socket of a port by the worker that a datagram's label names, 0 being the first that was bound.
/// Call it on one socket of the group, all of which have `SO_REUSEPORT`. Where there is no such socket, the kernel picks
/// one by the addresses, as it does without this. Needs no privilege.
///
/// # Errors
///
/// The kernel's: `EINVAL` if the socket has no `SO_REUSEPORT`.
pub fn steer_by_label(socket: &impl AsFd) -> io::Result<()> {
    let mut program = PROGRAM;
    let filter = libc::sock_fprog { len: PROGRAM.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    const _: () = assert!(size_of::<libc::sock_filter>() == 8);
    // SAFETY: the pointer and length are those of `filter`, whose own pointer and length are those of `program`; both are
    // alive until the call returns, and the kernel copies the program.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Protocol, Socket, Type};
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    fn bound(address: SocketAddr) -> UdpSocket {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.into()
    }

    #[test]
    fn each_worker_gets_what_its_labels_name() {
        let first = bound("127.0.0.1:0".parse().unwrap());
        let address = first.local_addr().unwrap();
        let sockets = [first, bound(address), bound(address)];
        steer_by_label(&sockets[0]).unwrap();
        let mut buffer = [0; 64];
        // Senders of several ports: without the program their addresses would decide.
        for _ in 0..8 {
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            for worker in 0..3u8 {
                let rtp = [0x80, 0xe0, 0, 1, 0, 0, 0, 2, worker, 9, 9, 9, 1];
                let rtcp = [0x80, 201, 0, 1, worker, 8, 8, 8];
                for packet in [&rtp[..], &rtcp[..]] {
                    sender.send_to(packet, address).unwrap();
                    let length = sockets[usize::from(worker)].recv(&mut buffer).unwrap();
                    assert_eq!(&buffer[..length], packet);
                }
            }
        }
        // Too short for a label, and for no worker that there is: somebody gets it.
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&[0x80, 96], address).unwrap();
        assert_eq!(sockets[0].recv(&mut buffer).unwrap(), 2);
    }
}
