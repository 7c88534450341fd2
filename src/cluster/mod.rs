//! The clusters of a mesh as they run: which endpoint a session goes to, and what is known of each.

mod checks;
pub(crate) mod discovery;
mod events;
mod feed;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use msm_core::cluster::{
    CheckFailure, Cluster as State, ClusterSpec, EndpointId, EndpointSpec, EndpointView, Health, Outcome,
    PickError, PickKey,
};
use msm_core::hub::Ingest;
use msm_core::route::hash;
use msm_rtsp::url::RtspUrl;
use tokio::sync::{Notify, watch};

use self::checks::Checking;
pub(crate) use self::discovery::SourceSpec;
use self::discovery::{Progress, Running};
use self::feed::{Feed, Totals};
use crate::canary::{self, Canaries, OnTrial};
use crate::error::Error;
use crate::metrics::Clusters;
use crate::mirror::Told;
use crate::routing::ClusterSettings;
use crate::shared::Shared;

/// How long a start waits for the first answers of discovery: who asks at once is not to be told that there is no endpoint.
const FIRST_ANSWERS: Duration = Duration::from_secs(1);

/// One cluster. All workers share it; its lock is taken when sessions begin and end, and by no packet.
pub(crate) struct Cluster {
    name: String,
    settings: ArcSwap<ClusterSettings>,
    state: Mutex<State>,
    /// Counts up when an endpoint has become one that sessions are to leave.
    changed: watch::Sender<u64>,
    /// Where the endpoints are to come from at first.
    source: SourceSpec,
    discovery: Mutex<Option<Running>>,
    checking: OnceLock<Checking>,
    /// Told when something may be due earlier than it was.
    due: Arc<Notify>,
    metrics: OnceLock<Clusters>,
    /// What the sessions with each endpoint bring, in bits a second.
    bitrates: Mutex<BTreeMap<EndpointId, u64>>,
    /// The routes that it is on trial for.
    pub(crate) canaries: Canaries,
    /// When somebody was told of a shadow's failure.
    pub(crate) shadows: Told,
}

/// Whether new sessions go to an endpoint.
pub(crate) fn is_usable(view: &EndpointView<'_>) -> bool {
    matches!(view.health, Health::Unknown | Health::Healthy) && view.spec.weight > 0
}

/// Starts what clusters do by themselves, and waits a moment for their first endpoints.
pub(crate) async fn start(shared: &Shared) -> Result<(), Error> {
    let routing = shared.routing();
    for cluster in routing.clusters().values() {
        cluster.start(shared)?;
    }
    shared.worker(0)?.post(|worker| {
        tokio::task::spawn_local(canary::follow(Rc::clone(worker)));
    })?;
    let first = async {
        for cluster in routing.clusters().values() {
            cluster.heard().await;
        }
    };
    // Late answers are no error: until they come there is no endpoint.
    let _ = tokio::time::timeout(FIRST_ANSWERS, first).await;
    Ok(())
}

