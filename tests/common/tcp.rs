//! Publishers and readers in their own connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::{Rtsp, TestMesh, VIDEO};

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
