//! Descriptors that go to another process by a Unix socket (`SCM_RIGHTS`), and who is at its other end.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors of one message; the kernel takes 253.
pub const MAX_DESCRIPTORS: usize = 64;

/// Bytes of a control message with as many.
const CONTROL_BYTES: usize = HEADER + MAX_DESCRIPTORS * size_of::<RawFd>();
/// `CMSG_LEN(0)`.
const HEADER: usize = size_of::<usize>() + 8;

#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Who is at the other end of a Unix socket, as the kernel knows it from when it was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process; 0 where this one cannot see it, from another namespace.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// Sends one message with descriptors, without waiting. The other process gets descriptors of the same open files.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room for it; [`InvalidInput`](io::ErrorKind::InvalidInput) for more than
/// [`MAX_DESCRIPTORS`], or descriptors without a byte to go with; the kernel's, such as `EPIPE` or `EMSGSIZE`.
pub fn send_descriptors(
    socket: &impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS || (bytes.is_empty() && !descriptors.is_empty()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors, or no byte with them",
        ));
    }
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: msghdr is plain data; all zeroes is a valid value of it.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let length = write(&mut control, descriptors);
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = length as _;
    }
    loop {
        // SAFETY: the header points to one iovec over `bytes`, which the kernel only reads, and to `control`, with their true
        // lengths; all are alive until the call returns.
        let sent = unsafe {
            libc::sendmsg(
                socket.as_fd().as_raw_fd(),
                &raw const message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Receives one message, without waiting, and owns the descriptors that came with it, which are closed on `exec`. Returns the length
/// of the message; 0 when the other end is closed.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing waits; [`InvalidData`](io::ErrorKind::InvalidData) for a message that is longer
/// than `bytes`, or with more than [`MAX_DESCRIPTORS`]: what came of them is closed. The kernel's.
pub fn recv_descriptors(
    socket: &impl AsFd,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: msghdr is plain data; all zeroes is a valid value of it.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES as _;
    let received = loop {
        // SAFETY: the header points to one iovec over `bytes` and to `control`, with their true lengths; both are alive and not
        // otherwise borrowed until the call returns.
        let received = unsafe {
            libc::recvmsg(
                socket.as_fd().as_raw_fd(),
                &raw mut message,
                libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
            )
        };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    // socklen_t with musl.
    #[allow(clippy::unnecessary_cast)]
    let length = (message.msg_controllen as usize).min(CONTROL_BYTES);
    let own = read(control.0.get(..length).unwrap_or_default());
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the message or its descriptors are too many",
        ));
    }
    descriptors.extend(own);
    Ok(received)
}

/// Who is at the other end of a connected Unix socket (`SO_PEERCRED`).
///
/// # Errors
///
/// [`NotConnected`](io::ErrorKind::NotConnected): nobody is there, or the socket is not of that family. The kernel's.
pub fn peer(socket: &impl AsFd) -> io::Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointer and length are those of `credentials`; the kernel writes no more than that and updates `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // Where nobody is there, the kernel says so by a user that cannot be.
    if credentials.uid == u32::MAX {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(Peer { pid: credentials.pid.unsigned_abs(), uid: credentials.uid })
}

/// The user that this process acts as.
pub fn own_uid() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Writes the one control message; its length.
fn write(control: &mut Control, descriptors: &[BorrowedFd<'_>]) -> usize {
    let length = HEADER + size_of_val(descriptors);
    let fields = [libc::SOL_SOCKET, libc::SCM_RIGHTS].map(i32::to_ne_bytes);
    let header = length.to_ne_bytes().into_iter().chain(fields.into_iter().flatten());
    let numbers = descriptors.iter().flat_map(|own| own.as_raw_fd().to_ne_bytes());
    for (place, byte) in control.0.iter_mut().zip(header.chain(numbers)) {
        *place = byte;
    }
    length
}

/// Takes ownership of all descriptors that the kernel has put into control messages.
fn read(mut control: &[u8]) -> Vec<OwnedFd> {
    let mut own = Vec::new();
    while let Some((length, rest)) = control.split_first_chunk::<{ size_of::<usize>() }>() {
        let length = usize::from_ne_bytes(*length);
        let Some(message) = control.get(..length) else { break };
        let mut fields =
            rest.chunks_exact(4).filter_map(|field| field.try_into().ok().map(i32::from_ne_bytes));
        if (fields.next(), fields.next()) == (Some(libc::SOL_SOCKET), Some(libc::SCM_RIGHTS)) {
            for number in message.get(HEADER..).unwrap_or_default().chunks_exact(size_of::<RawFd>()) {
                let Ok(number) = number.try_into().map(RawFd::from_ne_bytes) else { continue };
                // SAFETY: the kernel has just made this descriptor for this process and told it to nobody else.
                own.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        let Some(next) = length.checked_next_multiple_of(align_of::<usize>()) else { break };
        control = control.get(next.max(HEADER)..).unwrap_or_default();
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::UdpSocket;

    fn joined() -> (Socket, Socket) {
        Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap()
    }

    #[test]
    fn layout_is_the_one_of_libc() {
        // SAFETY: CMSG_LEN is arithmetic.
        assert_eq!(HEADER, unsafe { libc::CMSG_LEN(0) } as usize);
        // SAFETY: CMSG_SPACE is arithmetic.
        assert_eq!(CONTROL_BYTES, unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * 4) as u32) } as usize);
    }

    #[test]
    fn a_descriptor_that_was_passed_is_the_same_socket() {
        let (near, far) = joined();
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = own.local_addr().unwrap();
        own.send_to(b"waits", address).unwrap();
        assert_eq!(send_descriptors(&near, b"hello", &[own.as_fd(), own.as_fd()]).unwrap(), 5);
        drop(own);
        let (mut bytes, mut passed) = ([0; 16], Vec::new());
        assert_eq!(recv_descriptors(&far, &mut bytes, &mut passed).unwrap(), 5);
        assert_eq!((&bytes[..5], passed.len()), (&b"hello"[..], 2));
        let socket = UdpSocket::from(passed.pop().unwrap());
        assert_eq!(socket.local_addr().unwrap(), address);
        assert_eq!(socket.recv(&mut bytes).unwrap(), 5);
        let nothing = recv_descriptors(&far, &mut bytes, &mut passed).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(near);
        assert_eq!(recv_descriptors(&far, &mut bytes, &mut passed).unwrap(), 0);
    }

    #[test]
    fn what_is_too_much_is_refused_and_leaves_nothing_open() {
        let (near, far) = joined();
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        let many = vec![own.as_fd(); MAX_DESCRIPTORS];
        let more = vec![own.as_fd(); MAX_DESCRIPTORS + 1];
        let refused = send_descriptors(&near, b"x", &more).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(send_descriptors(&near, b"", &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        send_descriptors(&near, b"x", &many).unwrap();
        let (mut bytes, mut passed) = ([0; 4], Vec::new());
        recv_descriptors(&far, &mut bytes, &mut passed).unwrap();
        assert_eq!(passed.len(), MAX_DESCRIPTORS);
        passed.clear();
        send_descriptors(&near, b"longer than four", &many).unwrap();
        let refused = recv_descriptors(&far, &mut bytes, &mut passed).unwrap_err();
        assert_eq!((refused.kind(), passed.len()), (io::ErrorKind::InvalidData, 0));
        // Several control messages' worth cannot come from here, but what the kernel cuts off is told, too.
        let lying = [255u8; 24];
        assert!(read(&lying).is_empty() && read(&[]).is_empty());
    }

    #[test]
    fn the_peer_is_this_process() {
        let (near, _far) = joined();
        let expected = Peer { pid: std::process::id(), uid: own_uid() };
        assert_eq!(peer(&near).unwrap(), expected);
        assert!(peer(&UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
    }
}
