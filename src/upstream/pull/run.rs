//! The task of a stream: what readers ask, what the source says, and the time.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::Pull;
use super::source::{Lost, Making, Reason, next_of};
use crate::error::Error;
use crate::events::EndCause;
use crate::hub::handle::{Command, ParameterAnswer, ParameterRequest, PlayAnswer, PlayRequest};
use crate::hub::home::Home;
use crate::hub::registry::HubKey;
use crate::mirror::{Mirrored, Original, What};
use crate::routing::ClusterSettings;

/// How often a stream without readers is noticed.
const TICK: Duration = Duration::from_millis(500);
/// How long a source may take to bring its first packet, whatever the cluster's `media_timeout`: it may have to fetch it itself.
pub(super) const FIRST_MEDIA: Duration = Duration::from_secs(5);
/// The longest that a source is waited for that plays and brings nothing, however often that was in vain.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);
/// How long the only endpoint that there is may bring nothing, whatever the cluster's `media_timeout`.
const NO_CHOICE: Duration = Duration::from_secs(10);
/// How long after the BYE of a stream's sources others may follow in the same session.
const BYE_GRACE: Duration = Duration::from_millis(300);

/// How long a source may bring nothing at all before it counts as silent.
pub(super) fn patience(settings: &ClusterSettings) -> Duration {
    settings.media_timeout.max(FIRST_MEDIA)
}

/// What woke the task up.
enum Step {
    Command(Option<Command>),
    Lost(Lost),
    /// The standby's source has ended, or one was prepared; or what is known of endpoints has changed, or media may be overdue.
    Look,
    Tick,
    Stop,
}

pub(super) async fn run(
    mut pull: Pull,
    mut commands: mpsc::Receiver<Command>,
    key: Option<HubKey>,
    idle: Duration,
) {
    let worker = std::rc::Rc::clone(&pull.making.worker);
    worker.shared.metrics.streams.inc();
    let mut last_used = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopping = worker.shared.stopping.subscribe();
    let mut changes = pull.held.changes();
    let cause = loop {
        let overdue = pull.overdue_at().filter(|_| pull.is_kept());
        let step = if let Some(command) = pull.waiting.pop_front() {
            Step::Command(Some(command))
        } else {
            tokio::select! {
                biased;
                command = commands.recv() => Step::Command(command),
                lost = next_of(pull.source.as_mut()) => Step::Lost(lost),
                () = pull.standby.next() => Step::Look,
                () = changed(changes.as_mut()) => Step::Look,
                () = sleep_until(overdue) => Step::Look,
                _ = tick.tick() => Step::Tick,
                _ = stopping.wait_for(|stopping| *stopping) => Step::Stop,
            }
        };
        let lost = match step {
            Step::Command(Some(command)) => match pull.obey(command).await {
                Some(error) => {
                    pull.held.report_failure(&error);
                    break error.to_string().into();
                }
                None => None,
            },
            Step::Command(None) => break EndCause::Unused,
            Step::Lost(lost) if lost.reason == Reason::Redirected => {
                pull.go_elsewhere(lost.to.as_deref());
                pull.look(Instant::now()).await
            }
            Step::Lost(lost) => Some(lost),
            Step::Look => pull.look(Instant::now()).await,
            Step::Tick => {
                let now = Instant::now();
                if pull.is_used() {
                    last_used = now;
                } else if now.saturating_duration_since(last_used) >= idle {
                    break EndCause::Unused;
                }
                if let Some(home) = &pull.home {
                    home.observe(now, &pull.held);
                }
                let looked = match &mut pull.source {
                    Some(source) => source.look_after(now).await,
                    None => Ok(()),
                };
                match looked {
                    Err(lost) => Some(lost),
                    Ok(()) => pull.look(now).await,
                }
            }
            Step::Stop => break EndCause::Shutdown,
        };
        if let Some(lost) = lost
            && let Err(cause) = pull.fail_over(lost, &mut commands, &mut stopping).await
        {
            break cause;
        }
        if std::mem::take(&mut pull.moved) {
            changes = pull.held.changes();
        }
    };
    let handle = &pull.making.handle;
    tracing::info!(hub = handle.id, upstream = handle.source.endpoint(), reason = %cause, "stream closed");
    handle.set_ended(cause);
    if let Some(key) = &key {
        worker.shared.registry.forget(key, handle.id);
    }
    pull.standby.end(&worker);
    pull.mirror = None;
    let source = pull.source.take();
    if let Some(home) = pull.home.take() {
        home.end(Instant::now());
    }
    worker.shared.metrics.streams.dec();
    if let Some(source) = source {
        source.leave().await;
    }
}

/// Waits until what is known of endpoints has changed.
pub(crate) async fn changed(changes: Option<&mut watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    pending().await
}

pub(super) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

impl Pull {
    /// Whether the stream is to outlive its source: it is shared, and somebody reads it or is to find it.
    pub(super) fn is_kept(&self) -> bool {
        let settings = &self.making.settings();
        !self.making.handle.unshared && !settings.failover.hold.is_zero() && self.is_used()
    }

    fn is_used(&self) -> bool {
        self.making.handle.readers() > 0 || self.making.handle.is_standing()
    }

    /// When the source is silent, unless media comes before: of any track, as some are silent by themselves.
    fn overdue_at(&self) -> Option<Instant> {
        let home = self.home.as_ref().filter(|_| self.playing.is_some())?;
        let source = self.source.as_ref()?;
        let bye = home.bye_since().map(|bye| bye + BYE_GRACE);
        let Some(timeout) = self.silence() else { return bye };
        let silent = match home.last_rtp() {
            Some(last) => last + timeout,
            None => self.since.max(home.replaced_at()) + self.patience + source.patience(),
        };
        Some(bye.map_or(silent, |bye| bye.min(silent)))
    }

