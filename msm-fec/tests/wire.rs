//! Broken repair packets: seeded mutations of the fuzz corpus, through the bodies of the fuzz targets.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm_core::rng::Rng;

#[path = "../../fuzz/bodies"]
#[allow(missing_docs, unreachable_pub)]
mod bodies {
    pub mod reed_solomon;
}

/// The corpus of `target`, and many mutations of it.
fn sweep(target: &str, mutations: usize, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 4);
    let mut rng = Rng::new(77);
    for _ in 0..mutations {
        let mut data = seeds[rng.range(0..seeds.len() as u64) as usize].clone();
        if rng.range(0..3) == 0 {
            data.extend_from_slice(&seeds[rng.range(0..seeds.len() as u64) as usize]);
        }
        for _ in 0..rng.range(1..6) {
            let at = rng.range(0..data.len() as u64) as usize;
            match rng.range(0..4) {
                0 => data[at] = rng.next_u64() as u8,
                1 => data[at] ^= 1 << rng.range(0..8),
                2 => data[at] = [0, 1, 2, 63, 64, 65, 254, 255][rng.range(0..8) as usize],
                _ => data.truncate(at.max(1)),
            }
        }
        run(&data);
    }
}

#[test]
fn mutated_repairs() {
    sweep("reed_solomon", 20_000, bodies::reed_solomon::run);
}
