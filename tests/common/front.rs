//! A plain server's TLS: mutual, by an SVID, with the server behind it that knows nothing of meshes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::tls::{identity, server_config, system_clock};
use rustls::{ServerConfig, ServerConnection};

/// What a front does with connections.
#[derive(Clone, Copy)]
enum Mode {
    /// Ends their TLS in front of a plain server.
    Plain(SocketAddr),
    /// Passes them on as they are.
    Pass(SocketAddr),
}

/// See the [module](self).
pub struct Front {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    config: Arc<ServerConfig>,
    mode: Mutex<Mode>,
    /// What clients said within TLS.
    said: Mutex<Vec<u8>>,
    /// Who they were, and what was agreed on.
    clients: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

impl Front {
    /// In front of the plain server at `server`, as whoever `source` says. `alpn` agrees on `msm/1`.
    pub fn start<S: IdentitySource + 'static>(source: &Arc<S>, alpn: bool, server: SocketAddr) -> Self {
        let source = Arc::clone(source) as Arc<dyn IdentitySource>;
        let mut config = ServerConfig::clone(&server_config(source, system_clock()).unwrap());
        if !alpn {
            config.alpn_protocols.clear();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            config: Arc::new(config),
            mode: Mutex::new(Mode::Plain(server)),
            said: Mutex::default(),
            clients: Mutex::default(),
            streams: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if own.over.load(Ordering::Relaxed) {
                    return;
                }
                let mode = *own.mode.lock().unwrap();
                let (Mode::Plain(to) | Mode::Pass(to)) = mode;
                let Ok(far) = TcpStream::connect(to) else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                own.streams.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                match mode {
                    Mode::Plain(_) => end_tls(&own, &near, &far),
                    Mode::Pass(_) => {
                        pump(&near, &far);
                        pump(&far, &near);
                    }
                }
            }
        });
        Self { address, state }
    }

    /// Another server stands at the address from now on, with TLS of its own.
    pub fn pass_to(&self, server: SocketAddr) {
        *self.state.mode.lock().unwrap() = Mode::Pass(server);
    }

    /// A plain server does again.
    pub fn plain_to(&self, server: SocketAddr) {
        *self.state.mode.lock().unwrap() = Mode::Plain(server);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How often clients have said this.
    pub fn heard(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.state.said.lock().unwrap()).matches(what).count()
    }

    /// Clients whose handshake was completed: their SPIFFE IDs and versions of TLS.
    pub fn clients(&self) -> Vec<String> {
        self.state.clients.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

fn pump(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

fn end_tls(state: &Arc<State>, near: &TcpStream, far: &TcpStream) {
    let tls = Arc::new(Mutex::new(ServerConnection::new(Arc::clone(&state.config)).unwrap()));
    let (mut encrypted, mut plain) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let (own, state) = (Arc::clone(&tls), Arc::clone(state));
    thread::spawn(move || {
        let mut is_new = true;
        let mut buffer = vec![0; 65536];
        while let Ok(length @ 1..) = encrypted.read(&mut buffer) {
            let mut tls = own.lock().unwrap();
            let mut bytes = &buffer[..length];
            let mut heard = Vec::new();
            while !bytes.is_empty() {
                tls.read_tls(&mut bytes).unwrap();
                let outcome = tls.process_new_packets();
                let _ = tls.reader().read_to_end(&mut heard);
                while tls.wants_write() && tls.write_tls(&mut encrypted).is_ok() {}
                if outcome.is_err() {
                    bytes = &[];
                    let _ = encrypted.shutdown(Shutdown::Both);
                }
            }
            if is_new && !tls.is_handshaking() {
                is_new = false;
                let who = identity(&tls).unwrap().id;
                let version = tls.protocol_version().unwrap();
                state.clients.lock().unwrap().push(format!("{who} {version:?}"));
            }
            drop(tls);
            state.said.lock().unwrap().extend_from_slice(&heard);
            if plain.write_all(&heard).is_err() {
                break;
            }
        }
        let _ = plain.shutdown(Shutdown::Both);
    });
    let (mut encrypted, mut plain) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = vec![0; 16384];
        while let Ok(length @ 1..) = plain.read(&mut buffer) {
            let mut tls = tls.lock().unwrap();
            tls.writer().write_all(&buffer[..length]).unwrap();
            while tls.wants_write() {
                if tls.write_tls(&mut encrypted).is_err() {
                    return;
                }
            }
        }
        let mut tls = tls.lock().unwrap();
        tls.send_close_notify();
        while tls.wants_write() && tls.write_tls(&mut encrypted).is_ok() {}
        let _ = encrypted.shutdown(Shutdown::Both);
    });
}
