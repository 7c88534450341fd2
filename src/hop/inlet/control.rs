//! RTCP of a flow: messages of the association, what protection says, and reports for the hub.

use std::time::Instant;

use msm_core::hop::path::{Ends, Message};
use msm_core::rtcp::packet_type;
use msm_fec::protect;

use super::delivery::Gathered;
use super::{Association, Inlet, Target, report};

impl Inlet {
    /// The association's own messages; false for anything else.
    pub(super) fn handle_message(
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

    pub(super) fn handle_rtcp(&self, now: Instant, gathered: &mut Gathered, compound: &[u8]) {
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
