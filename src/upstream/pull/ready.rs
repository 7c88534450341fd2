//! A second source that is kept ready: set up and playing, with a hub of its own that nobody reads.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Pull;
use super::apart::Apart;
use super::other::Successor;
use super::run::FIRST_MEDIA;
use super::search::{Candidate, Search, Unready};
use super::source::{Lost, Source};
use super::trial::Trial;
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
/// How often it is looked whether a source's first media has come.
const LOOK: Duration = Duration::from_millis(20);

/// A source that is ready.
pub(super) struct Ready {
    apart: Apart,
    succession: Succession,
}

/// What was made ready.
enum Come {
    Source(Box<Ready>),
    /// There is the stream in another form alone, which readers are told of.
    Other(Successor),
}

/// The place of the second source.
#[derive(Default)]
pub(super) struct Standby {
    ready: Option<Ready>,
    /// The source's last word.
    lost: Option<Lost>,
    coming: Option<JoinHandle<Result<Come, Error>>>,
    came: Option<Result<Come, Error>>,
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
        if let Some(Ok(Come::Source(ready))) = self.came.take() {
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
    /// Where it brings the same packets, it goes on with the very next one; whether it does.
    pub(super) fn take_over(self, home: &Rc<Home>, takeover: Takeover) -> (Source, Held, bool) {
        let Self { apart: Apart { mut source, held, home: own, .. }, succession } = self;
        let now = Instant::now();
        own.release_mended(now);
        held.observe_anew();
        let identical = home.go_on(now, &succession, own.last_rtp());
        let clocks = own.kept(now);
        home.expect_takeover(Takeover { identical, ..takeover });
        if identical {
            home.take_clocks(now, &clocks);
        } else {
            home.succeed(now, &succession);
            home.take_kept(now, clocks);
        }
        source.attach(home);
        (source, held, identical)
    }
}

/// Has an endpoint made ready. Where the stream's own is to be left, and this one has another form of it, `others` are asked for the form that
/// readers know, and then it is made ready as it is.
async fn make(search: Search, held: Held, others: Option<Attempts>) -> Result<Come, Error> {
    let other = match search.describe(held).await {
        Ok(candidate) => return prepare(&search, candidate).await,
        Err(Unready::Failed(error)) => return Err(error),
        Err(Unready::Other(other)) => other,
    };
    let Some(mut others) = others else { return Err(other.unwanted()) };
    while let Ok(held) = others.next() {
        if let Ok(candidate) = search.describe(held).await {
            return prepare(&search, candidate).await;
        }
    }
    Successor::begin(&search.making, *other).await.map(Come::Other)
}

/// Sets a source up, and has it play to a hub of its own.
async fn prepare(search: &Search, candidate: Candidate) -> Result<Come, Error> {
    let Candidate { source: trial, held, succession } = candidate;
    let making = &search.making;
    let worker = &making.worker;
    let source = trial.keep()?;
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
        events: Arc::clone(&worker.shared.events),
    });
    let apart = Apart::play(worker, source, held, handle, &PlayRequest::default()).await?;
    // It begins with a keyframe when it takes over.
    let tracks = apart.home.handle.tracks().len();
    (0..tracks).for_each(|track| apart.home.request_keyframe(Instant::now(), track));
    let mut trial = Trial::new(worker, apart);
    await_media(trial.session()?).await?;
    Ok(Come::Source(Box::new(Ready { apart: trial.keep()?, succession })))
}

