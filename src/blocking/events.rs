//! Events that are waited for.

use std::time::Duration;

use super::wait::wait;
use crate::error::Error;
use crate::events::Event;

/// [`crate::Events`], with a call that waits; and an iterator that does.
#[derive(Debug)]
pub struct Events {
    events: crate::Events,
}

impl Events {
    pub(super) const fn new(events: crate::Events) -> Self {
        Self { events }
    }

    /// The next event, as [`crate::Events::next`]; for `patience` at most, where it says so.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when nothing happened by then.
    pub fn recv(&mut self, patience: Option<Duration>) -> Result<Option<Event>, Error> {
        wait(self.events.next(), patience).ok_or(Error::TimedOut)
    }

    /// As [`crate::Events::try_next`].
    pub fn try_recv(&mut self) -> Option<Event> {
        self.events.try_next()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        wait(self.events.next(), None).flatten()
    }
}
