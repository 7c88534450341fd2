//! Child processes with their output in files, a time limit, and an end with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A running process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) name: String,
    /// `None`: killed because its time was over.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    /// # Panics
    ///
    /// When it failed or took too long, with its last words.
    pub(crate) fn success(self) -> Self {
        let well = self.status.is_some_and(|status| status.success());
        assert!(well, "{}: {:?}\n{}\n{}", self.name, self.status, tail(&self.out), tail(&self.err));
        self
    }
}

impl Process {
    /// Starts `command`; its output goes to `{dir}/{name}.out` and `.err`.
    pub(crate) fn start(dir: &Path, name: &str, mut command: Command) -> Process {
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Process { name: name.to_owned(), child, out, err }
    }

    /// What it has written to standard output.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// What it has written to standard error.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready` is true of it.
    ///
    /// # Panics
    ///
    /// When it ends before, or is not after `limit`.
    pub(crate) fn until(&mut self, limit: Duration, what: &str, mut ready: impl FnMut(&Process) -> bool) {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{}: {status} before {what}\n{}\n{}", self.name, tail(&self.out()), tail(&self.err()));
            }
            assert!(
                Instant::now() < deadline,
                "{}: no {what} in {limit:?}\n{}\n{}",
                self.name,
                tail(&self.out()),
                tail(&self.err())
            );
            sleep(POLL);
        }
    }

    /// Waits for its end, and kills it after `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() >= deadline {
                break None;
            }
            sleep(POLL);
        };
        self.end();
        Finished { name: self.name.clone(), status, out: self.out(), err: self.err() }
    }

    /// Asks it to end by `SIGINT`, as Ctrl-C does, then waits.
    pub(crate) fn interrupt(self, limit: Duration) -> Finished {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        self.finish(limit)
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        for (stream, text) in [("output", self.out()), ("error", self.err())] {
            if std::thread::panicking() && !text.is_empty() {
                println!("--- {}, standard {stream}:\n{}", self.name, tail(&text));
            }
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
