//! A flow from another member: opened in place, given its original numbers back, and handed to the hub.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use msm_auth::srtp::{self, MasterKey, SrtpError};
use msm_core::hop::line::LineReport;
use msm_core::hop::path::{Ends, Message};
use msm_core::hop::{Label, NextIndex, Part, ReceiveLine, Rejoin, Trailer};
use msm_core::rtcp::packet_type;
use msm_core::rtp::is_rtcp;
use msm_fec::order::{Source, Verdict};
use msm_fec::protect;

use super::association::Association;
use super::copies::{self, Copies};
use super::keys::{self, MKI_BYTES};
use super::outlet::Outlet;
use super::port::HopPort;
use super::protect::timer::Timer;
use super::protect::{Counts, Receiving};
use super::report;
use crate::error::Error;
use crate::hub::home::Home;
use crate::hub::registry::ReaderRef;
use crate::status::FlowProtection;
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
    /// The flow comes by several paths, whose copies are so far apart at most.
    skew: Cell<Option<Duration>>,
    /// What each path brings of media.
    copies: RefCell<Option<Copies>>,
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

/// What leaves together.
#[derive(Default)]
struct Gathered {
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
                    gathered: Gathered::default(),
                }),
                line: RefCell::default(),
                skew: Cell::new(None),
                copies: RefCell::new(None),
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
    pub(crate) fn expect_copies(&self, latency: Option<Duration>) {
        let skew = latency.unwrap_or(copies::SKEW);
        self.state.borrow_mut().receiver.set_window(copies::window(skew));
        self.skew.set(Some(skew));
    }

    /// Counts what could not be opened, unless it is a copy of what was.
    fn handle_error(&self, now: Instant, error: SrtpError, path: usize, sequence: Option<u16>) {
        if self.skew.get().is_none() || !matches!(error, SrtpError::Replayed | SrtpError::TooOld) {
            return self.port.counters.add(error.name(), 1);
        }
        if let (Some(copies), Some(sequence)) = (self.copies.borrow_mut().as_mut(), sequence) {
            copies.again(now, path, sequence);
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

    /// What protection has done.
    fn counts(&self) -> Option<Counts> {
        let counts = self.receiving.borrow().as_ref().map(Receiving::counts)?;
        // Order tells of a path's loss only where what another brings comes late.
        let by_none = Counts { path: 0, ..counts }.lost();
        let by_path = self.copies.borrow_mut().as_mut().map_or(0, |copies| copies.by_others(by_none));
        Some(Counts { path: counts.path.max(by_path), ..counts })
    }

    /// What protection did since the last call.
    pub(crate) fn fresh_counts(&self) -> Counts {
        let now = self.counts().unwrap_or_default();
        now.since(self.counted_protection.replace(now))
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
        let skew = self.skew.get();
        let path = skew.map_or(self.path, |_| association.path_of(self.path, from));
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
                    self.handle_error(now, error, path, sequence);
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
            let source = skew.map_or(Source::Media, |skew| {
                let mut copies = self.copies.borrow_mut();
                copies.get_or_insert_with(|| Copies::new(skew)).first(now, path, opened.index)
            });
            if !is_protected {
                self.gather(now, gathered, opened.index, bytes, place);
                continue;
            }
            if self.is_admitted(now, gathered, (opened.index, source), bytes, place.clone()) {
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

    /// Whether a packet of a protected flow leaves now.
    fn is_admitted(
        &self,
        now: Instant,
        gathered: &mut Gathered,
        (index, source): (u64, Source),
        bytes: &mut [u8],
        place: Range<usize>,
    ) -> bool {
        loop {
            let verdict = match (self.receiving.borrow_mut().as_mut(), bytes.get(place.clone())) {
                (Some(receiving), Some(packet)) => receiving.handle_packet(now, index, source, packet),
                _ => return false,
            };
            match verdict {
                Verdict::Pass => return true,
                Verdict::Again => self.deliver_ready(now, gathered, bytes),
                _ => return false,
            }
        }
    }

    /// Takes what is the hop's own off a packet; it leaves with the next delivery.
    fn gather(
        &self,
        now: Instant,
        gathered: &mut Gathered,
        index: u64,
        bytes: &mut [u8],
        place: Range<usize>,
    ) {
        let start = place.start;
        let Some(packet) = bytes.get_mut(place) else { return };
        let Some((length, part)) = self.restore(index, packet) else { return };
        let Gathered { rejoin, parts } = gathered;
        if part == Part::Whole {
            parts.push((start, length));
            return;
        }
        let Some(plain) = packet.get(..length) else { return };
        if let Some(joined) = rejoin.handle(index, part, plain) {
            let whole = joined.len();
            // In order: what came before it goes before it.
            if !parts.is_empty() {
                self.deliver(now, bytes, parts);
                parts.clear();
            }
            self.deliver(now, joined, &[(0, whole)]);
        }
    }

    /// Gives a packet its original number back: its length without the trailer, and which part of it this is.
    fn restore(&self, index: u64, packet: &mut [u8]) -> Option<(usize, Part)> {
        let Ok(trailer) = Trailer::read(packet.get(12..).unwrap_or_default()) else {
            self.port.counters.add("hop_trailer", 1);
            return None;
        };
        let Some(original) = self.line.borrow_mut().handle(index, trailer.original) else {
            self.port.counters.add("hop_number_unknown", 1);
            return None;
        };
        if let Some(sequence) = packet.get_mut(2..4) {
            sequence.copy_from_slice(&original.to_be_bytes());
        }
        Some((packet.len().checked_sub(trailer.len())?, trailer.part))
    }

    fn deliver_gathered(&self, now: Instant, gathered: &mut Gathered, bytes: &mut [u8]) {
        if !gathered.parts.is_empty() {
            self.deliver(now, bytes, &gathered.parts);
            gathered.parts.clear();
        }
    }

    /// Delivers what had to wait and may leave now, behind what was gathered of `bytes`.
    fn deliver_ready(&self, now: Instant, gathered: &mut Gathered, bytes: &mut [u8]) {
        let ready = self.receiving.borrow_mut().as_mut().and_then(|receiving| {
            let ready = receiving.take_ready();
            match receiving.take_foreign() {
                0 => {}
                foreign => self.port.counters.add("hop_beside_foreign", foreign),
            }
            ready
        });
        let Some((mut ready, places)) = ready else { return };
        self.deliver_gathered(now, gathered, bytes);
        for (index, at, length) in &places {
            self.gather(now, gathered, *index, &mut ready, *at..*at + *length);
        }
        self.deliver_gathered(now, gathered, &mut ready);
        if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
            receiving.give_back(ready, places);
        }
    }

    /// A packet of the flow beside this one.
    fn handle_beside(&self, now: Instant, packet: &mut [u8]) {
        let outcome = match self.receiving.borrow_mut().as_mut() {
            Some(receiving) => receiving.handle_beside(now, packet),
            None => Err("hop_not_playing"),
        };
        if let Err(reason) = outcome {
            self.port.counters.add(reason, 1);
        }
        self.deliver_ready(now, &mut self.state.borrow_mut().gathered, &mut []);
        self.drive(now);
    }

    /// Protects what comes from now on.
    pub(crate) fn protect(self: &Rc<Self>, mut receiving: Receiving) {
        // What is lost first is as dear as what is lost later: the path knows the round trip already.
        if let Some(rtt) = self.association.upgrade().and_then(|association| association.rtt()) {
            receiving.handle_rtt(rtt);
        }
        receiving.beside.set_target(Target::Beside { of: Rc::downgrade(self) });
        *self.receiving.borrow_mut() = Some(receiving);
        tokio::task::spawn_local(watch(Rc::downgrade(self), Rc::clone(&self.timer)));
    }

    /// The sender protects nothing: nothing is waited for any more.
    pub(crate) fn unprotect(&self, now: Instant) {
        if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
            receiving.give_up(now);
        }
        self.deliver_ready(now, &mut self.state.borrow_mut().gathered, &mut []);
        *self.receiving.borrow_mut() = None;
    }

    /// Names the flow that goes back, by which from now on is asked for what is missing.
    pub(crate) fn set_back(&self, outlet: &Rc<Outlet>) {
        *self.back.borrow_mut() = Rc::downgrade(outlet);
        self.drive(Instant::now());
    }

    /// When something is due. Nothing is while there is no way back: it could not be asked for.
    fn due(&self) -> Option<Instant> {
        let has_back = self.back.borrow().strong_count() > 0;
        self.receiving.borrow().as_ref().filter(|_| has_back).and_then(Receiving::poll_timeout)
    }

    /// Sends what protection wants sent, and notes when it wants to be asked next.
    fn drive(&self, now: Instant) {
        let mut message = Vec::new();
        loop {
            let due = {
                let mut receiving = self.receiving.borrow_mut();
                let Some(receiving) = receiving.as_mut() else { return };
                let Some(back) = self.back.borrow().upgrade() else { return };
                match receiving.poll_transmit(now, back.label, &mut message) {
                    Some(()) => Err(back),
                    None => Ok(receiving.poll_timeout()),
                }
            };
            match due {
                Ok(due) => return self.timer.arm(due),
                Err(back) => back.send_control(&message),
            }
        }
    }

    fn handle_timeout(&self, now: Instant) {
        if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
            receiving.handle_timeout(now);
        }
        self.deliver_ready(now, &mut self.state.borrow_mut().gathered, &mut []);
        self.drive(now);
    }

    /// What protection has done, if the flow is protected.
    pub(crate) fn protection(&self) -> Option<FlowProtection> {
        let mut status = self.receiving.borrow().as_ref().map(|receiving| receiving.status(self.label))?;
        let counts = self.counts()?;
        (status.recovered_by_path, status.lost) = (counts.path, counts.lost());
        status.paths = self.copies.borrow().as_ref().map(Copies::status).unwrap_or_default();
        Some(status)
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

    fn handle_rtcp(&self, now: Instant, gathered: &mut Gathered, compound: &[u8]) {
        if compound.is_empty() {
            return;
        }
        // What protection says travels alone; reports begin with a report.
        let of_protection =
            compound.get(1).is_some_and(|kind| matches!(*kind, packet_type::APP | packet_type::RTP_FEEDBACK));
        match &*self.target.borrow() {
            Target::Nobody | Target::Control => self.port.counters.add("hop_not_playing", 1),
            Target::Beside { .. } => {}
            Target::Media { .. } if of_protection => {
                if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
                    for message in protect::wire::Message::all(compound) {
                        if let protect::wire::Message::Next(next) = message {
                            receiving.handle_next(now, next);
                        }
                    }
                }
                self.deliver_ready(now, gathered, &mut []);
            }
            Target::Reports { of, .. } if of_protection => {
                if let Some(of) = of.upgrade() {
                    of.handle_feedback(now, compound);
                }
            }
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
        self.timer.end();
        self.port.add_lost(self.fresh_loss());
        self.port.add_counts(self.fresh_counts());
        self.port.leave(self.label);
    }
}

/// The timer of a protected flow.
async fn watch(inlet: Weak<Inlet>, timer: Rc<Timer>) {
    loop {
        let Some(first) = inlet.upgrade().map(|inlet| inlet.due()) else { return };
        timer.wait(first).await;
        let Some(inlet) = inlet.upgrade() else { return };
        let now = Instant::now();
        if inlet.due().is_some_and(|due| due <= now) {
            inlet.handle_timeout(now);
        }
    }
}
