//! Where one reader's track is sent, and the sink that sends a fan-out's output there.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use msm_core::hub::{Kind, NotSent, Outgoing, SendOutcome, Sink};
use msm_udp::Transmit;
use tokio::sync::mpsc;

use super::parity::Parity;
use super::put_off::PutOff;
use super::rtx::{Again, Rtx};
use crate::hop::outlet::Outlet;
use crate::net::tcp::{Connection, Queued};
use crate::net::udp::UdpSocket;
use crate::srtp::SecureTrack;

/// A burst on its way to the application.
pub(crate) struct AppBurst {
    pub(crate) track: usize,
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
    pub(crate) segment: usize,
    pub(crate) arrival: std::time::Instant,
}

/// The destination of one track of one reader.
#[derive(Clone)]
pub(crate) enum Dest {
    /// UDP unicast or multicast.
    Udp {
        rtp: Rc<UdpSocket>,
        rtcp: Rc<UdpSocket>,
        rtp_to: SocketAddr,
        rtcp_to: SocketAddr,
        /// The address that the peer knows us by, on a host with several.
        source: Option<IpAddr>,
    },
    /// Interleaved in an RTSP connection.
    Tcp { connection: Rc<Connection>, rtp_channel: u8, rtcp_channel: u8 },
    /// One of the two above, as SRTP.
    Srtp { to: Box<Dest>, track: Rc<SecureTrack> },
    /// One of those by UDP, whose reader takes what it asks for again as retransmissions.
    Rtx { to: Box<Dest>, rtx: Box<Rtx> },
    /// One of those by UDP, which gets repair packets among the media.
    Parity { to: Box<Dest>, parity: Box<Parity> },
    /// Another member.
    Hop(Rc<Outlet>),
    /// A reader inside this process.
    App { queue: mpsc::Sender<AppBurst> },
}

impl Dest {
    /// The same, as SRTP where there are keys.
    pub(crate) fn secured(self, track: Option<&Rc<SecureTrack>>) -> Self {
        match track {
            Some(track) => Self::Srtp { to: Box::new(self), track: Rc::clone(track) },
            None => self,
        }
    }

    /// The same, with what the reader loses as it takes it.
    pub(crate) fn again(self, again: Option<Again>) -> Self {
        match again {
            Some(Again::Rtx(plan)) => Self::Rtx { to: Box::new(self), rtx: Box::new(Rtx::new(plan)) },
            Some(Again::Parity(plan)) => {
                Self::Parity { to: Box::new(self), parity: Box::new(Parity::new(plan)) }
            }
            Some(Again::AsItWas { .. }) | None => self,
        }
    }

    /// What protects it, where it is SRTP.
    pub(crate) fn secure(&self) -> Option<&Rc<SecureTrack>> {
        match self {
            Self::Srtp { track, .. } => Some(track),
            Self::Rtx { to, .. } | Self::Parity { to, .. } => to.secure(),
            Self::Udp { .. } | Self::Tcp { .. } | Self::Hop(_) | Self::App { .. } => None,
        }
    }

    /// Sends to another port from now on: the peer's packets come from there.
    pub(crate) fn follow(&mut self, from: SocketAddr, rtcp: bool) {
        match self {
            Self::Udp { rtp_to, rtcp_to, .. } => *(if rtcp { rtcp_to } else { rtp_to }) = from,
            Self::Srtp { to, .. } | Self::Rtx { to, .. } | Self::Parity { to, .. } => to.follow(from, rtcp),
            Self::Tcp { .. } | Self::Hop(_) | Self::App { .. } => {}
        }
    }
}

/// Packets that could not be sent, by kind of error.
#[derive(Default)]
pub(crate) struct SendErrors {
    /// `EAGAIN`: the socket's own buffer is full.
    pub(crate) would_block: Cell<u64>,
    /// `EMSGSIZE`: larger than the path takes.
    pub(crate) too_large: Cell<u64>,
    /// `ENETUNREACH`, `EHOSTUNREACH`, `ECONNREFUSED`: what ICMP reported.
    pub(crate) unreachable: Cell<u64>,
    /// `ENOBUFS`, `ENOMEM`: the kernel is out of buffers.
    pub(crate) no_buffers: Cell<u64>,
    /// Anything else.
    pub(crate) other: Cell<u64>,
    /// SRTP refused to use a number twice, or the key is used up.
    pub(crate) srtp: Cell<u64>,
}

