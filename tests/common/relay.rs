//! Somebody on the path between two members.

use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
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

/// What becomes of a datagram on one of the paths, in the order in which they were first used: these go on in its place.
pub type Policy = Box<dyn FnMut(usize, Way, &[u8]) -> Vec<Vec<u8>> + Send>;

/// Stands at the acceptor's port, on another address, and passes TCP and UDP on. Each address of the dialling member is a path:
/// to the acceptor the first comes from the relay's own address, others from others.
pub struct Relay {
    pub address: SocketAddr,
    acceptor: SocketAddr,
    state: Arc<State>,
}

struct State {
    policy: Mutex<Policy>,
    streams: Mutex<Vec<TcpStream>>,
    paths: Mutex<Vec<Path>>,
    udp: UdpSocket,
    over: AtomicBool,
    refuses: AtomicBool,
}

/// One address of the dialling member, and the socket that what comes from it goes on by.
struct Path {
    dialler: SocketAddr,
    udp: UdpSocket,
}

impl State {
    /// The path from an address, a new one if nothing came from there yet.
    fn path(self: &Arc<Self>, from: SocketAddr, acceptor: SocketAddr) -> usize {
        let mut paths = self.paths.lock().unwrap();
        if let Some(known) = paths.iter().position(|path| path.dialler.ip() == from.ip()) {
            paths[known].dialler = from;
            return known;
        }
        let number = paths.len();
        let udp = if number == 0 {
            self.udp.try_clone().unwrap()
        } else {
            let IpAddr::V4(own) = self.udp.local_addr().unwrap().ip() else {
                panic!("loopback has one of IPv6")
            };
            let udp = UdpSocket::bind((Ipv4Addr::from(u32::from(own) + number as u32), 0)).unwrap();
            udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            udp
        };
        paths.push(Path { dialler: from, udp: udp.try_clone().unwrap() });
        if number > 0 {
            let own = Arc::clone(self);
            thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while !own.over.load(Ordering::Relaxed) {
                    let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                    if from == acceptor {
                        own.to_dialler(number, &buffer[..length]);
                    }
                }
            });
        }
        number
    }

    fn to_dialler(&self, path: usize, datagram: &[u8]) {
        let dialler = self.paths.lock().unwrap().get(path).map(|path| path.dialler);
        let Some(dialler) = dialler else { return };
        for datagram in (self.policy.lock().unwrap())(path, Way::ToDialler, datagram) {
            let _ = self.udp.send_to(&datagram, dialler);
        }
    }
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
            policy: Mutex::new(Box::new(|_, _, datagram| vec![datagram.to_vec()])),
            streams: Mutex::default(),
            paths: Mutex::default(),
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
                if from == acceptor {
                    own.to_dialler(0, &buffer[..length]);
                    continue;
                }
                let path = own.path(from, acceptor);
                let passed = (own.policy.lock().unwrap())(path, Way::ToAcceptor, &buffer[..length]);
                let udp = own.paths.lock().unwrap()[path].udp.try_clone().unwrap();
                for datagram in passed {
                    let _ = udp.send_to(&datagram, acceptor);
                }
            }
        });
        Self { address, acceptor, state }
    }

    /// Decides about datagrams from now on.
    pub fn set(&self, mut policy: impl FnMut(Way, &[u8]) -> Vec<Vec<u8>> + Send + 'static) {
        self.set_by_path(move |_, way, datagram| policy(way, datagram));
    }

    /// The same, for each path another way.
    pub fn set_by_path(&self, policy: impl FnMut(usize, Way, &[u8]) -> Vec<Vec<u8>> + Send + 'static) {
        *self.state.policy.lock().unwrap() = Box::new(policy);
    }

    /// Sends a datagram as if it had come by this path.
    pub fn inject_on(&self, path: usize, way: Way, datagram: &[u8]) {
        let paths = self.state.paths.lock().unwrap();
        let path = paths.get(path).expect("nothing came from it yet");
        let (udp, to) = match way {
            Way::ToAcceptor => (&path.udp, self.acceptor),
            Way::ToDialler => (&self.state.udp, path.dialler),
        };
        udp.send_to(datagram, to).unwrap();
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
        self.state.paths.lock().unwrap().first().expect("nothing came from it yet").dialler
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}
