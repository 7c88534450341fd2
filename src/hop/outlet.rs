//! A flow to another member: numbered, protected, and sent in as few calls as it came.

mod protected;

use std::cell::{Cell, RefCell, RefMut};
use std::rc::{Rc, Weak};
use std::time::Instant;

use msm_auth::srtp::{self, MasterKey};
use msm_core::hop::path::Ends;
use msm_core::hop::split::{SECOND_HEADER, cut};
use msm_core::hop::{Label, NextIndex, Part, SendLine, Trailer};
use msm_core::hub::{Kind, NotSent, Outgoing, SendOutcome};
use msm_core::route::PathMode;
use msm_core::rtp::Header;

use super::association::{Association, Take};
use super::doubt::Doubt;
use super::inlet::Inlet;
use super::keys::{self, MKI_BYTES, RTP_OVERHEAD};
use super::protect::sending;
use super::protect::timer::Timer;
use super::protect::{Counts, Sending};
use super::report;
use crate::error::Error;
use crate::hub::dest::SendErrors;
use crate::hub::put_off::{Owner, PutOff};

/// The most packets and bytes of one GSO send.
const MAX_SEGMENTS: usize = msm_core::burst::MAX_SEGMENTS;
const MAX_RUN: usize = msm_core::burst::MAX_RUN_BYTES;

/// How much longer a packet becomes, at most.
const LONGER: usize = Trailer::MAX_BYTES + RTP_OVERHEAD;

/// Packets that are looked at together by what protects them: it costs a third of one by one, and they are still in the cache when
/// they are sealed.
const RUN: usize = 16;

/// From this index on the peer is told where the numbers are: before, it cannot mistake them.
const TELL_FROM: u64 = 1 << 14;
/// How many packets after it was told it is told again.
const TELL_EACH: u64 = 1 << 12;

/// One flow to the other member.
pub(crate) struct Outlet {
    pub(crate) label: Label,
    association: Weak<Association>,
    /// The flow that comes back: reports speak of it.
    twin: RefCell<Weak<Inlet>>,
    /// How its packets use the association's paths, if they use more than one.
    paths: Cell<Option<PathMode>>,
    doubt: RefCell<Doubt>,
    state: RefCell<State>,
    timer: Rc<Timer>,
    /// What was given to the counters.
    counted: Cell<Counts>,
    unanswered: Cell<u64>,
}

struct State {
    sender: srtp::Sender,
    line: SendLine,
    /// The index that the peer was told last.
    told: u64,
    /// Where the flow is protected.
    sending: Option<Sending>,
    /// What protects it, on its way.
    room: Vec<u8>,
    /// Packets in the batch that are to be seen by what protects them before they are sealed.
    waiting: Vec<Waiting>,
}

/// A packet that is not sealed yet.
struct Waiting {
    /// Where it begins in the buffer, and its bytes.
    start: usize,
    plain: usize,
    index: u64,
    /// Where the hub keeps it.
    position: Option<u64>,
    trailer: Trailer,
}

/// Packets of one size that wait to be sent together.
struct Batch<'a> {
    exit: Exit<'a>,
    take: Take,
    /// Where its packets begin in the buffer.
    start: usize,
    segment: usize,
    packets: usize,
    closed: bool,
    /// What it was given, for whoever has to take it back.
    given: NotSent,
}

/// How a batch leaves.
enum Exit<'a> {
    /// At once.
    Now(RefMut<'a, Vec<u8>>, &'a Association),
    /// With those of other readers, by UDP.
    Later(&'a mut PutOff, Ends, Rc<Outlet>),
}

impl Outlet {
    pub(crate) fn new(association: &Rc<Association>, label: Label, first_sequence: u16) -> Rc<Self> {
        Rc::new(Self {
            label,
            association: Rc::downgrade(association),
            twin: RefCell::default(),
            paths: Cell::new(None),
            doubt: RefCell::default(),
            state: RefCell::new(State {
                // The line never goes back.
                sender: srtp::Sender::new(srtp::SenderOptions {
                    mki_len: MKI_BYTES,
                    window: srtp::MIN_WINDOW,
                    ..Default::default()
                }),
                line: SendLine::new(first_sequence),
                told: 0,
                sending: None,
                room: Vec::new(),
                waiting: Vec::with_capacity(RUN),
            }),
            timer: Rc::default(),
            counted: Cell::default(),
            unanswered: Cell::new(0),
        })
    }

