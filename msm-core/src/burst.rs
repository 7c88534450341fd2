//! Packets of one flow that were received together and are processed together.
//!
//! A [`Burst`] is one contiguous buffer and a table of segments: the shape that UDP GRO delivers and UDP GSO sends. So
//! a fan-out patches headers in place and sends a whole run of packets with one system call a reader. The buffer
//! belongs to the receiver and the table is reused, so that making a burst allocates nothing in steady state.
//!
//! ```
//! use std::time::Instant;
//! use msm_core::burst::{Burst, SegmentTable};
//!
//! let mut buffer = [[0x80u8, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1], [0x80, 96, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 2]].concat();
//! let mut table = SegmentTable::new();
//! let burst = Burst::from_gro(&mut buffer, 13, Instant::now(), 0, &mut table);
//! assert_eq!(burst.segments().len(), 2);
//! let run = burst.runs().next().unwrap();
//! assert_eq!((run.segments, run.bytes, run.segment), (0..2, 0..26, 13));
//! ```

use std::ops::Range;
use std::time::Instant;

use crate::rtp::Header;

/// The most packets of one run: what Linux takes in one `UDP_SEGMENT` send (`UDP_MAX_SEGMENTS` before Linux 6.9).
pub const MAX_SEGMENTS: usize = 64;

/// The most bytes of one run: a GSO send must fit one datagram, headers of IPv6 and UDP included.
pub const MAX_RUN_BYTES: usize = 65_000;

/// The most packets of one burst; what a receiver hands in beyond it is not taken into the table.
pub const MAX_BURST_PACKETS: usize = 1024;

/// One packet of a burst: where it is, and its parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The packet's first byte in the burst's buffer.
    pub offset: u32,
    /// The packet's length in bytes.
    pub len: u32,
    /// Whether the packet is to be used. False for what does not parse as RTP, and for what a stage dropped.
    pub valid: bool,
    /// The header as it was received; all zero if the packet does not parse. Rewriting the bytes does not change it.
    pub header: Header,
}

impl Segment {
    /// The packet's place in the burst's buffer.
    #[inline]
    pub fn range(&self) -> Range<usize> {
        let start = self.offset as usize;
        start..start.saturating_add(self.len as usize)
    }
}

/// The memory of a burst's segments, owned by the receiver and reused from burst to burst.
#[derive(Debug, Default)]
pub struct SegmentTable {
    segments: Vec<Segment>,
}

impl SegmentTable {
    /// An empty table; the first bursts make it as large as it gets, at most [`MAX_BURST_PACKETS`] entries.
    pub fn new() -> Self {
        SegmentTable { segments: Vec::with_capacity(MAX_SEGMENTS) }
    }

    fn fill(&mut self, bytes: &[u8], parts: impl Iterator<Item = (usize, usize)>) {
        self.segments.clear();
        for (offset, len) in parts.take(MAX_BURST_PACKETS) {
            let packet = offset.checked_add(len).and_then(|end| bytes.get(offset..end));
            let (Some(packet), Ok(offset), Ok(len)) = (packet, u32::try_from(offset), u32::try_from(len))
            else {
                continue;
            };
            let header = Header::parse(packet);
            self.segments.push(Segment {
                offset,
                len,
                valid: header.is_ok(),
                header: header.unwrap_or_default(),
            });
        }
    }
}

/// Packets of one flow that were received together: see the [module](self).
#[derive(Debug)]
pub struct Burst<'b> {
    bytes: &'b mut [u8],
    table: &'b mut SegmentTable,
    arrival: Instant,
    ecn: u8,
}

impl<'b> Burst<'b> {
    /// A buffer as UDP GRO delivers it: packets of `stride` bytes, of which the last may be shorter. A stride of 0, or
    /// one that is not smaller than the buffer, means one packet. `ecn` is the ECN field of the IP header (RFC 3168).
    pub fn from_gro(
        bytes: &'b mut [u8],
        stride: usize,
        arrival: Instant,
        ecn: u8,
        table: &'b mut SegmentTable,
    ) -> Self {
        let total = bytes.len();
        let stride = if stride == 0 { total.max(1) } else { stride };
        table.fill(bytes, (0..total).step_by(stride).map(|start| (start, stride.min(total - start))));
        Burst { bytes, table, arrival, ecn }
    }

    /// Packets at the given `(offset, length)` places of a buffer, ascending: what a TCP connection interleaves.
    /// Places outside the buffer are left out.
    pub fn from_parts(
        bytes: &'b mut [u8],
        parts: &[(usize, usize)],
        arrival: Instant,
        ecn: u8,
        table: &'b mut SegmentTable,
    ) -> Self {
        table.fill(bytes, parts.iter().copied());
        Burst { bytes, table, arrival, ecn }
    }

