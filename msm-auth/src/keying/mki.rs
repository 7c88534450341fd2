//! Master key identifiers.

/// The longest identifier that is accepted, in bytes; peers use one or four.
pub const MAX_MKI: usize = 4;

/// A master key identifier: the bytes after each packet that say which key protects it (RFC 3711 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mki {
    value: u32,
    length: u8,
}

impl Mki {
    /// An identifier of `length` bytes with this value; `None` if the length is 0 or over [`MAX_MKI`], or the value
    /// needs more bytes.
    #[must_use]
    pub fn new(value: u32, length: usize) -> Option<Mki> {
        let fits = match length {
            1..=3 => value >> (8 * length) == 0,
            MAX_MKI => true,
            _ => false,
        };
        let length = u8::try_from(length).ok()?;
        fits.then_some(Mki { value, length })
    }

    /// From the bytes as packets have them; `None` if there are none or more than [`MAX_MKI`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Mki> {
        if bytes.len() > MAX_MKI {
            return None;
        }
        let value = bytes.iter().fold(0, |value: u32, byte| (value << 8) | u32::from(*byte));
        Mki::new(value, bytes.len())
    }

    /// The bytes as packets have them are the last [`Mki::length`] of these.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; MAX_MKI] {
        self.value.to_be_bytes()
    }

    /// Its value.
    #[must_use]
    pub fn value(self) -> u32 {
        self.value
    }

    /// Bytes it takes in a packet: 1 to [`MAX_MKI`].
    #[must_use]
    pub fn length(self) -> usize {
        usize::from(self.length)
    }

    /// Appends the bytes as packets have them.
    pub(super) fn write_to(self, out: &mut Vec<u8>) {
        let bytes = self.to_be_bytes();
        out.extend_from_slice(bytes.get(MAX_MKI.saturating_sub(self.length())..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_length() {
        for (value, length, fits) in [
            (255, 1, true),
            (256, 1, false),
            (0xff_ffff, 3, true),
            (0x100_0000, 3, false),
            (u32::MAX, 4, true),
            (1, 0, false),
            (0, 0, false),
            (1, 5, false),
            (1, 260, false),
        ] {
            assert_eq!(Mki::new(value, length).is_some(), fits, "{value}:{length}");
        }
    }

    #[test]
    fn bytes_keep_leading_zeros() {
        for bytes in [&[7][..], &[0, 1], &[1, 2, 3], &[0, 0, 0, 9]] {
            let mki = Mki::from_bytes(bytes).expect("1 to 4 bytes");
            let mut written = Vec::new();
            mki.write_to(&mut written);
            assert_eq!((written.as_slice(), mki.length()), (bytes, bytes.len()));
        }
        assert_eq!(Mki::from_bytes(&[]), None);
        assert_eq!(Mki::from_bytes(&[0; 5]), None);
    }
}
