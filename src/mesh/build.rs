//! How a mesh is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use msm_auth::identity::source::IdentitySource;

use super::Mesh;
use crate::alive::Alive;
use crate::cluster;
use crate::config::{Config, Workers, environment};
use crate::error::Error;
use crate::identity;
use crate::net::limits;
use crate::reload::{Pinned, Running};
use crate::serve::listener::ListenerShared;
use crate::settings;
use crate::shared::Shared;
use crate::upgrade::Takeover;
use crate::watched;
use crate::worker::WorkerHandle;

/// Makes a [`Mesh`].
#[derive(Default)]
pub struct Builder {
    config: Option<Config>,
    workers: Option<u16>,
    identity: Option<Arc<dyn IdentitySource>>,
    file: Option<PathBuf>,
    takeover: Option<Takeover>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Uses a configuration that was read or made.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Reads a configuration file; `MSM__…` variables override its keys.
    ///
    /// # Errors
    /// [`Error::Configuration`] with everything that is wrong, one problem a line.
    pub fn config_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let config = Config::load(Some(path.as_ref()), environment())
            .map_err(|errors| Error::Configuration(errors.to_string()))?;
        Ok(self.config(config).loaded_from(path.as_ref()))
    }

    /// Reads a configuration as a file has it, from text; `MSM__…` variables override its keys. Files that it names are meant from the
    /// working directory.
    ///
    /// # Errors
    /// As of [`Self::config_file`].
    pub fn config_text(self, yaml: &str) -> Result<Self, Error> {
        let config = Config::from_text(yaml, environment())
            .map_err(|errors| Error::Configuration(errors.to_string()))?;
        Ok(self.config(config))
    }

    /// Says which file the configuration was read from, for the status.
    #[must_use]
    pub fn loaded_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Runs media on this many threads of the mesh's own; by default one for each core.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Is this member towards others, whatever the configuration says of `identity`.
    #[must_use]
    pub fn identity(mut self, source: Arc<dyn IdentitySource>) -> Self {
        self.identity = Some(source);
        self
    }

    /// Serves in the place of a process that runs, with its sockets and as many workers as it has: see [`crate::upgrade`].
    #[must_use]
    pub fn take_over(mut self, takeover: Takeover) -> Self {
        self.takeover = Some(takeover);
        self
    }

    /// Starts the worker threads. Nothing listens before [`Mesh::serve`].
    ///
    /// Without a configuration the mesh has no routes, and dials the URLs that it is given. Waits `identity.initial_wait` at most for the
    /// first identity, where one is needed, and a second for what DNS says of endpoints.
    ///
    /// # Errors
    /// The configuration is refused, or a thread cannot be started.
    pub async fn build(self) -> Result<Mesh, Error> {
        let embedded = self.config.is_none();
        let mut config = self.config.unwrap_or_default();
        if let Some(workers) = self.workers {
            config.workers = Workers::Count(workers.max(1));
        }
        let pinned = Pinned { workers: self.workers.is_some(), identity: self.identity.is_some() };
        let source = match self.identity {
            Some(source) => Some(source),
            None if embedded => None,
            None => identity::open(&config).await?,
        };
        let source = source.as_ref();
        let (routing, files) = settings::routing(&config, embedded, source)?;
        let listeners: Vec<_> = if embedded {
            Vec::new()
        } else {
            let listener = |own| Ok::<_, Error>(ListenerShared::new(settings::listener(own, source)?));
            config.listeners.iter().map(listener).collect::<Result<_, _>>()?
        };
        let taken = self.takeover.as_ref().map_or(&[][..], |own| &own.generations);
        let hop = settings::hop(&config, source, taken)?;
        let limits_and_times = settings::settings(&config);
        let running = Running::new((!embedded).then_some(config.clone()), pinned, files);
        let shared = Shared::new(limits_and_times, routing, listeners, running, hop)?;
        shared.history.begin(self.file);
        for advice in limits::check() {
            tracing::warn!("{advice}");
        }
        let mut count = settings::workers(&config);
        if let Some(Takeover { workers, inherited, pending, .. }) = self.takeover {
            if workers != count {
                tracing::warn!(
                    workers,
                    configured = count,
                    "`workers` stays as the process before this one has it, until a restart"
                );
            }
            count = workers;
            shared.inherit(inherited, pending);
        }
        let mut workers = Vec::with_capacity(count);
        for id in 0..count {
            let worker = WorkerHandle::start(id, config.real_time, Arc::clone(&shared))
                .map_err(|error| Error::socket(format!("worker thread {id}"), error))?;
            workers.push(worker);
        }
        if let Some(error) = workers.iter().find_map(|worker| worker.is_real_time().err()) {
            tracing::warn!(
                %error,
                "`real_time`: workers are as other threads; it takes the capability CAP_SYS_NICE, or RLIMIT_RTPRIO of 1 (systemd: LimitRTPRIO=1)"
            );
        }
        shared.set_workers(workers);
        if let Some(first) = shared.workers().first() {
            let shared = Arc::clone(&shared);
            first.post(move |_| drop(tokio::task::spawn_local(watched::keep(shared))))?;
        }
        cluster::start(&shared).await?;
        Ok(Mesh { alive: Alive::new(&shared), shared })
    }
}
