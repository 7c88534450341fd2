//! A publisher whose calls wait.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_sink::Sink;

use super::events::Events;
use super::wait::wait;
use crate::api::burst::Burst;
use crate::api::stats::PublisherStats;
use crate::error::Error;
use crate::events::EndCause;

/// [`crate::Publisher`], with a call that waits for room. Dropping it ends the stream.
#[derive(Debug)]
pub struct Publisher {
    publisher: crate::Publisher,
}

impl Publisher {
    pub(super) const fn new(publisher: crate::Publisher) -> Self {
        Self { publisher }
    }

    /// As [`crate::Publisher::send`]: never waits.
    ///
    /// # Errors
    /// As of [`crate::Publisher::send`].
    pub fn send(&self, track: usize, packet: impl Into<Bytes>) -> Result<(), Error> {
        self.publisher.send(track, packet)
    }

    /// As [`crate::Publisher::send_burst`]: never waits.
    ///
    /// # Errors
    /// As of [`crate::Publisher::send`].
    pub fn send_burst(&self, track: usize, bytes: impl Into<Bytes>, segment: usize) -> Result<(), Error> {
        self.publisher.send_burst(track, bytes, segment)
    }

    /// As [`crate::Publisher::send_rtcp`]: never waits.
    ///
    /// # Errors
    /// As of [`crate::Publisher::send`].
    pub fn send_rtcp(&self, track: usize, datagram: impl Into<Bytes>) -> Result<(), Error> {
        self.publisher.send_rtcp(track, datagram)
    }

    /// Sends a burst once there is room for it, which is waited for; for `patience` at most, where it says so. Nothing is dropped.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when there was no room by then, and nothing was sent; and as of [`crate::Publisher::send`].
    pub fn feed(&mut self, burst: Burst, patience: Option<Duration>) -> Result<(), Error> {
        let mut sink = Pin::new(&mut self.publisher);
        let room = poll_fn(|cx| Sink::<Burst>::poll_ready(sink.as_mut(), cx));
        wait(room, patience).ok_or(Error::TimedOut)??;
        Sink::<Burst>::start_send(sink, burst)
    }

    /// As [`crate::Publisher::readers`].
    #[must_use]
    pub fn readers(&self) -> usize {
        self.publisher.readers()
    }

    /// As [`crate::Publisher::is_ended`].
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.publisher.is_ended()
    }

    /// As [`crate::Publisher::end_cause`].
    #[must_use]
    pub fn end_cause(&self) -> Option<EndCause> {
        self.publisher.end_cause()
    }

    /// As [`crate::Publisher::stats`].
    ///
    /// # Errors
    /// As of [`crate::Publisher::stats`].
    pub fn stats(&self) -> Result<PublisherStats, Error> {
        wait(self.publisher.stats(), None).ok_or(Error::Stopped)?
    }

    /// As [`crate::Publisher::events`].
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.publisher.events())
    }

    /// As [`crate::Publisher::close`], for `patience` at most, where it says so.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when its URL was not free by then; the stream ends all the same.
    pub fn close(self, patience: Option<Duration>) -> Result<(), Error> {
        wait(self.publisher.close(), patience).ok_or(Error::TimedOut)
    }

    /// The publisher itself, for a runtime of the application's.
    #[must_use]
    pub fn into_async(self) -> crate::Publisher {
        self.publisher
    }
}
