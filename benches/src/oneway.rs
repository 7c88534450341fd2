//! One-way delay by timestamps: of packets through a relay to several readers and, beside them, of packets that go straight to as many
//! other sinks, from the same thread and by the same kernel. What these are late by, the machine and this process are to blame for.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::rtsp::Publisher;
use crate::{PACKET_BYTES, Result, rtp};

/// From one packet to the next of the same way. Those that go straight leave in the middle.
const PACE: Duration = Duration::from_millis(1);
/// Packets of a run each way, at most: two minutes. All memory is there before the first: to be given more takes its time.
const MOST: usize = 120_000;
/// How long a sink waits before it looks whether the run is over.
const PATIENCE: Duration = Duration::from_millis(200);

/// Nanoseconds since the beginning of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Now.
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// When packets of one way were sent, by number.
struct Sent {
    at: Vec<AtomicU64>,
    clock: Clock,
}

impl Sent {
    fn new(clock: Clock) -> Self {
        Self { at: std::iter::repeat_with(AtomicU64::default).take(MOST).collect(), clock }
    }

    /// The next thing that is done is to send this packet. Answers whether there is room for it.
    fn note(&self, number: u32) -> bool {
        let Some(place) = self.at.get(number as usize) else { return false };
        place.store(self.clock.now(), Ordering::Release);
        true
    }

    /// The delays of what comes to a sink until the run is over.
    fn take(&self, sink: &UdpSocket, over: &AtomicBool) -> Vec<Delay> {
        let _ = msm_udp::take_short_turns();
        let mut delays = vec![Delay { nanos: u64::MAX, sent: u64::MAX }; self.at.len()];
        delays.clear();
        let mut packet = [0; 2048];
        loop {
            let Ok(length) = sink.recv(&mut packet) else {
                if over.load(Ordering::Relaxed) {
                    return delays;
                }
                continue;
            };
            let now = self.clock.now();
            let number = packet.get(..length).and_then(rtp::number);
            let sent = number.and_then(|number| self.at.get(number as usize));
            delays.extend(sent.map(|sent| {
                let sent = sent.load(Ordering::Acquire);
                Delay { nanos: now.saturating_sub(sent), sent }
            }));
        }
    }
}

/// Of one packet to one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay {
    /// Nanoseconds.
    pub nanos: u64,
    /// When it was sent.
    pub sent: u64,
}

/// The delays of one way, in order, and how many packets did not come.
#[derive(Debug)]
pub struct Delays {
    sorted: Vec<Delay>,
    /// Packets that were sent and not received.
    pub lost: usize,
}

impl Delays {
    fn new(mut delays: Vec<Delay>, sent: usize) -> Self {
        delays.sort_unstable();
        Self { lost: sent.saturating_sub(delays.len()), sorted: delays }
    }

    /// What this share of them is not above.
    pub fn at(&self, share: f64) -> Duration {
        let place = (self.sorted.len() as f64 * share) as usize;
        let place = place.min(self.sorted.len().saturating_sub(1));
        Duration::from_nanos(self.sorted.get(place).map_or(u64::MAX, |delay| delay.nanos))
    }

    /// The longest first.
    pub fn slowest(&self) -> impl Iterator<Item = &Delay> {
        self.sorted.iter().rev()
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let ms = |share| self.at(share).as_secs_f64() * 1e3;
        format!(
            "{} packets received, {} lost; delay p50 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
            self.sorted.len(),
            self.lost,
            ms(0.5),
            ms(0.999),
            ms(1.0)
        )
    }
}

/// What a run has measured.
#[derive(Debug)]
pub struct Outcome {
    /// Through the relay.
    pub relayed: Delays,
    /// Past it.
    pub straight: Delays,
}

/// Sends packets through the relay, which has them come to `sinks`, and as many past it while `work` is done.
///
/// # Errors
///
/// The kernel's, and those of `work`.
pub fn measure(
    publisher: &mut Publisher,
    sinks: &[UdpSocket],
    work: impl FnOnce(Clock) -> Result<()>,
) -> Result<Outcome> {
    let clock = Clock(Instant::now());
    let (relayed, straight) = (Sent::new(clock), Sent::new(clock));
    let others: Vec<_> =
        sinks.iter().map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    for sink in sinks.iter().chain(&others) {
        sink.set_read_timeout(Some(PATIENCE))?;
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<_> {
        let takers: Vec<_> = sinks.iter().map(|sink| scope.spawn(|| relayed.take(sink, &over))).collect();
        let others_takers: Vec<_> =
            others.iter().map(|sink| scope.spawn(|| straight.take(sink, &over))).collect();
        let feeder = scope.spawn(|| feed(publisher, &others, &relayed, &straight, &over));
        let done = work(clock);
        over.store(true, Ordering::Relaxed);
        let sent = feeder.join().map_err(|_| "the source failed")??;
        let gather = |takers: Vec<std::thread::ScopedJoinHandle<'_, Vec<Delay>>>| -> Result<Delays> {
            let mut delays = Vec::new();
            for taker in takers {
                delays.extend(taker.join().map_err(|_| "a sink failed")?);
            }
            Ok(Delays::new(delays, sent as usize * sinks.len()))
        };
        let outcome = Outcome { relayed: gather(takers)?, straight: gather(others_takers)? };
        done?;
        Ok(outcome)
    })
}

/// Answers how many packets went each way.
fn feed(
    publisher: &mut Publisher,
    others: &[UdpSocket],
    relayed: &Sent,
    straight: &Sent,
    over: &AtomicBool,
) -> Result<u32> {
    let _ = msm_udp::take_short_turns();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let others: Vec<_> = others.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
    let mut packet = [0; PACKET_BYTES];
    let mut due = Instant::now();
    let mut next = || {
        due += PACE / 2;
        sleep(due.saturating_duration_since(Instant::now()));
    };
    let first = publisher.source().sent().0;
    while !over.load(Ordering::Relaxed) {
        next();
        let number = publisher.source().sent().0;
        if !relayed.note(number) {
            break;
        }
        publisher.source().send(1)?;
        next();
        rtp::set_number(&mut packet, number);
        // The time of the first serves for all: so it is with the copies of a relay.
        straight.note(number);
        for other in &others {
            socket.send_to(&packet, other)?;
        }
    }
    Ok(publisher.source().sent().0.saturating_sub(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_told_by_share() {
        let delays = (0..1000).map(|at| Delay { nanos: 1_000_000 - at * 1000, sent: at }).collect();
        let delays = Delays::new(delays, 1003);
        assert_eq!(delays.lost, 3);
        assert_eq!(delays.at(0.5), Duration::from_micros(501));
        assert_eq!(delays.at(1.0), Duration::from_millis(1));
        assert_eq!(delays.slowest().next().map(|own| own.sent), Some(0));
        assert_eq!(Delays::new(Vec::new(), 0).at(0.5), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn what_comes_is_timed_from_when_it_was_sent() {
        let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sink.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let sent = Sent::new(Clock(Instant::now()));
        let mut packet = [0; PACKET_BYTES];
        rtp::set_number(&mut packet, 7);
        assert!(sent.note(7) && !sent.note(u32::MAX));
        sleep(Duration::from_millis(2));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&packet, sink.local_addr().unwrap()).unwrap();
        let delays = sent.take(&sink, &AtomicBool::new(true));
        assert_eq!(delays.len(), 1);
        assert!(delays[0].nanos >= 2_000_000, "{delays:?}");
    }
}
