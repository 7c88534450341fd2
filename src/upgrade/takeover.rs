//! The new process's side of the hand-over.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::sync::mpsc;

use super::predecessor::{self, Predecessor};
use super::wire::{Channel, Message, Packet, VERSION};
use super::{ANSWER, Inherited, Kind, MAX_PREDECESSORS, failed, trusts};
use crate::error::Error;
use crate::shared::Shared;

/// How long a socket that nobody listens at is looked at: longer than it takes to notice that another process has ended.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked again where the answer is an end.
const TRIES: usize = 5;
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

/// What a running process has passed to this one: its sockets, which it goes on serving until [`Mesh::serve`](crate::Mesh::serve) has
/// everything else. Dropping it instead leaves that process as it was.
pub struct Takeover {
    pub(crate) workers: usize,
    /// Of the processes that live.
    pub(crate) generations: Vec<u8>,
    pub(crate) inherited: Inherited,
    pub(crate) pending: Pending,
}

/// What is left to be said to the process.
pub(crate) struct Pending {
    path: PathBuf,
    pid: u32,
    generations: Vec<u8>,
    channel: OwnedFd,
}

impl std::fmt::Debug for Takeover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Takeover").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Takeover {
    /// Asks the process whose [`Door`](super::Door) is at `path` for its sockets; `None` if nobody is there. Cancelled, it leaves that
    /// process as it was. Each answer may take 5 s.
    ///
    /// # Errors
    /// [`Error::Upgrade`]: it refuses, is another user's, or does not keep to what is agreed.
    pub async fn ask(path: &Path) -> Result<Option<Self>, Error> {
        if !path.parent().is_some_and(Path::is_dir) {
            return Err(failed(path, "its directory is not there; create it, for this user alone"));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::ask_once(path).await {
                Ok(found) => return found,
                // It has just ended, perhaps, and another one is there, or nobody.
                Err(error) if is_over(&error) && tries < TRIES => {}
                Err(error) => return Err(failed(path, error)),
            }
        }
    }

    /// What came of it; outside of that the socket's errors.
    async fn ask_once(path: &Path) -> io::Result<Result<Option<Self>, Error>> {
        let Some(socket) = find(path).await? else { return Ok(Ok(None)) };
        let channel = Channel::new(socket)?;
        let peer = channel.peer()?;
        if !trusts(msm_udp::own_uid(), peer.uid) {
            let reason = format!("belongs to a process of user {}, not of this one's", peer.uid);
            return Ok(Err(failed(path, reason)));
        }
        channel.send(&Message::Hello { version: VERSION }).await?;
        let offer = channel.receive_within(ANSWER).await?;
        let (pid, generations, workers, listeners, sockets) = match offer.message {
            Message::Offer { pid, generations, workers, listeners, sockets } => {
                (pid, generations, workers, listeners, sockets)
            }
            Message::Refused { why } => return Ok(Err(failed(path, why))),
            other => return Ok(Err(failed(path, format!("an unexpected answer: {other:?}")))),
        };
        if generations.is_empty() || generations.len() > MAX_PREDECESSORS || !(1..=1024).contains(&workers) {
            return Ok(Err(failed(path, "an offer that cannot be")));
        }
        let sockets = channel.receive_sockets(sockets, ANSWER).await?;
        tracing::info!(pid, sockets = sockets.len(), workers, "taking over from a running process");
        let channel = channel.into_socket();
        let pending = Pending { path: path.to_owned(), pid, generations: generations.clone(), channel };
        Ok(Ok(Some(Self { workers, generations, inherited: Inherited::new(listeners, sockets), pending })))
    }

    /// The process that is taken over from.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pending.pid
    }

    /// The listening sockets that are not of the mesh, by the names that [`Door::next`](super::Door::next) was given: not to be accepted
    /// from before [`Mesh::serve`](crate::Mesh::serve) has returned.
    ///
    /// # Errors
    /// [`Error::Upgrade`]: one of them does not listen.
    pub fn own_sockets(&mut self) -> Result<Vec<(String, TcpListener)>, Error> {
        let own = self.inherited.own().into_iter();
        let checked = own.map(|(name, socket)| {
            let is_listener = SockRef::from(&socket).is_listener().unwrap_or(false);
            let reason = format!("socket `{name}` does not listen");
            is_listener.then(|| (name, socket.into())).ok_or_else(|| failed(&self.pending.path, reason))
        });
        checked.collect()
    }
}

/// Whether the other process has ended, or has let go.
fn is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

/// Whether a process is there that would answer: one that ends still has its socket for a moment.
async fn is_anybody_there(path: &Path) -> io::Result<bool> {
    while let Some(socket) = find(path).await? {
        match Channel::new(socket)?.receive_within(AGAIN).await {
            Err(error) if is_over(&error) => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// Connects; `None` if nobody is there. The process before one that has just ended needs a moment to be there again.
async fn find(path: &Path) -> io::Result<Option<OwnedFd>> {
    let until = Instant::now() + AGAIN;
    loop {
        match connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if Instant::now() >= until {
                    return Ok(None);
                }
                tokio::time::sleep(LOOK).await;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            outcome => return outcome.map(Some),
        }
    }
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    // Where many wait to be let in, the next one fails, and is not left waiting for good.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(socket.into()),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EPROTOTYPE as i32) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there; name another path"))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "the running process lets nobody in; does it hang, or end?",
        )),
        Err(error) => Err(error),
    }
}

