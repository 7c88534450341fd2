//! Endpoints from files in the format of Prometheus' `file_sd`.

mod parse;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use msm_core::cluster::EndpointSpec;

use super::{Found, Source, settle};
use crate::watched::{Stamp, stamp};

/// How often files are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files of one cluster.
const MAX_FILES: usize = 100;

/// Which files, and what stands for what they do not say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilesSpec {
    /// Files; `*` in a file's name stands for anything.
    pub(crate) patterns: Vec<PathBuf>,
    /// The port of targets without one, unless it is the scheme's.
    pub(crate) port: Option<u16>,
    /// Targets in the clear are refused: keys would be sent to them.
    pub(crate) tls_only: bool,
}

/// Looks at files, again and again.
pub(super) struct Files {
    spec: FilesSpec,
    read: BTreeMap<PathBuf, Read>,
    told: Option<Found>,
}

/// What is known of a file.
#[derive(Default)]
struct Read {
    /// The state of the file that it was read in.
    stamp: Stamp,
    /// What it listed when it last could be used.
    endpoints: Vec<EndpointSpec>,
    problem: Option<String>,
}

impl Files {
    pub(super) fn new(spec: FilesSpec) -> Self {
        Self { spec, read: BTreeMap::new(), told: None }
    }

    /// What the files say now. Waits for the disk.
    fn look(&mut self) -> Found {
        let mut problem = None;
        let paths = self.paths(&mut problem);
        // Whoever takes a file away that a pattern matched takes its targets away; those of a file that is named stay until it is back.
        self.read.retain(|path, _| paths.contains(path));
        for path in paths {
            self.read.entry(path.clone()).or_default().refresh(&path, &self.spec);
        }
        let problems = self.read.values().filter_map(|read| read.problem.clone());
        let mut problem = problem.into_iter().chain(problems).next();
        let known = self.read.values().any(|read| read.stamp.is_some());
        let endpoints = self.read.values().flat_map(|read| read.endpoints.iter().cloned()).collect();
        let endpoints = known.then(|| settle(endpoints, &mut problem));
        Found { endpoints, problem }
    }

    /// The files that there are; those that are named, whether they are there or not.
    fn paths(&self, problem: &mut Option<String>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for pattern in &self.spec.patterns {
            let name = pattern.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if !name.contains('*') {
                paths.push(pattern.clone());
                continue;
            }
            match matching(pattern, name) {
                Ok(found) if found.is_empty() => {
                    problem.get_or_insert_with(|| format!("{}: no file matches", pattern.display()));
                    // The last that matched: a folder that is being filled is not an order to stop.
                    paths.extend(self.read.keys().filter(|path| is_of(path, pattern, name)).cloned());
                }
                Ok(found) => paths.extend(found),
                Err(error) => {
                    problem.get_or_insert_with(|| format!("{}: {error}", pattern.display()));
                    paths.extend(self.read.keys().filter(|path| is_of(path, pattern, name)).cloned());
                }
            }
        }
        paths.sort();
        paths.dedup();
        if paths.len() > MAX_FILES {
            problem.get_or_insert_with(|| {
                format!("{} files match, and only the first {MAX_FILES} are used", paths.len())
            });
            paths.truncate(MAX_FILES);
        }
        paths
    }
}

impl Read {
    fn refresh(&mut self, path: &Path, spec: &FilesSpec) {
        let now = stamp(path);
        if now.is_some() && now == self.stamp && self.problem.is_none() {
            return;
        }
        let read = parse::read(path, spec);
        if stamp(path) != now {
            // Being written: looked at again in a moment.
            return;
        }
        match read {
            Ok(endpoints) => *self = Self { stamp: now, endpoints, problem: None },
            Err(why) => self.problem = Some(format!("{}: {why}", path.display())),
        }
    }
}

/// Files in the pattern's folder whose names match.
fn matching(pattern: &Path, name: &str) -> std::io::Result<Vec<PathBuf>> {
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|own| is_match(own, name)) {
            found.push(folder.unwrap_or(Path::new("")).join(entry.file_name()));
        }
    }
    Ok(found)
}

fn is_of(path: &Path, pattern: &Path, name: &str) -> bool {
    path.parent() == pattern.parent()
        && path.file_name().and_then(OsStr::to_str).is_some_and(|own| is_match(own, name))
}

/// Whether `*` can stand for what makes the name of the pattern. Names that begin with a dot are hidden, as in shells.
fn is_match(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some((_, after)) = rest.split_once(middle) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

impl Source for Files {
    const KIND: &'static str = "file";

    fn describe(&self) -> String {
        let shown: Vec<_> = self.spec.patterns.iter().map(|pattern| pattern.display().to_string()).collect();
        shown.join(", ")
    }

    async fn next(&mut self) -> Found {
        loop {
            if self.told.is_some() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let mut own = Self { spec: self.spec.clone(), read: std::mem::take(&mut self.read), told: None };
            let looked = tokio::task::spawn_blocking(move || {
                let found = own.look();
                (own.read, found)
            });
            let Ok((read, found)) = looked.await else {
                // It ends with the process only.
                return std::future::pending().await;
            };
            self.read = read;
            let new = Found { endpoints: found.endpoints.clone(), problem: found.problem.clone() };
            if self.told.replace(found).as_ref() != Some(&new) {
                return new;
            }
        }
    }
}

#[cfg(test)]
mod tests;
