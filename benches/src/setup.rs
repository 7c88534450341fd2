//! From a client's DESCRIBE to its first media packet through two members, beside the same two without a mesh hop: on loopback, with
//! and without a connection that is warm, and over a link of 40 ms; and the packets that are lost behind PLAY's answer.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::addresses::{at, free_port_pair};
use crate::feed::Feed;
use crate::members::{Authority, far, near};
use crate::report::{Limit, Report, percentile};
use crate::rtp::number;
use crate::rtsp::{Publisher, Reader};
use crate::{Result, delay, msm};

/// Set-ups of each kind on loopback, and over the link.
const SET_UPS: usize = 400;
const FAR_SET_UPS: usize = 40;
const ROUND_TRIP: Duration = Duration::from_millis(40);
/// Packets that a reader takes before it leaves.
const PACKETS: u32 = 20;

/// The two members, the link between them, and the times of set-ups.
///
/// # Errors
///
/// A member does not start, or a reader gets nothing.
pub fn set_ups(report: &mut Report) -> Result<()> {
    let lost = Mutex::new((0u64, 0u64));
    let local = kinds("loopback", SET_UPS, None, &lost)?;
    let distant = kinds("40 ms", FAR_SET_UPS, Some(ROUND_TRIP), &lost)?;
    let share = |kind: &[f64], percent| percentile(kind, percent).unwrap_or(f64::NAN);
    for (name, [plain, cold, warm]) in [("loopback", &local), ("40 ms", &distant)] {
        println!("\nDESCRIBE to first packet, {name}, milliseconds\n           p50     p99");
        for (kind, times) in [("plain", plain), ("mesh, cold", cold), ("mesh, warm", warm)] {
            println!("{kind:10} {:6.2}  {:6.2}", share(times, 50.0), share(times, 99.0));
            report.figure(format!("set-up, {name}, {kind}, p50 ms"), share(times, 50.0));
            report.figure(format!("set-up, {name}, {kind}, p99 ms"), share(times, 99.0));
        }
    }
    let [plain, cold, warm] = &local;
    report.bound(
        "set-up, cold over plain, p99, ms",
        share(cold, 99.0) - share(plain, 99.0),
        Limit::Most(5.0),
    );
    report.bound(
        "set-up, warm over plain, p99, ms",
        share(warm, 99.0) - share(plain, 99.0),
        Limit::Most(2.0),
    );
    let [plain, cold, warm] = &distant;
    let trips = |kind: &[f64]| (share(kind, 50.0) - share(plain, 50.0)) / (ROUND_TRIP.as_secs_f64() * 1e3);
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
    let (plain, mesh) = (at(1)?, at(3)?);
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
    let edge = at(5)?;
    let identity = authority.identity("near")?;
    let _near = msm::start(edge, &near(&identity, edge, free_port_pair()?, &(routes + &clusters)), None)?;
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
            feed.switch(index * kinds.len() + place);
            // Probation, and a moment of quiet for whoever left.
            sleep(Duration::from_millis(30));
            let (time, missing) = set_up(edge, &format!("{kind}/{index}"), &feed)?;
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
    let answered = feed.sent() + 1;
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
