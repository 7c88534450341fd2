//! What is due when.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{EndpointId, Reason};

/// At most one entry for each endpoint and reason.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    checks: BTreeSet<(Instant, EndpointId)>,
    returns: BTreeSet<(Instant, EndpointId)>,
    ramps: BTreeSet<(Instant, EndpointId)>,
}

impl Agenda {
    fn of(&mut self, reason: Reason) -> &mut BTreeSet<(Instant, EndpointId)> {
        match reason {
            Reason::Check => &mut self.checks,
            Reason::Return => &mut self.returns,
            Reason::Ramp => &mut self.ramps,
        }
    }

    /// What was due `before` is due at another time, or not any more.
    pub(super) fn change(
        &mut self,
        reason: Reason,
        id: EndpointId,
        before: Option<Instant>,
        after: Option<Instant>,
    ) {
        let own = self.of(reason);
        if let Some(before) = before {
            own.remove(&(before, id));
        }
        if let Some(after) = after {
            own.insert((after, id));
        }
    }

    pub(super) fn clear(&mut self, reason: Reason) {
        self.of(reason).clear();
    }

    pub(super) fn remove(&mut self, id: EndpointId) {
        for reason in [Reason::Check, Reason::Return, Reason::Ramp] {
            self.of(reason).retain(|(_, own)| *own != id);
        }
    }

    /// The one that has been due for the longest time.
    pub(super) fn due(&self, reason: Reason, now: Instant) -> Option<EndpointId> {
        let own = match reason {
            Reason::Check => &self.checks,
            Reason::Return => &self.returns,
            Reason::Ramp => &self.ramps,
        };
        own.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// Takes the one that has been due for the longest time.
    pub(super) fn take(&mut self, reason: Reason, now: Instant) -> Option<EndpointId> {
        self.due(reason, now)?;
        self.of(reason).pop_first().map(|(_, id)| id)
    }

    /// What is due first.
    pub(super) fn first(&self) -> Option<(Instant, Reason)> {
        let all =
            [(&self.checks, Reason::Check), (&self.returns, Reason::Return), (&self.ramps, Reason::Ramp)];
        all.into_iter().filter_map(|(own, reason)| own.first().map(|(at, _)| (*at, reason))).min()
    }
}
