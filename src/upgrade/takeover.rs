//! The new process's side of the hand-over.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::sync::mpsc;

use super::predecessor::{self, Predecessor};
use super::wire::{Channel, Message, Packet, VERSION};
use super::{ANSWER, Inherited, Kind, MAX_PREDECESSORS, failed, trusts};
use crate::error::Error;
use crate::shared::Shared;

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
        let failed = |reason: io::Error| failed(path, reason);
        let Some(socket) = connect(path).map_err(failed)? else { return Ok(None) };
        let channel = Channel::new(socket).map_err(failed)?;
        let peer = channel.peer().map_err(failed)?;
        if !trusts(msm_udp::own_uid(), peer.uid) {
            let reason = format!("belongs to a process of user {}, not of this one's", peer.uid);
            return Err(super::failed(path, reason));
        }
        channel.send(&Message::Hello { version: VERSION }).await.map_err(failed)?;
        let offer = channel.receive_within(ANSWER).await.map_err(failed)?;
        let (pid, generations, workers, listeners, sockets) = match offer.message {
            Message::Offer { pid, generations, workers, listeners, sockets } => {
                (pid, generations, workers, listeners, sockets)
            }
            Message::Refused { why } => return Err(super::failed(path, why)),
            other => return Err(super::failed(path, format!("an unexpected answer: {other:?}"))),
        };
        if generations.is_empty() || generations.len() > MAX_PREDECESSORS || !(1..=1024).contains(&workers) {
            return Err(super::failed(path, "an offer that cannot be"));
        }
        let sockets = channel.receive_sockets(sockets, ANSWER).await.map_err(failed)?;
        tracing::info!(pid, sockets = sockets.len(), workers, "taking over from a running process");
        let channel = channel.into_socket();
        let pending = Pending { path: path.to_owned(), pid, generations: generations.clone(), channel };
        Ok(Some(Self { workers, generations, inherited: Inherited::new(listeners, sockets), pending }))
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

/// Connects; `None` if nobody is there.
fn connect(path: &Path) -> io::Result<Option<OwnedFd>> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(Some(socket.into())),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                // A file that is no such socket is replaced.
                || error.raw_os_error() == Some(nix::errno::Errno::EPROTOTYPE as i32) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Pending {
    /// Everything is bound: the other process stops, and what is its is handled here from now on.
    pub(crate) async fn take(self, shared: &Arc<Shared>) -> Result<Taking, Error> {
        let Self { path, pid, generations, channel } = self;
        let same = shared.upgrade.same();
        let wrong = |reason: io::Error| failed(&path, reason);
        let channel = Channel::new(channel).map_err(wrong)?;
        let listeners = same.iter().map(|(_, theirs)| *theirs).collect();
        channel.send(&Message::Ready { listeners }).await.map_err(wrong)?;
        let Packet { message: Message::Yours, .. } =
            channel.receive_within(ANSWER * 2).await.map_err(wrong)?
        else {
            return Err(failed(&path, "the running process does not let go of its sockets"));
        };
        let (commands, queue) = mpsc::unbounded_channel();
        let predecessor =
            Predecessor::new(pid, generations, same.into_iter().collect::<BTreeMap<_, _>>(), commands);
        shared.upgrade.predecessor.store(Some(Arc::new(predecessor)));
        for (id, worker) in shared.workers().iter().enumerate() {
            let pipe = shared.upgrade.socket(&Kind::Pipe, id);
            worker.call(move |worker| worker.open_pipe(pipe)).await?.map_err(wrong)?;
        }
        shared.upgrade.mine.send_replace(true);
        Ok(Taking { path, pid, channel, queue })
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
        // If it cannot be told, it serves again, or is gone with its sessions: a start from the beginning is right for both.
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
