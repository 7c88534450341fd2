//! AAC, RFC 3640 in the modes AAC-hbr and AAC-lbr: access units behind a section of their sizes.

use bytes::Bytes;

/// Access units of a packet at most.
const MAX_UNITS: usize = 64;

/// Bits of an access unit's header, as `a=fmtp` says (`RFC 3640 §4.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacFormat {
    size_length: u32,
    index_length: u32,
    index_delta_length: u32,
    pub(super) duration: u32,
}

/// What a packet has.
pub(super) enum Units<'a> {
    Whole(std::vec::IntoIter<Bytes>),
    /// A piece of a unit of `size` bytes.
    Fragment {
        unit: &'a [u8],
        size: usize,
    },
}

impl AacFormat {
    /// From the parameters of `a=fmtp`. `None` for modes with more in the headers of access units, and for what is no number.
    pub(super) fn of(parameters: &str) -> Option<Self> {
        let mut own = Self { size_length: 0, index_length: 0, index_delta_length: 0, duration: 1024 };
        for parameter in parameters.split(';') {
            let Some((key, value)) = parameter.trim().split_once('=') else { continue };
            let number = || value.trim().parse::<u32>().ok();
            let key = key.trim().to_ascii_lowercase();
            match key.as_str() {
                "sizelength" => own.size_length = number()?,
                "indexlength" => own.index_length = number()?,
                "indexdeltalength" => own.index_delta_length = number()?,
                "constantduration" => own.duration = number()?,
                "ctsdeltalength"
                | "dtsdeltalength"
                | "randomaccessindication"
                | "streamstateindication"
                | "auxiliarydatasizelength"
                    if number()? != 0 =>
                {
                    return None;
                }
                _ => {}
            }
        }
        let fits = |bits: u32| bits <= 24;
        let lengths = [own.size_length, own.index_length, own.index_delta_length];
        (own.size_length > 0 && lengths.into_iter().all(fits)).then_some(own)
    }

    /// Takes a payload apart. `in_pieces`: a unit has begun in the packet before.
    pub(super) fn units<'a>(&self, payload: &'a Bytes, in_pieces: bool) -> Option<Units<'a>> {
        let (bits, rest) = payload.split_first_chunk::<2>()?;
        let bits = usize::from(u16::from_be_bytes(*bits));
        let (headers, mut data) = rest.split_at_checked(bits.div_ceil(8))?;
        let mut sizes = Vec::new();
        let mut at = 0;
        while at < bits {
            let index_length = if sizes.is_empty() { self.index_length } else { self.index_delta_length };
            let size = read(headers, at, self.size_length)?;
            let index = read(headers, at + self.size_length as usize, index_length)?;
            // Interleaved: another order than that of the packets.
            if index != 0 || sizes.len() == MAX_UNITS {
                return None;
            }
            sizes.push(size as usize);
            at += (self.size_length + index_length) as usize;
        }
        if at != bits {
            return None;
        }
        if let [size] = sizes[..]
            && (size > data.len() || in_pieces)
        {
            return Some(Units::Fragment { unit: data, size });
        }
        let mut units = Vec::with_capacity(sizes.len());
        for size in sizes {
            let (unit, after) = data.split_at_checked(size)?;
            data = after;
            if !unit.is_empty() {
                units.push(payload.slice_ref(unit));
            }
        }
        Some(Units::Whole(units.into_iter()))
    }
}

/// So many bits from a place on, highest first.
fn read(bytes: &[u8], at: usize, bits: u32) -> Option<u32> {
    (at..at + bits as usize).try_fold(0, |value, place| {
        let byte = bytes.get(place / 8)?;
        Some(value << 1 | u32::from(byte >> (7 - place % 8) & 1))
    })
}
