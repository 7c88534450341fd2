//! One-way delay by timestamps, of packets through a relay to several readers: until the kernel has them in a reader's socket, by its own
//! timestamp (`SO_TIMESTAMPNS`), which is all that a relay can do; and until the reader's thread has them in its hands. Beside them, packets
//! go straight to as many other sinks, from the same thread: what these are late by, the machine and this process are to blame for.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns};
use nix::sys::time::TimeSpec;

use crate::rtsp::Publisher;
use crate::{PACKET_BYTES, Result, rtp};

/// From one packet to the next of the same way. Those that go straight leave in the middle.
const PACE: Duration = Duration::from_millis(1);
/// Packets of a run each way, at most: two minutes. All memory is there before the first: to be given more takes its time.
const MOST: usize = 120_000;
/// How long a sink waits before it looks whether the run is over.
const PATIENCE: Duration = Duration::from_millis(200);

/// Nanoseconds since the beginning of a run, by the clock that the kernel's timestamps are of.
#[derive(Debug, Clone, Copy)]
pub struct Clock(SystemTime);

impl Clock {
    /// Now.
    pub fn now(&self) -> u64 {
        self.at(SystemTime::now())
    }

    fn at(&self, time: SystemTime) -> u64 {
        time.duration_since(self.0).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
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
        let mut delays = vec![Delay { socket: u64::MAX, thread: u64::MAX, sent: u64::MAX }; self.at.len()];
        delays.clear();
        let mut packet = [0; 2048];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let Some((length, stamp)) = receive(sink, &mut packet, &mut control) else {
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
                let stamp = stamp.map_or(now, |stamp| self.clock.at(stamp));
                Delay { socket: stamp.saturating_sub(sent), thread: now.saturating_sub(sent), sent }
            }));
        }
    }
}

/// The next packet's length, and when the kernel got it; `None` if none came in time.
fn receive(sink: &UdpSocket, packet: &mut [u8], control: &mut [u8]) -> Option<(usize, Option<SystemTime>)> {
    let mut parts = [IoSliceMut::new(packet)];
    let message = recvmsg::<()>(sink.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty()).ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|own| match own {
        ControlMessageOwned::ScmTimestampns(at) => Some(SystemTime::UNIX_EPOCH + Duration::from(at)),
        _ => None,
    });
    Some((message.bytes, stamp))
}

/// Of one packet to one sink, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay {
    /// Until it was in the socket.
    pub socket: u64,
    /// Until the thread had it.
    pub thread: u64,
    /// When it was sent, since the run began.
    pub sent: u64,
}

/// The delays of one way, and how many packets did not come.
#[derive(Debug)]
pub struct Delays {
    /// By the time until the socket.
    sorted: Vec<Delay>,
    /// Until the thread.
    threads: Vec<u64>,
    /// Packets that were sent and not received.
    pub lost: usize,
}

/// The place in so many sorted values that a share of them is not above.
fn place(count: usize, share: f64) -> usize {
    ((count as f64 * share) as usize).min(count.saturating_sub(1))
}

impl Delays {
    fn new(mut delays: Vec<Delay>, sent: usize) -> Self {
        delays.sort_unstable();
        let mut threads: Vec<_> = delays.iter().map(|delay| delay.thread).collect();
        threads.sort_unstable();
        Self { lost: sent.saturating_sub(delays.len()), sorted: delays, threads }
    }

    /// What this share of them is not above, until the socket.
    pub fn at(&self, share: f64) -> Duration {
        let delay = self.sorted.get(place(self.sorted.len(), share));
        Duration::from_nanos(delay.map_or(u64::MAX, |delay| delay.socket))
    }

    /// The same, until the thread.
    pub fn at_thread(&self, share: f64) -> Duration {
        let delay = self.threads.get(place(self.threads.len(), share));
        Duration::from_nanos(delay.copied().unwrap_or(u64::MAX))
    }

    /// The longest first, until the socket.
    pub fn slowest(&self) -> impl Iterator<Item = &Delay> {
        self.sorted.iter().rev()
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
        let [socket, thread] = [Self::at, Self::at_thread].map(|at| {
            let [middle, most, all] = [0.5, 0.999, 1.0].map(|share| ms(at(self, share)));
            format!("p50 {middle:.3}, p99.9 {most:.3}, max {all:.3} ms")
        });
        format!(
            "{} received, {} lost; delay to the socket {socket}, to its thread {thread}",
            self.sorted.len(),
            self.lost
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
    let clock = Clock(SystemTime::now());
    let (relayed, straight) = (Sent::new(clock), Sent::new(clock));
    let others: Vec<_> =
        sinks.iter().map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    for sink in sinks.iter().chain(&others) {
        sink.set_read_timeout(Some(PATIENCE))?;
        setsockopt(sink, ReceiveTimestampns, &true)?;
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
        let delays =
            (0..1000).map(|at| Delay { socket: 1_000_000 - at * 1000, thread: at, sent: at }).collect();
        let delays = Delays::new(delays, 1003);
        assert_eq!(delays.lost, 3);
        assert_eq!(
            (delays.at(0.5), delays.at_thread(0.5)),
            (Duration::from_micros(501), Duration::from_nanos(500))
        );
        assert_eq!(
            (delays.at(1.0), delays.at_thread(1.0)),
            (Duration::from_millis(1), Duration::from_nanos(999))
        );
        assert_eq!(delays.slowest().next().map(|own| own.sent), Some(0));
        assert_eq!(Delays::new(Vec::new(), 0).at(0.5), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_socket_has_a_packet_before_its_thread() {
        let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sink.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        setsockopt(&sink, ReceiveTimestampns, &true).unwrap();
        let sent = Sent::new(Clock(SystemTime::now()));
        let mut packet = [0; PACKET_BYTES];
        rtp::set_number(&mut packet, 7);
        assert!(sent.note(7) && !sent.note(u32::MAX));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sleep(Duration::from_millis(2));
        socket.send_to(&packet, sink.local_addr().unwrap()).unwrap();
        sleep(Duration::from_millis(2));
        let delays = sent.take(&sink, &AtomicBool::new(true));
        assert_eq!(delays.len(), 1);
        assert!(delays[0].socket >= 2_000_000, "{delays:?}");
        assert!(delays[0].thread >= delays[0].socket + 2_000_000, "{delays:?}");
    }
}
