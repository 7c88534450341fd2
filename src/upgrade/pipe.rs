//! Packets that go to the process before this one: a stream socket a worker, with frames.
//!
//! Not a datagram socket: of those, the kernel lets ten messages wait (`net.unix.max_dgram_qlen`), whatever their size.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use bytes::{Buf, BufMut, BytesMut};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::net::udp::canonical;

/// Bytes that wait for the other process, beside what the kernel takes.
const BACKLOG: usize = 4 * 1024 * 1024;
/// Asked of the kernel, which may give less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Before each run: length, kind, stride, source, destination.
const HEADER: usize = 4 + 1 + 4 + 18 + 17;
/// Longest run: what one receive yields.
const MAX_RUN: usize = 1 << 16;

/// Which socket a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The RTCP socket of a listener's pair.
    Reports,
    /// The RTP socket of a listener's pair.
    Dummies,
    /// The mesh port.
    Mesh,
}

/// Datagrams of one source that came together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run<B> {
    pub(crate) way: Way,
    pub(crate) source: SocketAddr,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) stride: usize,
    pub(crate) bytes: B,
}

/// A worker's end towards the process before this one.
pub(crate) struct Pipe {
    stream: UnixStream,
    queue: RefCell<BytesMut>,
    wake: Notify,
    closed: Cell<bool>,
    dropped: Cell<u64>,
}

impl Pipe {
    /// On this worker's runtime.
    pub(super) fn new(socket: std::os::fd::OwnedFd) -> io::Result<Rc<Self>> {
        let _ = socket2::SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
        let stream = unix(socket)?;
        Ok(Rc::new(Self {
            stream,
            queue: RefCell::default(),
            wake: Notify::new(),
            closed: Cell::new(false),
            dropped: Cell::new(0),
        }))
    }

    /// Sends a run now, or when there is room for it.
    pub(crate) fn push(&self, run: &Run<&[u8]>) {
        let mut queue = self.queue.borrow_mut();
        if run.bytes.len() > MAX_RUN || queue.len() + HEADER + run.bytes.len() > BACKLOG {
            let packets = run.bytes.len().div_ceil(run.stride.max(1)).max(1);
            self.dropped.set(self.dropped.get() + packets as u64);
            return;
        }
        encode(run, &mut queue);
        drop(queue);
        self.flush();
    }

    fn flush(&self) {
        let mut queue = self.queue.borrow_mut();
        while !queue.is_empty() {
            match self.stream.try_write(&queue) {
                Ok(written) => queue.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.notify_one();
                    return;
                }
                // It has ended, and its sessions with it.
                Err(_) => queue.clear(),
            }
        }
        // What was sent is not moved: the memory is used again from its beginning.
        queue.clear();
    }

    /// Sends what waits, until it is closed.
    pub(super) async fn drain(self: Rc<Self>) {
        loop {
            self.wake.notified().await;
            if self.closed.get() || self.stream.writable().await.is_err() {
                return;
            }
            self.flush();
        }
    }

    /// Has [`Self::drain`] end, which would hold the socket for good.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }

    /// Packets that found no room since the last call.
    pub(crate) fn fresh_drops(&self) -> u64 {
        self.dropped.take()
    }
}

