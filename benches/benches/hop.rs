//! What a mesh hop costs: `cargo bench -p msm-benches --bench hop`.
//!
//! * the fan-out to ten members, as CPU time a packet, beside the same proxy's to the same ten over plain RTP, and the bare
//!   cipher;
//! * from a client's DESCRIBE to its first media packet through two members, beside the same two without a mesh hop: on
//!   loopback, with and without a connection that is warm, and over a link of 40 ms;
//! * how many packets are lost between PLAY's answer and the first one that comes;
//! * mutual handshakes.

#![allow(missing_docs)]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa, EphemeralSource};
use msm_auth::identity::id::{SpiffeId, TrustDomain};
use msm_auth::identity::tls::{AllowedPeers, client_config, server_config, server_name, system_clock};
use msm_benches::addresses::free_port_pair;
use msm_benches::members::{Authority, far, near, packets_sent};
use msm_benches::process::{self, Process};
use msm_benches::report::{Limit, Report, median, percentile};
use msm_benches::rtp::number;
use msm_benches::rtsp::{Publisher, Reader};
use msm_benches::{PACKET_BYTES, Result, delay, msm};

/// Members that one proxy serves.
const MEMBERS: usize = 10;
/// Set-ups of each kind on loopback, and over the link.
const SET_UPS: usize = 400;
const FAR_SET_UPS: usize = 40;
const ROUND_TRIP: Duration = Duration::from_millis(40);
/// What waits for a member that is halted, at most.
const QUEUED_BYTES: usize = 400_000;
/// How often the members are halted, for each size of burst.
const HALTS: usize = 12;
/// Bursts start at least this far apart, as in the bench of the data plane.
const GAP: Duration = Duration::from_micros(400);
/// How long the sender gets to fall asleep, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(3);
/// Packets that a reader takes before it leaves.
const PACKETS: u32 = 20;

fn main() -> ExitCode {
    let mut report = Report::default();
    let outcome = run(&mut report);
    if let Err(error) = outcome {
        report.failure(error.to_string());
    }
    let finished = msm::target_directory().and_then(|target| report.finish(&target.join("hop.json")));
    if finished.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(report: &mut Report) -> Result<()> {
    msm::binary()?;
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if wants("handshakes") {
        handshakes(report)?;
    }
    let (own, cpu) = process::cpus();
    if wants("fanout") {
        fan_out(report, own, cpu)?;
    }
    if wants("setup") {
        set_ups(report)?;
    }
    Ok(())
}

fn address(ip: u8) -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::new(127, 0, 0, ip), free_port_pair()?)))
}

