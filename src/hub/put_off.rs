//! Packets of one burst for several members, sent by one system call.
//!
//! What each needs (its numbers, its keys, the cipher's tables) is fetched sooner one member after the other than with the kernel's
//! work in between. For plain readers, whose packets would have to be copied for it, nothing is gained.

use std::io;
use std::rc::Rc;

use msm_core::hop::path::Ends;
use msm_core::hub::{NotSent, SendOutcome};
use msm_udp::{SendQueue, Transmit};

use super::dest::{SendErrors, after_failure};
use crate::hop::outlet::Outlet;
use crate::net::udp::UdpSocket;

/// What waits to be sent, all by one socket.
#[derive(Default)]
pub(crate) struct PutOff {
    socket: Option<Rc<UdpSocket>>,
    queue: SendQueue,
    owners: Vec<Owner>,
    not_sent: Vec<NotSent>,
}

/// Whose packets one send has.
pub(crate) struct Owner {
    /// What is to be taken back if they cannot be sent.
    pub(crate) given: NotSent,
    /// Hears of packets that are too large for the path.
    pub(crate) outlet: Rc<Outlet>,
}

impl PutOff {
    /// Makes room for so many bytes, which are to leave by this socket.
    #[inline]
    pub(crate) fn begin(&mut self, socket: &Rc<UdpSocket>, bytes: usize, errors: &SendErrors) {
        let same = self.socket.as_ref().is_some_and(|own| Rc::ptr_eq(own, socket));
        if !same || !self.queue.has_room(bytes) {
            self.send(errors);
            self.socket = Some(Rc::clone(socket));
        }
    }

    /// The buffer, to append packets to that [`enter`](Self::enter) makes one send of.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.queue.buffer()
    }

    /// Makes one send of what was appended.
    #[inline]
    pub(crate) fn enter(&mut self, owner: Owner, to: Ends, segment: usize) {
        self.queue.enter(to.remote, Some(segment), to.local);
        self.owners.push(owner);
    }

    /// Sends what waits, if anything does.
    #[inline]
    pub(crate) fn send(&mut self, errors: &SendErrors) {
        if !self.queue.is_empty() {
            self.send_queue(errors);
        }
    }

    fn send_queue(&mut self, errors: &SendErrors) {
        let Self { socket, queue, owners, not_sent } = self;
        let Some(socket) = socket.as_ref() else { return };
        let mut failed = |index: usize, transmit: &Transmit<'_>, error: io::Error| {
            let too_large = errors.too_large.get();
            let outcome = after_failure(socket, transmit, &error, errors);
            let Some(owner) = owners.get(index) else { return };
            if errors.too_large.get() != too_large {
                owner.outlet.handle_too_large(transmit.segment_size.unwrap_or(transmit.contents.len()));
            }
            if outcome != SendOutcome::Sent {
                not_sent.push(owner.given);
            }
        };
        socket.send_queue(queue, &mut failed);
        owners.clear();
    }

    /// Sends what waits, and tells what could not be sent since the last call.
    pub(crate) fn flush(&mut self, errors: &SendErrors, failed: &mut dyn FnMut(NotSent)) {
        self.send(errors);
        self.not_sent.drain(..).for_each(failed);
    }
}
