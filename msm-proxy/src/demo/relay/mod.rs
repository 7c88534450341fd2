//! The link between the demo's two members: it stands at the studio's port on an address of its own, and all that passes
//! between the members passes here, by UDP and by TCP.
//!
//! The edge reaches the studio at the relay's address and challenges UDP there only: the port that the studio names is the
//! relay's own, on the relay's address. The studio knows the edge as the relay, from whose socket everything comes. So there
//! is no way around it.
//!
//! It runs on threads of its own: an arrival is due to the tenth of a millisecond, and tokio's timers are as coarse as one.

mod datagrams;
mod flows;
mod streams;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use msm_link::Settings;

use datagrams::Datagrams;
pub(crate) use flows::{Direction, Flow};
use streams::Streams;

/// Where ports are looked for: that of mesh hops, and those after it.
const FIRST_PORT: u16 = 8050;
/// How many are tried.
const PORTS: u16 = 200;

/// The relay's sockets, before anything passes.
#[derive(Debug)]
pub(crate) struct Place {
    listener: TcpListener,
    udp: UdpSocket,
    /// Where the studio's mesh listener is to be: the same port on another address.
    pub(crate) studio: SocketAddr,
}

impl Place {
    /// Finds a port that is free for TCP and UDP, here and where the studio will be.
    pub(crate) fn find() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for port in (0..PORTS).map(|offset| FIRST_PORT.saturating_add(offset)) {
            match Self::at(port) {
                Ok(place) => return Ok(place),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn at(port: u16) -> io::Result<Self> {
        let studio = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
        let place = Self { listener: TcpListener::bind(own)?, udp: UdpSocket::bind(own)?, studio };
        // The studio's are free, too; the relay's keep another demo from them until it has bound them.
        TcpListener::bind(studio)?;
        UdpSocket::bind(studio)?;
        Ok(place)
    }
}

/// The link at work. What is under way ends with it.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    datagrams: Arc<Datagrams>,
    streams: Arc<Streams>,
}

/// What passed, and what did not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// From the studio to the edge: the way of the media.
    pub(crate) to_edge: Direction,
    /// From the edge to the studio: what is asked for again.
    pub(crate) to_studio: Direction,
    /// The most that a datagram was handed over later than it was due, since this was asked last: a machine that is busy disturbs
    /// what is to be seen.
    pub(crate) late: Duration,
}

impl Relay {
    /// Relays from now on: in both directions by `settings`, what happens follows from `seed`. What goes by TCP is delayed,
    /// and not lost.
    pub(crate) fn start(place: Place, settings: Settings, seed: u64) -> io::Result<Self> {
        let Place { listener, udp, studio } = place;
        let address = listener.local_addr()?;
        let relay = Self {
            address,
            datagrams: Arc::new(Datagrams::new(udp, studio, settings, seed)?),
            streams: Arc::new(Streams::new(studio, settings.delay)),
        };
        let own = Arc::clone(&relay.datagrams);
        spawn("demo-link-receive", move || own.receive())?;
        let own = Arc::clone(&relay.datagrams);
        spawn("demo-link-deliver", move || own.deliver())?;
        let own = Arc::clone(&relay.streams);
        spawn("demo-link-accept", move || own.accept(&listener))?;
        Ok(relay)
    }

    /// Where the studio is reached through the link.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What passed until now.
    pub(crate) fn passed(&self) -> Passed {
        self.datagrams.passed()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.datagrams.end();
        self.streams.end();
        // The thread that accepts waits for a connection.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests;
