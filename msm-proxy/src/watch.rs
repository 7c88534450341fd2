//! When the configuration file, and the files whose content is part of it, are to be read again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often files are looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// How often a configuration that was refused is tried again: the file may not be to blame, but a port or another file.
const AGAIN: Duration = Duration::from_secs(10);

/// What tells one state of a file from the next: which file a name leads to in the end, when that was written, and its size.
/// Kubernetes swaps a directory above it by a symbolic link, so the name alone says nothing.
pub(crate) type Stamp = Option<(u64, u64, i64, i64, u64)>;

/// The state of files now. Waits for the disk.
pub(crate) fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

pub(crate) fn stamp(file: &Path) -> Stamp {
    let about = fs::metadata(file).ok()?;
    Some((about.dev(), about.ino(), about.mtime(), about.mtime_nsec(), about.len()))
}

/// What was read, and what has been seen since.
pub(crate) struct Watch {
    /// What was read last.
    read: Vec<Stamp>,
    /// Another state, which is read when the next look finds it again: who writes a file may not be done.
    seen: Option<Vec<Stamp>>,
    /// When what was read was refused.
    refused: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(read: Vec<Stamp>) -> Self {
        Self { read, seen: None, refused: None }
    }

    /// Whether the files are to be read after a look that found `now`; at once if somebody has `asked`.
    pub(crate) fn look(&mut self, now: Vec<Stamp>, asked: bool, at: Instant) -> bool {
        let is_settled = self.seen.as_ref() == Some(&now);
        if asked || (now != self.read && is_settled) {
            (self.read, self.seen) = (now, None);
            return true;
        }
        if now != self.read {
            self.seen = Some(now);
            return false;
        }
        self.seen = None;
        self.refused.is_some_and(|since| at.saturating_duration_since(since) >= AGAIN)
    }

    /// What became of what was read.
    pub(crate) fn outcome(&mut self, accepted: bool, at: Instant) {
        self.refused = (!accepted).then_some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(size: u64) -> Vec<Stamp> {
        vec![Some((1, 1, 1, 1, size))]
    }

    #[test]
    fn a_file_is_read_when_two_looks_agree() {
        let now = Instant::now();
        let mut watch = Watch::new(state(1));
        assert!(!watch.look(state(1), false, now));
        assert!(!watch.look(state(2), false, now), "half written, perhaps");
        assert!(!watch.look(state(3), false, now), "it was");
        assert!(watch.look(state(3), false, now));
        assert!(!watch.look(state(3), false, now), "once");
        // It goes and comes back as it was, as when it is replaced.
        assert!(!watch.look(vec![None], false, now));
        assert!(!watch.look(state(3), false, now));
        assert!(!watch.look(vec![None], false, now));
        assert!(watch.look(vec![None], false, now), "that it is gone is told");
    }

    #[test]
    fn who_asks_does_not_wait() {
        let now = Instant::now();
        let mut watch = Watch::new(state(1));
        assert!(watch.look(state(1), true, now) && watch.look(state(2), true, now));
        assert!(!watch.look(state(2), false, now), "it was read");
    }

    #[test]
    fn what_was_refused_is_tried_again() {
        let now = Instant::now();
        let mut watch = Watch::new(state(1));
        assert!(watch.look(state(2), true, now));
        watch.outcome(false, now);
        assert!(!watch.look(state(2), false, now + AGAIN / 2));
        assert!(watch.look(state(2), false, now + AGAIN));
        watch.outcome(true, now + AGAIN);
        assert!(!watch.look(state(2), false, now + AGAIN * 3));
    }

    #[test]
    fn a_swapped_link_above_the_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["one", "two"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("msm.yaml"), "workers: 1\n").unwrap();
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        link("one", "..data");
        link("..data/msm.yaml", "msm.yaml");
        let file = dir.path().join("msm.yaml");
        let before = stamp(&file);
        assert!(before.is_some() && stamp(&file) == before);
        link("two", "..next");
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
        assert_ne!(stamp(&file), before);
    }
}
