//! A datagram of RTCP packets.

use std::iter::FusedIterator;

use super::raw::Raw;
use super::{
    App, Bye, Fir, Nack, Pli, ReceiverReport, Remb, RtcpError, Sdes, SenderReport, TransportCc, Xr, format,
    packet_type,
};

/// What may come first in a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// A sender or receiver report, as every compound packet starts (RFC 3550 §6.1).
    #[default]
    Compound,
    /// Any packet: the session has negotiated `a=rtcp-rsize` (RFC 5506).
    ReducedSize,
}

/// A datagram that is a row of RTCP packets: versions and lengths are right, padding is on the last one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound<'a> {
    datagram: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Validates `datagram` (RFC 3550 App. A.2): version 2 in each packet, lengths that add up to the datagram's,
    /// padding on the last packet only; and a first packet that `acceptance` allows.
    ///
    /// Other than App. A.2 this accepts padding on the first packet when it is also the last.
    ///
    /// # Errors
    ///
    /// What is out of place, and at which offset.
    pub fn parse(datagram: &'a [u8], acceptance: Acceptance) -> Result<Self, RtcpError> {
        let mut offset = 0;
        loop {
            let raw = Raw::parse(datagram.get(offset..).unwrap_or_default(), offset)?;
            let is_report =
                matches!(raw.packet_type, packet_type::SENDER_REPORT | packet_type::RECEIVER_REPORT);
            if offset == 0 && acceptance == Acceptance::Compound && !is_report {
                return Err(RtcpError::FirstPacket { packet_type: raw.packet_type });
            }
            // At least four bytes: each turn goes on.
            offset += raw.wire_len();
            if offset == datagram.len() {
                return Ok(Self { datagram });
            }
        }
    }

    /// The whole datagram.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.datagram
    }

    /// The packets, in wire order. A packet that is wrong inside is an error item, and does not end the iteration.
    #[must_use]
    pub const fn packets(&self) -> Packets<'a> {
        Packets { raw: self.raw_packets() }
    }

    /// The packets as bytes with their headers, in wire order: at least one.
    #[must_use]
    pub const fn raw_packets(&self) -> RawPackets<'a> {
        RawPackets { rest: self.datagram, offset: 0 }
    }
}

/// Iterator over the packets of a [`Compound`] as bytes.
#[derive(Clone, Debug)]
pub struct RawPackets<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for RawPackets<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        // The datagram was validated: it ends behind a packet.
        let raw = Raw::parse(self.rest, self.offset).ok()?;
        self.offset += raw.wire_len();
        self.rest = self.rest.get(raw.wire_len()..)?;
        Some(raw)
    }
}

impl FusedIterator for RawPackets<'_> {}

/// Iterator over the packets of a [`Compound`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    raw: RawPackets<'a>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.raw.next().map(Packet::parse)
    }
}

impl FusedIterator for Packets<'_> {}

/// One RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Sender report (RFC 3550 §6.4.1).
    SenderReport(SenderReport<'a>),
    /// Receiver report (RFC 3550 §6.4.2).
    ReceiverReport(ReceiverReport<'a>),
    /// Source description (RFC 3550 §6.5).
    Sdes(Sdes<'a>),
    /// Goodbye (RFC 3550 §6.6).
    Bye(Bye<'a>),
    /// Application-defined (RFC 3550 §6.7).
    App(App<'a>),
    /// Request to send packets again (RFC 4585 §6.2.1).
    Nack(Nack<'a>),
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli(Pli),
    /// Full intra request (RFC 5104 §4.3.1).
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb).
    Remb(Remb<'a>),
    /// Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions).
    TransportCc(TransportCc<'a>),
    /// Extended report (RFC 3611).
    Xr(Xr<'a>),
    /// Any other packet.
    Unknown(Raw<'a>),
}

impl<'a> Packet<'a> {
    /// Reads the packet `raw` by its type.
    ///
    /// # Errors
    ///
    /// A packet that is too short for its type and count, or holds broken entries.
    pub fn parse(raw: Raw<'a>) -> Result<Self, RtcpError> {
        Ok(match (raw.packet_type, raw.count) {
            (packet_type::SENDER_REPORT, _) => Self::SenderReport(SenderReport::parse(&raw)?),
            (packet_type::RECEIVER_REPORT, _) => Self::ReceiverReport(ReceiverReport::parse(&raw)?),
            (packet_type::SDES, _) => Self::Sdes(Sdes::parse(&raw)?),
            (packet_type::BYE, _) => Self::Bye(Bye::parse(&raw)?),
            (packet_type::APP, _) => Self::App(App::parse(&raw)?),
            (packet_type::RTP_FEEDBACK, format::NACK) => Self::Nack(Nack::parse(&raw)?),
            (packet_type::RTP_FEEDBACK, format::TRANSPORT_CC) => Self::TransportCc(TransportCc::parse(&raw)?),
            (packet_type::PAYLOAD_FEEDBACK, format::PLI) => Self::Pli(Pli::parse(&raw)?),
            (packet_type::PAYLOAD_FEEDBACK, format::FIR) => Self::Fir(Fir::parse(&raw)?),
            (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) if Remb::is(&raw) => {
                Self::Remb(Remb::parse(&raw)?)
            }
            (packet_type::EXTENDED_REPORT, _) => Self::Xr(Xr::parse(&raw)?),
            _ => Self::Unknown(raw),
        })
    }

    /// A stable name of the kind of packet, for the label of a counter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SenderReport(_) => "sr",
            Self::ReceiverReport(_) => "rr",
            Self::Sdes(_) => "sdes",
            Self::Bye(_) => "bye",
            Self::App(_) => "app",
            Self::Nack(_) => "nack",
            Self::Pli(_) => "pli",
            Self::Fir(_) => "fir",
            Self::Remb(_) => "remb",
            Self::TransportCc(_) => "transport_cc",
            Self::Xr(_) => "xr",
            Self::Unknown(_) => "unknown",
        }
    }
}
