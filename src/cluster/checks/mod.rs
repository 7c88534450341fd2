//! Active checks as they run: one task of a cluster asks what is due, and each answer is told to the cluster's machine.

mod ask;
mod flow;
mod live;
mod member;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use msm_core::cluster::{Check, CheckFailure, EndpointId};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::Cluster;
use crate::error::Error;
use crate::shared::Shared;
use crate::worker::Worker;

/// Checks of one cluster at once: connections to its endpoints that are open for nothing else.
const AT_ONCE: usize = 64;

/// How long what is due waits where [`AT_ONCE`] checks are under way.
const BUSY: Duration = Duration::from_millis(10);

/// What each endpoint's last check found, and when.
type FoundByEndpoint = BTreeMap<EndpointId, (Instant, Result<(), CheckFailure>)>;

/// Checks that run for a cluster. They end when this is dropped.
pub(super) struct Checking {
    found: Arc<Mutex<FoundByEndpoint>>,
    _end: oneshot::Sender<()>,
}

impl Checking {
    /// Begins to check on a worker, as the cluster's options say from time to time.
    pub(super) fn start(shared: &Shared, worker: usize, cluster: &Arc<Cluster>) -> Result<Self, Error> {
        let (end, ended) = oneshot::channel();
        let found = Arc::<Mutex<FoundByEndpoint>>::default();
        let (cluster, own) = (Arc::downgrade(cluster), Arc::clone(&found));
        shared.worker(worker)?.post(move |worker| {
            let driver = Driver {
                worker: Rc::clone(worker),
                cluster,
                found: own,
                running: JoinSet::new(),
                under_way: BTreeMap::new(),
                seen: 0,
            };
            tokio::task::spawn_local(driver.run(ended));
        })?;
        Ok(Self { found, _end: end })
    }

    pub(super) fn found(&self) -> FoundByEndpoint {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Driver {
    worker: Rc<Worker>,
    cluster: Weak<Cluster>,
    found: Arc<Mutex<FoundByEndpoint>>,
    /// Checks under way: they end, and their connections close, when this is dropped.
    running: JoinSet<(EndpointId, Option<Result<(), CheckFailure>>)>,
    under_way: BTreeMap<EndpointId, AbortHandle>,
    /// The state of the cluster in which the endpoints of checks were last looked for.
    seen: u64,
}

impl Driver {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut stopping = self.worker.shared.stopping.subscribe();
        loop {
            let Some(cluster) = self.cluster.upgrade() else { return };
            let due = self.look(&cluster, Instant::now());
            let earlier = Arc::clone(&cluster.due);
            drop(cluster);
            tokio::select! {
                biased;
                _ = &mut ended => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    if let Ok((id, outcome)) = done {
                        self.tell(id, outcome);
                    }
                }
                () = earlier.notified() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// Does what is due; when the next is.
    fn look(&mut self, cluster: &Arc<Cluster>, now: Instant) -> Option<Instant> {
        cluster.quietly(|state| state.handle_timeout(now));
        self.forget_who_left(cluster);
        while self.running.len() < AT_ONCE
            && let Some(check) = cluster.quietly(|state| state.poll_check(now))
        {
            let id = check.id;
            let work = one(Rc::clone(&self.worker), Arc::downgrade(cluster), cluster.settings(), check);
            let handle = self.running.spawn_local(async move { (id, work.await) });
            self.under_way.insert(id, handle);
        }
        let wait = if self.running.len() < AT_ONCE { Duration::from_millis(1) } else { BUSY };
        cluster.quietly(|state| state.poll_timeout()).map(|(due, _)| due.max(now + wait))
    }

    /// Endpoints that have left are asked no more, and what they answered is shown no more.
    fn forget_who_left(&mut self, cluster: &Cluster) {
        let now = *cluster.changed.borrow();
        if std::mem::replace(&mut self.seen, now) == now {
            return;
        }
        let ids = cluster.ids();
        self.under_way.retain(|id, handle| {
            let stays = ids.contains(id);
            if !stays {
                handle.abort();
            }
            stays
        });
        self.found.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id));
    }

    fn tell(&mut self, id: EndpointId, outcome: Option<Result<(), CheckFailure>>) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        if self.under_way.remove(&id).is_none() {
            return;
        }
        let now = Instant::now();
        if let Some(outcome) = outcome {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (now, outcome));
            self.worker.shared.metrics.clusters.count_check(cluster.name(), outcome);
            return cluster.quietly(|state| state.handle_check(now, id, outcome));
        }
        // What this process could not do says nothing of the endpoint: it is what it was.
        cluster.quietly(|state| state.forget_check(now, id));
    }
}

/// One check, within its time; `None` where it is this process that failed.
async fn one(
    worker: Rc<Worker>,
    cluster: Weak<Cluster>,
    settings: Arc<crate::routing::ClusterSettings>,
    check: Check,
) -> Option<Result<(), CheckFailure>> {
    let deadline = Instant::now() + check.timeout;
    let asked = tokio::time::timeout_at(deadline.into(), ask::ask(&worker, &cluster, &settings, &check));
    match asked.await {
        Err(_) => Some(Err(CheckFailure::TimedOut)),
        Ok(Ok(())) => Some(Ok(())),
        Ok(Err(ask::Failed::Endpoint(failure))) => Some(Err(failure)),
        Ok(Err(ask::Failed::Own(error))) => {
            tracing::warn!(
                cluster = settings.name,
                endpoint = %check.endpoint,
                %error,
                "endpoint could not be checked, which is not its fault"
            );
            None
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
