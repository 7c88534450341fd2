//! The hop's own sequence numbers, and the packets' original ones across it.
//!
//! On the hop numbers are consecutive, whatever happened before it: a missing number there was lost there. Where an
//! original number does not follow from the one before, packets carry it, until the receiver has reported one of them: the
//! loss of a packet then shifts nothing.

use super::trailer::{Original, Part, Trailer};

/// Numbers packets for the hop. Indices are those of SRTP (48 bits, `RFC 3711 §3.3.1`), so no number returns.
#[derive(Debug)]
pub struct SendLine {
    next: u64,
    /// Original number minus hop number, modulo 2^16.
    offset: Option<u16>,
    /// The first index under this offset.
    since: u64,
    /// The receiver knows the offset.
    known: bool,
}

/// A number for one packet of the hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Its sequence number on the hop.
    pub sequence: u16,
    /// What it carries.
    pub trailer: Trailer,
}

impl SendLine {
    /// A line that begins with this sequence number. `RFC 3711 §3.3.1` has initial numbers below 2^15, so that the
    /// rollover counter cannot be mistaken where the first packets are lost.
    pub fn new(first: u16) -> Self {
        Self { next: u64::from(first & 0x7fff), offset: None, since: 0, known: false }
    }

    /// The number of the next packet, whose original number this is.
    #[inline]
    pub fn next(&mut self, original: u16, part: Part) -> Numbered {
        let index = self.next;
        self.next = index.wrapping_add(1);
        let sequence = index as u16;
        let offset = original.wrapping_sub(sequence);
        if self.offset != Some(offset) {
            self.offset = Some(offset);
            self.since = index;
            self.known = false;
        }
        let original = (!self.known).then(|| {
            let age = u16::try_from(index.wrapping_sub(self.since)).unwrap_or(u16::MAX);
            Original { sequence: original, age }
        });
        Numbered { sequence, trailer: Trailer { original, part } }
    }

    /// The receiver reported the highest number that it has, extended by its cycles (`RFC 3550 §6.4.1`).
    pub fn handle_report(&mut self, highest: u32) {
        // Of the same 2^32 packets as the last one sent.
        let sent = self.next.wrapping_sub(1);
        let behind = (sent as u32).wrapping_sub(highest);
        let reported = sent.checked_sub(u64::from(behind));
        if behind < 1 << 31
            && reported.is_some_and(|reported| reported >= self.since)
            && self.offset.is_some()
        {
            // The highest came under this offset, and carried it.
            self.known = true;
        }
    }

    /// Packets numbered so far, the index of the first counted in.
    pub fn next_index(&self) -> u64 {
        self.next
    }
}

/// Gives packets that crossed a hop their original numbers back, and counts what the hop lost.
#[derive(Debug, Default)]
pub struct ReceiveLine {
    /// First index and offset; the newest first.
    runs: [Option<(u64, u16)>; 8],
    first: Option<u64>,
    highest: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    unknown: u64,
}

/// What a receiver reports of the hop's line: the numbers of a report block (`RFC 3550 §6.4.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineReport {
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning, at most 2^23 - 1.
    pub cumulative_lost: i32,
    /// The highest number, with its cycles.
    pub highest: u32,
}

impl ReceiveLine {
    /// The original number of the packet with this index, which has not come before. `None` if it is not known: the
    /// packets that carried it were lost, and it comes too late to tell.
    #[inline]
    pub fn handle(&mut self, index: u64, original: Option<Original>) -> Option<u16> {
        let first = *self.first.get_or_insert(index);
        if index < first {
            self.first = Some(index);
        }
        self.highest = self.highest.max(index);
        self.received += 1;
        if let Some(Original { sequence, age }) = original {
            self.enter(index.saturating_sub(u64::from(age)), sequence.wrapping_sub(index as u16));
            return Some(sequence);
        }
        let run = self.runs.iter().flatten().find(|(since, _)| *since <= index);
        if run.is_none() {
            self.unknown += 1;
        }
        run.map(|(_, offset)| (index as u16).wrapping_add(*offset))
    }

    fn enter(&mut self, since: u64, offset: u16) {
        if self.runs.iter().flatten().any(|run| run.1 == offset && run.0 <= since) {
            // The age may be cut at its field's limit.
            let newest = self.runs.iter().flatten().next();
            if newest.is_some_and(|newest| newest.1 == offset || newest.0 > since) {
                return;
            }
        }
        let place = self.runs.iter().position(|run| run.is_none_or(|run| run.0 <= since));
        let Some(tail) = place.and_then(|place| self.runs.get_mut(place..)) else { return };
        if tail.first().copied().flatten().is_some_and(|run| run.0 == since) {
            return;
        }
        tail.rotate_right(1);
        if let Some(slot) = tail.first_mut() {
            *slot = Some((since, offset));
        }
    }

    /// Packets that the hop lost so far, all in all.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Packets whose original number was not known.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    fn expected(&self) -> u64 {
        self.first.map_or(0, |first| self.highest.wrapping_sub(first).wrapping_add(1))
    }

    /// Ends an interval; `None` before the first packet.
    pub fn report(&mut self) -> Option<LineReport> {
        self.first?;
        let expected = self.expected();
        let interval = expected.saturating_sub(self.expected_prior);
        let lost = interval.saturating_sub(self.received.saturating_sub(self.received_prior));
        self.expected_prior = expected;
        self.received_prior = self.received;
        let fraction = (lost << 8).checked_div(interval).unwrap_or(0);
        Some(LineReport {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(self.lost().min(0x7f_ffff)).unwrap_or(0x7f_ffff),
            highest: self.highest as u32,
        })
    }
}

#[cfg(test)]
mod tests;
