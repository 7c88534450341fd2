//! The way between two members: where the other one is, that it is really there, and what size of datagram passes.
//!
//! Media goes only to an address that answered a challenge: both sides know the keys, so a message that authenticates is
//! the other member's, but anybody may have put any address on its envelope. See [`Path`].

mod candidates;
mod ends;
mod message;
mod meter;
mod mtu;

#[cfg(test)]
mod tests;

pub use ends::Ends;
pub use message::{Kind, Message};

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::candidates::{Candidates, Challenge, Lengths};
use self::meter::Meter;
use self::mtu::Search;
use crate::rng::Rng;

/// Addresses that the signalling may name for one peer.
const REMOTES: usize = 2;
/// Answers to challenges and probes, a second.
const ANSWERS_PER_SECOND: u32 = 200;
/// Between two questions to an address that has been silent.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

/// What a [`Path`] is made with.
#[derive(Debug, Clone)]
pub struct PathConfig {
    /// What protection adds to a message, in bytes.
    pub overhead: usize,
    /// UDP payload that every way must take: one that does not is no way. Default 1200 (`RFC 9000 §14`).
    pub base: usize,
    /// The largest UDP payload to look for. Default 1472: Ethernet and IPv4.
    pub ceiling: usize,
    /// After so long without an answer UDP counts as blocked. Default 1 s.
    pub give_up: Duration,
    /// How soon a way that ended is tried again. Default 5 s.
    pub first_retry: Duration,
    /// How often from then on. Default 5 s.
    pub retry: Duration,
    /// How long the other side may be silent before it is asked. Default 800 ms: with `give_up` and the word to the other side, an
    /// end of the way is known to both within 2 s.
    pub keep_alive: Duration,
    /// How often the round trip is measured, whether media flows or not. Default 10 s.
    pub measure: Duration,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self {
            overhead: 0,
            base: 1200,
            ceiling: 1472,
            give_up: Duration::from_secs(1),
            first_retry: Duration::from_secs(5),
            retry: Duration::from_secs(5),
            keep_alive: Duration::from_millis(800),
            measure: Duration::from_secs(10),
        }
    }
}

/// What became of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEvent {
    /// The other member is there: packets may go to this address.
    Validated(Ends),
    /// It is there now.
    Moved {
        /// Where it was.
        from: Ends,
        /// Where it is.
        to: Ends,
    },
    /// Nothing passes, in one direction at least.
    Blocked {
        /// The other side said so: what is sent from here does not reach it. Otherwise it is to be told by another way, with a
        /// message of [`Kind::Blocked`].
        told: bool,
    },
    /// It passes again.
    Unblocked(Ends),
    /// The largest UDP payload that passes.
    Mtu(usize),
    /// The round trip was measured.
    RoundTrip(Duration),
}

/// What a timeout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A challenge is due again, or an answer overdue.
    Challenge,
    /// The other side has been silent.
    KeepAlive,
    /// A probe is due.
    Probe,
    /// The round trip is to be measured.
    Measure,
}

/// A message to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Ends,
    /// What.
    pub message: Message,
    /// How long it is to be at least, before protection: see [`Message::write`].
    pub pad_to: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not begun, or waiting for the first packet of a peer whose address is not known.
    Waiting,
    /// An address is under challenge for the first time; given up then.
    Trying { until: Instant },
    /// The address that packets go to.
    Open(Ends),
    /// Nothing passes; the next try.
    Blocked { again: Instant },
}

/// A challenge to the address in use, repeated until an answer or anything else comes.
#[derive(Debug, Clone, Copy)]
struct Check {
    nonce: [u8; 16],
    until: Instant,
    next: Instant,
}

/// One member's view of the way to another.
///
/// * **Inputs:** [`start`](Self::start), [`handle_authenticated`](Self::handle_authenticated) for packets of any kind,
///   [`handle_message`](Self::handle_message) for this machine's own, both only after they authenticated;
///   [`handle_too_large`](Self::handle_too_large), [`handle_timeout`](Self::handle_timeout).
/// * **Outputs**, drained after each: [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event),
///   [`poll_timeout`](Self::poll_timeout).
///
/// Whoever copies genuine packets and sends them on from another address moves nothing: that address is challenged, gets
/// three times the bytes that came from it at most, answers to copied questions among them, and does not answer.
///
/// Challenges and their answers are as long as the datagrams that every way must take (`RFC 9000 §8.2.1`), where so much may be
/// sent: a way that only lets short ones pass is none.
#[derive(Debug)]
pub struct Path {
    config: PathConfig,
    rng: Rng,
    /// Where the signalling says the peer may be.
    remotes: Vec<Ends>,
    state: State,
    started: bool,
    was_open: bool,
    candidates: Candidates,
    search: Search,
    heard: Instant,
    /// The address in use is asked, after silence.
    check: Option<Check>,
    meter: Meter,
    answers: VecDeque<Transmit>,
    tokens: (u32, Instant),
    events: VecDeque<PathEvent>,
    announced: usize,
    rejected: u64,
}

