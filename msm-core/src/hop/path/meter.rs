//! The round trip of the way in use, asked for again and again: while media flows nothing else is asked.

use std::time::{Duration, Instant};

/// When to ask, and what the last answer said.
#[derive(Debug)]
pub(super) struct Meter {
    every: Duration,
    /// The question under way, and when it went out.
    asked: Option<([u8; 16], Instant)>,
    /// The next one; none while there is no way.
    next: Option<Instant>,
    rtt: Option<Duration>,
}

impl Meter {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, asked: None, next: None, rtt: None }
    }

    /// A way is open. `rtt` is what its challenge measured; without it is asked at once.
    pub(super) fn start(&mut self, now: Instant, rtt: Option<Duration>) {
        *self = Self { next: Some(rtt.map_or(now, |_| now + self.every)), rtt, ..Self::new(self.every) };
    }

    /// There is no way.
    pub(super) fn stop(&mut self) {
        *self = Self::new(self.every);
    }

    /// The question that is due. What was not answered by now was lost: it is not asked again, as an answer could not
    /// tell which of the two it is for.
    pub(super) fn poll(&mut self, now: Instant, nonce: impl FnOnce() -> [u8; 16]) -> Option<[u8; 16]> {
        self.next.filter(|next| *next <= now)?;
        let nonce = nonce();
        self.asked = Some((nonce, now));
        self.next = Some(now + self.every);
        Some(nonce)
    }

    /// Whether this answers the question under way. It is measured then.
    pub(super) fn handle_response(&mut self, now: Instant, nonce: &[u8; 16]) -> bool {
        let Some((_, sent)) = self.asked.filter(|(asked, _)| asked == nonce) else { return false };
        self.asked = None;
        self.rtt = Some(now.saturating_duration_since(sent));
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}
