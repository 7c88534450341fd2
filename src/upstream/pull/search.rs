//! Looking for an endpoint that has a stream in a form that its readers can go on with.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::cluster::Outcome;
use msm_rtsp::sdp::Description;

use super::other::Other;
use super::source::{Making, Source};
use super::trial::Trial;
use crate::cluster::Held;
use crate::config::OnChange;
use crate::error::Error;
use crate::hub::handle::{PlayAnswer, PlayRequest};
use crate::hub::home::Home;
use crate::hub::succession::Succession;
use crate::upstream::reach::{Found, ask};

/// The wait before endpoints that all failed are tried again, which doubles up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// The least time that an endpoint is given.
const LEAST_ATTEMPT: Duration = Duration::from_secs(1);

/// A source that has described the stream, and how it takes over.
pub(super) struct Candidate {
    pub(super) source: Trial<Source>,
    pub(super) held: Held,
    pub(super) succession: Succession,
}

/// Why an endpoint is of no use.
pub(super) enum Useless {
    Failed(Error),
    /// It has the stream in another form; why that is one.
    Changed(Box<Found>, String),
}

/// A source that has taken over.
pub(super) struct Following {
    pub(super) source: Source,
    pub(super) held: Held,
    /// To PLAY, if that was asked for.
    pub(super) answer: Option<PlayAnswer>,
}

/// What a search has found.
pub(super) enum Taken {
    Source(Box<Following>),
    /// The stream in another form, which its readers are told of.
    Other(Box<Other>),
}

impl From<Error> for Useless {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Why nothing was made ready.
pub(super) enum Unready {
    Failed(Error),
    /// The endpoint has the stream in another form, which readers are to be told of.
    Other(Box<Other>),
}

impl From<Error> for Unready {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A search for the stream that readers know as `line`.
pub(super) struct Search {
    pub(super) making: Rc<Making>,
    pub(super) line: Arc<Description>,
}

/// What takes over at once.
pub(super) struct Now<'a> {
    /// None where nothing was set up yet.
    pub(super) home: Option<&'a Rc<Home>>,
    /// None where nobody has asked for media yet.
    pub(super) request: Option<&'a PlayRequest>,
}

impl Search {
    /// Has this endpoint describe the stream. Where it has another form, that is the error's if readers are told of it.
    pub(super) async fn describe(&self, mut held: Held) -> Result<Candidate, Unready> {
        match self.candidate(&mut held).await {
            Ok((source, succession)) => Ok(Candidate { source, held, succession }),
            Err(Useless::Failed(error)) => {
                held.report_failure(&error);
                Err(Unready::Failed(error))
            }
            Err(Useless::Changed(found, why)) if self.tells() => {
                Err(Unready::Other(Box::new(Other { found: *found, held, why })))
            }
            Err(Useless::Changed(_, why)) => Err(Unready::Failed(Error::UpstreamProtocol {
                endpoint: held.url.to_string(),
                reason: changed(&why),
            })),
        }
    }

    /// Whether readers are told of another form.
    fn tells(&self) -> bool {
        self.making.settings().failover.on_change == OnChange::Announce
    }

    async fn candidate(&self, held: &mut Held) -> Result<(Trial<Source>, Succession), Useless> {
        let Making { worker, resolved, via, .. } = &*self.making;
        let settings = &self.making.settings();
        let found = ask(worker, resolved, settings, held, via).await?;
        let numbers = match self.line.successor(&found.described().description) {
            Ok(numbers) => numbers,
            Err(why) => return Err(Useless::Changed(Box::new(found), why)),
        };
        let source = Source::new(&self.making, found);
        let (name, next) = (source.name(), source.described().description.clone());
        let source = Trial::new(worker, source);
        Ok((source, Succession::new(name, numbers, &next)))
    }

