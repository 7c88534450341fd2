//! What tests share: a mesh in this process, and RTSP written by hand against it.
#![allow(dead_code, unreachable_pub, reason = "each crate of tests uses its part")]

pub mod dns;
pub mod endpoint;
pub mod front;
pub mod keyed;
pub mod log;
pub mod member;
pub mod pair;
pub mod relay;
pub mod server;
pub mod stage;
pub mod succession;
pub mod tls;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use msm::Mesh;
use msm::config::Config;

/// A mesh that serves on loopback.
pub struct TestMesh {
    pub mesh: Mesh,
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    runtime: tokio::runtime::Runtime,
}

impl TestMesh {
    /// One listener on any port, whose routes publish and read in this process, plus `more` configuration.
    pub fn start(more: &str) -> Self {
        let port = reader_port();
        let yaml =
            format!("listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {port}}}\n{more}\n");
        Self::from_yaml(&yaml)
    }

    /// A mesh with this configuration.
    pub fn from_yaml(yaml: &str) -> Self {
        Self::with(yaml, |builder| builder)
    }

    /// A mesh with this configuration, and whatever else its builder is given. Only a listener of it is served.
    pub fn with(yaml: &str, change: impl FnOnce(msm::Builder) -> msm::Builder) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = Config::from_yaml(yaml, "test.yaml", std::iter::empty()).unwrap();
        let (mesh, addresses) = runtime.block_on(async {
            let mesh = change(Mesh::builder().config(config)).build().await.unwrap();
            let serving = mesh.serve().await.unwrap();
            (mesh, serving.addresses().to_vec())
        });
        Self { mesh, address: addresses[0], addresses, runtime }
    }

    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.address)
    }

    pub fn connect(&self) -> Rtsp {
        Rtsp::connect(self.address)
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits until the gauges or counters that contain `needle` sum up to `wanted`.
    pub fn wait_value(&self, needle: &str, wanted: f64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while (self.counter(needle) - wanted).abs() > 0.1 {
            assert!(
                Instant::now() < deadline,
                "{needle} is {} after 10 s, wanted {wanted}",
                self.counter(needle)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn metrics(&self) -> String {
        self.block_on(self.mesh.metrics_text())
    }

    /// The value of a counter line whose text contains `needle`, 0 if there is none.
    pub fn counter(&self, needle: &str) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains(needle))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a counter reaches `least`.
    pub fn wait_counter(&self, needle: &str, least: f64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.counter(needle) < least {
            assert!(
                Instant::now() < deadline,
                "{needle} is {} after 10 s, wanted {least}",
                self.counter(needle)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for TestMesh {
    fn drop(&mut self) {
        self.runtime.block_on(self.mesh.shutdown(Duration::from_millis(200)));
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// What the server asks for credentials by.
    pub challenges: Vec<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
    }

    pub fn session(&self) -> String {
        self.header("session").split(';').next().unwrap_or_default().trim().to_owned()
    }

    /// The numbers after `key=` in the Transport header.
    pub fn ports(&self, key: &str) -> (u16, u16) {
        let value = self.header("transport");
        let ports = value.split(';').find_map(|part| part.strip_prefix(&format!("{key}="))).unwrap_or("0-0");
        let (first, second) = ports.split_once('-').unwrap_or((ports, "0"));
        (first.parse().unwrap(), second.parse().unwrap())
    }
}

/// A pair of ports for the readers of one mesh: tests of one binary run at the same time.
pub fn reader_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries of other processes look for ports, too, and members' sockets share a port with whoever has it: processes that
    // were started one after the other begin far apart.
    let first = (std::process::id() % 5000 * 89 % 5000) as u16;
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(first);
        let port = 34_000 + 2 * (turn % 5000);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// A request of the server's, to its client.
#[derive(Debug)]
pub struct Told {
    /// Method, URL and version.
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Told {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
    }
}

/// What comes on an RTSP connection.
#[derive(Debug)]
pub enum Item {
    Answer(Answer),
    Told(Told),
    Frame(u8, Vec<u8>),
}

/// A connection, driven by hand.
pub struct Rtsp<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    cseq: u32,
    pub version: &'static str,
    pub frames: Vec<(u8, Vec<u8>)>,
    pub told: Vec<Told>,
}

impl Rtsp {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: Read + Write> Rtsp<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), cseq: 0, version: "1.0", frames: Vec::new(), told: Vec::new() }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn frame(&mut self, channel: u8, packet: &[u8]) {
        let mut bytes = vec![b'$', channel];
        bytes.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(packet);
        self.raw(&bytes);
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/{}\r\nCSeq: {}\r\n", self.version, self.cseq);
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes);
        let answer = self.answer();
        assert_eq!(answer.header("cseq"), self.cseq.to_string(), "{method}: {answer:?}");
        answer
    }

    /// The next answer; frames and requests before it are kept.
    pub fn answer(&mut self) -> Answer {
        loop {
            match self.item().expect("the connection ended") {
                Item::Answer(answer) => return answer,
                Item::Told(told) => self.told.push(told),
                Item::Frame(channel, packet) => self.frames.push((channel, packet)),
            }
        }
    }

    /// The next request of the server's; frames before it are kept.
    pub fn next_told(&mut self) -> Told {
        if !self.told.is_empty() {
            return self.told.remove(0);
        }
        loop {
            match self.item().expect("the connection ended") {
                Item::Told(told) => return told,
                Item::Frame(channel, packet) => self.frames.push((channel, packet)),
                Item::Answer(answer) => panic!("an answer that nobody asked for: {answer:?}"),
            }
        }
    }

    /// Answers a request of the server's.
    pub fn reply(&mut self, told: &Told, status: u16) {
        let text = format!("RTSP/{} {status} X\r\nCSeq: {}\r\n\r\n", self.version, told.header("cseq"));
        self.raw(text.as_bytes());
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> (u8, Vec<u8>) {
        if !self.frames.is_empty() {
            return self.frames.remove(0);
        }
        loop {
            match self.item().expect("the connection ended") {
                Item::Frame(channel, packet) => return (channel, packet),
                Item::Told(told) => self.told.push(told),
                Item::Answer(answer) => panic!("an answer that nobody asked for: {answer:?}"),
            }
        }
    }

    /// Whether the other side closes within the read timeout.
    pub fn is_closed(&mut self) -> bool {
        let mut scratch = [0; 4096];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.parse() {
                return Some(item);
            }
            let mut scratch = [0; 65536];
            match self.stream.read(&mut scratch) {
                Ok(0) => return None,
                Ok(length) => self.buffer.extend_from_slice(&scratch[..length]),
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    fn parse(&mut self) -> Option<Item> {
        if self.buffer.first() == Some(&b'$') {
            let length = usize::from(u16::from_be_bytes([*self.buffer.get(2)?, *self.buffer.get(3)?]));
            let packet = self.buffer.get(4..4 + length)?.to_vec();
            let channel = self.buffer[1];
            self.buffer.drain(..4 + length);
            return Some(Item::Frame(channel, packet));
        }
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let line = first.to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let challenges = headers.iter().filter(|(name, _)| name == "www-authenticate");
        let challenges = challenges.map(|(_, value)| value.clone()).collect();
        let headers: BTreeMap<_, _> = headers.into_iter().collect();
        let length: usize = headers.get("content-length").map_or(0, |value| value.parse().unwrap());
        let body = self.buffer.get(end..end + length)?.to_vec();
        self.buffer.drain(..end + length);
        if !line.starts_with("RTSP/") {
            return Some(Item::Told(Told { line, headers, body }));
        }
        let status =
            line.split(' ').nth(1).unwrap().parse().unwrap_or_else(|_| panic!("not an answer: {line}"));
        Some(Item::Answer(Answer { status, headers, challenges, body }))
    }
}

/// A description of one H.264 track.
pub const VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n";

/// An H.264 packet that is a keyframe of its own.
pub fn keyframe(sequence: u16, timestamp: u32, ssrc: u32, length: usize) -> Vec<u8> {
    rtp(sequence, timestamp, ssrc, 0x65, length)
}

/// An H.264 packet whose NAL unit has `nal` as first byte.
pub fn rtp(sequence: u16, timestamp: u32, ssrc: u32, nal: u8, length: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    // A slice that begins its picture.
    packet.extend_from_slice(&[nal, 0x88]);
    packet.resize(length.max(14), 0x55);
    packet
}

/// A publisher over UDP.
pub struct Publisher {
    pub rtsp: Rtsp,
    pub socket: UdpSocket,
    pub rtcp: UdpSocket,
    pub to: SocketAddr,
    pub session: String,
}

/// A pair of sockets on neighbouring ports, even first.
pub fn pair() -> (UdpSocket, UdpSocket) {
    for _ in 0..1000 {
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            for socket in [&rtp, &rtcp] {
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            }
            return (rtp, rtcp);
        }
    }
    panic!("no pair of ports is free");
}

impl Publisher {
    /// Publishes one H.264 track at `path`.
    pub fn start(mesh: &TestMesh, path: &str) -> Self {
        let mut rtsp = mesh.connect();
        let url = mesh.url(path);
        let answer = rtsp.ask("ANNOUNCE", &url, &[("Content-Type", "application/sdp")], VIDEO.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let (socket, rtcp) = pair();
        let port = socket.local_addr().unwrap().port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{};mode=record", port + 1);
        let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        let to = SocketAddr::new(mesh.address.ip(), answer.ports("server_port").0);
        let answer = rtsp.ask("RECORD", &url, &[("Session", &session), ("Range", "npt=0.000-")], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { rtsp, socket, rtcp, to, session }
    }

    pub fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.to).unwrap();
    }
}

/// A reader over UDP.
pub struct Reader {
    pub rtsp: Rtsp,
    pub socket: UdpSocket,
    pub rtcp: UdpSocket,
    pub session: String,
    pub url: String,
    /// The RTP port of the pair that the mesh serves readers from.
    pub server_port: u16,
}

impl Reader {
    /// Sets up the first track at `path` and plays.
    pub fn start(mesh: &TestMesh, path: &str) -> Self {
        let mut reader = Self::set_up(mesh, path);
        let answer =
            reader.rtsp.ask("PLAY", &reader.url.clone(), &[("Session", &reader.session.clone())], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        reader
    }

    /// Sets up only.
    pub fn set_up(mesh: &TestMesh, path: &str) -> Self {
        let mut rtsp = mesh.connect();
        let url = mesh.url(path);
        let answer = rtsp.ask("DESCRIBE", &url, &[("Accept", "application/sdp")], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let control = String::from_utf8_lossy(&answer.body)
            .lines()
            .filter_map(|line| line.strip_prefix("a=control:"))
            .find(|control| *control != "*")
            .unwrap()
            .to_owned();
        let (socket, rtcp) = pair();
        let port = socket.local_addr().unwrap().port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
        let base = answer.header("content-base").trim_end_matches('/').to_owned();
        let track = if control.starts_with("rtsp://") { control } else { format!("{base}/{control}") };
        let answer = rtsp.ask("SETUP", &track, &[("Transport", &transport)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        let server_port = answer.ports("server_port").0;
        Self { rtsp, socket, rtcp, session, url, server_port }
    }

    /// The next packet.
    pub fn recv(&self) -> Vec<u8> {
        let mut packet = vec![0; 65536];
        let length = self.socket.recv(&mut packet).expect("no packet came");
        packet.truncate(length);
        packet
    }

    /// The next packet, if it comes in time.
    pub fn try_recv(&self, patience: Duration) -> Option<Vec<u8>> {
        let usual = self.socket.read_timeout().unwrap();
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut packet = vec![0; 65536];
        let length = self.socket.recv(&mut packet);
        self.socket.set_read_timeout(usual).unwrap();
        packet.truncate(length.ok()?);
        Some(packet)
    }
}

/// A publisher in its own connection.
pub struct TcpPublisher<S = TcpStream> {
    pub rtsp: Rtsp<S>,
    pub session: String,
    pub url: String,
}

impl TcpPublisher {
    /// Publishes one H.264 track at `path`.
    pub fn start(mesh: &TestMesh, path: &str) -> Self {
        Self::over(mesh.connect(), mesh.url(path))
    }
}

impl<S: Read + Write> TcpPublisher<S> {
    /// Publishes one H.264 track at `url`.
    pub fn over(mut rtsp: Rtsp<S>, url: String) -> Self {
        let answer = rtsp.ask("ANNOUNCE", &url, &[("Content-Type", "application/sdp")], VIDEO.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
        let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        let answer = rtsp.ask("RECORD", &url, &[("Session", &session)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { rtsp, session, url }
    }

    pub fn send(&mut self, packet: &[u8]) {
        self.rtsp.frame(0, packet);
    }
}

/// A reader in its own connection.
pub struct TcpReader<S = TcpStream> {
    pub rtsp: Rtsp<S>,
    pub session: String,
    pub url: String,
}

impl TcpReader {
    /// Sets up the first track at `path` and plays.
    pub fn start(mesh: &TestMesh, path: &str) -> Self {
        Self::over(mesh.connect(), mesh.url(path))
    }
}

impl<S: Read + Write> TcpReader<S> {
    /// Sets up the first track at `url` and plays.
    pub fn over(mut rtsp: Rtsp<S>, url: String) -> Self {
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        let answer = rtsp.ask("PLAY", &url, &[("Session", &session)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { rtsp, session, url }
    }

    /// The next RTP packet.
    pub fn recv(&mut self) -> Vec<u8> {
        loop {
            let (channel, packet) = self.rtsp.next_frame();
            if channel == 0 {
                return packet;
            }
        }
    }
}

/// One reader's line of packets: one SSRC, numbers without a gap, the publisher's bytes.
#[derive(Default)]
pub struct Line {
    last: Option<(u16, Vec<u8>)>,
}

impl Line {
    pub fn check(&mut self, packet: &[u8], sent: &[u8]) {
        assert!(packet[12..] == sent[12..], "payload: {} bytes for {} sent", packet.len(), sent.len());
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some((last, ssrc)) = &self.last {
            assert_eq!(sequence, last.wrapping_add(1), "sequence numbers have a gap");
            assert_eq!(packet[8..12], ssrc[..], "the SSRC changed");
        }
        self.last = Some((sequence, packet[8..12].to_vec()));
    }
}