impl Pending {
    /// Everything is bound: the other process stops, and what is its is handled here from now on. `None` if it has ended meanwhile: then its
    /// sockets are this one's alone.
    pub(crate) async fn take(self, shared: &Arc<Shared>) -> Result<Option<Taking>, Error> {
        let Self { path, pid, generations, channel } = self;
        let same = shared.upgrade.same();
        let wrong = |reason: io::Error| failed(&path, reason);
        let channel = Channel::new(channel).map_err(wrong)?;
        let listeners = same.iter().map(|(_, theirs)| *theirs).collect();
        let said = async {
            channel.send(&Message::Ready { listeners }).await?;
            channel.receive_within(ANSWER * 2).await
        };
        match said.await {
            Ok(Packet { message: Message::Yours, .. }) => {}
            Ok(_) => return Err(failed(&path, "the running process does not let go of its sockets")),
            Err(error) => {
                // One before it would read the same sockets again, and is to be asked.
                let was_last = is_over(&error) && generations.len() == 1;
                if !was_last || is_anybody_there(&path).await.map_err(wrong)? {
                    return Err(wrong(error));
                }
                tracing::info!(
                    pid,
                    "the process that was to be taken over from has ended; serving with its sockets"
                );
                shared.upgrade.serve_alone();
                return Ok(None);
            }
        }
        let (commands, queue) = mpsc::unbounded_channel();
        let predecessor =
            Predecessor::new(pid, generations, same.into_iter().collect::<BTreeMap<_, _>>(), commands);
        shared.upgrade.predecessor.store(Some(Arc::new(predecessor)));
        for (id, worker) in shared.workers().iter().enumerate() {
            let pipe = shared.upgrade.socket(&Kind::Pipe, id);
            worker.call(move |worker| worker.open_pipe(pipe)).await?.map_err(wrong)?;
        }
        shared.upgrade.serve_alone();
        Ok(Some(Taking { path, pid, channel, queue }))
    }
}

/// The sockets are this process's; that has to be said yet.
pub(crate) struct Taking {
    path: PathBuf,
    pid: u32,
    channel: Channel,
    queue: mpsc::UnboundedReceiver<predecessor::Command>,
}

impl Taking {
    /// It accepts and reads.
    pub(crate) async fn taken(self, shared: &Arc<Shared>) -> Result<(), Error> {
        let Self { path, pid, channel, queue } = self;
        // If it cannot be told, it serves again, or is gone with its sessions: a start from the beginning is right for both. What is told
        // counts: it waits for this, and lets nothing more be said before it serves again.
        channel.send(&Message::Taken).await.map_err(|reason| failed(&path, reason))?;
        tracing::info!(pid, "serving in the place of another process, whose sessions end by themselves");
        let socket = channel.into_socket();
        let first = shared.workers().first().ok_or(Error::Stopped)?;
        first.post(move |worker| predecessor::keep(worker, socket, queue))
    }
}

impl Shared {
    /// A mesh that begins with what was passed.
    pub(crate) fn inherit(&self, mut inherited: Inherited, pending: Pending) {
        inherited.claim(&self.listeners.load_full());
        *self.upgrade.inherited.lock().unwrap_or_else(PoisonError::into_inner) = inherited;
        *self.upgrade.pending.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
        self.upgrade.mine.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(path: &Path, kind: Type, backlog: i32) -> Socket {
        let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
        socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
        socket.listen(backlog).unwrap();
        socket
    }

    async fn refusal(path: &Path) -> String {
        Takeover::ask(path).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn who_lets_go_is_asked_again_and_nobody_waits_for_who_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upgrade.sock");
        assert!(Takeover::ask(&path).await.unwrap().is_none());
        let _full = listening(&path, Type::SEQPACKET, 1);
        // Nobody accepts.
        while connect(&path).is_ok() {}
        let full = refusal(&path).await;
        assert!(full.ends_with("the running process lets nobody in; does it hang, or end?"), "{full}");
        let path = dir.path().join("again.sock");
        let door = listening(&path, Type::SEQPACKET, 64);
        let accepting = std::thread::spawn(move || {
            let mut times = 0;
            while door.accept().unwrap().0.recv(&mut [std::mem::MaybeUninit::uninit(); 64]).unwrap() < 60 {
                times += 1;
            }
            times
        });
        let gone = refusal(&path).await;
        assert!(gone.ends_with("the other process is gone, or let go"), "{gone}");
        let last = connect(&path).unwrap();
        socket2::SockRef::from(&last).send(&[b'x'; 64]).unwrap();
        assert!(accepting.join().unwrap() >= TRIES);
        // The name stays, and nobody is there.
        assert!(Takeover::ask(&path).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_socket_of_another_program_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.sock");
        let _other = listening(&path, Type::STREAM, 1);
        let refused = refusal(&path).await;
        assert!(refused.ends_with("another program listens there; name another path"), "{refused}");
    }
}