impl SendErrors {
    /// Reason and count of each kind.
    pub(crate) fn each(&self) -> [(&'static str, u64); 6] {
        [
            ("send_would_block", self.would_block.get()),
            ("send_too_large", self.too_large.get()),
            ("send_unreachable", self.unreachable.get()),
            ("send_no_buffers", self.no_buffers.get()),
            ("send_other", self.other.get()),
            ("send_srtp", self.srtp.get()),
        ]
    }

    fn count(&self, error: &io::Error, packets: u64) {
        use nix::libc;
        let cell = match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::WouldBlock, _) => &self.would_block,
            (_, Some(libc::EMSGSIZE)) => &self.too_large,
            (_, Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ECONNREFUSED | libc::ENETDOWN)) => {
                &self.unreachable
            }
            (_, Some(libc::ENOBUFS | libc::ENOMEM)) => &self.no_buffers,
            _ => &self.other,
        };
        cell.set(cell.get() + packets);
    }
}

/// Sends for all fan-outs of a worker.
pub(crate) struct WorkerSink<'a> {
    pub(crate) errors: &'a SendErrors,
    /// Where packets are protected.
    pub(crate) room: &'a RefCell<Vec<u8>>,
    pub(crate) put_off: &'a RefCell<PutOff>,
    pub(crate) now: std::time::Instant,
}

impl Sink<Dest> for WorkerSink<'_> {
    fn send(&mut self, dest: &mut Dest, packets: Outgoing<'_>) -> SendOutcome {
        match dest {
            Dest::Udp { rtp, rtcp, rtp_to, rtcp_to, source } => {
                let (socket, to) = match packets.kind {
                    Kind::Rtp | Kind::Again => (rtp, *rtp_to),
                    Kind::Rtcp => (rtcp, *rtcp_to),
                };
                send_udp(socket, to, *source, packets.bytes, packets.segment, self.errors)
            }
            Dest::Tcp { connection, rtp_channel, rtcp_channel } => {
                let channel = match packets.kind {
                    Kind::Rtp | Kind::Again => *rtp_channel,
                    Kind::Rtcp => *rtcp_channel,
                };
                match connection.send_frames(channel, packets.bytes, packets.segment).1 {
                    Queued::Yes => SendOutcome::Sent,
                    Queued::Full => SendOutcome::Full,
                    Queued::Closed => SendOutcome::Failed,
                }
            }
            Dest::Srtp { to, track } => {
                let count = packets.bytes.len().div_ceil(packets.segment.max(1));
                // Asked before a number is used: what is refused for want of room may be offered again.
                if let Dest::Tcp { connection, .. } = &**to
                    && !connection.is_closed()
                    && !connection.has_room(count, track.protected_len(&packets, count))
                {
                    return SendOutcome::Full;
                }
                // Held by nobody else: what is protected once is not protected again below.
                let Ok(mut room) = self.room.try_borrow_mut() else { return SendOutcome::Failed };
                let errors = self.errors;
                let mut refused = || errors.srtp.set(errors.srtp.get() + 1);
                track.protect(&packets, &mut room, &mut refused, &mut |run| self.send(to, run))
            }
            Dest::Rtx { to, rtx } => {
                if packets.kind != Kind::Again {
                    return self.send(to, packets);
                }
                let Some(bytes) = rtx.write(packets.bytes) else { return SendOutcome::Failed };
                let segment = bytes.len();
                self.send(to, Outgoing { kind: Kind::Rtp, bytes, segment, ..packets })
            }
            Dest::Parity { to, parity } => {
                if packets.kind != Kind::Rtp {
                    return self.send(to, packets);
                }
                let Outgoing { track, kind, bytes, segment, ecn, put_off, .. } = packets;
                let mut outcome = SendOutcome::Failed;
                parity.handle(bytes, segment, &mut |bytes, segment| {
                    let position = None;
                    outcome = self.send(to, Outgoing { track, kind, bytes, segment, ecn, position, put_off });
                });
                outcome
            }
            Dest::Hop(outlet) => match packets.put_off {
                Some(line) => {
                    let mut put_off = self.put_off.borrow_mut();
                    outlet.put_off(self.now, line, &packets, &mut put_off, self.errors)
                }
                None => outlet.send(self.now, &packets),
            },
            Dest::App { queue } => {
                let burst = AppBurst {
                    track: packets.track,
                    kind: packets.kind,
                    bytes: Bytes::copy_from_slice(packets.bytes),
                    segment: packets.segment,
                    arrival: self.now,
                };
                match queue.try_send(burst) {
                    Ok(()) => SendOutcome::Sent,
                    Err(mpsc::error::TrySendError::Full(_)) => SendOutcome::Full,
                    Err(mpsc::error::TrySendError::Closed(_)) => SendOutcome::Failed,
                }
            }
        }
    }

    fn flush(&mut self, failed: &mut dyn FnMut(NotSent)) {
        self.put_off.borrow_mut().flush(self.errors, failed);
    }
}

