//! What two processes tell each other: messages of JSON, some with descriptors, on a Unix socket that keeps their bounds.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Of these messages. Another one is refused: the two processes have nothing else to go by.
pub(super) const VERSION: u32 = 1;
/// Longest message, what was read of a connection included.
pub(crate) const MAX_MESSAGE: usize = 160 * 1024;
/// Descriptors of one message.
pub(super) const BATCH: usize = 32;
/// Sockets of one process: listeners of all workers, three each.
const MAX_SOCKETS: usize = 16 * 1024;

/// A listener, as both processes' configurations have to have it to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerKey {
    pub(crate) address: SocketAddr,
    pub(crate) interface: Option<String>,
    pub(crate) reader_port: u16,
    pub(crate) member: bool,
}

/// What a socket is. Listeners go by their numbers in the old process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Where connections of a listener are accepted.
    Tcp { listener: usize },
    /// Where plain readers' reports come to.
    Rtcp { listener: usize },
    /// The other half of that pair.
    Rtp { listener: usize },
    /// Where members' packets come to.
    Mesh,
    /// What goes to the old process from here.
    Pipe,
    /// A listening socket that is not of the mesh.
    Own { name: String },
}

/// A socket that is passed, and the worker that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub(crate) kind: Kind,
    pub(crate) worker: usize,
}

/// A listener of the old process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PassedListener {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) key: ListenerKey,
    /// Multicast groups that its streams are sent to.
    pub(crate) groups: Vec<IpAddr>,
}

/// A process whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PredecessorStatus {
    /// Its number.
    pub pid: u32,
    /// Sessions that it has left.
    pub sessions: i64,
    /// Seconds since another process took over.
    pub draining_seconds: u64,
}

/// Who serves after a hand-over, as the new process tells the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Turn {
    /// The new one. If it is gone without another word, the old one serves again.
    Mine,
    /// One that took over from it.
    Next,
    /// Nobody is to serve after it: it was asked to end.
    Nobody,
}

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// New: may I take over?
    Hello { version: u32 },
    /// Old: no.
    Refused { why: String },
    /// Old: this is what I have; so many sockets follow.
    Offer {
        pid: u32,
        /// Its own first, then those of processes before it whose sessions end.
        generations: Vec<u8>,
        workers: usize,
        listeners: Vec<PassedListener>,
        sockets: usize,
    },
    /// Old: these are some of them.
    Sockets { sockets: Vec<Passed> },
    /// New: I have everything, and these listeners as you have them.
    Ready { listeners: Vec<usize> },
    /// Old: I neither accept nor read any more.
    Yours,
    /// New: I do.
    Taken,
    /// New: this connection goes on with you. The descriptor is the connection, or one end of what carries it (`relayed`); what was read
    /// of it follows the message's text.
    Connection { listener: usize, peer: SocketAddr, local: SocketAddr, relayed: bool },
    /// New: is this local stream published with you?
    Ask { number: u64, backend: String, resource: String },
    /// Old: it is, or it is not.
    Answer { number: u64, here: bool },
    /// New: this listener is not in the configuration any more.
    Closed { listener: usize },
    /// New: from now on so.
    Serves { who: Turn },
    /// Old: so many sessions are left, of mine first.
    Left { processes: Vec<PredecessorStatus> },
}

