//! A second source that is kept ready: set up and playing, with a hub of its own that nobody reads.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Pull;
use super::apart::Apart;
use super::search::{Candidate, Search};
use super::source::{Lost, Source};
use crate::cluster::{Attempts, Held};
use crate::config;
use crate::error::Error;
use crate::hub::handle::{HubHandle, HubParts, PlayRequest};
use crate::hub::home::Home;
use crate::hub::succession::{Succession, Takeover};
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// How long one is waited for that could not be made ready, the first time; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// How long one that takes over where it need not may wait for its keyframe.
const KEYFRAME: Duration = Duration::from_secs(5);

/// A source that is ready.
pub(super) struct Ready {
    apart: Apart,
    succession: Succession,
}

/// The place of the second source.
#[derive(Default)]
pub(super) struct Standby {
    ready: Option<Ready>,
    /// The source's last word.
    lost: Option<Lost>,
    coming: Option<JoinHandle<Result<Ready, Error>>>,
    came: Option<Result<Ready, Error>>,
    retry: Option<(Instant, Duration)>,
    told: bool,
}

impl Drop for Standby {
    fn drop(&mut self) {
        if let Some(coming) = &self.coming {
            coming.abort();
        }
    }
}

impl Standby {
    /// Drives what there is, until there is something to look at. Cancel safe.
    pub(super) async fn next(&mut self) {
        if self.lost.is_some() || self.came.is_some() {
            // It is looked at with the next tick.
            return pending().await;
        }
        let Self { ready, coming, .. } = self;
        let source = async {
            match ready {
                Some(ready) => ready.apart.next().await,
                None => pending().await,
            }
        };
        let coming = async {
            match coming {
                Some(coming) => coming.await,
                None => pending().await,
            }
        };
        tokio::select! {
            lost = source => self.lost = Some(lost),
            came = coming => {
                self.coming = None;
                self.came = Some(came.unwrap_or(Err(Error::Stopped)));
            }
        }
    }

    pub(super) fn is_coming(&self) -> bool {
        self.coming.is_some() || self.ready.is_some()
    }

    /// The source that is ready, if it brings media.
    pub(super) fn take(&mut self, now: Instant, settings: &ClusterSettings) -> Option<Ready> {
        let timeout = settings.media_timeout;
        let heard = self.ready.as_ref()?.apart.home.last_rtp();
        let brings =
            heard.is_some_and(|last| timeout.is_zero() || now.saturating_duration_since(last) < timeout);
        if self.lost.is_some() || !brings {
            return None;
        }
        self.ready.take()
    }

    /// The same, once it has a keyframe to begin with.
    pub(super) fn take_complete(&mut self, now: Instant, settings: &ClusterSettings) -> Option<Ready> {
        let ready = self.ready.as_ref()?;
        let waited = now.saturating_duration_since(ready.apart.since) >= KEYFRAME;
        if !waited && !ready.apart.home.has_keyframes() {
            return None;
        }
        self.take(now, settings)
    }

    /// Takes leave.
    pub(super) fn end(&mut self, worker: &Rc<Worker>) {
        if let Some(Ok(ready)) = self.came.take() {
            ready.apart.end(worker);
        }
        if let Some(ready) = self.ready.take() {
            ready.apart.end(worker);
        }
        if let Some(coming) = self.coming.take() {
            coming.abort();
        }
    }
}

impl Ready {
    /// Feeds the stream's own hub from now on: what was kept first, squeezed into the gap.
    pub(super) fn take_over(self, home: &Rc<Home>, takeover: Takeover) -> (Source, Held) {
        let Self { apart: Apart { mut source, held, home: own, .. }, succession } = self;
        let now = Instant::now();
        let kept = own.kept(now);
        home.expect_takeover(takeover);
        home.succeed(now, &succession);
        home.take_kept(now, kept);
        source.attach(home);
        (source, held)
    }
}

