//! Instructions of what is done to a burst of 16 packets: the same number on every machine.
//!
//! `cargo bench -p msm-benches --bench instructions`. Needs valgrind, and
//! `cargo install --version 0.20.0 gungraun-runner`.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use msm_benches::packets::{Hub, Packets};

fn plain() -> Packets {
    Packets::plain().expect("the packets fit")
}

fn extended() -> Packets {
    Packets::extended().expect("the packets fit")
}

#[library_benchmark]
#[bench::plain(plain())]
#[bench::extended(extended())]
fn split(mut packets: Packets) -> (usize, Packets) {
    // Handed back, so that freeing the buffer is not counted.
    (black_box(&mut packets).split(), packets)
}

#[library_benchmark]
#[bench::plain(plain())]
#[bench::extended(extended())]
fn parse(packets: Packets) -> (u32, Packets) {
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

fn hub(readers: u32) -> Hub {
    Hub::new(readers).expect("so many readers are allowed")
}

#[library_benchmark]
#[bench::readers_1(hub(1))]
#[bench::readers_10(hub(10))]
#[bench::readers_100(hub(100))]
fn fan_out(mut hub: Hub) -> (u64, Hub) {
    (black_box(&mut hub).burst(), hub)
}

library_benchmark_group!(name = burst, benchmarks = [split, parse, rewrite, statistics, fan_out]);

main!(library_benchmark_groups = burst);
