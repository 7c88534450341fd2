//! What happens to a test whose peer is not there.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that the calling test is skipped, and why, on standard error and where `MSM_SKIP_FILE` says.
///
/// # Panics
///
/// When `scripts/install-peers.sh` could have installed what is missing, and `MSM_REQUIRE_PEERS` is set.
pub(crate) fn skip(missing: &str, installable: bool) {
    if installable && std::env::var_os("MSM_REQUIRE_PEERS").is_some_and(|value| value != "0") {
        panic!("{missing}, and MSM_REQUIRE_PEERS is set: run scripts/install-peers.sh");
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {test}: {missing}\n");
    // Not `eprintln!`: that is kept back for a test that passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("MSM_SKIP_FILE") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("MSM_SKIP_FILE can be written");
    }
}
