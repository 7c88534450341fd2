//! The mesh as an application holds it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use msm_auth::identity::UnixTime;
use msm_auth::identity::source::IdentitySource;
use msm_core::hub::{ReaderSetup, ReaderTrack};
use msm_core::rng::Rng;
use msm_core::route::Action;
use msm_rtsp::sdp::Description;
use msm_rtsp::url::RtspUrl;
use tokio::sync::mpsc;

use crate::alive::Alive;
use crate::api::options::Options;
use crate::api::publisher::{self, Publisher};
use crate::api::reader::{self, Reader, Seat};
use crate::cluster;
use crate::config::{Config, Workers};
use crate::error::Error;
use crate::hop::port::HopPort;
use crate::hub::dest::Dest;
use crate::hub::handle::{HubHandle, HubParts, PlayRequest};
use crate::hub::home::Home;
use crate::identity;
use crate::metrics::HopKind;
use crate::mirror::{Mirrored, Original, What};
use crate::net::limits;
use crate::reload::{self, Changes, Pinned, Running};
use crate::routing::Ask;
use crate::serve::elsewhere;
use crate::serve::listener::ListenerShared;
use crate::serve::requests::open_with;
use crate::serve::succession;
use crate::settings;
use crate::shared::Shared;
use crate::status::Status;
use crate::upgrade::{Quiet, Takeover};
use crate::upstream::{pull, push};
use crate::watched;
use crate::worker::{Worker, WorkerHandle};

