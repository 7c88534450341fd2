//! Goodbye and application-defined packets (RFC 3550 §6.6, §6.7).

use super::RtcpError;
use super::raw::{HEADER_LEN, Raw, u32_of};

/// Sources that leave (RFC 3550 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    sources: &'a [[u8; 4]],
    /// Why they leave, meant to be UTF-8.
    pub reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let len = 4 * usize::from(raw.count);
        let (sources, rest) =
            raw.body().split_at_checked(len).ok_or_else(|| raw.truncated(HEADER_LEN + len))?;
        let reason = match rest {
            [] | [0, ..] => None,
            [length, text @ ..] => {
                let length = usize::from(*length);
                Some(text.get(..length).ok_or_else(|| raw.truncated(HEADER_LEN + len + 1 + length))?)
            }
        };
        Ok(Self { sources: sources.as_chunks().0, reason })
    }

    /// The sources that leave, at most 31.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.sources.iter().map(|bytes| u32_of(*bytes))
    }
}

/// An application-defined packet (RFC 3550 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// Application-dependent, 0–31.
    pub subtype: u8,
    /// Who sends it.
    pub ssrc: u32,
    /// Four characters that say what it is.
    pub name: [u8; 4],
    /// Application-dependent data, a whole number of 32-bit words.
    pub data: &'a [u8],
}

impl<'a> App<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (&[s0, s1, s2, s3, n0, n1, n2, n3], data) = raw.split_body::<8>()?;
        Ok(Self { subtype: raw.count, ssrc: u32_of([s0, s1, s2, s3]), name: [n0, n1, n2, n3], data })
    }
}
