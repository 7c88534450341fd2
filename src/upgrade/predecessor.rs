//! The process before this one, while it has sessions: what goes to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::ANSWER;
use super::wire::{Channel, Message, PredecessorStatus};
use crate::hub::registry::HubKey;
use crate::shared::Shared;
use crate::worker::Worker;

/// What it is told.
pub(crate) enum Command {
    /// A connection goes on there.
    Connection(Handed),
    /// A listener is not in the configuration any more.
    Closed { listener: usize },
    /// This process ends, as it was asked to, or has handed over itself.
    Leave { served: bool },
    /// Whether a local stream is there.
    Ask { key: HubKey, reply: oneshot::Sender<bool> },
}

/// A connection that goes on in another process.
pub(crate) struct Handed {
    /// What the other process calls the listener.
    pub(crate) listener: usize,
    /// The connection, or one end of what carries its bytes.
    pub(crate) socket: OwnedFd,
    pub(crate) relayed: bool,
    pub(crate) peer: SocketAddr,
    /// The address that the client knows us by.
    pub(crate) local: SocketAddr,
    /// What was read of it.
    pub(crate) received: Vec<u8>,
}

/// The process before this one.
pub(crate) struct Predecessor {
    pid: u32,
    /// Of its own, and of those before it.
    generations: Vec<u8>,
    /// Own numbers of listeners, and its.
    listeners: BTreeMap<usize, usize>,
    commands: mpsc::UnboundedSender<Command>,
    left: Mutex<Vec<PredecessorStatus>>,
}

impl Predecessor {
    pub(super) fn new(
        pid: u32,
        generations: Vec<u8>,
        listeners: BTreeMap<usize, usize>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        Self { pid, generations, listeners, commands, left: Mutex::default() }
    }

    /// Whether labels of this generation are its, or those of a process before it.
    pub(crate) fn has(&self, generation: u8) -> bool {
        self.generations.contains(&generation)
    }

    /// Of its own, and of those before it.
    pub(super) fn generations(&self) -> &[u8] {
        &self.generations
    }

    /// Whether a session's ID is of its making.
    pub(super) fn has_session(&self, id: &str) -> bool {
        let last = id.chars().next_back().and_then(|digit| digit.to_digit(16));
        last.and_then(|digit| u8::try_from(digit).ok()).is_some_and(|digit| self.has(digit))
    }

    /// What it calls a listener.
    pub(super) fn listener(&self, own: usize) -> Option<usize> {
        self.listeners.get(&own).copied()
    }

    /// A connection goes on there; it ends if the process has ended.
    pub(crate) fn hand(&self, connection: Handed) {
        let _ = self.commands.send(Command::Connection(connection));
    }

    /// A listener is not in the configuration any more.
    pub(crate) fn closed(&self, own: usize) {
        if let Some(listener) = self.listener(own) {
            let _ = self.commands.send(Command::Closed { listener });
        }
    }

    /// This process ends, as it was asked to, or has handed over itself (`served`): nobody is to serve in its place.
    pub(crate) fn leave(&self, served: bool) {
        let _ = self.commands.send(Command::Leave { served });
    }

    /// Whether it has a local stream.
    pub(super) async fn publishes(&self, key: HubKey) -> bool {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Ask { key, reply }).is_err() {
            return false;
        }
        matches!(tokio::time::timeout(ANSWER, answer).await, Ok(Ok(true)))
    }

    /// Sessions that it has left, and those before it.
    pub(super) fn left(&self) -> Vec<PredecessorStatus> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.is_empty() {
            // It has not said yet.
            return vec![PredecessorStatus { pid: self.pid, sessions: 0, draining_seconds: 0 }];
        }
        left.clone()
    }

    fn set_left(&self, processes: Vec<PredecessorStatus>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = processes;
    }
}

type Asked = Arc<Mutex<BTreeMap<u64, oneshot::Sender<bool>>>>;

/// Talks to the process until it ends. By two tasks: neither process waits for the other to read.
pub(super) fn keep(worker: &Rc<Worker>, socket: OwnedFd, queue: mpsc::UnboundedReceiver<Command>) {
    let shared = Arc::clone(&worker.shared);
    let Some(predecessor) = shared.upgrade.predecessor() else { return };
    let channel = match Channel::new(socket) {
        Ok(channel) => Rc::new(channel),
        Err(error) => {
            tracing::warn!(%error, "cannot speak to the process before this one");
            return gone(&shared);
        }
    };
    let asked = Asked::default();
    let writing = tokio::task::spawn_local(write(Rc::clone(&channel), queue, Arc::clone(&asked)));
    tokio::task::spawn_local(async move {
        while let Ok(packet) = channel.receive().await {
            match packet.message {
                Message::Left { processes } => predecessor.set_left(processes),
                Message::Answer { number, here } => {
                    let reply = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
                    if let Some(reply) = reply {
                        let _ = reply.send(here);
                    }
                }
                other => tracing::debug!(?other, "the process before this one says something odd"),
            }
        }
        writing.abort();
        tracing::info!(pid = predecessor.pid, "the process before this one has ended");
        gone(&shared);
    });
}

/// Nothing goes to it any more.
fn gone(shared: &Arc<Shared>) {
    shared.upgrade.predecessor.store(None);
    for worker in shared.workers() {
        let _ = worker.post(|worker| worker.close_pipe());
    }
    for listener in shared.listeners.load().iter() {
        if let Some(pool) = &listener.groups {
            pool.release();
        }
    }
}

async fn write(channel: Rc<Channel>, mut queue: mpsc::UnboundedReceiver<Command>, asked: Asked) {
    let mut number = 0;
    while let Some(command) = queue.recv().await {
        let outcome = match command {
            Command::Connection(Handed { listener, socket, relayed, peer, local, received }) => {
                let message = Message::Connection { listener, peer, local, relayed };
                channel.send_with(&message, &received, &[socket.as_fd()]).await
            }
            Command::Closed { listener } => channel.send(&Message::Closed { listener }).await,
            Command::Leave { served } => channel.send(&Message::Leave { served }).await,
            Command::Ask { key, reply } => {
                number += 1;
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.retain(|_, reply| !reply.is_closed());
                asked.insert(number, reply);
                drop(asked);
                channel.send(&Message::Ask { number, backend: key.backend, resource: key.resource }).await
            }
        };
        if let Err(error) = outcome {
            tracing::info!(%error, "the process before this one was not told");
        }
    }
}
