//! Keys, and the peers that have them: what tests of SRTP on plain hops share.

use std::net::UdpSocket;

use msm_auth::keying::key_mgmt::{self, Entry};
use msm_auth::keying::mikey::{Fresh, Mikey, Stream};
use msm_auth::keying::sdes::Crypto;
use msm_auth::srtp::{MasterKey, Receiver, ReceiverOptions, Sender, SenderOptions, Suite};

use crate::common::server::Server;
use crate::common::tls::{Authority, Tls, connect};
use crate::common::{Answer, Rtsp, TcpPublisher, TestMesh, VIDEO, reader_port};

pub const SUITE: Suite = Suite::AesCm128HmacSha1_80;

/// A key that differs by its first byte.
pub fn key(first: u8) -> MasterKey {
    let mut bytes = vec![7; SUITE.key_len() + SUITE.salt_len()];
    bytes[0] = first;
    MasterKey::from_bytes(SUITE, &bytes).unwrap()
}

pub fn sender(key: &MasterKey) -> Sender {
    let mut sender = Sender::new(SenderOptions::default());
    sender.install(key, &[]).unwrap();
    sender.switch(&[]).unwrap();
    sender
}

pub fn receiver(key: &MasterKey) -> Receiver {
    let mut receiver = Receiver::new(ReceiverOptions::default());
    receiver.install(key, &[]).unwrap();
    receiver
}

pub fn protect(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut room = packet.to_vec();
    room.resize(packet.len() + sender.rtp_overhead(), 0);
    let length = sender.protect_rtp(&mut room, packet.len()).unwrap();
    room.truncate(length);
    room
}

pub fn protect_rtcp(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut room = packet.to_vec();
    room.resize(packet.len() + sender.rtcp_overhead(), 0);
    let length = sender.protect_rtcp(&mut room, packet.len()).unwrap();
    room.truncate(length);
    room
}

pub fn open(receiver: &mut Receiver, mut packet: Vec<u8>) -> Vec<u8> {
    let opened = receiver.unprotect_rtp(&mut packet).unwrap_or_else(|error| panic!("{error}"));
    packet.truncate(opened.len);
    packet
}

pub fn mikey(key: &MasterKey, ssrc: u32) -> Mikey {
    let streams = vec![Stream { policy: 0, ssrc, roc: 0 }];
    Mikey { csb_id: 9, streams, key: key.clone(), mki: None }
}

pub const FRESH: Fresh = Fresh { rand: [3; 16], ntp_time: 0 };

/// A `KeyMgmt` header's value.
pub fn header(key: &MasterKey, ssrc: u32) -> String {
    Entry { uri: None, mikey: mikey(key, ssrc) }.write(&FRESH).unwrap().to_string()
}

/// The key that an answer's header tells.
pub fn told(answer: &Answer) -> MasterKey {
    let entries = key_mgmt::read_header(answer.header("keymgmt")).unwrap();
    entries[0].mikey.key.clone()
}

/// What follows `a=name:` in a description.
pub fn attribute(answer: &Answer, name: &str) -> String {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("a={name}:")).map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name}: {text}"))
}

/// A description of [`VIDEO`] as SRTP, with these attributes.
pub fn secure(attributes: &str) -> String {
    VIDEO.replace("RTP/AVP", "RTP/SAVP").replace("a=control", &format!("{attributes}a=control"))
}

pub fn crypto(key: &MasterKey) -> String {
    format!("a=crypto:{}\r\n", Crypto::new(1, key.clone()).unwrap().to_attribute().as_str())
}

/// A mesh with a listener for TLS; `more` are keys of the listener.
pub fn serving(authority: &Authority, more: &str) -> TestMesh {
    serving_with(authority, more, "")
}

/// The same, with other parts of the configuration.
pub fn serving_with(authority: &Authority, more: &str, parts: &str) -> TestMesh {
    authority.issue("server", "127.0.0.1");
    let (tls, port) = (authority.yaml("server", ""), reader_port());
    TestMesh::from_yaml(&format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", protocol: rtsps, ports: {port}, \
         tls: {tls}{more}}}\n{parts}\n"
    ))
}

pub fn url(mesh: &TestMesh, path: &str) -> String {
    format!("rtsps://{}/{path}", mesh.address)
}

pub fn client(authority: &Authority, mesh: &TestMesh) -> Rtsp<Tls> {
    connect(mesh.address, authority.plain_client())
}

pub fn publishing(authority: &Authority, mesh: &TestMesh, path: &str) -> TcpPublisher<Tls> {
    TcpPublisher::over(client(authority, mesh), url(mesh, path))
}

pub fn udp(profile: &str, socket: &UdpSocket) -> String {
    let port = socket.local_addr().unwrap().port();
    format!("RTP/{profile};unicast;client_port={port}-{}", port + 1)
}

pub fn recv(socket: &UdpSocket) -> Vec<u8> {
    let mut packet = vec![0; 65536];
    let length = socket.recv(&mut packet).expect("a packet comes");
    packet.truncate(length);
    packet
}

pub fn reason(mesh: &TestMesh, reason: &str) -> f64 {
    mesh.counter(&format!("reason=\"{reason}\""))
}

/// A mesh whose every stream is pulled from, or pushed to, an endpoint.
pub fn in_front_of(endpoint: &str, cluster: &str) -> TestMesh {
    let port = reader_port();
    TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: front, address: \"127.0.0.1:0\", ports: {port}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{endpoints: [\"{endpoint}\"]{cluster}}}\n"
    ))
}

/// A server that describes SRTP, and what its answers to SETUP are.
pub fn keyed_server(description: String, transport: &'static str, more: String) -> Server {
    Server::start(move |asked| {
        let (head, body) = match asked.method.as_str() {
            "DESCRIBE" => ("Content-Type: application/sdp\r\n".to_owned(), description.clone()),
            "SETUP" => (format!("Session: 7;timeout=60\r\nTransport: {transport}\r\n{more}"), String::new()),
            _ => ("Session: 7\r\n".to_owned(), String::new()),
        };
        (200, head, body)
    })
}

pub fn played(front: &TestMesh) -> u16 {
    let mut rtsp = front.connect();
    let track = format!("{}/trackID=0", front.url("cam"));
    let set_up = rtsp.ask("SETUP", &track, &[("Transport", "RTP/AVP/TCP;interleaved=0-1")], b"");
    assert_eq!(set_up.status, 200, "{set_up:?}");
    rtsp.ask("PLAY", &front.url("cam"), &[("Session", &set_up.session())], b"").status
}

pub const SECURE_TCP: &str = "RTP/SAVP/TCP;unicast;interleaved=0-1";
