//! Another configuration in the place of the one in force, while streams flow.
//!
//! Everything is read, checked, made and bound by a thread of its own; workers get small jobs when it is done, and what was in force
//! before is let go off them, too: a table of ten thousand routes takes longer to drop than a packet may wait. What takes long is done by a
//! second thread that gives way to all others (`msm_udp::give_way`), as there may be no core that no worker has.

mod apply;
mod changes;
mod history;
mod keys;
mod plan;
mod standing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use msm_core::cluster::ClusterSpec;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub use self::changes::{Changes, Difference};
pub(crate) use self::history::History;
pub use self::history::{ConfigurationStatus, RefusedStatus};
pub(crate) use self::standing::keep_standing;
use crate::config::{self, Config};
use crate::error::Error;
use crate::metrics::Outcome;
use crate::serve::listener::ListenerShared;
use crate::settings::ClusterFiles;
use crate::shared::Shared;
use crate::status::milliseconds;
use crate::watched::Refresh;

/// What code has set, whatever the configuration says of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pinned {
    pub(crate) workers: bool,
    pub(crate) identity: bool,
}

/// The configuration in force, and what was made of it.
pub(crate) struct Running {
    /// None where the mesh was built without.
    config: Option<Arc<Config>>,
    pinned: Pinned,
    files: ClusterFiles,
    specs: BTreeMap<String, ClusterSpec>,
    /// What keeps streams that are wanted before anybody reads them, by URL.
    standing: BTreeMap<String, AbortHandle>,
}

impl Running {
    pub(crate) fn new(config: Option<Config>, pinned: Pinned, files: ClusterFiles) -> Self {
        let routing = config.as_ref().and_then(|config| config.routing().ok());
        let specs = routing.into_iter().flat_map(|routing| routing.clusters);
        let specs = specs.map(|spec| (spec.name.clone(), spec)).collect();
        Self { config: config.map(Arc::new), pinned, files, specs, standing: BTreeMap::new() }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Option<Arc<Config>> {
        self.config.clone()
    }

    /// What is made of files, of clusters and listeners.
    pub(crate) fn watched(&self, listeners: &[Arc<ListenerShared>]) -> Vec<Arc<dyn Refresh>> {
        let listeners = listeners.iter().flat_map(|listener| listener.watched());
        self.files.values().map(Arc::clone).chain(listeners).collect()
    }
}

/// Puts what `load` yields in the place of the configuration in force, and says in log, metrics and status what became of it.
///
/// # Errors
/// What is wrong with it; then nothing has changed.
pub(crate) async fn reload(
    shared: &Arc<Shared>,
    file: Option<PathBuf>,
    load: impl FnOnce() -> Result<(Config, config::Routing), Error> + Send + 'static,
) -> Result<Changes, Error> {
    let (shared, began) = (Arc::clone(shared), Instant::now());
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("msm-reload".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = tell.send(Err(Error::socket("thread msm-reload", error)));
                return;
            }
        };
        runtime.block_on(async move {
            let mut running = shared.running.lock().await;
            match apply::apply(&shared, &mut running, load).await {
                Ok((changes, before)) => {
                    accepted(&shared, file, &changes, began.elapsed());
                    let _ = tell.send(Ok(changes));
                    before.let_go().await;
                }
                Err(error) => {
                    refused(&shared, &error);
                    let _ = tell.send(Err(error));
                }
            }
        });
    });
    thread.map_err(|error| Error::socket("thread msm-reload", error))?;
    told.await.map_err(|_| Error::Stopped)?
}

fn accepted(shared: &Shared, file: Option<PathBuf>, changes: &Changes, took: Duration) {
    if changes.restart != shared.history.restart() && !changes.restart.is_empty() {
        let keys = changes.restart.join(", ");
        tracing::warn!(keys, "configuration: these keys have changed, and take a restart to be in force");
    }
    let metrics = &shared.metrics.reloads;
    let applied = (!changes.is_empty()).then(SystemTime::now);
    shared.history.accept(file, &changes.restart, applied);
    match applied {
        Some(at) => {
            tracing::info!(%changes, took_ms = milliseconds(took), "configuration applied");
            metrics.set_applied(at);
            metrics.count(Outcome::Applied);
        }
        None => {
            tracing::debug!("configuration unchanged");
            metrics.count(Outcome::Unchanged);
        }
    }
}

fn refused(shared: &Shared, error: &Error) {
    let problems: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    if shared.history.refuse(problems.clone()) {
        shared.metrics.reloads.count(Outcome::Refused);
        for problem in problems {
            tracing::error!(problem, "configuration refused: the one before stays in force");
        }
    }
}
