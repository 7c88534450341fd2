//! The way of an association's packets: what it sends them by, and what it does for that to be known.

use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use msm_core::hop::path::{Ends, Kind, Message, PathEvent};
use msm_core::hub::SendOutcome;
use msm_rtsp::hop::CHANNEL;

use super::path::{HopPath, came_by};
use super::{Association, End};
use crate::error::Error;
use crate::hub::dest::send_udp;
use crate::metrics::{TCP, UDP};
use crate::net::tcp::Queued;

/// What a TLS connection takes at once: an interleaved frame (`RFC 2326 §10.12`).
pub(super) const FRAME: usize = 65_535;

/// The largest control message: a probe of a jumbo frame.
const CONTROL_BYTES: usize = 9216;

/// How packets go to the other member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Not known yet.
    Unknown,
    /// By UDP, by this path, to an address that answered on it.
    Udp(usize, Ends),
    /// Through the TLS connection: UDP does not pass by any path.
    Tcp,
}

impl Association {
    /// Sends protected packets of one size, of which the last may be shorter: by the main path, by another while that is down,
    /// through the TLS connection while all are.
    pub(crate) fn transmit(&self, packets: &[u8], segment: usize) -> SendOutcome {
        match self.way.get() {
            Way::Udp(path, to) => self.send_by(path, to, packets, segment),
            Way::Unknown | Way::Tcp => self.send_framed(packets, segment),
        }
    }

    fn send_framed(&self, packets: &[u8], segment: usize) -> SendOutcome {
        match self.connection().send_frames(CHANNEL, packets, segment).1 {
            Queued::Yes => SendOutcome::Sent,
            Queued::Full => SendOutcome::Full,
            Queued::Closed => SendOutcome::Failed,
        }
    }

    pub(super) fn send_by(&self, path: usize, to: Ends, packets: &[u8], segment: usize) -> SendOutcome {
        let Some(worker) = self.worker.upgrade() else { return SendOutcome::Failed };
        let too_large = worker.send_errors.too_large.get();
        let Ends { remote, local } = to;
        let outcome = send_udp(&self.port.socket, remote, local, packets, segment, &worker.send_errors);
        if worker.send_errors.too_large.get() != too_large {
            self.handle_too_large_on(path, segment);
        }
        outcome
    }

    /// Where packets go by UDP, if they do.
    #[inline]
    pub(crate) fn udp(&self) -> Option<Ends> {
        match self.way.get() {
            Way::Udp(_, to) => Some(to),
            Way::Unknown | Way::Tcp => None,
        }
    }

    /// A datagram of this size does not pass.
    pub(crate) fn handle_too_large(&self, size: usize) {
        if let Way::Udp(path, _) = self.way.get() {
            self.handle_too_large_on(path, size);
        }
    }

    /// A datagram of this size does not pass by this path.
    pub(crate) fn handle_too_large_on(&self, path: usize, size: usize) {
        if let Some(path) = self.path(path) {
            path.machine.borrow_mut().handle_too_large(Instant::now(), size);
            self.rearm.notify_one();
        }
    }

    /// Packets that authenticated, of a flow of this path, came from there, or through the connection.
    #[inline]
    pub(crate) fn authenticated(&self, now: Instant, path: usize, from: Option<Ends>, bytes: usize) {
        let Some(from) = from else { return };
        let paths = self.paths.borrow();
        let Some(by) = came_by(&paths, path, from) else { return };
        if !by.has(from) && paths.iter().flatten().count() > 1 {
            // Of a path that comes up, perhaps: any flow takes any path, and only a path's own messages tell where it is.
            return;
        }
        let changed = by.machine.borrow_mut().handle_authenticated(now, by.ends(from), bytes);
        if changed {
            let by = Rc::clone(by);
            drop(paths);
            self.drive(&by, now);
        }
    }

