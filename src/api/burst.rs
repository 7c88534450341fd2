//! Packets that came together, at the edge of the API.

use std::time::Instant;

use bytes::Bytes;
use msm_core::hub::Kind;
use msm_core::rtp::RtpView;

use super::packet::Packet;
use crate::error::Error;
use crate::hub::dest::AppBurst;

/// RTP packets of one track that came together, one after the other in one piece of memory: what leaves the fan-out in one go, such as the packets
/// of a video frame. It costs the same however many they are; each becomes a [`Packet`] only where one is asked for.
#[derive(Clone, Debug)]
pub struct Burst {
    track: usize,
    arrival: Instant,
    bytes: Bytes,
    segment: usize,
}

impl Burst {
    /// Packets that an application made, for a publisher's [`Sink`](futures_sink::Sink): one after the other, each `segment` bytes but the last,
    /// which may be shorter. They have come now. What among them is no RTP is dropped and counted by whoever takes them.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no packet.
    pub fn new(track: usize, bytes: impl Into<Bytes>, segment: usize) -> Result<Self, Error> {
        let bytes = bytes.into();
        if bytes.is_empty() || segment == 0 {
            return Err(Error::Refused("a burst has at least one packet, and packets have bytes".into()));
        }
        Ok(Self { track, arrival: Instant::now(), bytes, segment })
    }

    /// `None` for what is not media.
    pub(super) fn of(burst: AppBurst) -> Option<Self> {
        let AppBurst { track, kind, bytes, segment, arrival } = burst;
        (kind == Kind::Rtp && !bytes.is_empty()).then_some(Self {
            track,
            arrival,
            bytes,
            segment: segment.max(1),
        })
    }

    /// Index of the track, in the order of the description's `m=` sections.
    #[must_use]
    pub const fn track(&self) -> usize {
        self.track
    }

    /// When the packets came into this process.
    #[must_use]
    pub const fn arrival(&self) -> Instant {
        self.arrival
    }

    /// How many packets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().div_ceil(self.segment)
    }

    /// Whether there is none: of what [`Reader::recv_burst`](crate::Reader::recv_burst) returns there is at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The packets one after the other, each [`segment`](Self::segment) bytes long but the last, which may be shorter: as
    /// [`Publisher::send_burst`](crate::Publisher::send_burst) takes them.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of each packet but the last.
    #[must_use]
    pub const fn segment(&self) -> usize {
        self.segment
    }

    /// Each packet as it came: header, extensions, payload and padding.
    pub fn raw(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks(self.segment)
    }

    /// A view of each packet's header and payload, checked and not copied.
    pub fn views(&self) -> impl Iterator<Item = RtpView<'_>> {
        self.raw().filter_map(|packet| RtpView::parse(packet).ok())
    }

    /// Each packet by itself. They keep the burst's memory until the last of them is dropped.
    #[must_use]
    pub fn packets(&self) -> IntoPackets {
        self.clone().into_iter()
    }

    /// The first packet, which is not there any more.
    pub(super) fn take(&mut self) -> Option<Packet> {
        while !self.bytes.is_empty() {
            let packet = self.bytes.split_to(self.segment.min(self.bytes.len()));
            // What is no RTP gets no further than where it came in.
            if let Ok(packet) = Packet::parse(self.track, packet, self.arrival) {
                return Some(packet);
            }
        }
        None
    }
}

impl IntoIterator for Burst {
    type Item = Packet;
    type IntoIter = IntoPackets;

    fn into_iter(self) -> IntoPackets {
        IntoPackets(self)
    }
}

/// The packets of a [`Burst`].
#[derive(Clone, Debug)]
pub struct IntoPackets(Burst);

impl Iterator for IntoPackets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        self.0.take()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.0.len()))
    }
}
