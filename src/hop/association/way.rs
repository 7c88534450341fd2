//! The way of an association's packets: what it sends them by, and what it does for that to be known.

use std::net::SocketAddr;
use std::rc::Weak;
use std::time::{Duration, Instant};

use msm_core::hop::path::{Kind, Message, PathEvent};
use msm_core::hub::SendOutcome;
use msm_rtsp::hop::CHANNEL;

use super::{Association, End};
use crate::error::Error;
use crate::hop::outlet::Outlet;
use crate::hub::dest::send_udp;
use crate::metrics::{TCP, UDP};
use crate::net::tcp::Queued;

/// What a TLS connection takes at once: an interleaved frame (`RFC 2326 §10.12`).
const FRAME: usize = 65_535;

/// The largest control message: a probe of a jumbo frame.
const CONTROL_BYTES: usize = 9216;

/// How packets go to the other member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Not known yet.
    Unknown,
    /// By UDP to an address that answered.
    Udp(SocketAddr),
    /// Through the TLS connection: UDP does not pass.
    Tcp,
}

impl Association {
    /// Sends protected packets of one size, of which the last may be shorter.
    pub(crate) fn transmit(&self, packets: &[u8], segment: usize) -> SendOutcome {
        if let Way::Udp(to) = self.way.get() {
            let Some(worker) = self.worker.upgrade() else { return SendOutcome::Failed };
            let too_large = worker.send_errors.too_large.get();
            let outcome = send_udp(&self.port.socket, to, None, packets, segment, &worker.send_errors);
            if worker.send_errors.too_large.get() != too_large {
                self.handle_too_large(segment);
            }
            return outcome;
        }
        match self.connection().send_frames(CHANNEL, packets, segment).1 {
            Queued::Yes => SendOutcome::Sent,
            Queued::Full => SendOutcome::Full,
            Queued::Closed => SendOutcome::Failed,
        }
    }

    /// Where packets go by UDP, if they do.
    #[inline]
    pub(crate) fn udp(&self) -> Option<SocketAddr> {
        match self.way.get() {
            Way::Udp(to) => Some(to),
            Way::Unknown | Way::Tcp => None,
        }
    }

    /// A datagram of this size does not pass.
    pub(crate) fn handle_too_large(&self, size: usize) {
        self.path.borrow_mut().handle_too_large(Instant::now(), size);
        self.rearm.notify_one();
    }

    /// Packets that authenticated came from this address, or through the connection.
    #[inline]
    pub(crate) fn authenticated(&self, now: Instant, from: Option<SocketAddr>, bytes: usize) {
        let Some(from) = from else { return };
        let changed = self.path.borrow_mut().handle_authenticated(now, from, bytes);
        if changed {
            self.drive(now);
        }
    }

    /// A message about the path, which authenticated: it came from this address, or through the connection.
    pub(crate) fn handle_message(
        &self,
        now: Instant,
        from: Option<SocketAddr>,
        length: usize,
        message: &Message,
    ) {
        match from {
            Some(from) => self.path.borrow_mut().handle_message(now, from, length, message),
            None if message.kind == Kind::Blocked => self.path.borrow_mut().handle_blocked(now),
            // What is asked of UDP is asked by UDP.
            None => return,
        }
        self.drive(now);
    }

    /// Waits until it is known how packets go. Cancel safe.
    pub(crate) async fn ready(&self) -> Result<Way, Error> {
        loop {
            let changed = self.changed.notified();
            if self.ended.get() {
                return Err(Error::StreamEnded);
            }
            match self.way.get() {
                Way::Unknown => changed.await,
                way => return Ok(way),
            }
        }
    }

