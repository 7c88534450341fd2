//! One cell of the table: so many readers, packets a burst, sinks with or without GRO.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::Result;
use crate::msm::Proxy;
use crate::process::Process;
use crate::relay::Plain;
use crate::rtp::Source;
use crate::rtsp::Publisher;
use crate::sinks::Sinks;

/// Bursts start at least this far apart: the relay sleeps in between, and catches no burst at the last one's tail.
const GAP: Duration = Duration::from_micros(400);

/// How long nothing may arrive while something is missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a relay gets to fall asleep, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(3);

/// A relay that runs, and what feeds it.
#[derive(Debug)]
pub enum Relay {
    /// One of ours to compare with, and a source for each of its streams.
    Plain(Plain, Process, Vec<Source>),
    /// The proxy with its streams.
    Msm(Box<Proxy>),
}

/// CPU time and packets of some bursts.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// User and system time of the relay.
    pub cpu: Duration,
    /// Packets that arrived at sinks.
    pub delivered: u64,
}

impl Cost {
    /// Nanoseconds a delivered packet.
    pub fn per_packet(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.delivered.max(1) as f64
    }
}

impl Relay {
    /// Starts a plain relay with `streams` streams that share the readers of `sinks` evenly.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn plain(relay: Plain, sinks: &Sinks, streams: usize, cpu: Option<usize>) -> Result<Self> {
        let (process, addresses) = relay.start(sinks.readers(), sinks.port(), streams, cpu)?;
        let source = |to: SocketAddr| Ok(Source::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, to)?);
        Ok(Self::Plain(relay, process, addresses.into_iter().map(source).collect::<Result<_>>()?))
    }

    /// Starts the proxy with `streams` streams that share the readers of `sinks` evenly.
    ///
    /// # Errors
    ///
    /// It did not start, or refused a session.
    pub fn msm(sinks: &Sinks, streams: usize, workers: usize, cpu: Option<usize>) -> Result<Self> {
        let mut proxy = Proxy::start(workers, cpu)?;
        let each = sinks.readers() / streams.max(1);
        for stream in 0..streams {
            proxy.stream(each, stream * each, sinks.port())?;
        }
        Ok(Self::Msm(Box::new(proxy)))
    }

    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain(relay, ..) => relay.name(),
            Self::Msm(_) => "msm",
        }
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        match self {
            Self::Plain(_, process, _) => process,
            Self::Msm(proxy) => proxy.process(),
        }
    }

    /// Sends one burst into each of its streams.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn send(&mut self, packets: usize) -> Result<()> {
        match self {
            Self::Plain(_, _, sources) => {
                for source in sources {
                    source.send(packets)?;
                }
            }
            Self::Msm(proxy) => {
                for publisher in proxy.publishers() {
                    publisher.source().send(packets)?;
                }
            }
        }
        Ok(())
    }

    fn streams(&mut self) -> usize {
        match self {
            Self::Plain(_, _, sources) => sources.len(),
            Self::Msm(proxy) => proxy.publishers().len(),
        }
    }

    /// Sends one burst into one stream.
    fn send_one(&mut self, stream: usize, packets: usize) -> Result<()> {
        let source = match self {
            Self::Plain(_, _, sources) => sources.get_mut(stream),
            Self::Msm(proxy) => proxy.publishers().get_mut(stream).map(Publisher::source),
        };
        Ok(source.ok_or("no such stream")?.send(packets)?)
    }

    /// Does what is due between rounds.
    ///
    /// # Errors
    ///
    /// A session is gone.
    pub fn keep_alive(&mut self) -> Result<()> {
        match self {
            Self::Plain(..) => Ok(()),
            Self::Msm(proxy) => proxy.keep_alive(),
        }
    }

    /// Sends until packets reach every sink: a new source is on probation first (RFC 3550 App. A.1).
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn prime(&mut self, sinks: &mut Sinks) -> Result<()> {
        sinks.reset();
        let begin = Instant::now();
        while sinks.reached() < sinks.readers() {
            if begin.elapsed() > PATIENCE * 3 {
                let (reached, all) = (sinks.reached(), sinks.readers());
                return Err(format!("{}: packets reach {reached} of {all} sinks", self.name()).into());
            }
            self.send(2)?;
            std::thread::sleep(Duration::from_millis(20));
            while sinks.sweep(&mut |_| {}) > 0 {}
        }
        // A proxy may still be pacing what it kept for late readers.
        std::thread::sleep(Duration::from_millis(100));
        sinks.reset();
        Ok(())
    }

    /// Sends `bursts` bursts, each when the last one has arrived everywhere.
    ///
    /// # Errors
    ///
    /// A packet is lost or doubled.
    pub fn run(&mut self, sinks: &mut Sinks, packets: usize, bursts: usize, gap: Duration) -> Result<Cost> {
        sinks.reset();
        std::thread::sleep(SETTLE);
        let before = self.process().cpu_time()?;
        let mut due = Instant::now();
        for burst in 1..=bursts {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due = Instant::now() + gap;
            self.send(packets)?;
            sinks
                .wait_for((burst * packets) as u64, PATIENCE)
                .map_err(|error| format!("{}, burst {burst}: {error}", self.name()))?;
        }
        std::thread::sleep(SETTLE);
        let cpu = self.process().cpu_time()?.saturating_sub(before);
        Ok(Cost { cpu, delivered: sinks.delivered() })
    }
}