    /// Uses the association's paths from now on: its RTP as `mode` says, its RTCP all of them.
    pub(crate) fn set_paths(&self, mode: PathMode) {
        self.paths.set(Some(mode));
    }

    /// The paths that source packets take.
    fn takes(&self) -> Take {
        match self.paths.get() {
            Some(PathMode::Duplicate) => Take::All,
            Some(PathMode::Spread) if self.doubt.borrow().is_there(Instant::now()) => Take::All,
            Some(PathMode::Spread) | None => Take::One,
        }
    }

    /// The paths that RTCP takes.
    fn control_takes(&self) -> Take {
        self.paths.get().map_or(Take::One, |_| Take::All)
    }

    /// Names the flow that comes back.
    pub(crate) fn set_twin(&self, inlet: &Rc<Inlet>) {
        *self.twin.borrow_mut() = Rc::downgrade(inlet);
    }

    /// Protects with this key from now on.
    pub(crate) fn switch(&self, key: &MasterKey, epoch: u32) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let mki = keys::mki(epoch);
        state.sender.install(key, &mki).and_then(|()| state.sender.switch(&mki)).map_err(|_| Error::Stopped)
    }

    /// The number of the packet that it sends next.
    pub(crate) fn next_number(&self) -> u16 {
        self.state.borrow().line.next_index() as u16
    }

    /// The peer has reported the highest number that it received.
    pub(crate) fn handle_report(&self, highest: u32) {
        self.state.borrow_mut().line.handle_report(highest);
    }

    /// Sends packets of one size, of which the last may be shorter.
    pub(crate) fn send(&self, now: Instant, packets: &Outgoing<'_>) -> SendOutcome {
        let Some(association) = self.association.upgrade() else { return SendOutcome::Failed };
        match packets.kind {
            Kind::Rtp => {
                let outcome = self.send_rtp(now, &association, packets);
                self.tell_in_time(&association);
                outcome
            }
            Kind::Rtcp => self.send_rtcp(&association, packets.bytes),
            // The hop has its own numbers, and so its own answers.
            Kind::Again => SendOutcome::Failed,
        }
    }

    /// Sends RTP packets of `line` together with those of others, if they go by UDP.
    pub(crate) fn put_off(
        self: &Rc<Self>,
        now: Instant,
        line: usize,
        packets: &Outgoing<'_>,
        put_off: &mut PutOff,
        errors: &SendErrors,
    ) -> SendOutcome {
        let Some(association) = self.association.upgrade() else { return SendOutcome::Failed };
        let to = association.udp().filter(|_| self.paths.get().is_none());
        let (Kind::Rtp, Some(to)) = (packets.kind, to) else {
            drop(association);
            return self.send(now, packets);
        };
        let count = packets.bytes.len().div_ceil(packets.segment.max(1));
        put_off.begin(&association.port.socket, packets.bytes.len() + count * LONGER, errors);
        let start = put_off.buffer().len();
        let exit = Exit::Later(put_off, to, Rc::clone(self));
        let outcome = self.protect_all(now, &association, Batch::new(exit, Take::One, start, line), packets);
        self.tell_in_time(&association);
        outcome
    }

    /// A datagram of this size does not pass.
    pub(crate) fn handle_too_large(&self, size: usize) {
        if let Some(association) = self.association.upgrade() {
            association.handle_too_large(size);
        }
    }

    fn send_rtp(&self, now: Instant, association: &Association, packets: &Outgoing<'_>) -> SendOutcome {
        let mut buffer = association.port.buffer.borrow_mut();
        buffer.clear();
        let batch = Batch::new(Exit::Now(buffer, association), self.takes(), 0, 0);
        self.protect_all(now, association, batch, packets)
    }

    fn protect_all(
        &self,
        now: Instant,
        association: &Association,
        mut batch: Batch<'_>,
        packets: &Outgoing<'_>,
    ) -> SendOutcome {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let most = match self.paths.get() {
            Some(_) => association.least_datagram(),
            None => association.max_datagram(),
        };
        let mut most = most.saturating_sub(RTP_OVERHEAD);
        if state.sending.is_some() {
            // What repairs the longest packet passes as well.
            most = most.saturating_sub(sending::LONGER);
        }
        let mut outcome = SendOutcome::Sent;
        let mut position = packets.position;
        for packet in packets.bytes.chunks(packets.segment.max(1)) {
            let kept = position;
            position = position.map(|position| position + 1);
            let Some([_, _, high, low]) = packet.first_chunk() else { continue };
            let original = u16::from_be_bytes([*high, *low]);
            if packet.len() + Trailer::MAX_BYTES <= most {
                self.protect(
                    now,
                    state,
                    association,
                    &mut batch,
                    original,
                    (Part::Whole, kept),
                    packet,
                    &mut outcome,
                );
                batch.given.bytes += packet.len() as u64;
                batch.given.packets += 1;
                continue;
            }
            let header = Header::parse(packet).ok();
            let parts = header.as_ref().and_then(|header| Some((cut(header, packet.len(), most)?, packet)));
            let Some((head, (tail, fixed))) = parts.and_then(|(at, packet)| {
                Some((packet.get(..at)?, (packet.get(at..)?, packet.get(..SECOND_HEADER)?)))
            }) else {
                association.port.counters.add("hop_too_large", 1);
                continue;
            };
            self.protect(
                now,
                state,
                association,
                &mut batch,
                original,
                (Part::First, None),
                head,
                &mut outcome,
            );
            batch.given.bytes += packet.len() as u64;
            batch.given.packets += 1;
            let mut second = [0; 2048];
            let length = SECOND_HEADER + tail.len();
            if let Some(room) = second.get_mut(..length) {
                let (start, rest) = room.split_at_mut(SECOND_HEADER);
                start.copy_from_slice(fixed);
                // No CSRC, extension or padding of its own: those are the first part's, or the payload's.
                if let Some(first) = start.first_mut() {
                    *first = 0x80;
                }
                rest.copy_from_slice(tail);
                self.protect(
                    now,
                    state,
                    association,
                    &mut batch,
                    original,
                    (Part::Second, None),
                    room,
                    &mut outcome,
                );
            } else {
                association.port.counters.add("hop_too_large", 1);
            }
        }
        if state.sending.is_some() {
            self.seal(now, state, association, &mut batch);
            self.add_protection(state, association, &mut batch, &mut outcome);
        }
        batch.send(&mut outcome);
        outcome
    }

    #[expect(clippy::too_many_arguments, reason = "one place, called for whole packets and parts")]
    #[inline]
    fn protect(
        &self,
        now: Instant,
        state: &mut State,
        association: &Association,
        batch: &mut Batch<'_>,
        original: u16,
        (part, position): (Part, Option<u64>),
        packet: &[u8],
        outcome: &mut SendOutcome,
    ) {
        let numbered = state.line.next(original, part);
        let plain = packet.len() + numbered.trailer.len();
        let length = plain + RTP_OVERHEAD;
        if !batch.takes(length) {
            self.seal(now, state, association, batch);
            batch.send(outcome);
        }
        let bytes = batch.bytes();
        let start = bytes.len();
        bytes.extend_from_slice(packet);
        bytes.resize(start + length, 0);
        let Some(room) = bytes.get_mut(start..) else { return };
        if let Some(sequence) = room.get_mut(2..4) {
            sequence.copy_from_slice(&numbered.sequence.to_be_bytes());
        }
        if let Some(end) = room.get_mut(packet.len()..) {
            numbered.trailer.write(end);
        }
        if state.sending.is_some() && association.udp().is_some() {
            let index = state.line.next_index().wrapping_sub(1);
            state.waiting.push(Waiting { start, plain, index, position, trailer: numbered.trailer });
            batch.push(length);
            if state.waiting.len() == RUN {
                self.seal(now, state, association, batch);
            }
            return;
        }
        match state.sender.protect_rtp(room, plain) {
            Ok(protected) if protected == length => batch.push(length),
            Ok(_) | Err(_) => {
                bytes.truncate(start);
                association.port.counters.add("hop_protect", 1);
            }
        }
    }

    fn send_rtcp(&self, association: &Association, compound: &[u8]) -> SendOutcome {
        let mut state = self.state.borrow_mut();
        let mut buffer = association.port.buffer.borrow_mut();
        buffer.clear();
        buffer.extend_from_slice(compound);
        let twin = self.twin.borrow().upgrade();
        report::address(&mut buffer, self.label, || twin.as_ref().and_then(|twin| twin.report()));
        if let Some(next) = self.next_index(&state) {
            buffer.extend_from_slice(&next.write(self.label.ssrc()));
        }
        let length = buffer.len();
        buffer.resize(length + keys::RTCP_OVERHEAD, 0);
        let Ok(protected) = state.sender.protect_rtcp(&mut buffer, length) else {
            association.port.counters.add("hop_protect", 1);
            return SendOutcome::Failed;
        };
        let datagram = buffer.get(..protected).unwrap_or_default();
        association.transmit_by(self.control_takes(), datagram, protected)
    }

    /// Where the numbers are, if the peer could mistake them.
    fn next_index(&self, state: &State) -> Option<NextIndex> {
        state.sender.next_index(self.label.ssrc()).filter(|next| *next >= TELL_FROM).map(NextIndex)
    }

    /// Tells the peer where the numbers are after some thousand packets, as reports may be rare.
    #[inline]
    fn tell_in_time(&self, association: &Association) {
        let state = self.state.borrow();
        let is_due = self.next_index(&state).is_some_and(|NextIndex(next)| next >= state.told + TELL_EACH);
        drop(state);
        if is_due {
            self.tell_next(association);
        }
    }

    /// Tells the peer where the numbers are: much may not have reached it.
    pub(crate) fn tell_next(&self, association: &Association) {
        let next = self.next_index(&self.state.borrow());
        if let Some(NextIndex(next)) = next {
            self.state.borrow_mut().told = next;
        }
        let mut protected = Vec::new();
        if let Some(next) = next
            && self.protect_control(&next.write(self.label.ssrc()), &mut protected).is_some()
        {
            association.transmit_by(self.control_takes(), &protected, protected.len());
        }
    }

    /// Protects one RTCP packet into `out`; its length.
    pub(crate) fn protect_control(&self, message: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        out.clear();
        out.extend_from_slice(message);
        out.resize(message.len() + keys::RTCP_OVERHEAD, 0);
        let length = self.state.borrow_mut().sender.protect_rtcp(out, message.len()).ok()?;
        out.truncate(length);
        Some(length)
    }
}

