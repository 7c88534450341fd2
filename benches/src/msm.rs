//! A proxy under test, with its publishers and readers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::addresses::{free_port_pair, reader_ip};
use crate::process::Process;
use crate::rtsp::{Publisher, Reader};

/// Names the proxy's binary; without it the bench builds one.
pub const BINARY: &str = "MSM_PROXY";

/// How long the proxy may take to open its port.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a publisher sends its sender report (RFC 3550 §6.2, the least interval).
const REPORT: Duration = Duration::from_secs(5);

/// Sessions are kept alive when this long has passed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Builds the release binary of this workspace, unless [`BINARY`] names one.
///
/// # Errors
///
/// It does not build.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY) {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--package", "msm-proxy", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .status()?;
    if !built.success() {
        return Err("msm-proxy does not build".into());
    }
    Ok(target_directory()?.join("release/msm-proxy"))
}

/// Cargo's target directory: this executable is in its `release`, or in `release/deps`.
///
/// # Errors
///
/// It is somewhere else.
pub fn target_directory() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let release = executable.ancestors().find(|above| above.ends_with("release"));
    Ok(release.and_then(Path::parent).ok_or("no target directory")?.to_owned())
}

/// The proxy's process, publishers and readers.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    server: SocketAddr,
    publishers: Vec<Publisher>,
    readers: Vec<Reader>,
    kept_alive: Instant,
    /// `None` before the first reports.
    reported: Option<Instant>,
}

impl Proxy {
    /// Starts the proxy with so many workers.
    ///
    /// # Errors
    ///
    /// It does not open its port in time.
    pub fn start(workers: usize, cpu: Option<usize>) -> Result<Self> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let configuration = configuration(server, free_port_pair()?, workers);
        Ok(Self {
            process: start(server, &configuration, cpu)?,
            server,
            publishers: Vec::new(),
            readers: Vec::new(),
            kept_alive: Instant::now(),
            reported: None,
        })
    }

    /// Adds a published stream, and `readers` readers of it from address number `first` on.
    ///
    /// # Errors
    ///
    /// The proxy refused.
    pub fn stream(&mut self, readers: usize, first: usize, port: u16) -> Result<()> {
        let path = format!("bench/{}", self.publishers.len());
        self.publishers.push(Publisher::start(self.server, &path)?);
        for index in first..first + readers {
            self.readers.push(Reader::start(self.server, &path, reader_ip(index), port)?);
        }
        Ok(())
    }

    /// Adds `readers` readers to the first stream.
    ///
    /// # Errors
    ///
    /// The proxy refused.
    pub fn readers(&mut self, readers: usize, port: u16) -> Result<()> {
        for index in 0..readers {
            self.readers.push(Reader::start(self.server, "bench/0", reader_ip(index), port)?);
        }
        Ok(())
    }

    /// Where it listens.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The proxy's process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The published streams.
    pub fn publishers(&mut self) -> &mut [Publisher] {
        &mut self.publishers
    }

    /// Sends sender reports and keep-alives when they are due.
    ///
    /// # Errors
    ///
    /// A session is gone.
    pub fn keep_alive(&mut self) -> Result<()> {
        if self.reported.is_none_or(|reported| reported.elapsed() >= REPORT) {
            self.reported = Some(Instant::now());
            for publisher in &mut self.publishers {
                publisher.report()?;
            }
        }
        if self.kept_alive.elapsed() > KEEP_ALIVE {
            self.kept_alive = Instant::now();
            for publisher in &mut self.publishers {
                publisher.keep_alive()?;
            }
            for reader in &mut self.readers {
                reader.keep_alive()?;
            }
        }
        Ok(())
    }
}

/// Starts a proxy with this configuration, which has it listen there.
///
/// # Errors
///
/// It does not open its port in time.
pub fn start(server: SocketAddr, configuration: &str, cpu: Option<usize>) -> Result<Process> {
    let file = std::env::temp_dir().join(format!("msm-bench-{}.yaml", server.port()));
    std::fs::write(&file, configuration)?;
    let mut process = Process::spawn(command(&file)?, cpu)?;
    let begin = Instant::now();
    while TcpStream::connect(server).is_err() {
        if !process.is_running() {
            return Err(format!("the proxy ended at start; its configuration is {}", file.display()).into());
        }
        if begin.elapsed() > PATIENCE {
            return Err("the proxy does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::fs::remove_file(&file)?;
    Ok(process)
}

/// How the proxy is started.
fn command(file: &Path) -> Result<Command> {
    let mut command = Command::new(binary_path()?);
    command.args(["run", "--config"]).arg(file).env("RUST_LOG", "warn");
    Ok(command)
}

/// Where [`binary`] put it.
fn binary_path() -> Result<PathBuf> {
    match std::env::var_os(BINARY) {
        Some(path) => Ok(path.into()),
        None => Ok(target_directory()?.join("release/msm-proxy")),
    }
}

/// One listener, and one route that takes what is published and gives it to readers.
fn configuration(server: SocketAddr, media: u16, workers: usize) -> String {
    format!(
        "workers: {workers}\n\
         admin: {{address: off, metrics: off, ready: off}}\n\
         log: {{level: warn}}\n\
         limits: {{connections: 20000, connections_per_peer: 20000, sessions_per_peer: 20000, setup_rate: 100000, \
         readers: 20000, streams: 2000, session_timeout: 10m}}\n\
         listeners:\n  - {{name: bench, address: \"{server}\", protocol: rtsp, ports: \"{media}-{}\"}}\n\
         routes:\n  - {{name: bench, match: {{url: \"rtsp://*/bench/{{name}}\", actions: [read, publish]}}}}\n",
        media + 1
    )
}
