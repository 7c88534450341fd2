//! Writing compound packets into a caller's buffer.

use thiserror::Error;

use super::raw::HEADER_LEN;
use super::report::BLOCK_LEN;
use super::{FirEntry, NackPair, ReportBlock, SenderInfo, format, packet_type, sdes_type};
use crate::seq;

/// Why a packet could not be written. The calling program is to blame for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtcpWriteError {
    /// The packet does not fit into what is left of the buffer.
    #[error("RTCP packet type {packet_type} of {needed} bytes does not fit into the {available} bytes left")]
    BufferTooSmall {
        /// The packet's type.
        packet_type: u8,
        /// Bytes of the packet.
        needed: usize,
        /// Bytes left in the buffer.
        available: usize,
    },
    /// More report blocks, sources or entries than the packet has room for.
    #[error("RTCP packet type {packet_type} cannot hold {count} entries, expected {least} to {most}")]
    Count {
        /// The packet's type.
        packet_type: u8,
        /// The number asked for.
        count: usize,
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// A text of more than 255 bytes.
    #[error("RTCP packet type {packet_type} cannot hold a text of {len} bytes, at most 255")]
    Text {
        /// The packet's type.
        packet_type: u8,
        /// Bytes of the text.
        len: usize,
    },
}

impl RtcpWriteError {
    /// A stable name of the reason, for the label of a counter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BufferTooSmall { .. } => "buffer_too_small",
            Self::Count { .. } => "count",
            Self::Text { .. } => "text",
        }
    }
}

/// The most report blocks or sources in one packet: what five bits can say.
const MOST_REPORTS: usize = 31;

/// The most words behind a packet's header: what its length field can say.
const MOST_WORDS: usize = 0xffff;

