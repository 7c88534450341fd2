//! What became of the configurations of a mesh, for the status.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The configuration in force, and what became of the last one that was to take its place.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConfigurationStatus {
    /// The file that it was read from.
    pub file: Option<String>,
    /// Unix time since which it is in force, in seconds.
    pub applied: u64,
    /// Keys whose values are not in force before a restart.
    pub restart: Vec<String>,
    /// The last configuration, if it was refused.
    pub refused: Option<RefusedStatus>,
}

/// A configuration that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefusedStatus {
    /// Unix time at which it was first, in seconds.
    pub when: u64,
    /// What is wrong with it: file, line and key.
    pub problems: Vec<String>,
}

/// See [`ConfigurationStatus`].
#[derive(Default)]
pub(crate) struct History(Mutex<ConfigurationStatus>);

impl History {
    /// The first configuration is in force.
    pub(crate) fn begin(&self, file: Option<PathBuf>) {
        self.change(|own| {
            own.file = file.map(|file| file.display().to_string());
            own.applied = seconds(SystemTime::now());
        });
    }

    /// Another configuration was looked at and is as before, or is `applied`.
    pub(super) fn accept(&self, file: Option<PathBuf>, restart: &[String], applied: Option<SystemTime>) {
        self.change(|own| {
            if let Some(file) = file {
                own.file = Some(file.display().to_string());
            }
            own.applied = applied.map_or(own.applied, seconds);
            own.restart = restart.to_vec();
            own.refused = None;
        });
    }

    /// Another configuration was refused. Answers whether that is news: the same problems are told once.
    pub(super) fn refuse(&self, problems: Vec<String>) -> bool {
        self.change(|own| {
            if own.refused.as_ref().is_some_and(|before| before.problems == problems) {
                return false;
            }
            own.refused = Some(RefusedStatus { when: seconds(SystemTime::now()), problems });
            true
        })
    }

    pub(super) fn restart(&self) -> Vec<String> {
        self.change(|own| own.restart.clone())
    }

    pub(crate) fn status(&self) -> ConfigurationStatus {
        self.change(|own| own.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut ConfigurationStatus) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_problems_are_told_once() {
        let history = History::default();
        let problem = |text: &str| vec![text.to_owned()];
        assert!(history.refuse(problem("a")));
        let first = history.status().refused.unwrap();
        assert!(!history.refuse(problem("a")));
        assert_eq!(history.status().refused, Some(first));
        assert!(history.refuse(problem("b")));
        history.accept(None, &[], None);
        assert!(history.status().refused.is_none());
        assert!(history.refuse(problem("b")), "it was right meanwhile");
    }
}
