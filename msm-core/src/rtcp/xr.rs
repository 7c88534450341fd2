//! Extended reports (RFC 3611), block by block, the blocks as bytes.

use std::iter::FusedIterator;

use super::RtcpError;
use super::raw::{HEADER_LEN, Raw, u32_of};

/// An extended report (RFC 3611 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xr<'a> {
    /// Who reports.
    pub ssrc: u32,
    blocks: XrBlocks<'a>,
}

/// One block of an extended report (RFC 3611 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XrBlock<'a> {
    /// The block's type.
    pub block_type: u8,
    /// What the type makes of the header's second byte.
    pub type_specific: u8,
    /// The block behind its header of four bytes, a whole number of 32-bit words.
    pub data: &'a [u8],
}

impl<'a> Xr<'a> {
    /// Walks all blocks once, so that a broken packet is an error at once.
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (ssrc, _) = raw.split_body::<4>()?;
        let blocks = XrBlocks { raw: *raw, next: HEADER_LEN + 4 };
        for block in blocks {
            block?;
        }
        Ok(Self { ssrc: u32_of(*ssrc), blocks })
    }

    /// The blocks, in wire order. Never an error item, as they were walked before.
    #[must_use]
    pub const fn blocks(&self) -> XrBlocks<'a> {
        self.blocks
    }
}

/// Iterator over the blocks of an extended report. After an error it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XrBlocks<'a> {
    raw: Raw<'a>,
    next: usize,
}

impl<'a> Iterator for XrBlocks<'a> {
    type Item = Result<XrBlock<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = (self.next, self.raw.bytes.len());
        let (&[block_type, type_specific, high, low], rest) =
            self.raw.bytes.get(start..)?.split_first_chunk::<4>()?;
        let len = 4 * usize::from(u16::from_be_bytes([high, low]));
        self.next = start + 4 + len;
        let Some(data) = rest.get(..len) else {
            self.next = end;
            let (offset, end) = (self.raw.offset + start, self.raw.offset + end);
            return Some(Err(RtcpError::XrBlock { block_type, offset, end }));
        };
        Some(Ok(XrBlock { block_type, type_specific, data }))
    }
}

impl FusedIterator for XrBlocks<'_> {}
