//! The code: symbol `i` of a block is the value at point `i` of the polynomial of degree < k whose values at points 0 to k − 1 are the
//! source symbols (`RFC 5510 §8` with the points 0, 1, 2, … instead of powers of 2, as in the crate `reed-solomon-erasure`).
//!
//! A coefficient is then a quotient of products of differences (Lagrange), and depends on k and the two points alone: a sender can
//! change its number of repairs without telling anybody. For encoding and decoding alike the products are found in logarithms, so
//! that no matrix is ever inverted.

use super::MAX_SYMBOLS;
use super::gf;

/// Most coefficients that a [`Parity`] keeps: a byte for each source and repair of a block.
pub const MAX_COEFFICIENTS: usize = (MAX_SYMBOLS / 2) * MAX_SYMBOLS.div_ceil(2);

/// The coefficients of a block's repairs: what each source symbol is multiplied with before all are added up.
#[derive(Debug, Clone, Default)]
pub struct Parity {
    sources: u8,
    repairs: u8,
    /// Source by source, so that those of consecutive sources are one slice.
    coefficients: Vec<u8>,
}

impl Parity {
    /// The coefficients of `sources` and `repairs`; `None` if one of them is zero, or both are more than
    /// [`MAX_SYMBOLS`] together.
    #[must_use]
    pub fn new(sources: u8, repairs: u8) -> Option<Self> {
        let mut parity = Self::default();
        parity.set(sources, repairs).then_some(parity)
    }

    /// Changes the numbers, keeping the memory. False, and nothing changed, where [`Self::new`] gives `None`.
    pub fn set(&mut self, sources: u8, repairs: u8) -> bool {
        if sources == 0 || repairs == 0 || usize::from(sources) + usize::from(repairs) > MAX_SYMBOLS {
            return false;
        }
        if (self.sources, self.repairs) != (sources, repairs) {
            (self.sources, self.repairs) = (sources, repairs);
            self.coefficients.clear();
            self.coefficients.reserve_exact(usize::from(sources) * usize::from(repairs));
            for source in 0..sources {
                let weight = gf::log_product_below(sources, source);
                let row = |repair| coefficient(sources, source, weight, sources + repair);
                self.coefficients.extend((0..repairs).map(row));
            }
        }
        true
    }

    /// How many sources a block has.
    #[must_use]
    pub const fn sources(&self) -> u8 {
        self.sources
    }

    /// How many repairs a block has.
    #[must_use]
    pub const fn repairs(&self) -> u8 {
        self.repairs
    }

    /// The coefficients of `count` sources from the `first` on: each source's for every repair, one after the other. Empty if
    /// there are not as many.
    #[must_use]
    pub fn of_sources(&self, first: usize, count: usize) -> &[u8] {
        let repairs = usize::from(self.repairs);
        self.coefficients.get(first * repairs..(first + count) * repairs).unwrap_or_default()
    }

    /// The coefficients of one repair, a source after the other.
    pub fn of_repair(&self, repair: u8) -> impl Iterator<Item = u8> + '_ {
        let each = usize::from(self.repairs).max(1);
        self.coefficients.iter().skip(usize::from(repair)).step_by(each).copied()
    }
}

/// What `source` is multiplied with in the symbol at `point`; `weight` is the logarithm of the product of the differences of `source` and
/// the other sources.
fn coefficient(sources: u8, source: u8, weight: u32, point: u8) -> u8 {
    let all = gf::log_product_below(sources, point);
    gf::exp(all + 2 * gf::ORDER - weight - gf::log(point ^ source))
}

/// How to get lost sources of a block from the others and as many repairs as are lost.
///
/// This is the inverse of the e × e system that the lost sources are solutions of, in closed form: its matrix is a Cauchy matrix
/// with scaled rows and columns. Memory is kept from one block to the next.
#[derive(Debug)]
pub struct Solution {
    sources: u8,
    /// For each point, the logarithm of the product of its differences to the points below `sources`.
    weights: [u8; 256],
    pairs: Vec<Pair>,
    sums: Vec<u32>,
}

/// A lost source, and a repair that is used.
#[derive(Debug, Clone, Copy)]
struct Pair {
    lost: u8,
    repair: u8,
    /// The logarithm of the product of the lost source's differences to all symbols that are used.
    product: u16,
}

