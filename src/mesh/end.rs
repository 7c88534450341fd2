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
    /// have one, and no process before it is left. See [`crate::upgrade`].
    pub async fn ended(&self) {
        let mut quiet = Quiet::default();
        while self.shared.upgrade.handed_over().is_none() || !quiet.has_ended(&self.shared) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the process that serves in the place of this one is gone without having been asked to: then this one serves again.
    pub async fn taken_back(&self) {
        self.shared.upgrade.taken_back().await;
    }

    /// Ends: whoever wants a new session gets 503 with `Retry-After`; sessions that are there get until `deadline` to end by themselves;
    /// then readers are told by BYE, upstreams by TEARDOWN, connections close and the threads stop.
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
}
