//! What is made of files, and made again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::shared::Shared;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Something made of files. What was made last stays when the files have become wrong.
pub(crate) struct Watched<T> {
    /// For logs: whose files these are.
    name: String,
    files: Vec<PathBuf>,
    make: Make<T>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Of which state of the files the current is made.
    used: Vec<Stamp>,
    /// The state that could not be used, and why: told once, and tried again, as the files may not be to blame.
    refused: Option<(Vec<Stamp>, String)>,
}

type Make<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

/// What tells one state of a file from the next: when it was written, its size, and which file it is.
pub(crate) type Stamp = Option<(i64, i64, u64, u64)>;

impl<T: Send + Sync + 'static> Watched<T> {
    /// Makes it for the first time.
    pub(crate) fn new<E: std::fmt::Display>(
        name: impl Into<String>,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, E> {
        // Looked at before they are read: what changes meanwhile is read again.
        let seen = Mutex::new(Seen { used: stamps(&files), refused: None });
        let current = ArcSwap::from_pointee(make()?);
        let make = Box::new(move || make().map_err(|error| error.to_string()));
        Ok(Arc::new(Self { name: name.into(), files, make, current, seen }))
    }

    /// As it is now.
    pub(crate) fn get(&self) -> Arc<T> {
        self.current.load_full()
    }
}

/// Files to look at, whatever is made of them.
pub(crate) trait Refresh: Send + Sync {
    /// Makes it again if a file has changed. Waits for the disk: not for threads that carry media.
    fn refresh(&self);
}

impl<T: Send + Sync + 'static> Refresh for Watched<T> {
    fn refresh(&self) {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.used == now {
            return;
        }
        match (self.make)() {
            Ok(made) => {
                self.current.store(Arc::new(made));
                *seen = Seen { used: now, refused: None };
                tracing::info!(name = self.name, "files were read again");
            }
            Err(error) => {
                let refused = Some((now, error));
                if seen.refused == refused {
                    return;
                }
                tracing::error!(
                    name = self.name,
                    error = refused.as_ref().map(|(_, error)| error),
                    "files have changed and cannot be used: the old stay in use"
                );
                seen.refused = refused;
            }
        }
    }
}

/// Looks at the files for as long as the worker lives, on a thread that carries no media.
pub(crate) async fn keep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let watched = shared.watched.load_full();
        if watched.is_empty() {
            continue;
        }
        let look = move || watched.iter().for_each(|one| one.refresh());
        if tokio::task::spawn_blocking(look).await.is_err() {
            tracing::error!("files are watched no longer");
            return;
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

/// The state of a file now; of a symlink, of what it points to.
pub(crate) fn stamp(file: &Path) -> Stamp {
    let about = fs::metadata(file).ok()?;
    Some((about.mtime(), about.mtime_nsec(), about.len(), about.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("number");
        fs::write(&file, "1").unwrap();
        let path = file.clone();
        let make = move || fs::read_to_string(&path).unwrap_or_default().parse::<u32>();
        let watched = Watched::new("test", vec![file.clone()], make).unwrap();
        assert_eq!(*watched.get(), 1);
        watched.refresh();
        fs::write(&file, "22").unwrap();
        assert_eq!(*watched.get(), 1, "nobody has looked");
        watched.refresh();
        assert_eq!(*watched.get(), 22);
        for wrong in [Some("many"), None] {
            match wrong {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            watched.refresh();
            assert_eq!(*watched.get(), 22);
        }
        fs::write(&file, "333").unwrap();
        watched.refresh();
        assert_eq!(*watched.get(), 333);
    }

    #[test]
    fn what_could_not_be_made_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("number");
        fs::write(&file, "1").unwrap();
        let (path, broken) = (file.clone(), Arc::new(AtomicBool::new(false)));
        let is_broken = Arc::clone(&broken);
        let make = move || {
            if is_broken.load(Ordering::Relaxed) {
                return Err("too many open files".to_owned());
            }
            Ok(fs::read_to_string(&path).unwrap_or_default())
        };
        let watched = Watched::new("test", vec![file.clone()], make).unwrap();
        fs::write(&file, "22").unwrap();
        broken.store(true, Ordering::Relaxed);
        watched.refresh();
        watched.refresh();
        assert_eq!(*watched.get(), "1");
        // The file was right all the time.
        broken.store(false, Ordering::Relaxed);
        watched.refresh();
        assert_eq!(*watched.get(), "22");
    }

    #[test]
    fn nothing_is_made_without_its_file() {
        let make = || Err::<(), _>("no such file");
        assert!(Watched::new("test", vec!["/nowhere/at-all".into()], make).is_err());
    }
}
