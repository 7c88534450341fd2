//! Repair packets that wait to be sent, with their own line of sequence numbers.

use super::recover::Head;
use std::collections::VecDeque;
use thiserror::Error;

/// Who repair packets come from, in their RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Their payload type.
    pub payload_type: u8,
    /// Their SSRC.
    pub ssrc: u32,
    /// The number of the first.
    pub sequence: u16,
}

/// Why a packet could not be protected, or an encoder not be made. The calling program is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Not even a fixed RTP header.
    #[error("{len} bytes are no RTP packet")]
    NotRtp {
        /// Bytes that were given.
        len: usize,
    },
    /// Longer than the encoder was made for.
    #[error("packet of {len} bytes is longer than {limit}")]
    TooLong {
        /// Bytes of the packet.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// A payload type above 127.
    #[error("RTP payload type {payload_type} is above 127")]
    PayloadType {
        /// The type asked for.
        payload_type: u8,
    },
    /// Rows, columns or a number of packets that the scheme has no room for.
    #[error("{columns} columns and {rows} rows are not what {scheme} allows")]
    Dimensions {
        /// The scheme.
        scheme: &'static str,
        /// Columns, or packets of a block.
        columns: usize,
        /// Rows, or repair packets of a block.
        rows: usize,
    },
}

/// Finished repair packets without sequence number and timestamp.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Vec<u8>>,
    free: Vec<Vec<u8>>,
    /// The packet that was polled last.
    last: Vec<u8>,
    limit: usize,
    capacity: usize,
    sequence: u16,
    pub(crate) dropped: u64,
}

impl Outbox {
    /// At most `limit` packets of about `capacity` bytes wait; the oldest gives way.
    pub(crate) fn new(sequence: u16, limit: usize, capacity: usize) -> Self {
        Self {
            queue: VecDeque::with_capacity(limit),
            free: Vec::new(),
            last: Vec::new(),
            limit: limit.max(1),
            capacity,
            sequence,
            dropped: 0,
        }
    }

    /// Empty memory for a packet.
    pub(crate) fn blank(&mut self) -> Vec<u8> {
        let mut bytes = self.free.pop().unwrap_or_else(|| Vec::with_capacity(self.capacity));
        bytes.clear();
        bytes
    }

    pub(crate) fn push(&mut self, packet: Vec<u8>) {
        if self.queue.len() >= self.limit
            && let Some(oldest) = self.queue.pop_front()
        {
            self.free.push(oldest);
            self.dropped += 1;
        }
        self.queue.push_back(packet);
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The next packet with the next number of its line.
    pub(crate) fn pop(&mut self, timestamp: u32) -> Option<&[u8]> {
        let packet = self.queue.pop_front()?;
        self.free.push(std::mem::replace(&mut self.last, packet));
        if let Some(place) = self.last.get_mut(2..4) {
            place.copy_from_slice(&self.sequence.to_be_bytes());
        }
        if let Some(place) = self.last.get_mut(4..8) {
            place.copy_from_slice(&timestamp.to_be_bytes());
        }
        self.sequence = self.sequence.wrapping_add(1);
        Some(&self.last)
    }
}

/// Checks a payload type.
pub(crate) const fn payload_type(payload_type: u8) -> Result<(), EncodeError> {
    if payload_type > 127 { Err(EncodeError::PayloadType { payload_type }) } else { Ok(()) }
}

/// The protected parts of a source packet within a limit.
pub(crate) fn source(packet: &[u8], limit: usize) -> Result<(Head, &[u8]), EncodeError> {
    let len = packet.len();
    if len > limit {
        return Err(EncodeError::TooLong { len, limit });
    }
    Head::split(packet).map_err(|_| EncodeError::NotRtp { len })
}
