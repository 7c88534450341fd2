//! What the mesh logs, for tests of errors that are nobody's return value.

use std::io::Write;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::LevelFilter;

static LINES: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(Mutex::default);

struct Keeper;

impl Write for Keeper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what this process logs from now on. Tests of one process share it: look for what only yours can have caused.
pub fn keep() {
    keep_until(LevelFilter::INFO);
}

/// The same, down to the last detail.
pub fn keep_all() {
    keep_until(LevelFilter::TRACE);
}

fn keep_until(level: LevelFilter) {
    let builder = tracing_subscriber::fmt().with_max_level(level);
    let _ = builder.with_ansi(false).with_writer(|| Keeper).try_init();
    assert_eq!(
        LevelFilter::current(),
        level,
        "all tests of one crate keep the same, or none of it means anything"
    );
}

/// What was logged so far.
pub fn text() -> String {
    String::from_utf8_lossy(&LINES.lock().unwrap()).into_owned()
}

/// Waits for a line that has all of these parts.
pub fn wait(parts: &[&str]) -> String {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let text = String::from_utf8_lossy(&LINES.lock().unwrap()).into_owned();
        if let Some(line) = text.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no line has {parts:?}:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many lines have all of these parts.
pub fn count(parts: &[&str]) -> usize {
    let text = String::from_utf8_lossy(&LINES.lock().unwrap()).into_owned();
    text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}