impl Path {
    /// A path that has not begun. `seed` makes nonces: 128 bits of a cipher's strength are not asked of it, as messages are
    /// encrypted; they must only not repeat.
    pub fn new(config: PathConfig, seed: u64, now: Instant) -> Self {
        let search = Search::new(config.base, config.ceiling);
        Self {
            rng: Rng::new(seed),
            remotes: Vec::with_capacity(REMOTES + 1),
            state: State::Waiting,
            started: false,
            was_open: false,
            candidates: Candidates::default(),
            announced: search.size(),
            search,
            heard: now,
            check: None,
            meter: Meter::new(config.measure),
            answers: VecDeque::new(),
            tokens: (ANSWERS_PER_SECOND, now),
            events: VecDeque::new(),
            config,
            rejected: 0,
        }
    }

    /// Where the signalling says that the peer may be: which of two it is, whichever answers first tells. More are ignored.
    pub fn add_remote(&mut self, remote: impl Into<Ends>) {
        let remote = remote.into();
        if self.remotes.len() < REMOTES && !self.remotes.contains(&remote) {
            self.remotes.push(remote);
        }
    }

    /// How soon it is tried again from now on if it ends.
    pub fn set_first_retry(&mut self, first_retry: Duration) {
        self.config.first_retry = first_retry;
    }

    /// Begins. With a known address it is challenged at once; otherwise the peer's first packet is waited for.
    pub fn start(&mut self, now: Instant) {
        self.started = true;
        self.try_open(now);
    }

    fn try_open(&mut self, now: Instant) {
        self.state = State::Trying { until: now + self.config.give_up };
        self.challenge_remotes(now);
    }

    fn challenge_remotes(&mut self, now: Instant) {
        for place in 0..self.remotes.len() {
            if let Some(remote) = self.remotes.get(place).copied() {
                self.challenge(now, remote, true);
            }
        }
    }

    /// Packets that authenticated came from this address, to that one of ours. Answers whether outputs are to be drained.
    #[inline]
    pub fn handle_authenticated(&mut self, now: Instant, from: impl Into<Ends>, bytes: usize) -> bool {
        let from = from.into();
        if self.state == State::Open(from) {
            self.heard = now;
            if self.check.is_some() {
                self.check = None;
            }
            return false;
        }
        self.stranger(now, from, bytes)
    }

    fn stranger(&mut self, now: Instant, from: Ends, bytes: usize) -> bool {
        if !self.started {
            return false;
        }
        if !self.candidates.credit(from, bytes) {
            self.challenge(now, from, false);
            self.candidates.credit(from, bytes);
        }
        self.candidates.due(self.lengths()).is_some_and(|due| due <= now)
    }

    fn challenge(&mut self, now: Instant, address: Ends, known: bool) {
        let nonce = self.nonce();
        self.candidates.add(now, address, known, nonce);
    }

    fn lengths(&self) -> Lengths {
        let least = Message::MIN_BYTES + self.config.overhead;
        Lengths { full: self.config.base.max(least), least }
    }

    /// A message that authenticated, in a datagram of `datagram` bytes, which counts as with
    /// [`handle_authenticated`](Self::handle_authenticated).
    pub fn handle_message(
        &mut self,
        now: Instant,
        from: impl Into<Ends>,
        datagram: usize,
        message: &Message,
    ) {
        let from = from.into();
        self.handle_authenticated(now, from, datagram);
        match message.kind {
            // As long as the question (`RFC 9000 §8.2.2`): the way back takes as much.
            Kind::Challenge | Kind::Check => self.answer(now, from, Kind::Response, message, datagram),
            Kind::Probe => self.answer(now, from, Kind::ProbeAck, message, 0),
            Kind::Response => self.handle_response(now, &message.nonce),
            Kind::ProbeAck => {
                self.search.handle_ack(&message.nonce);
                self.announce();
            }
            Kind::Blocked => self.handle_blocked(now),
        }
    }

