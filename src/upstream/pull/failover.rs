//! Another source in the place of the one that was lost: readers keep their sessions and one line of numbers and timestamps.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::Pull;
use super::elsewhere::Elsewhere;
use super::other::Successor;
use super::ready::Ready;
use super::search::{Following, Now, Search, Taken};
use super::source::{Lost, Reason, Source};
use crate::cluster::Held;
use crate::events::EndCause;
use crate::hub::handle::{Command, PlayAnswer};
use crate::hub::succession::Takeover;
use crate::metrics::HopKind;

/// How often it is looked whether anybody still waits.
const LOOK: Duration = Duration::from_millis(250);
/// How often an endpoint that is to be left, and could not be, is left again.
const LEAVE_AGAIN: Duration = Duration::from_secs(2);
/// The most that readers may have asked for meanwhile.
const WAITING: usize = 64;

/// What goes on in the place of a source.
enum Found {
    Same(Box<Following>),
    Other(Successor),
}

impl Pull {
    /// Has another source take over from the one that was lost.
    ///
    /// # Errors
    /// Why the stream ends.
    pub(super) async fn fail_over(
        &mut self,
        lost: Lost,
        commands: &mut mpsc::Receiver<Command>,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<(), EndCause> {
        // What is left plays on until its readers have been told.
        if matches!(lost.reason, Reason::Left | Reason::Redirected)
            && let Some(successor) = self.successor.take()
        {
            return Err(self.hand_over(successor, lost.reason, commands, stopping).await);
        }
        let handle = Arc::clone(&self.making.handle);
        let from = handle.source.endpoint();
        tracing::warn!(
            hub = handle.id,
            upstream = from,
            reason = lost.reason.name(),
            why = lost.why,
            "source lost"
        );
        if let Some(outcome) = lost.reason.outcome() {
            self.held.report(outcome);
        }
        if !self.is_kept() || handle.is_ended() {
            return Err(lost.why.into());
        }
        let takeover = self.takeover(&from, lost.reason);
        // A member waits for publishers that come back before it says that a stream has ended.
        let is_member = self.source.as_ref().is_some_and(|source| source.kind() == HopKind::Mesh);
        let is_over = is_member && lost.reason == Reason::Ended;
        if let Some(source) = self.source.take() {
            source.leave_behind(&self.making.worker);
        }
        if let Some(ready) = self.standby.take(Instant::now(), &self.making.settings()) {
            self.promote(ready, takeover, lost.reason);
            return Ok(());
        }
        if let Some(successor) = self.successor.take() {
            return Err(self.hand_over(successor, lost.reason, commands, stopping).await);
        }
        let search = Search { making: Rc::clone(&self.making), line: Arc::clone(&self.line) };
        let (home, request) = (self.home.clone(), self.request.clone());
        let now = Now { home: home.as_ref(), request: self.playing.as_ref().map(|_| &request) };
        if let Some(home) = &home {
            home.expect_takeover(takeover);
        }
        let nobody = Held::direct(self.held.url.clone());
        let failed = std::mem::replace(&mut self.held, nobody);
        let (named, making) = (self.take_named(), Rc::clone(&self.making));
        let search = async {
            Ok(match search.run(failed, named, is_over, now).await? {
                Taken::Source(following) => Found::Same(following),
                Taken::Other(other) => {
                    let begun = Successor::begin(&making, *other).await;
                    Found::Other(
                        begun.map_err(|error| format!("what there is instead cannot be had: {error}"))?,
                    )
                }
            })
        };
        tokio::pin!(search);
        let mut look = tokio::time::interval(LOOK);
        let found = loop {
            tokio::select! {
                biased;
                found = &mut search => break found.map_err(|why: String| format!("{}, and {why}", lost.why))?,
                command = commands.recv() => match command {
                    Some(command) => self.obey_later(command),
                    None => return Err(EndCause::Unused),
                },
                _ = look.tick() => if !self.is_kept() {
                    return Err(EndCause::Unused);
                },
                _ = stopping.wait_for(|stopping| *stopping) => return Err(EndCause::Shutdown),
            }
        };
        match found {
            Found::Same(following) => {
                let Following { source, held, answer } = *following;
                self.go_on(source, held, answer, lost.reason);
                Ok(())
            }
            Found::Other(successor) => Err(self.hand_over(successor, lost.reason, commands, stopping).await),
        }
    }

    fn takeover(&self, from: &str, reason: Reason) -> Takeover {
        Takeover {
            cluster: self.making.settings().name.clone(),
            from: from.to_owned(),
            reason: reason.name(),
            identical: false,
            noticed: Instant::now(),
        }
    }

    /// This source is that of the stream from now on.
    fn go_on(&mut self, source: Source, held: Held, answer: Option<PlayAnswer>, reason: Reason) {
        let handle = &self.making.handle;
        handle.source.count_failover();
        let metrics = &self.making.worker.shared.metrics;
        metrics.failovers.count(&self.making.settings().name, reason.name());
        handle.set_comes(source.kind());
        self.source = Some(source);
        self.held = held;
        self.elsewhere = Elsewhere::default();
        self.moved = true;
        self.since = Instant::now();
        if answer.is_some() {
            self.playing = answer;
        }
    }

    /// What is asked while there is no source: late readers are let in, the rest waits for the next one.
    fn obey_later(&mut self, command: Command) {
        match (command, &self.playing) {
            (Command::Prepare { reply }, _) if self.home.is_some() => {
                let _ = reply.send(Ok(()));
            }
            (Command::Play { reply, .. }, Some(playing)) => {
                let _ = reply.send(Ok(PlayAnswer { rtp_info: Vec::new(), ..playing.clone() }));
            }
            // Who is dropped is told that there is no stream.
            (command, _) if self.waiting.len() < WAITING => self.waiting.push_back(command),
            _ => {}
        }
    }

    /// The standby's source takes over, with what it has kept since its last keyframe.
    fn promote(&mut self, ready: Ready, takeover: Takeover, reason: Reason) {
        let Some(home) = self.home.clone() else { return };
        let cluster = takeover.cluster.clone();
        self.count_merged();
        let (source, held, identical) = ready.take_over(&home, takeover);
        if identical {
            self.making.worker.shared.metrics.failovers.count_identical(&cluster);
        }
        self.go_on(source, held, None, reason);
    }

    /// The endpoint is to be left, and the source plays on meanwhile: another one is made ready, and takes over when it can.
    pub(super) async fn leave_endpoint(&mut self, now: Instant, objection: &'static str) -> Option<Lost> {
        if self.playing.is_none() || self.home.is_none() {
            return Some(Lost::new(Reason::Left, objection));
        }
        if self.successor.is_some() {
            return Some(Lost::new(self.leaving(), objection));
        }
        if let Some(ready) = self.standby.take_complete(now, &self.making.settings()) {
            let from = self.making.handle.source.endpoint();
            tracing::info!(hub = self.making.handle.id, upstream = from, objection, "endpoint is left");
            let mut before = self.source.take();
            if let Some(source) = &mut before {
                source.detach();
            }
            let reason = self.leaving();
            let takeover = self.takeover(&from, reason);
            self.promote(ready, takeover, reason);
            if let Some(source) = before {
                source.leave_behind(&self.making.worker);
            }
            return None;
        }
        if !self.standby.is_coming() && now >= self.leave_after {
            self.leave_after = now + self.leave_again(LEAVE_AGAIN);
            self.make_ready();
        }
        None
    }
}
