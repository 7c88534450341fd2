//! A cluster: its endpoints, which of them are well, and whose turn it is.
//!
//! A [`Cluster`] is one state machine for all that decides where an upstream session goes. It opens nothing itself: the runtime tells it
//! what discovery says ([`Cluster::set_endpoints`]), what became of sessions and checks, and asks it for the next endpoint.

mod endpoint;
pub mod pick;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use endpoint::{Endpoint, EndpointError};
pub use pick::{BalanceKind, Picker};

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
}

/// What became of an upstream session, or of an attempt at one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was set up.
    SetUp {
        /// How long that took.
        took: Duration,
    },
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The endpoint answered with this status.
    Refused {
        /// RTSP status.
        status: u16,
    },
    /// The endpoint broke the protocol.
    Protocol,
    /// The connection broke off.
    Reset,
    /// Media stopped coming.
    Silent,
}

/// What changed, for whoever uses an endpoint.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// The endpoint is no longer a member of the cluster: sessions are to leave it.
    Removed {
        /// Which one.
        id: EndpointId,
        /// Where it is.
        endpoint: Endpoint,
    },
}

#[derive(Debug)]
struct Member {
    id: EndpointId,
    spec: EndpointSpec,
    /// Upstream sessions.
    sessions: u32,
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
    pub fn new(spec: &ClusterSpec, _seed: u64, now: Instant) -> Self {
        let mut cluster = Cluster {
            picker: spec.options.balance.picker(),
            options: spec.options.clone(),
            members: Vec::new(),
            gone: BTreeMap::new(),
            next_id: 0,
            events: VecDeque::new(),
        };
        cluster.set_endpoints(now, &spec.endpoints);
        cluster
    }

    /// Behaves otherwise from now on; what is known of the endpoints stays.
    pub fn set_options(&mut self, _now: Instant, options: ClusterOptions) {
        if options.balance != self.options.balance {
            self.picker = options.balance.picker();
        }
        self.options = options;
    }

    /// These are the members now. An endpoint is the same as before if it is at the same place: what is known of it, and its sessions, stay.
    pub fn set_endpoints(&mut self, _now: Instant, specs: &[EndpointSpec]) {
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
                members.get(index).is_some_and(|member| !tried.contains(&member.id))
            })
            .and_then(|index| members.get(index))
            .ok_or(PickError::Tried)?;
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

    /// Whether sessions may stay with this endpoint; the reason if not.
    ///
    /// # Errors
    /// Why they are to leave, for people.
    pub fn check(&self, id: EndpointId) -> Result<(), &'static str> {
        if self.members.iter().any(|member| member.id == id) {
            Ok(())
        } else {
            Err("the endpoint is not in the cluster any more")
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