impl Cluster {
    pub(crate) fn new(
        settings: Arc<ClusterSettings>,
        spec: &ClusterSpec,
        source: SourceSpec,
        seed: u64,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(spec, seed, Instant::now()));
        let changed = watch::Sender::new(0);
        Arc::new(Self {
            name: settings.name.clone(),
            settings: ArcSwap::new(settings),
            state,
            changed,
            source,
            discovery: Mutex::new(None),
            checking: OnceLock::new(),
            due: Arc::new(Notify::new()),
            metrics: OnceLock::new(),
            bitrates: Mutex::default(),
            canaries: Canaries::default(),
            shadows: Told::default(),
        })
    }

    /// Begins to ask for endpoints, and to check them. All of it ends with the cluster.
    pub(crate) fn start(self: &Arc<Self>, shared: &Shared) -> Result<(), Error> {
        let _ = self.metrics.set(shared.metrics.clusters.clone());
        self.canaries.ring(&shared.turned);
        self.start_discovery(shared, self.source.clone())?;
        if self.checking.get().is_none() {
            let checking = Checking::start(shared, self.place(shared), self)?;
            let _ = self.checking.set(checking);
        }
        Ok(())
    }

    /// The worker that does what the cluster does by itself: two clusters' hardly are the same, and one's always are.
    fn place(&self, shared: &Shared) -> usize {
        let place = hash(self.name.as_bytes()) % shared.worker_count().max(1) as u64;
        usize::try_from(place).unwrap_or(0)
    }

    /// Has the endpoints come from `source` from now on, unless they do. Those known stay until it has answered.
    pub(crate) fn start_discovery(
        self: &Arc<Self>,
        shared: &Shared,
        source: SourceSpec,
    ) -> Result<(), Error> {
        let mut running = self.discovery();
        if running.as_ref().is_some_and(|running| running.spec == source) {
            return Ok(());
        }
        *running = Some(Running::start(shared, self.place(shared), self, source)?);
        Ok(())
    }

    /// Nobody is asked for endpoints any more.
    pub(crate) fn stop_discovery(&self) {
        *self.discovery() = None;
    }

    fn discovery(&self) -> MutexGuard<'_, Option<Running>> {
        self.discovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the source has said something.
    async fn heard(&self) {
        let Some(mut heard) = self.discovery().as_ref().map(Running::heard) else { return };
        let _ = heard.wait_for(|heard| *heard).await;
    }

    /// What discovery is doing.
    pub(crate) fn discovering(&self) -> Option<Progress> {
        self.discovery().as_ref().map(Running::progress)
    }

    /// These are the endpoints now.
    fn set_endpoints(&self, now: Instant, specs: &[EndpointSpec]) {
        self.update(|state| state.set_endpoints(now, specs));
    }

    /// Shows each endpoint as it is now, in order.
    pub(crate) fn view(&self, now: Instant, show: impl FnMut(EndpointView<'_>)) {
        self.state().view(now).for_each(show);
    }

    /// How many endpoints there are.
    pub(crate) fn count(&self) -> usize {
        self.state().endpoints().count()
    }

    /// The endpoints' names, in order.
    pub(crate) fn ids(&self) -> Vec<EndpointId> {
        self.state().endpoints().map(|(id, _)| id).collect()
    }

    /// What the last check of each endpoint found, and when.
    pub(crate) fn checked(&self) -> BTreeMap<EndpointId, (Instant, Result<(), CheckFailure>)> {
        self.checking.get().map(Checking::found).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What its hops are made with now. A session keeps what it was made with.
    pub(crate) fn settings(&self) -> Arc<ClusterSettings> {
        self.settings.load_full()
    }

    /// Its next hops are made with these.
    pub(crate) fn set_settings(&self, settings: Arc<ClusterSettings>) {
        self.settings.store(settings);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the state changed by `change`, and tells those whose endpoints it concerns. What is due by itself is looked at again.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = self.quietly(change);
        self.due.notify_one();
        outcome
    }

    /// As [`Self::update`], of a change that makes nothing due: where sessions begin and end.
    fn quietly<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let outcome = change(&mut state);
        let mut told = false;
        while let Some(event) = state.poll_event() {
            events::tell(&self.name, &event, self.metrics.get());
            told = true;
        }
        drop(state);
        if told {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
        outcome
    }

    /// One session with an endpoint brings `now` instead of `before`.
    fn set_bitrate(&self, id: EndpointId, before: u64, now: u64) {
        if before == now {
            return;
        }
        let mut bitrates = self.bitrates.lock().unwrap_or_else(PoisonError::into_inner);
        let all = bitrates.entry(id).or_default();
        *all = all.saturating_sub(before).saturating_add(now);
        let all = *all;
        if all == 0 {
            bitrates.remove(&id);
        }
        drop(bitrates);
        self.quietly(|state| state.set_bitrate(id, all));
    }

    /// The endpoint for the next session.
    fn pick(self: &Arc<Self>, key: PickKey, resource: &str, tried: &[EndpointId]) -> Result<Held, PickError> {
        self.quietly(|state| {
            let (id, endpoint) = state.pick(Instant::now(), key, tried)?;
            let url = RtspUrl::parse(&endpoint.to_string()).map_err(|_| PickError::Empty)?;
            state.begin(id);
            Ok(Held::new(Some((Arc::clone(self), id)), url.with_resource(resource)))
        })
    }

    /// Whether there is an endpoint at this host and port, and a session may go there now.
    pub(crate) fn at(
        self: &Arc<Self>,
        (host, port): (&str, u16),
        resource: &str,
        trial: Option<&OnTrial>,
    ) -> Place {
        self.quietly(|state| {
            let Some((id, endpoint)) = state.at(host, port) else {
                return if state.named(host, port).is_some() { Place::Closed } else { Place::Elsewhere };
            };
            let Ok(url) = RtspUrl::parse(&endpoint.to_string()) else { return Place::Closed };
            state.begin(id);
            let mut held = Held::new(Some((Arc::clone(self), id)), url.with_resource(resource));
            held.trial = trial.cloned();
            Place::Endpoint(held)
        })
    }

    /// The URL of the endpoint at this host and port, whatever is known of it.
    fn named(&self, host: &str, port: u16) -> Option<RtspUrl> {
        let endpoint = self.state().named(host, port)?.to_string();
        RtspUrl::parse(&endpoint).ok()
    }
}

/// What a host and a port are to a cluster.
pub(crate) enum Place {
    /// An endpoint, which counts a session more now.
    Endpoint(Held),
    /// An endpoint that no session may go to: it is ill, has as many as it may, or has no weight.
    Closed,
    /// None of its endpoints.
    Elsewhere,
}

/// An endpoint that a session is with, or is tried with. It counts as one of the endpoint's sessions until this is dropped.
pub(crate) struct Held {
    /// None where the URL itself was given.
    of: Option<(Arc<Cluster>, EndpointId)>,
    pub(crate) url: RtspUrl,
    since: Instant,
    feed: RefCell<Feed>,
    /// What the session brings, in bits a second.
    bitrate: Cell<u64>,
    /// Where its route has a canary.
    trial: Option<OnTrial>,
    /// The endpoint itself has asked that it leave.
    asked: Cell<bool>,
}

impl Held {
    fn new(of: Option<(Arc<Cluster>, EndpointId)>, url: RtspUrl) -> Self {
        let (feed, bitrate, asked) = (RefCell::default(), Cell::new(0), Cell::new(false));
        Self { of, url, since: Instant::now(), feed, bitrate, trial: None, asked }
    }

    /// An endpoint of no cluster.
    pub(crate) fn direct(url: RtspUrl) -> Self {
        Self::new(None, url)
    }

    /// Whether it is no endpoint of a cluster, which is not told a cluster's credentials.
    pub(crate) fn is_stranger(&self) -> bool {
        self.of.is_none()
    }

    /// Says that the session was set up.
    pub(crate) fn report_success(&self) {
        self.report(Outcome::SetUp { took: self.since.elapsed() });
    }

    /// Says what the media that the session brings says of the endpoint. To be called at least once a second.
    pub(crate) fn observe(&self, now: Instant, ingest: &Ingest) {
        let Some((cluster, id)) = &self.of else { return };
        let Some(said) = self.feed.borrow_mut().look(now, Totals::of(ingest)) else { return };
        for outcome in said.outcomes {
            self.report(outcome);
        }
        let before = self.bitrate.replace(said.bits_per_second);
        cluster.set_bitrate(*id, before, said.bits_per_second);
    }

    /// What the session brings is counted by another ingest from now on, which has counted other sources before.
    pub(crate) fn observe_anew(&self) {
        *self.feed.borrow_mut() = Feed::default();
    }

    /// Says what became of the session.
    pub(crate) fn report(&self, outcome: Outcome) {
        if let Some(trial) = &self.trial {
            trial.report(&outcome);
        }
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
        if self.asked.get() {
            return Some("the endpoint sends its sessions elsewhere");
        }
        let (cluster, id) = self.of.as_ref()?;
        cluster.state().check(*id).err()
    }

    /// The endpoint sends its sessions elsewhere.
    pub(crate) fn ask_to_leave(&self) {
        self.asked.set(true);
    }

    /// Whether it does.
    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.asked.get()
    }

    /// Tells, when its value changes, that [`Self::objection`] may have changed.
    pub(crate) fn changes(&self) -> Option<watch::Receiver<u64>> {
        self.of.as_ref().map(|(cluster, _)| cluster.changed.subscribe())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((cluster, id)) = &self.of {
            cluster.set_bitrate(*id, self.bitrate.take(), 0);
            cluster.quietly(|state| state.end(*id));
        }
    }
}

