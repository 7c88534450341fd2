//! Source descriptions (RFC 3550 §6.5).

use std::iter::FusedIterator;

use super::raw::{HEADER_LEN, Raw, u32_of};
use super::{RtcpError, sdes_type};

/// A source description: chunks, one a source, of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sdes<'a> {
    chunks: SdesChunks<'a>,
}

impl<'a> Sdes<'a> {
    /// Walks all chunks once, so that a broken packet is an error at once and its chunks are not half used.
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let chunks = SdesChunks { raw: *raw, next: HEADER_LEN, left: raw.count };
        for chunk in chunks {
            chunk?;
        }
        Ok(Self { chunks })
    }

    /// The chunks, in wire order, at most 31. Never an error item, as they were walked before.
    #[must_use]
    pub const fn chunks(&self) -> SdesChunks<'a> {
        self.chunks
    }

    /// The canonical name of the source `ssrc`, if the packet holds it.
    #[must_use]
    pub fn cname(&self, ssrc: u32) -> Option<&'a [u8]> {
        self.chunks()
            .filter_map(Result::ok)
            .filter(|chunk| chunk.ssrc == ssrc)
            .find_map(|chunk| chunk.cname())
    }
}

/// What is said of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: u32,
    items: SdesItems<'a>,
}

impl<'a> SdesChunk<'a> {
    /// The items, in wire order.
    #[must_use]
    pub const fn items(&self) -> SdesItems<'a> {
        self.items
    }

    /// The text of the first CNAME item.
    #[must_use]
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items().find(|item| item.item_type == sdes_type::CNAME).map(|item| item.text)
    }
}

/// One item of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// The item's type: see [`super::sdes_type`].
    pub item_type: u8,
    /// Its text, meant to be UTF-8.
    pub text: &'a [u8],
}

/// Iterator over the chunks of a source description. After an error it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunks<'a> {
    raw: Raw<'a>,
    next: usize,
    left: u8,
}

impl<'a> SdesChunks<'a> {
    fn chunk(&mut self) -> Result<SdesChunk<'a>, RtcpError> {
        let start = self.next;
        let rest = self.raw.bytes.get(start..).unwrap_or_default();
        let (ssrc, rest) =
            rest.split_first_chunk::<4>().ok_or_else(|| self.raw.truncated(start.saturating_add(4)))?;
        let mut walk = rest;
        while let Some((_, behind)) = split_item(walk).map_err(|item_type| RtcpError::SdesItem {
            item_type,
            offset: self.raw.offset + self.raw.bytes.len() - walk.len(),
            end: self.raw.offset + self.raw.bytes.len(),
        })? {
            walk = behind;
        }
        let items = rest.get(..rest.len() - walk.len()).unwrap_or_default();
        // The list ends with at least one zero, and the chunk at the next 32-bit boundary. A packet that ends right
        // behind the last item lacks that zero; it is read nonetheless, as nothing is in doubt.
        self.next = start + 4 + (items.len() + 1).next_multiple_of(4);
        Ok(SdesChunk { ssrc: u32_of(*ssrc), items: SdesItems { rest: items } })
    }
}

impl<'a> Iterator for SdesChunks<'a> {
    type Item = Result<SdesChunk<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let chunk = self.chunk();
        if chunk.is_err() {
            self.left = 0;
        }
        Some(chunk)
    }
}

impl FusedIterator for SdesChunks<'_> {}

/// Iterator over the items of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesItems<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SdesItems<'a> {
    type Item = SdesItem<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (item, behind) = split_item(self.rest).ok().flatten()?;
        self.rest = behind;
        Some(item)
    }
}

impl FusedIterator for SdesItems<'_> {}

/// The item at the start of `bytes` and what follows; `None` at the end of the list; the type of a broken item.
fn split_item(bytes: &[u8]) -> Result<Option<(SdesItem<'_>, &[u8])>, u8> {
    match *bytes {
        [] | [0, ..] => Ok(None),
        [item_type] => Err(item_type),
        [item_type, len, ref rest @ ..] => {
            let (text, behind) = rest.split_at_checked(usize::from(len)).ok_or(item_type)?;
            Ok(Some((SdesItem { item_type, text }, behind)))
        }
    }
}
