//! Instructions of what is done to a burst of 16 packets: the same number on every machine.
//!
//! `cargo bench -p msm-benches --bench instructions`. Needs valgrind, and
//! `cargo install --version 0.20.0 gungraun-runner`.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use msm_benches::packets::Packets;

fn plain() -> Packets {
    Packets::plain().expect("the packets fit")
}

fn extended() -> Packets {
    Packets::extended().expect("the packets fit")
}

#[library_benchmark]
#[bench::plain(plain())]
#[bench::extended(extended())]
fn parse(packets: Packets) -> (u32, Packets) {
    // Handed back, so that freeing the buffer is not counted.
    (black_box(&packets).parse().unwrap_or_default(), packets)
}

#[library_benchmark]
#[bench::plain(plain())]
fn rewrite(mut packets: Packets) -> Packets {
    black_box(&mut packets).rewrite();
    packets
}

#[library_benchmark]
#[bench::plain(plain())]
fn statistics(mut packets: Packets) -> (u32, Packets) {
    (black_box(&mut packets).statistics().unwrap_or_default(), packets)
}

library_benchmark_group!(name = burst, benchmarks = [parse, rewrite, statistics]);

main!(library_benchmark_groups = burst);