    /// When the burst was received.
    pub fn arrival(&self) -> Instant {
        self.arrival
    }

    /// The ECN field of the datagrams' IP header, 0 if unknown.
    pub fn ecn(&self) -> u8 {
        self.ecn
    }

    /// All segments, the invalid ones included.
    #[inline]
    pub fn segments(&self) -> &[Segment] {
        &self.table.segments
    }

    /// The whole buffer.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The buffer to patch, and the table that tells where.
    #[inline]
    pub fn parts_mut(&mut self) -> (&mut [u8], &mut [Segment]) {
        (self.bytes, &mut self.table.segments)
    }

    /// The bytes of one packet; `None` if there is no such segment.
    #[inline]
    pub fn packet(&self, index: usize) -> Option<&[u8]> {
        self.bytes.get(self.table.segments.get(index)?.range())
    }

    /// Takes a packet out: it stays in the buffer but no later stage uses it.
    #[inline]
    pub fn invalidate(&mut self, index: usize) {
        if let Some(segment) = self.table.segments.get_mut(index) {
            segment.valid = false;
        }
    }

    /// How many packets are valid.
    pub fn valid(&self) -> usize {
        self.table.segments.iter().filter(|segment| segment.valid).count()
    }

    /// The contiguous runs of valid packets of equal length, as GSO sends them.
    #[inline]
    pub fn runs(&self) -> Runs<'_> {
        Runs::new(&self.table.segments)
    }

    /// Moves the valid packets to the front of the buffer, one right after the other, and forgets the others. Packets
    /// that came interleaved then make long [runs](Self::runs). What stood between and behind them is overwritten.
    pub fn compact(&mut self) {
        self.table.segments.retain(|segment| segment.valid);
        let mut end = 0;
        for segment in &mut self.table.segments {
            let range = segment.range();
            let start = range.start;
            // Only ever towards the front: places that do not ascend stay where they are.
            if start < end || range.end > self.bytes.len() {
                end = range.end;
                continue;
            }
            if start > end {
                self.bytes.copy_within(range, end);
                segment.offset = u32::try_from(end).unwrap_or(segment.offset);
            }
            end = end.saturating_add(segment.len as usize);
        }
    }
}

/// Packets that one GSO send carries: contiguous, all of one length but the last, which may be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The run's segments, as indexes into the table.
    pub segments: Range<usize>,
    /// The run's bytes in the buffer.
    pub bytes: Range<usize>,
    /// The length of each packet but the last.
    pub segment: usize,
}

/// Iterator over the [`Run`]s of a table: see [`Burst::runs`].
#[derive(Debug, Clone)]
pub struct Runs<'s> {
    segments: &'s [Segment],
    next: usize,
}

