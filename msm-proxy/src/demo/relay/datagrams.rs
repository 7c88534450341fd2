//! The link's way of UDP: a thread that takes what comes, and one that hands over what is due.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use msm_link::{Link, Pair, Settings};

use super::Passed;
use super::flows::Direction;

/// How often the receiving thread looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);
/// Some receive errors repeat at once: the pause keeps the thread from spinning.
const RETRY: Duration = Duration::from_millis(1);
/// The largest datagram.
const DATAGRAM: usize = 65_535;

#[derive(Debug)]
pub(super) struct Datagrams {
    udp: UdpSocket,
    studio: SocketAddr,
    state: Mutex<State>,
    /// Something was sent, or it is over.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// From the studio to the edge, and back.
    pair: Pair<Vec<u8>>,
    passed: Passed,
    /// Where the edge sends from.
    edge: Option<SocketAddr>,
    /// The most that something was handed over later than it was due, since somebody asked.
    late: Duration,
    over: bool,
}

impl Datagrams {
    pub(super) fn new(udp: UdpSocket, studio: SocketAddr, settings: Settings, seed: u64) -> io::Result<Self> {
        udp.set_read_timeout(Some(LOOK))?;
        let state = State {
            pair: Pair::new(settings, seed),
            passed: Passed::default(),
            edge: None,
            late: Duration::ZERO,
            over: false,
        };
        Ok(Self { udp, studio, state: Mutex::new(state), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn passed(&self) -> Passed {
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        Passed { late, ..state.passed.clone() }
    }

    pub(super) fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    /// Puts what comes on the link, until it is over.
    pub(super) fn receive(&self) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let received = self.udp.recv_from(&mut buffer);
            let now = Instant::now();
            let mut guard = self.state();
            if guard.over {
                return;
            }
            let state = &mut *guard;
            match received {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if from == self.studio {
                        send(now, &mut state.pair.there, &mut state.passed.to_edge, datagram);
                    } else {
                        state.edge = Some(from);
                        send(now, &mut state.pair.back, &mut state.passed.to_studio, datagram);
                    }
                    self.changed.notify_one();
                }
                Err(error) => {
                    drop(guard);
                    if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                        thread::sleep(RETRY);
                    }
                }
            }
        }
    }

    /// Hands over what has arrived, until it is over.
    pub(super) fn deliver(&self) {
        let mut guard = self.state();
        while !guard.over {
            let now = Instant::now();
            let state = &mut *guard;
            if let Some(due) = state.pair.poll_timeout() {
                state.late = state.late.max(now.saturating_duration_since(due));
            }
            while let Some(datagram) = state.pair.there.poll_arrival(now) {
                if let Some(edge) = state.edge {
                    // What the socket has no room for is lost, as on any link; the members find out.
                    let _ = self.udp.send_to(&datagram, edge);
                }
            }
            while let Some(datagram) = state.pair.back.poll_arrival(now) {
                let _ = self.udp.send_to(&datagram, self.studio);
            }
            guard = match state.pair.poll_timeout() {
                Some(due) => {
                    let wait = due.saturating_duration_since(now);
                    self.changed.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Without a rate, the link decides at once whether a packet is lost.
fn send(now: Instant, link: &mut Link<Vec<u8>>, passed: &mut Direction, datagram: &[u8]) {
    let before = link.statistics().missing();
    let fits = link.handle_send(now, datagram.to_vec()).is_ok();
    passed.count(datagram, !fits || link.statistics().missing() > before);
}
