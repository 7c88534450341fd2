//! One worker's part of a listener: its sockets, and who reads them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::accept::accept_by;
use super::bind::bind_tcp;
use super::{Bound, ListenerShared};
use crate::error::Error;
use crate::hub::receive::{Receiving, receive_readers};
use crate::net::pair::Pair;
use crate::upgrade::Kind;
use crate::worker::Worker;

/// One worker's part of a listener.
pub(crate) struct Listening {
    /// Its number among the mesh's listeners.
    pub(crate) index: usize,
    shared: RefCell<Arc<ListenerShared>>,
    /// The pair that all plain readers of this worker are served from.
    pub(crate) readers: Pair,
    receiving: RefCell<Option<Receiving>>,
    stopping: Rc<Notify>,
    tcp: RefCell<Option<Rc<TcpListener>>>,
    accepting: RefCell<AbortHandle>,
    /// Since when it takes no new sessions, as it is not in the configuration any more.
    left: Cell<Option<Instant>>,
}

impl Listening {
    /// The listener, with its settings of now.
    pub(crate) fn shared(&self) -> Arc<ListenerShared> {
        Arc::clone(&self.shared.borrow())
    }

    /// It goes on with these settings.
    pub(crate) fn set_shared(&self, shared: Arc<ListenerShared>) {
        *self.shared.borrow_mut() = shared;
    }

    /// Stops to accept; connections that are open go on, those that wait in the kernel are let in.
    pub(crate) fn stop(&self) {
        self.tcp.borrow_mut().take();
        self.stopping.notify_one();
    }

    /// It is not in the configuration any more: its sessions may end by themselves, and no new one begins.
    pub(crate) fn leave(&self, now: Instant) {
        self.left.set(Some(now));
        self.stop();
    }

    /// Since when it is not in the configuration any more.
    pub(crate) fn left(&self) -> Option<Instant> {
        self.left.get()
    }

    /// The sockets, for another process; none once it is not in the configuration. Where nobody accepts any more, those for UDP.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(Kind, OwnedFd)>> {
        let listener = self.index;
        let mut all = Vec::new();
        if self.left.get().is_some() {
            return Ok(all);
        }
        if let Some(tcp) = self.tcp.borrow().as_ref() {
            all.push((Kind::Tcp { listener }, tcp.as_fd().try_clone_to_owned()?));
        }
        all.push((Kind::Rtp { listener }, self.readers.rtp.copy()?));
        all.push((Kind::Rtcp { listener }, self.readers.rtcp.copy()?));
        Ok(all)
    }

    /// Neither accepts nor reads: what comes waits in the kernel.
    pub(crate) fn pause(&self) {
        self.accepting.borrow().abort();
        self.receiving.borrow_mut().take();
    }

    /// Reads again.
    pub(crate) fn read_again(&self, worker: &Rc<Worker>) -> io::Result<()> {
        self.receiving.borrow_mut().take();
        self.readers.rtp.hear()?;
        self.readers.rtcp.hear()?;
        *self.receiving.borrow_mut() = Some(receive_readers(worker, &self.readers));
        Ok(())
    }

    /// Accepts again, at a new socket where it has none any more.
    pub(crate) fn accept_again(self: &Rc<Self>, worker: &Rc<Worker>) -> Result<(), Error> {
        let known = self.tcp.borrow().clone();
        let tcp = match known {
            Some(tcp) => tcp,
            None => Rc::new(bind_tcp(worker, &self.shared())?),
        };
        self.left.set(None);
        self.accepting.borrow().abort();
        *self.accepting.borrow_mut() =
            accept_by(worker, Rc::downgrade(self), Rc::clone(&tcp), &self.stopping);
        *self.tcp.borrow_mut() = Some(tcp);
        Ok(())
    }

    /// Another process accepts and reads; the sockets are for sending here, and in case that it does not any more.
    pub(crate) fn give_away(&self) {
        self.pause();
        self.readers.rtp.deafen();
        self.readers.rtcp.deafen();
    }

    /// Nobody accepts here any more, in neither process.
    pub(crate) fn close(&self) {
        self.accepting.borrow().abort();
        self.tcp.borrow_mut().take();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.borrow().abort();
    }
}
/// Starts to accept.
pub(crate) fn listen(worker: &Rc<Worker>, bound: Bound) -> Rc<Listening> {
    let Bound { shared, tcp, readers } = bound;
    let receiving = receive_readers(worker, &readers);
    let (stopping, tcp) = (Rc::new(Notify::new()), Rc::new(tcp));
    Rc::new_cyclic(|weak: &std::rc::Weak<Listening>| Listening {
        index: shared.id,
        shared: RefCell::new(shared),
        readers,
        receiving: RefCell::new(Some(receiving)),
        accepting: RefCell::new(accept_by(worker, weak.clone(), Rc::clone(&tcp), &stopping)),
        tcp: RefCell::new(Some(tcp)),
        stopping,
        left: Cell::new(None),
    })
}
