//! What a change of ten thousand routes costs those who read meanwhile.
//!
//! `cargo run --release -p msm-benches --bin reload -- [--routes N] [--reloads N] [--slowest N]`
//!
//! Two files of so many routes take turns at a running proxy, by SIGHUP, while a stream of 1000 packets a second goes through it to four
//! readers. Printed are the time from the signal until the new routes are in force, as the proxy says it, and the delay of packets
//! ([`oneway`]): through the proxy, and of as many that go straight to other sockets in the same run, which is what the machine is late by
//! itself; all of it once without reloads as well, and then again where the proxy's workers are real-time (`real_time: true`). `--slowest N`
//! says when the slowest were sent. Exits with 1 if a bound is missed, by packets through the proxy until they are in the reader's socket, with
//! 2 if it could not run. Bounds of the delay are for real-time workers, whom no other thread keeps waiting; where these are not allowed, for
//! the others. `MSM_PROXY` names another binary.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use msm_benches::addresses::{free_port_pair, reader_ip};
use msm_benches::oneway::{self, Clock, Outcome};
use msm_benches::rtsp::{Publisher, Reader};
use msm_benches::{Result, msm};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const READERS: usize = 4;
/// From one reload to the next.
const EVERY: Duration = Duration::from_millis(500);

const MAX_RELOAD: Duration = Duration::from_millis(400);
const MAX_DELAY_999: Duration = Duration::from_millis(2);
const MAX_DELAY: Duration = Duration::from_millis(5);

/// Ended with this.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Routes that are all other ones, or go elsewhere, in the next version; one serves the stream.
fn configuration(server: SocketAddr, media: u16, options: &Options, version: usize) -> String {
    let Options { routes, real_time, .. } = *options;
    let mut text = format!(
        "workers: 2\nreal_time: {real_time}\nadmin: {{address: off, metrics: off, ready: off}}\n\
         listeners: [{{address: \"{server}\", ports: {media}}}]\nroutes:\n  - {{name: bench, match: {{url: \"/bench/{{name}}\"}}}}\n"
    );
    for route in 1..routes {
        let place = if route % 2 == 0 { version } else { 0 };
        let _ = writeln!(
            text,
            "  - {{name: r{route}-{place}, match: {{url: \"/site{route}/{{camera}}/v{place}\"}}, rewrite: \"/live/{version}/{{camera}}\"}}"
        );
    }
    text
}

fn start(file: &Path, server: SocketAddr) -> Result<(Proxy, Receiver<Duration>)> {
    let mut command = Command::new(msm::binary()?);
    command.args(["run", "--config"]).arg(file).env_remove("RUST_LOG").stdin(Stdio::null());
    let mut proxy = Proxy(command.stderr(Stdio::piped()).spawn()?);
    let lines = BufReader::new(proxy.0.stderr.take().ok_or("no standard error")?);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in lines.lines().map_while(std::result::Result::ok) {
            if line.contains("configuration refused") {
                eprintln!("{line}");
            }
            let took =
                line.split_once("configuration applied").and_then(|(_, rest)| rest.split_once("took_ms="));
            let took = took.and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
            if let Some(took) = took {
                let _ = tell.send(Duration::from_secs_f64(took / 1000.0));
            }
        }
    });
    let began = Instant::now();
    while TcpStream::connect(server).is_err() {
        if began.elapsed() > Duration::from_secs(20) {
            return Err("the proxy does not listen".into());
        }
        sleep(Duration::from_millis(10));
    }
    Ok((proxy, told))
}

/// Sends and receives while `work` is done.
fn measure(server: SocketAddr, path: &str, work: impl FnOnce(Clock) -> Result<()>) -> Result<Outcome> {
    let mut publisher = Publisher::start(server, path)?;
    let port = free_port_pair()?;
    let mut sinks = Vec::new();
    let mut readers = Vec::new();
    for reader in 0..READERS {
        let ip = reader_ip(reader);
        sinks.push(UdpSocket::bind((ip, port))?);
        readers.push(Reader::start(server, path, ip, port)?);
    }
    oneway::measure(&mut publisher, &sinks, work)
}

fn print(what: &str, outcome: &Outcome) {
    println!("{what}, through the proxy: {}", outcome.relayed.line());
    println!("{what}, straight:          {}", outcome.straight.line());
}

/// The file that the proxy reads, and the versions that take turns there. They are written before anything is measured.
struct Files {
    file: PathBuf,
    versions: [PathBuf; 2],
}

impl Files {
    fn write(server: SocketAddr, options: &Options) -> Result<Self> {
        let media = free_port_pair()?;
        let file = std::env::temp_dir().join(format!("msm-bench-reload-{}.yaml", std::process::id()));
        let versions = ["one", "two"].map(|version| file.with_extension(version));
        for (version, file) in versions.iter().enumerate() {
            std::fs::write(file, configuration(server, media, options, version + 1))?;
        }
        let files = Self { file, versions };
        files.put(0)?;
        Ok(files)
    }

