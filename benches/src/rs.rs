//! What Reed-Solomon protection costs: blocks of packets of [`PACKET_BYTES`], by `msm_fec::rs` and by the crate `reed-solomon-erasure` with
//! vectors (AVX2 where the CPU has it: its authors compile for Haswell).
//!
//! Ours is measured as it is used: the encoder with its heads and lengths, a block in bursts and packet by packet; the decoder from
//! arriving repairs, which it copies, to recovered packets, which are polled. The crate's times are of its coding alone, over symbols that lie
//! ready, from matrices that it has inverted before. Both do the same work in turn, so that what else the machine does meets both; ratios are
//! medians of the rounds' ratios.
//!
//! Bounds are of the kernels that the CPU of this bench would take, or one that has AVX2 only. The portable one is for CPUs without, where
//! the crate so compiled does not run: it is shown, and judged by nobody.

use std::hint::black_box;
use std::time::Instant;

use msm_fec::rs::decoder::{Decoder, DecoderConfig};
use msm_fec::rs::encoder::{Encoder, EncoderConfig, Shape};
use msm_fec::rs::kernel::Kernel;
use msm_fec::rs::ring::Sources;
use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::report::{Limit, Report, median};
use crate::{PACKET_BYTES, Result};

/// Sources and repairs of the blocks.
const BLOCKS: [(u8, u8); 3] = [(10, 2), (20, 4), (50, 10)];
const ROUNDS: usize = 101;
/// Multiplications of a packet that are timed at a time, at least.
const WORK: usize = 4000;

/// Encoding and decoding of three sizes of blocks, with every kernel that the CPU has.
///
/// # Errors
///
/// A block is not what it should be, or the CPU is too old for the crate.
pub fn reed_solomon(report: &mut Report) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avx2") {
        return Err("reed-solomon-erasure is compiled for AVX2, which this CPU has not".into());
    }
    let best = Kernel::detect();
    println!(
        "blocks of {PACKET_BYTES}-byte packets, ns a block, medians of {ROUNDS} rounds; ratios are crate/own"
    );
    println!(
        "block  kernel       │ memcpy  crate    own ratio of memcpy │ singly ratio │ lost  crate    own ratio │ lost 1 crate own ratio"
    );
    for (sources, repairs) in BLOCKS {
        for kernel in Kernel::available() {
            let rows = Subject::new(sources, repairs, kernel)?.measure()?;
            let block = format!("{sources}+{repairs}");
            println!(
                "{block:<6} {:<12} │ {:>6.0} {:>6.0} {:>6.0} {:>5.2} {:>9.2} │ {:>6.0} {:>5.2} │ {repairs:>4} {:>6.0} {:>6.0} {:>5.2} │ {:>6.0} {:>6.0} {:>5.2}",
                kernel.name(),
                rows.memcpy,
                rows.encode.theirs,
                rows.encode.own,
                rows.encode.ratio,
                rows.memcpy / rows.encode.own,
                rows.singly.own,
                rows.singly.ratio,
                rows.decode.theirs,
                rows.decode.own,
                rows.decode.ratio,
                rows.one.theirs,
                rows.one.own,
                rows.one.ratio,
            );
            // Twice the crate's speed is held where a kernel has what the crate has not.
            let least = if kernel.name() == "gfni+avx512" { 2.0 } else { 1.0 };
            for (what, ratio) in [("encode", rows.encode.ratio), ("decode", rows.decode.ratio)] {
                let what = format!("RS {what} of {block} over reed-solomon-erasure, {}", kernel.name());
                if kernel == Kernel::portable() {
                    report.figure(what, ratio);
                } else {
                    report.bound(what, ratio, Limit::Least(least));
                }
            }
            if kernel == best {
                report.figure(
                    format!("RS encode of {block} as a share of memcpy"),
                    rows.memcpy / rows.encode.own,
                );
            }
        }
    }
    Ok(())
}

/// One comparison.
struct Times {
    theirs: f64,
    own: f64,
    ratio: f64,
}

/// All of one block.
struct Rows {
    memcpy: f64,
    encode: Times,
    singly: Times,
    decode: Times,
    one: Times,
}

/// Packets by index, the first one's first, where a decoder looks for them.
struct Packets<'a>(u64, &'a [Vec<u8>]);

impl Sources for Packets<'_> {
    fn get(&self, index: u64) -> Option<&[u8]> {
        self.1.get(index.checked_sub(self.0)? as usize).map(Vec::as_slice)
    }
}

/// A block for both, and what they work with.
struct Subject {
    sources: u8,
    repairs: u8,
    packets: Vec<Vec<u8>>,
    /// What the crate recovers from, without the lengths that are all the same.
    symbols: Vec<(Vec<u8>, bool)>,
    code: ReedSolomon,
    parity: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
    encoder: Encoder,
    decoder: Decoder,
    copies: Vec<u8>,
    /// Index of the next block's first packet.
    next: u64,
}

