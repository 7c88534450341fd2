//! An endpoint that has the stream in another form, where its readers are told of that: the stream goes on as another one, in the same place.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::source::{Making, Reason, next_of};
use super::{Opening, Pull, begin};
use crate::cluster::Held;
use crate::error::Error;
use crate::events::EndCause;
use crate::hub::handle::{Command, HubHandle, PlayAnswer, PlayRequest, Standing};
use crate::serve::announce::{Change, tell_readers};
use crate::upstream::reach::Found;

/// An endpoint that describes the stream otherwise.
pub(super) struct Other {
    pub(super) found: Found,
    pub(super) held: Held,
    /// For people.
    pub(super) why: String,
}

impl Other {
    /// That it is of no use.
    pub(super) fn unwanted(self) -> Error {
        Error::UpstreamProtocol { endpoint: self.held.url.to_string(), reason: self.why }
    }
}

/// The stream in the other form. It is kept without readers as long as this is there.
pub(super) struct Successor {
    next: Arc<HubHandle>,
    why: String,
    _standing: Standing,
}

impl Successor {
    /// Has it play, before anybody is told of it.
    pub(super) async fn begin(making: &Making, other: Other) -> Result<Self, Error> {
        let Other { found, held, why } = other;
        let Making { worker, resolved, via, .. } = making;
        let quota = worker.shared.streams.take()?;
        held.report_success();
        let opening = Opening {
            resolved: resolved.clone(),
            settings: making.settings(),
            via: via.clone(),
            found,
            held,
            quota,
        };
        let next = begin(worker, opening, Some(resolved.key()));
        let own = Self { _standing: next.stand(), next, why };
        own.next.play(PlayRequest::default()).await?;
        Ok(own)
    }
}

impl Pull {
    /// The other form takes the place of this stream, and readers are told. Answers why this one ends.
    pub(super) async fn hand_over(
        &mut self,
        successor: Successor,
        reason: Reason,
        commands: &mut mpsc::Receiver<Command>,
        stopping: &mut watch::Receiver<bool>,
    ) -> EndCause {
        let making = Rc::clone(&self.making);
        let Making { worker, resolved, handle, .. } = &*making;
        let settings = self.making.settings();
        let Successor { next, why, .. } = &successor;
        tracing::warn!(
            hub = handle.id,
            upstream = next.source.endpoint(),
            next = next.id,
            why,
            "the stream goes on in another form, of which its readers are told"
        );
        worker.shared.metrics.failovers.count(&settings.name, reason.name());
        next.source.count_failover();
        worker.shared.registry.replace(&resolved.key(), handle.id, next).await;
        let change = Change {
            from: handle.id,
            next: Arc::clone(next),
            cluster: settings.name.clone(),
            within: settings.failover.announce_timeout,
            at_once: self.source.is_none(),
        };
        let telling = tell_readers(&worker.shared, &change);
        tokio::pin!(telling);
        loop {
            tokio::select! {
                biased;
                () = &mut telling => break,
                // Requests of sessions that are about to be told must not wait for that.
                command = commands.recv() => match command {
                    Some(command) => self.obey_at_the_end(command),
                    None => break,
                },
                lost = next_of(self.source.as_mut()) => if lost.reason != Reason::Redirected {
                    self.source = None;
                },
                _ = stopping.wait_for(|stopping| *stopping) => return EndCause::Shutdown,
            }
        }
        format!("it goes on in another form: {why}").into()
    }

    /// Who has come too late to be told of the other form ends with this one; nobody else is asked anything.
    fn obey_at_the_end(&self, command: Command) {
        match (command, &self.playing) {
            (Command::Prepare { reply }, _) if self.home.is_some() => {
                let _ = reply.send(Ok(()));
            }
            (Command::Play { reply, .. }, Some(playing)) => {
                let _ = reply.send(Ok(PlayAnswer { rtp_info: Vec::new(), ..playing.clone() }));
            }
            _ => {}
        }
    }
}
