//! Sums of products over the field, for many bytes at a time: the one place where coding and decoding spend their time.
//!
//! Which instructions do it is found out when the program runs. All ways give the same bytes; [`Kernel::portable`] is the plain one
//! that the others are held to.
#![allow(clippy::indexing_slicing, reason = "a call is checked as a whole before its loops begin")]

mod batch;
mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions that not every CPU has: one SAFETY comment a block")]
mod x86;

pub use batch::{BATCH, Batch};

/// Bytes that rows are counted in: the widest vector.
pub const BLOCK_BYTES: usize = 64;

/// A part of a row.
pub type Block = [u8; BLOCK_BYTES];

/// A way to compute. It can only be had where the CPU has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    GfniAvx2,
    #[cfg(target_arch = "x86_64")]
    GfniAvx512,
}

impl Kernel {
    /// The fastest that this CPU has.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self::portable())
    }

    /// All that this CPU has, the fastest last.
    pub fn available() -> impl Iterator<Item = Self> {
        let kinds = [
            (Kind::Portable, true),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, is_x86_feature_detected!("avx2")),
            #[cfg(target_arch = "x86_64")]
            (Kind::GfniAvx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni")),
            #[cfg(target_arch = "x86_64")]
            (
                Kind::GfniAvx512,
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("gfni"),
            ),
        ];
        kinds.into_iter().filter(|(_, has)| *has).map(|(kind, _)| Self(kind))
    }

    /// The one that every machine has.
    #[must_use]
    pub const fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// Its name, for logs and benches.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::GfniAvx2 => "gfni+avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::GfniAvx512 => "gfni+avx512",
        }
    }

    /// Adds to each row what all sources of `batch`, each times its coefficient for that row, add up to.
    ///
    /// `coefficients` has one for each row, source after source: their number says how many rows there are. A row is the first blocks
    /// of `stride` in `rows`. Blocks from `valid` on hold nothing of value yet: they are taken for zeros, and those up to the end of
    /// the longest source are written.
    ///
    /// False, and nothing done, if there are too few coefficients or blocks for that.
    #[must_use]
    pub fn add(
        self,
        rows: &mut [Block],
        stride: usize,
        valid: usize,
        coefficients: &[u8],
        batch: &Batch<'_>,
    ) -> bool {
        let longest = batch.longest().div_ceil(BLOCK_BYTES);
        if longest == 0 {
            return true;
        }
        let sources = batch.sources();
        let count = coefficients.len() / sources.len().max(1);
        if count == 0
            || count * sources.len() != coefficients.len()
            || longest > stride
            || (count - 1).checked_mul(stride).is_none_or(|start| start.saturating_add(longest) > rows.len())
        {
            return false;
        }
        let whole = batch.shortest() / BLOCK_BYTES;
        let work = Work { stride, valid, whole, longest, count, coefficients, sources };
        match self.0 {
            Kind::Portable => portable::add(rows, &work),
            #[cfg(target_arch = "x86_64")]
            _ => self.x86(rows, &work),
        }
        true
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "the instructions were detected")]
    fn x86(self, rows: &mut [Block], work: &Work<'_>) {
        match self.0 {
            Kind::Portable => portable::add(rows, work),
            // SAFETY: a `Kernel` of this kind is made by `available` alone, where the CPU has AVX2.
            Kind::Avx2 => unsafe { x86::avx2::add(rows, work) },
            // SAFETY: as above, where it has AVX2 and GFNI.
            Kind::GfniAvx2 => unsafe { x86::gfni_avx2::add(rows, work) },
            // SAFETY: as above, where it has AVX-512F, AVX-512BW and GFNI.
            Kind::GfniAvx512 => unsafe { x86::gfni_avx512::add(rows, work) },
        }
    }
}

/// One pass, checked: at most [`BATCH`] sources, and all rows have `longest` blocks.
struct Work<'a> {
    stride: usize,
    valid: usize,
    /// Blocks that all sources have whole, and those that the longest of them has, the last in part.
    whole: usize,
    longest: usize,
    count: usize,
    coefficients: &'a [u8],
    sources: &'a [&'a [u8]],
}

#[cfg(test)]
mod tests;
