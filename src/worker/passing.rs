//! A worker's sockets on their way to another process, and what comes of them from there.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use msm_core::hop::Label;
use msm_core::hop::path::Ends;

use super::Worker;
use crate::hop::port::HopPort;
use crate::hub::receive;
use crate::serve::listener::Listening;
use crate::upgrade::pipe::{self, Run, Way};
use crate::upgrade::{Kind, Passed};

impl Worker {
    /// The sockets that all of a listener's clients share.
    pub(crate) fn passed(&self) -> io::Result<Vec<(Passed, OwnedFd)>> {
        let mut all = Vec::new();
        for listening in self.all_listening() {
            all.extend(listening.sockets()?);
        }
        if let Some(port) = self.shared_port() {
            all.push((Kind::Mesh, port.socket.copy()?));
        }
        Ok(all.into_iter().map(|(kind, socket)| (Passed { kind, worker: self.id }, socket)).collect())
    }

    /// The mesh port, if it is a listener's. One that the system chose is nobody's but the associations' that were opened from it.
    fn shared_port(&self) -> Option<Rc<HopPort>> {
        let is_members = |own: &Rc<Listening>| own.left().is_none() && own.shared().settings.member.is_some();
        self.hop_port().filter(|_| self.all_listening().iter().any(is_members))
    }

    /// Whether the mesh port goes to a process that has taken these listeners.
    fn port_for(&self, taken: &[usize]) -> Option<Rc<HopPort>> {
        let is_taken =
            |own: &Rc<Listening>| taken.contains(&own.index) && own.shared().settings.member.is_some();
        self.hop_port().filter(|_| self.all_listening().iter().any(is_taken))
    }

    /// Neither accepts nor reads at these listeners. What is in hand has been dealt with: a worker does one thing at a time.
    pub(crate) fn pause(&self, taken: &[usize]) {
        for listening in self.all_listening().iter().filter(|own| taken.contains(&own.index)) {
            listening.pause();
        }
        if let Some(port) = self.port_for(taken) {
            port.stop();
        }
    }

    /// Reads its sockets again, as the other process does not; where this one `serves` again, it accepts at all listeners of its
    /// configuration, too.
    pub(crate) fn go_on(self: &Rc<Self>, serves: bool) {
        for listening in self.all_listening() {
            if let Err(error) = listening.read_again(self) {
                let name = &listening.shared().settings.name;
                tracing::error!(listener = name, %error, "what readers report is not read: their sessions will time out");
            }
        }
        if serves {
            self.accept_again();
        }
        let Some(port) = self.hop_port() else { return };
        port.stop();
        match port.socket.hear() {
            Ok(()) => port.start(self),
            Err(error) => {
                tracing::error!(%error, "the mesh port is not read: members go on by TCP");
            }
        }
    }

    /// Lets nobody connect to a listener any more, or to any.
    pub(crate) fn close_given(&self, listener: Option<usize>) {
        for listening in self.all_listening() {
            if listener.is_none_or(|own| own == listening.index) {
                listening.close();
            }
        }
    }

    /// Another process has these listeners. The others take nobody any more, either.
    pub(crate) fn give_away(self: &Rc<Self>, taken: &[usize], pipe: OwnedFd) {
        if let Some(port) = self.port_for(taken) {
            port.socket.deafen();
        }
        for listening in self.all_listening() {
            if taken.contains(&listening.index) {
                listening.give_away();
            } else if listening.left().is_none() {
                listening.leave(Instant::now());
            }
        }
        let worker = Rc::downgrade(self);
        tokio::task::spawn_local(pipe::receive(pipe, move |mut run| {
            let Some(worker) = worker.upgrade() else { return };
            match run.way {
                Way::Reports => receive::reports(&worker, run.source, &run.bytes, run.stride),
                Way::Dummies => receive::dummies(&worker, run.source, &run.bytes, run.stride),
                Way::Mesh => {
                    let from = Ends { remote: run.source, local: run.destination };
                    if let Some(port) = worker.hop_port() {
                        port.handle(&worker, Instant::now(), &mut run.bytes, run.stride, Some(from));
                    }
                }
            }
        }));
    }

    /// Datagrams from nobody who is known here: those of the process before this one, while it lives.
    pub(crate) fn foreign(&self, way: Way, source: SocketAddr, bytes: &[u8], stride: usize) {
        match self.pipe.borrow().as_ref() {
            Some(pipe) => pipe.push(&Run { way, source, destination: None, stride, bytes }),
            None => self.count_foreign(bytes.len(), stride),
        }
    }

    /// Packets of a label that is not known here. Answers whether they are the process's before this one.
    pub(crate) fn hands_on(&self, label: Label, run: &[u8], stride: usize, from: Option<Ends>) -> bool {
        let pipe = self.pipe.borrow();
        let (Some(pipe), Some(Ends { remote, local })) = (pipe.as_ref(), from) else { return false };
        let before = self.shared.upgrade.predecessor();
        if !before.is_some_and(|before| before.has(label.generation())) {
            return false;
        }
        pipe.push(&Run { way: Way::Mesh, source: remote, destination: local, stride, bytes: run });
        true
    }
}
