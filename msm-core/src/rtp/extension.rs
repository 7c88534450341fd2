//! Elements of a header extension (RFC 8285 §4).

use std::iter::FusedIterator;

use super::RtpError;

/// The extension profile of one-byte elements (RFC 8285 §4.2).
pub const PROFILE_ONE_BYTE: u16 = 0xbede;

/// The extension profile of two-byte elements with application bits of zero (RFC 8285 §4.3).
pub const PROFILE_TWO_BYTE: u16 = 0x1000;

/// Whether `profile` says two-byte elements: 0x1000 with any application bits (RFC 8285 §4.3).
#[inline]
#[must_use]
pub const fn is_two_byte_profile(profile: u16) -> bool {
    profile & 0xfff0 == PROFILE_TWO_BYTE
}

/// One element of a header extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Local identifier, as `a=extmap` gives it: 1–14 in the one-byte form, 1–255 in the two-byte form.
    pub id: u8,
    /// Where the data starts, in bytes from the start of the extension's data.
    pub offset: usize,
    /// The element's data: 1–16 bytes in the one-byte form, 0–255 in the two-byte form.
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
}

/// Iterator over the elements of a header extension, in wire order.
///
/// Padding is skipped; identifier 15 in the one-byte form ends the iteration, as RFC 8285 §4.2 asks. An element
/// that passes the end of the extension is reported once as an error, and ends the iteration.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    data: &'a [u8],
    offset: usize,
    form: Form,
}

impl<'a> Elements<'a> {
    /// Elements in the extension data `data` under `profile`; none for profiles that RFC 8285 does not define.
    #[must_use]
    pub const fn new(profile: u16, data: &'a [u8]) -> Self {
        if profile == PROFILE_ONE_BYTE {
            Self { data, offset: 0, form: Form::OneByte }
        } else if is_two_byte_profile(profile) {
            Self { data, offset: 0, form: Form::TwoByte }
        } else {
            Self { data: &[], offset: 0, form: Form::OneByte }
        }
    }

    fn end(&mut self) {
        self.offset = self.data.len();
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, RtpError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Identifier 0 is a byte of padding in both forms.
        let mut start = self.offset;
        while *self.data.get(start)? == 0 {
            start += 1;
        }
        let rest = self.data.get(start..)?;
        let (id, header, length) = match (self.form, rest) {
            (Form::OneByte, [first, ..]) => (first >> 4, 1, usize::from(first & 0x0f) + 1),
            (Form::TwoByte, [id, length, ..]) => (*id, 2, usize::from(*length)),
            (Form::TwoByte, [id]) => {
                let len = self.data.len();
                self.end();
                return Some(Err(RtpError::Element { id: *id, offset: start, end: start + 2, len }));
            }
            (_, []) => return None,
        };
        // RFC 8285 §4.2: identifier 15, and identifier 0 with a length, end the processing of the whole extension.
        if self.form == Form::OneByte && (id == 15 || id == 0) {
            self.end();
            return None;
        }
        let offset = start + header;
        let end = offset + length;
        let Some(data) = self.data.get(offset..end) else {
            let len = self.data.len();
            self.end();
            return Some(Err(RtpError::Element { id, offset: start, end, len }));
        };
        self.offset = end;
        Some(Ok(Element { id, offset, data }))
    }
}

impl FusedIterator for Elements<'_> {}
