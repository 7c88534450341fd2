//! What a change of ten thousand routes costs those who read meanwhile.
//!
//! `cargo run --release -p msm-benches --bin reload -- [--routes N] [--reloads N]`
//!
//! Two files of so many routes take turns at a running proxy, by SIGHUP, while a stream of 1000 packets a second goes through it to four
//! readers. Printed are the time from the signal until the new routes are in force, as the proxy says it, and the delay of packets from
//! before they are sent until they are received; the same without reloads is what the machine does by itself. Exits with 1 if a
//! bound is missed, with 2 if it could not run. `MSM_PROXY` names another binary.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use msm_benches::addresses::{free_port_pair, reader_ip};
use msm_benches::rtsp::{Publisher, Reader};
use msm_benches::{Result, msm, rtp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const READERS: usize = 4;
/// From one packet to the next.
const PACE: Duration = Duration::from_millis(1);
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
fn configuration(server: SocketAddr, media: u16, routes: usize, version: usize) -> String {
    let mut text = format!(
        "workers: 2\nadmin: {{address: off, metrics: off, ready: off}}\n\
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

/// When packets were sent, by number, in nanoseconds since the beginning.
struct Times {
    began: Instant,
    sent: Vec<AtomicU64>,
    over: AtomicBool,
}

impl Times {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn feed(&self, publisher: &mut Publisher) -> Result<u32> {
        let mut due = Instant::now();
        while !self.over.load(Ordering::Relaxed) {
            due += PACE;
            sleep(due.saturating_duration_since(Instant::now()));
            let number = publisher.source().sent().0;
            let Some(place) = self.sent.get(number as usize) else { break };
            place.store(self.now(), Ordering::Release);
            publisher.source().send(1)?;
        }
        Ok(publisher.source().sent().0)
    }

    /// The delays of what comes, and how many packets that is.
    fn take(&self, socket: &UdpSocket) -> Vec<u64> {
        let mut delays = Vec::with_capacity(self.sent.len());
        let mut packet = [0; 2048];
        loop {
            let Ok(length) = socket.recv(&mut packet) else {
                if self.over.load(Ordering::Relaxed) {
                    return delays;
                }
                continue;
            };
            let now = self.now();
            let number = packet.get(..length).and_then(rtp::number);
            let sent = number.and_then(|number| self.sent.get(number as usize));
            delays.extend(sent.map(|sent| now.saturating_sub(sent.load(Ordering::Acquire))));
        }
    }
}

/// Delays in order, and how many packets did not come.
struct Outcome {
    delays: Vec<u64>,
    lost: usize,
}

impl Outcome {
    fn at(&self, share: f64) -> Duration {
        let place = (self.delays.len() as f64 * share) as usize;
        let place = place.min(self.delays.len().saturating_sub(1));
        Duration::from_nanos(self.delays.get(place).copied().unwrap_or(u64::MAX))
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} packets received, {} lost; delay p50 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
            self.delays.len(),
            self.lost,
            self.at(0.5).as_secs_f64() * 1e3,
            self.at(0.999).as_secs_f64() * 1e3,
            self.at(1.0).as_secs_f64() * 1e3
        );
    }
}

/// Sends and receives while `work` is done.
fn measure(server: SocketAddr, path: &str, work: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let mut publisher = Publisher::start(server, path)?;
    let port = free_port_pair()?;
    let mut sockets = Vec::new();
    let mut readers = Vec::new();
    for reader in 0..READERS {
        let ip = reader_ip(reader);
        let socket = UdpSocket::bind((ip, port))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        sockets.push(socket);
        readers.push(Reader::start(server, path, ip, port)?);
    }
    let sent = std::iter::repeat_with(AtomicU64::default).take(600_000).collect();
    let times = Times { began: Instant::now(), sent, over: AtomicBool::new(false) };
    let (mut delays, sent) = std::thread::scope(|scope| -> Result<_> {
        let takers: Vec<_> = sockets.iter().map(|socket| scope.spawn(|| times.take(socket))).collect();
        let feeder = scope.spawn(|| times.feed(&mut publisher));
        let done = work();
        times.over.store(true, Ordering::Relaxed);
        let sent = feeder.join().map_err(|_| "the source failed")??;
        let mut delays = Vec::new();
        for taker in takers {
            delays.extend(taker.join().map_err(|_| "a sink failed")?);
        }
        done?;
        Ok((delays, sent))
    })?;
    let lost = (sent as usize * READERS).saturating_sub(delays.len());
    delays.sort_unstable();
    Ok(Outcome { delays, lost })
}

fn run() -> Result<bool> {
    let (mut routes, mut reloads) = (10_000, 20);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} takes a value"))?.parse()?;
        match argument.as_str() {
            "--routes" => routes = value,
            "--reloads" => reloads = value,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let media = free_port_pair()?;
    let file = std::env::temp_dir().join(format!("msm-bench-reload-{}.yaml", std::process::id()));
    let write = |version| -> Result<()> {
        let next = file.with_extension("next");
        std::fs::write(&next, configuration(server, media, routes, version))?;
        Ok(std::fs::rename(next, &file)?)
    };
    write(1)?;
    let (proxy, told) = start(&file, server)?;
    let still = measure(server, "bench/still", || {
        sleep(EVERY * u32::try_from(reloads)?);
        Ok(())
    })?;
    let mut took = Vec::new();
    let changing = measure(server, "bench/changing", || {
        for turn in 0..reloads {
            write(2 + turn % 2)?;
            kill(Pid::from_raw(i32::try_from(proxy.0.id())?), Signal::SIGHUP)?;
            took.push(told.recv_timeout(Duration::from_secs(60))?);
            sleep(EVERY);
        }
        Ok(())
    })?;
    let _ = std::fs::remove_file(&file);
    took.sort_unstable();
    let (median, slowest) = (took.get(took.len() / 2), took.last());
    let (Some(median), Some(slowest)) = (median, slowest) else { return Err("nothing was measured".into()) };
    println!(
        "reload of {routes} routes, {reloads} times: median {:.0} ms, max {:.0} ms",
        median.as_secs_f64() * 1e3,
        slowest.as_secs_f64() * 1e3
    );
    still.print("without reloads");
    changing.print("with reloads   ");
    Ok(*median <= MAX_RELOAD
        && changing.at(0.999) <= MAX_DELAY_999
        && changing.at(1.0) <= MAX_DELAY
        && changing.lost == 0)
}

fn main() -> ExitCode {
    match run() {
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
