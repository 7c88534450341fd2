//! The sender's half: answers to requests, bounded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::history::{History, micros};
use super::rtx::OVERHEAD;
use super::{MAX_ANSWERS, MAX_REQUEST};

/// Answers that wait for being polled; what is asked for beyond is refused.
const MAX_QUEUE: usize = 4 * MAX_REQUEST;

/// Numbers of one datagram that are looked at: more than a datagram of 1500 bytes can name.
const MAX_NUMBERS: usize = 8192;

/// What a responder may do.
#[derive(Debug, Clone, Copy)]
pub struct ResponderConfig {
    /// Answers, as a share of the media's bytes. Default 0.5.
    ///
    /// A receiver gets at most `1 + share` times the media's bytes, plus `start` (from any later time on `burst`) once, whatever it
    /// asks for and how often: the amplification. What a retransmission is longer by counts, too. Nothing is answered if it is zero.
    pub share: f64,
    /// Bytes of answers that may go out before there was any media to have a share of. Default 256 KiB.
    pub start: usize,
    /// Bytes of answers that may go out at once after a time without any. Default 256 KiB.
    pub burst: usize,
    /// A round trip, while none was measured: one answer a packet in three quarters of it. Default 20 ms.
    pub rtt: Duration,
}

impl Default for ResponderConfig {
    fn default() -> Self {
        Self { share: 0.5, start: 256 << 10, burst: 256 << 10, rtt: Duration::from_millis(20) }
    }
}

/// A packet to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<R> {
    /// Its index.
    pub index: u64,
    /// The caller's reference to it.
    pub reference: R,
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponderStats {
    /// Packets named by requests, copies counted.
    pub requested: u64,
    /// Packets sent again.
    pub answered: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Named again within a round trip.
    pub suppressed: u64,
    /// Named, and never sent or not kept any more.
    pub unknown: u64,
    /// Refused because answers would be too many.
    pub throttled: u64,
}

/// Answers requests from a [`History`]: a packet once in three quarters of a round trip, or as many times as one datagram named
/// it ([`MAX_ANSWERS`] at most), and no more bytes than a share of the media has.
///
/// Copies of a request find their packets answered. A request that comes in the next round is another one, also if its way
/// was a little faster; hence the three quarters.
#[derive(Debug)]
pub struct Responder {
    config: ResponderConfig,
    allowance: Allowance,
    datagram: u32,
    queue: VecDeque<u64>,
    stats: ResponderStats,
}

impl Responder {
    /// One that may answer what it may at its start.
    #[must_use]
    pub fn new(config: ResponderConfig) -> Self {
        Self {
            config,
            allowance: Allowance::new(config.share, config.start, config.burst),
            datagram: 0,
            queue: VecDeque::new(),
            stats: ResponderStats::default(),
        }
    }

    /// Changes what it may do.
    pub fn set_config(&mut self, config: ResponderConfig) {
        self.config = config;
        self.allowance.set(config.share, config.burst);
    }

    /// What it may do.
    #[must_use]
    pub const fn config(&self) -> ResponderConfig {
        self.config
    }

    /// A round trip was measured.
    pub const fn set_rtt(&mut self, rtt: Duration) {
        self.config.rtt = rtt;
    }

    /// So many bytes of media were sent: a share of them may be answers.
    #[inline]
    pub fn handle_media(&mut self, bytes: usize) {
        self.allowance.earn(bytes);
    }

    /// So many bytes of something else were sent beside the media, which has its part in the same share.
    #[inline]
    pub fn handle_beside(&mut self, bytes: usize) {
        self.allowance.spend(bytes as f64);
    }

    /// Whether anything may be sent beside the media now.
    #[inline]
    #[must_use]
    pub fn has_share_left(&self) -> bool {
        self.allowance.affords(1.0)
    }

