//! What protects a flow from another member: see *Protection* in ARCHITECTURE.md.

use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::super::outlet::Outlet;
use super::super::protect::timer::Timer;
use super::super::protect::{Counts, Receiving};
use super::{Inlet, Target};
use crate::status::FlowProtection;

impl Inlet {
    /// What protection has done.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.receiving.borrow().as_ref().map(Receiving::counts)
    }

    /// What protection did since the last call.
    pub(crate) fn fresh_counts(&self) -> Counts {
        let (now, before) = (self.counts().unwrap_or_default(), self.counted_protection.get());
        // What a path had lost may come by it after all.
        self.counted_protection.set(now.max(before));
        now.since(before)
    }

    /// A packet of the flow beside this one.
    pub(super) fn handle_beside(&self, now: Instant, packet: &mut [u8]) {
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

    /// The sender agreed to this budget, which may be less than was wished.
    pub(crate) fn agree(&self, latency: Duration) {
        if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
            receiving.agree(latency);
        }
    }

    /// The sender begins with this number, as it said.
    pub(crate) fn begin(&self, first: u16) {
        if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
            receiving.begin(first);
        }
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
    pub(super) fn drive(&self, now: Instant) {
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
        self.receiving.borrow().as_ref().map(|receiving| receiving.status(self.label))
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
