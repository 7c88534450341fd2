//! A worker's part of the listeners: all of them at the start, and those that come and go as the configuration changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use crate::error::Error;
use crate::net::pair::Pair;
use crate::serve::listener::{Bound, ListenerShared, Listening, bind_all, listen};
use crate::serve::session;

/// The listeners of one worker, by [`ListenerShared::id`].
#[derive(Default)]
pub(crate) struct Listeners {
    open: RefCell<BTreeMap<usize, Rc<Listening>>>,
    /// Bound for a configuration that is not in force yet.
    prepared: RefCell<Vec<Bound>>,
}

/// What a new configuration makes of listeners.
#[derive(Clone, Default)]
pub(crate) struct ListenerChanges {
    /// To be bound and served.
    pub(crate) added: Vec<Arc<ListenerShared>>,
    /// To go on at their sockets by other settings.
    pub(crate) changed: Vec<Arc<ListenerShared>>,
    /// To take nothing new.
    pub(crate) removed: Vec<usize>,
}

impl Worker {
    /// Binds this worker's part of every listener; [`Self::open_prepared`] serves them.
    pub(crate) fn bind(&self) -> Result<(), Error> {
        if !self.listeners.open.borrow().is_empty() {
            return Ok(());
        }
        // All or none: a listener alone would be served by a mesh that has not started.
        self.prepare_listeners(&self.shared.listeners.load_full())
    }

    /// Binds this worker's part of listeners that are to come, all or none.
    pub(crate) fn prepare_listeners(&self, added: &[Arc<ListenerShared>]) -> Result<(), Error> {
        let bound: Result<Vec<_>, Error> = added.iter().map(|own| bind_all(self, Arc::clone(own))).collect();
        *self.listeners.prepared.borrow_mut() = bound?;
        Ok(())
    }

    /// They do not come after all.
    pub(crate) fn discard_prepared(&self) {
        self.listeners.prepared.borrow_mut().clear();
    }

    /// Serves what was bound.
    pub(crate) fn open_prepared(self: &Rc<Self>) {
        let prepared = std::mem::take(&mut *self.listeners.prepared.borrow_mut());
        for bound in prepared {
            let listening = listen(self, bound);
            self.listeners.open.borrow_mut().insert(listening.index, listening);
        }
    }

    /// The listeners are as the new configuration has them; those that it adds have been prepared.
    pub(crate) fn change_listeners(self: &Rc<Self>, changes: &ListenerChanges) {
        self.open_prepared();
        let open = self.listeners.open.borrow();
        for changed in &changes.changed {
            if let Some(listening) = open.get(&changed.id) {
                listening.set_shared(Arc::clone(changed));
            }
        }
        for id in &changes.removed {
            if let Some(before) = self.shared.upgrade.predecessor().filter(|_| self.id == 0) {
                before.closed(*id);
            }
            if let Some(listening) = open.get(id) {
                listening.leave(Instant::now());
            }
        }
    }

    /// Lets go of listeners that are not in the configuration any more and that no session uses; sessions that use them still
    /// end when `drain_timeout` is over.
    pub(super) fn end_left_listeners(self: &Rc<Self>, now: Instant) {
        let drain = self.shared.settings().drain_timeout;
        let left: Vec<_> = {
            let open = self.listeners.open.borrow();
            open.values().filter_map(|own| Some((own.index, own.left()?))).collect()
        };
        for (id, since) in left {
            if now.saturating_duration_since(since) >= drain {
                session::end_of_listener(self, id);
            }
            // Of any worker: what their readers report comes to whichever the kernel chooses.
            if !self.shared.sessions.uses_listener(id) {
                self.listeners.open.borrow_mut().remove(&id);
            }
        }
    }

    /// Accepts at every listener of the configuration, as nobody else does any more. What another process had no use for is bound again.
    pub(super) fn accept_again(self: &Rc<Self>) {
        for own in self.shared.listeners.load_full().iter() {
            let outcome = match self.listener(own.id) {
                Some(listening) => listening.accept_again(self),
                None => bind_all(self, Arc::clone(own)).map(|bound| {
                    let listening = listen(self, bound);
                    self.listeners.open.borrow_mut().insert(own.id, listening);
                }),
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "a listener of before is not there again: restart to have it");
            }
        }
    }

    /// Stops accepting connections.
    pub(crate) fn stop_listening(&self) {
        self.listeners.open.borrow().values().for_each(|listening| listening.stop());
    }

    /// This worker's parts of all of them.
    pub(crate) fn all_listening(&self) -> Vec<Rc<Listening>> {
        self.listeners.open.borrow().values().map(Rc::clone).collect()
    }

    /// This worker's part of a listener.
    pub(crate) fn listener(&self, id: usize) -> Option<Rc<Listening>> {
        self.listeners.open.borrow().get(&id).map(Rc::clone)
    }

    /// The pair that plain readers of a listener are served from on this worker.
    pub(crate) fn reader_pair(&self, listener: usize) -> Option<Pair> {
        self.listener(listener).map(|listening| listening.readers.clone())
    }

    /// Lets go of all of them.
    pub(super) fn close_listeners(&self) {
        self.discard_prepared();
        let open = std::mem::take(&mut *self.listeners.open.borrow_mut());
        drop(open);
    }
}
