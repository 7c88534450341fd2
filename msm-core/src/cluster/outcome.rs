//! What becomes of sessions with an endpoint.

use std::time::Duration;

/// What became of an upstream session, or of an attempt at one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was set up.
    SetUp {
        /// How long that took.
        took: Duration,
    },
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The endpoint answered with this status.
    Refused {
        /// RTSP status.
        status: u16,
    },
    /// The endpoint broke the protocol.
    Protocol,
    /// The connection broke off.
    Reset,
    /// Media stopped coming.
    Silent,
    /// Packets of the source, on its way to this process: never what a reader lost.
    Loss {
        /// How many did not come since the last report, as RFC 3550 §6.4.1 counts them.
        lost: u64,
        /// How many should have.
        expected: u64,
    },
    /// What came and is no media: no RTP, or nothing that its description announced.
    Garbage {
        /// How many packets since the last report.
        packets: u64,
    },
}
