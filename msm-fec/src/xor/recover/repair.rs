//! What goes into the engine, what comes out, and how much of it is kept.

use super::{Cover, Head};
use std::ops::Range;

/// How much a decoder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets behind and in front of the newest source packet that repair packets may protect. What is farther away is
    /// refused, what falls behind is given up. At most 32767: a half of the 16-bit numbers.
    pub window: u16,
    /// Repair packets that wait for source packets. The oldest gives way.
    pub open: usize,
    /// Bytes of recovered packets that are kept, to be polled and to recover others with.
    pub recovered_bytes: usize,
    /// Bytes of one source or repair packet.
    pub packet: usize,
}

impl Default for Limits {
    /// 1024 packets of a window, 128 open repair packets of 2048 bytes at most, 256 KiB of recovered packets: a decoder holds
    /// 0.7 MiB at most.
    fn default() -> Self {
        Self { window: 1024, open: 128, recovered_bytes: 256 << 10, packet: 2048 }
    }
}

/// Levels of protection behind level 0 that are followed.
pub(crate) const EXTRA_LEVELS: usize = 3;

/// Protection of a further part of packets (RFC 5109 §7.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) cover: Cover,
    /// Where its sum begins in the repair packet, and how long it is.
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// What the header of a repair packet says.
#[derive(Clone, Debug)]
pub(crate) struct Repair {
    pub(crate) head: Head,
    pub(crate) cover: Cover,
    /// Where the sum of level 0 is in the repair packet.
    pub(crate) body: Range<usize>,
    pub(crate) levels: [Option<Level>; EXTRA_LEVELS],
}
