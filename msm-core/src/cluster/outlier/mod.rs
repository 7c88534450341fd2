//! Outliers: endpoints whose sessions fail more than they should.
//!
//! What counts against an endpoint, and what does not:
//!
//! * **A session that cannot be set up:** no connection, no answer in time, no RTSP, a status of 500 and above. 453 and 503 do not count: an
//!   endpoint that is full, or about to stop, still serves those that it has, and an ejection would take them away. Other statuses of 300
//!   and above say something of the request: a client that asks for what does not exist must not have an endpoint ejected. They count only
//!   where the same URL has been set up in this cluster within [`KNOWN_FOR`], and the same URL counts once in a row.
//! * **A connection that breaks off, media that stops:** a stream that its publisher leaves does both, so they count when they are of more
//!   than one URL, or of the endpoint's only session.
//! * **Packets that do not come** from it, above a share and above twice the share of the cluster's other endpoints: what all have in common is
//!   not the endpoint's. What readers lose is never counted.
//! * **Garbage:** packets that are no media, above a number, and in more than twice the share of all that comes that the others' have: where all
//!   bring it, it is their common source that does, or nobody but this process takes it for garbage.
//!
//! Whoever is told first is not the worst for it: where others have sessions and little was told of them, an endpoint's packets are judged
//! [`LEAST_WATCHED`] after the first of them.

mod breaks;
mod ejection;
mod known;
mod packets;

use std::time::{Duration, Instant};

pub(super) use ejection::Ejections;
pub use known::KNOWN_FOR;
pub(super) use known::Known;
pub(super) use packets::Packets;

use super::view::Why;
use super::window::Window;
use super::{Outcome, percent_of};
use breaks::Breaks;

/// When an endpoint is ejected, and for how long. A threshold of 0 turns its rule off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierOptions {
    /// What is older is forgotten.
    pub window: Duration,
    /// So many sessions in a row that could not be set up.
    pub failures: u32,
    /// This share of sessions that could not be set up, in percent.
    pub failure_ratio: u8,
    /// So many sessions are needed before their share counts.
    pub min_sessions: u32,
    /// So many sessions whose media stopped.
    pub silences: u32,
    /// So many connections that broke off.
    pub resets: u32,
    /// This share of packets that did not come, in percent.
    pub loss: u8,
    /// So many packets are needed before their share counts.
    pub min_packets: u64,
    /// So many packets that are no media.
    pub garbage: u64,
    /// How long the first ejection is, and how much longer each further one.
    pub ejection: Duration,
    /// How long an ejection is at most.
    pub max_ejection: Duration,
    /// This share of the endpoints may be ejected at a time, in percent: one at least, unless it is 0. The last one that is usable never is.
    pub max_ejected: u8,
}

impl Default for OutlierOptions {
    fn default() -> Self {
        OutlierOptions {
            window: Duration::from_secs(30),
            failures: 5,
            failure_ratio: 50,
            min_sessions: 20,
            silences: 3,
            resets: 5,
            loss: 10,
            min_packets: 2000,
            garbage: 1000,
            ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected: 50,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    set_up: u64,
    failed: u64,
    packets: Packets,
}

/// Each session tells of its packets once a second, more or less: by then all that there are have.
const LEAST_WATCHED: Duration = Duration::from_secs(2);

/// What an outcome says of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It could not set a session up.
    Endpoint,
    /// It, or whoever asked.
    Request,
    /// Nobody.
    Nobody,
}

/// Whose fault an outcome of a set-up is.
pub(super) fn blame(outcome: &Outcome) -> Blame {
    match outcome {
        Outcome::Unreachable | Outcome::TimedOut | Outcome::Protocol => Blame::Endpoint,
        Outcome::Refused { status: 453 | 503 } => Blame::Nobody,
        Outcome::Refused { status: 505 | 551 } => Blame::Request,
        Outcome::Refused { status } if *status >= 500 => Blame::Endpoint,
        // About what was asked for, and by whom (RFC 7826 §17.4), or where that is (§17.3).
        Outcome::Refused { status } if *status >= 300 => Blame::Request,
        _ => Blame::Nobody,
    }
}

/// What sessions have said of one endpoint.
#[derive(Debug)]
pub(super) struct Outliers {
    counts: Window<Counts>,
    in_a_row: u32,
    /// The URL of the last failure that may have been the request's.
    last_request: Option<u64>,
    silences: Breaks,
    resets: Breaks,
    /// When the first of the packets that are counted were told.
    watched: Option<Instant>,
}

impl Outliers {
    /// `origin` is that of all windows of the cluster: what they count is held against each other.
    pub(super) fn new(options: &OutlierOptions, origin: Instant) -> Self {
        Outliers {
            counts: Window::since(origin, options.window),
            in_a_row: 0,
            last_request: None,
            watched: None,
            silences: Breaks::default(),
            resets: Breaks::default(),
        }
    }