    /// Has an endpoint take over; its answer to PLAY, if that was asked for.
    async fn take_over(
        &self,
        held: &mut Held,
        now: &Now<'_>,
    ) -> Result<(Source, Option<PlayAnswer>), Useless> {
        let (mut trial, succession) = self.candidate(held).await?;
        let Some(home) = now.home else { return Ok((trial.keep()?, None)) };
        let source = trial.session()?;
        source.set_up().await?;
        home.succeed(Instant::now(), &succession);
        source.attach(home);
        let answer = match now.request {
            Some(request) => Some(source.play(request, true).await?),
            None => None,
        };
        Ok((trial.keep()?, answer))
    }

    /// Tries one endpoint after the other until one has taken over: first the one that the server named, last the one that failed, and
    /// then all again. Where `is_over` says that a member has ended the stream, it is over when all say that there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn run(
        &self,
        failed: Held,
        named: Option<Held>,
        is_over: bool,
        now: Now<'_>,
    ) -> Result<Taken, String> {
        let Making { resolved, .. } = &*self.making;
        let settings = self.making.settings();
        let hold = settings.failover.hold;
        let deadline = Instant::now() + hold;
        let mut attempts = resolved.attempts();
        attempts.leave_out(&failed);
        drop(failed);
        let mut first = named;
        let mut backoff = FIRST_BACKOFF;
        let mut last = "no endpoint is left".to_owned();
        // Whether some were asked since all were tried, and none said anything but that there is no such stream.
        let mut none_has_it = None;
        let mut other = None;
        loop {
            let mut held = match first.take().map_or_else(|| attempts.next(), Ok) {
                Ok(held) => held,
                Err(_) if other.is_some() => return other.ok_or(last).map(Taken::Other),
                Err(_) if is_over && none_has_it == Some(true) => return Err(last),
                Err(_) => {
                    none_has_it = None;
                    let until = Instant::now() + backoff;
                    if until >= deadline {
                        return Err(format!("no endpoint has it after {} ms: {last}", hold.as_millis()));
                    }
                    tokio::time::sleep_until(until.into()).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                    attempts = resolved.attempts();
                    continue;
                }
            };
            let began = Instant::now();
            let (endpoint, hub) = (held.url.to_string(), self.making.handle.id);
            let patience = (hold / 3).max(LEAST_ATTEMPT).min(deadline.saturating_duration_since(began));
            let attempt = tokio::time::timeout(patience, self.take_over(&mut held, &now)).await;
            attempts.leave_out(&held);
            let is_none =
                matches!(&attempt, Ok(Err(Useless::Failed(Error::UpstreamStatus { status: 404, .. }))));
            last = match attempt {
                Ok(Ok((source, answer))) => {
                    held.report_success();
                    return Ok(Taken::Source(Box::new(Following { source, held, answer })));
                }
                Ok(Err(Useless::Changed(found, why))) => {
                    let why = format!("{endpoint}: {}", changed(&why));
                    match settings.failover.on_change {
                        OnChange::Skip => {}
                        OnChange::End => return Err(why),
                        // Unless one of those that were not asked yet has the form that readers know.
                        OnChange::Announce => {
                            other.get_or_insert(Box::new(Other { found: *found, held, why: why.clone() }));
                        }
                    }
                    why
                }
                Ok(Err(Useless::Failed(error))) => {
                    held.report_failure(&error);
                    error.to_string()
                }
                Err(_) => {
                    held.report(Outcome::TimedOut);
                    format!("{endpoint}: not set up in {} ms", patience.as_millis())
                }
            };
            none_has_it = Some(none_has_it.unwrap_or(true) && is_none);
            tracing::warn!(hub, cluster = settings.name, error = last, "endpoint cannot take over");
            if Instant::now() >= deadline {
                let none = format!("no endpoint has it after {} ms: {last}", hold.as_millis());
                return other.ok_or(none).map(Taken::Other);
            }
        }
    }
}

fn changed(why: &str) -> String {
    format!("has the stream in a form that its readers cannot take: {why}")
}
