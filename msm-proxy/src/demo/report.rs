//! What the demo's reader saw in a second.

use std::time::{Duration, Instant};

use msm::Packet;
use msm_core::rtp::Header;
use msm_core::stats::ReceiverStats;
use serde::Serialize;

use super::conditions::milliseconds;
use super::source::{SEND_TIME_ID, age};

/// One second of the demo.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Second {
    pub(crate) second: u64,
    /// Packets since the start, all tracks.
    pub(crate) packets: u64,
    /// Packets that the reader missed since the start: nothing brought them back in time.
    pub(crate) unrecovered: u64,
    /// Bits of RTP in this second.
    pub(crate) bitrate: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), the larger of the tracks.
    pub(crate) jitter_ms: f64,
    /// From the source's send to this reader, median of the second.
    pub(crate) latency_ms: f64,
    /// The same, 99th percentile.
    pub(crate) latency_p99_ms: f64,
    /// What of that is not the link's delay: the wait for packets that had to come again, above all. The median.
    pub(crate) waited_ms: f64,
    /// The same, 99th percentile.
    pub(crate) waited_p99_ms: f64,
}

/// Counts packets and makes a [`Second`] of them.
pub(crate) struct Report {
    tracks: Vec<(Option<ReceiverStats>, u32)>,
    /// Of the link, one way.
    delay: Duration,
    second: u64,
    bits: u64,
    latencies: Vec<Duration>,
}

impl Report {
    /// `clock_rates` are those of the tracks, in their order; `delay` is the link's.
    pub(crate) fn new(clock_rates: &[u32], delay: Duration) -> Self {
        Self {
            tracks: clock_rates.iter().map(|rate| (None, *rate)).collect(),
            delay,
            second: 0,
            bits: 0,
            latencies: Vec::new(),
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, packet: &Packet) {
        self.bits += packet.raw().len() as u64 * 8;
        let Ok(view) = packet.view() else { return };
        for element in view.extensions().flatten() {
            if element.id == SEND_TIME_ID {
                self.latencies.extend(age(element.data));
            }
        }
        if let Some((stats, clock_rate)) = self.tracks.get_mut(packet.track) {
            let header: Header = view.header();
            let stats = stats.get_or_insert_with(|| ReceiverStats::new(header.ssrc));
            stats.handle_rtp(now, &header, *clock_rate);
        }
    }

    fn stats(&self) -> impl Iterator<Item = &ReceiverStats> {
        self.tracks.iter().filter_map(|(stats, _)| stats.as_ref())
    }

    /// Ends the current second.
    pub(crate) fn second(&mut self) -> Second {
        self.second += 1;
        self.latencies.sort_unstable();
        let at = |share: usize| {
            let index = (self.latencies.len() * share / 100).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).copied().unwrap_or_default()
        };
        let (latency, latency_p99) = (at(50), at(99));
        let report = Second {
            second: self.second,
            packets: self.stats().map(ReceiverStats::packets).sum(),
            unrecovered: self.stats().map(ReceiverStats::lost).sum(),
            bitrate: std::mem::take(&mut self.bits),
            jitter_ms: self.stats().map(|stats| milliseconds(stats.jitter())).fold(0.0, f64::max),
            latency_ms: milliseconds(latency),
            latency_p99_ms: milliseconds(latency_p99),
            waited_ms: milliseconds(latency.saturating_sub(self.delay)),
            waited_p99_ms: milliseconds(latency_p99.saturating_sub(self.delay)),
        };
        self.latencies.clear();
        report
    }
}
