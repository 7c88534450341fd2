//! Sessions with a cluster's endpoints: picked, begun, ended.

use std::time::Instant;

use super::machine::Cluster;
use super::member::Member;
use super::{Endpoint, EndpointId, PickError, PickKey};

impl Cluster {
    /// The endpoint for the next session. `tried` are left out: they have just failed. Limits hold where [`begin`](Self::begin) comes before the
    /// next pick.
    ///
    /// # Errors
    /// See [`PickError`].
    pub fn pick(
        &mut self,
        _now: Instant,
        key: PickKey,
        tried: &[EndpointId],
    ) -> Result<(EndpointId, &Endpoint), PickError> {
        if self.members.is_empty() {
            return Err(PickError::Empty);
        }
        if let Some(most) = self.options.limits.sessions
            && self.sessions >= u64::from(most)
        {
            return Err(PickError::Full { limit: "limits.sessions", of: most });
        }
        let place = self.pick_by_level(key, tried);
        match place.and_then(|place| self.members.get(place)) {
            Some(member) => Ok((member.id, &member.spec.endpoint)),
            None => Err(self.why_none(tried)),
        }
    }

    /// The endpoint at this host and port, if the next session may go there: where a server has named it. Limits hold as of
    /// [`pick`](Self::pick).
    pub fn at(&self, host: &str, port: u16) -> Option<(EndpointId, &Endpoint)> {
        let limits = &self.options.limits;
        let is_full = limits.sessions.is_some_and(|most| self.sessions >= u64::from(most));
        let may = |member: &&Member| {
            let full = limits.sessions_per_endpoint.is_some_and(|most| member.sessions >= most);
            member.spec.weight > 0 && (self.panic || member.is_well()) && !full
        };
        let found = self.members_named(host, port).find(may).filter(|_| !is_full)?;
        Some((found.id, &found.spec.endpoint))
    }

    /// The endpoint at this host and port, whether sessions may go there or not.
    pub fn named(&self, host: &str, port: u16) -> Option<&Endpoint> {
        self.members_named(host, port).next().map(|member| &member.spec.endpoint)
    }

    fn members_named<'c>(&'c self, host: &str, port: u16) -> impl Iterator<Item = &'c Member> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.members.iter().filter(move |member| {
            let endpoint = &member.spec.endpoint;
            endpoint.port == port && endpoint.host.eq_ignore_ascii_case(host)
        })
    }

    /// Of the first priority of which one can be had.
    fn pick_by_level(&mut self, key: PickKey, tried: &[EndpointId]) -> Option<usize> {
        let slots = tried
            .iter()
            .filter_map(|id| self.place(*id).and_then(|place| self.members.get(place)))
            .map(|member| member.slot)
            .collect::<Vec<_>>();
        let (balance, panic) = (self.options.balance, self.panic);
        self.levels.iter_mut().find_map(|level| level.pick(balance, key, &mut self.rng, &slots, panic))
    }

    fn why_none(&self, tried: &[EndpointId]) -> PickError {
        let may = |member: &&Member| member.spec.weight > 0 && (self.panic || member.is_well());
        if !self.members.iter().any(|member| may(&member)) {
            return PickError::Unhealthy { of: self.members.len() };
        }
        let most = self.options.limits.sessions_per_endpoint;
        let full = |member: &Member| most.is_some_and(|most| member.sessions >= most);
        match most {
            Some(of) if self.members.iter().filter(may).any(|own| full(own) && !tried.contains(&own.id)) => {
                PickError::Full { limit: "limits.sessions_per_endpoint", of }
            }
            _ => PickError::Tried,
        }
    }

    /// A session with this endpoint begins.
    pub fn begin(&mut self, id: EndpointId) {
        self.sessions = self.sessions.saturating_add(1);
        let average = self.average();
        let Some(place) = self.place(id) else {
            *self.gone.entry(id).or_default() += 1;
            return;
        };
        if let Some(member) = self.members.get_mut(place) {
            member.sessions = member.sessions.saturating_add(1);
            member.fresh = member.fresh.saturating_add(1);
            member.load += average;
        }
        self.show(place);
    }

    /// It has ended, however it did.
    pub fn end(&mut self, id: EndpointId) {
        let Some(place) = self.place(id) else {
            if let Some(sessions) = self.gone.get_mut(&id) {
                self.sessions = self.sessions.saturating_sub(1);
                *sessions = sessions.saturating_sub(1);
                if *sessions == 0 {
                    self.gone.remove(&id);
                }
            }
            return;
        };
        if let Some(member) = self.members.get_mut(place)
            && member.sessions > 0
        {
            self.sessions = self.sessions.saturating_sub(1);
            member.load -= member.load / f64::from(member.sessions);
            member.sessions -= 1;
            member.fresh = member.fresh.min(member.sessions);
        }
        self.show(place);
    }

    /// What the sessions with this endpoint bring, all together.
    pub fn set_bitrate(&mut self, id: EndpointId, bits_per_second: u64) {
        let average = self.average();
        let Some(place) = self.place(id) else { return };
        if let Some(member) = self.members.get_mut(place) {
            self.bitrate = self.bitrate.saturating_sub(member.bitrate).saturating_add(bits_per_second);
            member.bitrate = bits_per_second;
            // Those that are new may not have been measured yet: until the next time they count by the average.
            member.load = bits_per_second as f64 + average * f64::from(std::mem::take(&mut member.fresh));
        }
        self.show(place);
    }

    /// What a session is expected to bring.
    fn average(&self) -> f64 {
        // As long as nothing is known all are alike.
        if self.bitrate == 0 || self.sessions == 0 { 1.0 } else { self.bitrate as f64 / self.sessions as f64 }
    }

    /// All upstream sessions, with endpoints that have left the cluster too.
    pub fn sessions(&self) -> u64 {
        self.sessions
    }
}