    /// Puts a version in the place of the other.
    fn put(&self, turn: usize) -> Result<()> {
        let next = self.file.with_extension("next");
        let version = if turn.is_multiple_of(2) { &self.versions[0] } else { &self.versions[1] };
        std::fs::hard_link(version, &next)?;
        Ok(std::fs::rename(next, &self.file)?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in self.versions.iter().chain([&self.file]) {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// From the signal until the new routes were in force.
struct Turn {
    from: u64,
    to: u64,
}

/// Says when the slowest packets were sent, by when reloads went on.
fn print_slowest(outcome: &Outcome, turns: &[Turn], count: usize) {
    let ms = |nanos: u64| nanos as f64 / 1e6;
    for (what, delays) in [("through the proxy", &outcome.relayed), ("straight", &outcome.straight)] {
        for delay in delays.slowest().take(count) {
            let turn = turns.iter().rev().find(|turn| turn.from <= delay.sent);
            let place = turn.map_or_else(
                || format!("{:.1} ms after the beginning", ms(delay.sent)),
                |turn| {
                    let (since, took) = (ms(delay.sent - turn.from), ms(turn.to - turn.from));
                    format!("{since:.1} ms after the signal of a reload that took {took:.1} ms")
                },
            );
            println!(
                "  {:.3} ms to the socket, {:.3} ms to its thread, {what}, sent {place}",
                ms(delay.socket),
                ms(delay.thread)
            );
        }
    }
}

/// What is run.
struct Options {
    routes: usize,
    reloads: usize,
    /// Packets whose delay is told.
    slowest: usize,
    real_time: bool,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut own = Self { routes: 10_000, reloads: 20, slowest: 0, real_time: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{argument} takes a value"))?.parse()?;
            match argument.as_str() {
                "--routes" => own.routes = value,
                "--reloads" => own.reloads = value,
                "--slowest" => own.slowest = value,
                _ => return Err(format!("unknown argument {argument}").into()),
            }
        }
        Ok(own)
    }
}

/// Whether the bound of the reload is met, and those of the delay.
fn run(options: &Options) -> Result<(bool, bool)> {
    let Options { routes, reloads, slowest, .. } = *options;
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let files = Files::write(server, options)?;
    let (proxy, told) = start(&files.file, server)?;
    let still = measure(server, "bench/still", |_| {
        sleep(EVERY * u32::try_from(reloads)?);
        Ok(())
    })?;
    let (mut took, mut turns) = (Vec::new(), Vec::new());
    let changing = measure(server, "bench/changing", |clock| {
        for turn in 1..=reloads {
            files.put(turn)?;
            let from = clock.now();
            kill(Pid::from_raw(i32::try_from(proxy.0.id())?), Signal::SIGHUP)?;
            took.push(told.recv_timeout(Duration::from_secs(60))?);
            turns.push(Turn { from, to: clock.now() });
            sleep(EVERY);
        }
        Ok(())
    })?;
    took.sort_unstable();
    let (Some(median), Some(longest)) = (took.get(took.len() / 2), took.last()) else {
        return Err("nothing was measured".into());
    };
    println!(
        "{}, reload of {routes} routes, {reloads} times: median {:.0} ms, max {:.0} ms",
        if options.real_time { "real-time workers" } else { "workers as other threads" },
        median.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3
    );
    print("without reloads", &still);
    print_slowest(&still, &[], slowest);
    print("with reloads", &changing);
    print_slowest(&changing, &turns, slowest);
    let delays = &changing.relayed;
    let in_time = delays.at(0.999) <= MAX_DELAY_999 && delays.at(1.0) <= MAX_DELAY && delays.lost == 0;
    Ok((*median <= MAX_RELOAD, in_time))
}

fn run_both() -> Result<bool> {
    let options = Options::from_arguments()?;
    let (soon, in_time) = run(&options)?;
    let allowed = std::thread::spawn(msm_udp::be_real_time).join().is_ok_and(|allowed| allowed.is_ok());
    if !allowed {
        println!("real-time workers: SKIPPED, they take CAP_SYS_NICE or RLIMIT_RTPRIO");
        return Ok(soon && in_time);
    }
    let (also_soon, in_time) = run(&Options { real_time: true, ..options })?;
    Ok(soon && also_soon && in_time)
}

fn main() -> ExitCode {
    match run_both() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "a bound is missed: reload {MAX_RELOAD:?}, delay p99.9 {MAX_DELAY_999:?} and max {MAX_DELAY:?}, no packet lost"
            );
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
