//! Packets at the edge of the API.

use std::time::Instant;

use bytes::Bytes;
use msm_core::rtp::{RtpError, RtpView};

use crate::error::Error;

/// One RTP packet of a stream that an application reads.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Index of the track, in the order of the description's `m=` sections.
    pub track: usize,
    /// Marker bit: for most video, the last packet of a frame (`RFC 3550 §5.1`).
    pub marker: bool,
    /// Payload type, as the description maps it to a codec.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the track's clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// The payload, without header, extensions and padding.
    pub payload: Bytes,
    /// When the packet came into this process.
    pub arrival: Instant,
    raw: Bytes,
}

impl Packet {
    /// One that an application made, header included (`RFC 3550 §5.1`), for a publisher's [`Sink`](futures_sink::Sink). It has come now.
    ///
    /// # Errors
    /// [`Error::Refused`], which says what is no RTP in it.
    pub fn new(track: usize, raw: impl Into<Bytes>) -> Result<Self, Error> {
        let refused = |error| Error::Refused(format!("a packet that is no RTP: {error}"));
        Self::parse(track, raw.into(), Instant::now()).map_err(refused)
    }

    pub(crate) fn parse(track: usize, raw: Bytes, arrival: Instant) -> Result<Self, RtpError> {
        let view = RtpView::parse(&raw)?;
        let payload = raw.slice_ref(view.payload());
        Ok(Self {
            track,
            marker: view.marker(),
            payload_type: view.payload_type(),
            sequence: view.sequence(),
            timestamp: view.timestamp(),
            ssrc: view.ssrc(),
            payload,
            arrival,
            raw,
        })
    }

    /// The packet as it came: header, extensions, payload and padding.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// A bounds-checked view, for header extensions and contributing sources.
    ///
    /// # Errors
    /// None in practice: the packet was checked when it came in.
    pub fn view(&self) -> Result<RtpView<'_>, RtpError> {
        RtpView::parse(&self.raw)
    }

    /// The packet as the `rtp` crate has it, for its depacketizers.
    ///
    /// # Errors
    /// The packet has header extensions that the `rtp` crate cannot hold.
    #[cfg(feature = "typed")]
    pub fn to_rtp(&self) -> Result<rtp::packet::Packet, RtpError> {
        let view = self.view()?;
        let mut header = rtp::header::Header {
            version: 2,
            marker: self.marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            csrc: view.csrcs().collect(),
            ..Default::default()
        };
        if let Some((profile, _)) = view.extension() {
            header.extension = true;
            header.extension_profile = profile;
            for element in view.extensions() {
                let element = element?;
                header.extensions.push(rtp::header::Extension {
                    id: element.id,
                    payload: Bytes::copy_from_slice(element.data),
                });
            }
        }
        Ok(rtp::packet::Packet { header, payload: self.payload.clone() })
    }
}
