//! The field GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (`0x11D`), of which 2 generates every element but zero.
#![allow(
    clippy::indexing_slicing,
    reason = "a byte indexes a table of 256; tables are built by the compiler"
)]

/// The polynomial without its highest term.
pub(crate) const POLYNOMIAL: u8 = 0x1D;

/// The order of the multiplicative group: logarithms count modulo this.
pub(crate) const ORDER: u32 = 255;

/// Powers that are at hand: sums of four logarithms need no division.
const POWERS_AT_HAND: usize = 1024;

/// Powers of 2, and their logarithms; that of zero, which has none, is 0.
struct Powers {
    exp: [u8; POWERS_AT_HAND],
    log: [u8; 256],
}

const fn powers() -> Powers {
    let (mut exp, mut log) = ([0; POWERS_AT_HAND], [0; 256]);
    let (mut power, mut value) = (0, 1_u8);
    while power < POWERS_AT_HAND {
        exp[power] = value;
        if power < ORDER as usize {
            log[value as usize] = power as u8;
        }
        value = double(value);
        power += 1;
    }
    Powers { exp, log }
}

const fn double(value: u8) -> u8 {
    (value << 1) ^ (if value & 0x80 == 0 { 0 } else { POLYNOMIAL })
}

static POWERS: Powers = powers();

/// Logarithms of the products of `x ^ i` over `i < 2^b`, the factor zero left out: `SPANS[b][x]`.
static SPANS: [[u8; 256]; 8] = spans();

const fn spans() -> [[u8; 256]; 8] {
    let log = powers().log;
    let mut spans = [[0; 256]; 8];
    let mut bit = 0;
    while bit < 8 {
        let mut x = 0;
        while x < 256 {
            let (mut sum, mut i) = (0, 0);
            while i < 1 << bit {
                if x != i {
                    sum += log[x ^ i] as u32;
                }
                i += 1;
            }
            spans[bit][x] = (sum % ORDER) as u8;
            x += 1;
        }
        bit += 1;
    }
    spans
}

/// The logarithm of `value`, which is not zero.
#[inline]
pub(crate) fn log(value: u8) -> u32 {
    debug_assert_ne!(value, 0, "zero has no logarithm");
    log_or_none(value)
}

/// The logarithm of `value`, and 0 for zero: in a sum, zero is left out of the product.
#[inline]
pub(crate) fn log_or_none(value: u8) -> u32 {
    u32::from(POWERS.log[usize::from(value)])
}

/// 2 to the power of `log`, which is at most four times [`ORDER`].
#[inline]
pub(crate) fn exp(log: u32) -> u8 {
    debug_assert!(log <= 4 * ORDER, "{log}");
    POWERS.exp[log as usize % POWERS_AT_HAND]
}

/// The logarithm, below [`ORDER`], of the product of `x ^ i` over all `i < count`, the factor zero left out, in at most eight look-ups: the numbers
/// below `count` are runs of 2^b numbers that begin at a multiple of 2^b, one for each bit of `count`.
#[inline]
pub(crate) fn log_product_below(count: u8, x: u8) -> u32 {
    let (mut sum, mut start) = (0, 0);
    for bit in (0..8).rev() {
        if count & (1 << bit) != 0 {
            sum += u32::from(SPANS[bit][usize::from(x ^ start)]);
            start |= 1 << bit;
        }
    }
    sum % ORDER
}

/// The product of `a` and `b`, by look-up.
#[inline]
pub(crate) fn product(a: u8, b: u8) -> u8 {
    let nibbles = &NIBBLES[usize::from(a)];
    nibbles[usize::from(b & 15)] ^ nibbles[usize::from(16 + (b >> 4))]
}

/// The product of `a` and `b`, for tables and tests.
pub(crate) const fn mul(a: u8, b: u8) -> u8 {
    let (mut product, mut a, mut b) = (0, a, b);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = double(a);
        b >>= 1;
    }
    product
}

/// What each constant makes of the 16 low halves of a byte, then of its 16 high halves.
pub(crate) static NIBBLES: [[u8; 32]; 256] = nibbles();

const fn nibbles() -> [[u8; 32]; 256] {
    let mut table = [[0; 32]; 256];
    let mut constant = 0;
    while constant < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            table[constant][nibble] = mul(constant as u8, nibble as u8);
            table[constant][16 + nibble] = mul(constant as u8, (nibble as u8) << 4);
            nibble += 1;
        }
        constant += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_multiply_as_polynomials_do() {
        for a in 1..=255 {
            assert_eq!(exp(log(a)), a);
            for b in 1..=255 {
                assert_eq!(exp(log(a) + log(b)), mul(a, b), "{a} × {b}");
                assert_eq!(product(a, b), mul(a, b), "{a} × {b}");
            }
        }
        assert_eq!((product(0, 9), product(9, 0), mul(9, 0), mul(0x80, 2)), (0, 0, 0, 0x1D));
    }

    #[test]
    fn products_below_a_count_are_those_of_each_factor() {
        for count in 0..=255_u8 {
            for x in [0, 1, 2, 7, 64, 127, 128, 200, 254, 255] {
                let product = (0..count).map(|i| x ^ i).filter(|factor| *factor != 0).fold(1, mul);
                assert_eq!(exp(log_product_below(count, x)), product, "{x} below {count}");
            }
        }
    }
}
