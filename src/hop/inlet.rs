//! A flow from another member: opened in place, given its original numbers back, and handed to the hub.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Instant;

use msm_auth::srtp::{self, MasterKey};
use msm_core::hop::line::LineReport;
use msm_core::hop::path::{Ends, Message};
use msm_core::hop::{Label, NextIndex, Part, ReceiveLine, Rejoin, Trailer};
use msm_core::rtp::is_rtcp;

use super::association::Association;
use super::keys::{self, MKI_BYTES};
use super::outlet::Outlet;
use super::port::HopPort;
use super::report;
use crate::error::Error;
use crate::hub::home::Home;
use crate::hub::registry::ReaderRef;
use crate::worker::Worker;

/// Where what comes goes.
pub(crate) enum Target {
    /// The session is not that far: what comes is dropped and counted.
    Nobody,
    /// The messages of a path of the association.
    Control,
    /// Media for a stream of this worker.
    Media { home: Weak<Home>, track: usize },
    /// Reports of a reader, on the flow that carries its media.
    Reports { worker: Weak<Worker>, reader: ReaderRef, of: Weak<Outlet> },
}

/// One flow from the other member. Its label is forgotten when it is dropped.
pub(crate) struct Inlet {
    pub(crate) label: Label,
    /// The path that it is to come by, unless that is down.
    path: usize,
    port: Rc<HopPort>,
    association: Weak<Association>,
    state: RefCell<State>,
    /// Apart from the state: what is delivered may cause a report of this flow.
    line: RefCell<ReceiveLine>,
    /// Loss that was given to the counters.
    counted: Cell<u64>,
    target: RefCell<Target>,
}

struct State {
    receiver: srtp::Receiver,
    rejoin: Rejoin,
    parts: Vec<(usize, usize)>,
}

impl Inlet {
    /// Enters a new flow at the worker's port.
    ///
    /// # Errors
    /// [`Error::Capacity`] if the worker has no label left.
    pub(crate) fn new(
        association: &Weak<Association>,
        port: &Rc<HopPort>,
        path: usize,
        target: Target,
    ) -> Result<Rc<Self>, Error> {
        port.enter(|label| {
            Rc::new(Self {
                label,
                path,
                port: Rc::clone(port),
                association: Weak::clone(association),
                target: RefCell::new(target),
                state: RefCell::new(State {
                    receiver: srtp::Receiver::new(srtp::ReceiverOptions {
                        mki_len: MKI_BYTES,
                        // One source a flow: the label.
                        max_ssrcs: 1,
                        ..Default::default()
                    }),
                    rejoin: Rejoin::default(),
                    parts: Vec::new(),
                }),
                line: RefCell::default(),
                counted: Cell::new(0),
            })
        })
    }

    /// Names where packets go from now on.
    pub(crate) fn set_target(&self, target: Target) {
        *self.target.borrow_mut() = target;
    }

    /// Opens packets of this epoch, too.
    pub(crate) fn install(&self, key: &MasterKey, epoch: u32) -> Result<(), Error> {
        self.state.borrow_mut().receiver.install(key, &keys::mki(epoch)).map_err(|_| Error::Stopped)
    }

    /// Opens packets of this epoch no more.
    pub(crate) fn retire(&self, epoch: u32) {
        self.state.borrow_mut().receiver.retire(&keys::mki(epoch));
    }

    /// What to report of the hop's line; ends an interval.
    pub(crate) fn report(&self) -> Option<LineReport> {
        self.line.borrow_mut().report()
    }

    /// What the hop lost since the last call.
    pub(crate) fn fresh_loss(&self) -> u64 {
        let lost = self.line.borrow().lost();
        lost.saturating_sub(self.counted.replace(lost.max(self.counted.get())))
    }

