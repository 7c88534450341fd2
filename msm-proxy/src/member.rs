//! The mesh as `run` sees it.

use std::convert::Infallible;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use msm::Mesh;
use msm::config::Config;
use msm::upgrade::{Door, Successor, Takeover};
use tokio::sync::{Mutex, Notify};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::admin::{Later, Source};
use crate::logging::Level;
use crate::run::{DrainTimes, FAREWELL, Gone, Member};
use crate::watch::{self, Stamp, Watch};
use msm::config::environment;

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
    /// Where another process asks to take over.
    socket: Option<PathBuf>,
    door: Mutex<Option<Door>>,
}

struct View {
    mesh: Mesh,
    ready: Arc<AtomicBool>,
}

/// What a process that runs has passed to this one, and the sockets of it that are the admin servers', by their keys; nothing, where none
/// runs or the configuration does not say where it is.
///
/// # Errors
/// It is there, and nothing can be had from it.
pub async fn take_over(
    config: &Config,
) -> Result<(Option<Takeover>, Vec<(String, TcpListener)>), msm::Error> {
    let Some(upgrade) = &config.upgrade else { return Ok((None, Vec::new())) };
    let mut takeover = Takeover::ask(&upgrade.socket).await?;
    let own = takeover.as_mut().map(Takeover::own_sockets).transpose()?;
    Ok((takeover, own.unwrap_or_default()))
}

/// Starts the workers and binds the listeners.
///
/// # Errors
/// A port that cannot be had, named with its key.
pub async fn start(
    config: Config,
    origin: Origin,
    takeover: Option<Takeover>,
) -> Result<Serving, msm::Error> {
    let socket = config.upgrade.as_ref().map(|upgrade| upgrade.socket.clone());
    let took_over = takeover.is_some();
    let mut builder = Mesh::builder().config(config);
    if let Some(takeover) = takeover {
        builder = builder.take_over(takeover);
    }
    if let Some((file, _)) = &origin.file {
        builder = builder.loaded_from(file);
    }
    let mesh = builder.build().await?;
    let serving = mesh.serve().await?;
    for address in serving.addresses() {
        info!(%address, "serving rtsp");
    }
    let door = match socket.as_deref().map(Door::open).transpose() {
        Ok(door) => door,
        // The process of before has let go: better no further upgrade than nobody who serves.
        Err(error) if took_over => {
            warn!(%error, "no process can take over from this one");
            None
        }
        Err(error) => return Err(error),
    };
    Ok(Serving { mesh, ready: Arc::new(AtomicBool::new(true)), origin, socket, door: Mutex::new(door) })
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

    async fn successor(&self, own: Vec<(String, OwnedFd)>) -> Successor {
        match &mut *self.door.lock().await {
            Some(door) => door.next(&self.mesh, &own).await,
            None => std::future::pending().await,
        }
    }

    async fn hand_over(&self, successor: Successor) -> bool {
        // The door stays: whoever asks here still is to find that somebody is there.
        successor.hand_over(&self.mesh).await.is_ok()
    }

    async fn gone(&self) -> Gone {
        let gone = tokio::select! {
            () = self.mesh.taken_back() => Gone::Lost,
            () = self.mesh.left_alone() => Gone::Left,
        };
        // The other process's is in its place.
        match self.socket.as_deref().map(Door::open).transpose() {
            Ok(door) => *self.door.lock().await = door,
            Err(error) => warn!(%error, "no process can take over from this one"),
        }
        gone
    }

    async fn ended(&self) {
        self.mesh.ended().await;
    }

    fn will_end(&self) {
        self.mesh.will_end();
    }

    async fn drain(&self, timeout: Duration) {
        self.ready.store(false, Ordering::Release);
        // The last part is for those who have to be told that their sessions end.
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
