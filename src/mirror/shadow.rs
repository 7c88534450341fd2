//! One shadow: a session with an endpoint of the mirror's cluster.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::cluster::Outcome;
use msm_rtsp::sdp::Description;

use super::{Original, What};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::hub::handle::{HubHandle, HubParts, PlayRequest};
use crate::hub::home::Home;
use crate::hub::shard::Shard;
use crate::metrics::HopKind;
use crate::routing::{ClusterSettings, Resolved};
use crate::upstream::pull::apart::Apart;
use crate::upstream::pull::run::changed;
use crate::upstream::pull::source::{Lost, Making, Reason, Source};
use crate::upstream::push::{self, Pushed};
use crate::upstream::reach;
use crate::worker::Worker;

/// How often it is looked after.
const TICK: Duration = Duration::from_millis(500);

/// Why one has ended by itself.
pub(super) struct End {
    /// As the label `outcome` says it.
    pub(super) outcome: &'static str,
    pub(super) why: String,
}

/// See the [module](self).
pub(super) enum Shadow {
    /// It reads, and what it gets is counted and thrown away.
    Reads { apart: Box<Apart>, settings: Arc<ClusterSettings> },
    /// It gets what is published.
    Publishes { pushed: Pushed, copy: Copy },
}

/// The readers' side of a stream, apart from its own: what its reader reports, misses and asks for goes no further.
pub(super) struct Copy(Rc<Shard>);

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

impl Shadow {
    /// Sets one up at an endpoint of `cluster`.
    pub(super) async fn open(
        worker: &Rc<Worker>,
        original: &Original,
        cluster: &Arc<Cluster>,
    ) -> Result<Self, Error> {
        let resolved = original.resolved.shadow(cluster);
        let via = original.via.clone();
        match &original.what {
            What::Read { handle, request } => read(worker, resolved, via, handle.unshared, request).await,
            What::Published { home, description } => publish(worker, &resolved, via, home, description).await,
        }
    }

    /// The endpoint's URL, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Reads { apart, .. } => apart.name(),
            Self::Publishes { pushed, .. } => pushed.name(),
        }
    }

    /// Drives it until it ends by itself, which its endpoint is told of.
    pub(super) async fn run(&mut self) -> End {
        match self {
            Self::Reads { apart, settings } => {
                let lost = follow(apart, settings).await;
                apart.report(&lost);
                let outcome = match lost.reason {
                    Reason::Silent => "silent",
                    Reason::Left => "left",
                    _ => "lost",
                };
                End { outcome, why: lost.why }
            }
            Self::Publishes { pushed, .. } => push_on(pushed).await,
        }
    }

    /// Takes leave.
    pub(super) async fn leave(self, worker: &Rc<Worker>) {
        match self {
            Self::Reads { apart, .. } => apart.end(worker),
            Self::Publishes { pushed, copy } => {
                pushed.detach();
                drop(copy);
                pushed.leave().await;
            }
        }
    }
}

async fn read(
    worker: &Rc<Worker>,
    resolved: Resolved,
    via: Vec<String>,
    unshared: bool,
    request: &PlayRequest,
) -> Result<Shadow, Error> {
    let settings = resolved.settings().ok_or(Error::StreamEnded)?;
    let (found, held) = reach::find(worker, &resolved, &settings, &via, &mut resolved.attempts()).await?;
    let description = Arc::new(found.described().description.clone());
    let handle = HubHandle::new(HubParts {
        unshared,
        comes: found.kind(),
        ..parts(worker, &resolved, found.name(), description)
    });
    let making = Rc::new(Making::new(worker, Arc::clone(&settings), resolved, via, &handle));
    let apart = Apart::play(worker, Source::new(&making, found), held, handle, request).await?;
    Ok(Shadow::Reads { apart: Box::new(apart), settings })
}

async fn publish(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    via: Vec<String>,
    home: &Rc<Home>,
    description: &Arc<Description>,
) -> Result<Shadow, Error> {
    let name = format!("shadow of {}", home.handle.name);
    let handle = HubHandle::new(parts(worker, resolved, name, Arc::clone(description)));
    let copy = Copy(Shard::start(worker, handle, Instant::now()));
    // What comes meanwhile waits in the copy's own cache for the shadow to begin with.
    copy.0.feed(home.attach());
    let pushed = push::open(worker, &copy.0, resolved, description, via).await?;
    Ok(Shadow::Publishes { pushed, copy })
}

fn parts(worker: &Worker, resolved: &Resolved, name: String, description: Arc<Description>) -> HubParts {
    let shared = &worker.shared;
    HubParts {
        id: shared.registry.next_id(),
        worker: worker.id,
        name,
        description,
        unshared: false,
        coalesce: Duration::ZERO,
        metrics: shared.metrics.route(&resolved.route, resolved.cluster_name()),
        comes: HopKind::Plain,
        control: None,
        events: Arc::clone(&shared.events),
    }
}

/// Drives a source until it is lost, or of no use.
async fn follow(apart: &mut Apart, settings: &ClusterSettings) -> Lost {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut changes = apart.changes();
    loop {
        tokio::select! {
            lost = apart.next() => return lost,
            () = changed(changes.as_mut()) => {}
            _ = tick.tick() => if let Err(lost) = apart.look_after(Instant::now()).await {
                return lost;
            },
        }
        if let Some(lost) = apart.objection(Instant::now(), settings, apart.patience()) {
            return lost;
        }
    }
}

/// Drives a session that publishes until it has ended, or is of no use.
async fn push_on(pushed: &mut Pushed) -> End {
    let (stalled, mut changes) = (pushed.stalled(), pushed.held().changes());
    let mut objection = pushed.held().objection();
    loop {
        if let Some(why) = objection {
            return End { outcome: "left", why: why.to_owned() };
        }
        let end = tokio::select! {
            ended = pushed.run() => {
                let why = ended.err().unwrap_or_else(|| "the stream ended".to_owned());
                Some(End { outcome: "lost", why })
            }
            () = stalled.notified() => {
                Some(End { outcome: "stalled", why: "does not take its packets".to_owned() })
            }
            () = changed(changes.as_mut()) => None,
        };
        if let Some(end) = end {
            pushed.held().report(Outcome::Reset);
            return end;
        }
        objection = pushed.held().objection();
    }
}
