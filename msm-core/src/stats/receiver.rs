//! What the receiver of one source measures (RFC 3550 App. A.1, A.3, A.8).

use std::time::{Duration, Instant};

use super::jitter::Jitter;
use crate::ntp::{self, NtpTime};
use crate::rtcp::ReportBlock;
use crate::rtp::Header;
use crate::seq;

/// Packets in sequence before a source is valid.
pub const MIN_SEQUENTIAL: u8 = 2;

/// A step forward of this many sequence numbers or more is a jump, not loss.
pub const MAX_DROPOUT: u16 = 3_000;

/// A packet behind the highest one by more than this is a jump, not reordering.
pub const MAX_MISORDER: u16 = 100;

/// What a packet is, by its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The highest so far.
    InOrder {
        /// Sequence numbers skipped before it: they may be lost, or come later.
        gap: u16,
    },
    /// Behind the highest, and not seen before.
    Reordered,
    /// Seen before. Not to be forwarded.
    Duplicate,
    /// The source goes on at another place in its sequence: this packet confirms a jump. Counting of loss starts anew.
    Restarted,
    /// The source is not valid yet: this is the first packet, or not the successor of the one before.
    Probation,
    /// Behind the highest by more than [`MAX_MISORDER`]: not to be forwarded unless the source restarted, which the
    /// next packet will tell.
    TooOld,
    /// Ahead of the highest by [`MAX_DROPOUT`] or more: not to be forwarded unless the source restarted, which the
    /// next packet will tell.
    Jumped,
}

impl Verdict {
    /// Whether the packet belongs to the stream: it is counted, and goes on to readers.
    #[inline]
    #[must_use]
    pub const fn accepted(self) -> bool {
        matches!(self, Self::InOrder { .. } | Self::Reordered | Self::Restarted)
    }

    /// A stable name, for the label of a counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InOrder { .. } => "in_order",
            Self::Reordered => "reordered",
            Self::Duplicate => "duplicate",
            Self::Restarted => "restarted",
            Self::Probation => "probation",
            Self::TooOld => "too_old",
            Self::Jumped => "jumped",
        }
    }
}

/// The last sender report of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSenderReport {
    /// Wall-clock time of the report, on the source's clock.
    pub ntp: NtpTime,
    /// The same instant in ticks of the media clock.
    pub rtp_timestamp: u32,
    /// When it arrived.
    pub arrival: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No packet yet.
    Empty,
    /// Waiting for so many more packets in sequence.
    Probation(u8),
    Valid,
}

/// Statistics of the packets of one source (SSRC), as its receiver sees them.
///
/// Inputs are [`handle_rtp`](Self::handle_rtp) and [`handle_sender_report`](Self::handle_sender_report); a
/// [`report_block`](Self::report_block) ends an interval. The constants are those of RFC 3550 App. A.1. Other than
/// there, a packet that was seen before is told from one that is only late, and does not count towards jitter.
#[derive(Clone, Debug)]
pub struct ReceiverStats {
    ssrc: u32,
    phase: Phase,
    max_sequence: u16,
    /// The successor of the last packet that jumped.
    bad_sequence: Option<u16>,
    /// Bit n: the packet `max_sequence - n` was received.
    window: u128,
    /// Sequence numbers from the first valid packet to the highest, both included.
    expected: u64,
    /// Packets received among those, each once.
    unique: u64,
    /// As `unique`, with duplicates: what reports are computed from.
    received: u64,
    /// Loss before the last restart.
    lost_before: u64,
    /// Cycles of the sequence number since the first valid packet.
    cycles: u16,
    expected_prior: u64,
    received_prior: u64,
    jitter: Jitter,
    packets: u64,
    bytes: u64,
    duplicates: u64,
    reordered: u64,
    discarded: u64,
    restarts: u64,
    last_packet: Option<Instant>,
    last_sr: Option<LastSenderReport>,
}

