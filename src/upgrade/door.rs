//! Where a process that is to take over asks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::successor::{Passing, Successor};
use super::wire::{Channel, Message, Packet, VERSION};
use super::{ANSWER, BUILD, Kind, MAX_PREDECESSORS, Passed, failed, trusts};
use crate::error::Error;
use crate::mesh::Mesh;
use crate::shared::Shared;

/// How long a process that is refused may take to say what it wants.
const LINGER: std::time::Duration = std::time::Duration::from_millis(100);

/// A Unix socket at which another process may ask for what this one serves by. To be kept as long as this one serves: who has asked and finds
/// nobody there any more takes it for ended, and serves by what it got.
pub struct Door {
    path: PathBuf,
    socket: AsyncFd<Listening>,
}

struct Listening(Socket);

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Door {
    /// Opens it, in the place of another one that is there: the name is never absent. Nobody but this user can ask.
    ///
    /// # Errors
    /// [`Error::Upgrade`]: the directory is not there, or not to be written to, or the name is that of something else.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let socket = bind(path).map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_owned(), socket })
    }

    /// Waits until another process has everything but the sockets of `mesh`, of which it has got copies, and of those of `own`, by their
    /// names: it has them when [`Successor::hand_over`] says so. Whatever becomes of such a process before that changes nothing here, and the
    /// next one may come. Cancel safe.
    pub async fn next(&mut self, mesh: &Mesh, own: &[(String, OwnedFd)]) -> Successor {
        loop {
            let channel = self.accept().await;
            let asked = prepare(&self.path, channel, mesh, own);
            let mut asked = std::pin::pin!(asked);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut asked => break outcome,
                    other = self.accept() => {
                        let why = "another process is taking over already; try again when it has";
                        refuse(&self.path, &other, why).await;
                    }
                }
            };
            match outcome {
                Ok(successor) => return successor,
                Err(error) => tracing::warn!(%error, "nothing was taken over"),
            }
        }
    }

    async fn accept(&self) -> Channel {
        loop {
            let accepted = match self.socket.readable().await {
                Ok(mut guard) => match self.socket.get_ref().0.accept() {
                    Ok((socket, _)) => Channel::new(socket.into()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        guard.clear_ready();
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match accepted {
                Ok(channel) => return channel,
                Err(error) => {
                    tracing::warn!(socket = %self.path.display(), %error, "cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Binds at another name first, as a name that is taken cannot be bound.
fn bind(path: &Path) -> io::Result<AsyncFd<Listening>> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        let what = "there is something else than a socket; remove it, or name another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let other = path.with_file_name(name);
    let _ = std::fs::remove_file(&other);
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&other)?)?;
    let placed = std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| socket.listen(8))
        .and_then(|()| std::fs::rename(&other, path));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(&other);
        return Err(error);
    }
    #[expect(
        deprecated,
        reason = "its successor is unsafe; a Socket keeps its descriptor until it is dropped"
    )]
    AsyncFd::with_interest(Listening(socket), Interest::READABLE)
}

async fn refuse(path: &Path, channel: &Channel, why: &str) {
    tracing::warn!(socket = %path.display(), why, "a process was refused that wanted to take over");
    let _ = channel.send(&Message::Refused { why: why.to_owned() }).await;
    // What has not been read when the socket closes takes what was said away from who is to read it.
    let _ = channel.receive_within(LINGER).await;
}

/// Tells a process what there is, and waits until it is ready.
async fn prepare(
    path: &Path,
    channel: Channel,
    mesh: &Mesh,
    own: &[(String, OwnedFd)],
) -> Result<Successor, Error> {
    let wrong = |reason: io::Error| failed(path, reason);
    let shared = mesh.shared();
    let peer = channel.peer().map_err(wrong)?;
    let refused = async |why: String| {
        refuse(path, &channel, &why).await;
        Err(failed(path, format!("process {} of user {}: {why}", peer.pid, peer.uid)))
    };
    if !trusts(msm_udp::own_uid(), peer.uid) {
        return refused("it is another user's".to_owned()).await;
    }
    match channel.receive_within(ANSWER).await.map_err(wrong)?.message {
        Message::Hello { version: VERSION } => {}
        Message::Hello { version } => {
            let why =
                format!("it speaks version {version} of the hand-over, this one {VERSION}: restart instead");
            return refused(why).await;
        }
        _ => return refused("it does not begin with Hello".to_owned()).await,
    }
    let before = shared.upgrade.predecessor();
    let mut generations = vec![shared.hop.generation % msm_core::hop::label::GENERATIONS];
    generations.extend(before.iter().flat_map(|own| own.generations()));
    if generations.len() > MAX_PREDECESSORS {
        return refused(
            "too many processes before this one have sessions left; wait until one has ended".to_owned(),
        )
        .await;
    }
    let (pipes, sockets) = match collect(shared, own).await {
        Ok(collected) => collected,
        // Out of descriptors, most likely.
        Err(error) => return refused(error.to_string()).await,
    };
    let listeners = shared.listeners.load().iter().map(|own| own.passed()).collect();
    let workers = shared.worker_count();
    let pid = std::process::id();
    let offer = Message::Offer { pid, generations, workers, listeners, sockets: sockets.len() };
    match channel.send(&offer).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return refused(format!("{error}, for its listeners and multicast groups: restart instead"))
                .await;
        }
        outcome => outcome.map_err(wrong)?,
    }
    let sent = tokio::time::timeout(ANSWER, channel.send_sockets(&sockets)).await;
    let slow = || io::Error::new(io::ErrorKind::TimedOut, "the new process does not take the sockets");
    sent.unwrap_or_else(|_| Err(slow())).map_err(wrong)?;
    drop(sockets);
    tracing::info!(pid = peer.pid, "a process prepares to take over");
    let Packet { message: Message::Ready { listeners }, .. } =
        channel.receive_within(BUILD).await.map_err(wrong)?
    else {
        return Err(failed(path, "something else than Ready"));
    };
    Ok(Successor { path: path.to_owned(), pid: peer.pid, channel, pipes, listeners })
}

/// Everything to be passed, and this process's ends of the pipes.
async fn collect(
    shared: &Arc<Shared>,
    own: &[(String, OwnedFd)],
) -> Result<(Passing, Vec<(Passed, OwnedFd)>), Error> {
    let failed = |error| Error::socket("sockets to be passed", error);
    let (mut pipes, mut sockets) = (Vec::new(), Vec::new());
    for (id, worker) in shared.workers().iter().enumerate() {
        sockets.extend(worker.call(|worker| worker.passed()).await?.map_err(failed)?);
        let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        pipes.push(near.into());
        sockets.push((Passed { kind: Kind::Pipe, worker: id }, far.into()));
    }
    for (name, socket) in own {
        let socket = socket.as_fd().try_clone_to_owned().map_err(failed)?;
        sockets.push((Passed { kind: Kind::Own { name: name.clone() }, worker: 0 }, socket));
    }
    Ok((pipes, sockets))
}