/// What an error of a session's set-up says of the endpoint; `None` where it is not the endpoint's.
fn failure(error: &Error) -> Option<Outcome> {
    Some(match error {
        Error::Unreachable { .. } => Outcome::Unreachable,
        Error::UpstreamTimeout { .. } => Outcome::TimedOut,
        Error::UpstreamStatus { status, .. } | Error::UpstreamRedirect { status, .. } => {
            Outcome::Refused { status: *status }
        }
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
    /// Where the route has a canary.
    trial: Option<OnTrial>,
}

impl Attempts {
    pub(crate) fn of_cluster(
        cluster: Arc<Cluster>,
        key: PickKey,
        resource: String,
        trial: Option<OnTrial>,
    ) -> Self {
        Self { cluster: Some(cluster), direct: None, key, resource, tried: Vec::new(), trial }
    }

    /// The URL itself.
    pub(crate) fn direct(url: RtspUrl) -> Self {
        Self {
            cluster: None,
            direct: Some(url),
            key: PickKey::default(),
            resource: String::new(),
            tried: Vec::new(),
            trial: None,
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
            trial: None,
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
        let mut held = cluster.pick(self.key, &self.resource, &self.tried)?;
        held.trial.clone_from(&self.trial);
        self.tried.extend(held.of.as_ref().map(|(_, id)| *id));
        Ok(held)
    }
}