    /// Does what the path wants done.
    pub(super) fn drive(&self, now: Instant) {
        let Some((_, control)) = self.control.get() else { return };
        let mut datagram = [0; CONTROL_BYTES];
        let mut protected = Vec::new();
        loop {
            let Some(transmit) = self.path.borrow_mut().poll_transmit(now) else { break };
            let Some(length) = transmit.message.write(control.label.ssrc(), transmit.pad_to, &mut datagram)
            else {
                continue;
            };
            let message = datagram.get(..length).unwrap_or_default();
            if control.protect_control(message, &mut protected).is_none() {
                continue;
            }
            let sent = self.port.socket.send(&msm_udp::Transmit {
                destination: transmit.to,
                contents: &protected,
                segment_size: None,
                ecn: None,
                src_ip: None,
            });
            if sent.is_err_and(|error| error.raw_os_error() == Some(nix::libc::EMSGSIZE)) {
                self.path.borrow_mut().handle_too_large(now, protected.len());
            }
        }
        loop {
            let Some(event) = self.path.borrow_mut().poll_event() else { break };
            let peer = self.peer().id;
            match event {
                PathEvent::Validated(to) => {
                    tracing::debug!(%peer, %to, "hop by UDP");
                    self.set_way(Way::Udp(to));
                }
                PathEvent::Moved { from, to } => {
                    tracing::info!(%peer, %from, %to, "the member's address changed");
                    self.set_way(Way::Udp(to));
                }
                PathEvent::Blocked { told } => {
                    tracing::warn!(%peer, remote = %self.remote, told, "UDP does not pass: media goes through the TLS connection");
                    self.set_way(Way::Tcp);
                    if !told {
                        self.tell_blocked(control, &mut protected);
                    }
                }
                PathEvent::Unblocked(to) => {
                    tracing::info!(%peer, %to, "UDP passes again");
                    self.set_way(Way::Udp(to));
                }
                PathEvent::RoundTrip(rtt) => {
                    if let Some(count) = &*self.count.borrow() {
                        count.observe_rtt(rtt);
                    }
                }
                PathEvent::Mtu(size) => tracing::debug!(%peer, size, "largest datagram of the path"),
            }
        }
        let most = match self.way.get() {
            Way::Tcp => FRAME,
            _ => self.path.borrow().max_datagram(),
        };
        self.max_datagram.set(most);
        self.rearm.notify_one();
    }

    /// The peer may be sending by UDP all the same: it hears this side.
    fn tell_blocked(&self, control: &Outlet, protected: &mut Vec<u8>) {
        let mut word = [0; Message::MIN_BYTES];
        let message = Message { kind: Kind::Blocked, nonce: [0; 16], size: 0 };
        if message.write(control.label.ssrc(), 0, &mut word).is_some()
            && control.protect_control(&word, protected).is_some()
        {
            self.transmit(protected, protected.len());
        }
    }

    fn set_way(&self, way: Way) {
        let before = self.way.replace(way);
        if let Some(count) = &mut *self.count.borrow_mut() {
            match way {
                Way::Unknown => {}
                Way::Udp(_) => count.set_way(UDP),
                Way::Tcp => count.set_way(TCP),
            }
        }
        self.changed.notify_waiters();
        if before != way && before != Way::Unknown {
            self.tell_next();
        }
    }

    /// Tells the peer where the numbers of all flows are.
    pub(super) fn tell_next(&self) {
        for flow in self.flows.borrow().iter() {
            if let End::Out(outlet) = &flow.end
                && let Some(outlet) = outlet.upgrade()
            {
                outlet.tell_next(self);
            }
        }
    }
}

/// The path's timer.
pub(super) async fn run(association: Weak<Association>) {
    loop {
        let Some(strong) = association.upgrade().filter(|own| !own.ended.get()) else { return };
        let due = strong.path.borrow().poll_timeout(Instant::now()).map(|(due, _)| due);
        let rearmed = strong.rearm.notified();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {
                let now = Instant::now();
                strong.path.borrow_mut().handle_timeout(now);
                strong.drive(now);
            }
            // Held for a second at most: an association that nobody else holds goes.
            () = rearmed => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
