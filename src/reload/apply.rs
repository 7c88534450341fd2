//! Puts a plan into force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::changes::Changes;
use super::plan::{self, Plan};
use super::{Running, keep_standing};
use crate::cluster::SourceSpec;
use crate::config::{self, Config};
use crate::error::Error;
use crate::routing::Routing;
use crate::serve::migration;
use crate::settings;
use crate::shared::Shared;

/// How long those who still look at the routes of before are waited for. They look for microseconds.
const LETTING_GO: Duration = Duration::from_secs(10);

/// What was in force before.
pub(super) struct Before {
    routing: Option<Arc<Routing>>,
    config: Option<Arc<Config>>,
}

impl Before {
    /// Drops it off the workers, which hold it for a moment: they let go of it first.
    pub(super) async fn let_go(mut self) {
        let until = Instant::now() + LETTING_GO;
        let mut last = None;
        while let Some(routing) = self.routing.take() {
            match Arc::try_unwrap(routing) {
                Ok(routing) => last = Some(routing),
                Err(routing) if Instant::now() < until => {
                    self.routing = Some(routing);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(_) => {}
            }
        }
        let config = self.config.take();
        let _ = calmly(move || drop((last, config)));
    }
}

/// Has a thread do what takes long, which lets those that carry packets go first. It takes no lock that these take.
fn calmly<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let calm = || {
            // Where it is not allowed, packets wait a little longer.
            let _ = msm_udp::give_way();
            work()
        };
        let thread = std::thread::Builder::new().name("msm-reload-calm".into()).spawn_scoped(scope, calm);
        let thread = thread.map_err(|error| Error::socket("thread msm-reload-calm", error))?;
        // A panic ends the change, as it would on this thread.
        thread.join().map_err(|_| Error::Stopped)
    })
}

/// Puts the configuration that `load` yields into force.
///
/// # Errors
/// What is wrong with it, or cannot be had; then nothing has changed.
pub(super) async fn apply(
    shared: &Arc<Shared>,
    running: &mut Running,
    load: impl FnOnce() -> Result<(Config, config::Routing), Error> + Send,
) -> Result<(Changes, Before), Error> {
    let now = &*running;
    let mut plan = calmly(|| plan::make(shared, now, load()?))??;
    let serves = shared.serving.load(Ordering::Acquire);
    if serves && let Err(error) = bind(shared, &plan).await {
        for worker in shared.workers() {
            let _ = worker.call(|worker| worker.discard_prepared()).await;
        }
        return Err(error);
    }
    // From here on nothing fails, unless the mesh ends.
    running.files = std::mem::take(&mut plan.files);
    running.specs = std::mem::take(&mut plan.specs);
    let watched = running.watched(&plan.all);
    drop(shared.watched.swap(Arc::new(watched)));
    if !plan.changes.keys.is_empty() {
        shared.set_settings(settings::settings(&plan.config));
    }
    let mut before = Before { routing: None, config: None };
    let is_routed_anew = plan.routing.is_some();
    before.routing = plan.routing.take().map(|routing| shared.set_routing(routing));
    change_clusters(shared, &plan)?;
    shared.listeners.store(Arc::new(std::mem::take(&mut plan.all)));
    for worker in shared.workers() {
        let listeners = plan.listeners.clone();
        // Each worker has nothing of the routes of before in its hands once it has done this.
        worker
            .call(move |worker| {
                if serves {
                    worker.change_listeners(&listeners);
                }
            })
            .await?;
    }
    if is_routed_anew {
        shared.routed.send_modify(|count| *count = count.wrapping_add(1));
        (plan.changes.ended, plan.changes.redirected) = end_sessions(shared)?;
        forget_labels(shared, &plan.config)?;
        if serves {
            keep_standing(shared, running).await?;
        }
    }
    before.config = running.config.replace(Arc::new(plan.config));
    Ok((plan.changes, before))
}

/// Binds what listeners that are added need, on every worker.
async fn bind(shared: &Shared, plan: &Plan) -> Result<(), Error> {
    if plan.listeners.added.is_empty() {
        return Ok(());
    }
    for worker in shared.workers() {
        let added = plan.listeners.added.clone();
        worker.call(move |worker| worker.prepare_listeners(&added)).await??;
    }
    Ok(())
}

fn change_clusters(shared: &Shared, plan: &Plan) -> Result<(), Error> {
    let now = Instant::now();
    for cluster in &plan.added {
        cluster.start(shared)?;
    }
    for change in &plan.clusters {
        change.cluster.set_settings(Arc::clone(&change.settings));
        change.cluster.update(|state| {
            state.set_options(now, change.spec.options.clone());
            let is_fixed = matches!(change.source, SourceSpec::Fixed(_));
            let mut there: Vec<_> = state.endpoints().map(|(_, spec)| spec.clone()).collect();
            if is_fixed {
                there.clone_from(&change.spec.endpoints);
            }
            if change.leave {
                // What comes after this are others, at the same places.
                state.set_endpoints(now, &[]);
            }
            if change.leave || change.endpoints {
                state.set_endpoints(now, &there);
            }
        });
        change.cluster.start_discovery(shared, change.source.clone())?;
    }
    for cluster in &plan.gone {
        cluster.stop_discovery();
        cluster.update(|state| state.set_endpoints(now, &[]));
    }
    Ok(())
}

/// Ends the sessions that the routes of now would not let in, and has those go over that are to read another backend's stream. Answers how many
/// end, and how many are sent elsewhere, to end later.
fn end_sessions(shared: &Shared) -> Result<(usize, usize), Error> {
    let routing = shared.routing();
    let (mut ended, mut redirected) = (0, 0);
    let now = Instant::now();
    for grant in shared.sessions.grants() {
        let why = match grant.check(&routing) {
            Err(Error::Redirected { to, leave_within, .. }) if !leave_within.is_zero() => {
                if grant.send(now, &to, leave_within) {
                    redirected += 1;
                    shared.worker(grant.worker)?.post(move |worker| {
                        let Some(session) = worker.sessions.get(&grant.id) else { return };
                        tracing::info!(session = %session.id, peer = %session.owner, url = %grant.url, to, "session is sent elsewhere: the routes have changed");
                        session.tell_where();
                    })?;
                }
                continue;
            }
            Err(why) => why,
            Ok(resolved) => {
                grant.stays();
                migration::migrate(shared, &grant, &resolved)?;
                continue;
            }
        };
        ended += 1;
        shared.worker(grant.worker)?.post(move |worker| {
            if let Some(session) = worker.sessions.get(&grant.id) {
                tracing::warn!(session = %session.id, peer = %session.owner, url = %grant.url, %why, "session ends: the routes have changed");
                session.end(worker);
            }
        })?;
    }
    Ok((ended, redirected))
}

/// Metrics have no labels of what is gone.
fn forget_labels(shared: &Shared, config: &Config) -> Result<(), Error> {
    let names = || -> (BTreeSet<&str>, BTreeSet<&str>) {
        let routes = config.routes.iter().map(|route| route.name.as_str());
        (routes.collect(), config.clusters.keys().map(String::as_str).collect())
    };
    let (routes, clusters) = calmly(names)?;
    shared.metrics.retain(&routes, &clusters);
    Ok(())
}