    /// Datagrams of this flow: at these places of the buffer, from this address, or through the TLS connection.
    pub(crate) fn handle(
        &self,
        now: Instant,
        bytes: &mut [u8],
        places: impl Iterator<Item = (usize, usize)>,
        from: Option<Ends>,
    ) {
        let Some(association) = self.association.upgrade() else { return };
        let mut state = self.state.borrow_mut();
        let State { receiver, rejoin, parts } = &mut *state;
        parts.clear();
        let mut authenticated = 0;
        for (offset, length) in places {
            let Some(packet) = offset.checked_add(length).and_then(|end| bytes.get_mut(offset..end)) else {
                continue;
            };
            if packet.get(1).copied().is_some_and(is_rtcp) {
                match receiver.unprotect_rtcp(packet) {
                    Ok(opened) => {
                        let compound = packet.get(..opened.len).unwrap_or_default();
                        let (next, compound) = NextIndex::split(compound);
                        if let Some(NextIndex(next)) = next
                            && let Err(error) = receiver.advance(self.label.ssrc(), next)
                        {
                            self.port.counters.add(error.name(), 1);
                        }
                        if !self.handle_message(now, &association, compound, length, from) {
                            authenticated += length;
                            self.handle_rtcp(now, compound);
                        }
                    }
                    Err(error) => self.port.counters.add(error.name(), 1),
                }
                continue;
            }
            let opened = match receiver.unprotect_rtp(packet) {
                Ok(opened) => opened,
                Err(error) => {
                    self.port.counters.add(error.name(), 1);
                    continue;
                }
            };
            authenticated += length;
            let Some(plain) = packet.get_mut(..opened.len) else { continue };
            let Ok(trailer) = Trailer::read(plain.get(12..).unwrap_or_default()) else {
                self.port.counters.add("hop_trailer", 1);
                continue;
            };
            let original = self.line.borrow_mut().handle(opened.index, trailer.original);
            let Some(original) = original else {
                self.port.counters.add("hop_number_unknown", 1);
                continue;
            };
            let Some(plain) = plain.len().checked_sub(trailer.len()).and_then(|end| plain.get_mut(..end))
            else {
                continue;
            };
            if let Some(sequence) = plain.get_mut(2..4) {
                sequence.copy_from_slice(&original.to_be_bytes());
            }
            if trailer.part == Part::Whole {
                parts.push((offset, plain.len()));
                continue;
            }
            if let Some(joined) = rejoin.handle(opened.index, trailer.part, plain) {
                let whole = joined.len();
                // In order: what came before it goes before it.
                if !parts.is_empty() {
                    self.deliver(now, bytes, parts);
                    parts.clear();
                }
                self.deliver(now, joined, &[(0, whole)]);
            }
        }
        if !parts.is_empty() {
            self.deliver(now, bytes, parts);
        }
        drop(state);
        if authenticated > 0 {
            association.authenticated(now, self.path, from, authenticated);
        }
    }

    fn deliver(&self, now: Instant, bytes: &mut [u8], parts: &[(usize, usize)]) {
        match &*self.target.borrow() {
            Target::Media { home, track } => {
                if let Some(home) = home.upgrade() {
                    home.handle_parts(now, *track, bytes, parts);
                }
            }
            _ => self.port.counters.add("hop_not_playing", parts.len() as u64),
        }
    }

    /// The association's own messages; false for anything else.
    fn handle_message(
        &self,
        now: Instant,
        association: &Association,
        compound: &[u8],
        length: usize,
        from: Option<Ends>,
    ) -> bool {
        if !matches!(*self.target.borrow(), Target::Control) {
            return false;
        }
        let Some(message) = Message::read(compound) else { return false };
        association.handle_message(now, self.path, from, length, &message);
        true
    }

    fn handle_rtcp(&self, now: Instant, compound: &[u8]) {
        if compound.is_empty() {
            return;
        }
        match &*self.target.borrow() {
            Target::Nobody | Target::Control => self.port.counters.add("hop_not_playing", 1),
            Target::Media { home, track } => {
                if let Some(home) = home.upgrade() {
                    home.handle_rtcp(now, *track, compound);
                }
            }
            Target::Reports { worker, reader, of } => {
                if let Some(of) = of.upgrade()
                    && let Some(highest) = report::highest(compound, of.label)
                {
                    of.handle_report(highest);
                }
                if let Some(worker) = worker.upgrade() {
                    worker.handle_report(*reader, compound);
                }
            }
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.port.add_lost(self.fresh_loss());
        self.port.leave(self.label);
    }
}
