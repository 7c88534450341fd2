//! `sendmmsg`: datagrams to several destinations in one call.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use crate::address::{self, NAME_BYTES};
use crate::control::SendControl;
use crate::send::{FLAGS, Transmit, prepare};
use crate::socket::Socket;

/// The most sends that one queue holds: what one call does costs a tenth less than a call each, and more at once gains no more.
pub const MAX_QUEUED: usize = 32;

/// The most bytes that one queue holds, unless a single send has more: they are to be in the cache when the kernel copies them.
pub const MAX_QUEUED_BYTES: usize = 96 * 1024;

/// Sends that wait to be made together, in their order. Nothing is allocated once it has been full.
#[derive(Debug, Default)]
pub struct SendQueue {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// How much of the buffer belongs to entries.
    entered: usize,
}

#[derive(Debug)]
struct Entry {
    place: Range<usize>,
    segment_size: Option<usize>,
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
    name: [u8; NAME_BYTES],
    control: SendControl,
}

impl SendQueue {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether another send of so many bytes may be added. An empty queue takes any.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.entries.is_empty()
            || self.entries.len() < MAX_QUEUED && self.entered.saturating_add(bytes) <= MAX_QUEUED_BYTES
    }

    /// Adds a copy of these datagrams. Their ECN field is the socket's.
    #[inline]
    pub fn push(&mut self, transmit: &Transmit<'_>) {
        self.buffer().extend_from_slice(transmit.contents);
        self.enter(transmit.destination, transmit.segment_size, transmit.src_ip);
    }

    /// The buffer, for datagrams that are made in place: what is appended behind what is there becomes the next send by
    /// [`enter`](Self::enter). What is not to be sent after all is to be taken off again.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Enters what was appended to the [`buffer`](Self::buffer) as one send: see [`Transmit`].
    #[inline]
    pub fn enter(&mut self, destination: SocketAddr, segment_size: Option<usize>, src_ip: Option<IpAddr>) {
        let place = self.entered.min(self.bytes.len())..self.bytes.len();
        self.entered = place.end;
        self.entries.push(Entry {
            place,
            segment_size,
            destination,
            src_ip,
            name: [0; NAME_BYTES],
            control: SendControl::new(),
        });
    }

    fn transmit(&self, index: usize) -> Option<Transmit<'_>> {
        let entry = self.entries.get(index)?;
        Some(Transmit {
            destination: entry.destination,
            contents: self.bytes.get(entry.place.clone())?,
            segment_size: entry.segment_size,
            ecn: None,
            src_ip: entry.src_ip,
        })
    }
}

