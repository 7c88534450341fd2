//! Making packets, for test sources and tests.

use thiserror::Error;

use super::{HEADER_LEN, MAX_PACKET_LEN, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE};

/// Why a packet could not be written. The calling program is to blame for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtpWriteError {
    /// The packet does not fit into the buffer.
    #[error("RTP packet of {needed} bytes does not fit into a buffer of {available}")]
    BufferTooSmall {
        /// Bytes of the packet.
        needed: usize,
        /// Bytes of the buffer.
        available: usize,
    },
    /// The packet would be longer than [`MAX_PACKET_LEN`].
    #[error("RTP packet of {needed} bytes would be longer than the largest datagram, 65535")]
    TooLong {
        /// Bytes of the packet.
        needed: usize,
    },
    /// A payload type above 127.
    #[error("RTP payload type {payload_type} is above 127")]
    PayloadType {
        /// The type asked for.
        payload_type: u8,
    },
    /// More than 15 contributing sources.
    #[error("{count} contributing sources are more than the 15 that fit an RTP header")]
    CsrcCount {
        /// The number asked for.
        count: usize,
    },
    /// An element whose identifier or length its form has no room for.
    #[error("extension element {id} of {len} bytes does not fit the {form} form")]
    Element {
        /// The element's identifier.
        id: u8,
        /// Bytes of its data.
        len: usize,
        /// `one-byte` or `two-byte`.
        form: &'static str,
    },
    /// Extension data that is no multiple of four bytes, or more than 65535 words.
    #[error("extension data of {len} bytes is no whole number of 32-bit words below 65536")]
    ExtensionLength {
        /// Bytes of the data.
        len: usize,
    },
}

impl RtpWriteError {
    /// A stable name of the reason, for the label of a counter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BufferTooSmall { .. } => "buffer_too_small",
            Self::TooLong { .. } => "too_long",
            Self::PayloadType { .. } => "payload_type",
            Self::CsrcCount { .. } => "csrc_count",
            Self::Element { .. } => "extension_element",
            Self::ExtensionLength { .. } => "extension_length",
        }
    }
}

/// The header extension of a packet to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtensionBlock<'a> {
    /// No extension.
    #[default]
    None,
    /// One-byte elements (RFC 8285 §4.2): identifiers 1–14 with 1–16 bytes each.
    OneByte(&'a [(u8, &'a [u8])]),
    /// Two-byte elements (RFC 8285 §4.3): identifiers 1–255 with 0–255 bytes each.
    TwoByte(&'a [(u8, &'a [u8])]),
    /// Data under any profile, a whole number of 32-bit words.
    Raw {
        /// The profile's number.
        profile: u16,
        /// What follows the length field.
        data: &'a [u8],
    },
}

/// A packet to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpBuilder<'a> {
    /// The marker bit.
    pub marker: bool,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media timestamp in ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Contributing sources, at most 15.
    pub csrcs: &'a [u32],
    /// The header extension.
    pub extension: ExtensionBlock<'a>,
    /// The payload.
    pub payload: &'a [u8],
    /// Bytes of padding behind the payload, the count byte included; 0 for none.
    pub padding_len: u8,
}

impl RtpBuilder<'_> {
    /// Length of the packet in bytes.
    ///
    /// # Errors
    ///
    /// As [`RtpBuilder::write`], apart from the buffer.
    pub fn packet_len(&self) -> Result<usize, RtpWriteError> {
        if self.payload_type > 127 {
            return Err(RtpWriteError::PayloadType { payload_type: self.payload_type });
        }
        if self.csrcs.len() > 15 {
            return Err(RtpWriteError::CsrcCount { count: self.csrcs.len() });
        }
        let extension = self.extension.data_len()?.map_or(0, |data| data.saturating_add(4));
        let needed = (HEADER_LEN + 4 * self.csrcs.len() + usize::from(self.padding_len))
            .saturating_add(extension)
            .saturating_add(self.payload.len());
        if needed > MAX_PACKET_LEN { Err(RtpWriteError::TooLong { needed }) } else { Ok(needed) }
    }

    /// Writes the packet to the start of `out`, and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// A field that the format has no room for, or a packet that `out` has no room for. `out` is then unchanged.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, RtpWriteError> {
        let needed = self.packet_len()?;
        let too_small = RtpWriteError::BufferTooSmall { needed, available: out.len() };
        let packet = out.get_mut(..needed).ok_or(too_small)?;
        write_header(packet, self.marker, self.payload_type, self.sequence, self.timestamp, self.ssrc)?;
        if let Some(first) = packet.first_mut() {
            *first |= u8::from(self.padding_len > 0) << 5
                | u8::from(self.extension != ExtensionBlock::None) << 4
                | u8::try_from(self.csrcs.len()).unwrap_or(0);
        }
        let mut cursor = Cursor { rest: packet.get_mut(HEADER_LEN..).unwrap_or_default() };
        for csrc in self.csrcs {
            cursor.put(&csrc.to_be_bytes());
        }
        self.extension.write(&mut cursor)?;
        cursor.put(self.payload);
        if let Some(zeros) = self.padding_len.checked_sub(1) {
            cursor.zeros(usize::from(zeros));
            cursor.put(&[self.padding_len]);
        }
        Ok(needed)
    }
}

