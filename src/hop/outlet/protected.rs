//! What protects a flow to another member: see *Protection* in ARCHITECTURE.md.

use std::rc::{Rc, Weak};
use std::time::Instant;

use msm_core::hub::{ReaderId, SendOutcome};
use msm_core::route::PathMode;

use super::super::association::{Association, Take};
use super::super::keys::{self, RTP_OVERHEAD};
use super::super::protect::sending::{Flow, Source};
use super::super::protect::timer::Timer;
use super::super::protect::{Counts, Sending};
use super::{Batch, Exit, Outlet, State, Waiting};
use crate::hub::shard::Shard;
use crate::status::FlowProtection;

impl Outlet {
    /// Shows the packets that wait to what protects them, and seals them.
    pub(super) fn seal(
        &self,
        now: Instant,
        state: &mut State,
        association: &Association,
        batch: &mut Batch<'_>,
    ) {
        let State { sender, sending: Some(sending), waiting, .. } = state else { return };
        let Some(first) = waiting.first().map(|first| first.index) else { return };
        let bytes = batch.bytes();
        let packets = waiting.iter().filter_map(|own| {
            let packet = bytes.get(own.start..own.start + own.plain)?;
            Some(Source { bytes: packet, position: own.position, trailer: own.trailer })
        });
        sending.handle_burst(now, first, packets);
        let mut refused = 0;
        for Waiting { start, plain, .. } in waiting.drain(..) {
            let length = plain + RTP_OVERHEAD;
            let room = bytes.get_mut(start..start + length);
            let sealed = room.is_some_and(|room| sender.protect_rtp(room, plain) == Ok(length));
            refused += u64::from(!sealed);
        }
        if refused > 0 {
            // Nothing leaves in the clear: the batch goes as a whole.
            association.port.counters.add("hop_protect", refused);
            batch.forget();
        }
    }

    /// Adds what protects the packets that were sent.
    pub(super) fn add_protection(
        &self,
        state: &mut State,
        association: &Association,
        batch: &mut Batch<'_>,
        outcome: &mut SendOutcome,
    ) {
        let State { sender, sending: Some(sending), room, .. } = state else { return };
        if self.paths.get() == Some(PathMode::Spread) {
            // What the path of the media loses does not go with what repairs it.
            batch.send(outcome);
            batch.take = Take::Others;
        }
        while let Some(flow) = sending.poll_transmit(room) {
            let plain = room.len();
            let longer = if flow == Flow::Control { keys::RTCP_OVERHEAD } else { RTP_OVERHEAD };
            room.resize(plain + longer, 0);
            let protected = match flow {
                Flow::Control => sender.protect_rtcp(room, plain),
                Flow::Beside => sending.beside.state.borrow_mut().sender.protect_rtp(room, plain),
            };
            let Some(datagram) = protected.ok().and_then(|length| room.get(..length)) else {
                association.port.counters.add("hop_protect", 1);
                continue;
            };
            if !batch.takes(datagram.len()) {
                batch.send(outcome);
            }
            batch.bytes().extend_from_slice(datagram);
            batch.push(datagram.len());
        }
        sending.beside.tell_in_time(association);
        self.timer.arm(sending.poll_timeout());
    }

    /// Looks for what is to be sent again in the hub, of which this is a reader's track.
    pub(crate) fn keep_in(&self, shard: &Rc<Shard>, id: ReaderId, track: usize) {
        if let Some(sending) = self.state.borrow_mut().sending.as_mut() {
            sending.keep_in(shard, id, track);
        }
    }

    /// Protects what is sent from now on.
    pub(crate) fn protect_by(self: &Rc<Self>, sending: Sending) {
        self.state.borrow_mut().sending = Some(sending);
        tokio::task::spawn_local(watch(Rc::downgrade(self), Rc::clone(&self.timer)));
    }

    /// The receiver asks for packets, or says what it measured.
    pub(crate) fn handle_feedback(&self, now: Instant, compound: &[u8]) {
        if let Some(sending) = self.state.borrow_mut().sending.as_mut() {
            let asked = sending.handle_feedback(now, compound);
            self.doubt.borrow_mut().handle_request(now, asked, sending.packets());
        }
        self.drive();
    }

    /// Sends what protection wants sent now.
    fn drive(&self) {
        let Some(association) = self.association.upgrade() else { return };
        let mut buffer = association.port.buffer.borrow_mut();
        buffer.clear();
        let mut batch = Batch::new(Exit::Now(buffer, &association), self.takes(), 0, 0);
        let mut outcome = SendOutcome::Sent;
        self.add_protection(&mut self.state.borrow_mut(), &association, &mut batch, &mut outcome);
        batch.send(&mut outcome);
    }

    fn handle_timeout(&self, now: Instant) {
        if let Some(sending) = self.state.borrow_mut().sending.as_mut() {
            sending.handle_timeout(now);
        }
        self.drive();
    }

    /// Sends an RTCP packet that is not a report of the hub's.
    pub(crate) fn send_control(&self, message: &[u8]) {
        let Some(association) = self.association.upgrade() else { return };
        let mut protected = Vec::with_capacity(message.len() + keys::RTCP_OVERHEAD);
        if self.protect_control(message, &mut protected).is_some() {
            association.transmit_by(self.control_takes(), &protected, protected.len());
        }
    }

    /// What protection did since the last call.
    pub(crate) fn fresh_counts(&self) -> Counts {
        let state = self.state.borrow();
        let Some(sending) = &state.sending else { return Counts::default() };
        let unanswered = sending.unanswered();
        if let Some(association) = self.association.upgrade() {
            let before = self.unanswered.replace(unanswered);
            association.port.counters.add("hop_unanswered", unanswered.saturating_sub(before));
        }
        let now = sending.counts();
        now.since(self.counted.replace(now))
    }

    /// What protection has done, if the flow is protected.
    pub(crate) fn protection(&self) -> Option<FlowProtection> {
        self.state.borrow().sending.as_ref().map(|sending| sending.status(self.label))
    }
}

/// The timer of a protected flow.
async fn watch(outlet: Weak<Outlet>, timer: Rc<Timer>) {
    loop {
        let due = |outlet: &Outlet| outlet.state.borrow().sending.as_ref().and_then(Sending::poll_timeout);
        let Some(first) = outlet.upgrade().map(|outlet| due(&outlet)) else { return };
        timer.wait(first).await;
        let Some(outlet) = outlet.upgrade() else { return };
        let now = Instant::now();
        if due(&outlet).is_some_and(|due| due <= now) {
            outlet.handle_timeout(now);
        }
    }
}
