//! Sockets that were passed to this process, until a worker takes them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::wire::{Kind, Passed, PassedListener};
use crate::serve::listener::ListenerShared;

/// What is there to be taken.
#[derive(Default)]
pub(crate) struct Inherited {
    listeners: Vec<PassedListener>,
    sockets: Vec<(Passed, OwnedFd)>,
    /// Own numbers of listeners, and the other process's.
    same: Vec<(usize, usize)>,
}

impl Inherited {
    pub(super) fn new(listeners: Vec<PassedListener>, sockets: Vec<(Passed, OwnedFd)>) -> Self {
        Self { listeners, sockets, same: Vec::new() }
    }

    /// Finds out which listeners are the same here. What belongs to none of them is closed.
    pub(super) fn claim(&mut self, own: &[Arc<ListenerShared>]) {
        let mut free = std::mem::take(&mut self.listeners);
        for listener in own {
            let key = listener.key();
            let same = |theirs: &PassedListener| theirs.key == key;
            let named = |theirs: &PassedListener| same(theirs) && theirs.name == listener.settings.name;
            let found = free.iter().position(named).or_else(|| free.iter().position(same));
            if let Some(found) = found {
                let theirs = free.swap_remove(found);
                if let Some(pool) = &listener.groups {
                    pool.hold(&theirs.groups);
                }
                self.same.push((listener.id, theirs.id));
            }
        }
        let same = &self.same;
        let member = own.iter().any(|own| own.key().member && same.iter().any(|(id, _)| *id == own.id));
        self.sockets.retain(|(passed, _)| match &passed.kind {
            Kind::Tcp { listener } | Kind::Rtcp { listener } | Kind::Rtp { listener } => {
                same.iter().any(|(_, theirs)| theirs == listener)
            }
            Kind::Mesh => member,
            Kind::Pipe | Kind::Own { .. } => true,
        });
    }

    /// Own numbers of listeners that are the same, and the other process's.
    pub(super) fn same(&self) -> &[(usize, usize)] {
        &self.same
    }

    /// What the other process calls an own listener.
    pub(crate) fn theirs(&self, own: usize) -> Option<usize> {
        self.same.iter().find(|(id, _)| *id == own).map(|(_, theirs)| *theirs)
    }

    /// Takes a socket; of listeners by the other process's numbers.
    pub(crate) fn socket(&mut self, kind: &Kind, worker: usize) -> Option<OwnedFd> {
        let is_it = |(passed, _): &(Passed, OwnedFd)| passed.kind == *kind && passed.worker == worker;
        let found = self.sockets.iter().position(is_it)?;
        Some(self.sockets.swap_remove(found).1)
    }

    /// Whether there is a socket of this kind for any worker.
    pub(super) fn has_socket(&self, kind: &Kind) -> bool {
        self.sockets.iter().any(|(passed, _)| passed.kind == *kind)
    }

    /// Closes what nobody took: a socket that listens and is not accepted from would have clients wait.
    pub(super) fn close_rest(&mut self) {
        self.sockets.clear();
    }

    /// Takes the sockets that are not of the mesh.
    pub(super) fn own(&mut self) -> Vec<(String, OwnedFd)> {
        let mut own = Vec::new();
        let mut rest = Vec::with_capacity(self.sockets.len());
        for (passed, socket) in std::mem::take(&mut self.sockets) {
            match passed.kind {
                Kind::Own { name } => own.push((name, socket)),
                kind => rest.push((Passed { kind, ..passed }, socket)),
            }
        }
        self.sockets = rest;
        own
    }
}
