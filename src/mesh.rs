//! The mesh as an application holds it.

mod build;
mod end;
mod open;
mod publish;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use msm_auth::identity::UnixTime;
use msm_rtsp::url::RtspUrl;

pub use self::build::Builder;
use crate::alive::Alive;
use crate::config::Config;
use crate::error::Error;
use crate::events::Events;
use crate::hop::port::HopPort;
use crate::reload::{self, Changes};
use crate::shared::Shared;
use crate::status::Status;
use crate::worker::Worker;

/// How long a worker is waited for to publish its counters.
const PUBLISH: Duration = Duration::from_secs(1);

/// A member of the mesh: streams are read, published and served through it.
///
/// Cheap to clone. Media runs on threads of its own, never on the caller's runtime: a blocked application does not stall
/// a stream. Ends with [`Self::shutdown`], which waits for what is left to do, or at once when the last of its clones,
/// readers and publishers is dropped.
///
/// ```no_run
/// # async fn run() -> Result<(), msm::Error> {
/// let mesh = msm::Mesh::builder().build().await?;
/// let mut reader = mesh.open("rtsp://camera.example/one").await?;
/// while let Some(packet) = reader.next().await? {
///     println!("track {} timestamp {} {} bytes", packet.track, packet.timestamp, packet.payload.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
    alive: Alive,
}

/// What [`Mesh::serve`] has bound.
#[derive(Clone, Debug)]
pub struct Serving {
    addresses: Vec<SocketAddr>,
}

impl Serving {
    /// The addresses of the listeners, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Mesh {
    /// Begins to make a mesh.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Binds the configured listeners and serves them until [`Self::shutdown`]. Cancelled, it leaves bound what is bound already.
    ///
    /// # Errors
    /// [`Error::Socket`] that names the listener and the key to change.
    pub async fn serve(&self) -> Result<Serving, Error> {
        // Everything that can fail, before another process lets go of what it serves.
        for worker in self.shared.workers() {
            worker.call(|worker| worker.bind()).await??;
        }
        let listeners = self.shared.listeners.load_full();
        if listeners.iter().any(|listener| listener.settings.member.is_some())
            && let Some(worker) = self.shared.workers().first()
        {
            worker.run(|worker| async move { HopPort::address(&worker).await }).await??;
        }
        let taking = match self.shared.pending() {
            Some(pending) => pending.take(&self.shared).await?,
            None => None,
        };
        for worker in self.shared.workers() {
            worker.call(Worker::open_prepared).await?;
        }
        self.shared.serving.store(true, Ordering::Release);
        if let Some(taking) = taking {
            taking.taken(&self.shared).await?;
        }
        reload::keep_standing(&self.shared, &mut *self.shared.running.lock().await).await?;
        let addresses = listeners.iter().map(|listener| listener.address()).collect();
        Ok(Serving { addresses })
    }

    /// Puts another configuration in the place of the one in force, as a whole or not at all. Everything that can fail is done before
    /// anything is changed, and off the threads that carry media; what the configuration leaves as it was does not notice.
    ///
    /// * Routes are those of the new configuration for whoever asks from now on. Sessions that they would not let in end; a reader that they
    ///   let in stays with the stream that it reads, even where its URL leads elsewhere now. A publisher whose stream would go elsewhere ends.
    /// * Clusters that stay keep what is known of their endpoints. Sessions leave endpoints that have gone, and all endpoints of clusters
    ///   that have gone or whose `hop`, `fallback`, `peers`, `tls` or `srtp` has changed. Other changes are for new hops.
    /// * Listeners that are new are bound; those that have gone accept nothing, and their sessions have `drain_timeout` to end.
    /// * What takes a restart is left as it was, and named in [`Changes::restart`].
    ///
    /// # Errors
    /// What is wrong with it, or cannot be had, such as a port: then nothing has changed. [`Error::Configuration`] also for a mesh that
    /// was built without a configuration. Cancelling does not stop it.
    pub async fn reload(&self, config: Config) -> Result<Changes, Error> {
        let load = move || {
            let routing = config.routing().map_err(|errors| Error::Configuration(errors.to_string()))?;
            Ok((config, routing))
        };
        reload::reload(&self.shared, None, load).await
    }

    /// [`Self::reload`] with a file, which is read off the caller's thread; `env` overrides its keys as in [`Config::load`].
    ///
    /// # Errors
    /// As of [`Self::reload`].
    pub async fn reload_file(
        &self,
        path: impl Into<PathBuf>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Changes, Error> {
        let (path, env): (PathBuf, Vec<_>) = (path.into(), env.into_iter().collect());
        let file = path.clone();
        let load = move || {
            Config::load_checked(Some(&path), env.into_iter())
                .map_err(|errors| Error::Configuration(errors.to_string()))
        };
        reload::reload(&self.shared, Some(file), load).await
    }

    /// The metrics in OpenMetrics text, counted up to now. Cancel safe.
    pub async fn metrics_text(&self) -> String {
        self.refresh().await;
        self.shared.metrics.text()
    }

    /// What runs now: listeners, streams, readers. Cancel safe.
    pub async fn status(&self) -> Status {
        self.refresh().await;
        let mut hops = Vec::new();
        for worker in self.shared.workers() {
            let own = worker.call(|worker| worker.hop_status());
            if let Ok(Ok(own)) = tokio::time::timeout(PUBLISH, own).await {
                hops.extend(own);
            }
        }
        Status::of(&self.shared, hops)
    }

    /// What happens from now on to all streams of this process, and to the members that it is connected with. See [`Event`](crate::Event).
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.events.add()
    }

    /// Has the workers publish what they have counted: nobody pays for it while nobody asks.
    async fn refresh(&self) {
        let mut peers = None;
        for worker in self.shared.workers() {
            // A worker that is stuck is shown as it was.
            let first = worker.call(|worker| {
                worker.publish();
                worker.first_peer_expiry()
            });
            if let Ok(Ok(Some(first))) = tokio::time::timeout(PUBLISH, first).await {
                peers = Some(peers.map_or(first, |peers: UnixTime| peers.min(first)));
            }
        }
        let listeners = self.shared.listeners.load_full();
        let listeners = listeners.iter().map(AsRef::as_ref);
        self.shared.metrics.clusters.look(Instant::now(), self.shared.routing().clusters().values());
        self.shared.metrics.expiry.look(self.shared.hop.source.as_deref(), listeners, peers);
    }

    /// The configuration in force, unless the mesh was built without. Waits for a change that is being made. Cancel safe.
    pub async fn config(&self) -> Option<Arc<Config>> {
        self.shared.running.lock().await.config()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A worker for a new stream: the one with the fewest of them would be best known by counting; turn by turn is even
    /// enough. The turns are counted apart: other numbers go up by more than one a stream.
    fn pick(&self) -> Result<usize, Error> {
        let count = self.shared.worker_count();
        if count == 0 || *self.shared.stopping.borrow() {
            return Err(Error::Stopped);
        }
        Ok(self.shared.turn() % count)
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("workers", &self.shared.worker_count()).finish_non_exhaustive()
    }
}

fn parse(url: &str) -> Result<RtspUrl, Error> {
    RtspUrl::parse(url).map_err(|error| {
        // What does not parse may hold a password anywhere: only its beginning is repeated.
        let shown = url.split_once("://").map_or("the URL", |(scheme, _)| scheme);
        Error::BadUrl { url: shown.escape_debug().take(20).collect(), reason: error.to_string() }
    })
}