    /// A message of this path that authenticated, and came by the ends of another: whoever sends packets on there, and faster,
    /// neither moves this path nor keeps what they say from counting. What they ask is answered by this one.
    pub fn handle_elsewhere(&mut self, now: Instant, datagram: usize, message: &Message) {
        match message.kind {
            // It asks whether this path is there as well, and is sent by none of ours.
            Kind::Challenge => {}
            Kind::Check => self.answer_in_use(now, Kind::Response, message, datagram),
            Kind::Probe => self.answer_in_use(now, Kind::ProbeAck, message, 0),
            Kind::Response => self.handle_response(now, &message.nonce),
            Kind::ProbeAck => {
                self.search.handle_ack(&message.nonce);
                self.announce();
            }
            Kind::Blocked => self.handle_blocked(now),
        }
    }

    /// The other side says, by another way, that nothing comes from here.
    pub fn handle_blocked(&mut self, now: Instant) {
        if let State::Open(_) = self.state {
            self.block(now, true);
        }
    }

    /// To the address that it came from; and to the one in use, as a copy from elsewhere may have been faster, and the question
    /// itself is then taken for the copy.
    fn answer(&mut self, now: Instant, to: Ends, kind: Kind, question: &Message, length: usize) {
        let cost = length.max(self.lengths().least);
        if self.state != State::Open(to) && self.candidates.pay(to, cost) && self.take_token(now) {
            self.push_answer(to, kind, question, cost);
        }
        self.answer_in_use(now, kind, question, length);
    }

    fn answer_in_use(&mut self, now: Instant, kind: Kind, question: &Message, length: usize) {
        if let State::Open(to) = self.state
            && self.take_token(now)
        {
            self.push_answer(to, kind, question, length.max(self.lengths().least));
        }
    }

    fn push_answer(&mut self, to: Ends, kind: Kind, question: &Message, length: usize) {
        let size = u16::try_from(length).unwrap_or(u16::MAX);
        let message = Message { kind, nonce: question.nonce, size };
        self.answers.push_back(Transmit { to, message, pad_to: self.padding(length) });
    }

    /// What a message is padded to, so that its datagram has this length at most.
    fn padding(&self, datagram: usize) -> usize {
        datagram.saturating_sub(self.config.overhead)
    }

    /// The answer vouches for the address that the question went to, wherever it came from (`RFC 9000 §8.2.3`): who copies
    /// packets from another address, and faster, does not keep the genuine ones from counting.
    fn handle_response(&mut self, now: Instant, nonce: &[u8; 16]) {
        if self.check.is_some_and(|check| check.nonce == *nonce) {
            self.check = None;
            self.heard = now;
            return;
        }
        if self.meter.handle_response(now, nonce) {
            self.heard = now;
            return self.tell_rtt();
        }
        let Some(candidate) = self.candidates.answered(nonce) else {
            self.rejected += 1;
            return;
        };
        let to = candidate.address;
        let event = match self.state {
            State::Open(before) if before == to => return,
            State::Open(from) => PathEvent::Moved { from, to },
            _ if self.was_open => PathEvent::Unblocked(to),
            _ => PathEvent::Validated(to),
        };
        self.state = State::Open(to);
        self.was_open = true;
        self.heard = now;
        self.check = None;
        // What others are asked does not matter any more, unless they go on sending.
        self.candidates.clear();
        self.search.start(now, candidate.full);
        self.meter.start(now, candidate.rtt(now));
        self.events.push_back(event);
        self.tell_rtt();
        self.announce();
    }

    fn tell_rtt(&mut self) {
        self.events.extend(self.meter.rtt().map(PathEvent::RoundTrip));
    }

    fn take_token(&mut self, now: Instant) -> bool {
        let (tokens, since) = self.tokens;
        if now.saturating_duration_since(since) >= Duration::from_secs(1) {
            self.tokens = (ANSWERS_PER_SECOND, now);
        }
        if self.tokens.0 == 0 && tokens == 0 {
            return false;
        }
        self.tokens.0 = self.tokens.0.saturating_sub(1);
        true
    }

