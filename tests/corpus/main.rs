//! Replays the fuzz corpus, and what fuzzing found, through the bodies of the fuzz targets.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[allow(missing_docs, unreachable_pub)]
#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
mod samples;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        run(&data);
        // And each of its beginnings, which costs little and finds what a length check forgot.
        for end in 0..data.len().min(256) {
            run(data.get(..end).unwrap_or_default());
        }
        inputs += 1;
    }
    assert!(inputs >= 4, "{}: {inputs} inputs", folder.display());
}

macro_rules! targets {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), bodies::$target::run);
        }
    )*};
}

targets!(
    rtp,
    rtcp,
    extensions,
    framing,
    url,
    transport,
    sdp,
    pattern,
    config,
    spiffe_id,
    certificate,
    sdes,
    mikey,
    srtp,
    login,
    rtx,
    frames,
    nack,
    flexfec,
    st2022,
    ulpfec,
    reed_solomon
);