    /// A message about a path, which authenticated: it came from there, or through the connection.
    pub(crate) fn handle_message(
        &self,
        now: Instant,
        path: usize,
        from: Option<Ends>,
        length: usize,
        message: &Message,
    ) {
        let Some(own) = self.path(path) else { return };
        match from {
            Some(from) => {
                let Some(by) = came_by(&self.paths.borrow(), path, from).map(Rc::clone) else { return };
                if Rc::ptr_eq(&by, &own) {
                    own.machine.borrow_mut().handle_message(now, own.ends(from), length, message);
                } else {
                    // Each path is asked about by itself. Whoever sends that on by another moves nothing.
                    own.machine.borrow_mut().handle_elsewhere(now, length, message);
                    self.authenticated(now, path, Some(from), length);
                }
            }
            None if message.kind == Kind::Blocked => own.machine.borrow_mut().handle_blocked(now),
            // What is asked of UDP is asked by UDP.
            None => return,
        }
        self.drive(&own, now);
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

    /// Does what a path wants done.
    pub(super) fn drive(&self, path: &HopPath, now: Instant) {
        let (_, control) = &path.control;
        let mut datagram = [0; CONTROL_BYTES];
        let mut protected = Vec::new();
        loop {
            let Some(transmit) = path.machine.borrow_mut().poll_transmit(now) else { break };
            let Some(length) = transmit.message.write(control.label.ssrc(), transmit.pad_to, &mut datagram)
            else {
                continue;
            };
            let message = datagram.get(..length).unwrap_or_default();
            if control.protect_control(message, &mut protected).is_none() {
                continue;
            }
            let sent = self.port.socket.send(&msm_udp::Transmit {
                destination: transmit.to.remote,
                contents: &protected,
                segment_size: None,
                ecn: None,
                src_ip: transmit.to.local,
            });
            if sent.is_err_and(|error| error.raw_os_error() == Some(nix::libc::EMSGSIZE)) {
                path.machine.borrow_mut().handle_too_large(now, protected.len());
            }
        }
        loop {
            let Some(event) = path.machine.borrow_mut().poll_event() else { break };
            self.handle_event(path, event);
        }
        self.rearm.notify_one();
    }

    fn handle_event(&self, path: &HopPath, event: PathEvent) {
        let (peer, number) = (self.peer().id, path.number + 1);
        let mut is_blocked = false;
        match event {
            PathEvent::Validated(to) => tracing::debug!(%peer, path = number, %to, "hop by UDP"),
            PathEvent::Moved { from, to } => {
                tracing::info!(%peer, path = number, %from, %to, "the member's address changed");
            }
            PathEvent::Blocked { told } => {
                tracing::warn!(%peer, path = number, remote = %self.remote, told, "UDP does not pass");
                is_blocked = true;
                if !told {
                    self.tell_blocked(path);
                }
            }
            PathEvent::Unblocked(to) => tracing::info!(%peer, path = number, %to, "UDP passes again"),
            PathEvent::RoundTrip(rtt) => {
                if let Some(count) = &*self.count.borrow() {
                    count.observe_rtt(path.number, rtt);
                }
                return;
            }
            PathEvent::Mtu(size) => {
                tracing::debug!(%peer, path = number, size, "largest datagram of the path");
                return self.settle(path);
            }
        }
        path.is_blocked.set(is_blocked);
        path.to.set(match event {
            PathEvent::Validated(to) | PathEvent::Moved { to, .. } | PathEvent::Unblocked(to) => Some(to),
            _ => None,
        });
        self.settle(path);
    }

    /// The peer may be sending by UDP all the same: it hears this side.
    fn tell_blocked(&self, path: &HopPath) {
        let (_, control) = &path.control;
        let (mut word, mut protected) = ([0; Message::MIN_BYTES], Vec::new());
        let message = Message { kind: Kind::Blocked, nonce: [0; 16], size: 0 };
        if message.write(control.label.ssrc(), 0, &mut word).is_some()
            && control.protect_control(&word, &mut protected).is_some()
        {
            self.send_framed(&protected, protected.len());
        }
    }

    pub(super) fn set_way(&self, way: Way) {
        let before = self.way.replace(way);
        if before == way {
            return;
        }
        if way == Way::Tcp {
            tracing::warn!(peer = %self.peer().id, remote = %self.remote, "media goes through the TLS connection");
        }
        if let Some(count) = &mut *self.count.borrow_mut() {
            match way {
                Way::Unknown => {}
                Way::Udp(..) => count.set_way(UDP),
                Way::Tcp => count.set_way(TCP),
            }
        }
        self.changed.notify_waiters();
        if before != Way::Unknown {
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

/// The paths' timer.
pub(super) async fn run(association: Weak<Association>) {
    loop {
        let Some(strong) = association.upgrade().filter(|own| !own.ended.get()) else { return };
        let now = Instant::now();
        let due = |path: &Rc<HopPath>| path.machine.borrow().poll_timeout(now).map(|(due, _)| due);
        let due = strong.paths.borrow().iter().flatten().filter_map(due).min();
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
                let paths = strong.paths.borrow().clone();
                for path in paths.into_iter().flatten() {
                    path.machine.borrow_mut().handle_timeout(now);
                    strong.drive(&path, now);
                }
            }
            // Held for a second at most: an association that nobody else holds goes.
            () = rearmed => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
