//! Worker threads: each runs one current-thread runtime and owns the sockets, connections and streams placed on it.

mod listeners;
mod passing;
mod state;

pub(crate) use listeners::ListenerChanges;
pub(crate) use state::{UpstreamPass, Worker};

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::shared::Shared;

/// How long upstreams are waited for when the mesh shuts down.
const FAREWELL: Duration = Duration::from_millis(1500);

/// Reports and keyframe requests that may wait for one worker. More are dropped: their senders repeat them.
const OFFERED_JOBS: usize = 4096;

/// Work that another thread asks of a worker.
type Job = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// The address of a worker, for any thread.
pub(crate) struct WorkerHandle {
    jobs: mpsc::UnboundedSender<Job>,
    /// Jobs of [`Self::offer`] that wait.
    offered: Arc<AtomicUsize>,
    /// Whether its thread is real-time, or why it is not, though it was to be.
    real_time: io::Result<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl WorkerHandle {
    /// Starts the thread of worker `id`, before all others of the machine if it is to be `real_time` and that is allowed. The worker
    /// reaches its peers through what `shared` yields once all have started.
    pub(crate) fn start(id: usize, real_time: bool, shared: Arc<Shared>) -> io::Result<Self> {
        // Jobs are requests of the signalling, each awaited by its sender: their number is bounded by sessions.
        let (jobs, queue) = mpsc::unbounded_channel::<Job>();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("msm-worker-{id}")).spawn(move || {
            let real_time = if real_time { msm_udp::be_real_time().map(|()| true) } else { Ok(false) };
            // Where it is not allowed, packets wait for the turns of others.
            let _ = msm_udp::take_short_turns();
            let mut builder = Builder::new_current_thread();
            let runtime = match builder.enable_io().enable_time().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let _ = tell.send(Ok(real_time));
            runtime.block_on(async move {
                let worker = Rc::new(Worker::new(id, shared));
                worker.start();
                work(worker, queue).await;
            });
        })?;
        let real_time = told.recv().map_err(io::Error::other)??;
        Ok(Self { jobs, offered: Arc::default(), real_time, thread: Mutex::new(Some(thread)) })
    }

    /// Whether its thread is real-time, or why it is not, though it was to be.
    pub(crate) fn is_real_time(&self) -> Result<bool, &io::Error> {
        self.real_time.as_ref().copied()
    }

    /// Runs `job` on the worker and returns what it returns.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Rc<Worker>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.post(move |worker| {
            let _ = reply.send(job(worker));
        })?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// Runs an asynchronous `job` on the worker and returns what it returns.
    pub(crate) async fn run<T, F>(
        &self,
        job: impl FnOnce(Rc<Worker>) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.post(move |worker| {
            let work = job(Rc::clone(worker));
            tokio::task::spawn_local(async move {
                let _ = reply.send(work.await);
            });
        })?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// Runs `job` on the worker some time soon.
    pub(crate) fn post(&self, job: impl FnOnce(&Rc<Worker>) + Send + 'static) -> Result<(), Error> {
        self.jobs.send(Box::new(job)).map_err(|_| Error::Stopped)
    }

    /// Runs a `job` that a packet has caused, unless too many wait: peers decide how many packets come. Answers whether
    /// it was taken.
    pub(crate) fn offer(&self, job: impl FnOnce(&Rc<Worker>) + Send + 'static) -> bool {
        if self.offered.fetch_add(1, Ordering::AcqRel) >= OFFERED_JOBS {
            self.offered.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        let offered = Arc::clone(&self.offered);
        self.post(move |worker| {
            offered.fetch_sub(1, Ordering::AcqRel);
            job(worker);
        })
        .is_ok()
    }

    /// Waits for the thread, which ends once `Shared::stopping` is true.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Does what other threads ask, until the process stops.
async fn work(worker: Rc<Worker>, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut stopping = worker.shared.stopping.subscribe();
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => job(&worker),
                None => break,
            },
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
    }
    // What was asked for before the end is done, and every reader that is left hears of it, whichever worker fed it.
    while let Ok(job) = queue.try_recv() {
        job(&worker);
    }
    worker.end_shards();
    // Tasks see the end, too: upstreams are told before their connections close.
    let until = Instant::now() + FAREWELL;
    while worker.is_leaving() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.clear();
}