impl Default for Solution {
    fn default() -> Self {
        Self { sources: 0, weights: [0; 256], pairs: Vec::new(), sums: Vec::new() }
    }
}

impl Solution {
    /// Solves for the positions `lost` of a block of `sources`, from the repairs at the points `repairs`.
    ///
    /// False, and nothing to be had, unless both are distinct and equally many, positions below `sources` and points not.
    pub fn set(&mut self, sources: u8, lost: &[u8], repairs: &[u8]) -> bool {
        self.pairs.clear();
        if lost.len() != repairs.len()
            || !lost.iter().all(|point| *point < sources)
            || !repairs.iter().all(|point| *point >= sources)
            || !distinct(lost)
            || !distinct(repairs)
        {
            return false;
        }
        if self.sources != sources {
            self.sources = sources;
            for (point, weight) in (0..=u8::MAX).zip(&mut self.weights) {
                *weight = gf::log_product_below(sources, point) as u8;
            }
        }
        let pairs = lost.iter().zip(repairs);
        self.pairs.extend(pairs.map(|(lost, repair)| Pair { lost: *lost, repair: *repair, product: 0 }));
        for at in 0..self.pairs.len() {
            let Some(lost) = self.pairs.get(at).map(|pair| pair.lost) else { break };
            let weight = self.weights.get(usize::from(lost)).map_or(0, |weight| u32::from(*weight));
            let product = self.pairs.iter().fold(weight, |sum, pair| sum + pair.log_quotient(lost));
            if let Some(pair) = self.pairs.get_mut(at) {
                pair.product = (product % gf::ORDER) as u16;
            }
        }
        true
    }

    /// How many sources are solved for.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.pairs.len()
    }

    /// Appends what the symbols at `points`, which are used, are multiplied with: each for all of the lost.
    pub fn coefficients(&mut self, points: &[u8], to: &mut Vec<u8>) {
        self.sums.clear();
        self.sums.extend(
            points.iter().map(|point| self.weights.get(usize::from(*point)).map_or(0, |w| u32::from(*w))),
        );
        for pair in &self.pairs {
            for (sum, point) in self.sums.iter_mut().zip(points) {
                *sum += pair.log_quotient(*point);
            }
        }
        to.reserve(points.len() * self.pairs.len());
        for (point, sum) in points.iter().zip(&self.sums) {
            // Differences of logarithms are above 0 and below four times their order.
            let rest = 3 * gf::ORDER - reduce(*sum);
            to.extend(
                self.pairs
                    .iter()
                    .map(|pair| gf::exp(u32::from(pair.product) + rest - gf::log_or_none(pair.lost ^ point))),
            );
        }
    }
}

impl Pair {
    /// The logarithm, plus its order, of the quotient of the repair's and the lost source's differences to `point`: those to all
    /// sources, times these, are those to the symbols that are used.
    #[inline]
    fn log_quotient(self, point: u8) -> u32 {
        gf::ORDER + gf::log_or_none(self.repair ^ point) - gf::log_or_none(self.lost ^ point)
    }
}

/// A logarithm below 2^16 as one that is at most twice its order: 256 is one more than that.
#[inline]
const fn reduce(log: u32) -> u32 {
    (log & 255) + (log >> 8)
}

/// Whether no number is there twice.
fn distinct(points: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    points.iter().all(|point| {
        let word = seen.get_mut(usize::from(point / 64));
        word.is_some_and(|word| std::mem::replace(word, *word | 1 << (point % 64)) & 1 << (point % 64) == 0)
    })
}

/// The length of a symbol that is a sum of others: the first two bytes of each, which for source packets of one length are the same again,
/// as the coefficients of any symbol add up to 1.
pub(crate) fn combine_lengths(terms: impl IntoIterator<Item = (u8, u16)>) -> u16 {
    let mut terms = terms.into_iter();
    let Some((_, first)) = terms.next() else { return 0 };
    let differing = terms.filter(|(_, length)| *length != first);
    differing.fold(first, |sum, (coefficient, length)| {
        let [high, low] = (length ^ first).to_be_bytes();
        sum ^ u16::from_be_bytes([gf::product(coefficient, high), gf::product(coefficient, low)])
    })
}

#[cfg(test)]
mod tests;
