//! A name server on loopback, over UDP and TCP, that answers what the test says (RFC 1035).
#![allow(dead_code, unreachable_pub, reason = "others use their part")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const A: u16 = 1;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;

pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;

/// What a record says.
#[derive(Clone)]
pub enum Data {
    Address(IpAddr),
    Service { priority: u16, weight: u16, port: u16, target: &'static str },
}

/// What is answered to a question.
#[derive(Clone)]
pub enum Reply {
    /// These, each with this TTL in seconds.
    Records(u32, Vec<Data>),
    /// A failure.
    Code(u8),
    /// Nothing.
    Silence,
}

#[derive(Default)]
struct State {
    replies: BTreeMap<(String, u16), Reply>,
    asked: BTreeMap<(String, u16), usize>,
    /// Over UDP all that is said is that the answer is too long.
    truncates: bool,
    over_tcp: usize,
}

/// See the [module](self). Questions that it knows nothing of are answered NXDOMAIN.
pub struct NameServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl NameServer {
    pub fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let address = udp.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let own = Arc::clone(&state);
        std::thread::spawn(move || {
            let mut question = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut question) {
                if let Some(answer) = answer(&own, &question[..length], false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let own = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let (Ok(mut stream), own) = (stream, Arc::clone(&own)) else { return };
                std::thread::spawn(move || {
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                        stream.read_exact(&mut question).unwrap();
                        if let Some(answer) = answer(&own, &question, true) {
                            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                            let _ = stream.write_all(&[&length[..], &answer].concat());
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    pub fn set(&self, name: &str, kind: u16, reply: Reply) {
        self.state.lock().unwrap().replies.insert((name.to_owned(), kind), reply);
    }

    /// The addresses of a name, both kinds at once.
    pub fn set_addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            if address.is_ipv4() { &mut v4 } else { &mut v6 }.push(Data::Address(address));
        }
        let mut state = self.state.lock().unwrap();
        state.replies.insert((name.to_owned(), A), Reply::Records(ttl, v4));
        state.replies.insert((name.to_owned(), AAAA), Reply::Records(ttl, v6));
    }

    pub fn set_code(&self, name: &str, code: u8) {
        self.set(name, A, Reply::Code(code));
        self.set(name, AAAA, Reply::Code(code));
    }

    pub fn truncate(&self) {
        self.state.lock().unwrap().truncates = true;
    }

    pub fn over_tcp(&self) -> usize {
        self.state.lock().unwrap().over_tcp
    }

    /// How often a question was asked.
    pub fn asked(&self, name: &str, kind: u16) -> usize {
        self.state.lock().unwrap().asked.get(&(name.to_owned(), kind)).copied().unwrap_or(0)
    }

    /// Waits until a question was asked so many times more.
    pub fn wait_asked(&self, name: &str, kind: u16, more: usize) {
        let wanted = self.asked(name, kind) + more;
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.asked(name, kind) < wanted {
            assert!(Instant::now() < deadline, "{name} was not asked for {more} times more");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn name_at(message: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..at + 1 + length]).to_lowercase());
        at += 1 + length;
    }
    (labels.join("."), at + 1)
}

fn answer(state: &Mutex<State>, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let (name, end) = name_at(question, 12);
    let kind = u16::from_be_bytes([question[end], question[end + 1]]);
    let mut state = state.lock().unwrap();
    *state.asked.entry((name.clone(), kind)).or_default() += 1;
    state.over_tcp += usize::from(tcp);
    let reply = state.replies.get(&(name, kind)).cloned().unwrap_or(Reply::Code(NXDOMAIN));
    let truncated = state.truncates && !tcp;
    let (code, ttl, records) = match reply {
        Reply::Silence => return None,
        Reply::Code(code) => (code, 0, Vec::new()),
        Reply::Records(ttl, records) => (0, ttl, records),
    };
    let records = if truncated { Vec::new() } else { records };
    let mut out = question[..2].to_vec();
    // A response to a question with recursion desired, and available.
    out.extend([0x81 | if truncated { 2 } else { 0 }, 0x80 | code, 0, 1]);
    out.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(&question[12..end + 4]);
    for record in records {
        let data = match record {
            Data::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Data::Address(IpAddr::V6(address)) => address.octets().to_vec(),
            Data::Service { priority, weight, port, target } => {
                let mut data: Vec<u8> =
                    [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
                for label in target.split('.') {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend(label.bytes());
                }
                data.push(0);
                data
            }
        };
        // The name is that of the question; class IN.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    Some(out)
}
