//! What the table does not show: system calls, latency, memory, workers, many streams.

use std::time::{Duration, Instant};

use crate::Result;
use crate::cell::{Cost, Effort, Relay};
use crate::msm::{Proxy, binary};
use crate::relay::{Plain, keep_awake};
use crate::report::{Limit, Report, median, percentile};
use crate::rtp::{Source, number};
use crate::sinks::Sinks;

/// Bursts into each stream before the first that is measured.
const FIRST_ROUNDS: usize = 80;

/// Which CPU the relay gets.
type Cpu = Option<usize>;

/// The relays to compare, with the proxy if asked.
///
/// # Errors
///
/// One does not start.
pub fn relays(sinks: &mut Sinks, cpu: Cpu, msm: bool) -> Result<Vec<Relay>> {
    let mut relays = Vec::new();
    for plain in [Plain::Naive, Plain::NaiveTokio, Plain::Ceiling] {
        relays.push(Relay::plain(plain, sinks, 1, cpu)?);
    }
    if msm {
        relays.push(Relay::msm(sinks, 1, 1, cpu)?);
    }
    for relay in &mut relays {
        relay.prime(sinks)?;
    }
    Ok(relays)
}

/// System calls a packet, for single packets at a low rate.
///
/// # Errors
///
/// There is no `strace`, or a packet was lost.
pub fn system_calls(report: &mut Report, port: u16, cpu: Cpu, msm: bool) -> Result<()> {
    const PACKETS: usize = 500;
    for readers in [1, 10] {
        let mut sinks = Sinks::new(readers, port)?;
        let mut naive = None;
        for relay in &mut relays(&mut sinks, cpu, msm)? {
            let name = relay.name();
            let calls = count_calls(relay, &mut sinks, PACKETS)? as f64 / PACKETS as f64;
            report.figure(format!("system calls per packet, {readers} readers, {name}"), calls);
            match name {
                "naive" => naive = Some(calls),
                "msm" if readers == 1 => {
                    if let Some(naive) = naive {
                        let what = "system calls per packet more than naive, 1 reader";
                        // A timer or two in 500 packets are no call a packet.
                        report.bound(what, calls - naive, Limit::Most(1.05));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn count_calls(relay: &mut Relay, sinks: &mut Sinks, packets: usize) -> Result<u64> {
    let strace = relay.process().trace()?;
    let run = relay.run(sinks, 1, packets, Duration::from_millis(1));
    let calls = strace.finish()?;
    run?;
    Ok(calls)
}

/// Latency that a relay adds at 10,000 packets a second to one reader: its percentiles less those without a relay, on a
/// CPU that does not sleep; medians of the rounds.
///
/// # Errors
///
/// A relay does not start, or no packet arrives.
pub fn latency(report: &mut Report, port: u16, cpu: Cpu, msm: bool) -> Result<()> {
    const ROUNDS: usize = 9;
    let _awake = keep_awake(cpu)?;
    let mut sinks = Sinks::new(1, port)?;
    let to = crate::addresses::reader_addresses(1, port);
    let mut direct = Source::new(std::net::UdpSocket::bind("127.0.0.1:0")?, *to.first().ok_or("no reader")?)?;
    let mut relays = relays(&mut sinks, cpu, msm)?;
    let (mut without, mut with) = (Vec::new(), vec![Vec::new(); relays.len()]);
    for _ in 0..ROUNDS {
        without.push(percentiles(&mut sinks, &mut |packets| Ok(direct.send(packets)?))?);
        for (relay, with) in relays.iter_mut().zip(&mut with) {
            relay.keep_alive()?;
            with.push(percentiles(&mut sinks, &mut |packets| relay.send(packets))?);
        }
    }
    let medians = |rounds: &[(f64, f64)]| {
        let (p50, p99): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
        median(&p50).zip(median(&p99)).ok_or("no rounds")
    };
    let (p50, p99) = medians(&without)?;
    println!("latency without a relay: p50 {p50:.1} µs, p99 {p99:.1} µs");
    for (relay, with) in relays.iter().zip(&with) {
        let (with_p50, with_p99) = medians(with)?;
        report.figure(format!("added latency p50 in µs, {}", relay.name()), with_p50 - p50);
        report.figure(format!("added latency p99 in µs, {}", relay.name()), with_p99 - p99);
        if relay.name() == "msm" {
            report.bound("added latency p99 in µs", with_p99 - p99, Limit::Most(200.0));
        }
    }
    Ok(())
}

/// The 50th and 99th percentile of [`delays`].
fn percentiles(sinks: &mut Sinks, send: &mut dyn FnMut(usize) -> Result<()>) -> Result<(f64, f64)> {
    let delays = delays(sinks, send)?;
    Ok(percentile(&delays, 50.0).zip(percentile(&delays, 99.0)).ok_or("no packet arrived")?)
}

/// Microseconds from sending a packet to finding it, 10,000 a second for half a second.
fn delays(sinks: &mut Sinks, send: &mut dyn FnMut(usize) -> Result<()>) -> Result<Vec<f64>> {
    const PACKETS: usize = 5_000;
    const INTERVAL: Duration = Duration::from_micros(100);
    sinks.reset();
    let mut first = None;
    let mut sent = Vec::with_capacity(PACKETS);
    let mut delays = Vec::with_capacity(PACKETS);
    let begin = Instant::now();
    let end = INTERVAL * (PACKETS as u32) + Duration::from_millis(100);
    while begin.elapsed() < end && delays.len() < PACKETS {
        if sent.len() < PACKETS && begin.elapsed() >= INTERVAL * (sent.len() as u32) {
            sent.push(Instant::now());
            send(1)?;
        }
        sinks.sweep(&mut |run| {
            for packet in run.chunks(crate::PACKET_BYTES) {
                let Some(number) = number(packet) else { continue };
                // The source has counted since it was made; the first to arrive is the first of these.
                let index = number.wrapping_sub(*first.get_or_insert(number)) as usize;
                if let Some(sent) = sent.get(index) {
                    delays.push(sent.elapsed().as_nanos() as f64 / 1000.0);
                }
            }
        });
    }
    Ok(delays)
}

/// Resident memory of an idle proxy and a reader, and the size of the binary.
///
/// # Errors
///
/// The proxy does not start, or refuses a session.
pub fn memory(report: &mut Report, port: u16) -> Result<()> {
    const READERS: usize = 1000;
    let size = std::fs::metadata(binary()?)?.len() as f64 / (1 << 20) as f64;
    report.bound("release binary in MiB", size, Limit::Most(12.0));

    let mut sinks = Sinks::new(READERS, port)?;
    let mut proxy = Proxy::start(1, None)?;
    std::thread::sleep(Duration::from_millis(500));
    let idle = proxy.process().resident()?;
    report.bound("idle proxy in MiB", idle as f64 / (1 << 20) as f64, Limit::Most(12.0));

    // Media flows before and after, so that the buffers of the stream itself are in both figures.
    proxy.stream(0, 0, port)?;
    let mut play = |proxy: &mut Proxy| -> Result<u64> {
        for _ in 0..50 {
            for publisher in proxy.publishers() {
                publisher.source().send(16)?;
            }
            std::thread::sleep(Duration::from_millis(20));
            sinks.sweep(&mut |_| {});
        }
        proxy.process().resident()
    };
    let without = play(&mut proxy)?;
    proxy.readers(READERS, port)?;
    let with = play(&mut proxy)?;
    let each = with.saturating_sub(without) as f64 / READERS as f64 / 1024.0;
    report.bound("resident KiB per UDP reader", each, Limit::Most(8.0));
    Ok(())
}

/// Cost a packet with two workers against one; neither is kept on one CPU.
///
/// # Errors
///
/// The proxy does not start, or lost a packet.
pub fn workers(report: &mut Report, port: u16, effort: Effort) -> Result<()> {
    let mut sinks = Sinks::new(100, port)?;
    let mut one = Relay::msm(&sinks, 1, 1, None)?;
    let mut two = Relay::msm(&sinks, 1, 2, None)?;
    let ratio = compare(&mut two, &mut one, &mut sinks, (16, 16), effort)?;
    report.bound("two workers/one worker, 100 readers, bursts of 16", ratio, Limit::Most(1.1));
    Ok(())
}

/// Cost a packet of 500 streams with two readers each against one stream with two readers; and the same of a relay
/// without any processing, which says what of it is the kernel's and the caches'.
///
/// # Errors
///
/// A relay does not start, or lost a packet.
pub fn streams(report: &mut Report, port: u16, cpu: Cpu, effort: Effort) -> Result<()> {
    const STREAMS: usize = 500;
    let mut many_sinks = Sinks::new(STREAMS * 2, port)?;
    let other = crate::addresses::free_port_pair()?;
    let mut one_sinks = Sinks::new(2, other)?;
    let mut many = [
        Relay::plain(Plain::CeilingStreams, &many_sinks, STREAMS, cpu)?,
        Relay::msm(&many_sinks, STREAMS, 1, cpu)?,
    ];
    let mut one =
        [Relay::plain(Plain::CeilingStreams, &one_sinks, 1, cpu)?, Relay::msm(&one_sinks, 1, 1, cpu)?];
    let gap = Duration::from_micros(400);
    for (many, one) in many.iter_mut().zip(&mut one) {
        many.prime(&mut many_sinks)?;
        one.prime(&mut one_sinks)?;
        // Past a few keyframes: memory for late readers has its size then, as it has for the rest of a stream's life.
        for _ in 0..FIRST_ROUNDS {
            many.run_one_by_one(&mut many_sinks, 16, Duration::ZERO)?;
        }
        one.run(&mut one_sinks, 16, FIRST_ROUNDS, Duration::ZERO)?;
    }
    println!("{STREAMS} streams are warm");
    let mut costs = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for _ in 0..effort.rounds {
        for ((many, one), [many_costs, one_costs]) in many.iter_mut().zip(&mut one).zip(&mut costs) {
            many.keep_alive()?;
            one.keep_alive()?;
            // As many packets in both, each burst alone: many streams at once would be cheaper by shared wake-ups.
            many_costs.push(many.run_one_by_one(&mut many_sinks, 16, gap)?.per_packet());
            one_costs.push(one.run(&mut one_sinks, 16, STREAMS, gap)?.per_packet());
        }
    }
    for (name, [many, one]) in ["ceiling", "msm"].into_iter().zip(&costs) {
        let (Some(many), Some(one)) = (median(many), median(one)) else { return Err("no rounds".into()) };
        report.figure(format!("ns per packet, 1 stream with 2 readers, bursts of 16, {name}"), one);
        report.figure(format!("ns per packet, 500 streams with 2 readers each, bursts of 16, {name}"), many);
        if name == "msm" {
            report.bound("500 streams/1 stream", many / one, Limit::Most(1.2));
        } else {
            report.figure("500 streams/1 stream without any processing", many / one);
        }
    }
    Ok(())
}

fn compare(
    over: &mut Relay,
    under: &mut Relay,
    sinks: &mut Sinks,
    (packets, bursts): (usize, usize),
    effort: Effort,
) -> Result<f64> {
    let mut costs = [Vec::new(), Vec::new()];
    for relay in [&mut *over, &mut *under] {
        relay.prime(sinks)?;
    }
    for _ in 0..effort.rounds {
        for (relay, costs) in [&mut *over, &mut *under].into_iter().zip(&mut costs) {
            relay.keep_alive()?;
            let cost: Cost = relay.run(sinks, packets, bursts, Duration::from_micros(400))?;
            costs.push(cost.per_packet());
        }
    }
    let [over, under] = costs;
    median(&over).zip(median(&under)).map(|(over, under)| over / under).ok_or_else(|| "no rounds".into())
}
