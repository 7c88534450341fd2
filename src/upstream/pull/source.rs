//! What a stream's media comes from: a session with one endpoint, a plain one or a member.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::cluster::Outcome;
use msm_core::route::Protection;
use msm_rtsp::client::Described;
use msm_rtsp::url::RtspUrl;

use super::plain::PlainSource;
use crate::error::Error;
use crate::hop::source::MemberSource;
use crate::hub::handle::{HubHandle, ParameterAnswer, ParameterRequest, PlayAnswer, PlayRequest};
use crate::hub::home::Home;
use crate::metrics::HopKind;
use crate::routing::{ClusterSettings, Resolved};
use crate::upstream::reach::Found;
use crate::worker::Worker;

/// What all sources of one stream are made with.
pub(crate) struct Making {
    pub(crate) worker: Rc<Worker>,
    /// As they were when the stream was opened.
    first: Arc<ClusterSettings>,
    pub(crate) resolved: Resolved,
    pub(crate) via: Vec<String>,
    pub(crate) handle: Arc<HubHandle>,
}

impl Making {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        settings: Arc<ClusterSettings>,
        resolved: Resolved,
        via: Vec<String>,
        handle: &Arc<HubHandle>,
    ) -> Self {
        Self { worker: Rc::clone(worker), first: settings, resolved, via, handle: Arc::clone(handle) }
    }

    /// What the cluster's hops are made with now: a source that takes over obeys the configuration of now.
    pub(crate) fn settings(&self) -> Arc<ClusterSettings> {
        self.resolved.settings().unwrap_or_else(|| Arc::clone(&self.first))
    }

    pub(crate) fn protection(&self) -> &Protection {
        &self.resolved.protection
    }
}

/// Why a source brings nothing any more.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) reason: Reason,
    /// For people.
    pub(crate) why: String,
    /// Where the server sends us instead.
    pub(crate) to: Option<Box<RtspUrl>>,
}

/// The kinds of it; their names are the label `reason` of `msm_failovers_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The connection broke off.
    Reset,
    /// No answer came in time.
    Timeout,
    /// The server ended the session, or knows it no more.
    Ended,
    /// The source said BYE.
    Bye,
    /// The server sent us elsewhere.
    Redirected,
    /// Media stopped coming.
    Silent,
    /// The endpoint is to be left: it is ill, or not in the cluster any more.
    Left,
    /// The peer is trusted no more.
    Untrusted,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Ended => "ended",
            Self::Bye => "bye",
            Self::Redirected => "redirected",
            Self::Silent => "silent",
            Self::Left => "left",
            Self::Untrusted => "untrusted",
        }
    }

    /// What it says of the endpoint; nothing where the server has only done what it may.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Reset => Some(Outcome::Reset),
            Self::Timeout => Some(Outcome::TimedOut),
            Self::Silent => Some(Outcome::Silent),
            Self::Untrusted => Some(Outcome::Protocol),
            Self::Ended | Self::Bye | Self::Redirected | Self::Left => None,
        }
    }
}

impl Lost {
    pub(crate) fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self { reason, why: why.into(), to: None }
    }
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::UpstreamTimeout { .. } => Reason::Timeout,
            Error::StreamEnded => Reason::Ended,
            _ => Reason::Reset,
        };
        Self::new(reason, error.to_string())
    }
}

/// See the [module](self).
///
/// First [`set_up`](Self::set_up), then [`attach`](Self::attach) to where its packets go, then [`play`](Self::play); it is driven by
/// [`next`](Self::next).
pub(crate) enum Source {
    Plain(Box<PlainSource>),
    Member(Box<MemberSource>),
}

impl Source {
    pub(crate) fn new(making: &Rc<Making>, found: Found) -> Self {
        match found {
            Found::Plain(link, described) => {
                Self::Plain(Box::new(PlainSource::new(Rc::clone(making), link, described)))
            }
            Found::Member(member, described) => {
                Self::Member(Box::new(MemberSource::new(Rc::clone(making), member, described)))
            }
        }
    }

    /// Its URL, for people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Plain(source) => source.name().to_owned(),
            Self::Member(source) => source.name(),
        }
    }

    pub(crate) fn described(&self) -> &Described {
        match self {
            Self::Plain(source) => source.described(),
            Self::Member(source) => source.described(),
        }
    }

    pub(crate) fn kind(&self) -> HopKind {
        match self {
            Self::Plain(_) => HopKind::Plain,
            Self::Member(_) => HopKind::Mesh,
        }
    }

    /// Sets its tracks up; those of a member are with PLAY, in one go.
    pub(crate) async fn set_up(&mut self) -> Result<(), Error> {
        match self {
            Self::Plain(source) => source.set_up(None).await,
            Self::Member(_) => Ok(()),
        }
    }

    /// Its packets go to `home` from now on, and what that reports goes to it.
    pub(crate) fn attach(&mut self, home: &Rc<Home>) {
        match self {
            Self::Plain(source) => source.attach(home),
            Self::Member(source) => source.attach(home),
        }
    }

    /// What it brings goes nowhere any more.
    pub(crate) fn detach(&mut self) {
        match self {
            Self::Plain(source) => source.detach(),
            Self::Member(source) => source.detach(),
        }
    }

    /// Plays; `first` is the session's first PLAY.
    pub(crate) async fn play(&mut self, request: &PlayRequest, first: bool) -> Result<PlayAnswer, Error> {
        match self {
            Self::Plain(source) => source.play(request, first).await,
            Self::Member(source) => source.play(request, first).await,
        }
    }

    pub(crate) async fn pause(&mut self) -> Result<(), Error> {
        match self {
            Self::Plain(source) => source.pause().await,
            Self::Member(source) => source.pause().await,
        }
    }

    pub(crate) async fn parameter(&mut self, request: ParameterRequest) -> Result<ParameterAnswer, Error> {
        match self {
            Self::Plain(source) => source.parameter(request).await,
            Self::Member(source) => source.parameter(request).await,
        }
    }

    /// Drives it, until it has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Lost {
        match self {
            Self::Plain(source) => source.next().await,
            Self::Member(source) => source.next().await,
        }
    }

    /// What is looked at now and then: whether its peer is there and trusted, its connection new enough, its transport one that
    /// brings media.
    pub(crate) async fn look_after(&mut self, now: Instant) -> Result<(), Lost> {
        match self {
            Self::Plain(source) => source.look_after(now).await,
            Self::Member(source) => source.look_after(),
        }
    }

    /// Whether its peer is still there and trusted, for one that is kept ready.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Lost> {
        match self {
            Self::Plain(source) => source.check(now),
            Self::Member(source) => source.look_after(),
        }
    }

    /// How long it may still try another transport before it counts as silent.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::Plain(source) => source.patience(),
            Self::Member(_) => Duration::ZERO,
        }
    }

    /// Takes leave; what still comes goes nowhere.
    pub(crate) async fn leave(mut self) {
        self.detach();
        match self {
            Self::Plain(source) => source.leave().await,
            Self::Member(source) => source.leave(),
        }
    }

    /// Takes leave while others go on.
    pub(crate) fn leave_behind(mut self, worker: &Rc<Worker>) {
        self.detach();
        let pass = worker.upstream();
        tokio::task::spawn_local(async move {
            self.leave().await;
            drop(pass);
        });
    }
}

/// As [`Source::next`], of one that may be absent.
pub(super) async fn next_of(source: Option<&mut Source>) -> Lost {
    match source {
        Some(source) => source.next().await,
        None => pending().await,
    }
}
