//! Parameter sets that come apart from the pictures that need them.

/// The most parameter sets that are kept apart, and their bytes.
const MAX_SETS: usize = 8;
const MAX_SET_BYTES: usize = 8 * 1024;

/// Packets with parameter sets, kept apart from the access units that need them.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Sets {
    bytes: Vec<u8>,
    /// End of each packet in `bytes`, its payload length, marker and payload type.
    packets: Vec<(usize, u16, u8)>,
    /// A picture followed: the next set begins a new group.
    pub(super) closed: bool,
}

impl Sets {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.closed = false;
    }

    pub(super) fn push(&mut self, packet: &[u8], payload_len: u16, marker_pt: u8) {
        if self.closed {
            self.clear();
        }
        if self.packets.len() < MAX_SETS && self.bytes.len() + packet.len() <= MAX_SET_BYTES {
            self.bytes.extend_from_slice(packet);
            // The access unit goes on behind a prefix: no marker.
            self.packets.push((self.bytes.len(), payload_len, marker_pt & 0x7f));
        }
    }

    pub(super) fn copy_from(&mut self, other: &Sets) {
        self.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.packets.extend_from_slice(&other.packets);
    }

    pub(in super::super) fn len(&self) -> u16 {
        self.packets.len() as u16
    }

    pub(in super::super) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.packets.iter().map(|packet| packet.0));
        starts.zip(&self.packets).filter_map(|(start, packet)| self.bytes.get(start..packet.0))
    }

    /// The packets with payload length, marker and payload type.
    pub(in super::super) fn each(&mut self, mut f: impl FnMut(&mut [u8], u16, u8)) {
        let mut start = 0;
        for &(end, payload_len, marker_pt) in &self.packets {
            if let Some(packet) = self.bytes.get_mut(start..end) {
                f(packet, payload_len, marker_pt);
            }
            start = end;
        }
    }
}
