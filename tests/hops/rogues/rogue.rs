//! A member written by hand: it has a good identity and all keys, and keeps no rule.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use msm_auth::srtp::{self, MasterKey, Suite};
use msm_core::hop::path::{Message, Path, PathConfig};
use msm_rtsp::hop::HopHeader;

use crate::common::member::{Ca, Hop, connect, member_config};
use crate::common::pair::far;
use crate::common::{Answer, TestMesh};

const SUITE: Suite = Suite::AeadAes128Gcm;
/// The first epoch's low byte.
const MKI: [u8; 1] = [1];
/// The first label that it gives; what the other member calls its flows is up to that.
const LABEL: u32 = 0x0100_0100;
/// The association's name, which is the token of its control flow.
const ASSOCIATION: u64 = 0x7f00_0000_0000_0001;

/// A datagram that came, opened.
#[derive(Debug)]
pub(crate) struct Got {
    /// What this member calls the flow.
    pub(crate) label: u32,
    /// As it was before SRTP.
    pub(crate) packet: Vec<u8>,
    pub(crate) is_rtcp: bool,
}

/// A flow to the other member.
pub(crate) struct Out {
    pub(crate) label: u32,
    sender: srtp::Sender,
}

impl Out {
    pub(crate) fn rtp(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut out = packet.to_vec();
        out[8..12].copy_from_slice(&self.label.to_be_bytes());
        out.resize(packet.len() + 64, 0);
        let length = self.sender.protect_rtp(&mut out, packet.len()).unwrap();
        out.truncate(length);
        out
    }

    pub(crate) fn rtcp(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut out = compound.to_vec();
        out[4..8].copy_from_slice(&self.label.to_be_bytes());
        out.resize(compound.len() + 64, 0);
        let length = self.sender.protect_rtcp(&mut out, compound.len()).unwrap();
        out.truncate(length);
        out
    }
}

/// A track that was set up.
pub(crate) struct Track {
    /// What this member calls the flow that comes.
    pub(crate) media: u32,
    /// The flow that goes, and the one beside it if the other member takes protection.
    pub(crate) out: Out,
    pub(crate) out_beside: Option<Out>,
    pub(crate) answer: Answer,
    pub(crate) header: HopHeader,
    pub(crate) session: String,
}

pub(crate) struct Rogue {
    /// Whose identities count.
    pub(crate) ca: Ca,
    pub(crate) rtsp: Hop,
    pub(crate) hop: SocketAddr,
    socket: UdpSocket,
    /// Where the other member's UDP port is.
    to: SocketAddr,
    path: Path,
    control: Out,
    receivers: HashMap<u32, srtp::Receiver>,
    next: u32,
    token: u64,
}

/// A member that serves, and a rogue that is let in; `routes` for its configuration, or those of every test.
pub(crate) fn stage(routes: &str) -> (TestMesh, Rogue) {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), routes);
    let rogue = Rogue::start(ca, hop);
    (far, rogue)
}

