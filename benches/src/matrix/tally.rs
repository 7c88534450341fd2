//! What came of a run.

use std::time::{Duration, Instant};

use super::cell::Cell;
use super::ideal::Code;
use super::traffic::{PACKET_BYTES, sent_after};

/// Bytes that every packet costs besides its UDP payload: headers of IPv4 and UDP.
pub const HEADERS: usize = 28;

/// A packet that is handed over later than the budget says by more than this is lost to the reader. An end measures times; it is not
/// told them.
pub const GRACE: Duration = Duration::from_millis(1);

/// How finely delays are told apart, and how long the longest is that is told from longer ones.
const RESOLUTION: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_secs(1);

/// What came of a run. Nothing of the first [`Cell::WARM_UP`] is in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Packets of the stream.
    pub packets: u64,
    /// Those that the reader did not get in time.
    pub missing: u64,
    /// Those among them that it got too late.
    pub late: u64,
    /// Packets that it got again, or out of order, or that nobody sent: not missing, but wrong.
    pub wrong: u64,
    /// Bytes on the wire in both directions, beyond those of the stream itself, as a share of the latter. Headers of IP and UDP are
    /// counted on both sides.
    pub overhead: f64,
    /// Median of the time from when a packet could have arrived, had nothing been lost, to when the reader got it.
    pub delay_p50: Duration,
    /// What that is at most for 99 of 100 packets.
    pub delay_p99: Duration,
    /// Share of all packets that the links lost towards the reader.
    pub wire_loss: f64,
    /// All packets on the wire, in both directions, those of the warm-up included.
    pub wire_packets: u64,
    /// The code that the sender used at the end.
    pub code: Option<Code>,
    /// Time that the run took.
    pub took: Duration,
}

impl Outcome {
    /// Share of the stream that the reader did not get in time.
    #[must_use]
    pub fn residual(&self) -> f64 {
        self.missing as f64 / self.packets.max(1) as f64
    }
}

/// Counts, while a run is under way.
#[derive(Debug)]
pub(super) struct Tally {
    cell: Cell,
    start: Instant,
    /// Packets of the warm-up.
    first: u64,
    packets: u64,
    in_time: u64,
    late: u64,
    wrong: u64,
    /// The next index that is in order.
    next: u64,
    delays: Vec<u32>,
    bytes: u64,
}

impl Tally {
    pub(super) fn new(cell: &Cell, first: u64, packets: u64, start: Instant) -> Self {
        let buckets = LONGEST.as_nanos() / RESOLUTION.as_nanos() + 1;
        Self {
            cell: *cell,
            start,
            first,
            packets,
            in_time: 0,
            late: 0,
            wrong: 0,
            next: 0,
            delays: vec![0; buckets as usize],
            bytes: 0,
        }
    }

    /// An end has sent a packet.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) {
        if now.saturating_duration_since(self.start) >= Cell::WARM_UP {
            self.bytes += (bytes + HEADERS) as u64;
        }
    }

    /// The reader has got the packet `index`.
    pub(super) fn delivered(&mut self, now: Instant, index: u64) {
        if index < self.next || index >= self.first + self.packets {
            self.wrong += 1;
            return;
        }
        self.next = index + 1;
        if index < self.first {
            return;
        }
        let could = self.start + sent_after(self.cell.rate, index) + self.cell.rtt / 2;
        if now < could {
            // Out of thin air.
            self.wrong += 1;
        }
        let delay = now.saturating_duration_since(could);
        if delay > self.cell.latency() + GRACE {
            self.late += 1;
        } else {
            self.in_time += 1;
        }
        let bucket = (delay.as_nanos() / RESOLUTION.as_nanos()) as usize;
        let last = self.delays.len() - 1;
        if let Some(count) = self.delays.get_mut(bucket.min(last)) {
            *count += 1;
        }
    }

    pub(super) fn finish(
        self,
        wire_loss: f64,
        wire_packets: u64,
        code: Option<Code>,
        took: Duration,
    ) -> Outcome {
        let stream = self.packets * (PACKET_BYTES + HEADERS) as u64;
        Outcome {
            packets: self.packets,
            missing: self.packets - self.in_time,
            late: self.late,
            wrong: self.wrong,
            overhead: self.bytes as f64 / stream as f64 - 1.0,
            delay_p50: self.quantile(0.5),
            delay_p99: self.quantile(0.99),
            wire_loss,
            wire_packets,
            code,
            took,
        }
    }

    /// The delay that a share `share` of what was delivered has at most.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.in_time + self.late) as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, &count) in (0_u32..).zip(&self.delays) {
            seen += u64::from(count);
            if seen >= wanted {
                return RESOLUTION * bucket;
            }
        }
        LONGEST
    }
}
