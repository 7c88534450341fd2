//! See `bodies/st2022.rs`.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code)]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::st2022::run(data));
