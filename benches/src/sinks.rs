//! Readers' sockets, drained by sweeps.
//!
//! A sink never sleeps in a call on its socket: to wake it would cost the relay time which over a network it would
//! not pay. The relay pays for delivery into the socket's queue, and that is all.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use msm_udp::{RecvBuffers, Socket};
use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};

use crate::addresses::reader_addresses;
use crate::{PACKET_BYTES, Result};

/// Room in the queue of each sink: several of the largest bursts, at the kernel's price of a packet without GRO.
const QUEUE_BYTES: usize = 1 << 20;

/// How often all sinks are looked at, at least.
const FULL_SWEEP: Duration = Duration::from_millis(1);

/// One socket a reader, and one for everybody's RTCP.
#[derive(Debug)]
pub struct Sinks {
    sockets: Vec<Socket>,
    received: Vec<u64>,
    rtcp: UdpSocket,
    port: u16,
    gro: bool,
    buffers: RecvBuffers,
}

impl Sinks {
    /// Opens the sockets of `readers` readers on `port`, and `port + 1` for RTCP.
    ///
    /// # Errors
    ///
    /// The kernel's, named by address.
    pub fn new(readers: usize, port: u16) -> Result<Self> {
        let mut sockets = Vec::with_capacity(readers);
        for address in reader_addresses(readers, port) {
            let socket = UdpSocket::bind(address).map_err(|error| format!("bind {address}: {error}"))?;
            let socket = Socket::new(socket)?;
            socket.options().set_recv_buffer_size(QUEUE_BYTES)?;
            sockets.push(socket);
        }
        let rtcp = UdpSocket::bind(("0.0.0.0", port + 1))?;
        rtcp.set_nonblocking(true)?;
        Ok(Self { received: vec![0; readers], sockets, rtcp, port, gro: true, buffers: RecvBuffers::new(32) })
    }

    /// How many readers.
    pub fn readers(&self) -> usize {
        self.sockets.len()
    }

    /// The RTP port of all readers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Switches UDP_GRO of all sinks.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn set_gro(&mut self, on: bool) -> Result<()> {
        self.gro = on;
        for socket in &self.sockets {
            setsockopt(socket, UdpGroSegment, &on)?;
        }
        Ok(())
    }

    /// Throws away what is queued, and starts counting at zero.
    pub fn reset(&mut self) {
        while self.sweep(&mut |_| {}) > 0 {}
        self.received.fill(0);
    }

    /// Drains each sink once; gives each run of packets to `each`, and returns how many packets there were.
    pub fn sweep(&mut self, each: &mut impl FnMut(&[u8])) -> u64 {
        let mut total = 0;
        for (socket, received) in self.sockets.iter().zip(&mut self.received) {
            while let Ok(runs) = socket.recv(&mut self.buffers) {
                for run in self.buffers.iter_mut() {
                    let packets = run.count() as u64;
                    *received += packets;
                    total += packets;
                    each(run.bytes);
                }
                if runs < self.buffers.slots() {
                    break;
                }
            }
        }
        total
    }

    /// Drains once each sink that has less than `expected` packets, up to the `idle`th in a row that has nothing;
    /// returns whether there was anything.
    ///
    /// Relays serve their readers in order: this follows close behind, so that packets don't pile up in memory, as
    /// they would not if they left by a network card.
    fn follow(&mut self, expected: u64, idle: usize) -> bool {
        let mut any = false;
        let mut empty = 0;
        for (socket, received) in self.sockets.iter().zip(&mut self.received) {
            if *received >= expected {
                continue;
            }
            if empty >= idle {
                break;
            }
            let before = *received;
            if self.gro {
                // The length without the bytes: a copy of them would keep this behind the relay.
                while let Ok(length) = socket.options().recv_with_flags(&mut [], libc::MSG_TRUNC) {
                    *received += length.div_ceil(PACKET_BYTES) as u64;
                    if *received >= expected {
                        break;
                    }
                }
            } else {
                while let Ok(runs) = socket.recv(&mut self.buffers) {
                    *received += self.buffers.iter_mut().map(|run| run.count() as u64).sum::<u64>();
                    if *received >= expected || runs < self.buffers.slots() {
                        break;
                    }
                }
            }
            any |= *received > before;
            empty = if *received == before { empty + 1 } else { 0 };
        }
        any
    }

    /// Drains until each sink has `expected` packets since [`reset`](Self::reset), and no sink more.
    ///
    /// # Errors
    ///
    /// Nothing arrived for `patience`, or too much did: says how many packets are missing and where.
    pub fn wait_for(&mut self, expected: u64, patience: Duration) -> Result<()> {
        let mut last = Instant::now();
        let mut full = Instant::now();
        loop {
            // A relay with an order of its own is caught up with by a full sweep now and then.
            let idle = if full.elapsed() > FULL_SWEEP { usize::MAX } else { 4 };
            if idle == usize::MAX {
                full = Instant::now();
            }
            if self.follow(expected, idle) {
                last = Instant::now();
            }
            self.drain_rtcp();
            if self.received.iter().all(|received| *received >= expected) {
                break;
            }
            if last.elapsed() > patience {
                return Err(self.lost(expected).into());
            }
            // The sweep after a pause finds more: fewer calls on empty queues.
            std::thread::sleep(Duration::from_micros(20));
        }
        if self.received.iter().any(|received| *received != expected) {
            return Err(self.lost(expected).into());
        }
        Ok(())
    }

    /// Drains until all sinks together have `expected` packets since [`reset`](Self::reset).
    ///
    /// # Errors
    ///
    /// Nothing arrived for `patience`.
    pub fn wait_for_sum(&mut self, expected: u64, patience: Duration) -> Result<()> {
        let mut last = Instant::now();
        while self.delivered() < expected {
            if self.sweep(&mut |_| {}) > 0 {
                last = Instant::now();
            }
            self.drain_rtcp();
            if last.elapsed() > patience {
                return Err(format!("{} of {expected} packets arrived", self.delivered()).into());
            }
        }
        Ok(())
    }

    /// Packets received since [`reset`](Self::reset), by all together.
    pub fn delivered(&self) -> u64 {
        self.received.iter().sum()
    }

    /// How many sinks received anything since [`reset`](Self::reset).
    pub fn reached(&self) -> usize {
        self.received.iter().filter(|received| **received > 0).count()
    }

    fn drain_rtcp(&self) {
        let mut buffer = [0; 1500];
        loop {
            match self.rtcp.recv(&mut buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn lost(&self, expected: u64) -> String {
        let missing: u64 = self.received.iter().map(|received| expected.saturating_sub(*received)).sum();
        let extra: u64 = self.received.iter().map(|received| received.saturating_sub(expected)).sum();
        let short = self.received.iter().filter(|received| **received < expected).count();
        let drops: u64 = self.sockets.iter().map(Socket::refresh_drops).sum();
        format!(
            "of {expected} packets a reader {missing} are missing at {short} of {} readers, {extra} are too many; \
             the sinks dropped {drops} since they opened",
            self.received.len()
        )
    }
}
