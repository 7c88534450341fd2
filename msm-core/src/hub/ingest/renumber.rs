//! Payload types of a source that has other numbers for the same formats than the stream was described with.

use crate::burst::Segment;

/// No format of the stream.
const NONE: u8 = 0xff;

/// The stream's numbers, by the source's.
#[derive(Debug)]
pub(super) struct Renumber(Box<[u8; 128]>);

impl Renumber {
    /// `None` where nothing changes.
    pub(super) fn new(numbers: &[(u8, u8)]) -> Option<Self> {
        if numbers.is_empty() {
            return None;
        }
        let mut table = Box::new([NONE; 128]);
        for (from, to) in numbers {
            if let Some(entry) = table.get_mut(usize::from(*from)) {
                *entry = to & 0x7f;
            }
        }
        Some(Self(table))
    }

    /// Writes the stream's number into a packet and its header; `false` if there is none for it.
    pub(super) fn apply(&self, bytes: &mut [u8], segment: &mut Segment) -> bool {
        let to = self.0.get(usize::from(segment.header.payload_type)).copied().unwrap_or(NONE);
        let byte = bytes.get_mut(segment.range().start.saturating_add(1));
        let Some(byte) = byte.filter(|_| to != NONE) else { return false };
        *byte = *byte & 0x80 | to;
        segment.header.payload_type = to;
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::burst::{Burst, SegmentTable};
    use crate::hub::testing::{VIDEO, at, rtp, tracks};
    use crate::hub::{Ingest, IngestConfig};

    #[test]
    fn packets_get_the_streams_numbers() {
        let mut ingest = Ingest::new(tracks(), IngestConfig::default(), 1, at(0));
        ingest.set_payload_types(VIDEO, &[(112, 96)]);
        let mut table = SegmentTable::new();
        let packet = |(number, sequence)| rtp(number, sequence, 0, 7, true, b"picture");
        let mut bytes = [(112, 1), (96, 2), (112, 3)].map(packet).concat();
        let length = bytes.len() / 3;
        let mut burst = Burst::from_gro(&mut bytes, length, at(0), 0, &mut table);
        ingest.handle_rtp(at(0), VIDEO, &mut burst);
        let ours = |packet: &crate::burst::Segment| packet.valid && packet.header.payload_type == 96;
        let seen: Vec<_> = burst.segments().iter().map(ours).collect();
        assert_eq!(seen, [true, false, true]);
        assert_eq!(burst.bytes().get(1), Some(&(0x80 | 96)));
        assert_eq!(ingest.counters().unknown_payload_type, 1);
    }
}
