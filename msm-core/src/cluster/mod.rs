//! A cluster: its endpoints, which of them are well, and whose turn it is.
//!
//! A [`Cluster`] is one state machine for all that decides where an upstream session goes. It opens nothing itself: the runtime tells it
//! what discovery says ([`Cluster::set_endpoints`]), what became of sessions and checks, and asks it for the next endpoint.

mod check;
mod endpoint;
mod outcome;
pub mod pick;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use check::{ActiveOptions, Check, CheckFailure, CheckKind};
pub use endpoint::{Endpoint, EndpointError};
pub use outcome::Outcome;
pub use pick::{BalanceKind, Picker};
pub use view::{ClusterEvent, EndpointView, Health, Why};

use crate::rng::Rng;
use check::{Checks, Verdict};

/// Names an endpoint of one cluster as long as it is a member of it; never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An endpoint as the configuration or discovery has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its share, relative to the others'; 0 gets nothing new.
    pub weight: u32,
    /// The failure domain that it is in, such as a datacentre.
    pub zone: Option<Arc<str>>,
}

impl EndpointSpec {
    /// With weight 1 and no zone.
    pub fn new(endpoint: Endpoint) -> Self {
        EndpointSpec { endpoint, weight: 1, zone: None }
    }
}

/// How a cluster behaves, apart from who is in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterOptions {
    /// How an endpoint is picked.
    pub balance: BalanceKind,
    /// How endpoints are checked; `None` not at all.
    pub active: Option<ActiveOptions>,
}

/// What the configuration says of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSpec {
    /// The name that routes refer to.
    pub name: String,
    /// Where the streams are, in the order of the configuration.
    pub endpoints: Vec<EndpointSpec>,
    /// How it behaves.
    pub options: ClusterOptions,
}

/// Who asks, and for what: hashes that are the same for the same client and the same URL, in all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PickKey {
    /// Of the client.
    pub client: u64,
    /// Of the URL.
    pub url: u64,
}

/// Why there is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The cluster has none.
    #[error("the cluster has no endpoint")]
    Empty,
    /// All that there are have been tried.
    #[error("every endpoint of the cluster was tried")]
    Tried,
    /// None of them is usable.
    #[error("none of the cluster's {of} endpoints is usable: unhealthy, ejected, or without a weight")]
    Unhealthy {
        /// How many there are.
        of: usize,
    },
    /// Those that are usable have all the sessions that they may have, or the cluster has.
    #[error("`{limit}` of {of} is reached")]
    Full {
        /// The key of the cluster's configuration.
        limit: &'static str,
        /// Its value.
        of: u32,
    },
}

/// What [`Cluster::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A check is due, or one was not answered.
    Check,
    /// An ejected endpoint is to return.
    Return,
    /// A new endpoint gets more of its weight.
    Ramp,
}

#[derive(Debug)]
struct Member {
    id: EndpointId,
    spec: EndpointSpec,
    /// Upstream sessions.
    sessions: u32,
    bitrate: u64,
    checks: Checks,
}

/// The state of one cluster.
///
/// * **Inputs:** [`set_endpoints`](Self::set_endpoints), [`set_options`](Self::set_options), [`handle_outcome`](Self::handle_outcome).
/// * **Questions:** [`pick`](Self::pick), which a [`begin`](Self::begin) and an [`end`](Self::end) follow for each session.
/// * **Outputs**, drained after each: [`poll_event`](Self::poll_event), then [`poll_timeout`](Self::poll_timeout).
pub struct Cluster {
    options: ClusterOptions,
    members: Vec<Member>,
    /// Sessions of endpoints that are members no more.
    gone: BTreeMap<EndpointId, u32>,
    picker: Box<dyn Picker + Send>,
    next_id: u64,
    rng: Rng,
    events: VecDeque<ClusterEvent>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("options", &self.options)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster of these endpoints. `seed` decides what is random.
    pub fn new(spec: &ClusterSpec, seed: u64, now: Instant) -> Self {
        let mut cluster = Cluster {
            picker: spec.options.balance.picker(),
            options: spec.options.clone(),
            members: Vec::new(),
            gone: BTreeMap::new(),
            next_id: 0,
            rng: Rng::new(seed),
            events: VecDeque::new(),
        };
        cluster.set_endpoints(now, &spec.endpoints);
        cluster
    }

    /// Behaves otherwise from now on; what is known of the endpoints stays.
    pub fn set_options(&mut self, now: Instant, options: ClusterOptions) {
        if options.balance != self.options.balance {
            self.picker = options.balance.picker();
        }
        self.options = options;
        self.start_checks(now);
    }

    fn start_checks(&mut self, now: Instant) {
        for member in &mut self.members {
            match &self.options.active {
                Some(active) => member.checks.start(now, active, &mut self.rng),
                None => member.checks.stop(),
            }
        }
    }

    /// These are the members now. An endpoint is the same as before if it is at the same place: what is known of it, and its sessions, stay.
    pub fn set_endpoints(&mut self, now: Instant, specs: &[EndpointSpec]) {
        let mut before = std::mem::take(&mut self.members);
        for spec in specs {
            if self.members.iter().any(|member| member.spec.endpoint == spec.endpoint) {
                continue;
            }
            match before.iter().position(|member| member.spec.endpoint == spec.endpoint) {
                Some(place) => {
                    let kept = before.swap_remove(place);
                    self.members.push(Member { spec: spec.clone(), ..kept });
                }
                None => {
                    self.next_id += 1;
                    self.members.push(Member {
                        id: EndpointId(self.next_id),
                        spec: spec.clone(),
                        sessions: 0,
                        bitrate: 0,
                        checks: Checks::default(),
                    });
                }
            }
        }
        for member in before {
            if member.sessions > 0 {
                self.gone.insert(member.id, member.sessions);
            }
            self.events.push_back(ClusterEvent::Removed { id: member.id, endpoint: member.spec.endpoint });
        }
        self.start_checks(now);
    }

