//! Upgrade in place: a process takes over the sockets of the one that runs, while the sessions of that one end by themselves.
//!
//! See *Upgrade in place* in ARCHITECTURE.md. The running process has a [`Door`]; the new one asks there ([`Takeover::ask`]) before it
//! binds anything, and gives what it got to [`Builder::take_over`](crate::Builder::take_over).
//!
//! ```no_run
//! # async fn run(config: msm::config::Config) -> Result<(), msm::Error> {
//! use msm::upgrade::{Door, Takeover};
//!
//! let socket = std::path::Path::new("/run/app/upgrade.sock");
//! let mut builder = msm::Mesh::builder().config(config);
//! if let Some(takeover) = Takeover::ask(socket).await? {
//!     builder = builder.take_over(takeover);
//! }
//! let mesh = builder.build().await?;
//! mesh.serve().await?;
//! let mut door = Door::open(socket)?;
//! door.next(&mesh, &[]).await.hand_over(&mesh).await?;
//! mesh.shutdown(std::time::Duration::from_secs(3600)).await;
//! # Ok(())
//! # }
//! ```

pub(crate) mod back;
mod door;
mod inherited;
pub(crate) mod pipe;
mod predecessor;
mod relay;
mod successor;
mod takeover;
mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use msm_core::hop::label::GENERATIONS;
use tokio::sync::watch;

pub use self::door::Door;
pub(crate) use self::inherited::Inherited;
pub(crate) use self::predecessor::{Handed, Predecessor};
pub use self::successor::Successor;
pub(crate) use self::successor::stream;
pub use self::takeover::Takeover;
pub use self::wire::PredecessorStatus;
use self::wire::Turn;
pub(crate) use self::wire::{Kind, ListenerKey, Passed, PassedListener};
use crate::error::Error;

/// How long the other process may take for what it has at hand.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a new process may take from being told of the sockets until it is ready: it fetches an identity, and asks DNS.
const BUILD: Duration = Duration::from_secs(120);
/// How long connections without a session hold up the end of a process.
const IDLE: Duration = Duration::from_secs(10);
/// Processes whose sessions end at a time, beside the one that serves.
const MAX_PREDECESSORS: usize = 8;
const _: () = assert!(MAX_PREDECESSORS < GENERATIONS as usize);

/// What a mesh knows of the processes before and after it.
pub(crate) struct Upgrade {
    /// Sockets that were passed, and what is left to be said, until they are served.
    pub(crate) inherited: Mutex<Inherited>,
    pub(crate) pending: Mutex<Option<takeover::Pending>>,
    predecessor: ArcSwapOption<Predecessor>,
    /// Whether nobody else reads the sockets.
    mine: watch::Sender<bool>,
    serves: watch::Sender<Serves>,
    /// This process was asked to end.
    ends: AtomicBool,
}

/// Who serves, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    /// This one.
    Own,
    /// Another one, since then.
    Other(Instant),
    /// Nobody: another one did, from then on, until it ended as it was asked to. The next one takes over from this one.
    Nobody(Instant),
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            inherited: Mutex::default(),
            pending: Mutex::default(),
            predecessor: ArcSwapOption::empty(),
            mine: watch::Sender::new(true),
            serves: watch::Sender::new(Serves::Own),
            ends: AtomicBool::new(false),
        }
    }
}

impl Upgrade {
    /// The process before this one, while it has sessions.
    pub(crate) fn predecessor(&self) -> Option<Arc<Predecessor>> {
        self.predecessor.load_full()
    }