/// Sets a source up, and has it play to a hub of its own.
async fn prepare(search: Search, held: Held) -> Result<Ready, Error> {
    let Candidate { source, held, succession } = search.describe(held).await?;
    let making = &search.making;
    let worker = &making.worker;
    let handle = HubHandle::new(HubParts {
        id: worker.shared.registry.next_id(),
        worker: worker.id,
        name: source.name(),
        description: Arc::new(source.described().description.clone()),
        unshared: false,
        coalesce: Duration::ZERO,
        metrics: Arc::clone(&making.handle.metrics),
        comes: source.kind(),
        control: None,
    });
    let apart = Apart::play(worker, source, held, handle, &PlayRequest::default()).await?;
    // It begins with a keyframe when it takes over.
    let tracks = apart.home.handle.tracks().len();
    (0..tracks).for_each(|track| apart.home.request_keyframe(Instant::now(), track));
    Ok(Ready { apart, succession })
}

impl Pull {
    /// Begins to make a second source ready, at an endpoint other than the stream's.
    pub(super) fn make_ready(&mut self) {
        let mut attempts: Attempts = self.making.resolved.attempts();
        attempts.leave_out(&self.held);
        match self.take_named().map_or_else(|| attempts.next(), Ok) {
            Ok(held) if held.url != self.held.url => {
                let search = Search { making: Rc::clone(&self.making), line: Arc::clone(&self.line) };
                self.standby.coming = Some(tokio::task::spawn_local(prepare(search, held)));
            }
            _ => {
                self.retry_later(Instant::now());
                self.making.handle.source.set_standby(Some("none: there is no other endpoint"));
                if !std::mem::replace(&mut self.standby.told, true) {
                    let (hub, cluster) = (self.making.handle.id, &self.making.settings().name);
                    tracing::warn!(hub, cluster, "no other endpoint can be kept as a standby");
                }
            }
        }
    }

    fn retry_later(&mut self, now: Instant) {
        let wait = self.standby.retry.map_or(FIRST_RETRY, |(_, wait)| (wait * 2).min(LONGEST_RETRY));
        self.standby.retry = Some((now + wait, wait));
    }

    /// Has a second source ready where the cluster says so, and one that plays.
    pub(super) fn look_after_standby(&mut self, now: Instant) {
        let (hub, settings) = (self.making.handle.id, self.making.settings());
        match self.standby.came.take() {
            Some(Ok(ready)) => {
                let endpoint = ready.apart.name();
                tracing::info!(hub, upstream = endpoint, "standby is ready");
                self.making.handle.source.set_standby(Some(&endpoint));
                self.standby.retry = None;
                self.standby.told = false;
                self.standby.ready = Some(ready);
            }
            Some(Err(error)) => {
                tracing::warn!(hub, cluster = settings.name, %error, "standby could not be made ready");
                self.making.handle.source.set_standby(Some("none: the last attempt failed"));
                self.retry_later(now);
            }
            None => {}
        }
        let lost = self.standby.lost.take().map(|lost| lost.why);
        let worker = Rc::clone(&self.making.worker);
        if let Some(ready) = &self.standby.ready
            && let Some(why) = lost.or_else(|| {
                ready.apart.objection(now, &settings, Duration::ZERO).map(|objection| objection.why)
            })
        {
            tracing::info!(hub, upstream = ready.apart.name(), why, "standby is given up");
            self.making.handle.source.set_standby(Some("none: the last one was given up"));
            if let Some(ready) = self.standby.ready.take() {
                ready.apart.end(&worker);
            }
        }
        let is_warm = settings.failover.standby == config::Standby::Warm;
        let is_wanted = is_warm && self.playing.is_some() && self.is_kept();
        let is_left = self.held.objection().is_some();
        if !is_wanted && !is_left && (self.standby.ready.is_some() || self.standby.coming.is_some()) {
            self.standby.end(&worker);
            self.making.handle.source.set_standby(None);
        }
        let due = self.standby.retry.is_none_or(|(at, _)| at <= now);
        if is_wanted && due && !self.standby.is_coming() {
            self.make_ready();
        }
        if self.standby.ready.is_none() && !is_warm {
            self.making.handle.source.set_standby(None);
        }
    }
}
