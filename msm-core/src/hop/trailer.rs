//! What the hop adds to a packet: a few bytes behind the payload, encrypted with it.
//!
//! The last byte says what is before it, so that most packets carry one byte:
//!
//! ```text
//! payload ‖ [original sequence number (16 bits) ‖ age (16 bits)] ‖ flags (8 bits)
//! flags:  0x01 the original number is there   0x02 first part   0x04 second part   all others 0
//! ```
//!
//! A trailer, and not a header extension: a packet may have an extension of its own, in either form of RFC 8285 or in
//! neither, and it is to cross byte for byte; and nobody on the way learns what the trailer says.

use thiserror::Error;

const ORIGINAL: u8 = 0x01;
const FIRST: u8 = 0x02;
const SECOND: u8 = 0x04;

/// Which part of the original packet this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// Its header and the beginning of its payload.
    First,
    /// The rest of its payload, under the next number of the hop.
    Second,
}

/// The number that a packet had before the hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// The sequence number.
    pub sequence: u16,
    /// How many numbers of the hop ago the difference between the two began to be what it is now.
    pub age: u16,
}

/// The trailer of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trailer {
    /// Where the number is not the one that follows from the packet before.
    pub original: Option<Original>,
    /// Whole or a part.
    pub part: Part,
}

/// A packet that authenticated and yet has no trailer that this version knows: a fault of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the packet's trailer is not one of msm-hop-1")]
pub struct TrailerError;

impl Trailer {
    /// The longest trailer in bytes.
    pub const MAX_BYTES: usize = 5;

    /// How many bytes [`write`](Self::write) writes.
    pub const fn len(&self) -> usize {
        if self.original.is_some() { 5 } else { 1 }
    }

    /// Always false: there is no packet without a trailer.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the trailer to the beginning of `out`; the bytes written, `None` if they have no room.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let part = match self.part {
            Part::Whole => 0,
            Part::First => FIRST,
            Part::Second => SECOND,
        };
        match self.original {
            None => *out.first_mut()? = part,
            Some(Original { sequence, age }) => {
                let [s0, s1] = sequence.to_be_bytes();
                let [a0, a1] = age.to_be_bytes();
                out.get_mut(..5)?.copy_from_slice(&[s0, s1, a0, a1, part | ORIGINAL]);
            }
        }
        Some(self.len())
    }

    /// Reads the trailer at the end of `payload`, of which [`len`](Self::len) bytes are not the packet's.
    ///
    /// # Errors
    /// It is empty, or its last byte is none of a trailer's.
    #[inline]
    pub fn read(payload: &[u8]) -> Result<Trailer, TrailerError> {
        let flags = *payload.last().ok_or(TrailerError)?;
        let part = match flags & !ORIGINAL {
            0 => Part::Whole,
            FIRST => Part::First,
            SECOND => Part::Second,
            _ => return Err(TrailerError),
        };
        let original = match flags & ORIGINAL {
            0 => None,
            _ => match payload {
                [.., s0, s1, a0, a1, _] => Some(Original {
                    sequence: u16::from_be_bytes([*s0, *s1]),
                    age: u16::from_be_bytes([*a0, *a1]),
                }),
                _ => return Err(TrailerError),
            },
        };
        Ok(Trailer { original, part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for original in [None, Some(Original { sequence: 0xfffe, age: 3 })] {
            for part in [Part::Whole, Part::First, Part::Second] {
                let trailer = Trailer { original, part };
                let mut packet = [7; 9];
                let len = trailer.write(&mut packet[4..]).unwrap();
                assert_eq!(len, trailer.len());
                assert_eq!(Trailer::read(&packet[..4 + len]), Ok(trailer));
            }
        }
    }

    #[test]
    fn whatever_else_ends_a_packet_is_refused() {
        for flags in 0..=255u8 {
            let known = matches!(flags & 0xfe, 0 | 2 | 4);
            assert_eq!(Trailer::read(&[0, 0, 0, 0, flags]).is_ok(), known, "{flags:#x}");
        }
        assert_eq!(Trailer::read(&[]), Err(TrailerError));
        assert_eq!(Trailer::read(&[0, 0, 0, ORIGINAL]), Err(TrailerError));
        assert_eq!(
            Trailer { original: Some(Original { sequence: 1, age: 1 }), part: Part::Whole }
                .write(&mut [0; 4]),
            None
        );
    }
}