/// Nanoseconds for one packet's payload, sealed in place.
fn seal() -> Result<f64> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|_| "no key")?);
    let mut packet = vec![0x5a; PACKET_BYTES];
    let mut rounds = Vec::new();
    let mut counter = 0u64;
    for _ in 0..201 {
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

/// One proxy serves ten: over the mesh, and over plain RTP. The ten are halted while it is measured: to wake a process that
/// sleeps on its socket would cost the sender time, which over a network it would not pay.
fn fan_out(report: &mut Report, own: Option<usize>, cpu: Option<usize>) -> Result<()> {
    println!("\nfan-out to {MEMBERS} members, CPU time of the sending proxy");
    let authority = Authority::new()?;
    let mut costs: [Vec<Vec<f64>>; 2] = [vec![vec![]; 3], vec![vec![]; 3]];
    let bursts = [1usize, 16, 44];
    let seal = seal()?;
    for round in 0..2 {
        for (kind, path) in [(0usize, "plain"), (1, "mesh")] {
            // A new one each time: it would go on serving those of the round before for a while.
            let (plain_at, mesh_at) = (address(1)?, address(3)?);
            let config = far(&authority.identity("far")?, plain_at, mesh_at, free_port_pair()?, 1);
            let sender = msm::start(plain_at, &config, cpu)?;
            let mut publisher = Publisher::start(plain_at, &format!("{path}/0"))?;
            prime(&mut publisher)?;
            let (hop, to) = if kind == 0 {
                ("plain, transport: udp", plain_at)
            } else {
                ("mesh, peers: [\"spiffe://bench.example/far\"]", mesh_at)
            };
            let routes = format!(
                "routes: [{{name: r, match: {{url: /x}}, rewrite: \"/{path}/0\", backends: [{{cluster: far}}]}}]\n\
                 clusters: {{far: {{endpoints: [\"rtsp://{to}\"], start: always, hop: {hop}}}}}\n"
            );
            let receivers: Vec<Process> = (0..MEMBERS)
                .map(|index| {
                    let at = address(10 + index as u8)?;
                    let identity = authority.identity(&format!("near{index}"))?;
                    msm::start(at, &near(&identity, at, free_port_pair()?, &routes), own)
                })
                .collect::<Result<_>>()?;
            sleep(Duration::from_secs(3));
            prime(&mut publisher)?;
            sleep(Duration::from_secs(1));
            for (place, burst) in bursts.into_iter().enumerate() {
                let count = (QUEUED_BYTES / PACKET_BYTES / burst).max(1);
                for _ in 0..HALTS {
                    let sent = packets_sent(plain_at)?;
                    receivers.iter().try_for_each(Process::halt)?;
                    sleep(SETTLE);
                    let before = sender.cpu_time()?;
                    for _ in 0..count {
                        let due = Instant::now() + GAP;
                        publisher.source().send(burst)?;
                        sleep(due.saturating_duration_since(Instant::now()));
                    }
                    sleep(SETTLE);
                    let spent = sender.cpu_time()?.saturating_sub(before);
                    receivers.iter().try_for_each(Process::go_on)?;
                    let (packets, sent) = ((count * burst * MEMBERS) as u64, packets_sent(plain_at)? - sent);
                    if sent != packets {
                        return Err(format!("{path}: {sent} of {packets} packets were sent").into());
                    }
                    if let Some(costs) = costs.get_mut(kind).and_then(|costs| costs.get_mut(place)) {
                        costs.push(spent.as_nanos() as f64 / packets as f64);
                    }
                    // What waited is taken, and reports go out.
                    sleep(Duration::from_millis(30));
                }
            }
            println!("  round {round}, {path}: {} members served", receivers.len());
        }
    }
    println!("burst  plain ns  mesh ns  seal ns  (mesh − plain) / seal");
    let [plain, mesh] = costs;
    for (burst, (plain, mesh)) in bursts.into_iter().zip(plain.iter().zip(&mesh)) {
        // The same part of both: what a busy machine adds falls on some halts and not on others.
        let usual = |values: &[f64]| percentile(values, 25.0).unwrap_or(f64::NAN);
        let (plain, mesh) = (usual(plain), usual(mesh));
        let ratio = (mesh - plain) / seal;
        println!("{burst:5}  {plain:8.0}  {mesh:7.0}  {seal:7.0}  {ratio:.2}");
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

/// Sends a packet a millisecond into the stream that is measured.
struct Feed {
    stream: Arc<AtomicUsize>,
    sent: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Feed {
    fn start(mut publishers: Vec<Publisher>) -> Self {
        let (stream, sent, over): (Arc<AtomicUsize>, Arc<AtomicU32>, Arc<AtomicBool>) = Default::default();
        let own = (Arc::clone(&stream), Arc::clone(&sent), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let (stream, sent, over) = own;
            let mut due = Instant::now();
            while !over.load(Ordering::Relaxed) {
                due += Duration::from_millis(1);
                sleep(due.saturating_duration_since(Instant::now()));
                let Some(publisher) = publishers.get_mut(stream.load(Ordering::SeqCst)) else { continue };
                let source = publisher.source();
                let _ = source.send(1);
                sent.store(source.sent().0, Ordering::SeqCst);
            }
        });
        Self { stream, sent, over, thread: Some(thread) }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The two members, the link between them, and the times of set-ups.
fn set_ups(report: &mut Report) -> Result<()> {
    let lost = Mutex::new((0u64, 0u64));
    let local = kinds("loopback", SET_UPS, None, &lost)?;
    let distant = kinds("40 ms", FAR_SET_UPS, Some(ROUND_TRIP), &lost)?;
    let at = |kind: &[f64], percent| percentile(kind, percent).unwrap_or(f64::NAN);
    for (name, [plain, cold, warm]) in [("loopback", &local), ("40 ms", &distant)] {
        println!("\nDESCRIBE to first packet, {name}, milliseconds\n           p50     p99");
        for (kind, times) in [("plain", plain), ("mesh, cold", cold), ("mesh, warm", warm)] {
            println!("{kind:10} {:6.2}  {:6.2}", at(times, 50.0), at(times, 99.0));
            report.figure(format!("set-up, {name}, {kind}, p50 ms"), at(times, 50.0));
            report.figure(format!("set-up, {name}, {kind}, p99 ms"), at(times, 99.0));
        }
    }
    let [plain, cold, warm] = &local;
    report.bound("set-up, cold over plain, p99, ms", at(cold, 99.0) - at(plain, 99.0), Limit::Most(5.0));
    report.bound("set-up, warm over plain, p99, ms", at(warm, 99.0) - at(plain, 99.0), Limit::Most(2.0));
    let [plain, cold, warm] = &distant;
    let trips = |kind: &[f64]| (at(kind, 50.0) - at(plain, 50.0)) / (ROUND_TRIP.as_secs_f64() * 1e3);
    report.bound("set-up over 40 ms, cold over plain, round trips", trips(cold), Limit::Most(3.0));
    report.bound("set-up over 40 ms, warm over plain, round trips", trips(warm), Limit::Most(3.0));
    let (lost, of) = *lost.lock().map_err(|_| "poisoned")?;
    println!("\n{lost} packets lost between PLAY's answer and the first packet, in {of} set-ups");
    report.bound("packets lost after PLAY's answer", lost as f64, Limit::Most(0.0));
    Ok(())
}

/// Times in milliseconds: plain, cold and warm.
fn kinds(
    name: &str,
    count: usize,
    link: Option<Duration>,
    lost: &Mutex<(u64, u64)>,
) -> Result<[Vec<f64>; 3]> {
    println!("\n{count} set-ups of each kind, {name}");
    let authority = Authority::new()?;
    let (plain, mesh) = (address(1)?, address(3)?);
    let _far = msm::start(plain, &far(&authority.identity("far")?, plain, mesh, free_port_pair()?, 1), None)?;
    let (mut to_plain, mut to_mesh) = (plain, mesh);
    if let Some(round_trip) = link {
        for (to, ip) in [(&mut to_plain, 4), (&mut to_mesh, 6)] {
            let server = *to;
            to.set_ip(Ipv4Addr::new(127, 0, 0, ip).into());
            delay::start(*to, server, round_trip)?;
        }
    }
    // Each cold one has a cluster of its own, and with it a connection of its own.
    let mut routes = String::from("routes:\n");
    let mut clusters = String::from("clusters:\n");
    // Through the link comes what is on the one port.
    let transport = if link.is_some() { "tcp" } else { "udp" };
    clusters += &format!("  plain: {{endpoints: [\"rtsp://{to_plain}\"], transport: {transport}}}\n");
    let member =
        format!("endpoints: [\"rtsp://{to_mesh}\"], hop: mesh, peers: [\"spiffe://bench.example/far\"]");
    clusters += &format!("  warm: {{{member}}}\n");
    for (kind, path) in [("plain", "plain"), ("warm", "mesh/warm")] {
        routes += &format!(
            "  - {{name: {kind}, match: {{url: \"/{kind}/{{n}}\"}}, rewrite: \"/{path}/{{n}}\", backends: [{{cluster: {kind}}}]}}\n"
        );
    }
    for index in 0..count {
        clusters += &format!("  c{index}: {{{member}}}\n");
        routes += &format!(
            "  - {{name: c{index}, match: {{url: /cold/{index}}}, rewrite: /mesh/cold/{index}, backends: [{{cluster: c{index}}}]}}\n"
        );
    }
    let at = address(5)?;
    let _near = msm::start(
        at,
        &near(&authority.identity("near")?, at, free_port_pair()?, &(routes + &clusters)),
        None,
    )?;
    let kinds = [("plain", "plain"), ("cold", "mesh/cold"), ("warm", "mesh/warm")];
    let mut publishers = Vec::new();
    for index in 0..=count {
        for (_, path) in kinds {
            publishers.push(Publisher::start(plain, &format!("{path}/{index}"))?);
        }
    }
    let feed = Feed::start(publishers);
    let mut times: [Vec<f64>; 3] = Default::default();
    // The last of each kind only warms up.
    for index in std::iter::once(count).chain(0..count) {
        for (place, (kind, _)) in kinds.into_iter().enumerate() {
            if index == count && kind == "cold" {
                continue;
            }
            feed.stream.store(index * kinds.len() + place, Ordering::SeqCst);
            // Probation, and a moment of quiet for whoever left.
            sleep(Duration::from_millis(30));
            let (time, missing) = set_up(at, &format!("{kind}/{index}"), &feed)?;
            if index < count {
                if let Some(times) = times.get_mut(place) {
                    times.push(time.as_secs_f64() * 1e3);
                }
                if let Ok(mut lost) = lost.lock() {
                    lost.0 += u64::from(missing);
                    lost.1 += 1;
                }
            }
        }
    }
    Ok(times)
}

/// One set-up: how long it took, and how many packets that were sent after PLAY's answer did not come.
fn set_up(server: SocketAddr, path: &str, feed: &Feed) -> Result<(Duration, u32)> {
    let port = free_port_pair()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let _rtcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1))?;
    let mut reader = Reader::connect(server, path, Ipv4Addr::LOCALHOST)?;
    let began = Instant::now();
    reader.play(port)?;
    // A packet that is on its way out now may count as sent or not: it is let off.
    let answered = feed.sent.load(Ordering::SeqCst) + 1;
    let mut buffer = [0; 2000];
    let mut receive = || -> Result<u32> {
        let length = socket.recv(&mut buffer).map_err(|error| format!("{path}: no packet: {error}"))?;
        Ok(number(buffer.get(..length).unwrap_or_default()).ok_or("no packet of the source")?)
    };
    let first = receive()?;
    let took = began.elapsed();
    let mut missing = first.saturating_sub(answered);
    let mut last = first;
    for _ in 1..PACKETS {
        let next = receive()?;
        missing += next.saturating_sub(last + 1);
        last = last.max(next);
    }
    reader.leave()?;
    Ok((took, missing))
}

/// Mutual TLS between two members, both in this thread.
fn handshakes(report: &mut Report) -> Result<()> {
    let ca = Arc::new(EphemeralCa::new(
        Ephemeral::ForTests,
        TrustDomain::parse("bench.example")?,
        UnixTime::now(),
    )?);
    let source = |path: &str| -> Result<Arc<EphemeralSource>> {
        let id = SpiffeId::parse(&format!("spiffe://bench.example{path}"))?;
        let life = Duration::from_secs(3600);
        Ok(Arc::new(EphemeralSource::new(Arc::clone(&ca), id, life, UnixTime::now())?))
    };
    let server = server_config(source("/server")?, system_clock())?;
    let client = client_config(source("/client")?, AllowedPeers::AnyAuthenticated, system_clock())?;
    let (mut count, start) = (0u32, Instant::now());
    while start.elapsed() < Duration::from_secs(3) {
        let mut one = rustls::ClientConnection::new(Arc::clone(&client), server_name())?;
        let mut two = rustls::ServerConnection::new(Arc::clone(&server))?;
        while one.is_handshaking() || two.is_handshaking() {
            let mut wire = Vec::new();
            one.write_tls(&mut wire)?;
            two.read_tls(&mut wire.as_slice())?;
            two.process_new_packets()?;
            wire.clear();
            while two.wants_write() {
                two.write_tls(&mut wire)?;
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                one.read_tls(&mut rest)?;
                one.process_new_packets()?;
            }
        }
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{rate:.0} mutual handshakes a second on one core, both sides on it: {:.2} ms each", 1e3 / rate);
    report.figure("mutual handshakes a second and core, both sides", rate);
    Ok(())
}
