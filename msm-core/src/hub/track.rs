//! What the hub knows of a stream's tracks: what the runtime took from the SDP.

use crate::codec::Codec;

/// The kind of media of an `m=` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `m=video`.
    Video,
    /// `m=audio`.
    Audio,
    /// Anything else, such as `m=application`.
    Other,
}

/// One RTP payload type of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadType {
    /// The number in the RTP header, 0–127.
    pub number: u8,
    /// What it carries.
    pub codec: Codec,
    /// RTP timestamp ticks a second; 0 is taken as 90,000.
    pub clock_rate: u32,
}

/// One track of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    /// The kind of media.
    pub kind: MediaKind,
    /// The payload types of the SDP. Packets with another one are dropped; with an empty list all pass.
    pub payload_types: Vec<PayloadType>,
    /// The publisher's SSRC if SDP or Transport announced it. A hint only: some cameras announce another one than they
    /// send with, so packets of any one source are accepted.
    pub ssrc: Option<u32>,
}

/// The clock rate when none is known: that of every video format.
const DEFAULT_CLOCK_RATE: u32 = 90_000;

impl TrackInfo {
    /// A track with one payload type.
    pub fn new(kind: MediaKind, number: u8, codec: Codec, clock_rate: u32) -> Self {
        TrackInfo { kind, payload_types: vec![PayloadType { number, codec, clock_rate }], ssrc: None }
    }

    /// RTP timestamp ticks a second of the track's first payload type.
    pub fn clock_rate(&self) -> u32 {
        self.payload_types
            .first()
            .map(|payload_type| payload_type.clock_rate)
            .filter(|&rate| rate != 0)
            .unwrap_or(DEFAULT_CLOCK_RATE)
    }

    /// Whether any payload type can only be decoded from a keyframe on.
    pub fn has_keyframes(&self) -> bool {
        self.payload_types.iter().any(|payload_type| payload_type.codec.has_keyframes())
    }

    /// The codec of a payload type number; [`Codec::Other`] if the track does not list it.
    #[inline]
    pub fn codec(&self, number: u8) -> Codec {
        self.payload_types
            .iter()
            .find(|payload_type| payload_type.number == number)
            .map_or(Codec::Other, |payload_type| payload_type.codec)
    }

    /// Whether packets with this payload type belong to the track.
    #[inline]
    pub fn accepts(&self, number: u8) -> bool {
        self.payload_types.is_empty()
            || self.payload_types.iter().any(|payload_type| payload_type.number == number)
    }
}
