//! Mirrors: shadows of a route's streams at another cluster, whose answers and failures nobody notices.
//!
//! A stream's shadow has a task of its own. Nobody waits for it: it sets the shadow up when the routes say that there is one, again after a
//! while when that failed, and has it take leave when the stream ends or the routes say otherwise.

mod pause;
mod shadow;
mod told;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_rtsp::sdp::Description;
use tokio::sync::oneshot;

use self::pause::Pause;
use self::shadow::{End, Shadow};
pub(crate) use self::told::Told;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::hub::handle::{HubHandle, PlayRequest};
use crate::hub::home::Home;
use crate::routing::Resolved;
use crate::worker::Worker;

/// What is copied.
pub(crate) enum What {
    /// A session that reads, of this stream.
    Read { handle: Arc<HubHandle>, request: PlayRequest },
    /// What is published to this home.
    Published { home: Rc<Home>, description: Arc<Description> },
}

/// A stream, and how its shadow is set up.
pub(crate) struct Original {
    pub(crate) what: What,
    pub(crate) resolved: Resolved,
    pub(crate) via: Vec<String>,
}

impl Original {
    fn handle(&self) -> &Arc<HubHandle> {
        match &self.what {
            What::Read { handle, .. } => handle,
            What::Published { home, .. } => &home.handle,
        }
    }

    /// Where its shadow is to be, by the routes of now.
    fn wanted(&self, worker: &Worker) -> Option<Arc<Cluster>> {
        worker.shared.routing().shadow_of(&self.resolved).map(Arc::clone)
    }

    /// A recording is copied once: again it would begin at its beginning.
    fn is_copied_once(&self) -> bool {
        self.handle().unshared
    }

    fn tell(&self, shadow: Option<String>) {
        self.handle().source.set_mirror(shadow);
    }
}

/// The shadow's place beside a stream: as long as this is there, the routes say whether there is one.
pub(crate) struct Mirrored {
    _alive: oneshot::Sender<Infallible>,
}

impl Mirrored {
    pub(crate) fn start(worker: &Rc<Worker>, original: Original) -> Self {
        let (alive, gone) = oneshot::channel();
        tokio::task::spawn_local(keep(Rc::clone(worker), original, gone));
        Self { _alive: alive }
    }
}

/// Why a shadow is not looked after any more.
enum Turn {
    /// The stream, or the process, has ended.
    Over,
    /// The routes want another shadow, or none.
    Other,
}

async fn keep(worker: Rc<Worker>, original: Original, mut gone: oneshot::Receiver<Infallible>) {
    let mut stopping = worker.shared.stopping.subscribe();
    let mut routed = worker.shared.routed.subscribe();
    let mut pause = Pause::new(worker.shared.seed());
    let mut copied = false;
    loop {
        routed.mark_unchanged();
        let wanted = original.wanted(&worker);
        let other = async {
            let is_same = |now: &Option<Arc<Cluster>>| match (now, &wanted) {
                (Some(now), Some(wanted)) => Arc::ptr_eq(now, wanted),
                (now, wanted) => now.is_none() && wanted.is_none(),
            };
            while routed.changed().await.is_ok() && is_same(&original.wanted(&worker)) {}
        };
        let turn = async {
            tokio::select! {
                _ = &mut gone => Turn::Over,
                _ = stopping.wait_for(|stopping| *stopping) => Turn::Over,
                () = other => Turn::Other,
            }
        };
        tokio::pin!(turn);
        let cluster = wanted.as_ref().filter(|_| !(copied && original.is_copied_once()));
        let Some(cluster) = cluster else {
            original.tell(None);
            match turn.await {
                Turn::Over => break,
                Turn::Other => continue,
            }
        };
        // Not given up half way: a session that nobody has heard the end of would stay at its endpoint.
        let shadow = Shadow::open(&worker, &original, cluster).await;
        let metrics = &worker.shared.metrics.mirrors;
        let began = Instant::now();
        match shadow {
            Ok(mut shadow) => {
                copied = true;
                metrics.count(cluster.name(), "up");
                tracing::debug!(
                    hub = original.handle().id,
                    upstream = shadow.name(),
                    "the stream has a shadow"
                );
                original.tell(Some(shadow.name()));
                let _pass = worker.upstream();
                let ended = tokio::select! {
                    biased;
                    turn = &mut turn => Err(turn),
                    end = shadow.run() => Ok(end),
                };
                let outcome = ended.as_ref().map_or("closed", |end| end.outcome);
                metrics.count(cluster.name(), outcome);
                let name = shadow.name();
                shadow.leave(&worker).await;
                match ended {
                    Err(Turn::Over) => break,
                    Err(Turn::Other) => {
                        pause = Pause::new(worker.shared.seed());
                        continue;
                    }
                    Ok(End { why, .. }) => lost(&original, cluster, &format!("{name}: {why}")),
                }
            }
            Err(error) => {
                metrics.count(cluster.name(), outcome(&error));
                lost(&original, cluster, &error.to_string());
            }
        }
        tokio::select! {
            biased;
            turn = &mut turn => match turn {
                Turn::Over => break,
                Turn::Other => pause = Pause::new(worker.shared.seed()),
            },
            () = tokio::time::sleep(pause.after(began.elapsed())) => {}
        }
    }
    original.tell(None);
}

/// There is no shadow, for now.
fn lost(original: &Original, cluster: &Cluster, why: &str) {
    original.tell(Some(format!("none: {why}")));
    let hub = original.handle().id;
    tracing::debug!(hub, cluster = cluster.name(), why, "a shadow is lost, or could not be set up");
    if cluster.shadows.is_due(Instant::now()) {
        tracing::warn!(
            cluster = cluster.name(),
            route = original.resolved.route,
            why,
            "mirror: a shadow is lost, or could not be set up; it is tried again, and the stream itself does not notice (told once a minute)"
        );
    }
}

/// What has become of an attempt, as the label `outcome` says it.
fn outcome(error: &Error) -> &'static str {
    match error {
        Error::ClusterFull { .. } => "full",
        Error::NoEndpoint { .. } => "no_endpoint",
        Error::UpstreamStatus { .. } | Error::UpstreamRedirect { .. } => "refused",
        Error::UpstreamTimeout { .. } => "timeout",
        Error::Unreachable { .. } => "unreachable",
        _ => "failed",
    }
}
