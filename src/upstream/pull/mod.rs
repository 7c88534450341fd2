//! Streams pulled from upstreams: one task each, which does what readers ask, and outlives the source that it has.

pub(crate) mod apart;
mod elsewhere;
mod failover;
mod other;
mod plain;
mod ready;
pub(crate) mod run;
mod search;
pub(crate) mod source;
mod trial;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::route::{Action, Share};
use msm_rtsp::sdp::Description;
use msm_rtsp::url::RtspUrl;
use tokio::sync::mpsc;

use self::elsewhere::Elsewhere;
use self::other::Successor;
use self::ready::Standby;
use self::source::{Making, Source};
use super::reach::{self, Found};
use crate::cluster::Held;
use crate::error::Error;
use crate::events::EventKind;
use crate::hub::handle::{Command, HubHandle, HubParts, PlayAnswer, PlayRequest};
use crate::hub::home::Home;
use crate::hub::registry::HubKey;
use crate::mirror::Mirrored;
use crate::quota::QuotaPass;
use crate::routing::{Ask, ClusterSettings, Resolved};
use crate::worker::{UpstreamPass, Worker};

/// Commands that may wait for the upstream's answers.
const COMMANDS: usize = 64;
/// How often a standing stream is looked after.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A stream that is pulled.
struct Pull {
    making: Rc<Making>,
    /// What readers were told of the stream, and every source must match.
    line: Arc<Description>,
    home: Option<Rc<Home>>,
    /// None only while another one is looked for.
    source: Option<Source>,
    held: Held,
    /// It is another one than before.
    moved: bool,
    /// The answer to the first PLAY, once it was asked for.
    playing: Option<PlayAnswer>,
    request: PlayRequest,
    /// Since when the source plays.
    since: Instant,
    /// How long a source may bring nothing at all before it counts as silent.
    patience: Duration,
    standby: Standby,
    /// The place of its shadow, once it plays.
    mirror: Option<Mirrored>,
    /// What readers asked while there was no source.
    waiting: VecDeque<Command>,
    /// When an endpoint that is to be left is left next, where that did not work.
    leave_after: Instant,
    elsewhere: Elsewhere,
    /// The stream in another form, which plays already and goes on in the place of this one.
    successor: Option<Successor>,
    _quota: QuotaPass,
    _pass: UpstreamPass,
}

/// Connects to the stream's upstream and describes it; from then on a task of this worker serves it.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    resolved: &Resolved,
    key: Option<HubKey>,
    via: Vec<String>,
) -> Result<Arc<HubHandle>, Error> {
    let settings = resolved.settings().ok_or(Error::StreamEnded)?;
    let quota = worker.shared.streams.take()?;
    let (found, held) = reach::find(worker, resolved, &settings, &via, &mut resolved.attempts()).await?;
    Ok(begin(worker, Opening { resolved: resolved.clone(), settings, via, found, held, quota }, key))
}

/// A stream that an endpoint has described, about to be served.
struct Opening {
    resolved: Resolved,
    settings: Arc<ClusterSettings>,
    via: Vec<String>,
    found: Found,
    held: Held,
    quota: QuotaPass,
}

fn begin(worker: &Rc<Worker>, opening: Opening, key: Option<HubKey>) -> Arc<HubHandle> {
    let Opening { resolved, settings, via, found, held, quota } = opening;
    let name = found.name();
    let description = Arc::new(found.described().description.clone());
    let unshared = match resolved.share {
        Share::Live => false,
        Share::Never => true,
        Share::Auto => !description.is_live(),
    };
    let (control, commands) = mpsc::channel(COMMANDS);
    let handle = HubHandle::new(HubParts {
        id: worker.shared.registry.next_id(),
        worker: worker.id,
        name: name.clone(),
        description: Arc::clone(&description),
        unshared,
        coalesce: resolved.coalesce,
        metrics: worker.shared.metrics.route(&resolved.route, resolved.cluster_name()),
        comes: found.kind(),
        control: Some(control),
        events: Arc::clone(&worker.shared.events),
    });
    handle.source.set_endpoint(&name);
    tracing::info!(
        hub = handle.id,
        upstream = name,
        unshared,
        tracks = handle.tracks().len(),
        "stream opened"
    );
    handle.tell(|| EventKind::Connected { endpoint: name });
    let idle = resolved.idle_timeout;
    let making = Making::new(worker, Arc::clone(&settings), resolved, via, &handle);
    let making = Rc::new(making);
    let now = Instant::now();
    let pull = Pull {
        line: description,
        home: None,
        source: Some(Source::new(&making, found)),
        held,
        moved: false,
        playing: None,
        request: PlayRequest::default(),
        since: now,
        patience: run::patience(&settings),
        standby: Standby::default(),
        mirror: None,
        waiting: VecDeque::new(),
        leave_after: now,
        elsewhere: Elsewhere::default(),
        successor: None,
        making,
        _quota: quota,
        _pass: worker.upstream(),
    };
    tokio::task::spawn_local(run::run(pull, commands, key, idle));
    handle
}

/// Keeps a stream up that is wanted before anybody reads it, and brings it back when its upstream does.
pub(crate) async fn keep(worker: Rc<Worker>, url: RtspUrl) {
    let mut stopping = worker.shared.stopping.subscribe();
    loop {
        let via = vec![format!("RTSP/1.0 {}", worker.shared.pseudonym)];
        let ask = Ask::own(Action::Read, &worker.shared.pseudonym);
        match crate::serve::requests::open(&worker, &url, via, &ask).await {
            Ok((_, handle)) => {
                let _standing = handle.stand();
                if let Err(error) = handle.play(PlayRequest::default()).await {
                    tracing::warn!(stream = handle.name, %error, "standing stream does not play");
                }
                while !handle.is_ended() && !*stopping.borrow() {
                    tokio::select! {
                        () = tokio::time::sleep(KEEP_INTERVAL) => {}
                        _ = stopping.changed() => {}
                    }
                }
            }
            Err(error) => tracing::warn!(%url, %error, "standing stream cannot be opened"),
        }
        if *stopping.borrow() {
            return;
        }
        tokio::time::sleep(KEEP_INTERVAL).await;
    }
}