/// Sends one run with GSO; where the kernel or the path refuses the run, packet by packet, each counted.
pub(crate) fn send_udp(
    socket: &UdpSocket,
    destination: SocketAddr,
    source: Option<IpAddr>,
    contents: &[u8],
    segment: usize,
    errors: &SendErrors,
) -> SendOutcome {
    // A socket that is bound to one address sends from it unasked, at less cost.
    let src_ip = source.filter(|_| socket.local_addr().ip().is_unspecified());
    let segment_size = (segment > 0 && contents.len() > segment).then_some(segment);
    let transmit = Transmit { destination, contents, segment_size, ecn: None, src_ip };
    match socket.send(&transmit) {
        Ok(()) => SendOutcome::Sent,
        Err(error) => after_failure(socket, &transmit, &error, errors),
    }
}

/// What could not be sent by one call, packet by packet where that may help, each counted.
pub(crate) fn after_failure(
    socket: &UdpSocket,
    transmit: &Transmit<'_>,
    error: &io::Error,
    errors: &SendErrors,
) -> SendOutcome {
    let segment = transmit.segment_size.filter(|segment| *segment > 0 && *segment < transmit.contents.len());
    let Some(segment) = segment else {
        errors.count(error, 1);
        return SendOutcome::Failed;
    };
    if error.kind() == io::ErrorKind::WouldBlock {
        errors.count(error, transmit.contents.len().div_ceil(segment) as u64);
        return SendOutcome::Failed;
    }
    let mut sent = false;
    for contents in transmit.contents.chunks(segment) {
        match socket.send(&Transmit { contents, segment_size: None, ..*transmit }) {
            Ok(()) => sent = true,
            Err(error) => errors.count(&error, 1),
        }
    }
    if sent { SendOutcome::Sent } else { SendOutcome::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{OwnKey, PeerKey, SUITE};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    const RUN: u16 = 8;
    const LENGTH: usize = 1200;

    fn run(first: u16) -> Vec<u8> {
        let packet = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let mut packet = vec![0x80, 96, high, low, 0, 0, 0, 0, 0, 0, 0, 7];
            packet.resize(LENGTH, 0x55);
            packet
        };
        (first..first + RUN).flat_map(packet).collect()
    }

    /// What a late reader finds no room for stays in the cache, and is sent again.
    #[tokio::test]
    async fn what_was_refused_for_want_of_room_can_be_sent_again_as_srtp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (connection, mut far) = (Connection::new(near.unwrap(), 100_000), far.unwrap().0);
        let own = OwnKey::new(SUITE, 7).unwrap();
        let track = Rc::new(SecureTrack::new(&own, &PeerKey::of(&own)).unwrap());
        let to = Dest::Tcp { connection: Rc::clone(&connection), rtp_channel: 0, rtcp_channel: 1 };
        let mut dest = to.secured(Some(&track));
        let (errors, room) = (SendErrors::default(), RefCell::default());
        let put_off = RefCell::default();
        let mut sink =
            WorkerSink { errors: &errors, room: &room, put_off: &put_off, now: std::time::Instant::now() };
        let mut send = |first| {
            let mut bytes = run(first);
            let kind = Kind::Rtp;
            sink.send(
                &mut dest,
                Outgoing {
                    track: 0,
                    kind,
                    bytes: &mut bytes,
                    segment: LENGTH,
                    ecn: 0,
                    position: None,
                    put_off: None,
                },
            )
        };
        let mut number = 0;
        while send(number) == SendOutcome::Sent {
            number += RUN;
        }
        let frame = 4 + LENGTH + SUITE.rtp_tag_len();
        let (mut wire, mut refused) = (Vec::new(), true);
        while wire.len() < frame * usize::from(number + RUN) {
            let read =
                tokio::time::timeout(std::time::Duration::from_secs(10), far.read_buf(&mut wire)).await;
            read.expect("nothing more comes").unwrap();
            connection.flush();
            if refused && send(number) == SendOutcome::Sent {
                refused = false;
            }
        }
        let mut receiver = PeerKey::of(&own).receiver().unwrap();
        for (number, frame) in (0..number + RUN).zip(wire.chunks_mut(frame)) {
            assert_eq!(&frame[..2], b"$\0");
            let opened = receiver.unprotect_rtp(&mut frame[4..]).unwrap();
            assert_eq!((opened.index, opened.len), (number.into(), LENGTH));
        }
        assert_eq!(errors.srtp.get(), 0);
    }
}
