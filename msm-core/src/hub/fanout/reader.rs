//! The words in which a fan-out and its runtime speak of readers.

use thiserror::Error;

use super::super::ReaderCounters;
use crate::stats::PeerReport;

/// What a reader said in its last report block (RFC 3550 §6.4.1).
pub type ReaderReport = PeerReport;

/// A reader of one [`Fanout`](super::Fanout). Never reused for another reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl std::fmt::Display for ReaderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A new reader.
#[derive(Debug)]
pub struct ReaderSetup<D> {
    /// Decides the reader's first sequence numbers, its timestamp offsets and when it gets reports.
    pub seed: u64,
    /// The tracks that it reads, each at most once.
    pub tracks: Vec<ReaderTrack<D>>,
    /// True for a reader of a live stream: it starts at a keyframe, whenever it joins. False for the reader that has
    /// the upstream session to itself: it gets everything from the first packet.
    pub late_join: bool,
}

/// One track of a new reader.
#[derive(Debug)]
pub struct ReaderTrack<D> {
    /// The stream's track.
    pub track: usize,
    /// Where packets go: the sink knows what that is.
    pub dest: D,
    /// The SSRC that the reader sees.
    pub ssrc: u32,
    /// Payload types that differ, `(publisher's, reader's)`. Usually empty.
    pub payload_types: Vec<(u8, u8)>,
}

/// A reader's `RTP-Info` of one track (RFC 2326 §12.33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpInfo {
    /// The sequence number of the first packet.
    pub seq: u16,
    /// The RTP timestamp at the start of the range.
    pub rtptime: u32,
}

/// What is left of a reader that was removed.
#[derive(Debug)]
pub struct ReaderClosed<D> {
    /// Track, destination and counts, in the order of the setup.
    pub tracks: Vec<(usize, D, ReaderCounters)>,
}

/// What the runtime has to know or do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FanoutEvent {
    /// A reader needs a keyframe: give it to [`Ingest::request_keyframe`](super::super::Ingest::request_keyframe).
    KeyframeWanted {
        /// The track.
        track: usize,
    },
    /// A reader reported.
    ReaderReport {
        /// The reader.
        id: ReaderId,
        /// The track.
        track: usize,
        /// What it said.
        report: ReaderReport,
    },
    /// A reader said BYE on its RTCP.
    ReaderBye {
        /// The reader.
        id: ReaderId,
    },
    /// A reader's queue has been full for [`stall`](super::super::FanoutConfig::stall). Told once until it takes
    /// packets again.
    ReaderStalled {
        /// The reader.
        id: ReaderId,
    },
}

/// A call that cannot be done. The caller is to blame for all but `TooManyReaders`, which is a limit of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The reader is gone or never was.
    #[error("no reader {id} in this hub")]
    UnknownReader {
        /// Who was asked for.
        id: ReaderId,
    },
    /// The stream has no such track, or the reader does not read it.
    #[error("the reader has no track {track}")]
    UnknownTrack {
        /// The track's index.
        track: usize,
    },
    /// A setup names the same track twice.
    #[error("track {track} is set up twice")]
    DuplicateTrack {
        /// The track's index.
        track: usize,
    },
    /// The hub is full.
    #[error("the hub serves {limit} readers already, its limit (max_readers)")]
    TooManyReaders {
        /// The limit.
        limit: usize,
    },
}

impl HubError {
    /// A stable name of the reason, for the label of a counter.
    pub const fn name(&self) -> &'static str {
        match self {
            HubError::UnknownReader { .. } => "unknown_reader",
            HubError::UnknownTrack { .. } => "unknown_track",
            HubError::DuplicateTrack { .. } => "duplicate_track",
            HubError::TooManyReaders { .. } => "too_many_readers",
        }
    }
}
