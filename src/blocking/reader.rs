//! A reader whose calls wait.

use std::time::Duration;

use msm_rtsp::sdp::Description;

use super::events::Events;
use super::wait::wait;
use crate::api::burst::Burst;
use crate::api::packet::Packet;
use crate::api::stats::ReaderStats;
use crate::error::Error;
use crate::events::EndCause;

/// [`crate::Reader`], with calls that wait. Dropping it leaves the stream.
#[derive(Debug)]
pub struct Reader {
    reader: crate::Reader,
}

impl Reader {
    pub(super) const fn new(reader: crate::Reader) -> Self {
        Self { reader }
    }

    /// What the stream is made of.
    #[must_use]
    pub fn description(&self) -> &Description {
        self.reader.description()
    }

    /// The next packet, as [`crate::Reader::next`]; for `patience` at most, where it says so.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when nothing came by then, and as of [`crate::Reader::next`].
    pub fn recv(&mut self, patience: Option<Duration>) -> Result<Option<Packet>, Error> {
        wait(self.reader.next(), patience).ok_or(Error::TimedOut)?
    }

    /// The next packets that came together, as [`crate::Reader::recv_burst`]; for `patience` at most, where it says so.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when nothing came by then, and as of [`crate::Reader::next`].
    pub fn recv_burst(&mut self, patience: Option<Duration>) -> Result<Option<Burst>, Error> {
        wait(self.reader.recv_burst(), patience).ok_or(Error::TimedOut)?
    }

    /// Packets until the stream is over.
    #[must_use]
    pub const fn packets(self) -> Packets {
        Packets(self)
    }

    /// As [`crate::Reader::pause`].
    ///
    /// # Errors
    /// The upstream refused.
    pub fn pause(&mut self) -> Result<(), Error> {
        wait(self.reader.pause(), None).ok_or(Error::Stopped)?
    }

    /// As [`crate::Reader::resume`].
    ///
    /// # Errors
    /// As of [`crate::Reader::resume`].
    pub fn resume(&mut self) -> Result<(), Error> {
        wait(self.reader.resume(), None).ok_or(Error::Stopped)?
    }

    /// As [`crate::Reader::is_ended`].
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.reader.is_ended()
    }

    /// As [`crate::Reader::end_cause`].
    #[must_use]
    pub fn end_cause(&self) -> Option<EndCause> {
        self.reader.end_cause()
    }

    /// As [`crate::Reader::stats`].
    ///
    /// # Errors
    /// As of [`crate::Reader::stats`].
    pub fn stats(&self) -> Result<ReaderStats, Error> {
        wait(self.reader.stats(), None).ok_or(Error::Stopped)?
    }

    /// As [`crate::Reader::events`].
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.reader.events())
    }

    /// The reader itself, for a runtime of the application's.
    #[must_use]
    pub fn into_async(self) -> crate::Reader {
        self.reader
    }
}

/// The packets of a [`Reader`], each waited for.
#[derive(Debug)]
pub struct Packets(Reader);

impl Iterator for Packets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        self.0.recv(None).ok().flatten()
    }
}