impl Relay {
    /// Sends one burst into each stream, one stream after the other, each when the last one's has arrived.
    ///
    /// # Errors
    ///
    /// A packet is lost or doubled.
    pub fn run_one_by_one(&mut self, sinks: &mut Sinks, packets: usize, gap: Duration) -> Result<Cost> {
        sinks.reset();
        std::thread::sleep(SETTLE);
        let before = self.process().cpu_time()?;
        let streams = self.streams();
        let each = (sinks.readers() / streams.max(1) * packets) as u64;
        let mut due = Instant::now();
        for stream in 0..streams {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due = Instant::now() + gap;
            self.send_one(stream, packets)?;
            sinks
                .wait_for_sum((stream as u64 + 1) * each, PATIENCE)
                .map_err(|error| format!("{}, stream {stream}: {error}", self.name()))?;
        }
        std::thread::sleep(SETTLE);
        let cpu = self.process().cpu_time()?.saturating_sub(before);
        Ok(Cost { cpu, delivered: sinks.delivered() })
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of each relay, interleaved.
    pub rounds: usize,
    /// How long a round lasts, about.
    pub round: Duration,
}

/// Nanoseconds a packet of each round, by the name of the relay.
pub type Costs = BTreeMap<&'static str, Vec<f64>>;

/// Runs the relays in turns, `effort.rounds` times.
///
/// # Errors
///
/// A relay lost a packet.
pub fn measure(relays: &mut [Relay], sinks: &mut Sinks, packets: usize, effort: Effort) -> Result<Costs> {
    let mut bursts = Vec::new();
    for relay in relays.iter_mut() {
        relay.keep_alive()?;
        relay.run(sinks, packets, 1, GAP)?;
        let begin = Instant::now();
        relay.run(sinks, packets, 2, GAP)?;
        let one = begin.elapsed().saturating_sub(SETTLE * 2) / 2;
        let count = effort.round.as_nanos() / one.max(GAP).as_nanos();
        bursts.push(usize::try_from(count).unwrap_or(1).clamp(1, 1000));
    }
    let mut costs = Costs::new();
    for _ in 0..effort.rounds {
        for (relay, bursts) in relays.iter_mut().zip(&bursts) {
            relay.keep_alive()?;
            let cost = relay.run(sinks, packets, *bursts, GAP)?;
            costs.entry(relay.name()).or_default().push(cost.per_packet());
        }
    }
    Ok(costs)
}
