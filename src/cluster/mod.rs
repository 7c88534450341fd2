//! The clusters of a mesh as they run: which endpoint a session goes to, and what is known of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use msm_core::cluster::{Cluster as State, ClusterSpec, EndpointId, Outcome, PickError, PickKey};
use msm_core::route::hash;
use msm_rtsp::url::RtspUrl;
use tokio::sync::watch;

use crate::error::Error;
use crate::routing::ClusterSettings;

/// One cluster. All workers share it; its lock is taken when sessions begin and end, and by no packet.
pub(crate) struct Cluster {
    pub(crate) settings: Arc<ClusterSettings>,
    state: Mutex<State>,
    /// Counts up when an endpoint has become one that sessions are to leave.
    changed: watch::Sender<u64>,
}

impl Cluster {
    pub(crate) fn new(settings: Arc<ClusterSettings>, spec: &ClusterSpec, seed: u64) -> Arc<Self> {
        let state = Mutex::new(State::new(spec, seed, Instant::now()));
        Arc::new(Self { settings, state, changed: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the state changed by `change`, and tells those whose endpoints it concerns.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let outcome = change(&mut state);
        let mut told = false;
        while let Some(event) = state.poll_event() {
            tracing::info!(cluster = self.settings.name, ?event, "endpoints have changed");
            told = true;
        }
        drop(state);
        if told {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
        outcome
    }

    /// The endpoint for the next session.
    fn pick(self: &Arc<Self>, key: PickKey, resource: &str, tried: &[EndpointId]) -> Result<Held, PickError> {
        self.update(|state| {
            let (id, endpoint) = state.pick(Instant::now(), key, tried)?;
            let url = RtspUrl::parse(&endpoint.to_string()).map_err(|_| PickError::Empty)?;
            state.begin(id);
            Ok(Held { of: Some((Arc::clone(self), id)), url: url.with_resource(resource) })
        })
    }
}

/// An endpoint that a session is with, or is tried with. It counts as one of the endpoint's sessions until this is dropped.
pub(crate) struct Held {
    /// None where the URL itself was given.
    of: Option<(Arc<Cluster>, EndpointId)>,
    pub(crate) url: RtspUrl,
}

impl Held {
    /// An endpoint of no cluster.
    pub(crate) fn direct(url: RtspUrl) -> Self {
        Self { of: None, url }
    }

    /// Says what became of the session.
    pub(crate) fn report(&self, outcome: Outcome) {
        if let Some((cluster, id)) = &self.of {
            let url = hash(self.url.resource().as_bytes());
            cluster.update(|state| state.handle_outcome(Instant::now(), *id, url, outcome));
        }
    }

    /// As [`Self::report`], of a session that could not be set up.
    pub(crate) fn report_failure(&self, error: &Error) {
        if let Some(outcome) = failure(error) {
            self.report(outcome);
        }
    }

    /// Why the session is to leave this endpoint, if it is.
    pub(crate) fn objection(&self) -> Option<&'static str> {
        let (cluster, id) = self.of.as_ref()?;
        cluster.state().check(*id).err()
    }

    /// Tells, when its value changes, that [`Self::objection`] may have changed.
    pub(crate) fn changes(&self) -> Option<watch::Receiver<u64>> {
        self.of.as_ref().map(|(cluster, _)| cluster.changed.subscribe())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((cluster, id)) = &self.of {
            cluster.update(|state| state.end(*id));
        }
    }
}

/// What an error of a session's set-up says of the endpoint; `None` where it is not the endpoint's.
fn failure(error: &Error) -> Option<Outcome> {
    Some(match error {
        Error::Unreachable { .. } => Outcome::Unreachable,
        Error::UpstreamTimeout { .. } => Outcome::TimedOut,
        Error::UpstreamStatus { status, .. } => Outcome::Refused { status: *status },
        Error::UpstreamProtocol { .. } | Error::UpstreamTls { .. } | Error::NotAMember { .. } => {
            Outcome::Protocol
        }
        _ => return None,
    })
}

/// Endpoints for one session, one after the other: each at most once.
pub(crate) struct Attempts {
    cluster: Option<Arc<Cluster>>,
    direct: Option<RtspUrl>,
    key: PickKey,
    resource: String,
    tried: Vec<EndpointId>,
}

impl Attempts {
    pub(crate) fn of_cluster(cluster: Arc<Cluster>, key: PickKey, resource: String) -> Self {
        Self { cluster: Some(cluster), direct: None, key, resource, tried: Vec::new() }
    }

    /// The URL itself.
    pub(crate) fn direct(url: RtspUrl) -> Self {
        Self {
            cluster: None,
            direct: Some(url),
            key: PickKey::default(),
            resource: String::new(),
            tried: Vec::new(),
        }
    }

    /// None at all: the stream is of this process.
    pub(crate) fn none() -> Self {
        Self {
            cluster: None,
            direct: None,
            key: PickKey::default(),
            resource: String::new(),
            tried: Vec::new(),
        }
    }

    /// Leaves an endpoint out.
    pub(crate) fn leave_out(&mut self, held: &Held) {
        self.tried.extend(held.of.as_ref().map(|(_, id)| *id));
    }

    /// The next endpoint. The error says why there is none, unless something was tried and failed: then that is what matters.
    pub(crate) fn next(&mut self) -> Result<Held, PickError> {
        if let Some(url) = self.direct.take() {
            return Ok(Held::direct(url));
        }
        let cluster = self.cluster.as_ref().ok_or(PickError::Tried)?;
        let held = cluster.pick(self.key, &self.resource, &self.tried)?;
        self.tried.extend(held.of.as_ref().map(|(_, id)| *id));
        Ok(held)
    }
}
