//! What a mesh hop adds to the fan-out: a proxy's CPU time a packet to ten members, beside the same proxy's to the same ten over
//! plain RTP, in seals of the bare cipher.

use std::hint::black_box;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::addresses::{at, free_port_pair};
use crate::members::{Authority, far, near, packets_sent};
use crate::process::Process;
use crate::report::{Limit, Report, median};
use crate::rtsp::Publisher;
use crate::{PACKET_BYTES, Result, msm};

/// Members that one proxy serves.
pub(crate) const MEMBERS: usize = 10;
/// What waits for a member that is halted, at most.
const QUEUED_BYTES: usize = 400_000;
/// How often the members of each are halted, for each size of burst.
pub(crate) const PAIRS: usize = 51;
/// Bursts start at least this far apart.
const GAP: Duration = Duration::from_micros(400);
/// What the hop's cost is measured without.
pub(crate) const UNPROTECTED: &str = "{latency: 0s}";
/// How long the sender gets to fall asleep, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(3);

/// Nanoseconds for one packet's payload, sealed in place.
fn seal() -> Result<f64> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|_| "no key")?);
    let mut packet = vec![0x5a; PACKET_BYTES];
    let mut rounds = Vec::new();
    let mut counter = 0u64;
    for _ in 0..31 {
        let start = Instant::now();
        for _ in 0..100 {
            counter += 1;
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&counter.to_be_bytes());
            let (header, body) = packet.split_at_mut(12);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), black_box(body));
            let _ = black_box(tag.map_err(|_| "not sealed")?);
        }
        rounds.push(start.elapsed().as_nanos() as f64 / 100.0);
    }
    median(&rounds).ok_or_else(|| "no rounds".into())
}

/// The same as a sender meets it that slept: ten keys, each for one packet of every burst.
fn seal_after_sleep(burst: usize) -> Result<f64> {
    let key = |byte| {
        Ok::<_, &str>(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[byte; 16]).map_err(|_| "no key")?))
    };
    let keys = (0..MEMBERS as u8).map(key).collect::<std::result::Result<Vec<_>, _>>()?;
    let source = vec![0x5a; PACKET_BYTES];
    let mut packet = source.clone();
    let mut rounds = Vec::new();
    let mut counter = 0u64;
    for _ in 0..301 {
        sleep(GAP);
        let start = Instant::now();
        for key in &keys {
            for _ in 0..burst {
                counter += 1;
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&counter.to_be_bytes());
                let (header, body) = packet.split_at_mut(12);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), black_box(body));
                let _ = black_box(tag.map_err(|_| "not sealed")?);
            }
        }
        rounds.push(start.elapsed().as_nanos() as f64 / (MEMBERS * burst) as f64);
    }
    median(&rounds).ok_or_else(|| "no rounds".into())
}

/// A proxy that serves some, over the mesh or over plain RTP.
pub(crate) struct Stage {
    path: &'static str,
    sender: Process,
    plain_at: SocketAddr,
    publisher: Publisher,
    receivers: Vec<Process>,
    pub(crate) gap: Duration,
}

impl Stage {
    /// `own` and `cpu` are the CPUs of what receives, and of the proxy; `base` is the last byte of the first address.
    pub(crate) fn start(
        path: &'static str,
        members: usize,
        protection: &str,
        authority: &Authority,
        (own, cpu): (Option<usize>, Option<usize>),
        base: u8,
    ) -> Result<Self> {
        let (plain_at, mesh_at) = (at(base)?, at(base + 1)?);
        let identity = authority.identity("far")?;
        let sender = msm::start(plain_at, &far(&identity, plain_at, mesh_at, free_port_pair()?, 1), cpu)?;
        let mut publisher = Publisher::start(plain_at, &format!("{path}/0"))?;
        prime(&mut publisher)?;
        let (hop, to) = match path {
            "plain" => ("plain, transport: udp", plain_at),
            _ => ("mesh, peers: [\"spiffe://bench.example/far\"]", mesh_at),
        };
        let routes = format!(
            "routes: [{{name: r, match: {{url: /x}}, rewrite: \"/{path}/0\", backends: [{{cluster: far}}], \
             protection: {protection}}}]\n\
             clusters: {{far: {{endpoints: [\"rtsp://{to}\"], start: always, hop: {hop}}}}}\n"
        );
        let receivers = (0..members)
            .map(|index| {
                let place = at(base + 10 + index as u8)?;
                let identity = authority.identity(&format!("near{index}"))?;
                msm::start(place, &near(&identity, place, free_port_pair()?, &routes), own)
            })
            .collect::<Result<_>>()?;
        sleep(Duration::from_secs(3));
        prime(&mut publisher)?;
        sleep(Duration::from_secs(1));
        Ok(Self { path, sender, plain_at, publisher, receivers, gap: GAP })
    }