    /// The endpoint for the next session. `tried` are left out: they have just failed.
    ///
    /// # Errors
    /// See [`PickError`].
    pub fn pick(
        &mut self,
        _now: Instant,
        _key: PickKey,
        tried: &[EndpointId],
    ) -> Result<(EndpointId, &Endpoint), PickError> {
        if self.members.is_empty() {
            return Err(PickError::Empty);
        }
        let members = self.members.as_slice();
        let picked = self
            .picker
            .pick(members.len(), &mut |index| {
                members.get(index).is_some_and(|member| {
                    !matches!(member.checks.verdict, Verdict::Unhealthy(_)) && !tried.contains(&member.id)
                })
            })
            .and_then(|index| members.get(index));
        let Some(picked) = picked else {
            let ill = |member: &Member| matches!(member.checks.verdict, Verdict::Unhealthy(_));
            let of = members.len();
            return Err(if members.iter().all(ill) { PickError::Unhealthy { of } } else { PickError::Tried });
        };
        Ok((picked.id, &picked.spec.endpoint))
    }

    /// A session with this endpoint begins.
    pub fn begin(&mut self, id: EndpointId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.sessions = member.sessions.saturating_add(1);
        } else {
            *self.gone.entry(id).or_default() += 1;
        }
    }

    /// It has ended, however it did.
    pub fn end(&mut self, id: EndpointId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.sessions = member.sessions.saturating_sub(1);
        } else if let Some(sessions) = self.gone.get_mut(&id) {
            *sessions = sessions.saturating_sub(1);
            if *sessions == 0 {
                self.gone.remove(&id);
            }
        }
    }

    /// What became of a session with this endpoint.
    pub fn handle_outcome(&mut self, _now: Instant, _id: EndpointId, _outcome: Outcome) {}

    /// What the sessions with this endpoint bring, all together.
    pub fn set_bitrate(&mut self, id: EndpointId, bits_per_second: u64) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.bitrate = bits_per_second;
        }
    }

    /// The next check to be made now. Each is answered once by [`handle_check`](Self::handle_check).
    pub fn poll_check(&mut self, now: Instant) -> Option<Check> {
        let active = self.options.active.as_ref()?;
        let member =
            self.members.iter_mut().find_map(|member| member.checks.begin(now, active).then_some(member))?;
        Some(Check {
            id: member.id,
            endpoint: member.spec.endpoint.clone(),
            kind: active.kind.clone(),
            timeout: active.timeout,
        })
    }

    /// A check has succeeded or failed. Those of endpoints that have gone are void.
    pub fn handle_check(&mut self, now: Instant, id: EndpointId, outcome: Result<(), CheckFailure>) {
        let Some(active) = &self.options.active else { return };
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else { return };
        let endpoint = || member.spec.endpoint.clone();
        match member.checks.handle(now, active, &mut self.rng, outcome) {
            Some(Verdict::Healthy) => {
                self.events.push_back(ClusterEvent::Healthy { id, endpoint: endpoint() })
            }
            Some(Verdict::Unhealthy(failure)) => {
                let why = Why::Check(failure);
                self.events.push_back(ClusterEvent::Unhealthy { id, endpoint: endpoint(), why });
            }
            Some(Verdict::Unknown) | None => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, and [`poll_check`](Self::poll_check) after it.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.members.iter().filter_map(|member| member.checks.due()).min().map(|due| (due, Reason::Check))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let lost = |member: &Member| member.checks.is_lost(now).then_some(member.id);
        let lost: Vec<_> = self.members.iter().filter_map(lost).collect();
        for id in lost {
            self.handle_check(now, id, Err(CheckFailure::TimedOut));
        }
    }

    /// All members as they are now, in order.
    pub fn view(&self, _now: Instant) -> impl Iterator<Item = EndpointView<'_>> {
        self.members.iter().map(|member| EndpointView {
            id: member.id,
            spec: &member.spec,
            sessions: member.sessions,
            bitrate: member.bitrate,
            health: match member.checks.verdict {
                Verdict::Unknown => Health::Unknown,
                Verdict::Healthy => Health::Healthy,
                Verdict::Unhealthy(failure) => Health::Unhealthy { why: Why::Check(failure) },
            },
            weight: f64::from(member.spec.weight),
            ejections: 0,
        })
    }

    /// Whether sessions may stay with this endpoint; the reason if not.
    ///
    /// # Errors
    /// Why they are to leave, for people.
    pub fn check(&self, id: EndpointId) -> Result<(), &'static str> {
        match self.members.iter().find(|member| member.id == id) {
            None => Err("the endpoint is not in the cluster any more"),
            Some(member) if matches!(member.checks.verdict, Verdict::Unhealthy(_)) => {
                Err("the endpoint's checks fail")
            }
            Some(_) => Ok(()),
        }
    }

    /// Where the members are, in order.
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId, &EndpointSpec)> {
        self.members.iter().map(|member| (member.id, &member.spec))
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<ClusterEvent> {
        self.events.pop_front()
    }
}
