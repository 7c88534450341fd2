//! A source that plays into a hub of its own, which nobody reads: one that is kept ready to take over, or the shadow of a stream.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::run::FIRST_MEDIA;
use super::source::{Lost, Reason, Source};
use super::trial::Trial;
use crate::cluster::Held;
use crate::error::Error;
use crate::hub::handle::{HubHandle, PlayRequest};
use crate::hub::home::Home;
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// See the [module](self).
pub(crate) struct Apart {
    pub(super) source: Source,
    pub(super) held: Held,
    /// What it feeds: statistics, reports, and what it has sent since its last keyframe.
    pub(super) home: Own,
    pub(super) since: Instant,
}

/// A hub that ends with what holds it.
pub(crate) struct Own(Rc<Home>);

impl std::ops::Deref for Own {
    type Target = Rc<Home>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

impl Apart {
    /// Sets a source up, and has it play to the hub of `handle`, which is made for it.
    pub(crate) async fn play(
        worker: &Rc<Worker>,
        source: Source,
        held: Held,
        handle: Arc<HubHandle>,
        request: &PlayRequest,
    ) -> Result<Self, Error> {
        let mut trial = Trial::new(worker, source);
        let begun = async {
            let source = trial.session()?;
            source.set_up().await?;
            let home = Own(Home::start(worker, handle, worker.shared.seed(), Instant::now()));
            source.attach(&home);
            source.play(request, true).await?;
            Ok(home)
        };
        let begun: Result<Own, Error> = begun.await;
        let home = begun.inspect_err(|error| held.report_failure(error))?;
        Ok(Self { source: trial.keep()?, held, home, since: Instant::now() })
    }

    /// Its URL, for people.
    pub(crate) fn name(&self) -> String {
        self.source.name()
    }

    /// Drives the source, until it has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Lost {
        self.source.next().await
    }

    /// Says what its packets show of the endpoint. To be called at least once a second.
    pub(super) fn observe(&self, now: Instant) {
        self.home.observe(now, &self.held);
    }

    /// Says what its packets show of the endpoint, and looks after the source.
    pub(crate) async fn look_after(&mut self, now: Instant) -> Result<(), Lost> {
        self.observe(now);
        self.source.look_after(now).await
    }

    /// Says what its end says of the endpoint.
    pub(crate) fn report(&self, lost: &Lost) {
        if let Some(outcome) = lost.reason.outcome() {
            self.held.report(outcome);
        }
    }

    /// Tells when [`Self::objection`] may be another because of its endpoint.
    pub(crate) fn changes(&self) -> Option<watch::Receiver<u64>> {
        self.held.changes()
    }

    /// How long it may try another transport before it counts as silent, where it is [looked after](Self::look_after).
    pub(crate) fn patience(&self) -> Duration {
        self.source.patience()
    }

    /// Why it is of no use, if it is not. A source that has brought nothing yet is given `patience` beside what all are.
    pub(crate) fn objection(
        &self,
        now: Instant,
        settings: &ClusterSettings,
        patience: Duration,
    ) -> Option<Lost> {
        if let Some(objection) = self.held.objection() {
            return Some(Lost::new(Reason::Left, objection));
        }
        let (last, timeout) = match self.home.last_rtp() {
            Some(last) => (last, settings.media_timeout),
            None => (self.since, settings.media_timeout.max(FIRST_MEDIA) + patience),
        };
        let silent = now.saturating_duration_since(last);
        (!settings.media_timeout.is_zero() && silent >= timeout)
            .then(|| Lost::new(Reason::Silent, format!("no media for {} ms", silent.as_millis())))
    }

    /// Takes leave while others go on.
    pub(crate) fn end(self, worker: &Rc<Worker>) {
        self.source.leave_behind(worker);
    }
}
