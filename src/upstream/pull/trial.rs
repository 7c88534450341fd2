//! What is tried, and may be given up at any time.

use std::rc::Rc;

use super::apart::Apart;
use super::source::Source;
use crate::error::Error;
use crate::worker::Worker;

/// What has a session with a server.
pub(super) trait Session {
    /// Takes leave while others go on.
    fn leave(self, worker: &Rc<Worker>);
}

impl Session for Source {
    fn leave(self, worker: &Rc<Worker>) {
        self.leave_behind(worker);
    }
}

impl Session for Apart {
    fn leave(self, worker: &Rc<Worker>) {
        self.end(worker);
    }
}

/// A session that is tried. However it is given up, its server is told: whoever tries may end while it is being asked.
pub(super) struct Trial<S: Session> {
    session: Option<S>,
    worker: Rc<Worker>,
}

impl<S: Session> Trial<S> {
    pub(super) fn new(worker: &Rc<Worker>, session: S) -> Self {
        Self { session: Some(session), worker: Rc::clone(worker) }
    }

    pub(super) fn session(&mut self) -> Result<&mut S, Error> {
        self.session.as_mut().ok_or(Error::StreamEnded)
    }

    /// It has stood its trial.
    pub(super) fn keep(mut self) -> Result<S, Error> {
        self.session.take().ok_or(Error::StreamEnded)
    }
}

impl<S: Session> Drop for Trial<S> {
    fn drop(&mut self) {
        // A worker that ends runs no tasks any more.
        if let Some(session) = self.session.take()
            && !*self.worker.shared.stopping.borrow()
        {
            session.leave(&self.worker);
        }
    }
}
