//! Wall time of what is done to a burst of 16 packets: `cargo bench -p msm-benches --bench packets`.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use msm_benches::packets::{BURST, Hub, Packets};

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("burst of 16");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, mut packets) in [
        ("plain", Packets::plain().expect("the packets fit")),
        ("extended", Packets::extended().expect("the packets fit")),
    ] {
        group.bench_function(format!("split/{name}"), |bencher| bencher.iter(|| black_box(packets.split())));
        group.bench_function(format!("parse/{name}"), |bencher| bencher.iter(|| black_box(packets.parse())));
    }
    let mut packets = Packets::plain().expect("the packets fit");
    group.bench_function("rewrite", |bencher| bencher.iter(|| black_box(&mut packets).rewrite()));
    group.bench_function("statistics", |bencher| bencher.iter(|| black_box(packets.statistics())));
    group.finish();
}

fn hub(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hub, burst of 16");
    for readers in [1, 10, 100, 1000] {
        group.throughput(Throughput::Elements(u64::from(readers) * BURST as u64));
        let mut hub = Hub::new(readers).expect("so many readers are allowed");
        group.bench_function(format!("{readers} readers"), |bencher| bencher.iter(|| black_box(hub.burst())));
    }
    group.finish();
}

criterion_group!(benches, packets, hub);
criterion_main!(benches);