    /// Looks whether the source is to be replaced; and after the standby.
    async fn look(&mut self, now: Instant) -> Option<Lost> {
        self.look_after_standby(now);
        if self.home.as_ref().is_some_and(|home| home.last_rtp().is_some()) {
            self.patience = patience(&self.making.settings());
        }
        if !self.is_kept() {
            return None;
        }
        if let Some(home) = &self.home
            && self.overdue_at().is_some_and(|overdue| overdue <= now)
        {
            if home.bye_since().is_some_and(|bye| bye + BYE_GRACE <= now) {
                return Some(Lost::new(Reason::Bye, "the source said BYE"));
            }
            let heard = home.last_rtp();
            let since = now.saturating_duration_since(heard.unwrap_or(self.since));
            self.patience = match heard {
                Some(_) => patience(&self.making.settings()),
                // It is as likely to be a stream that is silent by itself.
                None => (self.patience * 2).min(LONGEST_PATIENCE.max(self.making.settings().media_timeout)),
            };
            return Some(Lost::new(Reason::Silent, format!("no media for {} ms", since.as_millis())));
        }
        let objection = self.held.objection()?;
        self.leave_endpoint(now, objection).await
    }

    /// Does what a reader asks. The error is one that the source does not outlive.
    async fn obey(&mut self, command: Command) -> Option<Error> {
        match command {
            Command::Prepare { reply } => {
                let outcome = self.prepare().await;
                self.answer(reply, outcome, |pull| pull.playing.is_none())
            }
            Command::Play { request, reply } => {
                let outcome = self.play(request).await;
                self.answer(reply, outcome, |pull| pull.playing.is_none())
            }
            Command::Pause { reply } => {
                let outcome = match &mut self.source {
                    Some(source) => source.pause().await,
                    None => Err(Error::StreamEnded),
                };
                let _ = reply.send(outcome);
                None
            }
            Command::Parameter { request, reply } => {
                let _ = reply.send(self.parameter(request).await);
                None
            }
        }
    }

    /// Asks the source, for as long as it is not silent: one that is frozen answers nothing, and is to be replaced.
    async fn parameter(&mut self, request: ParameterRequest) -> Result<ParameterAnswer, Error> {
        let is_kept = self.is_kept();
        let endpoint = self.making.handle.source.endpoint();
        let (playing, patience) = (self.playing.is_some(), self.silence());
        let home = self.home.clone().filter(|_| playing && is_kept);
        let source = self.source.as_mut().ok_or(Error::StreamEnded)?;
        let silent_at = || Some(home.as_ref()?.last_rtp()? + patience?);
        let answer = source.parameter(request);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = sleep_until(silent_at()) => {}
            }
            if silent_at().is_some_and(|at| at <= Instant::now()) {
                return Err(Error::UpstreamTimeout {
                    endpoint,
                    request: "a parameter, and brings no media".into(),
                });
            }
        }
    }

    /// How long the source may bring nothing, once it has brought something.
    fn silence(&self) -> Option<Duration> {
        let timeout = self.making.settings().media_timeout;
        // Its own server again is the last thing to try: readers would get its old pictures anew, and what is silent may be so by itself.
        let timeout = if self.making.resolved.has_a_choice() { timeout } else { timeout.max(NO_CHOICE) };
        (!self.making.settings().media_timeout.is_zero()).then_some(timeout)
    }

    /// Answers a reader. The error is one that ends the stream, which whoever asks again must not find.
    fn answer<T>(
        &self,
        reply: tokio::sync::oneshot::Sender<Result<T, Error>>,
        outcome: Result<T, Error>,
        is_fatal: impl FnOnce(&Self) -> bool,
    ) -> Option<Error> {
        let fatal = outcome.as_ref().err().filter(|_| is_fatal(self)).cloned();
        if let Some(error) = &fatal {
            self.making.handle.set_ended(error.to_string().into());
        }
        let _ = reply.send(outcome);
        fatal
    }

    /// Sets the tracks up.
    async fn prepare(&mut self) -> Result<(), Error> {
        if self.home.is_some() {
            return Ok(());
        }
        let source = self.source.as_mut().ok_or(Error::StreamEnded)?;
        source.set_up().await?;
        let worker = &self.making.worker;
        let home = Home::start(
            worker,
            std::sync::Arc::clone(&self.making.handle),
            worker.shared.seed(),
            Instant::now(),
        );
        source.attach(&home);
        self.home = Some(home);
        Ok(())
    }

    /// From the first PLAY on the stream may have a shadow.
    fn mirror(&mut self) {
        let Making { worker, resolved, via, handle, .. } = &*self.making;
        let request = &self.request;
        self.mirror.get_or_insert_with(|| {
            let what = What::Read { handle: Arc::clone(handle), request: request.clone() };
            Mirrored::start(worker, Original { what, resolved: resolved.clone(), via: via.clone() })
        });
    }

    async fn play(&mut self, request: PlayRequest) -> Result<PlayAnswer, Error> {
        if let Some(playing) = self.playing.as_ref().filter(|_| !self.making.handle.unshared) {
            // It flows already; RTP-Info of then is no longer that of the next packet.
            return Ok(PlayAnswer { rtp_info: Vec::new(), ..playing.clone() });
        }
        self.prepare().await?;
        let is_seek = self.playing.is_some() && request.range.is_some();
        if let (true, Some(home)) = (is_seek, &self.home) {
            home.restart(Instant::now());
        }
        let source = self.source.as_mut().ok_or(Error::StreamEnded)?;
        let answer = source.play(&request, self.playing.is_none()).await?;
        self.since = Instant::now();
        self.request = request;
        self.playing = Some(answer.clone());
        self.mirror();
        Ok(answer)
    }
}
