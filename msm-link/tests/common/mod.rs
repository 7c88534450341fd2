//! Driving a link in virtual time.
#![allow(dead_code, reason = "each test file uses some of it")]
#![expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use msm_link::{Link, Packet};

/// A packet without content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) bytes: usize,
}

impl Packet for Numbered {
    fn size(&self) -> usize {
        self.bytes
    }
}

/// Packet `number` of 1200 bytes.
pub(crate) fn packet(number: u64) -> Numbered {
    Numbered { number, bytes: 1200 }
}

/// A link and the time since its start.
pub(crate) struct Run {
    pub(crate) link: Link<Numbered>,
    pub(crate) start: Instant,
    pub(crate) arrived: Vec<(Duration, u64)>,
}

impl Run {
    pub(crate) fn new(link: Link<Numbered>) -> Self {
        Self { link, start: Instant::now(), arrived: Vec::new() }
    }

    /// Does all that is due until `until`, at its time, and notes what arrives.
    pub(crate) fn until(&mut self, until: Duration) {
        while let Some(at) = self.link.poll_timeout().filter(|&at| at <= self.start + until) {
            while let Some(packet) = self.link.poll_arrival(at) {
                self.arrived.push((at - self.start, packet.number));
            }
        }
    }

    /// Sends packet `number` at `at`, after all that is due until then.
    pub(crate) fn send(&mut self, at: Duration, number: u64) {
        self.until(at);
        self.link.handle_send(self.start + at, packet(number)).unwrap();
    }

    pub(crate) fn finish(&mut self) {
        self.until(Duration::from_secs(1 << 30));
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.arrived.iter().map(|&(_, number)| number).collect()
    }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
