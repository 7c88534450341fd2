//! Upstreams over UDP that offer something against loss.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use msm_core::rtcp::{Acceptance, Compound, Packet};
use msm_fec::nack::rtx::{Identity, OVERHEAD, Writer};

use crate::common::server::{Asked, Server};
use crate::common::{Line, TcpReader, TestMesh, pair, rtp};

const SSRC: u32 = 0x5151;
const RTX: Identity = Identity { ssrc: 0x6262, payload_type: 98 };

/// As GStreamer's server describes a track that it keeps packets of: once in each profile.
const DESCRIPTION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n\
    m=video 0 RTP/AVPF 96 98\r\na=rtpmap:96 H264/90000\r\na=control:v\r\na=rtpmap:98 rtx/90000\r\n\
    a=fmtp:98 apt=96;rtx-time=500\r\n";

/// A server of one track, the mesh in front of it, and a reader there.
struct Scene {
    mesh: TestMesh,
    server: Server,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    to: SocketAddr,
    reader: TcpReader,
    line: Line,
    writer: Writer,
}

fn sent(number: u16) -> Vec<u8> {
    let nal = if number == 0 { 0x65 } else { 0x61 };
    rtp(number.wrapping_add(65_530), u32::from(number) * 3000, SSRC, nal, 300)
}

impl Scene {
    fn start(protection: &str) -> Self {
        let (rtp, rtcp) = pair();
        let port = rtp.local_addr().unwrap().port();
        let server = Server::start(move |asked: &Asked| {
            let headers = match asked.method.as_str() {
                "DESCRIBE" => "Content-Type: application/sdp\r\n".to_owned(),
                "SETUP" => {
                    let transport = asked.header("Transport").unwrap();
                    format!("Session: 7\r\nTransport: {transport};server_port={port}-{}\r\n", port + 1)
                }
                _ => "Session: 7\r\n".to_owned(),
            };
            let body = if asked.method == "DESCRIBE" { DESCRIPTION } else { "" };
            (200, headers, body.to_owned())
        });
        let mesh = TestMesh::start(&format!(
            "routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]{protection}}}\n\
             clusters:\n  back: {{endpoints: [\"rtsp://{}\"], transport: udp}}\n",
            server.address
        ));
        let reader = TcpReader::start(&mesh, "cam");
        assert_eq!(server.asked("SETUP").len(), 1, "one track in two profiles");
        let setup = server.wait("SETUP", 1);
        let transport = setup.header("Transport").unwrap();
        let profile = if protection.is_empty() { "RTP/AVPF;" } else { "RTP/AVP;" };
        assert!(transport.starts_with(profile), "{transport}");
        let ports = transport.split("client_port=").nth(1).unwrap();
        let client = ports.split('-').next().unwrap().parse().unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], client));
        let writer = Writer::new(RTX, 9);
        Self { mesh, server, rtp, rtcp, to, reader, line: Line::default(), writer }
    }

    fn send(&self, number: u16) {
        self.rtp.send_to(&sent(number), self.to).unwrap();
    }

    fn send_again(&mut self, number: u16) {
        let original = sent(number);
        let mut packet = vec![0; original.len() + OVERHEAD];
        self.writer.write(&original, &mut packet).unwrap();
        self.rtp.send_to(&packet, self.to).unwrap();
    }

    /// What the next request names.
    fn asked(&self) -> Vec<u16> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            let length = self.rtcp.recv(&mut buffer).expect("no request came");
            let compound = Compound::parse(&buffer[..length], Acceptance::Compound).unwrap();
            let mut numbers = Vec::new();
            for packet in compound.packets() {
                if let Packet::Nack(nack) = packet.unwrap() {
                    assert_eq!(nack.media_ssrc, SSRC);
                    numbers.extend(nack.lost().map(|number| number.wrapping_sub(65_530)));
                }
            }
            if !numbers.is_empty() {
                return numbers;
            }
        }
        panic!("no request came");
    }

    fn gets(&mut self, number: u16) {
        let packet = self.reader.recv();
        self.line.check(&packet, &sent(number));
    }
}

#[test]
fn what_is_lost_is_sent_again_and_readers_miss_nothing() {
    let mut scene = Scene::start("");
    (0..4).for_each(|number| scene.send(number));
    (0..4).for_each(|number| scene.gets(number));
    // A burst, over the end of the numbers.
    for number in [4, 8, 9] {
        scene.send(number);
    }
    scene.gets(4);
    assert_eq!(scene.asked(), [5, 6, 7]);
    // In whatever order they come, and what nobody asked for between them.
    for number in [7, 3, 30, 5, 6] {
        scene.send_again(number);
    }
    (5..10).for_each(|number| scene.gets(number));
    scene.mesh.wait_value("cluster=\"back\",by=\"nack\"", 3.0);
    scene.mesh.wait_value("msm_lost_total", 3.0);
    assert_eq!(scene.mesh.counter("msm_unrecovered_total"), 0.0);
    scene.mesh.wait_value("reason=\"repair_useless\"", 2.0);
    assert_eq!(scene.server.asked("SETUP").len(), 1);
}

#[test]
fn what_does_not_come_in_time_is_not_waited_for() {
    let mut scene = Scene::start("");
    (0..2).for_each(|number| scene.send(number));
    (0..2).for_each(|number| scene.gets(number));
    let started = Instant::now();
    scene.send(3);
    assert_eq!(scene.asked(), [2]);
    assert_eq!(scene.asked(), [2], "once more, as no answer came");
    let packet = scene.reader.recv();
    assert_eq!(packet[12..], sent(3)[12..]);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(95), "{waited:?}");
    scene.mesh.wait_value("msm_unrecovered_total", 1.0);
    assert_eq!(scene.mesh.counter("msm_recovered_total"), 0.0);
}

#[test]
fn a_route_may_do_without() {
    let mut scene = Scene::start(", protection: {nack: off}");
    for number in [0, 1, 3] {
        scene.send(number);
    }
    (0..2).for_each(|number| scene.gets(number));
    // It goes on at once.
    assert_eq!(scene.reader.recv()[12..], sent(3)[12..]);
    scene.mesh.wait_value("msm_unrecovered_total", 1.0);
}