    fn failed(&mut self, now: Instant) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.counts.now(now).failed += 1;
    }

    /// Takes an outcome. Returns why the endpoint is an outlier, if it is one.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        options: &OutlierOptions,
        outcome: &Outcome,
        about: &About,
    ) -> Option<Why> {
        self.counts.advance(now);
        match (outcome, blame(outcome)) {
            (Outcome::SetUp { .. }, _) => {
                (self.in_a_row, self.last_request) = (0, None);
                self.counts.now(now).set_up += 1;
            }
            (_, Blame::Endpoint) => self.failed(now),
            (_, Blame::Request) if about.known && self.last_request != Some(about.url) => {
                self.last_request = Some(about.url);
                self.failed(now);
            }
            (Outcome::Silent, _) => self.silences.add(now, about.url, about.alone, options.silences),
            (Outcome::Reset, _) => self.resets.add(now, about.url, about.alone, options.resets),
            (Outcome::Loss { .. } | Outcome::Garbage { .. }, _) => {
                if self.packets().is_none() {
                    self.watched = Some(now);
                }
                self.counts.now(now).packets.add(outcome);
            }
            _ => {}
        }
        self.why(now, options, about)
    }

    fn packets(&self) -> Packets {
        Packets::sum(self.counts.parts().iter().map(|part| &part.packets))
    }

    fn why(&self, now: Instant, options: &OutlierOptions, about: &About) -> Option<Why> {
        if options.failures > 0 && self.in_a_row >= options.failures {
            return Some(Why::Failures(self.in_a_row));
        }
        let parts = self.counts.parts();
        let sum = |of: fn(&Counts) -> u64| parts.iter().map(of).fold(0, u64::saturating_add);
        let (failed, set_up) = (sum(|part| part.failed), sum(|part| part.set_up));
        let of = failed.saturating_add(set_up);
        if options.failure_ratio > 0
            && of >= u64::from(options.min_sessions.max(1))
            && percent_of(failed, of) >= f64::from(options.failure_ratio)
        {
            return Some(Why::Ratio { failed, of });
        }
        if let Some(count) = self.silences.reached(now, options.window, options.silences) {
            return Some(Why::Silences(count));
        }
        if let Some(count) = self.resets.reached(now, options.window, options.resets) {
            return Some(Why::Resets(count));
        }
        let own = self.packets();
        let others = about.cluster.without(&own);
        let watched = self.watched.map(|since| now.saturating_duration_since(since));
        let is_early = about.others && others.expected < options.min_packets && watched < Some(LEAST_WATCHED);
        if is_early {
            return None;
        }
        if options.loss > 0
            && own.expected >= options.min_packets.max(1)
            && own.loss() >= f64::from(options.loss)
            && own.loss() > 2.0 * others.loss()
        {
            return Some(Why::Loss { lost: own.lost, of: own.expected });
        }
        let is_much = options.garbage > 0 && own.garbage >= options.garbage;
        (is_much && own.garbage_share() > 2.0 * others.garbage_share()).then_some(Why::Garbage(own.garbage))
    }
}

/// What an outcome is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// A hash of the URL.
    pub(super) url: u64,
    /// Whether it has been set up in this cluster not long ago.
    pub(super) known: bool,
    /// Whether the session is the endpoint's only one.
    pub(super) alone: bool,
    /// Whether the cluster's other endpoints have sessions.
    pub(super) others: bool,
    /// The packets of all endpoints within the window.
    pub(super) cluster: Packets,
}