    /// Nanoseconds a packet, in so many bursts. The ten are halted while it is measured: to wake a process that sleeps on its
    /// socket would cost the sender time, which over a network it would not pay.
    pub(crate) fn cost(&mut self, burst: usize) -> Result<f64> {
        let count = (QUEUED_BYTES / PACKET_BYTES / burst).max(1);
        let sent = packets_sent(self.plain_at)?;
        self.receivers.iter().try_for_each(Process::halt)?;
        sleep(SETTLE);
        let before = self.sender.cpu_time()?;
        self.send(burst, count)?;
        let spent = self.sender.cpu_time()?.saturating_sub(before);
        self.receivers.iter().try_for_each(Process::go_on)?;
        let packets = (count * burst * self.receivers.len()) as u64;
        let sent = packets_sent(self.plain_at)? - sent;
        if sent != packets {
            return Err(format!("{}: {sent} of {packets} packets were sent", self.path).into());
        }
        // What waited is taken, and reports go out.
        sleep(Duration::from_millis(30));
        Ok(spent.as_nanos() as f64 / packets as f64)
    }

    /// Nanoseconds a packet of both ends together, in so many bursts: of all proxies, none of which is halted.
    pub(crate) fn cost_of_both_ends(&mut self, burst: usize, count: usize) -> Result<f64> {
        let sent = packets_sent(self.plain_at)?;
        let before = self.cpu_time()?;
        self.send(burst, count)?;
        let packets = (count * burst * self.receivers.len()) as u64;
        // A machine that others use is late now and then.
        let mut done = packets_sent(self.plain_at)? - sent;
        for _ in 0..20 {
            if done < packets {
                sleep(Duration::from_millis(50));
                done = packets_sent(self.plain_at)? - sent;
            }
        }
        let spent = self.cpu_time()?.saturating_sub(before);
        if done != packets {
            return Err(format!("{}: {done} of {packets} packets were sent", self.path).into());
        }
        Ok(spent.as_nanos() as f64 / packets as f64)
    }

    fn send(&mut self, burst: usize, count: usize) -> Result<()> {
        for _ in 0..count {
            let due = Instant::now() + self.gap;
            self.publisher.source().send(burst)?;
            sleep(due.saturating_duration_since(Instant::now()));
        }
        sleep(SETTLE);
        Ok(())
    }

    fn cpu_time(&self) -> Result<Duration> {
        let all = std::iter::once(&self.sender).chain(&self.receivers);
        all.map(Process::cpu_time).sum::<Result<Duration>>()
    }
}

/// One proxy serves ten over plain RTP, and another one ten over the mesh, in turns.
///
/// `own` and `cpu` are the CPUs of what receives, and of the proxies.
///
/// # Errors
///
/// A proxy does not start, or does not send what it is given.
pub fn fan_out(report: &mut Report, own: Option<usize>, cpu: Option<usize>) -> Result<()> {
    println!("to {MEMBERS} members, CPU time of the sending proxy; medians of {PAIRS} pairs");
    let authority = Authority::new()?;
    let mut plain = Stage::start("plain", MEMBERS, UNPROTECTED, &authority, (own, cpu), 1)?;
    let mut mesh = Stage::start("mesh", MEMBERS, UNPROTECTED, &authority, (own, cpu), 31)?;
    println!("burst  plain ns  mesh ns  seal ns  after sleep  (mesh − plain) / seal");
    for burst in [1usize, 16, 44] {
        // What no bound is held to: the cipher's own price where its keys and tables have to be fetched first.
        let after_sleep = seal_after_sleep(burst)?;
        let mut costs: [Vec<f64>; 4] = Default::default();
        for pair in 0..PAIRS {
            let (one, other) = if pair % 2 == 0 {
                let one = plain.cost(burst)?;
                (one, mesh.cost(burst)?)
            } else {
                let other = mesh.cost(burst)?;
                (plain.cost(burst)?, other)
            };
            // Now, as the machine's clock is not the same all the time.
            let seal = seal()?;
            for (all, cost) in costs.iter_mut().zip([one, other, seal, (other - one) / seal]) {
                all.push(cost);
            }
        }
        // Of pairs, as what slows the machine down for a while is in both.
        let [plain, mesh, seal, ratio] = costs.map(|all| median(&all).unwrap_or(f64::NAN));
        println!("{burst:5}  {plain:8.0}  {mesh:7.0}  {seal:7.0}  {after_sleep:11.0}  {ratio:.2}");
        report.bound(format!("mesh hop over plain, in seals, bursts of {burst}"), ratio, Limit::Most(1.4));
    }
    Ok(())
}

/// A new source is on probation first.
fn prime(publisher: &mut Publisher) -> Result<()> {
    for _ in 0..30 {
        publisher.source().send(1)?;
        sleep(Duration::from_millis(1));
    }
    Ok(())
}
