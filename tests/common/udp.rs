//! Publishers and readers over UDP.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::common::{Rtsp, TestMesh, VIDEO, pair};

/// A publisher over UDP.
pub struct Publisher {
    pub rtsp: Rtsp,
    pub socket: UdpSocket,
    pub rtcp: UdpSocket,
    pub to: SocketAddr,
    pub session: String,
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
