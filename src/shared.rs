//! What all threads of a mesh share: settings, routes, the table of streams, metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use msm_core::hub::{FanoutConfig, IngestConfig};
use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::events::Subscribers;
use crate::hop::HopShared;
use crate::hub::registry::{Registry, ReportSources};
use crate::metrics::Metrics;
use crate::quota::Quota;
use crate::reload::{History, Running};
use crate::routing::Routing;
use crate::serve::admission::{Admission, AdmissionLimits};
use crate::serve::group::GroupTable;
use crate::serve::listener::ListenerShared;
use crate::serve::passwords::Passwords;
use crate::serve::route_seats::RouteSeats;
use crate::serve::session::SessionDirectory;
use crate::upgrade::Upgrade;
use crate::watched::Refresh;
use crate::worker::WorkerHandle;

/// Limits and times, from the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) ingest: IngestConfig,
    pub(crate) fanout: FanoutConfig,
    pub(crate) rtsp: msm_rtsp::limits::Limits,
    /// Bytes that may wait for one TCP reader.
    pub(crate) connection_queue: usize,
    /// Logins of one connection that may fail.
    pub(crate) auth_failures: u32,
    /// RTSP session timeout, as told to clients.
    pub(crate) session_timeout: Duration,
    /// A connection without a session is closed after this.
    pub(crate) connection_timeout: Duration,
    pub(crate) admission: AdmissionLimits,
    /// Readers of the process.
    pub(crate) readers: usize,
    /// Streams of the process.
    pub(crate) streams: usize,
    /// How long sessions have to end by themselves when their listener goes.
    pub(crate) drain_timeout: Duration,
}

/// The process-wide state of a mesh.
pub(crate) struct Shared {
    settings: ArcSwap<Settings>,
    routing: ArcSwap<Routing>,
    /// Counts up when other routes are in force.
    pub(crate) routed: watch::Sender<u64>,
    /// Told when a canary was rolled back: the same routes lead elsewhere.
    pub(crate) turned: Arc<Notify>,
    pub(crate) registry: Registry,
    pub(crate) reports: ReportSources,
    pub(crate) sessions: SessionDirectory,
    /// In the order of the configuration.
    pub(crate) listeners: ArcSwap<Vec<Arc<ListenerShared>>>,
    /// What is made of files, and looked at.
    pub(crate) watched: ArcSwap<Vec<Arc<dyn Refresh>>>,
    /// Whether the listeners are served.
    pub(crate) serving: AtomicBool,
    /// The configuration in force; held while another one is put in its place.
    pub(crate) running: tokio::sync::Mutex<Running>,
    /// What became of the configurations so far.
    pub(crate) history: History,
    pub(crate) groups: GroupTable,
    /// What mesh hops share.
    pub(crate) hop: HopShared,
    /// The processes before and after this one.
    pub(crate) upgrade: Upgrade,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    /// Who is told what happens.
    pub(crate) events: Arc<Subscribers>,
    pub(crate) passwords: Passwords,
    /// `limits.readers` of the process.
    pub(crate) readers: Arc<Quota>,
    /// `limits.streams` of the process.
    pub(crate) streams: Arc<Quota>,
    /// `limits` of routes.
    pub(crate) seats: Arc<RouteSeats>,
    /// Names this process in `Via`, to recognise loops.
    pub(crate) pseudonym: String,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) draining: watch::Sender<bool>,
    workers: OnceLock<Vec<WorkerHandle>>,
    turn: AtomicUsize,
    seed: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        routing: Routing,
        listeners: Vec<Arc<ListenerShared>>,
        running: Running,
        hop: HopShared,
    ) -> Result<Arc<Self>, Error> {
        let seed =
            getrandom::u64().map_err(|error| Error::Configuration(format!("no randomness: {error}")))?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Error::Configuration(format!("no randomness: {error}")))?;
        let shared = Self {
            passwords: Passwords::new(key),
            admission: Admission::new(settings.admission.clone()),
            readers: Quota::new("readers", "limits.readers", settings.readers),
            streams: Quota::new("streams", "limits.streams", settings.streams),
            settings: ArcSwap::from_pointee(settings),
            seats: Arc::default(),
            routing: ArcSwap::from_pointee(routing),
            routed: watch::Sender::new(0),
            turned: Arc::default(),
            registry: Registry::default(),
            reports: ReportSources::default(),
            sessions: SessionDirectory::default(),
            watched: ArcSwap::from_pointee(running.watched(&listeners)),
            listeners: ArcSwap::from_pointee(listeners),
            serving: AtomicBool::new(false),
            running: tokio::sync::Mutex::new(running),
            history: History::default(),
            groups: GroupTable::default(),
            hop,
            upgrade: Upgrade::default(),
            metrics: Metrics::default(),
            events: Arc::default(),
            pseudonym: format!("msm-{:012x}", seed & 0xffff_ffff_ffff),
            stopping: watch::Sender::new(false),
            draining: watch::Sender::new(false),
            workers: OnceLock::new(),
            turn: AtomicUsize::new(0),
            seed: AtomicU64::new(seed),
        };
        Ok(Arc::new(shared))
    }

    /// Limits and times of now. Not for each packet.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// These are the limits and times from now on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.admission.set_limits(settings.admission.clone());
        self.readers.set_limit(settings.readers);
        self.streams.set_limit(settings.streams);
        self.settings.store(Arc::new(settings));
    }

    /// These are the routes from now on; what is returned are those of before, which workers may still be looking at.
    pub(crate) fn set_routing(&self, routing: Routing) -> Arc<Routing> {
        self.routing.swap(Arc::new(routing))
    }

    /// The routes and clusters of now. What was resolved by those of before stays as it was.
    pub(crate) fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    /// Hands the workers over, once all have started.
    pub(crate) fn set_workers(&self, workers: Vec<WorkerHandle>) {
        let _ = self.workers.set(workers);
    }

    pub(crate) fn workers(&self) -> &[WorkerHandle] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn worker_count(&self) -> usize {
        self.workers().len()
    }

    pub(crate) fn worker(&self, id: usize) -> Result<&WorkerHandle, Error> {
        self.workers().get(id).ok_or(Error::Stopped)
    }

    /// Counts up by one a call, for what goes to workers turn by turn.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// A seed from the operating system, for session identifiers, nonces and RTP's random starts (`RFC 3550 §5.1`).
    pub(crate) fn seed(&self) -> u64 {
        // Where the system's source fails after it worked at start, a counter over the first seed still differs.
        getrandom::u64().unwrap_or_else(|_| self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }
}
