//! The library as it is installed, and programs against it.
#![allow(dead_code, unreachable_pub, reason = "each crate of tests uses its part")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use crate::need;

/// What `make install` has installed, outside the repository.
pub struct Installed {
    dir: TempDir,
}

/// A compiled program.
pub struct Program {
    path: PathBuf,
    libraries: PathBuf,
}

/// How long a program may take: under valgrind, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a program says, which has to succeed in time.
pub fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let read = |mut stream: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (said, complained) =
        (read(Box::new(child.stdout.take().unwrap())), read(Box::new(child.stderr.take().unwrap())));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.to_string();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break format!("it has not ended after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let (said, complained) = (said.join().unwrap(), complained.join().unwrap());
    assert!(status == "exit status: 0", "{shown}: {status}\n{said}{complained}");
    said
}

/// The newest of a build's files that begin and end so.
fn built(begins: &str, ends: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let files = std::fs::read_dir(&deps).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(begins) && name.ends_with(ends)
    });
    let time =
        |path: &PathBuf| path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    files.max_by_key(time).unwrap_or_else(|| panic!("{begins}…{ends} is built, in {}", deps.display()))
}

impl Installed {
    /// None where there is nothing to compile with: says so.
    pub fn get() -> Option<&'static Self> {
        static INSTALLED: OnceLock<Option<Installed>> = OnceLock::new();
        let missing = ["cc", "c++", "make", "pkg-config", "valgrind", "nm", "readelf"]
            .into_iter()
            .find(|tool| Command::new(tool).arg("--version").output().is_err());
        if let Some(missing) = missing {
            need::skip(&format!("there is no {missing}"), true);
            return None;
        }
        INSTALLED.get_or_init(|| Some(Self::install())).as_ref()
    }

    fn install() -> Self {
        let dir = TempDir::new().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let program = std::env::current_exe().unwrap();
        let proxy = program.parent().unwrap().with_file_name("msm-proxy");
        let mut make = Command::new("make");
        make.arg("-C").arg(root).arg("install").arg(format!("PREFIX={}", dir.path().join("own").display()));
        make.arg(format!("STATIC_LIBRARY={}", built("libmsm_ffi", ".a").display()));
        // Tests of this crate alone build no proxy, and none of them runs it.
        make.arg(format!("PROGRAM={}", if proxy.exists() { &proxy } else { &program }.display()));
        run(&mut make);
        Self { dir }
    }

    pub fn prefix(&self) -> PathBuf {
        self.dir.path().join("own")
    }

    pub fn pkg_config(&self) -> Command {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", self.prefix().join("lib/pkgconfig"));
        command
    }

    /// A program of `tests/c`, or of a path, by what `pkg-config --cflags --libs msm` says.
    pub fn compile(&self, source: &str, options: &[&str]) -> Program {
        self.compile_with(source, options, false)
    }

    pub fn compile_with(&self, source: &str, options: &[&str], whole: bool) -> Program {
        let prefix = self.prefix();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(source);
        let name = from.file_name().unwrap().to_string_lossy().into_owned();
        let unique = format!("{name}-{}-{}", options.len(), u8::from(whole));
        let path = self.dir.path().join(format!("{unique}-{:?}", std::thread::current().id()));
        let mut command = if name.ends_with("pp") {
            let mut command = Command::new("c++");
            command.arg("-std=c++17");
            command
        } else {
            let mut command = Command::new("cc");
            command.args(["-std=c11", "-D_GNU_SOURCE"]);
            command
        };
        command.args(["-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]);
        command.current_dir(self.dir.path()).arg("-o").arg(&path).arg(from).args(options);
        let mut asked = self.pkg_config();
        asked.args(["--cflags", "--libs"]);
        if whole {
            asked.arg("--static");
        }
        let flags = run(asked.arg("msm"));
        if whole {
            // Of the two, the linker prefers the shared one.
            command.args(
                flags.split_whitespace().map(|flag| if flag == "-lmsm" { "-l:libmsm.a" } else { flag }),
            );
        } else {
            command.args(flags.split_whitespace());
        }
        run(&mut command);
        Program { path, libraries: prefix.join("lib") }
    }
}

impl Program {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        self.environment(&mut command);
        command
    }

    /// Where the library is, for whatever runs the program.
    pub fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_LIBRARY_PATH", &self.libraries)
    }
}