impl Subject {
    fn new(sources: u8, repairs: u8, kernel: Kernel) -> Result<Self> {
        let count = usize::from(sources);
        let mut random = msm_core::rng::Rng::new(7);
        let mut packets = vec![vec![0; PACKET_BYTES]; count];
        packets.iter_mut().for_each(|packet| random.fill(packet));
        let config = DecoderConfig { verify: |_, _| true, ..Default::default() };
        let mut subject = Self {
            sources,
            repairs,
            symbols: Vec::new(),
            code: ReedSolomon::new(count, repairs.into()).map_err(|error| error.to_string())?,
            parity: vec![vec![0; PACKET_BYTES]; repairs.into()],
            payloads: vec![Vec::new(); repairs.into()],
            encoder: Encoder::with_kernel(
                EncoderConfig::default(),
                Some(Shape::new(sources, repairs, 1)?),
                kernel,
            )?,
            decoder: Decoder::with_kernel(config, kernel),
            copies: vec![0; count * PACKET_BYTES],
            packets,
            next: 0,
        };
        // Both make the same of it.
        subject.theirs_encode()?;
        subject.own_encode(usize::MAX)?;
        for (payload, parity) in subject.payloads.iter().zip(&subject.parity) {
            if payload.get(10..) != Some(parity.as_slice()) {
                return Err("the crate's repairs are other ones".into());
            }
        }
        let all = subject.packets.iter().chain(&subject.parity);
        subject.symbols = all.map(|symbol| (symbol.clone(), true)).collect();
        Ok(subject)
    }

    fn measure(&mut self) -> Result<Rows> {
        let repairs = usize::from(self.repairs);
        Ok(Rows {
            memcpy: self.compare(repairs, &mut |_| Ok(()), &mut Self::copy)?.own,
            encode: self
                .compare(repairs, &mut Self::theirs_encode, &mut |subject| subject.own_encode(usize::MAX))?,
            singly: self.compare(repairs, &mut Self::theirs_encode, &mut |subject| subject.own_encode(1))?,
            decode: self.compare(repairs, &mut |subject| subject.theirs_decode(repairs), &mut |subject| {
                subject.own_decode(repairs)
            })?,
            one: self
                .compare(1, &mut |subject| subject.theirs_decode(1), &mut |subject| subject.own_decode(1))?,
        })
    }

    /// Times of both, each a few times in a row in every round.
    fn compare(
        &mut self,
        rows: usize,
        theirs: &mut dyn FnMut(&mut Self) -> Result<()>,
        own: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<Times> {
        let times = WORK.div_ceil(rows * usize::from(self.sources));
        let mut run = |what: &mut dyn FnMut(&mut Self) -> Result<()>| -> Result<f64> {
            let start = Instant::now();
            for _ in 0..times {
                what(self)?;
            }
            Ok(start.elapsed().as_nanos() as f64 / times as f64)
        };
        let mut all: [Vec<f64>; 3] = Default::default();
        for round in 0..ROUNDS {
            let (theirs, own) = if round % 2 == 0 {
                (run(theirs)?, run(own)?)
            } else {
                let own = run(own)?;
                (run(theirs)?, own)
            };
            for (all, value) in all.iter_mut().zip([theirs, own, theirs / own]) {
                all.push(value);
            }
        }
        let [theirs, own, ratio] = all.map(|values| median(&values).unwrap_or(f64::NAN));
        Ok(Times { theirs, own, ratio })
    }

    /// What merely keeping the packets would cost.
    fn copy(&mut self) -> Result<()> {
        for (copy, packet) in self.copies.chunks_exact_mut(PACKET_BYTES).zip(black_box(&self.packets)) {
            copy.copy_from_slice(packet);
        }
        black_box(&mut self.copies);
        Ok(())
    }

    fn theirs_encode(&mut self) -> Result<()> {
        self.code
            .encode_sep(black_box(&self.packets), &mut self.parity)
            .map_err(|error| error.to_string())?;
        black_box(&mut self.parity);
        Ok(())
    }

    /// A block, so many packets at a time, and all its repairs; kept are those of a block that is whole.
    fn own_encode(&mut self, burst: usize) -> Result<()> {
        let first = self.next;
        for (at, packets) in black_box(&self.packets).chunks(burst).enumerate() {
            let start = first + (at * burst.min(self.packets.len())) as u64;
            self.encoder.handle_burst(start, packets.iter().map(Vec::as_slice))?;
        }
        self.next += u64::from(self.sources);
        let keep = self.payloads.iter().any(Vec::is_empty);
        for place in &mut self.payloads {
            let repair = black_box(self.encoder.poll_repair()).ok_or("a repair is missing")?;
            if keep {
                place.extend_from_slice(repair.payload);
            }
        }
        Ok(())
    }

    fn theirs_decode(&mut self, lost: usize) -> Result<()> {
        let count = usize::from(self.sources);
        for (at, (_, present)) in self.symbols.iter_mut().enumerate() {
            *present = !is_lost(at, count, lost) && at < count + lost;
        }
        self.code.reconstruct_data(black_box(&mut self.symbols)).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// A block of which some are lost: the other packets, as many repairs, and polling.
    fn own_decode(&mut self, lost: usize) -> Result<()> {
        let count = usize::from(self.sources);
        let first = self.next;
        self.next = first + count as u64;
        let sources = Packets(first, &self.packets);
        for at in (0..count).filter(|at| !is_lost(*at, count, lost)) {
            self.decoder.handle_source(first + at as u64, &sources);
        }
        for payload in self.payloads.iter_mut().take(lost) {
            if let Some(place) = payload.get_mut(..2) {
                place.copy_from_slice(&(first as u16).to_be_bytes());
            }
            self.decoder.handle_repair(self.next - 1, payload, &sources)?;
        }
        let mut recovered = 0;
        while let Some(packet) = self.decoder.poll_recovered() {
            recovered += 1;
            black_box(packet.packet);
        }
        if recovered == lost {
            Ok(())
        } else {
            Err(format!("{recovered} of {lost} packets came back").into())
        }
    }
}

/// Lost packets are spread over the block.
const fn is_lost(at: usize, count: usize, lost: usize) -> bool {
    at < count && at.is_multiple_of(count / lost) && at / (count / lost) < lost
}
