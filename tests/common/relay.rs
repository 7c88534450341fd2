//! Somebody on the path between two members.

#![allow(dead_code, unreachable_pub, reason = "as the other helpers of tests")]

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToAcceptor,
    ToDialler,
}

/// What becomes of a datagram: these go on in its place.
pub type Policy = Box<dyn FnMut(Way, &[u8]) -> Vec<Vec<u8>> + Send>;

/// Stands at the acceptor's port, on another address, and passes TCP and UDP on.
pub struct Relay {
    pub address: SocketAddr,
    acceptor: SocketAddr,
    state: Arc<State>,
}

struct State {
    policy: Mutex<Policy>,
    streams: Mutex<Vec<TcpStream>>,
    dialler: Mutex<Option<SocketAddr>>,
    udp: UdpSocket,
    over: AtomicBool,
    refuses: AtomicBool,
}

impl Relay {
    /// In front of the member at `acceptor`.
    pub fn start(acceptor: SocketAddr) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), acceptor.port())), acceptor)
    }

    /// In front of the member at `acceptor`, at any address, as what maps ports is.
    pub fn start_at(address: SocketAddr, acceptor: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let state = Arc::new(State {
            policy: Mutex::new(Box::new(|_, datagram| vec![datagram.to_vec()])),
            streams: Mutex::default(),
            dialler: Mutex::default(),
            udp,
            over: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
        });
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if own.over.load(Ordering::Relaxed) {
                    return;
                }
                if own.refuses.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(acceptor) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    from.set_nodelay(true).unwrap();
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                        let _ = from.shutdown(Shutdown::Both);
                    });
                }
                own.streams.lock().unwrap().extend([near, far]);
            }
        });
        let own = Arc::clone(&state);
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while !own.over.load(Ordering::Relaxed) {
                let Ok((length, from)) = own.udp.recv_from(&mut buffer) else { continue };
                let (way, to) = if from == acceptor {
                    let dialler = *own.dialler.lock().unwrap();
                    let Some(dialler) = dialler else { continue };
                    (Way::ToDialler, dialler)
                } else {
                    *own.dialler.lock().unwrap() = Some(from);
                    (Way::ToAcceptor, acceptor)
                };
                let passed = (own.policy.lock().unwrap())(way, &buffer[..length]);
                for datagram in passed {
                    let _ = own.udp.send_to(&datagram, to);
                }
            }
        });
        Self { address, acceptor, state }
    }

    /// Decides about datagrams from now on.
    pub fn set(&self, policy: impl FnMut(Way, &[u8]) -> Vec<Vec<u8>> + Send + 'static) {
        *self.state.policy.lock().unwrap() = Box::new(policy);
    }

    /// Sends a datagram from the relay's own address.
    pub fn inject(&self, way: Way, datagram: &[u8]) {
        let dialler = *self.state.dialler.lock().unwrap();
        let to = if way == Way::ToAcceptor { Some(self.acceptor) } else { dialler };
        self.state.udp.send_to(datagram, to.expect("nothing came from it yet")).unwrap();
    }

    /// Cuts all TCP connections.
    pub fn cut(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether new connections are dropped at once.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Where the dialling member sends from.
    pub fn dialler(&self) -> SocketAddr {
        self.state.dialler.lock().unwrap().expect("nothing came from it yet")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}