/// Writes RTCP packets one behind the other.
///
/// A packet that does not fit is not written at all, and the packets before it stay: a caller may send what there is.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// What was written, for as long as the buffer lives.
    #[must_use]
    pub fn finish(self) -> &'a mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }

    /// Bytes written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A sender report with at most 31 blocks (RFC 3550 §6.4.1).
    ///
    /// # Errors
    ///
    /// Too many blocks, or no room.
    pub fn sender_report(
        &mut self,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<&mut Self, RtcpWriteError> {
        let kind = packet_type::SENDER_REPORT;
        let count = five_bits(kind, blocks.len())?;
        let mut body = self.packet(kind, count, SenderInfo::LEN + BLOCK_LEN * blocks.len())?;
        put(&mut body, &info.to_bytes());
        for block in blocks {
            put(&mut body, &block.to_bytes());
        }
        Ok(self)
    }

    /// A receiver report with at most 31 blocks (RFC 3550 §6.4.2). Without blocks it is how a compound packet
    /// starts when there is nothing to report.
    ///
    /// # Errors
    ///
    /// Too many blocks, or no room.
    pub fn receiver_report(
        &mut self,
        ssrc: u32,
        blocks: &[ReportBlock],
    ) -> Result<&mut Self, RtcpWriteError> {
        let kind = packet_type::RECEIVER_REPORT;
        let count = five_bits(kind, blocks.len())?;
        let mut body = self.packet(kind, count, 4 + BLOCK_LEN * blocks.len())?;
        put(&mut body, &ssrc.to_be_bytes());
        for block in blocks {
            put(&mut body, &block.to_bytes());
        }
        Ok(self)
    }

    /// A source description with one CNAME (RFC 3550 §6.5.1).
    ///
    /// # Errors
    ///
    /// A name of more than 255 bytes, or no room.
    pub fn sdes_cname(&mut self, ssrc: u32, cname: impl AsRef<[u8]>) -> Result<&mut Self, RtcpWriteError> {
        let kind = packet_type::SDES;
        let cname = cname.as_ref();
        let length = text_length(kind, cname)?;
        // SSRC, type, length, text, at least one zero.
        let mut body = self.packet(kind, 1, 4 + (3 + cname.len()).next_multiple_of(4))?;
        put(&mut body, &ssrc.to_be_bytes());
        put(&mut body, &[sdes_type::CNAME, length]);
        put(&mut body, cname);
        body.fill(0);
        Ok(self)
    }

    /// A goodbye of at most 31 sources (RFC 3550 §6.6). An empty reason is left out.
    ///
    /// # Errors
    ///
    /// Too many sources, a reason of more than 255 bytes, or no room.
    pub fn bye(&mut self, sources: &[u32], reason: impl AsRef<[u8]>) -> Result<&mut Self, RtcpWriteError> {
        let kind = packet_type::BYE;
        let reason = reason.as_ref();
        let count = five_bits(kind, sources.len())?;
        let length = text_length(kind, reason)?;
        let text = if length == 0 { 0 } else { (1 + reason.len()).next_multiple_of(4) };
        let mut body = self.packet(kind, count, 4 * sources.len() + text)?;
        for source in sources {
            put(&mut body, &source.to_be_bytes());
        }
        if length > 0 {
            put(&mut body, &[length]);
            put(&mut body, reason);
            body.fill(0);
        }
        Ok(self)
    }

    /// A picture loss indication (RFC 4585 §6.3.1).
    ///
    /// # Errors
    ///
    /// No room.
    pub fn pli(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Result<&mut Self, RtcpWriteError> {
        let mut body = self.packet(packet_type::PAYLOAD_FEEDBACK, format::PLI, 8)?;
        put(&mut body, &sender_ssrc.to_be_bytes());
        put(&mut body, &media_ssrc.to_be_bytes());
        Ok(self)
    }

    /// A full intra request (RFC 5104 §4.3.1).
    ///
    /// # Errors
    ///
    /// No entry, more than a packet can hold, or no room.
    pub fn fir(&mut self, sender_ssrc: u32, entries: &[FirEntry]) -> Result<&mut Self, RtcpWriteError> {
        let kind = packet_type::PAYLOAD_FEEDBACK;
        in_range(kind, entries.len(), 1, (MOST_WORDS - 2) / 2)?;
        let mut body = self.packet(kind, format::FIR, 8 + 8 * entries.len())?;
        put(&mut body, &sender_ssrc.to_be_bytes());
        put(&mut body, &[0; 4]);
        for entry in entries {
            put(&mut body, &entry.ssrc.to_be_bytes());
            put(&mut body, &[entry.sequence, 0, 0, 0]);
        }
        Ok(self)
    }

    /// A request to send the packets `lost` again (RFC 4585 §6.2.1). In ascending order (as sequence numbers go)
    /// neighbours share an entry; any other order is right too, and only longer.
    ///
    /// # Errors
    ///
    /// No packet, more than one RTCP packet can hold, or no room.
    pub fn nack(
        &mut self,
        sender_ssrc: u32,
        media_ssrc: u32,
        lost: &[u16],
    ) -> Result<&mut Self, RtcpWriteError> {
        let kind = packet_type::RTP_FEEDBACK;
        let count = Pairs { lost }.count();
        in_range(kind, count, 1, MOST_WORDS - 2)?;
        let mut body = self.packet(kind, format::NACK, 8 + 4 * count)?;
        put(&mut body, &sender_ssrc.to_be_bytes());
        put(&mut body, &media_ssrc.to_be_bytes());
        for NackPair { packet_id, bitmask } in (Pairs { lost }) {
            put(&mut body, &packet_id.to_be_bytes());
            put(&mut body, &bitmask.to_be_bytes());
        }
        Ok(self)
    }

    /// Claims room for a packet, writes its header, and returns its body of `body_len` bytes, a multiple of four.
    fn packet(&mut self, packet_type: u8, count: u8, body_len: usize) -> Result<&mut [u8], RtcpWriteError> {
        let available = self.buffer.len().saturating_sub(self.len);
        let needed = HEADER_LEN + body_len;
        let end = self.len.saturating_add(needed);
        let Some((header, body)) = self
            .buffer
            .get_mut(self.len..end)
            .and_then(|packet| packet.split_first_chunk_mut::<HEADER_LEN>())
        else {
            return Err(RtcpWriteError::BufferTooSmall { packet_type, needed, available });
        };
        self.len = end;
        // The counts were checked: at most MOST_WORDS words.
        let [high, low] = u16::try_from(body_len / 4).unwrap_or(u16::MAX).to_be_bytes();
        *header = [0x80 | count & 0x1f, packet_type, high, low];
        Ok(body)
    }
}

/// Writes `bytes` at the start of `body`, whose size was checked before, and moves on.
fn put(body: &mut &mut [u8], bytes: &[u8]) {
    if let Some((head, tail)) = std::mem::take(body).split_at_mut_checked(bytes.len()) {
        head.copy_from_slice(bytes);
        *body = tail;
    }
}

fn in_range(packet_type: u8, count: usize, least: usize, most: usize) -> Result<(), RtcpWriteError> {
    if (least..=most).contains(&count) {
        Ok(())
    } else {
        Err(RtcpWriteError::Count { packet_type, count, least, most })
    }
}

fn five_bits(packet_type: u8, count: usize) -> Result<u8, RtcpWriteError> {
    in_range(packet_type, count, 0, MOST_REPORTS)?;
    Ok(u8::try_from(count).unwrap_or(0))
}

fn text_length(packet_type: u8, text: &[u8]) -> Result<u8, RtcpWriteError> {
    u8::try_from(text.len()).map_err(|_| RtcpWriteError::Text { packet_type, len: text.len() })
}

/// Groups sequence numbers into the entries of a NACK.
struct Pairs<'a> {
    lost: &'a [u16],
}

impl Iterator for Pairs<'_> {
    type Item = NackPair;

    fn next(&mut self) -> Option<NackPair> {
        let (&packet_id, mut rest) = self.lost.split_first()?;
        let mut bitmask = 0;
        while let Some((&next, behind)) = rest.split_first() {
            match seq::distance(packet_id, next) {
                0 => {}
                step @ 1..=16 => bitmask |= 1 << (step - 1),
                _ => break,
            }
            rest = behind;
        }
        self.lost = rest;
        Some(NackPair { packet_id, bitmask })
    }
}