    /// A datagram with requests came: the numbers of all its NACKs.
    pub fn handle_request<R: Copy>(
        &mut self,
        now: Instant,
        history: &mut History<R>,
        numbers: impl IntoIterator<Item = u16>,
    ) {
        // Zero is what no datagram has.
        self.datagram = self.datagram.wrapping_add(1).max(1);
        let at = history.time(now);
        let window = micros(self.config.rtt.saturating_mul(3) / 4);
        for number in numbers.into_iter().take(MAX_NUMBERS) {
            self.stats.requested += 1;
            let index = history.extend(number);
            let Some((index, (len, asked))) =
                index.and_then(|index| Some((index, history.asked_mut(index)?)))
            else {
                self.stats.unknown += 1;
                continue;
            };
            if asked.copies > 0 && at.saturating_sub(asked.answered) >= window {
                asked.copies = 0;
            }
            asked.times = if asked.datagram == self.datagram { asked.times.saturating_add(1) } else { 1 };
            asked.datagram = self.datagram;
            if asked.times.min(MAX_ANSWERS) <= asked.copies {
                self.stats.suppressed += 1;
                continue;
            }
            let cost = f64::from(len) + OVERHEAD as f64;
            if !self.allowance.affords(cost) || self.queue.len() >= MAX_QUEUE {
                self.stats.throttled += 1;
                continue;
            }
            self.allowance.spend(cost);
            if asked.copies == 0 {
                asked.answered = at;
            }
            asked.copies += 1;
            self.stats.answered += 1;
            self.stats.bytes += u64::from(len);
            self.queue.push_back(index);
        }
    }

    /// A packet to send again now. To be called until there is none.
    pub fn poll_transmit<R: Copy>(&mut self, history: &History<R>) -> Option<Answer<R>> {
        loop {
            let index = self.queue.pop_front()?;
            if let Some(reference) = history.get(index) {
                return Some(Answer { index, reference });
            }
        }
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> ResponderStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::HistoryLimits;
    use super::super::testing::{epoch, ms};
    use super::*;

    fn sent(now: Instant, count: u64, len: usize) -> History<u64> {
        let mut history = History::new(HistoryLimits::default());
        for index in 100..100 + count {
            history.push(now, index, len, index);
        }
        history
    }

    fn drain(responder: &mut Responder, history: &History<u64>) -> Vec<u64> {
        std::iter::from_fn(|| responder.poll_transmit(history)).map(|answer| answer.index).collect()
    }

    #[test]
    fn answers_once_a_round_trip_and_as_often_as_one_datagram_asked() {
        let now = epoch();
        let mut history = sent(now, 10, 1000);
        let mut responder = Responder::new(ResponderConfig::default());
        responder.handle_request(now, &mut history, [101, 102]);
        assert_eq!(drain(&mut responder, &history), [101, 102]);
        responder.handle_request(now + ms(1), &mut history, [101, 102, 103]);
        assert_eq!(drain(&mut responder, &history), [103], "a copy of the request");
        responder.handle_request(now + ms(2), &mut history, [101, 102, 101, 101]);
        assert_eq!(drain(&mut responder, &history), [101, 101], "three copies, one is out");
        responder.handle_request(now + ms(17), &mut history, [101, 101, 101, 101, 101, 101]);
        assert_eq!(drain(&mut responder, &history), [101; MAX_ANSWERS as usize], "the next round");
        let stats = responder.stats();
        assert_eq!((stats.requested, stats.answered, stats.suppressed), (15, 9, 6));
    }

    #[test]
    fn what_was_never_sent_or_is_forgotten_is_counted() {
        let now = epoch();
        let mut history = sent(now, 10, 1000);
        let mut responder = Responder::new(ResponderConfig::default());
        responder.handle_request(now, &mut history, [99, 110, 65_535, 0]);
        assert_eq!((responder.stats().unknown, drain(&mut responder, &history)), (4, vec![]));
        responder.handle_request(now, &mut history, [105]);
        history.push(now + Duration::from_secs(9), 110, 1, 110);
        assert_eq!(drain(&mut responder, &history), [] as [u64; 0], "forgotten before it was sent");
    }

    /// Everything is asked for all the time, by a peer that sees every packet.
    #[test]
    fn a_flood_is_answered_with_a_share_of_the_media() {
        let mut now = epoch();
        let config = ResponderConfig { start: 50_000, burst: 50_000, ..ResponderConfig::default() };
        let mut responder = Responder::new(config);
        let mut history = sent(now, 1, 1200);
        let mut media = 0_u64;
        for index in 101..20_101_u64 {
            now += ms(1);
            history.push(now, index, 1200, index);
            responder.handle_media(1200);
            media += 1200;
            let all = (0..=u16::MAX).rev().cycle().skip(usize::from(u16::MAX - index as u16)).take(3000);
            if index % 5 == 0 {
                responder.handle_request(now, &mut history, all);
            }
            let answers = drain(&mut responder, &history);
            assert!(answers.len() <= MAX_QUEUE);
        }
        let stats = responder.stats();
        let factor = (media + stats.bytes - 50_000) as f64 / media as f64;
        assert!(factor <= 1.0 + config.share, "{factor}");
        assert!(factor > 1.3 && stats.throttled > 0 && stats.suppressed > 0, "{factor} {stats:?}");
    }
}