impl ExtensionBlock<'_> {
    /// Length of the data behind the length field, padded to whole words.
    fn data_len(&self) -> Result<Option<usize>, RtpWriteError> {
        let len = match *self {
            Self::None => return Ok(None),
            Self::OneByte(elements) => {
                let bad = elements.iter().find(|(id, data)| !matches!((id, data.len()), (1..=14, 1..=16)));
                if let Some(&(id, data)) = bad {
                    return Err(RtpWriteError::Element { id, len: data.len(), form: "one-byte" });
                }
                elements.iter().map(|(_, data)| 1 + data.len()).sum::<usize>().next_multiple_of(4)
            }
            Self::TwoByte(elements) => {
                let bad = elements.iter().find(|(id, data)| !matches!((id, data.len()), (1..=255, 0..=255)));
                if let Some(&(id, data)) = bad {
                    return Err(RtpWriteError::Element { id, len: data.len(), form: "two-byte" });
                }
                elements.iter().map(|(_, data)| 2 + data.len()).sum::<usize>().next_multiple_of(4)
            }
            Self::Raw { data, .. } => data.len(),
        };
        if len % 4 == 0 && len / 4 <= 0xffff {
            Ok(Some(len))
        } else {
            Err(RtpWriteError::ExtensionLength { len })
        }
    }

    fn write(&self, cursor: &mut Cursor<'_>) -> Result<(), RtpWriteError> {
        let Some(len) = self.data_len()? else { return Ok(()) };
        let profile = match *self {
            Self::None => return Ok(()),
            Self::OneByte(_) => PROFILE_ONE_BYTE,
            Self::TwoByte(_) => PROFILE_TWO_BYTE,
            Self::Raw { profile, .. } => profile,
        };
        let words = u16::try_from(len / 4).map_err(|_| RtpWriteError::ExtensionLength { len })?;
        cursor.put(&profile.to_be_bytes());
        cursor.put(&words.to_be_bytes());
        let before = cursor.rest.len();
        match *self {
            Self::None => {}
            // `data_len` has checked that identifiers and lengths fit their fields.
            Self::OneByte(elements) => {
                for (id, data) in elements {
                    cursor.put(&[id << 4 | u8::try_from(data.len().saturating_sub(1)).unwrap_or(0)]);
                    cursor.put(data);
                }
            }
            Self::TwoByte(elements) => {
                for (id, data) in elements {
                    cursor.put(&[*id, u8::try_from(data.len()).unwrap_or(0)]);
                    cursor.put(data);
                }
            }
            Self::Raw { data, .. } => cursor.put(data),
        }
        let written = before.saturating_sub(cursor.rest.len());
        cursor.zeros(len.saturating_sub(written));
        Ok(())
    }
}

/// Writes a fixed header without padding, extension and CSRC to the start of `out`.
///
/// # Errors
///
/// A buffer below 12 bytes, or a payload type above 127.
pub fn write_header(
    out: &mut [u8],
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
) -> Result<(), RtpWriteError> {
    if payload_type > 127 {
        return Err(RtpWriteError::PayloadType { payload_type });
    }
    let too_small = RtpWriteError::BufferTooSmall { needed: HEADER_LEN, available: out.len() };
    let fixed = out.first_chunk_mut::<HEADER_LEN>().ok_or(too_small)?;
    fixed[0] = 0x80;
    super::patch_header(fixed, u8::from(marker) << 7 | payload_type, sequence, timestamp, ssrc);
    Ok(())
}

/// What is left of a buffer whose size was checked before: writing past its end does nothing.
struct Cursor<'a> {
    rest: &'a mut [u8],
}

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some((head, tail)) = std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            self.rest = tail;
        }
    }

    fn zeros(&mut self, count: usize) {
        if let Some((head, tail)) = std::mem::take(&mut self.rest).split_at_mut_checked(count) {
            head.fill(0);
            self.rest = tail;
        }
    }
}
