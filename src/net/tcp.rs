//! The socket of an RTSP connection, with TLS or without: text and interleaved packets in one bounded queue.

mod asking;

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use msm_rtsp::server::Asks;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use super::tls::{Tls, TlsError};

/// What became of a packet offered to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// Written or queued whole.
    Yes,
    /// The queue has no room for it: nothing of it was taken.
    Full,
    /// The connection is gone.
    Closed,
}

/// A TCP connection that both its own task and the fan-out of its worker write to.
///
/// Writes go to the kernel at once; what it does not take waits here, bounded by `limit`. Messages are never dropped
/// (they are few, and bounded by requests); media packets are refused when the queue is full. With TLS the queue holds
/// plaintext, and at most one chunk of it is encrypted ahead of the kernel.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Apart: it is large, and most connections have none.
    tls: Option<Box<Tls>>,
    queue: RefCell<BytesMut>,
    /// Media that waits for the answer to PLAY: some clients throw away what comes before it.
    held: RefCell<Option<BytesMut>>,
    limit: usize,
    closed: Cell<bool>,
    wake: Notify,
    /// Another process has the TLS of it, and carries what is within.
    carried: bool,
    /// What we have asked the client, where this is a server's side.
    asks: RefCell<Asks>,
    /// Who waits for the answer to one of these, by its number.
    awaited: RefCell<Vec<(u32, oneshot::Sender<u16>)>>,
}

impl Connection {
    /// A connection without TLS.
    pub(crate) fn new(stream: TcpStream, limit: usize) -> Rc<Self> {
        Self::with(stream, None, limit)
    }

    /// A connection that was accepted and is to speak TLS: [`Self::handshake`] first.
    pub(crate) fn tls_server(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        limit: usize,
    ) -> Result<Rc<Self>, TlsError> {
        Ok(Self::with(stream, Some(Box::new(Tls::server(config)?)), limit))
    }

    /// A connection that was opened and is to speak TLS: [`Self::handshake`] first.
    pub(crate) fn tls_client(
        stream: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        limit: usize,
    ) -> Result<Rc<Self>, TlsError> {
        Ok(Self::with(stream, Some(Box::new(Tls::client(config, name)?)), limit))
    }

    /// A connection whose TLS another process has.
    pub(crate) fn carried(stream: TcpStream, limit: usize) -> Rc<Self> {
        let mut own = Self::made(stream, None, limit);
        own.carried = true;
        Rc::new(own)
    }

    fn with(stream: TcpStream, tls: Option<Box<Tls>>, limit: usize) -> Rc<Self> {
        Rc::new(Self::made(stream, tls, limit))
    }

    fn made(stream: TcpStream, tls: Option<Box<Tls>>, limit: usize) -> Self {
        Self {
            stream,
            tls,
            queue: RefCell::new(BytesMut::new()),
            held: RefCell::new(None),
            limit,
            closed: Cell::new(false),
            wake: Notify::new(),
            carried: false,
            asks: RefCell::default(),
            awaited: RefCell::default(),
        }
    }

    /// The socket and its TLS, for another worker to go on with. `None` if anything waits to be sent, or somebody else
    /// holds the connection.
    pub(crate) fn into_parts(self: Rc<Self>) -> Option<(std::net::TcpStream, Option<Box<Tls>>, usize)> {
        let mut own = Rc::try_unwrap(self).ok().filter(|own| !own.has_output())?;
        let stream = own.stream.as_fd().try_clone_to_owned().ok()?;
        // Without it, closing says nothing to the peer.
        let tls = own.tls.take();
        Some((stream.into(), tls, own.limit))
    }

    /// Goes on with what [`Self::into_parts`] gave, on this worker's runtime.
    pub(crate) fn from_parts(
        stream: std::net::TcpStream,
        tls: Option<Box<Tls>>,
        limit: usize,
    ) -> io::Result<Rc<Self>> {
        Ok(Self::with(TcpStream::from_std(stream)?, tls, limit))
    }

