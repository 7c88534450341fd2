//! One publisher's stream takes the place of another's: readers go over, and keep session, SSRC, numbers and timestamps.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::route::Publish;

use crate::api::reader::move_seats;
use crate::events::{EndCause, EventKind};
use crate::hub::handle::HubHandle;
use crate::hub::home::Home;
use crate::hub::registry::{Entrance, HubKey, Left};
use crate::serve::reader::Form;
use crate::serve::session::Session;
use crate::shared::Shared;
use crate::worker::Worker;

/// How long readers of a stream that is over may take to go over to the next one.
const CROSSING: Duration = Duration::from_secs(12);

/// Why a publisher's stream takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It was waited for.
    Returned,
    /// It is preferred.
    Priority,
    /// It stood by when the other one left.
    Standby,
}

impl Why {
    const fn name(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Priority => "priority",
            Self::Standby => "standby",
        }
    }
}

/// A publisher has entered. Those who read the stream before it go over to `own`.
pub(crate) fn entered(worker: &Rc<Worker>, own: &Arc<HubHandle>, entrance: Entrance) {
    match entrance {
        Entrance::Free => {}
        Entrance::Standby => {
            tracing::info!(hub = own.id, stream = own.name, "a publisher stands by");
        }
        Entrance::Over(before) => {
            let why = if before.is_waiting() { Why::Returned } else { Why::Priority };
            tracing::info!(
                hub = own.id,
                stream = own.name,
                before = before.id,
                why = why.name(),
                "a publisher takes over"
            );
            let (shared, own) = (Arc::clone(&worker.shared), Arc::clone(own));
            tokio::task::spawn_local(async move { succeed(&shared, &before, &own, why).await });
        }
    }
}

/// The publisher of `home` has gone: `torn_down` by itself, or it was lost. The stream ends, unless another publisher
/// stands by, or one comes back in time. As soon as another publisher is let in, `vacated` is told.
pub(crate) async fn left(worker: Rc<Worker>, key: HubKey, home: Rc<Home>, publish: Publish, torn_down: bool) {
    let (shared, handle) = (&worker.shared, &home.handle);
    match shared.registry.leave(&key, handle.id).await {
        Left::Next(next) => {
            handle.vacated.notify_one();
            tracing::info!(
                hub = next.id,
                stream = next.name,
                before = handle.id,
                "a publisher that stood by takes over"
            );
            let crossing = succeed(shared, handle, &next, Why::Standby);
            let _ = tokio::time::timeout(CROSSING, crossing).await;
        }
        Left::Nobody => {
            let resume = if torn_down { publish.resume_after_teardown } else { publish.resume };
            if !resume.is_zero() && handle.readers() > 0 && !*shared.stopping.borrow() {
                handle.vacated.notify_one();
                tracing::info!(
                    hub = handle.id,
                    stream = handle.name,
                    ?resume,
                    "readers wait for a publisher"
                );
                let mut stopping = shared.stopping.subscribe();
                let late = tokio::select! {
                    () = handle.succeeded.notified() => false,
                    () = tokio::time::sleep(resume) => true,
                    _ = stopping.wait_for(|stopping| *stopping) => false,
                };
                // Who came in the last moment has its readers on their way.
                if late && shared.registry.get(&key).await.is_some_and(|active| active.id != handle.id) {
                    let _ = tokio::time::timeout(CROSSING, handle.succeeded.notified()).await;
                }
            }
        }
        Left::Another => {}
    }
    handle.set_ended(EndCause::Publisher);
    shared.registry.forget(&key, handle.id);
    handle.vacated.notify_one();
    shared.metrics.streams.dec();
    home.end(Instant::now());
}

/// All who read `before` go over to `next`.
async fn succeed(shared: &Arc<Shared>, before: &Arc<HubHandle>, next: &Arc<HubHandle>, why: Why) {
    // Whoever returns has just begun: its first keyframe may be here before the readers of every worker are.
    let at_once = why == Why::Returned;
    shared.metrics.count_succession(why.name());
    before.tell(|| EventKind::Spliced {
        from: before.name.clone(),
        to: next.name.clone(),
        reason: why.name(),
        identical: false,
        gap: None,
    });
    let mut crossings = Vec::new();
    for place in 0..shared.worker_count() {
        let (shared, id, next) = (Arc::clone(shared), before.id, Arc::clone(next));
        crossings.push(tokio::task::spawn_local(async move {
            let Ok(worker) = shared.worker(place) else { return };
            let crossing =
                worker.run(move |worker| async move { move_readers(&worker, id, &next, at_once).await });
            let _ = crossing.await;
        }));
    }
    for crossing in crossings {
        let _ = crossing.await;
    }
    before.succeeded.notify_one();
}

/// Those of this worker.
async fn move_readers(worker: &Rc<Worker>, from: u64, next: &Arc<HubHandle>, at_once: bool) {
    let mut crossings = Vec::new();
    for session in worker.sessions.all() {
        let (worker, next) = (Rc::clone(worker), Arc::clone(next));
        crossings.push(tokio::task::spawn_local(async move {
            Session::go_over(&session, &worker, from, &next, Form::All { at_once }).await;
        }));
    }
    let (own, next) = (Rc::clone(worker), Arc::clone(next));
    crossings.push(tokio::task::spawn_local(async move { move_seats(&own, from, &next, at_once).await }));
    for crossing in crossings {
        let _ = crossing.await;
    }
}