impl<'a> Batch<'a> {
    fn new(exit: Exit<'a>, take: Take, start: usize, line: usize) -> Self {
        let given = NotSent { line, packets: 0, bytes: 0 };
        Self { exit, take, start, segment: 0, packets: 0, closed: false, given }
    }

    #[inline]
    fn bytes(&mut self) -> &mut Vec<u8> {
        match &mut self.exit {
            Exit::Now(buffer, _) => buffer,
            Exit::Later(put_off, ..) => put_off.buffer(),
        }
    }

    /// Whether a packet of this length can go out with what waits.
    #[inline]
    fn takes(&mut self, length: usize) -> bool {
        self.packets == 0
            || (!self.closed
                && length <= self.segment
                && self.packets < MAX_SEGMENTS
                && self.bytes().len() - self.start + length <= MAX_RUN)
    }

    #[inline]
    fn push(&mut self, length: usize) {
        if self.packets == 0 {
            self.segment = length;
        }
        // A shorter one can only be the last.
        self.closed = length < self.segment;
        self.packets += 1;
    }

    /// Leaves out what is in it.
    fn forget(&mut self) {
        let start = self.start;
        self.bytes().truncate(start);
        self.packets = 0;
        self.closed = false;
    }

    fn send(&mut self, outcome: &mut SendOutcome) {
        if self.packets > 0 {
            let (given, segment) = (self.given, self.segment);
            match &mut self.exit {
                Exit::Now(buffer, association) => {
                    match association.transmit_by(self.take, buffer, segment) {
                        SendOutcome::Sent => {}
                        other => *outcome = other,
                    }
                    buffer.clear();
                }
                Exit::Later(put_off, to, outlet) => {
                    put_off.enter(Owner { given, outlet: Rc::clone(outlet) }, *to, segment);
                }
            }
        }
        self.start = self.bytes().len();
        self.packets = 0;
        self.closed = false;
        self.given = NotSent { packets: 0, bytes: 0, ..self.given };
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.timer.end();
        if let Some(association) = self.association.upgrade() {
            association.port.add_counts(self.fresh_counts());
        }
    }
}