    /// The own address.
    pub(crate) fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.stream.local_addr()
    }

    /// What TLS knows of the peer; `None` on a connection without it.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Whether what the peer sends and gets is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some() || self.carried
    }

    /// Completes the TLS handshake, or fails when it takes longer than `limit`. Without TLS there is nothing to do.
    /// Not to be used while others read or write.
    pub(crate) async fn handshake(&self, limit: Duration) -> Result<(), TlsError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        tokio::time::timeout(limit, tls.handshake(&self.stream))
            .await
            .unwrap_or(Err(TlsError::Timeout(limit)))
    }

    /// Completes when [`Self::read`] may have something. Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.tls.as_deref().is_some_and(Tls::is_ready) {
            return Ok(());
        }
        self.stream.readable().await
    }

    /// Appends what is there; 0 when the peer has ended, `WouldBlock` when nothing is there now.
    pub(crate) fn read(&self, into: &mut BytesMut) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.stream.try_read_buf(into) };
        let outcome = tls.read(&self.stream, into);
        if tls.wants_write() {
            // TLS itself answers some of what comes.
            self.flush();
        }
        outcome
    }

    /// Writes past TLS.
    #[cfg(test)]
    pub(super) fn tamper(&self, bytes: &[u8]) {
        assert_eq!(self.stream.try_write(bytes).unwrap(), bytes.len());
    }

    /// Plaintext that waits for the peer to read.
    pub(crate) fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether anything waits for the peer to read.
    pub(crate) fn has_output(&self) -> bool {
        self.queued() > 0 || self.tls.as_deref().is_some_and(Tls::wants_write)
    }

    /// Marks the connection as ended: later offers are refused and its task wakes up.
    pub(crate) fn close(&self) {
        if let Some(tls) = self.tls.as_ref().filter(|_| !self.closed.get()) {
            tls.close(&self.stream);
        }
        self.closed.set(true);
        self.awaited.borrow_mut().clear();
        self.wake.notify_one();
    }

    /// Holds media back until [`Self::release`].
    pub(crate) fn hold(&self) {
        self.held.borrow_mut().get_or_insert_default();
    }

    /// Lets media go that was held back.
    pub(crate) fn release(&self) {
        let held = self.held.borrow_mut().take();
        if let Some(held) = held.filter(|held| !held.is_empty()) {
            self.queue.borrow_mut().extend_from_slice(&held);
            self.flush();
        }
    }

    /// Sends a message of the signalling.
    pub(crate) fn send_message(&self, message: &[u8]) {
        if self.closed.get() {
            return;
        }
        self.queue.borrow_mut().extend_from_slice(message);
        self.flush();
    }

    /// Whether so many packets of so many bytes in all find room together. More than the queue ever holds do when it is
    /// empty.
    pub(crate) fn has_room(&self, packets: usize, bytes: usize) -> bool {
        let wanted = bytes.saturating_add(packets.saturating_mul(4));
        let fits = |queued: usize| queued == 0 || queued.saturating_add(wanted) <= self.limit;
        if let Some(held) = self.held.borrow().as_ref() {
            return fits(held.len());
        }
        if !fits(self.queued()) {
            self.flush();
        }
        fits(self.queued())
    }

    /// Sends the packets of a burst, each `segment` bytes but the last, as interleaved frames on `channel`
    /// (`RFC 2326 §10.12`). Returns how many packets were taken; the rest found the queue full or the connection gone.
    pub(crate) fn send_frames(&self, channel: u8, packets: &[u8], segment: usize) -> (usize, Queued) {
        if self.closed.get() {
            return (0, Queued::Closed);
        }
        let mut taken = 0;
        if let Some(held) = self.held.borrow_mut().as_mut() {
            for packet in packets.chunks(segment.max(1)) {
                if held.len() + packet.len() + 4 > self.limit || !push_frame(held, channel, packet) {
                    return (taken, Queued::Full);
                }
                taken += 1;
            }
            return (taken, Queued::Yes);
        }
        for packet in packets.chunks(segment.max(1)) {
            let mut queue = self.queue.borrow_mut();
            if queue.len() + packet.len() + 4 > self.limit {
                drop(queue);
                self.flush();
                queue = self.queue.borrow_mut();
                if queue.len() + packet.len() + 4 > self.limit {
                    drop(queue);
                    return (taken, Queued::Full);
                }
            }
            if !push_frame(&mut queue, channel, packet) {
                break;
            }
            taken += 1;
        }
        self.flush();
        (taken, if self.closed.get() { Queued::Closed } else { Queued::Yes })
    }

    /// Writes what the kernel takes now.
    pub(crate) fn flush(&self) {
        let mut queue = self.queue.borrow_mut();
        let outcome = match &self.tls {
            None => write(&self.stream, &mut queue),
            Some(tls) => tls.write(&self.stream, &mut queue),
        };
        if outcome.is_err() {
            self.closed.set(true);
        }
        if self.closed.get() {
            queue.clear();
        }
        let waits = !queue.is_empty() || self.tls.as_deref().is_some_and(Tls::wants_write);
        if queue.is_empty() {
            // An idle reader costs no buffer; a busy one keeps a small one.
            if queue.capacity() > IDLE_CAPACITY {
                *queue = BytesMut::new();
            } else {
                queue.clear();
            }
        }
        if waits || self.closed.get() {
            self.wake.notify_one();
        }
    }

    /// Completes when there is something to write and the peer can take it, or when the connection was closed.
    /// Cancel safe.
    pub(crate) async fn drained(&self) {
        loop {
            if self.closed.get() {
                return;
            }
            if self.has_output() {
                if self.stream.writable().await.is_err() {
                    self.closed.set(true);
                }
                return;
            }
            self.wake.notified().await;
        }
    }
}

