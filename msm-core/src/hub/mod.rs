//! The hub: one stream comes in, every reader gets it in its own sequence and timestamp line.
//!
//! * [`Ingest`] is the publisher's side. It drops what is not valid RTP of this stream, keeps receiver statistics,
//!   reports to the publisher, and passes keyframe requests up. There is one a stream, on the stream's home worker.
//! * [`Fanout`] is the readers' side. It keeps the last keyframe and everything since, and sends each packet to each
//!   reader with patched header fields. There is one a stream and worker that serves readers of it.
//!
//! A burst goes through both, in place:
//!
//! ```
//! # use std::{sync::Arc, time::Instant};
//! use msm_core::burst::{Burst, SegmentTable};
//! use msm_core::codec::Codec;
//! use msm_core::hub::*;
//! # use msm_core::rtp::RtpBuilder;
//!
//! /// Where a reader's packets go; a runtime would hold a socket and an address.
//! struct Wire(Vec<Vec<u8>>);
//! impl Sink<u32> for Wire {
//!     fn send(&mut self, _reader: &mut u32, packets: Outgoing<'_>) -> SendOutcome {
//!         self.0.extend(packets.bytes.chunks(packets.segment).map(<[u8]>::to_vec));
//!         SendOutcome::Sent
//!     }
//! }
//!
//! let now = Instant::now();
//! let tracks: Arc<[TrackInfo]> = [TrackInfo::new(MediaKind::Audio, 97, Codec::Audio, 48_000)].into();
//! let mut ingest = Ingest::new(tracks.clone(), IngestConfig::default(), 1, now);
//! let mut fanout = Fanout::new(tracks, FanoutConfig::default(), now);
//! let mut wire = Wire(Vec::new());
//!
//! let reader = fanout.add_reader(now, ReaderSetup {
//!     seed: 2,
//!     tracks: vec![ReaderTrack { track: 0, dest: 7, ssrc: 0xfeed, payload_types: vec![] }],
//!     late_join: true,
//! })?;
//! fanout.play(now, reader)?;
//!
//! let mut table = SegmentTable::new();
//! for sequence in 0..3 {
//!     let mut buffer = [0; 64];
//!     let packet = RtpBuilder { payload_type: 97, sequence, ssrc: 1, payload: b"sound", ..RtpBuilder::default() };
//!     let length = packet.write(&mut buffer)?;
//!     let mut burst = Burst::from_gro(&mut buffer[..length], 0, now, 0, &mut table);
//!     ingest.handle_rtp(now, 0, &mut burst);
//!     fanout.handle_rtp(now, 0, &mut burst, &mut wire);
//! }
//! assert_eq!(wire.0.len(), 3);
//! assert_eq!(wire.0[0][8..12], [0, 0, 0xfe, 0xed]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The contract of both: after any `handle_*`, drain `poll_transmit` (ingest) and `poll_event`, then ask
//! `poll_timeout` when to call `handle_timeout`. What the fan-out sends goes to a [`Sink`] at once, because it is
//! borrowed from the receive buffer.

mod clock;
mod config;
mod counters;
mod fanout;
mod ingest;
mod sink;
mod track;
pub mod twin;

#[cfg(test)]
mod testing;

pub use clock::SenderClock;
pub use config::{FanoutConfig, IngestConfig};
pub use counters::{FanoutCounters, IngestCounters, ReaderCounters};
pub use fanout::{
    Fanout, FanoutEvent, History, HubError, Kept, LineEnd, LivePoint, ReaderClosed, ReaderId, ReaderReport,
    ReaderSetup, ReaderTrack, RtpInfo, Snapshot,
};
pub use ingest::{Ingest, IngestEvent, TrackStats};
pub use sink::{Kind, NotSent, Outgoing, SendOutcome, Sink};
pub use track::{MediaKind, PayloadType, TrackInfo};

/// What a timeout of the hub is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An RTCP report is due.
    Report,
    /// A keyframe request may go out now, or must be repeated.
    Keyframe,
    /// A late reader gets its next slice of the cache.
    CatchUp,
}
