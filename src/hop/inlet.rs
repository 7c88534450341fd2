//! A flow from another member: opened in place, given its original numbers back, and handed to the hub.

mod control;
mod delivery;
mod protected;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use msm_auth::srtp::{self, MasterKey, SrtpError};
use msm_core::hop::line::LineReport;
use msm_core::hop::path::Ends;
use msm_core::hop::{Label, NextIndex, ReceiveLine};
use msm_core::route::PathMode;
use msm_core::rtp::is_rtcp;

use self::delivery::Gathered;
use super::association::Association;
use super::copies::Copies;
use super::keys::{self, MKI_BYTES};
use super::outlet::Outlet;
use super::port::HopPort;
use super::protect::timer::Timer;
use super::protect::{Counts, Receiving};
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
    /// Repair packets and retransmissions of another flow.
    Beside { of: Weak<Inlet> },
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
    /// How the flow comes by several paths, if it does.
    copies: Cell<Option<Copies>>,
    /// Loss that was given to the counters.
    counted: Cell<u64>,
    counted_protection: Cell<Counts>,
    target: RefCell<Target>,
    /// The flow that goes back.
    back: RefCell<Weak<Outlet>>,
    /// Where the flow is protected. Held by nobody while packets are delivered.
    receiving: RefCell<Option<Receiving>>,
    timer: Rc<Timer>,
}

struct State {
    receiver: srtp::Receiver,
    gathered: Gathered,
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
                    gathered: Gathered::default(),
                }),
                line: RefCell::default(),
                copies: Cell::new(None),
                counted: Cell::new(0),
                counted_protection: Cell::default(),
                back: RefCell::default(),
                receiving: RefCell::new(None),
                timer: Rc::default(),
            })
        })
    }

    /// Names where packets go from now on.
    pub(crate) fn set_target(&self, target: Target) {
        *self.target.borrow_mut() = target;
    }

    /// The flow comes by several paths, with copies that come within the `latency` of each other, where that is known.
    pub(crate) fn expect_copies(&self, mode: PathMode, latency: Option<Duration>) {
        let copies = Copies::new(mode, latency);
        self.state.borrow_mut().receiver.set_window(copies.window);
        self.copies.set(Some(copies));
    }

    /// How the flow comes by several paths, if it does.
    pub(super) fn copies(&self) -> Option<Copies> {
        self.copies.get()
    }

    /// Counts what could not be opened, unless it is a copy of what was: `copy` is the number and length of an RTP packet.
    fn handle_error(&self, now: Instant, error: SrtpError, path: usize, copy: Option<(u16, usize)>) {
        if self.copies.get().is_none() || !matches!(error, SrtpError::Replayed | SrtpError::TooOld) {
            return self.port.counters.add(error.name(), 1);
        }
        if let (Some(receiving), Some((sequence, bytes))) = (self.receiving.borrow_mut().as_mut(), copy) {
            receiving.handle_copy(now, path, sequence, bytes);
        }
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
        let protected = self.counts().map(Counts::lost);
        let lost = protected.unwrap_or_else(|| self.line.borrow().lost());
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
        let State { receiver, gathered } = &mut *state;
        let is_protected = self.receiving.borrow().is_some();
        let path = self.copies.get().map_or(self.path, |_| association.path_of(self.path, from));
        gathered.parts.clear();
        let mut authenticated = 0;
        for (offset, length) in places {
            let Some(packet) = offset.checked_add(length).and_then(|end| bytes.get_mut(offset..end)) else {
                continue;
            };
            if packet.get(1).copied().is_some_and(is_rtcp) {
                // In order: it may bring something to be delivered.
                self.deliver_gathered(now, gathered, bytes);
                let Some(packet) = bytes.get_mut(offset..offset + length) else { continue };
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
                            self.handle_rtcp(now, gathered, compound);
                        }
                    }
                    Err(error) => self.handle_error(now, error, path, None),
                }
                continue;
            }
            let sequence = packet.get(2..4).and_then(|two| Some(u16::from_be_bytes(two.try_into().ok()?)));
            let opened = match receiver.unprotect_rtp(packet) {
                Ok(opened) => opened,
                Err(error) => {
                    self.handle_error(now, error, path, sequence.map(|sequence| (sequence, length)));
                    continue;
                }
            };
            authenticated += length;
            if let Target::Beside { of } = &*self.target.borrow() {
                if let (Some(of), Some(plain)) = (of.upgrade(), packet.get_mut(..opened.len)) {
                    of.handle_beside(now, plain);
                }
                continue;
            }
            let place = offset..offset + opened.len;
            if !is_protected {
                self.gather(now, gathered, opened.index, bytes, place);
                continue;
            }
            if self.is_admitted(now, gathered, (opened.index, path), bytes, place.clone()) {
                self.gather(now, gathered, opened.index, bytes, place);
            }
            self.deliver_ready(now, gathered, bytes);
        }
        self.deliver_gathered(now, gathered, bytes);
        drop(state);
        self.drive(now);
        if authenticated > 0 {
            association.authenticated(now, self.path, from, authenticated);
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.timer.end();
        self.port.add_lost(self.fresh_loss());
        self.port.add_counts(self.fresh_counts());
        self.port.leave(self.label);
    }
}
