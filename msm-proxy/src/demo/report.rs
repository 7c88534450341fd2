//! What the demo's reader saw, a line or a JSON object a second.

use std::time::{Duration, Instant};

use msm::Packet;
use msm_core::rtp::Header;
use msm_core::stats::ReceiverStats;
use serde::Serialize;

use super::source::{SEND_TIME_ID, age};

/// One second of the demo.
#[derive(Debug, Serialize)]
pub(crate) struct Second {
    second: u64,
    /// Packets since the start, all tracks.
    pub(crate) packets: u64,
    /// Packets missing since the start.
    pub(crate) lost: u64,
    /// Missing packets that nothing brought back.
    pub(crate) unrecovered: u64,
    /// Bits of RTP in this second.
    pub(crate) bitrate: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), the larger of the tracks.
    pub(crate) jitter_ms: f64,
    /// From the source's send to this reader, median of the second.
    pub(crate) latency_ms: f64,
    /// The same, 99th percentile.
    pub(crate) latency_p99_ms: f64,
}

/// Counts packets and makes a [`Second`] of them.
pub(crate) struct Report {
    tracks: Vec<(Option<ReceiverStats>, u32)>,
    second: u64,
    bits: u64,
    latencies: Vec<Duration>,
}

impl Report {
    /// `clock_rates` are those of the tracks, in their order.
    pub(crate) fn new(clock_rates: &[u32]) -> Self {
        Self {
            tracks: clock_rates.iter().map(|rate| (None, *rate)).collect(),
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
            self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        let (latency_ms, latency_p99_ms) = (at(50), at(99));
        let lost: u64 = self.stats().map(ReceiverStats::lost).sum();
        let report = Second {
            second: self.second,
            packets: self.stats().map(ReceiverStats::packets).sum(),
            lost,
            // Nothing repairs on a plain hop.
            unrecovered: lost,
            bitrate: std::mem::take(&mut self.bits),
            jitter_ms: self.stats().map(|stats| stats.jitter().as_secs_f64() * 1000.0).fold(0.0, f64::max),
            latency_ms,
            latency_p99_ms,
        };
        self.latencies.clear();
        report
    }
}

impl Second {
    /// For people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{:>4} s  {:>8} packets  {:>7.1} kbit/s  lost {}  jitter {:.2} ms  added latency {:.2} ms (p99 {:.2})",
            self.second,
            self.packets,
            self.bitrate as f64 / 1000.0,
            self.lost,
            self.jitter_ms,
            self.latency_ms,
            self.latency_p99_ms,
        )
    }
}
