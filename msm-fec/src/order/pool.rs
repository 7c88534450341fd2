//! Buffers of held packets, which are used again.

/// Bytes that a buffer has at least.
const LEAST: usize = 1536;

/// Hands out buffers, and takes them back. Allocates only when more are out than ever before, or a packet is longer than its buffer.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    /// A buffer with these bytes.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.free.pop().unwrap_or_else(|| Vec::with_capacity(LEAST.max(bytes.len())));
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }

    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }
}
