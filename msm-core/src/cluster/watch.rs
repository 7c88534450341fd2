//! What checks and sessions say of endpoints, and what follows from it.

use std::time::Instant;

use super::check::{Check, CheckFailure, Verdict};
use super::machine::{Cluster, outlier};
use super::outlier::{About, Blame, Outliers, Packets, blame};
use super::slow_start;
use super::{ClusterEvent, EndpointId, Outcome, Reason, Why};

impl Cluster {
    /// Has those checked that are not yet, or nobody.
    pub(super) fn start_checks(&mut self, now: Instant) {
        for member in &mut self.members {
            let before = member.checks.due();
            match &self.options.active {
                Some(active) => member.checks.start(now, active, &mut self.rng),
                None => member.checks.stop(),
            }
            self.agenda.change(Reason::Check, member.id, before, member.checks.due());
        }
    }

    /// The next check to be made now. Each is answered once by [`handle_check`](Self::handle_check); one that is not counts as one that timed out.
    pub fn poll_check(&mut self, now: Instant) -> Option<Check> {
        // Each step puts one off to the future.
        while let Some(id) = self.agenda.due(Reason::Check, now) {
            let active = self.options.active.as_ref()?;
            let place = self.place(id)?;
            let member = self.members.get_mut(place)?;
            if member.checks.is_lost(now) {
                self.handle_check(now, id, Err(CheckFailure::TimedOut));
                continue;
            }
            let before = member.checks.due();
            let begun = member.checks.begin(now, active);
            self.agenda.change(Reason::Check, id, before, member.checks.due());
            if begun {
                return Some(Check {
                    id,
                    endpoint: member.spec.endpoint.clone(),
                    kind: active.kind.clone(),
                    timeout: active.timeout,
                });
            }
        }
        None
    }

    /// A check has succeeded or failed. Those of endpoints that have gone are void.
    pub fn handle_check(&mut self, now: Instant, id: EndpointId, outcome: Result<(), CheckFailure>) {
        let Some(active) = &self.options.active else { return };
        let Some(place) = self.place(id) else { return };
        let Some(member) = self.members.get_mut(place) else { return };
        let (due, was) = (member.checks.due(), member.checks.verdict);
        let verdict = member.checks.handle(now, active, &mut self.rng, outcome);
        self.agenda.change(Reason::Check, id, due, member.checks.due());
        let endpoint = || member.spec.endpoint.clone();
        match verdict {
            Some(Verdict::Healthy) => {
                self.events.push_back(ClusterEvent::Healthy { id, endpoint: endpoint() });
                if was != Verdict::Unknown {
                    self.ramp(now, place);
                }
            }
            Some(Verdict::Unhealthy(failure)) => {
                let why = Why::Check(failure);
                self.events.push_back(ClusterEvent::Unhealthy { id, endpoint: endpoint(), why });
            }
            Some(Verdict::Unknown) | None => return,
        }
        self.health_changed(place);
    }

    /// A check could not be made, through no fault of the endpoint's: the next one is due after its interval, and nothing is thought otherwise.
    pub fn forget_check(&mut self, now: Instant, id: EndpointId) {
        let Some(active) = &self.options.active else { return };
        let Some(place) = self.place(id) else { return };
        let Some(member) = self.members.get_mut(place) else { return };
        let due = member.checks.due();
        member.checks.forget(now, active, &mut self.rng);
        self.agenda.change(Reason::Check, id, due, member.checks.due());
    }

    /// What became of a session with this endpoint, of the URL with this hash.
    pub fn handle_outcome(&mut self, now: Instant, id: EndpointId, url: u64, outcome: Outcome) {
        if matches!(outcome, Outcome::SetUp { .. }) {
            self.known.add(now, url);
        }
        let known = blame(&outcome) == Blame::Request && self.known.contains(now, url);
        let Some(place) = self.place(id) else { return };
        self.packets.now(now).add(&outcome);
        let gone = self.gone.values().map(|sessions| u64::from(*sessions)).sum::<u64>();
        let Some(options) = &self.options.outlier else { return };
        let Some(member) = self.members.get_mut(place) else { return };
        // Sessions that are leaving it say nothing new.
        if member.ejections.now.is_some() {
            return;
        }
        let cluster = Packets::sum(self.packets.parts());
        let others = self.sessions.saturating_sub(gone) > u64::from(member.sessions);
        let about = About { url, known, alone: member.sessions <= 1, others, cluster };
        if let Some(why) = member.outliers.handle(now, options, &outcome, &about) {
            self.eject(now, place, why);
        }
    }

    /// Leaves a member out for a while, unless too many are, or nobody would be left.
    fn eject(&mut self, now: Instant, place: usize, why: Why) {
        let Some(options) = &self.options.outlier else { return };
        let ejected = self.members.iter().filter(|member| member.ejections.now.is_some()).count();
        let most = match usize::from(options.max_ejected) {
            0 => 0,
            percent => (self.members.len().saturating_mul(percent) / 100).max(1),
        };
        let Some(member) = self.members.get_mut(place) else { return };
        let others = self.usable.saturating_sub(usize::from(member.is_usable()));
        if ejected >= most || others == 0 {
            return;
        }
        let until = member.ejections.eject(now, options, why);
        let (id, endpoint) = (member.id, member.spec.endpoint.clone());
        self.agenda.change(Reason::Return, id, None, Some(until));
        self.events.push_back(ClusterEvent::Ejected { id, endpoint, why, until });
        self.health_changed(place);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, and [`poll_check`](Self::poll_check) after it.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.agenda.first()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.agenda.take(Reason::Return, now) {
            self.bring_back(now, id);
        }
        while let Some(id) = self.agenda.take(Reason::Ramp, now) {
            if let Some(place) = self.place(id) {
                self.go_on_ramping(now, place);
                self.show(place);
            }
        }
    }

    fn bring_back(&mut self, now: Instant, id: EndpointId) {
        let Some(place) = self.place(id) else { return };
        let fresh = Outliers::new(outlier(&self.options), self.origin);
        let Some(member) = self.members.get_mut(place) else { return };
        member.ejections.end(now);
        member.outliers = fresh;
        self.events.push_back(ClusterEvent::Returned { id, endpoint: member.spec.endpoint.clone() });
        self.ramp(now, place);
        self.health_changed(place);
    }

    /// Has a member that is new, or well again, begin with a part of its weight.
    pub(super) fn ramp(&mut self, now: Instant, place: usize) {
        if let Some(member) = self.members.get_mut(place) {
            member.ramp = Some(now);
        }
        self.go_on_ramping(now, place);
    }

    /// Gives it as much of its weight as is its share by now.
    pub(super) fn go_on_ramping(&mut self, now: Instant, place: usize) {
        let window = self.options.slow_start;
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(since) = member.ramp else { return };
        let before = member.ramp_due.take();
        match slow_start::share(since, window, now) {
            Some(share) => {
                member.share = share;
                member.ramp_due = Some(slow_start::next_step(since, window, now));
            }
            None => (member.share, member.ramp) = (1.0, None),
        }
        self.agenda.change(Reason::Ramp, member.id, before, member.ramp_due);
    }
}
