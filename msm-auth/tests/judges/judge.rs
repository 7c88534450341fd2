//! The programs that ask a Workload API through other people's clients.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::need::skip;

/// Nothing takes that long; what has not come by then never will. Longer than what the judges give the agent.
const LIMIT: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Judge {
    /// `github.com/spiffe/go-spiffe/v2`.
    GoSpiffe,
    /// PyPI's `spiffe`.
    Python,
}

fn peers() -> PathBuf {
    let peers = std::env::var_os("MSM_PEERS_DIR").map(PathBuf::from);
    peers.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.peers"))
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(file)
}

/// Whether Go is there, and new enough for go-spiffe: the installer asks the same.
fn has_go() -> bool {
    let Ok(output) = Command::new("go").args(["env", "GOVERSION"]).stderr(Stdio::null()).output() else {
        return false;
    };
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let minor =
        version.trim().strip_prefix("go1.").and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 25)
}

impl Judge {
    /// What it is called here and in the directory of peers.
    fn name(self) -> &'static str {
        match self {
            Self::GoSpiffe => "go-spiffe",
            Self::Python => "python",
        }
    }

    fn dir(self) -> PathBuf {
        peers().join(self.name())
    }

    /// What the installer makes it of, and notes beside it in `made-of`.
    fn made_of(self) -> &'static [&'static str] {
        match self {
            Self::GoSpiffe => &["go-spiffe/main.go", "go-spiffe/go.mod", "go-spiffe/go.sum"],
            Self::Python => &["python/requirements.txt"],
        }
    }

    fn program(self) -> PathBuf {
        self.dir().join(match self {
            Self::GoSpiffe => "judge",
            Self::Python => "bin/python",
        })
    }

    /// Whether it can be asked. Says so if not, as [`skip`] does.
    pub(crate) fn is_here(self) -> bool {
        let read = |file: &Path| std::fs::read(file).unwrap_or_default();
        let wanted: Vec<u8> = self.made_of().iter().flat_map(|file| read(&source(file))).collect();
        if self.program().exists() && read(&self.dir().join("made-of")) == wanted {
            return true;
        }
        let mut why = format!("{}, as tests/judges has it, is not in {}", self.name(), self.dir().display());
        let installable = match self {
            Self::GoSpiffe => has_go(),
            Self::Python => true,
        } && !self.dir().join("unavailable").exists();
        if !installable {
            why += ", and cannot be installed here";
        }
        skip(&why, installable);
        false
    }

    fn start(self, verb: &str, endpoint: &str) -> Asked {
        let mut command = Command::new(self.program());
        if let Self::Python = self {
            command.arg(source("python/judge.py"));
        }
        command.arg(verb).arg(endpoint).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        Asked { judge: self, child, lines }
    }

    /// The one line that it says of an agent's state.
    pub(crate) fn fetch(self, endpoint: &str) -> String {
        let asked = self.start("fetch", endpoint);
        let line = asked.line();
        let more = asked.lines.recv_timeout(LIMIT);
        assert_eq!(more, Err(RecvTimeoutError::Disconnected), "{self:?} says one line and ends");
        line
    }

    /// Lets it follow an agent.
    pub(crate) fn watch(self, endpoint: &str) -> Asked {
        self.start("watch", endpoint)
    }
}

/// A judge that was asked. Ended when dropped.
pub(crate) struct Asked {
    judge: Judge,
    child: Child,
    lines: Receiver<String>,
}

impl Asked {
    /// The next line.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(LIMIT);
        line.unwrap_or_else(|error| panic!("{:?} says nothing: {error}", self.judge))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
