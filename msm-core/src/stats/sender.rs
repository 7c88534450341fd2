//! What the sender to one reader counts, and learns from that reader's reports (RFC 3550 §6.4.1).

use std::time::{Duration, Instant};

use super::ticks_to_duration;
use crate::ntp::{self, NtpTime};
use crate::rtcp::{ReportBlock, SenderInfo};

/// Sender reports that are remembered: a reader's answer may refer to one before the last.
const REMEMBERED: usize = 4;

/// What a reader said in its last report block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerReport {
    /// Round-trip time, if the block refers to a sender report of ours.
    pub rtt: Option<Duration>,
    /// Share of packets lost in the reader's last interval, 0–1.
    pub fraction_lost: f32,
    /// Packets lost since the beginning; negative if there were more duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number that the reader has, with its count of cycles in the upper 16 bits.
    pub extended_highest_sequence: u32,
    /// Jitter that the reader measures.
    pub jitter: Duration,
    /// When the report arrived.
    pub arrival: Instant,
}

/// Counts of one source as it is sent to one reader.
///
/// Round-trip times are measured on the own monotonic clock: sender reports may carry the wall clock of the source,
/// which is not the own one.
#[derive(Clone, Debug)]
pub struct SenderStats {
    ssrc: u32,
    packets: u64,
    octets: u64,
    sent_reports: [Option<(u32, Instant)>; REMEMBERED],
    last_report: Option<PeerReport>,
    last_rtt: Option<Duration>,
}

impl SenderStats {
    /// Counts of the source `ssrc`, of which nothing has been sent.
    #[must_use]
    pub const fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            packets: 0,
            octets: 0,
            sent_reports: [None; REMEMBERED],
            last_report: None,
            last_rtt: None,
        }
    }

    /// Counts `packets` packets sent with `octets` bytes of payload in sum, without headers and padding.
    #[inline]
    pub const fn handle_sent(&mut self, packets: u64, octets: u64) {
        self.packets = self.packets.wrapping_add(packets);
        self.octets = self.octets.wrapping_add(octets);
    }

    /// The contents of a sender report that is sent `now`, for the instant that is `ntp` on the wall clock and
    /// `rtp_timestamp` on the media clock. Remembers it, to measure the round trip by its answer.
    pub fn sender_report(&mut self, now: Instant, ntp: NtpTime, rtp_timestamp: u32) -> SenderInfo {
        self.sent_reports.rotate_right(1);
        if let Some(slot) = self.sent_reports.first_mut() {
            *slot = Some((ntp.compact(), now));
        }
        SenderInfo {
            ssrc: self.ssrc,
            ntp,
            rtp_timestamp,
            packet_count: self.packets as u32,
            octet_count: self.octets as u32,
        }
    }

    /// Takes a report block of the reader that arrived `now`. `clock_rate` is the source's, in ticks a second.
    ///
    /// Returns what it says; `None`, and nothing changes, if it is about another source.
    pub fn handle_report_block(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        clock_rate: u32,
    ) -> Option<PeerReport> {
        if block.ssrc != self.ssrc {
            return None;
        }
        let answered = self.sent_reports.iter().flatten().find(|(compact, _)| *compact == block.last_sr);
        let rtt = answered.filter(|_| block.last_sr != 0).map(|(_, sent)| {
            let delay = ntp::compact_to_duration(block.delay_since_last_sr);
            now.saturating_duration_since(*sent).saturating_sub(delay)
        });
        self.last_rtt = rtt.or(self.last_rtt);
        self.last_report = Some(PeerReport {
            rtt,
            fraction_lost: f32::from(block.fraction_lost) / 256.0,
            cumulative_lost: block.cumulative_lost,
            extended_highest_sequence: block.extended_highest_sequence,
            jitter: ticks_to_duration(block.jitter, clock_rate),
            arrival: now,
        });
        self.last_report
    }

    /// The source, as it is sent.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets sent.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes sent, without headers and padding.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// When the last sender report was sent.
    #[must_use]
    pub fn last_sender_report(&self) -> Option<Instant> {
        self.sent_reports.first().copied().flatten().map(|(_, sent)| sent)
    }

    /// The reader's last report.
    #[must_use]
    pub const fn last_report(&self) -> Option<PeerReport> {
        self.last_report
    }

    /// The last round-trip time that was measured.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.last_rtt
    }
}
