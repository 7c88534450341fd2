//! Which SSRC is the track's source, and what was received of it.

use std::time::{Duration, Instant};

use crate::rtp::Header;
use crate::stats::{ReceiverStats, Verdict};

/// Packets in sequence after which a new SSRC may follow one that went quiet.
const CANDIDATE_PACKETS: u32 = 4;

/// The same where the old one has been silent for `source_timeout`, and other packets came meanwhile that were in no sequence (RFC 3550 App. A.1).
const MIN_SEQUENTIAL: u32 = 2;

/// How long the old source must have been quiet for that: longer than the pause between two frames at 10 a second.
const QUIET: Duration = Duration::from_millis(120);

/// Figures of one track, over all its sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackStats {
    /// The source that the track is locked on.
    pub ssrc: Option<u32>,
    /// RTP packets received, without duplicates.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets lost: expected and not received (RFC 3550 App. A.3).
    pub lost: u64,
    /// Packets that had been received before.
    pub duplicates: u64,
    /// Packets that came behind one with a higher sequence number.
    pub reordered: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// When the last packet arrived.
    pub last_packet: Option<Instant>,
}

impl TrackStats {
    fn add(&mut self, stats: &ReceiverStats) {
        self.packets += stats.packets();
        self.bytes += stats.bytes();
        self.lost += stats.lost();
        self.duplicates += stats.duplicates();
        self.reordered += stats.reordered();
        self.jitter = stats.jitter();
        self.last_packet = stats.last_packet().or(self.last_packet);
    }
}

/// The locked source.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) stats: ReceiverStats,
    last: Instant,
    bye: bool,
    /// Packets on probation are forwarded too: the session says where the source is, and the first packet of a stream
    /// is the one with the parameter sets.
    trusted: bool,
}

/// An SSRC that might become the source.
#[derive(Debug)]
struct Candidate {
    ssrc: u32,
    next_sequence: u16,
    packets: u32,
    since: Instant,
}

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Forward it.
    Accept,
    /// Forward it; with it the line of sequence numbers and timestamps starts anew.
    AcceptChanged { old: u32 },
    /// It is of another source.
    Foreign,
    /// It was received before.
    Duplicate,
    /// It is not (yet) part of the sequence.
    BadSequence,
}

/// The lock of one track on one source.
#[derive(Debug, Default)]
pub(super) struct Lock {
    source: Option<Source>,
    candidate: Option<Candidate>,
    past: TrackStats,
}

impl Lock {
    pub(super) fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.stats.ssrc())
    }

    pub(super) fn source_mut(&mut self) -> Option<&mut Source> {
        self.source.as_mut()
    }

    pub(super) fn stats(&self) -> TrackStats {
        let mut total = self.past;
        if let Some(source) = &self.source {
            total.add(&source.stats);
        }
        total.ssrc = self.ssrc();
        total
    }

    /// The source said BYE: the next SSRC may follow at once.
    pub(super) fn bye(&mut self) {
        if let Some(source) = &mut self.source {
            source.bye = true;
        }
    }

    /// The source will go on at another place in its sequence, as we asked it to: take that without probation.
    pub(super) fn restart(&mut self) {
        if let Some(source) = self.source.take() {
            self.past.add(&source.stats);
            self.source =
                Some(Source { stats: ReceiverStats::new(source.stats.ssrc()), trusted: true, ..source });
        }
    }

    /// Forgets the source: the next packet's SSRC is locked on.
    pub(super) fn release(&mut self) {
        if let Some(source) = self.source.take() {
            self.past.add(&source.stats);
        }
        self.candidate = None;
    }

    #[inline]
    pub(super) fn handle(&mut self, now: Instant, header: &Header, rate: u32, timeout: Duration) -> Decision {
        match &mut self.source {
            Some(source) if source.stats.ssrc() == header.ssrc => {
                source.last = now;
                source.bye = false;
                match source.stats.handle_rtp(now, header, rate) {
                    Verdict::InOrder { .. } | Verdict::Reordered => {
                        source.trusted = false;
                        Decision::Accept
                    }
                    Verdict::Restarted => Decision::AcceptChanged { old: header.ssrc },
                    Verdict::Probation if source.trusted => {
                        // Trust ends with the first packet in sequence.
                        Decision::Accept
                    }
                    Verdict::Duplicate => Decision::Duplicate,
                    Verdict::Probation | Verdict::TooOld | Verdict::Jumped => Decision::BadSequence,
                }
            }
            _ => self.handle_other(now, header, rate, timeout),
        }
    }

    #[inline(never)]
    fn handle_other(&mut self, now: Instant, header: &Header, rate: u32, timeout: Duration) -> Decision {
        let old = match &self.source {
            None => None,
            Some(source) => {
                let (last, bye) = (source.last, source.bye);
                let silent = now.saturating_duration_since(last);
                // What comes first after a silence may hold the parameter sets; after other packets of nobody's it is one more of them.
                let first = self.candidate.as_ref().is_none_or(|candidate| candidate.since < last);
                let run = self.candidate_run(now, header, last);
                let follows = run >= CANDIDATE_PACKETS && silent >= QUIET;
                let gone = bye || silent >= timeout && (first || run >= MIN_SEQUENTIAL);
                if !(gone || follows) {
                    return Decision::Foreign;
                }
                Some(source_ssrc(&self.source))
            }
        };
        self.release();
        let mut stats = ReceiverStats::new(header.ssrc);
        stats.handle_rtp(now, header, rate);
        self.source = Some(Source { stats, last: now, bye: false, trusted: true });
        match old {
            Some(old) => Decision::AcceptChanged { old },
            None => Decision::Accept,
        }
    }

    /// How many packets in sequence there are with `header`, of one new SSRC, that began after the old source's last packet.
    fn candidate_run(&mut self, now: Instant, header: &Header, old_last: Instant) -> u32 {
        let next_sequence = header.sequence.wrapping_add(1);
        match &mut self.candidate {
            Some(candidate)
                if candidate.ssrc == header.ssrc
                    && candidate.next_sequence == header.sequence
                    && candidate.since >= old_last =>
            {
                candidate.next_sequence = next_sequence;
                candidate.packets = candidate.packets.saturating_add(1);
                candidate.packets
            }
            candidate => {
                *candidate = Some(Candidate { ssrc: header.ssrc, next_sequence, packets: 1, since: now });
                1
            }
        }
    }
}

fn source_ssrc(source: &Option<Source>) -> u32 {
    source.as_ref().map_or(0, |source| source.stats.ssrc())
}
