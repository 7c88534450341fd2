//! Plain readers over UDP that ask for packets again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use msm_core::rtcp::{ReportBlock, Writer};
use msm_fec::nack::rtx::{Identity, restore};

use crate::common::{Publisher, Rtsp, TestMesh, keyframe, pair, rtp};

/// A reader that names the profile it wants.
struct Asking {
    rtsp: Rtsp,
    socket: std::net::UdpSocket,
    rtcp: std::net::UdpSocket,
    server_rtcp: SocketAddr,
    description: String,
    answer: String,
}

impl Asking {
    fn start(mesh: &TestMesh, path: &str, agent: &str, profile: &str) -> Self {
        let mut rtsp = mesh.connect();
        let url = mesh.url(path);
        let answer = rtsp.ask("DESCRIBE", &url, &[("User-Agent", agent)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let description = String::from_utf8(answer.body).unwrap();
        let (socket, rtcp) = pair();
        let port = socket.local_addr().unwrap().port();
        let transport = format!("{profile};unicast;client_port={port}-{}", port + 1);
        let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", &transport)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let server_rtcp = SocketAddr::new(mesh.address.ip(), answer.ports("server_port").1);
        let session = answer.session();
        let transport = answer.header("transport").to_owned();
        let answer = rtsp.ask("PLAY", &url, &[("Session", &session)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { rtsp, socket, rtcp, server_rtcp, description, answer: transport }
    }

    fn recv(&self) -> Vec<u8> {
        let mut packet = vec![0; 2048];
        let length = self.socket.recv(&mut packet).expect("no packet came");
        packet.truncate(length);
        packet
    }

    /// What comes until nothing has come for a while.
    fn rest(&self, patience: Duration) -> Vec<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut packet = vec![0; 2048];
        let mut rest = Vec::new();
        while let Ok(length) = self.socket.recv(&mut packet) {
            rest.push(packet[..length].to_vec());
        }
        self.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        rest
    }

    fn nack(&self, ssrc: u32, lost: &[u16]) {
        let mut buffer = vec![0; 100 + 4 * lost.len()];
        let mut writer = Writer::new(&mut buffer);
        let block = ReportBlock { ssrc, ..ReportBlock::default() };
        writer.receiver_report(77, &[block]).unwrap().nack(77, ssrc, lost).unwrap();
        self.rtcp.send_to(writer.as_bytes(), self.server_rtcp).unwrap();
    }
}

fn number(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn source(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[8..12].try_into().unwrap())
}

/// One keyframe, and packets behind it, as the publisher and the reader see them.
fn flow(publisher: &Publisher, reader: &Asking, count: u16) -> Vec<Vec<u8>> {
    publisher.send(&keyframe(65_530, 9000, 5, 900));
    let mut got = vec![reader.recv()];
    for at in 1..count {
        publisher.send(&rtp(65_530_u16.wrapping_add(at), 9000 + u32::from(at) * 3000, 5, 0x61, 400));
        got.push(reader.recv());
    }
    got
}

#[test]
fn who_chose_the_profile_gets_retransmissions() {
    let usual = TestMesh::start("");
    let _publisher = Publisher::start(&usual, "cam");
    let told = usual.connect().ask("DESCRIBE", &usual.url("cam"), &[("User-Agent", "GStreamer/1.22.0")], b"");
    assert!(String::from_utf8_lossy(&told.body).contains("RTP/AVP 96"), "not told, unless it is wished");
    let mesh = TestMesh::start("routes: [{name: all, protection: {nack: on}}]\n");
    let publisher = Publisher::start(&mesh, "cam");
    let reader = Asking::start(&mesh, "cam", "GStreamer/1.22.0", "RTP/AVPF");
    assert!(reader.description.contains("m=video 0 RTP/AVPF 96 127\r\n"), "{}", reader.description);
    assert!(reader.description.contains("a=rtcp-fb:96 nack\r\n"), "{}", reader.description);
    assert!(reader.description.contains("a=fmtp:127 apt=96;rtx-time="), "{}", reader.description);
    assert!(reader.answer.starts_with("RTP/AVPF"), "{}", reader.answer);
    let got = flow(&publisher, &reader, 20);
    let ssrc = source(&got[0]);
    reader.nack(ssrc, &[number(&got[3]), number(&got[7]), number(&got[8])]);
    let media = Identity { ssrc, payload_type: 96 };
    let mut first = None;
    for lost in [3, 7, 8] {
        let mut packet = reader.recv();
        let rtx = Identity { ssrc: source(&packet), payload_type: 127 };
        assert_ne!(rtx.ssrc, ssrc);
        let own = number(&packet);
        assert_eq!(own, first.map_or(own, |(last, _): (u16, u32)| last.wrapping_add(1)));
        assert_eq!(rtx.ssrc, first.map_or(rtx.ssrc, |(_, ssrc)| ssrc), "one source");
        first = Some((own, rtx.ssrc));
        let (sequence, restored) = restore(&mut packet, rtx, media).unwrap();
        assert_eq!((sequence, &*restored), (number(&got[lost]), &got[lost][..]));
    }
    assert_eq!(reader.rest(Duration::from_millis(100)), Vec::<Vec<u8>>::new());
    drop(reader.rtsp);
}

#[test]
fn others_get_the_packet_once_more() {
    let mesh = TestMesh::start("");
    for (path, agent, profile) in
        [("a", "Lavf59", "RTP/AVP/UDP"), ("b", "openRTSP (LIVE555 Streaming Media)", "RTP/AVP")]
    {
        let publisher = Publisher::start(&mesh, path);
        let reader = Asking::start(&mesh, path, agent, profile);
        let early = reader.description.contains("RTP/AVPF");
        assert_eq!(early, agent.starts_with("Lavf"), "{}", reader.description);
        assert!(reader.description.contains("a=rtcp-fb:96 nack\r\n"));
        let got = flow(&publisher, &reader, 10);
        reader.nack(source(&got[0]), &[number(&got[4])]);
        assert_eq!(reader.recv(), got[4]);
    }
    assert_eq!(mesh.counter("keyframe_requests"), 0.0);
}

#[test]
fn who_reads_by_tcp_or_asks_for_what_is_not_its_own_gets_nothing() {
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "cam");
    let reader = Asking::start(&mesh, "cam", "GStreamer/1.22.0", "RTP/AVPF");
    let got = flow(&publisher, &reader, 10);
    let (ssrc, next) = (source(&got[0]), number(&got[9]).wrapping_add(1));
    reader.nack(ssrc ^ 1, &[number(&got[1])]);
    reader.nack(ssrc, &[next, next.wrapping_add(1000), number(&got[0]).wrapping_sub(1)]);
    // From a port that nobody reads at.
    let (stranger, _) = pair();
    let mut buffer = [0; 100];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(77, &[]).unwrap().nack(77, ssrc, &[number(&got[1])]).unwrap();
    stranger.send_to(writer.as_bytes(), reader.server_rtcp).unwrap();
    assert_eq!(reader.rest(Duration::from_millis(200)), Vec::<Vec<u8>>::new());
}

/// Somebody asks for everything it ever got, as fast as it can: it gets half of the media on top, and a burst.
#[test]
fn a_flood_of_requests_is_bounded() {
    let mesh = TestMesh::start("");
    let publisher = Publisher::start(&mesh, "cam");
    let reader = Asking::start(&mesh, "cam", "GStreamer/1.22.0", "RTP/AVPF");
    let got = flow(&publisher, &reader, 100);
    let (ssrc, last) = (source(&got[0]), number(&got[99]));
    let media: usize = got.iter().map(Vec::len).sum();
    let all: Vec<u16> = (0..100).map(|back| last.wrapping_sub(back)).collect();
    let started = Instant::now();
    let mut bytes = 0;
    let mut asked = 0;
    while started.elapsed() < Duration::from_secs(2) {
        reader.nack(ssrc, &all);
        asked += 1;
        bytes += reader.rest(Duration::from_millis(2)).iter().map(Vec::len).sum::<usize>();
    }
    bytes += reader.rest(Duration::from_millis(100)).iter().map(Vec::len).sum::<usize>();
    // 12 bytes of RTP header and two of the original number are what each is longer by, at most.
    assert!(bytes < media / 2 + 256 * 1024 + 2 * 2000, "{bytes} of {media} after {asked} requests");
    assert!(bytes > 2 * media, "{bytes} of {media} after {asked} requests");
}

/// The shortest packets are longer by most, in relation, when they are sent again.
#[test]
fn a_flood_of_requests_for_the_shortest_packets_is_bounded() {
    let mesh = TestMesh::start("routes: [{name: all, protection: {nack: on}}]\n");
    let publisher = Publisher::start(&mesh, "cam");
    let reader = Asking::start(&mesh, "cam", "GStreamer/1.22.0", "RTP/AVPF");
    publisher.send(&keyframe(65_000, 9000, 5, 14));
    let mut got = vec![reader.recv()];
    for at in 1..1000u16 {
        publisher.send(&rtp(65_000_u16.wrapping_add(at), 9000 + u32::from(at) * 3000, 5, 0x61, 14));
        got.push(reader.recv());
    }
    let (ssrc, last) = (source(&got[0]), number(&got[999]));
    let media: usize = got.iter().map(Vec::len).sum();
    let all: Vec<u16> = (0..1000).map(|back| last.wrapping_sub(back)).collect();
    let most = media / 2 + 256 * 1024;
    let mut asked = 0;
    // As they may be asked for while they are kept.
    for _ in 0..80 {
        reader.nack(ssrc, &all);
        asked += 1;
        reader.rest(Duration::from_millis(16));
    }
    // Its socket has no room for all of them.
    let bytes = mesh.counter("msm_retransmitted_total") as usize * 16;
    assert!(bytes <= most, "{bytes} of {media}, at most {most}, after {asked} requests");
    assert!(bytes > 2 * media, "{bytes} of {media} after {asked} requests");
}

/// Nothing is sent again to a group: one member's loss is not everybody's, and who asks is not known.
#[test]
fn who_reads_by_multicast_gets_nothing_again() {
    let mesh = TestMesh::start("routes: [{name: all, protection: {nack: on}}]\n");
    let publisher = Publisher::start(&mesh, "group");
    let mut rtsp = mesh.connect();
    let url = mesh.url("group");
    let transport = [("Transport", "RTP/AVPF;multicast"), ("User-Agent", "GStreamer/1.22.0")];
    let answer = rtsp.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
    let answer = match answer.status {
        200 => answer,
        _ => rtsp.ask("SETUP", &format!("{url}/trackID=0"), &[("Transport", "RTP/AVP;multicast")], b""),
    };
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.header("transport").to_owned();
    let field = |name: &str| told.split(';').find_map(|part| part.strip_prefix(name)).map(str::to_owned);
    let group: std::net::IpAddr = field("destination=").unwrap().parse().unwrap();
    let port = answer.ports("port").1;
    assert_eq!(rtsp.ask("PLAY", &url, &[("Session", &answer.session())], b"").status, 200);
    // A unicast reader of the same stream, which asks for what is its own.
    let reader = Asking::start(&mesh, "group", "GStreamer/1.22.0", "RTP/AVPF");
    let got = flow(&publisher, &reader, 50);
    let ssrc = field("ssrc=").map_or(source(&got[0]), |ssrc| u32::from_str_radix(&ssrc, 16).unwrap());
    let all: Vec<u16> = (0..300).map(|back| number(&got[49]).wrapping_sub(back)).collect();
    for round in 0..50 {
        let mut buffer = vec![0; 2000];
        let mut writer = Writer::new(&mut buffer);
        let ssrc = if round % 2 == 0 { ssrc } else { source(&got[0]) };
        writer.receiver_report(77, &[]).unwrap().nack(77, ssrc, &all).unwrap();
        let (stranger, _) = pair();
        for to in [SocketAddr::new(group, port), reader.server_rtcp] {
            // Where there is no way to the group, nobody asks.
            let _ = stranger.send_to(writer.as_bytes(), to);
        }
    }
    assert_eq!(reader.rest(Duration::from_millis(200)), Vec::<Vec<u8>>::new());
    assert_eq!(mesh.counter("msm_retransmitted_total"), 0.0, "{}", mesh.metrics());
    // Who is there still gets what it asks for.
    reader.nack(source(&got[0]), &[number(&got[4])]);
    assert_eq!(reader.rest(Duration::from_millis(200)).len(), 1);
}