    /// The kernel refused a datagram of this size.
    pub fn handle_too_large(&mut self, _now: Instant, size: usize) {
        self.search.handle_too_large(size);
        self.announce();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Trying { until } if until <= now => self.block(now, false),
            State::Blocked { again } if again <= now => {
                self.state = State::Blocked { again: now + self.config.retry };
                self.challenge_remotes(now);
            }
            State::Open(to) => {
                self.measure(now, to);
                self.keep_alive(now, to);
            }
            _ => {}
        }
        self.candidates.expire(now);
        self.announce();
    }

    fn measure(&mut self, now: Instant, to: Ends) {
        let rng = &mut self.rng;
        if let Some(nonce) = self.meter.poll(now, || nonce(rng)) {
            let message = Message { kind: Kind::Check, nonce, size: 0 };
            self.answers.push_back(Transmit { to, message, pad_to: 0 });
        }
    }

    fn keep_alive(&mut self, now: Instant, to: Ends) {
        let silent = now.saturating_duration_since(self.heard) >= self.config.keep_alive;
        let mut check = match self.check {
            Some(check) if check.until <= now => return self.block(now, false),
            Some(check) => check,
            None if silent => Check { nonce: self.nonce(), until: now + self.config.give_up, next: now },
            None => return,
        };
        if check.next <= now {
            check.next = now + CHECK_PAUSE;
            let message = Message { kind: Kind::Check, nonce: check.nonce, size: 0 };
            self.answers.push_back(Transmit { to, message, pad_to: 0 });
        }
        self.check = Some(check);
    }

    fn block(&mut self, now: Instant, told: bool) {
        if let State::Open(address) = self.state
            && !self.remotes.contains(&address)
        {
            // It may come back there.
            self.remotes.insert(0, address);
            self.remotes.truncate(REMOTES);
        }
        self.state = State::Blocked { again: now + self.config.first_retry };
        self.check = None;
        self.meter.stop();
        self.candidates.clear();
        self.search.stop();
        self.events.push_back(PathEvent::Blocked { told });
    }

    fn announce(&mut self) {
        let size = self.search.size();
        if size != self.announced {
            self.announced = size;
            self.events.push_back(PathEvent::Mtu(size));
        }
    }

    fn nonce(&mut self) -> [u8; 16] {
        nonce(&mut self.rng)
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let lengths = self.lengths();
        if let Some(Challenge { to, nonce, length }) = self.candidates.poll(now, lengths) {
            let message = Message { kind: Kind::Challenge, nonce, size: 0 };
            return Some(Transmit { to, message, pad_to: self.padding(length) });
        }
        let State::Open(to) = self.state else { return None };
        let (rtt, rng) = (self.meter.rtt(), &mut self.rng);
        let probe = self.search.poll(now, rtt, || nonce(rng));
        if self.search.has_failed() {
            self.block(now, false);
        }
        let probe = probe?;
        let size = u16::try_from(probe.size).unwrap_or(u16::MAX);
        let message = Message { kind: Kind::Probe, nonce: probe.nonce, size };
        Some(Transmit { to, message, pad_to: probe.size.saturating_sub(self.config.overhead) })
    }

    /// What became of the way, oldest first.
    pub fn poll_event(&mut self) -> Option<PathEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and then [`poll_transmit`](Self::poll_transmit).
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, Reason)> {
        if !self.started {
            return None;
        }
        let state = match self.state {
            State::Waiting => None,
            State::Trying { until: at } | State::Blocked { again: at } => Some((at, Reason::Challenge)),
            State::Open(_) => Some(match self.check {
                Some(check) => (check.until.min(check.next), Reason::Challenge),
                None => (self.heard + self.config.keep_alive, Reason::KeepAlive),
            }),
        };
        let challenges = self.candidates.due(self.lengths()).map(|due| (due, Reason::Challenge));
        let probes = self.search.poll_timeout(now).map(|due| (due, Reason::Probe));
        let measures = self.meter.poll_timeout().map(|due| (due, Reason::Measure));
        challenges.into_iter().chain(state).chain(probes).chain(measures).min_by_key(|(due, _)| *due)
    }

    /// Where packets may go.
    pub fn destination(&self) -> Option<Ends> {
        match self.state {
            State::Open(address) => Some(address),
            _ => None,
        }
    }

    /// The largest UDP payload that passes for certain.
    pub fn max_datagram(&self) -> usize {
        self.search.size()
    }

    /// The round trip, as it was measured last. `None` while there is no way.
    pub fn rtt(&self) -> Option<Duration> {
        self.meter.rtt()
    }

    /// Answers that came from elsewhere, or to nothing that was asked.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

fn nonce(rng: &mut Rng) -> [u8; 16] {
    (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
}
