//! Active checks: what is asked of an endpoint, and when an answer changes what is thought of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Endpoint, EndpointId};
use crate::rng::Rng;

/// What an endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckKind {
    /// Whether it takes a TCP connection.
    Tcp,
    /// Whether it answers OPTIONS (RFC 7826 §13.1); any status below 500 will do.
    Options,
    /// Whether it describes a stream (RFC 7826 §13.2).
    Describe {
        /// Path and query.
        resource: Arc<str>,
    },
    /// Whether RTP of a stream comes.
    Rtp {
        /// Path and query.
        resource: Arc<str>,
    },
}

/// When endpoints are checked, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveOptions {
    /// What is asked.
    pub kind: CheckKind,
    /// From one check of an endpoint to the next, give or take a tenth.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many failures in a row make a healthy endpoint unhealthy.
    pub unhealthy_after: u32,
    /// So many successes in a row make an unhealthy endpoint healthy.
    pub healthy_after: u32,
}

impl ActiveOptions {
    /// With the defaults of the configuration.
    pub fn new(kind: CheckKind) -> Self {
        ActiveOptions {
            kind,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// A check to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Whom it is of.
    pub id: EndpointId,
    /// Where that is.
    pub endpoint: Endpoint,
    /// What is asked.
    pub kind: CheckKind,
    /// How long it may take as a whole.
    pub timeout: Duration,
}

/// Why a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckFailure {
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// An answer that is none of a healthy endpoint.
    Refused {
        /// RTSP status.
        status: u16,
    },
    /// An answer that is no RTSP.
    Protocol,
    /// No media, or none but what was kept.
    Silent,
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckFailure::Unreachable => f.write_str("no connection"),
            CheckFailure::TimedOut => f.write_str("no answer in time"),
            CheckFailure::Refused { status } => write!(f, "answered {status}"),
            CheckFailure::Protocol => f.write_str("what it answered is not RTSP"),
            CheckFailure::Silent => f.write_str("no media of now came"),
        }
    }
}

/// What checks say of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Verdict {
    /// None has been answered yet: it counts as usable.
    #[default]
    Unknown,
    Healthy,
    Unhealthy(CheckFailure),
}

/// The checks of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) verdict: Verdict,
    /// The next one, or the time at which the one under way counts as lost.
    due: Option<Instant>,
    under_way: bool,
    /// Results in a row that contradict the verdict.
    against: u32,
}

/// How long after its timeout a check's answer is waited for, before it counts as one that timed out.
const GRACE: Duration = Duration::from_secs(1);

impl Checks {
    /// When [`Self::handle_timeout`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The first check is due within one interval, at a random time: a thousand endpoints that are there from the start are not checked at once.
    /// So is the next one where the interval was longer before.
    pub(super) fn start(&mut self, now: Instant, options: &ActiveOptions, rng: &mut Rng) {
        let latest = now + share(options.interval, 1.1);
        if self.due.is_none_or(|due| !self.under_way && due > latest) {
            self.due = Some(now + share(options.interval, rng.next_f64()));
        }
    }

    /// No more checks; what they have said is forgotten.
    pub(super) fn stop(&mut self) {
        *self = Checks::default();
    }

    /// Whether a check is to be made now.
    pub(super) fn begin(&mut self, now: Instant, options: &ActiveOptions) -> bool {
        if self.under_way || self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.under_way = true;
        self.due = Some(now + options.timeout + GRACE);
        true
    }

    /// Whether the check under way has been given up.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.under_way && self.due.is_some_and(|due| due <= now)
    }

    /// The check under way was none.
    pub(super) fn forget(&mut self, now: Instant, options: &ActiveOptions, rng: &mut Rng) {
        if std::mem::take(&mut self.under_way) {
            self.due = Some(now + share(options.interval, 0.9 + 0.2 * rng.next_f64()));
        }
    }

    /// An answer. Returns the new verdict if it has changed. Answers to no check are passed over.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        options: &ActiveOptions,
        rng: &mut Rng,
        outcome: Result<(), CheckFailure>,
    ) -> Option<Verdict> {
        if !self.under_way {
            return None;
        }
        self.under_way = false;
        self.due = Some(now + share(options.interval, 0.9 + 0.2 * rng.next_f64()));
        let (said, needed) = match (self.verdict, outcome) {
            (Verdict::Unknown, Ok(())) => (Verdict::Healthy, 1),
            (Verdict::Unknown, Err(why)) => (Verdict::Unhealthy(why), 1),
            (Verdict::Healthy, Err(why)) => (Verdict::Unhealthy(why), options.unhealthy_after),
            (Verdict::Unhealthy(_), Ok(())) => (Verdict::Healthy, options.healthy_after),
            (Verdict::Healthy, Ok(())) => {
                self.against = 0;
                return None;
            }
            (Verdict::Unhealthy(_), Err(why)) => {
                self.against = 0;
                self.verdict = Verdict::Unhealthy(why);
                return None;
            }
        };
        self.against = self.against.saturating_add(1);
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.verdict = said;
        Some(said)
    }
}

fn share(interval: Duration, share: f64) -> Duration {
    // An interval is at most a day and the share below 2: neither negative nor too long.
    Duration::try_from_secs_f64(interval.as_secs_f64() * share)
        .unwrap_or(interval)
        .max(Duration::from_millis(1))
}
