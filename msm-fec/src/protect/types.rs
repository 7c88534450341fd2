//! What the two ends are told, and what they tell.

use std::time::Duration;

use super::report::{Next, Report};
use crate::control::Limits;
use crate::nack::{Answer, HistoryLimits, Request};
use crate::order;
use crate::paths::Mode;
use crate::rs::encoder::Repair;

/// What a sender may do.
#[derive(Debug, Clone, Copy)]
pub struct SenderConfig {
    /// The receiver's latency budget.
    pub budget: Duration,
    /// What protection may cost, and is to reach.
    pub limits: Limits,
    /// What is kept to be sent again.
    pub history: HistoryLimits,
    /// Longest packet.
    pub packet_bytes: usize,
    /// Paths to the receiver, 1 to [`MAX_PATHS`](crate::paths::MAX_PATHS), and how they are used.
    pub paths: usize,
    /// See [`paths`](Self::paths).
    pub mode: Mode,
}

impl SenderConfig {
    /// The defaults, for a latency budget: one path.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        Self {
            budget,
            limits: Limits::default(),
            history: HistoryLimits::default(),
            packet_bytes: 1500,
            paths: 1,
            mode: Mode::Duplicate,
        }
    }
}

/// What is to be sent to the receiver, beside the source packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ToReceiver<'a, R> {
    /// A repair packet.
    Repair(Repair<'a>),
    /// A packet that was asked for.
    Again(Answer<R>),
    /// Where the line ends.
    Next(Next),
}

/// A packet of a burst that is sent.
#[derive(Debug, Clone, Copy)]
pub struct SourcePacket<'a, R> {
    /// Its bytes, as they are before SRTP.
    pub bytes: &'a [u8],
    /// Whether no other is expected at once, as at a frame's end.
    pub last: bool,
    /// The caller's reference to it, to send it again.
    pub reference: R,
}

/// What a receiver may do.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// The latency budget.
    pub budget: Duration,
    /// Whether packets are asked for.
    pub nack: bool,
    /// Limits of the window.
    pub window: order::Limits,
    /// Bytes of source packets that are kept for the code, once there are repair packets. Default 4 MiB.
    pub ring_bytes: usize,
    /// Paths from the sender, 1 to [`MAX_PATHS`](crate::paths::MAX_PATHS), and how it uses them.
    pub paths: usize,
    /// See [`paths`](Self::paths).
    pub mode: Mode,
    /// Packets behind the newest that are told from copies, where there is more than one path: see
    /// [`window_for`](crate::paths::window_for). Default: those of the window.
    pub copies: u64,
}

impl ReceiverConfig {
    /// The defaults, for a latency budget: one path.
    #[must_use]
    pub const fn new(budget: Duration) -> Self {
        let window = order::Limits::new(budget);
        let copies = window.packets as u64;
        Self { budget, nack: true, window, ring_bytes: 4 << 20, paths: 1, mode: Mode::Duplicate, copies }
    }
}

/// What is to be sent to the sender, by all paths.
#[derive(Debug, Clone, Copy)]
pub enum ToSender<'a> {
    /// A request for packets.
    Request(Request<'a>),
    /// What was measured.
    Report(Report),
}