/// Takes runs from the process after this one until it ends.
pub(crate) async fn receive(socket: std::os::fd::OwnedFd, mut each: impl FnMut(Run<BytesMut>)) {
    let Ok(stream) = unix(socket) else { return };
    let mut buffer = BytesMut::with_capacity(MAX_RUN * 2);
    loop {
        while let Some(run) = match decode(&mut buffer) {
            Ok(run) => run,
            Err(error) => return tracing::warn!(%error, "packets from the process after this one"),
        } {
            each(run);
        }
        // Where more comes than is handled, the rest of the worker has its turn, too.
        tokio::task::consume_budget().await;
        if stream.readable().await.is_err() {
            return;
        }
        buffer.reserve(MAX_RUN);
        match stream.try_read_buf(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn unix(socket: std::os::fd::OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn put_ip(ip: IpAddr, into: &mut BytesMut) {
    let octets = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    into.put_slice(&octets);
}

fn encode(run: &Run<&[u8]>, into: &mut BytesMut) {
    into.reserve(HEADER + run.bytes.len());
    into.put_u32(run.bytes.len() as u32);
    into.put_u8(match run.way {
        Way::Reports => 0,
        Way::Dummies => 1,
        Way::Mesh => 2,
    });
    into.put_u32(run.stride as u32);
    put_ip(run.source.ip(), into);
    into.put_u16(run.source.port());
    into.put_u8(run.destination.is_some().into());
    put_ip(run.destination.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), into);
    into.put_slice(run.bytes);
}

/// The next run, once all of it is there.
fn decode(buffer: &mut BytesMut) -> io::Result<Option<Run<BytesMut>>> {
    let Some(length) = buffer.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize) else {
        return Ok(None);
    };
    if length > MAX_RUN {
        return Err(super::wire::odd("a run longer than any"));
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    let mut header = buffer.split_to(HEADER);
    header.advance(4);
    let way = match header.get_u8() {
        0 => Way::Reports,
        1 => Way::Dummies,
        2 => Way::Mesh,
        _ => return Err(super::wire::odd("a run of an unknown socket")),
    };
    let stride = header.get_u32() as usize;
    let ip = Ipv6Addr::from_bits(header.get_u128());
    let source = canonical(SocketAddr::new(ip.into(), header.get_u16()));
    let named = header.get_u8() != 0;
    let destination = Ipv6Addr::from_bits(header.get_u128());
    let destination = named.then(|| IpAddr::V6(destination).to_canonical());
    Ok(Some(Run { way, source, destination, stride, bytes: buffer.split_to(length) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Vec<Run<Vec<u8>>> {
        let run = |way, source: &str, destination: Option<&str>, stride, bytes: &[u8]| Run {
            way,
            source: source.parse().unwrap(),
            destination: destination.map(|ip| ip.parse().unwrap()),
            stride,
            bytes: bytes.to_vec(),
        };
        vec![
            run(Way::Reports, "192.0.2.7:5001", None, 28, &[1; 28]),
            run(Way::Mesh, "[2001:db8::7]:8050", Some("192.0.2.1"), 1200, &[2; 5000]),
            run(Way::Dummies, "192.0.2.7:5000", Some("2001:db8::1"), 0, &[]),
        ]
    }

    fn borrowed(run: &Run<Vec<u8>>) -> Run<&[u8]> {
        let Run { way, source, destination, stride, bytes } = run;
        Run { way: *way, source: *source, destination: *destination, stride: *stride, bytes }
    }

    #[test]
    fn runs_come_as_they_were_however_they_are_cut() {
        let mut all = BytesMut::new();
        runs().iter().for_each(|run| encode(&borrowed(run), &mut all));
        for cut in [1, 7, HEADER, 1000, all.len()] {
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for part in all.chunks(cut) {
                buffer.extend_from_slice(part);
                while let Some(run) = decode(&mut buffer).unwrap() {
                    let Run { way, source, destination, stride, bytes } = run;
                    got.push(Run { way, source, destination, stride, bytes: bytes.to_vec() });
                }
            }
            assert_eq!((got, buffer.len()), (runs(), 0), "{cut}");
        }
    }

    #[test]
    fn lies_end_it() {
        let mut long = BytesMut::from(&[0, 1, 0, 1, 0][..]);
        assert!(decode(&mut long).is_err());
        let mut unknown = BytesMut::from(&[0, 0, 0, 0, 9][..]);
        unknown.resize(HEADER, 0);
        assert!(decode(&mut unknown).is_err());
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_all_else_arrives() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let pipe = Pipe::new(near.into()).unwrap();
        let bytes = vec![7; 60_000];
        let source = "192.0.2.7:5001".parse().unwrap();
        let run = Run { way: Way::Mesh, source, destination: None, stride: 1200, bytes: &bytes[..] };
        // Nobody reads: the kernel's buffer fills, then the queue.
        let (mut pushed, mut dropped) = (0, 0);
        while dropped == 0 {
            pipe.push(&run);
            pushed += 1;
            dropped = pipe.fresh_drops();
        }
        assert_eq!(dropped, 50);
        assert!(pushed > BACKLOG / bytes.len());
        let local = tokio::task::LocalSet::new();
        let got = Rc::new(Cell::new(0));
        let count = Rc::clone(&got);
        local
            .run_until(async move {
                let draining = tokio::task::spawn_local(Rc::clone(&pipe).drain());
                let wanted = pushed - 1;
                let (done, all) = tokio::sync::oneshot::channel();
                let mut done = Some(done);
                let reading = receive(far.into(), move |run| {
                    assert_eq!(run.bytes.len(), 60_000);
                    count.set(count.get() + 1);
                    if count.get() == wanted
                        && let Some(done) = done.take()
                    {
                        let _ = done.send(());
                    }
                });
                let reading = tokio::task::spawn_local(reading);
                all.await.unwrap();
                reading.abort();
                assert_eq!(got.get(), wanted);
                // Its end closes the socket.
                let held = Rc::downgrade(&pipe);
                pipe.close();
                drop(pipe);
                draining.await.unwrap();
                assert!(held.upgrade().is_none());
            })
            .await;
    }
}
