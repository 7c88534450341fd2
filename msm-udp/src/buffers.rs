//! Memory for receiving.

use std::net::{IpAddr, SocketAddr};

use crate::address::NAME_BYTES;
use crate::control::{Ecn, Info, RECV_BYTES, RecvControl};

/// Bytes of one slot: the longest datagram, or GRO run of datagrams, that the kernel delivers.
pub const SLOT_BYTES: usize = 1 << 16;

/// The most slots one [`RecvBuffers`] can have.
pub const MAX_SLOTS: usize = 32;

/// Slots for [`Socket::recv`](crate::Socket::recv) to fill: one serves any number of sockets, one call at a time.
///
/// The slots are one allocation that is not touched before the kernel writes to it: a slot that only ever held
/// single packets has one page resident, not sixteen.
pub struct RecvBuffers {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) names: Box<[[u8; NAME_BYTES]]>,
    pub(crate) controls: Box<[RecvControl]>,
    pub(crate) metas: Box<[Meta]>,
    pub(crate) filled: usize,
}

/// What a receive said about one slot.
#[derive(Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) length: usize,
    pub(crate) source: SocketAddr,
    pub(crate) info: Info,
    pub(crate) truncated: bool,
    pub(crate) control_truncated: bool,
}

impl RecvBuffers {
    /// Makes `slots` slots, at least one and at most [`MAX_SLOTS`], of [`SLOT_BYTES`] each.
    pub fn new(slots: usize) -> Self {
        let slots = slots.clamp(1, MAX_SLOTS);
        let meta = Meta {
            length: 0,
            source: SocketAddr::from(([0; 4], 0)),
            info: Info::default(),
            truncated: false,
            control_truncated: false,
        };
        Self {
            bytes: vec![0; slots * SLOT_BYTES].into_boxed_slice(),
            names: vec![[0; NAME_BYTES]; slots].into_boxed_slice(),
            controls: vec![RecvControl([0; RECV_BYTES]); slots].into_boxed_slice(),
            metas: vec![meta; slots].into_boxed_slice(),
            filled: 0,
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.metas.len()
    }

    /// How many slots the last receive filled.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether the last receive filled none.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Slot `index` of those that the last receive filled.
    pub fn get_mut(&mut self, index: usize) -> Option<Received<'_>> {
        if index >= self.filled {
            return None;
        }
        let meta = self.metas.get(index)?;
        let start = index.checked_mul(SLOT_BYTES)?;
        let bytes = self.bytes.get_mut(start..)?.get_mut(..meta.length)?;
        Some(Received::new(bytes, meta))
    }

    /// The slots that the last receive filled, in the order of arrival.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = Received<'_>> {
        self.bytes
            .chunks_exact_mut(SLOT_BYTES)
            .zip(self.metas.iter())
            .take(self.filled)
            .filter_map(|(slot, meta)| Some(Received::new(slot.get_mut(..meta.length)?, meta)))
    }
}

impl std::fmt::Debug for RecvBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvBuffers").field("slots", &self.slots()).field("filled", &self.filled).finish()
    }
}

/// One run of datagrams of one source: a single datagram, or several that GRO joined.
#[derive(Debug)]
pub struct Received<'a> {
    /// The datagrams' payloads, one after the other.
    pub bytes: &'a mut [u8],
    /// Bytes of each datagram but the last, which may be shorter. Equal to the length of `bytes` for a single
    /// datagram; 0 for a single empty one.
    pub stride: usize,
    /// Where they came from. IPv4-mapped addresses (of a dual-stack socket) are given as IPv4.
    pub source: SocketAddr,
    /// The address they were sent to: one of ours, or a multicast group. IPv4-mapped ones are given as IPv4.
    pub dst_ip: Option<IpAddr>,
    /// Congestion notification; `None` is Not-ECT.
    pub ecn: Option<Ecn>,
    /// The datagram was longer than [`SLOT_BYTES`]: its end is missing (`MSG_TRUNC`).
    pub truncated: bool,
    /// Some of the metadata is missing (`MSG_CTRUNC`), `stride` perhaps among it: the run can't be split safely.
    pub control_truncated: bool,
}

impl<'a> Received<'a> {
    fn new(bytes: &'a mut [u8], meta: &Meta) -> Self {
        let stride = meta.info.stride.map_or(bytes.len(), |stride| stride.min(bytes.len()));
        Self {
            bytes,
            stride,
            source: meta.source,
            dst_ip: meta.info.destination,
            ecn: meta.info.ecn,
            truncated: meta.truncated,
            control_truncated: meta.control_truncated,
        }
    }

    /// How many datagrams the run holds; an empty datagram is one.
    pub fn count(&self) -> usize {
        if self.stride == 0 { 1 } else { self.bytes.len().div_ceil(self.stride) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_clamped_and_start_empty() {
        assert_eq!(RecvBuffers::new(0).slots(), 1);
        let mut buffers = RecvBuffers::new(1000);
        assert_eq!(buffers.slots(), MAX_SLOTS);
        assert!(buffers.is_empty());
        assert!(buffers.get_mut(0).is_none());
        assert_eq!(buffers.iter_mut().count(), 0);
    }

    #[test]
    fn runs_count_their_datagrams() {
        let mut bytes = [0; 10];
        let mut run = |length: usize, stride| {
            let meta = Meta {
                length,
                source: SocketAddr::from(([0; 4], 0)),
                info: Info { stride, ..Info::default() },
                truncated: false,
                control_truncated: false,
            };
            let run = Received::new(&mut bytes[..length], &meta);
            (run.count(), run.stride)
        };
        assert_eq!(run(10, Some(4)), (3, 4));
        assert_eq!(run(10, Some(5)), (2, 5));
        assert_eq!(run(10, Some(1200)), (1, 10));
        assert_eq!(run(10, None), (1, 10));
        assert_eq!(run(0, None), (1, 0));
    }
}