impl<'s> Runs<'s> {
    /// The runs of any table of segments.
    pub fn new(segments: &'s [Segment]) -> Self {
        Runs { segments, next: 0 }
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let rest = self.segments.get(self.next..)?;
        let skipped = rest.iter().position(|segment| segment.valid)?;
        let start = self.next + skipped;
        let first = rest.get(skipped)?;
        let size = first.len as usize;
        let begin = first.offset as usize;
        let mut end = begin + size;
        let mut count = 1;
        for segment in rest.iter().skip(skipped + 1).take(MAX_SEGMENTS - 1) {
            let len = segment.len as usize;
            if !segment.valid
                || segment.offset as usize != end
                || len > size
                || end - begin + len > MAX_RUN_BYTES
            {
                break;
            }
            end += len;
            count += 1;
            if len < size {
                break;
            }
        }
        self.next = start + count;
        Some(Run { segments: start..start + count, bytes: begin..end, segment: size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        use std::sync::OnceLock;
        static EPOCH: OnceLock<Instant> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        *EPOCH.get_or_init(Instant::now)
    }

    fn packet(sequence: u16, len: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.resize(len, sequence as u8);
        packet
    }

    /// A run's segments and its segment size.
    fn shapes(burst: &Burst<'_>) -> Vec<(Range<usize>, usize)> {
        burst.runs().map(|run| (run.segments, run.segment)).collect()
    }

    #[test]
    fn gro_with_a_short_last_packet_is_one_run() {
        let mut bytes: Vec<u8> = (0..4).flat_map(|n| packet(n, 100)).chain(packet(4, 40)).collect();
        let mut table = SegmentTable::new();
        let burst = Burst::from_gro(&mut bytes, 100, now(), 2, &mut table);
        assert_eq!(burst.segments().iter().map(|s| s.header.sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(shapes(&burst), [(0..5, 100)]);
        assert_eq!(burst.packet(4), Some(packet(4, 40).as_slice()));
        assert_eq!((burst.ecn(), burst.valid()), (2, 5));
    }

    #[test]
    fn stride_of_zero_or_beyond_the_end_is_one_packet() {
        for stride in [0, 60, 61, usize::MAX] {
            let mut bytes = packet(1, 60);
            let mut table = SegmentTable::new();
            let burst = Burst::from_gro(&mut bytes, stride, now(), 0, &mut table);
            assert_eq!(shapes(&burst), [(0..1, 60)], "stride {stride}");
        }
        let mut table = SegmentTable::new();
        assert_eq!(shapes(&Burst::from_gro(&mut [], 0, now(), 0, &mut table)), []);
    }

    #[test]
    fn an_invalid_packet_splits_the_run() {
        let mut bytes: Vec<u8> = (0..5).flat_map(|n| packet(n, 50)).collect();
        bytes[100] = 0; // version 0
        let mut table = SegmentTable::new();
        let mut burst = Burst::from_gro(&mut bytes, 50, now(), 0, &mut table);
        assert_eq!(shapes(&burst), [(0..2, 50), (3..5, 50)]);
        burst.invalidate(0);
        burst.invalidate(17);
        assert_eq!(shapes(&burst), [(1..2, 50), (3..5, 50)]);
        burst.compact();
        assert_eq!(shapes(&burst), [(0..3, 50)]);
        assert_eq!(burst.bytes()[..150], [packet(1, 50), packet(3, 50), packet(4, 50)].concat());
    }

    #[test]
    fn runs_end_at_64_packets_and_at_65000_bytes() {
        let mut table = SegmentTable::new();
        let mut bytes: Vec<u8> = (0..130).flat_map(|n| packet(n, 20)).collect();
        let burst = Burst::from_gro(&mut bytes, 20, now(), 0, &mut table);
        assert_eq!(shapes(&burst), [(0..64, 20), (64..128, 20), (128..130, 20)]);
        let mut bytes: Vec<u8> = (0..50).flat_map(|n| packet(n, 1400)).collect();
        let burst = Burst::from_gro(&mut bytes, 1400, now(), 0, &mut table);
        assert_eq!(shapes(&burst), [(0..46, 1400), (46..50, 1400)]);
        // One packet larger than a run may be is still a run of its own.
        let mut bytes = packet(0, 65_500);
        let burst = Burst::from_gro(&mut bytes, 0, now(), 0, &mut table);
        assert_eq!(shapes(&burst), [(0..1, 65_500)]);
    }

    #[test]
    fn interleaved_packets_become_a_run_when_compacted() {
        let mut bytes = Vec::new();
        let mut parts = Vec::new();
        for (n, len) in [(0, 30), (1, 30), (2, 44), (3, 20), (4, 20)] {
            bytes.extend([b'$', 0, 0, len as u8]);
            parts.push((bytes.len(), len));
            bytes.extend(packet(n, len));
        }
        parts.push((usize::MAX, 2));
        parts.push((bytes.len() - 1, 2));
        let mut table = SegmentTable::new();
        let mut burst = Burst::from_parts(&mut bytes, &parts, now(), 0, &mut table);
        assert_eq!(shapes(&burst), [(0..1, 30), (1..2, 30), (2..3, 44), (3..4, 20), (4..5, 20)]);
        burst.compact();
        assert_eq!(shapes(&burst), [(0..2, 30), (2..4, 44), (4..5, 20)]);
        assert_eq!(burst.packet(3), Some(packet(3, 20).as_slice()));
        assert_eq!(burst.packet(4), Some(packet(4, 20).as_slice()));
    }

    #[test]
    fn the_table_is_bounded_and_reused() {
        let mut bytes = vec![0; MAX_BURST_PACKETS + 10];
        let mut table = SegmentTable::new();
        assert_eq!(Burst::from_gro(&mut bytes, 1, now(), 0, &mut table).segments().len(), MAX_BURST_PACKETS);
        assert_eq!(Burst::from_gro(&mut bytes, 1, now(), 0, &mut table).valid(), 0);
        let capacity = table.segments.capacity();
        Burst::from_gro(&mut bytes, 1, now(), 0, &mut table);
        assert_eq!(table.segments.capacity(), capacity);
    }
}