/// Waits until a source brings media; where a firewall lets none through by UDP, that is by the connection.
async fn await_media(apart: &mut Apart) -> Result<(), Error> {
    let endpoint = apart.name();
    let useless = |reason| Error::UpstreamProtocol { endpoint: endpoint.clone(), reason };
    while apart.home.last_rtp().is_none() {
        tokio::select! {
            lost = apart.next() => return Err(useless(lost.why)),
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = Instant::now();
        apart.look_after(now).await.map_err(|lost| useless(lost.why))?;
        let waited = now.saturating_duration_since(apart.since);
        if waited >= FIRST_MEDIA + apart.patience() {
            return Err(useless(format!("no media for {} ms", waited.as_millis())));
        }
    }
    Ok(())
}

impl Pull {
    /// Begins to make a second source ready, at an endpoint other than the stream's.
    pub(super) fn make_ready(&mut self) {
        let mut attempts: Attempts = self.making.resolved.attempts();
        attempts.leave_out(&self.held);
        match self.take_named().map_or_else(|| attempts.next(), Ok) {
            Ok(held) if held.url != self.held.url => {
                let search = Search { making: Rc::clone(&self.making), line: Arc::clone(&self.line) };
                let others = self.held.objection().is_some().then_some(attempts);
                self.standby.coming = Some(tokio::task::spawn_local(make(search, held, others)));
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

    /// Tells whether the standby brings the same packets as the source.
    fn look_at_twin(&self) {
        self.count_merged();
        let (Some(home), Some(ready)) = (&self.home, &self.standby.ready) else { return };
        let (hub, identical) = (self.making.handle.id, home.is_identical());
        if self.making.handle.source.set_identical(identical) {
            let upstream = ready.apart.name();
            match identical {
                true => tracing::info!(
                    hub,
                    upstream,
                    "standby brings the same packets: it takes over without a gap"
                ),
                false => tracing::info!(hub, upstream, "standby does not bring the same packets any more"),
            }
        }
    }

    /// Counts what readers have from the standby.
    pub(super) fn count_merged(&self) {
        if let Some(home) = &self.home {
            let cluster = &self.making.settings().name;
            self.making.worker.shared.metrics.failovers.add_merged(cluster, home.take_filled());
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
            Some(Ok(Come::Other(successor))) => self.successor = Some(successor),
            Some(Ok(Come::Source(ready))) => {
                let endpoint = ready.apart.name();
                tracing::info!(hub, upstream = endpoint, "standby is ready");
                self.making.handle.source.set_standby(Some(&endpoint));
                self.standby.told = false;
                if let Some(home) = &self.home {
                    home.pair(&ready.apart.home, &ready.succession.numbers);
                }
                self.standby.ready = Some(*ready);
            }
            Some(Err(error)) => {
                tracing::warn!(hub, cluster = settings.name, %error, "standby could not be made ready");
                self.making.handle.source.set_standby(Some("none: the last attempt failed"));
                self.retry_later(now);
            }
            None => {}
        }
        if let Some(ready) = &self.standby.ready {
            ready.apart.observe(now);
        }
        let untrusted = self.standby.ready.as_mut().and_then(|ready| ready.apart.source.check(now).err());
        let lost = self.standby.lost.take().or(untrusted);
        if let (Some(ready), Some(lost)) = (&self.standby.ready, &lost) {
            ready.apart.report(lost);
        }
        let lost = lost.map(|lost| lost.why);
        // Where the stream itself is silent, that the standby is says nothing of its endpoint.
        let heard = self.home.as_ref().and_then(|home| home.last_rtp());
        let flows = heard.is_some_and(|last| now.saturating_duration_since(last) < settings.media_timeout);
        let worker = Rc::clone(&self.making.worker);
        if let Some(ready) = &self.standby.ready
            && let Some(why) = lost.or_else(|| {
                let same = ready.apart.held.url == self.held.url;
                same.then(|| "the stream comes from the same endpoint by now".to_owned()).or_else(|| {
                    let objection = ready.apart.objection(now, &settings, Duration::ZERO)?;
                    if flows {
                        ready.apart.report(&objection);
                    }
                    Some(objection.why)
                })
            })
        {
            tracing::info!(hub, upstream = ready.apart.name(), why, "standby is given up");
            self.making.handle.source.set_standby(Some("none: the last one was given up"));
            if let Some(ready) = self.standby.ready.take() {
                // One that is lost as soon as it is ready is not had again and again.
                match now.saturating_duration_since(ready.apart.since) < LONGEST_RETRY {
                    true => self.retry_later(now),
                    false => self.standby.retry = None,
                }
                ready.apart.end(&worker);
            }
        }
        self.look_at_twin();
        let is_warm = settings.failover.standby == config::Standby::Warm;
        let is_wanted = is_warm && self.playing.is_some() && self.is_kept();
        let is_left = self.held.objection().is_some();
        if !is_left {
            self.successor = None;
        }
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
