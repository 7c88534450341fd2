//! What the window is told, and what it tells.

use std::time::{Duration, Instant};

/// Where a packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// As it was sent first.
    Media,
    /// Sent again.
    Nack,
    /// Forward error correction.
    Fec,
    /// Another path than the one that lost it.
    Path,
}

/// How much is held, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The hop's budget: no packet waits longer for those before it.
    pub latency: Duration,
    /// Packets between the expected one and the highest held; a step beyond it is a new start. Rounded up to a power of two,
    /// 65,536 at most. Default 8192.
    pub packets: usize,
    /// Bytes of packets that are held. Default 8 MiB.
    pub bytes: usize,
}

impl Limits {
    /// The defaults, for a latency budget.
    #[must_use]
    pub const fn new(latency: Duration) -> Self {
        Self { latency, packets: 8192, bytes: 8 << 20 }
    }
}

/// What to do with a packet that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: the caller hands it on now, and then what [`super::Window::poll_ready`] has.
    Pass,
    /// It was copied, and leaves later.
    Held,
    /// There is no room for it until [`super::Window::poll_ready`] was drained: then give it again.
    Again,
    /// It was there before. Drop it.
    Duplicate,
    /// It was given up before it came. Drop it.
    Late,
    /// It is no packet of this line, or the first of one that starts anew far behind. Drop it.
    Stray,
}

/// A packet that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// Its index.
    pub index: u64,
    /// Where it came from.
    pub source: Source,
    /// When it came.
    pub since: Instant,
    /// The packet.
    pub packet: &'a [u8],
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Packets are lost for good, from the first to the last.
    Unrecovered {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The line goes on elsewhere.
    Restarted {
        /// The next index.
        next: u64,
        /// Packets between the old line and the new one, if it is ahead: lost, if it is the same line.
        skipped: u64,
    },
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that left.
    pub delivered: u64,
    /// Those of them that were sent again.
    pub recovered_nack: u64,
    /// Those of them that were computed.
    pub recovered_fec: u64,
    /// Those of them that another path lost.
    pub recovered_path: u64,
    /// Packets lost for good.
    pub unrecovered: u64,
    /// Packets that had to be copied, because one before them was missing.
    pub held: u64,
    /// Packets that had been there before.
    pub duplicates: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// Packets that were given up before their time, because the window was full.
    pub overflow: u64,
    /// New starts of the line.
    pub restarts: u64,
    /// Packets between the old line and a new one that is ahead of it: lost for good, if it is the same line.
    pub skipped: u64,
    /// Packets of no line.
    pub strays: u64,
}
