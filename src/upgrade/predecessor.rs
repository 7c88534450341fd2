//! The process before this one, while it has sessions: what goes to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::ANSWER;
use super::wire::{Channel, Message, PredecessorStatus, Turn};
use crate::hub::registry::HubKey;
use crate::shared::Shared;
use crate::worker::Worker;

/// Connections and questions that wait for it to read. Clients cause them, and it may hang.
const WAITING: usize = 256;

/// What it is told.
pub(crate) enum Command {
    /// A connection goes on there.
    Connection(Handed, OwnedSemaphorePermit),
    /// A listener is not in the configuration any more.
    Closed { listener: usize },
    /// Who serves from now on.
    Serves { who: Turn },
    /// Whether a local stream is there.
    Ask { key: HubKey, reply: oneshot::Sender<bool>, permit: OwnedSemaphorePermit },
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
    /// For what clients cause; the rest is little.
    room: Arc<Semaphore>,
    /// It has not answered in time, and said nothing since.
    is_silent: AtomicBool,
    left: Mutex<Vec<PredecessorStatus>>,
}

impl Predecessor {
    pub(super) fn new(
        pid: u32,
        generations: Vec<u8>,
        listeners: BTreeMap<usize, usize>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(WAITING));
        let is_silent = AtomicBool::new(false);
        Self { pid, generations, listeners, commands, room, is_silent, left: Mutex::default() }
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

    /// A connection goes on there; it ends if the process has ended. Answers whether there was room for it.
    pub(crate) fn hand(&self, connection: Handed) -> bool {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return false };
        let _ = self.commands.send(Command::Connection(connection, permit));
        true
    }

    /// A listener is not in the configuration any more.
    pub(crate) fn closed(&self, own: usize) {
        if let Some(listener) = self.listener(own) {
            let _ = self.commands.send(Command::Closed { listener });
        }
    }

    /// Who serves from now on.
    pub(super) fn tell(&self, who: Turn) {
        let _ = self.commands.send(Command::Serves { who });
    }

    /// Whether it has a local stream. One that hangs is not waited for again and again: each request of that kind would take as long.
    pub(super) async fn publishes(&self, key: HubKey) -> bool {
        if self.is_silent.load(Ordering::Acquire) {
            return false;
        }
        let (reply, answer) = oneshot::channel();
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return false };
        if self.commands.send(Command::Ask { key, reply, permit }).is_err() {
            return false;
        }
        let Ok(answer) = tokio::time::timeout(ANSWER, answer).await else {
            if !self.is_silent.swap(true, Ordering::AcqRel) {
                tracing::warn!(
                    pid = self.pid,
                    "the process before this one does not answer; nothing is sent back to it until it does"
                );
            }
            return false;
        };
        answer.unwrap_or(false)
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

type Asked = Rc<RefCell<BTreeMap<u64, oneshot::Sender<bool>>>>;

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
    let writing = tokio::task::spawn_local(write(Rc::clone(&channel), queue, Rc::clone(&asked)));
    tokio::task::spawn_local(async move {
        loop {
            let packet = match channel.receive().await {
                Ok(packet) => packet,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    tracing::debug!(%error, "the process before this one says what is no message");
                    continue;
                }
                Err(_) => break,
            };
            predecessor.is_silent.store(false, Ordering::Release);
            match packet.message {
                Message::Left { processes } => predecessor.set_left(processes),
                Message::Answer { number, here } => {
                    let reply = asked.borrow_mut().remove(&number);
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
            Command::Connection(Handed { listener, socket, relayed, peer, local, received }, _permit) => {
                let message = Message::Connection { listener, peer, local, relayed };
                channel.send_with(&message, &received, &[socket.as_fd()]).await
            }
            Command::Closed { listener } => channel.send(&Message::Closed { listener }).await,
            Command::Serves { who } => channel.send(&Message::Serves { who }).await,
            // Nobody waits for the answer any more.
            Command::Ask { reply, .. } if reply.is_closed() => continue,
            Command::Ask { key, reply, permit: _permit } => {
                number += 1;
                asked.borrow_mut().retain(|_, reply| !reply.is_closed());
                asked.borrow_mut().insert(number, reply);
                channel.send(&Message::Ask { number, backend: key.backend, resource: key.resource }).await
            }
        };
        if let Err(error) = outcome {
            tracing::info!(%error, "something did not reach the process before this one, such as a connection, which ends then");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn handed() -> Handed {
        let peer = "192.0.2.7:5000".parse().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        Handed { listener: 0, socket, relayed: false, peer, local: peer, received: Vec::new() }
    }

    fn key() -> HubKey {
        HubKey { backend: "local".to_owned(), resource: "/one".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_holds_up_nobody_for_long_and_not_without_end() {
        let (commands, mut queue) = mpsc::unbounded_channel();
        let own = Predecessor::new(7, vec![3, 12], BTreeMap::new(), commands);
        assert!(own.has_session("00c") && own.has_session("3") && !own.has_session("004"));
        assert!(!own.has_session("") && !own.has_session("00x"));
        for _ in 0..WAITING {
            assert!(own.hand(handed()));
        }
        let began = Instant::now();
        assert!(!own.hand(handed()) && !own.publishes(key()).await);
        assert_eq!(began.elapsed(), std::time::Duration::ZERO);
        // What it has to know finds room.
        own.tell(Turn::Nobody);
        let mut waiting = 0;
        while queue.try_recv().is_ok() {
            waiting += 1;
        }
        assert_eq!(waiting, WAITING + 1);
        // Asked once, and not again until it says something.
        assert!(!own.publishes(key()).await);
        assert!(began.elapsed() >= ANSWER);
        let began = Instant::now();
        assert!(!own.publishes(key()).await);
        assert_eq!(began.elapsed(), std::time::Duration::ZERO);
        own.is_silent.store(false, Ordering::Release);
        let asking = own.publishes(key());
        let answering = async {
            loop {
                match queue.recv().await {
                    Some(Command::Ask { reply, .. }) if !reply.is_closed() => return reply.send(true),
                    _ => {}
                }
            }
        };
        assert_eq!(tokio::join!(asking, answering), (true, Ok(())));
    }
}
