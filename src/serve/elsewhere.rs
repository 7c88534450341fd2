//! Sessions that are to go elsewhere: their clients are asked to, by REDIRECT, and get their media until they leave or their time is over.

use std::rc::Rc;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use msm_rtsp::message::Request;
use msm_rtsp::server::Redirect;

use super::session::{Grant, Session};
use crate::net::tcp::Connection;
use crate::worker::Worker;

/// Where a session was sent.
pub(super) struct Sent {
    to: String,
    until: Instant,
}

impl Grant {
    /// The session is to go to `to` within this time. Answers whether its client is to be told. Who is sent somewhere else, or has been told
    /// already, has the rest of the time that it had.
    pub(crate) fn send(&self, now: Instant, to: &str, within: Duration) -> bool {
        let mut sent = self.sent();
        if sent.as_ref().is_some_and(|sent| sent.to == to) {
            return false;
        }
        let until = sent.as_ref().map_or(now + within, |sent| sent.until);
        *sent = Some(Sent { to: to.to_owned(), until });
        true
    }

    /// The session may stay after all.
    pub(crate) fn stays(&self) {
        *self.sent() = None;
    }

    /// Whether it was sent elsewhere, and has not left in its time.
    pub(super) fn outstays(&self, now: Instant) -> bool {
        self.sent().as_ref().is_some_and(|sent| sent.until <= now)
    }

    /// Tells the client by a connection of its that the session does not know, as of another worker, where it was sent, if it was.
    pub(crate) fn tell_by(&self, connection: &Connection) {
        if let Some(request) = self.redirect().filter(|_| connection.takes_requests()) {
            connection.send_request(request);
        }
    }

    fn redirect(&self) -> Option<Request> {
        let sent = self.sent();
        let Sent { to, until } = sent.as_ref()?;
        Some(self.redirect_to(to, until.saturating_duration_since(Instant::now())))
    }

    fn redirect_to(&self, to: &str, leave_within: Duration) -> Request {
        let redirect = Redirect {
            version: self.version,
            url: &self.url.to_string(),
            session: &self.id,
            to,
            now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            leave_within,
        };
        redirect.request()
    }

    fn sent(&self) -> MutexGuard<'_, Option<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Tells the client where it was sent, if it was. A client without a connection is not told, and ends when its time is over; so does one
    /// that does not read what it is sent.
    pub(crate) fn tell_where(&self) {
        let Some(request) = self.grant.redirect() else { return };
        match self.signalling().filter(|connection| connection.takes_requests()) {
            Some(connection) => connection.send_request(request),
            None => {
                tracing::debug!(session = %self.id, peer = %self.owner, "cannot be told to go elsewhere");
            }
        }
    }

    /// The connection that its client is asked by.
    fn signalling(&self) -> Option<Rc<Connection>> {
        match &self.association {
            Some(association) => association.upgrade().map(|association| association.connection()),
            None => self.connection(),
        }
    }
}

/// Asks the members that read from this worker to read from another one, as the process ends. Who has no other goes on until the end.
///
/// Plain clients are not asked: many would end at it, and with the same URL they have nowhere else to go.
pub(crate) fn send_members(worker: &Rc<Worker>) {
    for session in worker.sessions.all() {
        if session.association.is_none() || session.grant.publishes.is_some() {
            continue;
        }
        let Some(connection) = session.signalling().filter(|connection| connection.takes_requests()) else {
            continue;
        };
        // The same URL, of which this process is one of several places.
        let url = session.grant.url.to_string();
        connection.send_request(session.grant.redirect_to(&url, Duration::ZERO));
    }
}
