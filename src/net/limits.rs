//! What the kernel allows this process, checked once at start-up, with the command that mends it.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Socket buffers smaller than this lose packets of a burst of keyframes from many streams.
pub(crate) const WANTED_SOCKET_BUFFER: u64 = 4 * 1024 * 1024;
/// Each reader holds one TCP connection; each upstream one and four UDP sockets.
pub(crate) const WANTED_OPEN_FILES: u64 = 16_384;

/// Raises the soft open-file limit to the hard one and returns a line of advice for each limit that is too small.
pub(crate) fn check() -> Vec<String> {
    let mut advice = Vec::new();
    for (key, what) in [("rmem_max", "receive"), ("wmem_max", "send")] {
        let value = fs::read_to_string(format!("/proc/sys/net/core/{key}"))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(line) = value.and_then(|value| socket_advice(key, what, value)) {
            advice.push(line);
        }
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let raised =
            if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
        if let Some(line) = file_advice(raised) {
            advice.push(line);
        }
    }
    advice
}

fn socket_advice(key: &str, what: &str, value: u64) -> Option<String> {
    (value < WANTED_SOCKET_BUFFER).then(|| {
        format!(
            "the kernel caps {what} buffers at {value} bytes: bursts may be dropped at the socket; \
             run `sysctl -w net.core.{key}={WANTED_SOCKET_BUFFER}`"
        )
    })
}

fn file_advice(limit: u64) -> Option<String> {
    (limit < WANTED_OPEN_FILES).then(|| {
        format!("only {limit} files may be open: readers beyond that are refused; run `ulimit -n {WANTED_OPEN_FILES}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_value_to_set() {
        let line = socket_advice("rmem_max", "receive", 212_992).unwrap();
        assert!(line.contains("sysctl -w net.core.rmem_max=4194304"), "{line}");
        assert!(socket_advice("rmem_max", "receive", WANTED_SOCKET_BUFFER).is_none());
        assert!(file_advice(1024).unwrap().contains("ulimit -n 16384"));
        assert!(file_advice(1 << 20).is_none());
    }
}
