//! What a repair packet carries: which block it is of, and a symbol. `docs/reed-solomon.md` has it to the byte.

use super::MAX_SYMBOLS;

/// The format's version, in every payload and in `fmtp`.
pub const VERSION: u8 = 1;

/// Bytes in front of the symbol.
pub const HEADER_BYTES: usize = 8;

/// Bytes of a symbol in front of the packet: the packet's length.
pub const LENGTH_BYTES: usize = 2;

/// What a repair payload is longer than the longest packet that it protects.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + LENGTH_BYTES;

/// Most blocks that packets go to in turn. A block spans at most 254 × 64 sequence numbers then, of which 16 bits still say which.
pub const MAX_DEPTH: u8 = 64;

/// Why a payload is refused. Its sender broke the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Shorter than a header and a symbol of one byte.
    #[error("a repair payload of {0} bytes")]
    Short(usize),
    /// Not of this version.
    #[error("repair payload of version {0}")]
    Version(u8),
    /// The reserved byte is not zero.
    #[error("the reserved byte of a repair payload is {0}")]
    Reserved(u8),
    /// The block has no source packets, or more than its code.
    #[error("{sources} source packets in a code of {code}")]
    Sources {
        /// Source packets of the block.
        sources: u8,
        /// Source symbols of the code.
        code: u8,
    },
    /// The symbol is none of the code's repairs.
    #[error("symbol {symbol} is no repair in a code of {code}")]
    Symbol {
        /// The symbol's number.
        symbol: u8,
        /// Source symbols of the code.
        code: u8,
    },
    /// The step between source packets is zero, or more than [`MAX_DEPTH`].
    #[error("source packets {0} apart")]
    Step(u8),
}

impl PayloadError {
    /// A short name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short(_) => "short",
            Self::Version(_) => "version",
            Self::Reserved(_) => "reserved",
            Self::Sources { .. } => "sources",
            Self::Symbol { .. } => "symbol",
            Self::Step(_) => "step",
        }
    }
}

/// A repair payload's head: the fields of RFC 6681 §8's repair payload ID, and what a code of a fixed size and interleaving add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Sequence number of the block's first source packet.
    pub first: u16,
    /// Source packets of the block.
    pub sources: u8,
    /// Source symbols of the code: those beyond the source packets are zeros that nobody sends.
    pub code: u8,
    /// This symbol: `code` for the first repair.
    pub symbol: u8,
    /// From one source packet's sequence number to the next one's.
    pub step: u8,
}

impl Header {
    /// The head and the symbol of a payload.
    ///
    /// # Errors
    ///
    /// It is none of this version, see [`PayloadError`].
    pub const fn parse(payload: &[u8]) -> Result<(Self, Symbol<'_>), PayloadError> {
        let [first, first_low, version, sources, code, symbol, step, reserved, high, low, body @ ..] =
            payload
        else {
            return Err(PayloadError::Short(payload.len()));
        };
        let first = u16::from_be_bytes([*first, *first_low]);
        let header = Self { first, sources: *sources, code: *code, symbol: *symbol, step: *step };
        if *version != VERSION {
            Err(PayloadError::Version(*version))
        } else if *reserved != 0 {
            Err(PayloadError::Reserved(*reserved))
        } else if header.sources == 0 || header.sources > header.code {
            Err(PayloadError::Sources { sources: header.sources, code: header.code })
        } else if header.symbol < header.code || header.symbol as usize >= MAX_SYMBOLS {
            Err(PayloadError::Symbol { symbol: header.symbol, code: header.code })
        } else if header.step == 0 || header.step > MAX_DEPTH {
            Err(PayloadError::Step(header.step))
        } else if body.is_empty() {
            Err(PayloadError::Short(payload.len()))
        } else {
            Ok((header, Symbol { length: u16::from_be_bytes([*high, *low]), body }))
        }
    }

    /// The head's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [high, low] = self.first.to_be_bytes();
        [high, low, VERSION, self.sources, self.code, self.symbol, self.step, 0]
    }

    /// How many sequence numbers the block spans, from its first source packet to its last.
    #[must_use]
    pub fn span(self) -> u64 {
        u64::from(self.sources.saturating_sub(1)) * u64::from(self.step) + 1
    }
}

/// A symbol: of a source packet its length and bytes, with zeros behind; of a repair a sum of such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The first two bytes.
    pub length: u16,
    /// The others.
    pub body: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { first: 0xfffe, sources: 3, code: 4, symbol: 5, step: 2 };

    fn payload(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut payload = HEADER.to_bytes().to_vec();
        payload.extend_from_slice(&[4, 176, 0xaa]);
        change(&mut payload);
        payload
    }

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        let bytes = payload(|_| ());
        assert_eq!(bytes, [0xff, 0xfe, 1, 3, 4, 5, 2, 0, 4, 176, 0xaa]);
        assert_eq!(Header::parse(&bytes), Ok((HEADER, Symbol { length: 1200, body: &[0xaa] })));
        assert_eq!(HEADER.span(), 5);
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| Header::parse(&payload(change)).unwrap_err();
        for length in 0..11 {
            assert_eq!(refused(&|bytes| bytes.truncate(length)), PayloadError::Short(length));
        }
        assert_eq!(refused(&|bytes| bytes[2] = 2), PayloadError::Version(2));
        assert_eq!(refused(&|bytes| bytes[7] = 1), PayloadError::Reserved(1));
        assert_eq!(refused(&|bytes| bytes[3] = 0), PayloadError::Sources { sources: 0, code: 4 });
        assert_eq!(refused(&|bytes| bytes[3] = 5), PayloadError::Sources { sources: 5, code: 4 });
        assert_eq!(refused(&|bytes| bytes[4] = 0), PayloadError::Sources { sources: 3, code: 0 });
        assert_eq!(refused(&|bytes| bytes[5] = 3), PayloadError::Symbol { symbol: 3, code: 4 });
        assert_eq!(refused(&|bytes| bytes[5] = 255), PayloadError::Symbol { symbol: 255, code: 4 });
        assert_eq!(refused(&|bytes| bytes[6] = 0), PayloadError::Step(0));
        assert_eq!(refused(&|bytes| bytes[6] = 65), PayloadError::Step(65));
        assert!(Header::parse(&payload(|bytes| (bytes[3], bytes[4], bytes[5]) = (254, 254, 254))).is_ok());
    }
}