    /// Takes a socket that was passed.
    pub(crate) fn socket(&self, kind: &Kind, worker: usize) -> Option<std::os::fd::OwnedFd> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).socket(kind, worker)
    }

    /// Whether a socket of this kind was passed, and is not taken yet.
    pub(crate) fn has_socket(&self, kind: &Kind) -> bool {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).has_socket(kind)
    }

    /// Whether this process is about to take over from another one.
    pub(crate) fn takes_over(&self) -> bool {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What the process before this one calls an own listener, whose sockets it has passed.
    pub(crate) fn theirs(&self, listener: usize) -> Option<usize> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).theirs(listener)
    }

    /// Waits until the process before this one reads the sockets no more.
    pub(crate) async fn mine(&self) {
        let mut mine = self.mine.subscribe();
        if mine.wait_for(|mine| *mine).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Nobody else reads the sockets of this process, all of which have been taken.
    fn serve_alone(&self) {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).close_rest();
        self.mine.send_replace(true);
    }

    /// Since when this process does not serve any more.
    pub(crate) fn handed_over(&self) -> Option<Instant> {
        match *self.serves.borrow() {
            Serves::Own => None,
            Serves::Other(since) | Serves::Nobody(since) => Some(since),
        }
    }

    fn set_serves(&self, serves: Serves) {
        self.serves.send_replace(serves);
        self.tell();
    }

    /// This process was asked to end: nobody is to serve after it.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::Release);
        self.tell();
    }

    /// Tells the process before this one who serves.
    fn tell(&self) {
        let who = match *self.serves.borrow() {
            Serves::Own if !self.ends.load(Ordering::Acquire) => Turn::Mine,
            Serves::Other(_) => Turn::Next,
            Serves::Own | Serves::Nobody(_) => Turn::Nobody,
        };
        if let Some(before) = self.predecessor() {
            before.tell(who);
        }
    }

    /// Waits until this process serves.
    pub(crate) async fn taken_back(&self) {
        self.until(|serves| *serves == Serves::Own).await;
    }

    /// Waits until the process that served in the place of this one has ended, as it was asked to.
    pub(crate) async fn left_alone(&self) {
        self.until(|serves| matches!(serves, Serves::Nobody(_))).await;
    }

    async fn until(&self, is_so: impl FnMut(&Serves) -> bool) {
        let mut serves = self.serves.subscribe();
        if serves.wait_for(is_so).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Own numbers of listeners whose sockets were passed, and the other process's.
    fn same(&self) -> Vec<(usize, usize)> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).same().to_vec()
    }

    /// The processes before this one that have sessions.
    pub(crate) fn predecessors(&self) -> Vec<PredecessorStatus> {
        self.predecessor().map(|own| own.left()).unwrap_or_default()
    }
}

/// When a process has nothing left to do.
#[derive(Default)]
pub(crate) struct Quiet(Option<Instant>);

impl Quiet {
    /// Whether no session is left. Where another process serves, nor may any connection be, of which one may be about to have a session,
    /// unless nothing has come of it for a while; nor a process before this one, which is reached by this one alone.
    pub(crate) fn has_ended(&mut self, shared: &crate::shared::Shared) -> bool {
        if shared.metrics.sessions.get() > 0 {
            self.0 = None;
            return false;
        }
        if shared.upgrade.handed_over().is_none() {
            return true;
        }
        let since = *self.0.get_or_insert_with(Instant::now);
        let is_idle = shared.metrics.connections.get() <= 0 || since.elapsed() >= IDLE;
        is_idle && shared.upgrade.predecessor().is_none()
    }
}

/// A generation that no process has that lives.
pub(crate) fn generation(random: u8, taken: &[u8]) -> u8 {
    let free = (0..GENERATIONS).map(|step| random.wrapping_add(step) % GENERATIONS);
    free.into_iter().find(|own| !taken.contains(own)).unwrap_or(random % GENERATIONS)
}

/// What went wrong at the socket.
fn failed(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Upgrade { socket: path.display().to_string(), reason: reason.to_string() }
}

/// Whether a process of this user may hand over to, or take over from, one of that user.
fn trusts(own: u32, peer: u32) -> bool {
    peer == own || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_that_live_are_not_given_again() {
        assert_eq!(generation(0xf3, &[]), 3);
        assert_eq!(generation(15, &[15, 0, 1]), 2);
        let all: Vec<u8> = (0..GENERATIONS).filter(|own| *own != 9).collect();
        assert!((0..=255).all(|random| generation(random, &all) == 9));
    }

    #[test]
    fn only_the_same_user_and_root_are_trusted() {
        assert!(trusts(1000, 1000) && trusts(1000, 0) && trusts(0, 0));
        assert!(!trusts(1000, 1001) && !trusts(0, 1000));
    }
}