/// A message, what follows it, and its descriptors.
pub(crate) struct Packet {
    pub(crate) message: Message,
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

struct Fd(OwnedFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// One end of the socket.
pub(crate) struct Channel(AsyncFd<Fd>);

impl Channel {
    /// On this thread's runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let own = socket2::SockRef::from(&socket);
        own.set_nonblocking(true)?;
        // The system's default may be less than the longest message.
        let _ = own.set_send_buffer_size(MAX_MESSAGE * 2);
        let interest = Interest::READABLE | Interest::WRITABLE;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd keeps its descriptor until it is dropped"
        )]
        Ok(Self(AsyncFd::with_interest(Fd(socket), interest)?))
    }

    /// The socket, for another thread's runtime.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.0.into_inner().0
    }

    /// Who is there.
    pub(super) fn peer(&self) -> io::Result<msm_udp::Peer> {
        msm_udp::peer(&self.0.get_ref().0)
    }

    /// Says something.
    ///
    /// # Errors
    /// The socket's: the other process is gone, or does not read.
    pub(crate) async fn send(&self, message: &Message) -> io::Result<()> {
        self.send_with(message, &[], &[]).await
    }

    /// Says something, and passes descriptors.
    ///
    /// # Errors
    /// As of [`Self::send`], and `InvalidInput` for what is longer than [`MAX_MESSAGE`].
    pub(crate) async fn send_with(
        &self,
        message: &Message,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut text = serde_json::to_vec(message)?;
        // JSON has no byte 0 in it.
        text.push(0);
        text.extend_from_slice(bytes);
        if text.len() > MAX_MESSAGE {
            let what = format!("a message of {} bytes, of {MAX_MESSAGE} at most", text.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        loop {
            let mut guard = self.0.writable().await?;
            match msm_udp::send_descriptors(&self.0.get_ref().0.as_fd(), &text, descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                outcome => return outcome.map(drop),
            }
        }
    }

    /// What the other process says next; `UnexpectedEof` when it is gone. Cancel safe.
    ///
    /// # Errors
    /// The socket's, and `InvalidData` for what is no message.
    pub(crate) async fn receive(&self) -> io::Result<Packet> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut descriptors = Vec::new();
        let length = loop {
            let mut guard = self.0.readable().await?;
            let own = self.0.get_ref().0.as_fd();
            match msm_udp::recv_descriptors(&own, &mut buffer, &mut descriptors) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the other process is gone, or let go",
                    ));
                }
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) => return Err(error),
            }
        };
        buffer.truncate(length);
        let end =
            buffer.iter().position(|byte| *byte == 0).ok_or_else(|| odd("a message without its end"))?;
        let bytes = buffer.split_off(end).split_off(1);
        // Not as it comes: what is cut off there would be taken for the end.
        let message = serde_json::from_slice(&buffer)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        Ok(Packet { message, bytes, descriptors })
    }

    /// The same, within a time.
    ///
    /// # Errors
    /// As of [`Self::receive`], and `TimedOut`.
    pub(super) async fn receive_within(&self, limit: Duration) -> io::Result<Packet> {
        tokio::time::timeout(limit, self.receive()).await.unwrap_or_else(|_| {
            let what = format!("the other process has not answered in {limit:?}; does it hang?");
            Err(io::Error::new(io::ErrorKind::TimedOut, what))
        })
    }

    /// The same, for the last thing that is waited for: once the time is over nothing more can be said, and what was said by then counts.
    ///
    /// # Errors
    /// As of [`Self::receive_within`].
    pub(super) async fn receive_last(&self, limit: Duration) -> io::Result<Packet> {
        match self.receive_within(limit).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                socket2::SockRef::from(&self.0.get_ref().0).shutdown(std::net::Shutdown::Read)?;
                self.receive().await.map_err(|_| error)
            }
            outcome => outcome,
        }
    }

    /// Passes sockets, some at a time.
    ///
    /// # Errors
    /// As of [`Self::send`].
    pub(super) async fn send_sockets(&self, sockets: &[(Passed, OwnedFd)]) -> io::Result<()> {
        for batch in sockets.chunks(BATCH) {
            let message = Message::Sockets { sockets: batch.iter().map(|(what, _)| what.clone()).collect() };
            let descriptors: Vec<_> = batch.iter().map(|(_, own)| own.as_fd()).collect();
            self.send_with(&message, &[], &descriptors).await?;
        }
        Ok(())
    }

    /// Takes so many sockets, within a time for each message.
    ///
    /// # Errors
    /// As of [`Self::receive_within`]; `InvalidData` if there are more, or they are not what they are said to be.
    pub(super) async fn receive_sockets(
        &self,
        count: usize,
        limit: Duration,
    ) -> io::Result<Vec<(Passed, OwnedFd)>> {
        if count > MAX_SOCKETS {
            return Err(odd("more sockets than a process has"));
        }
        let mut all = Vec::new();
        while all.len() < count {
            let Packet { message: Message::Sockets { sockets }, descriptors, .. } =
                self.receive_within(limit).await?
            else {
                return Err(odd("something else than sockets"));
            };
            if sockets.is_empty() || sockets.len() != descriptors.len() || all.len() + sockets.len() > count {
                return Err(odd("other sockets than were said"));
            }
            all.extend(sockets.into_iter().zip(descriptors));
        }
        Ok(all)
    }
}

