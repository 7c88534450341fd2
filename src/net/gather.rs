//! Interleaved packets that arrived together, made into bursts.

/// More than this is handed on at once: what one GSO send takes.
const MAX_BYTES: usize = 60 * 1024;
const MAX_PACKETS: usize = 64;

/// Consecutive packets of one channel, one after the other in one buffer that is used again.
#[derive(Default)]
pub(crate) struct Gather {
    channel: u8,
    bytes: Vec<u8>,
    parts: Vec<(usize, usize)>,
}

impl Gather {
    /// Takes a packet; `full` gets what was gathered before it where it cannot be joined to that.
    pub(crate) fn push(
        &mut self,
        channel: u8,
        packet: &[u8],
        full: &mut impl FnMut(u8, &mut [u8], &[(usize, usize)]),
    ) {
        let joins = self.channel == channel
            && self.bytes.len() + packet.len() <= MAX_BYTES
            && self.parts.len() < MAX_PACKETS;
        if !joins {
            self.flush(full);
        }
        self.channel = channel;
        self.parts.push((self.bytes.len(), packet.len()));
        self.bytes.extend_from_slice(packet);
    }

    /// Hands over what there is.
    pub(crate) fn flush(&mut self, full: &mut impl FnMut(u8, &mut [u8], &[(usize, usize)])) {
        if !self.parts.is_empty() {
            full(self.channel, &mut self.bytes, &self.parts);
            self.bytes.clear();
            self.parts.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_channel_are_joined() {
        let mut seen = Vec::new();
        let mut full = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
            seen.push((channel, bytes.to_vec(), parts.to_vec()));
        };
        let mut gather = Gather::default();
        gather.push(0, b"ab", &mut full);
        gather.push(0, b"c", &mut full);
        gather.push(1, b"d", &mut full);
        gather.flush(&mut full);
        gather.flush(&mut full);
        assert_eq!(seen, [(0, b"abc".to_vec(), vec![(0, 2), (2, 1)]), (1, b"d".to_vec(), vec![(0, 1)])]);
    }
}
