//! The process after this one: the last steps of the hand-over, and what comes from it then.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::predecessor::Handed;
use super::wire::{Channel, Message, Packet, PredecessorStatus, Turn};
use super::{ANSWER, Serves, failed};
use crate::error::Error;
use crate::hub::registry::HubKey;
use crate::mesh::Mesh;
use crate::serve::connection;
use crate::shared::Shared;
use crate::worker::{Worker, WorkerHandle};

/// How often it is told how many sessions are left.
const TELL: Duration = Duration::from_secs(1);

/// This process's ends of what packets come by, one a worker.
pub(super) type Passing = Vec<OwnedFd>;

/// A process that has everything to serve in the place of this one, and waits for its word.
pub struct Successor {
    pub(super) path: PathBuf,
    pub(super) pid: u32,
    pub(super) channel: Channel,
    pub(super) pipes: Passing,
    /// Own numbers of the listeners that it goes on with.
    pub(super) listeners: Vec<usize>,
}

impl std::fmt::Debug for Successor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Successor").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Successor {
    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it serve. From then on `mesh` lets nobody in but who has a session or a stream here; [`Mesh::shutdown`] waits for these to end.
    /// Not cancel safe: the workers may stay paused.
    ///
    /// # Errors
    /// [`Error::Upgrade`]: it has ended, or does not answer. Then `mesh` goes on as before.
    pub async fn hand_over(self, mesh: &Mesh) -> Result<(), Error> {
        let Self { path, pid, channel, pipes, listeners } = self;
        let shared = mesh.shared();
        let began = Instant::now();
        let listeners = Arc::new(listeners);
        let told = async {
            for worker in shared.workers() {
                let taken = Arc::clone(&listeners);
                worker.call(move |worker| worker.pause(&taken)).await?;
            }
            let wrong = |reason: io::Error| failed(&path, reason);
            channel.send(&Message::Yours).await.map_err(wrong)?;
            match channel.receive_last(ANSWER).await.map_err(wrong)?.message {
                Message::Taken => Ok(()),
                _ => Err(failed(&path, "something else than Taken")),
            }
        };
        if let Err(error) = told.await {
            drop(channel);
            let serves = shared.upgrade.handed_over().is_none();
            for worker in shared.workers() {
                let _ = worker.call(move |worker| worker.go_on(serves)).await;
            }
            tracing::warn!(pid, %error, "the process that was to take over has not: going on as before");
            return Err(error);
        }
        let since = shared.upgrade.handed_over().unwrap_or_else(Instant::now);
        shared.upgrade.set_serves(Serves::Other(since));
        for (worker, pipe) in shared.workers().iter().zip(pipes) {
            let taken = Arc::clone(&listeners);
            worker.call(move |worker| worker.give_away(&taken, pipe)).await?;
        }
        let sessions = shared.metrics.sessions.get();
        tracing::info!(pid, sessions, took = ?began.elapsed(), "another process serves now; the sessions here end by themselves");
        let socket = channel.into_socket();
        let first: &WorkerHandle = shared.workers().first().ok_or(Error::Stopped)?;
        first.post(move |worker| keep(worker, pid, socket))
    }
}

/// Takes what comes from the process, and tells it what is left here.
fn keep(worker: &Rc<Worker>, pid: u32, socket: OwnedFd) {
    let shared = Arc::clone(&worker.shared);
    let channel = match Channel::new(socket) {
        Ok(channel) => Rc::new(channel),
        Err(error) => return tracing::warn!(%error, "cannot speak to the process after this one"),
    };
    let (answers, queue) = mpsc::unbounded_channel();
    let telling = tokio::task::spawn_local(tell(Arc::clone(&shared), Rc::clone(&channel), queue));
    tokio::task::spawn_local(async move {
        let mut turn = Turn::Mine;
        let error = loop {
            match channel.receive().await {
                Ok(Packet { message: Message::Serves { who }, .. }) => {
                    turn = who;
                    if turn != Turn::Mine {
                        close(&shared, None);
                    }
                }
                Ok(Packet { message: Message::Closed { listener }, .. }) => close(&shared, Some(listener)),
                Ok(packet) => heard(&shared, packet, &answers),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::debug!(%error, "the process after this one says what is no message");
                }
                Err(error) => break error,
            }
        };
        telling.abort();
        if turn == Turn::Next {
            // What another one reads is not to be read here. Nobody passes it on any more.
            return tracing::warn!(pid, %error, "the process after this one is gone; sessions by UDP here will time out");
        }
        let serves = turn == Turn::Mine;
        // Before anybody is told: whoever asks then is to get all of the sockets.
        for worker in shared.workers() {
            let _ = worker.call(move |worker| worker.go_on(serves)).await;
        }
        if serves {
            tracing::error!(pid, %error, "the process after this one is gone: serving again");
            shared.upgrade.set_serves(Serves::Own);
        } else {
            tracing::info!(
                pid,
                "the process after this one has ended as it was asked to; the sessions here go on, and nobody new is let in"
            );
            let since = shared.upgrade.handed_over().unwrap_or_else(Instant::now);
            shared.upgrade.set_serves(Serves::Nobody(since));
        }
    });
}

/// Nobody connects any more to a listener, or to any.
fn close(shared: &Shared, listener: Option<usize>) {
    for worker in shared.workers() {
        let _ = worker.post(move |worker| worker.close_given(listener));
    }
}

fn heard(shared: &Arc<Shared>, packet: Packet, answers: &mpsc::UnboundedSender<Message>) {
    match packet.message {
        Message::Connection { listener, peer, local, relayed } => {
            let Some(socket) = packet.descriptors.into_iter().next() else { return };
            let handed = Handed { listener, socket, relayed, peer, local, received: packet.bytes };
            let worker = shared.worker(shared.turn() % shared.worker_count().max(1));
            if let Ok(worker) = worker {
                let _ = worker.post(move |worker| connection::go_on(worker, handed));
            }
        }
        Message::Ask { number, backend, resource } => {
            let (shared, answers) = (Arc::clone(shared), answers.clone());
            let key = HubKey { backend, resource };
            tokio::task::spawn_local(async move {
                let mut here = shared.registry.get(&key).await.is_some();
                if let (false, Some(before)) = (here, shared.upgrade.predecessor()) {
                    here = before.publishes(key).await;
                }
                let _ = answers.send(Message::Answer { number, here });
            });
        }
        other => tracing::debug!(?other, "the process after this one says something odd"),
    }
}

async fn tell(shared: Arc<Shared>, channel: Rc<Channel>, mut answers: mpsc::UnboundedReceiver<Message>) {
    let mut tick = tokio::time::interval(TELL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            Some(answer) = answers.recv() => answer,
            _ = tick.tick() => left(&shared),
        };
        if channel.send(&message).await.is_err() {
            return;
        }
    }
}

fn left(shared: &Shared) -> Message {
    let since = shared.upgrade.handed_over().map_or(0, |since| since.elapsed().as_secs());
    let own = PredecessorStatus {
        pid: std::process::id(),
        sessions: shared.metrics.sessions.get(),
        draining_seconds: since,
    };
    let processes = std::iter::once(own).chain(shared.upgrade.predecessors()).collect();
    Message::Left { processes }
}

/// The connection as a socket of the runtime. One that carries a connection's bytes from another process is a Unix socket; what is done with
/// it is reading and writing, which is the same.
pub(crate) fn stream(socket: OwnedFd) -> io::Result<tokio::net::TcpStream> {
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}