/// The other process does not keep to what is agreed.
pub(super) fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    fn joined() -> (Channel, Channel) {
        let (near, far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        (Channel::new(near.into()).unwrap(), Channel::new(far.into()).unwrap())
    }

    fn fd() -> OwnedFd {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    #[tokio::test]
    async fn messages_keep_their_bytes_and_descriptors() {
        let (near, far) = joined();
        let local = "127.0.0.1:554".parse().unwrap();
        let message = Message::Connection { listener: 3, peer: local, local, relayed: false };
        let read = vec![0, 1, 0, 200];
        near.send_with(&message, &read, &[fd().as_fd()]).await.unwrap();
        let got = far.receive().await.unwrap();
        assert!(matches!(got.message, Message::Connection { listener: 3, .. }));
        assert_eq!((got.bytes, got.descriptors.len()), (read, 1));
        let long = vec![7; MAX_MESSAGE];
        let refused = near.send_with(&message, &long, &[]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        drop(near);
        let gone = far.receive().await.map(drop).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_was_said_in_time_counts_and_nothing_can_be_said_afterwards() {
        let limit = Duration::from_millis(1);
        let (near, far) = joined();
        near.send(&Message::Taken).await.unwrap();
        assert!(matches!(far.receive_last(limit).await.unwrap().message, Message::Taken));
        let late = far.receive_last(limit).await.map(drop).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let refused = near.send(&Message::Taken).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_longest_message_passes() {
        let (near, far) = joined();
        let head = serde_json::to_vec(&Message::Taken).unwrap().len() + 1;
        let bytes = vec![7; MAX_MESSAGE - head];
        let (sent, got) = tokio::join!(near.send_with(&Message::Taken, &bytes, &[]), far.receive());
        sent.unwrap();
        assert_eq!(got.unwrap().bytes, bytes);
    }

    #[tokio::test]
    async fn many_sockets_come_in_batches() {
        let (near, far) = joined();
        let sockets: Vec<_> =
            (0..70).map(|worker| (Passed { kind: Kind::Tcp { listener: 1 }, worker }, fd())).collect();
        let limit = Duration::from_secs(5);
        let (sent, got) = tokio::join!(near.send_sockets(&sockets), far.receive_sockets(70, limit));
        sent.unwrap();
        let workers: Vec<_> = got.unwrap().into_iter().map(|(what, _)| what.worker).collect();
        assert_eq!(workers, (0..70).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_not_agreed_is_refused() {
        let limit = Duration::from_millis(200);
        let (near, far) = joined();
        assert!(far.receive_sockets(MAX_SOCKETS + 1, limit).await.is_err());
        let silent = far.receive_within(Duration::from_millis(1)).await.map(drop).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        // A descriptor less than was said, and garbage.
        let said = Message::Sockets { sockets: vec![Passed { kind: Kind::Mesh, worker: 0 }] };
        near.send(&said).await.unwrap();
        assert_eq!(far.receive_sockets(1, limit).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        for garbage in [&b"no end"[..], b"{\0", b"\0", b"{\"Hello\":{}}\0", b"\"Beyond\"\0"] {
            let own = near.0.get_ref().0.as_fd();
            msm_udp::send_descriptors(&own, garbage, &[]).unwrap();
            let refused = far.receive().await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{garbage:?}");
        }
    }
}