impl Socket {
    /// Makes the sends that wait, all by one call if none fails, and empties the queue. Calls `failed` for each that failed,
    /// with its number in the queue; the others are made nevertheless.
    pub fn send_queue(&self, queue: &mut SendQueue, failed: &mut dyn FnMut(usize, &Transmit<'_>, io::Error)) {
        let mut next = 0;
        while next < queue.entries.len() {
            let sent = self.send_from(queue, next);
            next += sent;
            if sent == 0 {
                // By itself: that tells its error, and does without what the kernel or the path refuse.
                if let Some(transmit) = queue.transmit(next)
                    && let Err(error) = self.send(&transmit)
                {
                    failed(next, &transmit, error);
                }
                next += 1;
            }
        }
        queue.entries.clear();
        queue.entered = 0;
        queue.bytes.clear();
    }

    /// Makes sends from the `first` on; how many, 0 if that one failed.
    fn send_from(&self, queue: &mut SendQueue, first: usize) -> usize {
        // SAFETY: iovec is plain data; all zeroes is a valid value of it.
        let mut vectors: [libc::iovec; MAX_QUEUED] = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: mmsghdr is plain data; all zeroes is a valid value of it.
        let mut headers: [libc::mmsghdr; MAX_QUEUED] = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut count = 0;
        for ((header, vector), entry) in
            headers.iter_mut().zip(&mut vectors).zip(queue.entries.iter_mut().skip(first))
        {
            let contents = queue.bytes.get(entry.place.clone()).unwrap_or_default();
            let segments = entry.segment_size.map_or(1, |size| contents.len().div_ceil(size.max(1)));
            let segment_size = entry.segment_size.filter(|_| segments > 1);
            entry.control.clear();
            if segments > self.max_gso_segments()
                || prepare(&mut entry.control, segment_size, entry.src_ip).is_err()
            {
                break;
            }
            let name_length = address::encode(entry.destination, self.v6, &mut entry.name);
            vector.iov_base = contents.as_ptr().cast_mut().cast();
            vector.iov_len = contents.len();
            header.msg_hdr.msg_name = entry.name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = name_length as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            let control = entry.control.as_mut_slice();
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.len() as _;
            count += 1;
        }
        loop {
            // SAFETY: the first `count` headers point to a name, control data and an iovec over contents each, all in the
            // queue and alive until the call returns, with their true lengths; sendmmsg reads those, and writes only the
            // headers' own length fields.
            let sent =
                unsafe { libc::sendmmsg(self.as_fd().as_raw_fd(), headers.as_mut_ptr(), count, FLAGS as _) };
            match usize::try_from(sent) {
                Ok(sent) => return sent,
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn receiver() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn sender() -> Socket {
        Socket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
    }

    fn one(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
        Transmit { destination, contents, segment_size: None, ecn: None, src_ip: None }
    }

    fn next(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let length = socket.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn each_destination_gets_its_own_in_order() {
        let (a, to_a) = receiver();
        let (b, to_b) = receiver();
        let socket = sender();
        let mut queue = SendQueue::default();
        for round in 0..3u8 {
            queue.push(&one(to_a, &[round, 1]));
            queue.buffer().extend_from_slice(&[round, 2, 2, 2, 3]);
            queue.enter(to_b, Some(2), None);
            queue.push(&Transmit { src_ip: Some([127, 0, 0, 1].into()), ..one(to_b, &[round, 9]) });
            socket.send_queue(&mut queue, &mut |_, _, error| panic!("{error}"));
            assert!(queue.is_empty());
            assert_eq!(next(&a), [round, 1]);
            let got: Vec<_> = (0..4).map(|_| next(&b)).collect();
            assert_eq!(got, [vec![round, 2], vec![2, 2], vec![3], vec![round, 9]]);
        }
    }

    #[test]
    fn what_fails_is_named_and_holds_nothing_back() {
        let (a, to_a) = receiver();
        let socket = sender();
        let too_large = vec![0; 70_000];
        let mut queue = SendQueue::default();
        queue.push(&one(to_a, b"first"));
        queue.push(&one(to_a, &too_large));
        queue.push(&one("[::1]:9".parse().unwrap(), b"of another family"));
        queue.push(&one(to_a, b"last"));
        let mut failed = Vec::new();
        socket.send_queue(&mut queue, &mut |index, transmit, error| {
            failed.push((index, transmit.contents.len(), error.raw_os_error()));
        });
        assert_eq!(
            failed.iter().map(|(index, length, _)| (*index, *length)).collect::<Vec<_>>(),
            [(1, 70_000), (2, 17)]
        );
        assert_eq!(failed.first().unwrap().2, Some(libc::EMSGSIZE));
        assert_eq!((next(&a), next(&a)), (b"first".to_vec(), b"last".to_vec()));
    }

    #[test]
    fn room_ends_with_either_limit() {
        let (_a, to) = receiver();
        let mut queue = SendQueue::default();
        assert!(queue.has_room(MAX_QUEUED_BYTES + 1), "one send goes out whatever its length");
        queue.push(&one(to, &[0; MAX_QUEUED_BYTES - 10]));
        assert!(queue.has_room(10) && !queue.has_room(11));
        let mut queue = SendQueue::default();
        for _ in 0..MAX_QUEUED {
            assert!(queue.has_room(1));
            queue.push(&one(to, &[0]));
        }
        assert!(!queue.has_room(1));
    }
}