impl Rogue {
    /// Opens an association, and its way by UDP.
    pub(crate) fn start(ca: Ca, hop: SocketAddr) -> Self {
        let mut rtsp = connect(hop, member_config(&ca.member("/near")));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let header = format!("association={ASSOCIATION:016x};epoch=1;label={LABEL:08x};port={port}");
        let answer = rtsp.ask("OPTIONS", "*", &[("Require", "msm-hop-1"), ("Msm-Hop", &header)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let told = HopHeader::parse(answer.header("msm-hop")).unwrap();
        let control = out(&rtsp, ASSOCIATION, told.label.unwrap());
        let now = Instant::now();
        let mut path = Path::new(PathConfig { overhead: 21, ..PathConfig::default() }, 7, now);
        let to = SocketAddr::new(hop.ip(), told.port.unwrap());
        path.add_remote(to);
        path.start(now);
        let receivers = HashMap::from([(LABEL, receiver(&rtsp, ASSOCIATION, LABEL))]);
        let mut rogue =
            Self { ca, rtsp, hop, socket, to, path, control, receivers, next: LABEL + 1, token: 0 };
        let deadline = now + Duration::from_secs(5);
        while rogue.path.destination().is_none() {
            assert!(Instant::now() < deadline, "no way by UDP");
            let _ = rogue.poll(Duration::from_millis(5));
        }
        rogue
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.hop)
    }

    /// Two labels and a token that were not used before.
    pub(crate) fn names(&mut self) -> (u64, u32, u32) {
        self.token += 1;
        self.next += 2;
        (self.token, self.next - 2, self.next - 1)
    }

    /// SETUP of the first track with this header; `mode` goes on with the transport.
    pub(crate) fn ask_set_up(
        &mut self,
        url: &str,
        header: &str,
        mode: &str,
        session: Option<&str>,
    ) -> Answer {
        let transport = format!("RTP/SAVP;unicast;rtcp-mux{mode}");
        let mut headers =
            vec![("Require", "msm-hop-1"), ("Transport", transport.as_str()), ("Msm-Hop", header)];
        headers.extend(session.map(|session| ("Session", session)));
        self.rtsp.ask("SETUP", &format!("{url}/trackID=0"), &headers, b"")
    }

    /// Takes up the keys of a track that was set up.
    pub(crate) fn track(&mut self, answer: Answer, (token, media, beside): (u64, u32, u32)) -> Track {
        assert_eq!(answer.status, 200, "{answer:?}");
        let header = HopHeader::parse(answer.header("msm-hop")).unwrap();
        for label in [media, beside] {
            self.receivers.insert(label, receiver(&self.rtsp, token, label));
        }
        let out_beside = header.repair.map(|label| out(&self.rtsp, token, label));
        let out = out(&self.rtsp, token, header.label.unwrap());
        Track { media, out, out_beside, session: answer.session(), header, answer }
    }

    /// Reads a stream; `more` goes on with SETUP's header.
    pub(crate) fn read(&mut self, path: &str, more: &str) -> Track {
        let (url, names) = (self.url(path), self.names());
        let (token, media, beside) = names;
        let header = format!("token={token:016x};label={media:08x};repair={beside:08x}{more}");
        let answer = self.ask_set_up(&url, &header, "", None);
        let track = self.track(answer, names);
        self.request("PLAY", &url, &track.session);
        track
    }

    pub(crate) fn request(&mut self, method: &str, url: &str, session: &str) {
        let answer = self.rtsp.ask(method, url, &[("Require", "msm-hop-1"), ("Session", session)], b"");
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
    }

    pub(crate) fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.to).unwrap();
    }

    /// What comes next within `patience`, control messages left out. It is called often: the way ends without answers.
    pub(crate) fn poll(&mut self, patience: Duration) -> Option<Got> {
        let deadline = Instant::now() + patience;
        let mut datagram = [0; 65_536];
        loop {
            self.drive();
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(50));
            self.socket.set_read_timeout(Some(left.min(Duration::from_millis(5)))).unwrap();
            let Ok((length, from)) = self.socket.recv_from(&mut datagram) else {
                if Instant::now() >= deadline {
                    return None;
                }
                continue;
            };
            let datagram = &mut datagram[..length];
            let is_rtcp = (192..=223).contains(&datagram[1]);
            let at = if is_rtcp { 4 } else { 8 };
            let label = u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
            let Some(receiver) = self.receivers.get_mut(&label) else { continue };
            let opened =
                if is_rtcp { receiver.unprotect_rtcp(datagram) } else { receiver.unprotect_rtp(datagram) };
            let opened = opened.expect("what the other member sends opens");
            let packet = datagram[..opened.len].to_vec();
            if label != LABEL {
                return Some(Got { label, packet, is_rtcp });
            }
            if let Some(message) = Message::read(&packet) {
                self.path.handle_message(Instant::now(), from, length, &message);
            }
        }
    }

    fn drive(&mut self) {
        let now = Instant::now();
        if self.path.poll_timeout(now).is_some_and(|(due, _)| due <= now) {
            self.path.handle_timeout(now);
        }
        while let Some(transmit) = self.path.poll_transmit(now) {
            let mut message = [0; 9216];
            let length = transmit.message.write(self.control.label, transmit.pad_to, &mut message).unwrap();
            let datagram = self.control.rtcp(&message[..length]);
            let _ = self.socket.send_to(&datagram, transmit.to.remote);
        }
        while self.path.poll_event().is_some() {}
    }
}

fn key(rtsp: &Hop, token: u64, label: u32, direction: &[u8]) -> MasterKey {
    let mut context = Vec::new();
    for part in [
        &token.to_be_bytes()[..],
        &label.to_be_bytes(),
        direction,
        &1_u32.to_be_bytes(),
        SUITE.name().as_bytes(),
    ] {
        context.push(part.len() as u8);
        context.extend_from_slice(part);
    }
    let material = vec![0; SUITE.key_len() + SUITE.salt_len()];
    let exported =
        rtsp.stream.conn.export_keying_material(material, b"EXPERIMENTAL-msm-hop-1", Some(&context));
    MasterKey::from_bytes(SUITE, &exported.unwrap()).unwrap()
}

fn out(rtsp: &Hop, token: u64, label: u32) -> Out {
    let mut sender = srtp::Sender::new(srtp::SenderOptions { mki_len: 1, ..Default::default() });
    sender.install(&key(rtsp, token, label, b"dialler"), &MKI).unwrap();
    sender.switch(&MKI).unwrap();
    Out { label, sender }
}

fn receiver(rtsp: &Hop, token: u64, label: u32) -> srtp::Receiver {
    let options = srtp::ReceiverOptions { mki_len: 1, window: srtp::MAX_WINDOW, ..Default::default() };
    let mut receiver = srtp::Receiver::new(options);
    receiver.install(&key(rtsp, token, label, b"acceptor"), &MKI).unwrap();
    receiver
}