/// A peer is told that this is the end, however the connection came to it.
impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writes from the front of the queue what the kernel takes now.
fn write(stream: &TcpStream, queue: &mut BytesMut) -> io::Result<()> {
    while !queue.is_empty() {
        match stream.try_write_vectored(&[IoSlice::new(queue)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => queue.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends one interleaved frame; `false` for a packet that its 16-bit length cannot name.
fn push_frame(queue: &mut BytesMut, channel: u8, packet: &[u8]) -> bool {
    let Ok(length) = u16::try_from(packet.len()) else { return false };
    let [high, low] = length.to_be_bytes();
    queue.extend_from_slice(&[b'$', channel, high, low]);
    queue.extend_from_slice(packet);
    true
}

/// A queue larger than this is given back when it has drained.
const IDLE_CAPACITY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    async fn joined(limit: usize) -> (Rc<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Connection::new(near.unwrap(), limit), far.unwrap().0)
    }

    #[tokio::test]
    async fn frames_carry_channel_and_length() {
        let (connection, mut far) = joined(1 << 20).await;
        assert_eq!(connection.send_frames(2, b"abcdefgh", 3), (3, Queued::Yes));
        let mut read = [0; 20];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"$\x02\x00\x03abc$\x02\x00\x03def$\x02\x00\x02gh");
    }

    #[tokio::test]
    async fn a_peer_that_never_reads_fills_its_own_queue_only() {
        let (connection, _far) = joined(100_000).await;
        let packet = [0u8; 1200];
        let mut refused = false;
        for _ in 0..20_000 {
            if connection.send_frames(0, &packet, 1200) == (0, Queued::Full) {
                refused = true;
                break;
            }
        }
        assert!(refused, "the queue must end");
        assert!(connection.queued() <= 100_000);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_not_asked_for_what_it_need_not_do() {
        let (connection, _far) = joined(1000).await;
        assert!(connection.takes_requests());
        while connection.queued() <= 1000 + asking::UNREAD_REQUESTS {
            assert!(connection.takes_requests());
            connection.send_message(&[b' '; 8192]);
        }
        assert!(!connection.takes_requests());
        let (connection, _far) = joined(1000).await;
        connection.close();
        assert!(!connection.takes_requests());
    }

    #[tokio::test]
    async fn media_held_back_comes_after_the_answer() {
        let (connection, mut far) = joined(1 << 20).await;
        connection.hold();
        connection.send_frames(0, b"media", 5);
        connection.send_message(b"answer");
        connection.release();
        connection.send_frames(0, b"more", 4);
        let mut read = [0; 23];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"answer$\x00\x00\x05media$\x00\x00\x04more");
    }

    #[tokio::test]
    async fn a_gone_peer_is_noticed() {
        let (connection, far) = joined(1 << 20).await;
        drop(far);
        for _ in 0..100 {
            connection.send_message(b"OPTIONS * RTSP/1.0\r\n\r\n");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            if connection.is_closed() {
                return;
            }
        }
        panic!("a write to a closed peer must fail");
    }
}