/// How often it is said how many sessions are left while they end.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long a worker is waited for to publish its counters.
const PUBLISH: Duration = Duration::from_secs(1);

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
        let config = Config::load(Some(path.as_ref()), std::env::vars())
            .map_err(|errors| Error::Configuration(errors.to_string()))?;
        Ok(self.config(config).loaded_from(path.as_ref()))
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
            let worker = WorkerHandle::start(id, Arc::clone(&shared))
                .map_err(|error| Error::socket(format!("worker thread {id}"), error))?;
            workers.push(worker);
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
            Some(pending) => Some(pending.take(&self.shared).await?),
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

    /// Opens a stream for reading: routed, and shared with other readers of it where it is live. Returns when it plays. Cancelled, it
    /// leaves the stream.
    ///
    /// # Errors
    /// The URL, the route, or the upstream.
    pub async fn open(&self, url: &str) -> Result<Reader, Error> {
        self.open_with(url, &Options::default()).await
    }

    /// [`Self::open`], with what is asked beside the URL.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub async fn open_with(&self, url: &str, options: &Options) -> Result<Reader, Error> {
        let url = parse(url)?;
        let protection = options.route();
        let (queue, packets) = mpsc::channel(reader::QUEUE_BURSTS);
        let shared = Arc::clone(&self.shared);
        let place = self.pick()?;
        let via = vec![format!("RTSP/1.0 {}", shared.pseudonym)];
        let (handle, lease) = self
            .shared
            .worker(place)?
            .run(move |worker| async move {
                let ask = Ask::own(Action::Read, &worker.shared.pseudonym);
                let (resolved, handle) = open_with(&worker, &url, via.clone(), &ask, protection).await?;
                let handle = if handle.unshared && !handle.claim() {
                    let own = pull::open(&worker, &resolved, None, via).await?;
                    own.claim();
                    own
                } else {
                    handle
                };
                let lease = handle.lease();
                Ok::<_, Error>((handle, lease))
            })
            .await??;
        let place = handle.worker;
        let description = Arc::clone(&handle.description);
        let seat = shared
            .worker(place)?
            .run(move |worker| async move {
                // The upstream is set up first: only then the stream has a home that readers can be added to.
                handle.prepare().await?;
                let quota = worker.shared.readers.take()?;
                let shard = worker.shard(&handle).await?;
                let mut rng = Rng::new(worker.shared.seed());
                let tracks = (0..handle.tracks().len())
                    .map(|track| ReaderTrack {
                        track,
                        dest: Dest::App { queue: queue.clone() },
                        ssrc: rng.next_u32(),
                        payload_types: Vec::new(),
                    })
                    .collect();
                drop(queue);
                let setup = ReaderSetup { seed: rng.next_u64(), tracks, late_join: !handle.unshared };
                let now = Instant::now();
                let id = shard.add_reader(now, setup, Box::new(|_| {})).map_err(Error::from)?;
                // Leaves by itself if something below fails, or the caller waits no longer.
                let seat = Seat::new(&worker, lease, id, quota);
                shard.play(now, id).map_err(Error::from)?;
                handle.play(PlayRequest::default()).await?;
                Ok::<_, Error>(seat)
            })
            .await??;
        Ok(Reader::new(description, seat, packets, self.alive.clone()))
    }

    /// Publishes a stream with the given description: into this process where the route is local, otherwise to an
    /// endpoint, which has agreed to record it when this returns. Cancelled, it ends the stream.
    ///
    /// # Errors
    /// The URL, the description, the route, or the upstream.
    pub async fn publish(&self, url: &str, sdp: &str) -> Result<Publisher, Error> {
        self.publish_with(url, sdp, &Options::default()).await
    }

    /// [`Self::publish`], with what is asked beside the URL.
    ///
    /// # Errors
    /// As of [`Self::publish`].
    pub async fn publish_with(&self, url: &str, sdp: &str, options: &Options) -> Result<Publisher, Error> {
        let url = parse(url)?;
        let protection = options.route();
        let description = Description::parse(sdp.as_bytes(), &self.shared.settings().rtsp)
            .map_err(|error| Error::BadDescription(error.to_string()))?;
        let (queue, packets) = mpsc::channel(publisher::QUEUE_BURSTS);
        let shared = Arc::clone(&self.shared);
        let via = vec![format!("RTSP/1.0 {}", shared.pseudonym)];
        let handle = self
            .shared
            .worker(self.pick()?)?
            .run(move |worker| async move {
                let ask = Ask::own(Action::Publish, &worker.shared.pseudonym);
                let mut resolved = worker.shared.routing().resolve(&url, &ask)?;
                if let Some(protection) = protection {
                    resolved.protection = protection;
                }
                let description = Arc::new(description);
                let quota = worker.shared.streams.take()?;
                let handle = HubHandle::new(HubParts {
                    id: worker.shared.registry.next_id(),
                    worker: worker.id,
                    name: url.to_string(),
                    description: Arc::clone(&description),
                    unshared: false,
                    coalesce: resolved.coalesce,
                    metrics: worker.shared.metrics.route(&resolved.route, resolved.cluster_name()),
                    comes: HopKind::Plain,
                    control: None,
                });
                let key = resolved.publish_key();
                let publish = resolved.publish_plan();
                let registry = &worker.shared.registry;
                let entrance = registry.publish(&key, Arc::clone(&handle), publish.priority).await?;
                let home = Home::start(&worker, Arc::clone(&handle), worker.shared.seed(), Instant::now());
                if resolved.is_upstream()
                    && let Err(error) =
                        push::start(&worker, &home, &resolved, &description, via.clone()).await
                {
                    handle.set_ended();
                    worker.shared.registry.forget(&key, handle.id);
                    home.end(Instant::now());
                    return Err(error);
                }
                worker.shared.metrics.streams.inc();
                succession::entered(&worker, &handle, entrance);
                let what = What::Published { home: Rc::clone(&home), description };
                let mirror = Mirrored::start(&worker, Original { what, resolved, via });
                let own = publisher::Own { home, key, publish, mirror };
                tokio::task::spawn_local(publisher::pump(Rc::clone(&worker), own, packets, quota));
                Ok(handle)
            })
            .await??;
        Ok(Publisher::new(shared, handle, queue, self.alive.clone()))
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

    /// Waits until nobody needs this process any more, once another one serves in its place: no session, no connection that may come to
    /// have one, and no process before it is left. See [`crate::upgrade`]. Cancel safe.
    pub async fn ended(&self) {
        let mut quiet = Quiet::default();
        while self.shared.upgrade.handed_over().is_none() || !quiet.has_ended(&self.shared) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the process that serves in the place of this one is gone without having been asked to: then this one serves again.
    /// Cancel safe.
    pub async fn taken_back(&self) {
        self.shared.upgrade.taken_back().await;
    }

    /// Ends: whoever wants a new session gets 503 with `Retry-After`; sessions that are there get until `deadline` to end by themselves;
    /// then readers are told by BYE, upstreams by TEARDOWN, connections close and the threads stop. Cancelled, it leaves sessions as they
    /// are, and new ones refused.
    pub async fn shutdown(&self, deadline: Duration) {
        // Where another process serves, who comes here comes to what only this one has.
        self.shared.draining.send_replace(self.shared.upgrade.handed_over().is_none());
        if let Some(before) = self.shared.upgrade.predecessor() {
            before.leave(self.shared.upgrade.handed_over().is_some());
        }
        if *self.shared.draining.borrow() {
            for worker in self.shared.workers() {
                let _ = worker.post(elsewhere::send_members);
            }
        }
        let start = Instant::now();
        let mut told = start;
        let mut quiet = Quiet::default();
        let sessions = || self.shared.metrics.sessions.get();
        while !quiet.has_ended(&self.shared) && start.elapsed() < deadline {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let left = deadline.saturating_sub(start.elapsed());
                tracing::info!(sessions = sessions(), ?left, "draining");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.shared.draining.send_replace(true);
        match sessions() {
            0 => tracing::info!(took = ?start.elapsed(), "drained"),
            left => tracing::info!(sessions = left, "these sessions are ended"),
        }
        // Until here: whose session outlives its connection comes back by a new one.
        for worker in self.shared.workers() {
            let _ = worker.call(|worker| worker.stop_listening()).await;
        }
        for worker in self.shared.workers() {
            let _ = worker.call(|worker| worker.end_all()).await;
        }
        self.shared.stopping.send_replace(true);
        let shared = Arc::clone(&self.shared);
        let _ =
            tokio::task::spawn_blocking(move || shared.workers().iter().for_each(WorkerHandle::join)).await;
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
