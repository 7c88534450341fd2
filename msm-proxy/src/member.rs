//! The mesh as `run` sees it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use msm::Mesh;
use msm::config::Config;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::admin::{Later, Source};
use crate::cli::environment;
use crate::logging::Level;
use crate::run::{DrainTimes, Member};
use crate::watch::{self, Stamp, Watch};

/// The last part of `drain_timeout` is for those who have to be told that their sessions end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the configuration comes from, and what of it is outside of the mesh.
pub struct Origin {
    /// The file, and its state before it was read.
    file: Option<(PathBuf, Stamp)>,
    /// What is logged.
    pub level: Option<Level>,
}

impl Origin {
    /// Before the file is read: what changes from now on is seen.
    pub fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(|file| (file.to_owned(), watch::stamp(file))), level: None }
    }
}

/// A mesh that serves.
pub struct Serving {
    mesh: Mesh,
    ready: Arc<AtomicBool>,
    origin: Origin,
}

struct View {
    mesh: Mesh,
    ready: Arc<AtomicBool>,
}

/// Starts the workers and binds the listeners.
///
/// # Errors
/// A port that cannot be had, named with its key.
pub async fn start(config: Config, origin: Origin) -> Result<Serving, msm::Error> {
    let mut builder = Mesh::builder().config(config);
    if let Some((file, _)) = &origin.file {
        builder = builder.loaded_from(file);
    }
    let mesh = builder.build().await?;
    let serving = mesh.serve().await?;
    for address in serving.addresses() {
        info!(%address, "serving rtsp");
    }
    Ok(Serving { mesh, ready: Arc::new(AtomicBool::new(true)), origin })
}

impl Serving {
    /// The files whose content is in the configuration: others that it names are watched by the mesh.
    async fn files(&self, file: &Path) -> Vec<PathBuf> {
        let mut files = vec![file.to_owned()];
        let base = file.parent().unwrap_or(Path::new(""));
        if let Some(config) = self.mesh.config().await {
            let passwords =
                config.clusters.values().filter_map(|own| own.auth.as_ref()?.password_file.as_ref());
            files.extend(passwords.map(|password| base.join(password)));
        }
        files
    }

    /// The state of the files now, off this thread: a disk may take its time.
    async fn look(&self, file: &Path) -> Vec<Stamp> {
        let files = self.files(file).await;
        tokio::task::spawn_blocking(move || watch::stamps(&files)).await.unwrap_or_default()
    }

    /// Reads the file again. Answers whether it was accepted.
    async fn read(&self, file: &Path, asked: bool) -> bool {
        match self.mesh.reload_file(file, environment()).await {
            Ok(changes) => {
                if changes.keys.iter().any(|key| key == "log.level")
                    && let (Some(level), Some(config)) = (&self.origin.level, self.mesh.config().await)
                {
                    level.set(&config.log);
                }
                if asked && changes.is_empty() {
                    info!(file = %file.display(), "configuration unchanged");
                }
                true
            }
            Err(error) => {
                if asked {
                    let problems = error.to_string().lines().count();
                    warn!(file = %file.display(), problems, "configuration refused; `msm-proxy status` has the problems");
                }
                false
            }
        }
    }
}

impl Member for Serving {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(View { mesh: self.mesh.clone(), ready: Arc::clone(&self.ready) })
    }

    async fn follow(&self, asked: &Notify) -> Infallible {
        let Some((file, before)) = &self.origin.file else {
            loop {
                asked.notified().await;
                info!("there is no configuration file to read again");
            }
        };
        let mut read = self.look(file).await;
        if let Some(own) = read.first_mut() {
            *own = *before;
        }
        let mut watch = Watch::new(read);
        let mut tick = tokio::time::interval(watch::EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = asked.notified() => true,
                _ = tick.tick() => false,
            };
            let now = self.look(file).await;
            if watch.look(now, asked, Instant::now()) {
                let accepted = self.read(file, asked).await;
                watch.outcome(accepted, Instant::now());
            }
        }
    }

    async fn drain_times(&self) -> Option<DrainTimes> {
        self.mesh.config().await.map(|config| DrainTimes::of(&config))
    }

    async fn drain(self, timeout: Duration) {
        self.ready.store(false, Ordering::Release);
        self.mesh.shutdown(timeout.saturating_sub(FAREWELL.min(timeout / 5))).await;
    }
}

impl Source for View {
    fn metrics(&self) -> Later<'_, String> {
        Box::pin(self.mesh.metrics_text())
    }

    fn status(&self) -> Later<'_, serde_json::Value> {
        Box::pin(async { serde_json::to_value(self.mesh.status().await).unwrap_or_default() })
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