impl ReceiverStats {
    /// Statistics of the source `ssrc`, which has sent nothing yet.
    #[must_use]
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            phase: Phase::Empty,
            max_sequence: 0,
            bad_sequence: None,
            window: 0,
            expected: 0,
            unique: 0,
            received: 0,
            lost_before: 0,
            cycles: 0,
            expected_prior: 0,
            received_prior: 0,
            jitter: Jitter::default(),
            packets: 0,
            bytes: 0,
            duplicates: 0,
            reordered: 0,
            discarded: 0,
            restarts: 0,
            last_packet: None,
            last_sr: None,
        }
    }

    /// Takes a packet of this source that arrived `now`.
    ///
    /// `clock_rate` is that of its payload type in ticks a second; 0 if unknown, then jitter is not measured.
    #[inline]
    pub fn handle_rtp(&mut self, now: Instant, header: &Header, clock_rate: u32) -> Verdict {
        // The common case first: the source is valid, and this is its next packet, or one a few further on.
        let step = header.sequence.wrapping_sub(self.max_sequence);
        let verdict = if self.phase == Phase::Valid && step.wrapping_sub(1) < MAX_DROPOUT - 1 {
            self.advance(header.sequence, step);
            self.unique += 1;
            self.received += 1;
            self.bad_sequence = None;
            Verdict::InOrder { gap: step - 1 }
        } else {
            self.judge(header.sequence)
        };
        if verdict.accepted() {
            self.packets += 1;
            self.bytes += u64::from(header.payload_len);
            self.last_packet = Some(now);
            self.jitter.handle(now, header.timestamp, clock_rate);
        }
        verdict
    }

    /// Moves the highest sequence number on by `step`.
    #[inline]
    fn advance(&mut self, sequence: u16, step: u16) {
        self.cycles = self.cycles.wrapping_add(u16::from(sequence < self.max_sequence));
        self.max_sequence = sequence;
        self.expected += u64::from(step);
        self.window = self.window.checked_shl(u32::from(step)).unwrap_or(0) | 1;
    }

    /// All cases but a packet that advances a valid source.
    #[inline(never)]
    fn judge(&mut self, sequence: u16) -> Verdict {
        match self.phase {
            Phase::Valid => self.judge_valid(sequence),
            Phase::Probation(left) if sequence == self.max_sequence.wrapping_add(1) => {
                self.max_sequence = sequence;
                if left <= 1 {
                    self.start(sequence);
                    self.phase = Phase::Valid;
                    Verdict::InOrder { gap: 0 }
                } else {
                    self.phase = Phase::Probation(left - 1);
                    self.discarded += 1;
                    Verdict::Probation
                }
            }
            Phase::Empty | Phase::Probation(_) => {
                self.max_sequence = sequence;
                self.phase = Phase::Probation(MIN_SEQUENTIAL - 1);
                self.discarded += 1;
                Verdict::Probation
            }
        }
    }

    fn judge_valid(&mut self, sequence: u16) -> Verdict {
        let behind = self.max_sequence.wrapping_sub(sequence);
        if behind <= MAX_MISORDER {
            let bit = 1_u128 << behind;
            let known = self.window & bit != 0;
            self.window |= bit;
            // What is from before the first valid packet was never expected.
            let expected = u64::from(behind) < self.expected;
            self.received += u64::from(expected);
            if known {
                self.duplicates += 1;
                return Verdict::Duplicate;
            }
            self.unique += u64::from(expected);
            self.reordered += 1;
            return Verdict::Reordered;
        }
        if self.bad_sequence == Some(sequence) {
            // Two in a row: the other side went to another place without telling.
            self.lost_before = self.lost();
            self.restarts += 1;
            self.start(sequence);
            return Verdict::Restarted;
        }
        self.bad_sequence = Some(sequence.wrapping_add(1));
        self.discarded += 1;
        if seq::newer(sequence, self.max_sequence) { Verdict::Jumped } else { Verdict::TooOld }
    }

    /// Starts counting at `sequence` (`init_seq` of App. A.1).
    fn start(&mut self, sequence: u16) {
        self.max_sequence = sequence;
        self.bad_sequence = None;
        self.window = 1;
        self.expected = 1;
        self.unique = 1;
        self.received = 1;
        self.cycles = 0;
        self.expected_prior = 0;
        self.received_prior = 0;
        self.jitter.break_line();
    }

    /// Takes a sender report of this source that arrived `now`.
    pub const fn handle_sender_report(&mut self, now: Instant, ntp: NtpTime, rtp_timestamp: u32) {
        self.last_sr = Some(LastSenderReport { ntp, rtp_timestamp, arrival: now });
    }

    /// The report on this source at `now`, which starts a new interval for the fraction lost (RFC 3550 App. A.3).
    ///
    /// `None` while the source is not valid.
    pub fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        if self.phase != Phase::Valid {
            return None;
        }
        let expected = self.expected.saturating_sub(self.expected_prior);
        let received = self.received.saturating_sub(self.received_prior);
        self.expected_prior = self.expected;
        self.received_prior = self.received;
        let fraction = (expected.saturating_sub(received) << 8).checked_div(expected).unwrap_or(0);
        let lost = self.expected.cast_signed().wrapping_sub(self.received.cast_signed());
        let (last_sr, delay_since_last_sr) = self.last_sr.map_or((0, 0), |report| {
            let delay = now.saturating_duration_since(report.arrival);
            (report.ntp.compact(), ntp::duration_to_compact(delay))
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest_sequence: self.extended_highest_sequence(),
            jitter: self.jitter.ticks(),
            last_sr,
            delay_since_last_sr,
        })
    }

    /// The source.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Whether [`MIN_SEQUENTIAL`] packets in sequence have come.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.phase == Phase::Valid
    }

    /// Packets accepted, over restarts.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes of the packets accepted, without headers and padding, over restarts.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets lost, over restarts. A duplicate does not hide a loss, other than in a report block. Goes down when
    /// a late packet arrives.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost_before.saturating_add(self.expected.saturating_sub(self.unique))
    }

    /// Packets that had been seen before.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets that came behind one with a higher sequence number.
    #[must_use]
    pub const fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Packets on probation, or too far ahead or behind.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// How often the source jumped to another place in its sequence.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The highest sequence number, with the count of cycles in the upper 16 bits.
    #[must_use]
    pub fn extended_highest_sequence(&self) -> u32 {
        u32::from(self.cycles) << 16 | u32::from(self.max_sequence)
    }

    /// Interarrival jitter in ticks of the clock of the last packet.
    #[must_use]
    pub const fn jitter_ticks(&self) -> u32 {
        self.jitter.ticks()
    }

    /// Interarrival jitter as a time.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.jitter.duration()
    }

    /// When the last accepted packet arrived.
    #[must_use]
    pub const fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    /// The last sender report: the relation of the source's wall clock to its media clock.
    #[must_use]
    pub const fn last_sender_report(&self) -> Option<LastSenderReport> {
        self.last_sr
    }
}
