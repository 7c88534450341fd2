//! How a mesh ends: drained, or followed by another process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Mesh;
use crate::serve::elsewhere;
use crate::upgrade::Quiet;
use crate::worker::WorkerHandle;

/// How often it is said how many sessions are left while they end.
const PROGRESS: Duration = Duration::from_secs(5);

impl Mesh {
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

    /// Waits until the process that served in the place of this one has ended, as it was asked to: then nobody does, while the sessions here
    /// go on, and this one's [`Door`](crate::upgrade::Door) is the one to ask at. Cancel safe.
    pub async fn left_alone(&self) {
        self.shared.upgrade.left_alone().await;
    }

    /// Says that this process was asked to end: nobody is to serve in its place when it has. [`Self::shutdown`] says so, too.
    pub fn will_end(&self) {
        self.shared.upgrade.end();
    }

    /// Ends: whoever wants a new session gets 503 with `Retry-After`; sessions that are there get until `deadline` to end by themselves;
    /// then readers are told by BYE, upstreams by TEARDOWN, connections close and the threads stop. Cancelled, it leaves sessions as they
    /// are, and new ones refused.
    ///
    /// Another process may take over meanwhile.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shared.upgrade.end();
        self.drain();
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
            self.drain();
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
        self.shared.events.close();
    }

    /// Lets nobody in any more; but where another process serves, who comes here comes to what only this one has.
    fn drain(&self) {
        let nobody = self.shared.upgrade.handed_over().is_none();
        self.shared.draining.send_if_modified(|own| std::mem::replace(own, nobody) != nobody);
    }
}
