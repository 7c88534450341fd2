//! What a mesh hop adds to the fan-out: a proxy's CPU time a packet to ten members, beside the same proxy's to the same ten over
//! plain RTP, in seals of the bare cipher.

use std::hint::black_box;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::addresses::{at, free_port_pair};
use crate::members::{Authority, far, near, packets_sent};
use crate::process::Process;
use crate::report::{Limit, Report, median, percentile};
use crate::rtsp::Publisher;
use crate::{PACKET_BYTES, Result, msm};

/// Members that one proxy serves.
const MEMBERS: usize = 10;
/// What waits for a member that is halted, at most.
const QUEUED_BYTES: usize = 400_000;
/// How often the members are halted, for each size of burst.
const HALTS: usize = 12;
/// Bursts start at least this far apart.
const GAP: Duration = Duration::from_micros(400);
/// How long the sender gets to fall asleep, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(3);

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
///
/// `own` and `cpu` are the CPUs of what receives, and of the proxy.
///
/// # Errors
///
/// A proxy does not start, or does not send what it is given.
pub fn fan_out(report: &mut Report, own: Option<usize>, cpu: Option<usize>) -> Result<()> {
    println!("to {MEMBERS} members, CPU time of the sending proxy");
    let authority = Authority::new()?;
    let mut costs: [Vec<Vec<f64>>; 2] = [vec![vec![]; 3], vec![vec![]; 3]];
    let bursts = [1usize, 16, 44];
    let seal = seal()?;
    for round in 0..2 {
        for (kind, path) in [(0usize, "plain"), (1, "mesh")] {
            // A new one each time: it would go on serving those of the round before for a while.
            let (plain_at, mesh_at) = (at(1)?, at(3)?);
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
                    let place = at(10 + index as u8)?;
                    let identity = authority.identity(&format!("near{index}"))?;
                    msm::start(place, &near(&identity, place, free_port_pair()?, &routes), own)
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
