//! Addresses under challenge.

use std::time::{Duration, Instant};

use super::Ends;

/// Addresses that may be under challenge at a time; the oldest gives way.
const CANDIDATES: usize = 3;
/// A candidate is sent at most so many times the bytes that came from it (`RFC 9000 §8.1`).
const AMPLIFICATION: usize = 3;
/// The first pause between two challenges; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// A candidate is forgotten after this.
const LIFE: Duration = Duration::from_secs(5);

/// An address under challenge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) address: Ends,
    nonce: [u8; 16],
    since: Instant,
    /// When the last challenge was sent; its answer measures the round trip if it was the only one.
    sent: Option<Instant>,
    tries: u32,
    next: Instant,
    pause: Duration,
    /// Bytes that may still be sent to it.
    credit: usize,
    /// Named by the signalling, over TLS: no stranger.
    known: bool,
    /// All its challenges were as long as the datagrams that every way must take.
    pub(super) full: bool,
}

impl Candidate {
    /// The round trip, if the answer that came now can only be to one challenge.
    pub(super) fn rtt(&self, now: Instant) -> Option<Duration> {
        self.sent.filter(|_| self.tries == 1).map(|sent| now.saturating_duration_since(sent))
    }

    fn may_cost(&self, bytes: usize) -> bool {
        self.known || self.credit >= bytes
    }
}

/// How long a challenge is in its datagram: like any that every way must take, or, where so much may not be sent, as short as
/// it can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) full: usize,
    pub(super) least: usize,
}

/// A challenge to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Challenge {
    pub(super) to: Ends,
    pub(super) nonce: [u8; 16],
    /// Bytes of the datagram.
    pub(super) length: usize,
}

/// All of them: a few.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// So many bytes came from this address; whether it is under challenge.
    pub(super) fn credit(&mut self, from: Ends, bytes: usize) -> bool {
        let Some(candidate) = self.0.iter_mut().find(|candidate| candidate.address == from) else {
            return false;
        };
        candidate.credit = candidate.credit.saturating_add(bytes.saturating_mul(AMPLIFICATION));
        true
    }

    /// Takes what an answer costs from an address's credit; false if that is not enough.
    pub(super) fn pay(&mut self, to: Ends, bytes: usize) -> bool {
        let candidate = self.0.iter_mut().find(|candidate| candidate.address == to);
        let Some(candidate) = candidate.filter(|candidate| candidate.may_cost(bytes)) else { return false };
        candidate.credit = candidate.credit.saturating_sub(bytes);
        true
    }

    /// Puts an address under challenge.
    pub(super) fn add(&mut self, now: Instant, address: Ends, known: bool, nonce: [u8; 16]) {
        self.0.retain(|own| own.address != address && now.saturating_duration_since(own.since) < LIFE);
        if self.0.len() >= CANDIDATES {
            // One that the signalling named stays.
            let oldest = self.0.iter().position(|candidate| !candidate.known).unwrap_or(0);
            self.0.remove(oldest);
        }
        let fresh = Candidate {
            address,
            nonce,
            since: now,
            sent: None,
            tries: 0,
            next: now,
            pause: FIRST_PAUSE,
            credit: 0,
            known,
            full: true,
        };
        self.0.push(fresh);
    }

    /// Takes out the one that was asked with this nonce.
    pub(super) fn answered(&mut self, nonce: &[u8; 16]) -> Option<Candidate> {
        let place = self.0.iter().position(|own| own.nonce == *nonce)?;
        Some(self.0.remove(place))
    }

    /// The next challenge that is due and may be sent.
    pub(super) fn poll(&mut self, now: Instant, lengths: Lengths) -> Option<Challenge> {
        let due = |own: &&mut Candidate| own.next <= now && own.may_cost(lengths.least);
        let candidate = self.0.iter_mut().find(due)?;
        let length = if candidate.may_cost(lengths.full) { lengths.full } else { lengths.least };
        candidate.full &= length == lengths.full;
        candidate.credit = candidate.credit.saturating_sub(length);
        candidate.next = now + candidate.pause;
        candidate.pause = (candidate.pause * 2).min(LAST_PAUSE);
        candidate.tries += 1;
        candidate.sent = Some(now);
        Some(Challenge { to: candidate.address, nonce: candidate.nonce, length })
    }

    /// When the next challenge is due.
    pub(super) fn due(&self, lengths: Lengths) -> Option<Instant> {
        self.0.iter().filter(|own| own.may_cost(lengths.least)).map(|own| own.next).min()
    }

    /// Forgets those that did not answer in time.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|candidate| now.saturating_duration_since(candidate.since) < LIFE);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
