//! Tasks that read the sockets of a worker.

use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Instant;

use msm_core::rtp::is_rtcp;
use msm_udp::Received;
use tokio::task::AbortHandle;

use super::home::Home;
use crate::net::pair::Pair;
use crate::net::udp::{UdpSocket, canonical};
use crate::upgrade::pipe::Way;
use crate::worker::Worker;

/// Some receive errors (a device that went down) repeat at once: the pause keeps the worker from spinning.
const RETRY: std::time::Duration = std::time::Duration::from_millis(1);

/// Who may send to a flow's sockets. Anything else is dropped, counted, and never answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerCheck {
    /// The peer's address; any where none is known (multicast groups).
    pub(crate) ip: Option<IpAddr>,
    /// The ports that it named for RTP and RTCP; any where it named none.
    pub(crate) ports: Option<(u16, u16)>,
}

impl PeerCheck {
    fn accepts(&self, from: SocketAddr, rtcp: bool) -> bool {
        let from = canonical(from);
        self.ip.is_none_or(|ip| ip == from.ip())
            && self
                .ports
                .is_none_or(|(rtp_port, rtcp_port)| from.port() == if rtcp { rtcp_port } else { rtp_port })
    }
}

/// The receiving tasks of one flow; they end when this is dropped.
pub(crate) struct Receiving(Vec<AbortHandle>);

impl Drop for Receiving {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Reads a publisher's or upstream's track into its home.
pub(crate) fn receive_track(
    worker: &Rc<Worker>,
    home: &Rc<Home>,
    track: usize,
    pair: &Pair,
    check: &PeerCheck,
) -> Receiving {
    let read = |socket: &Rc<UdpSocket>, rtcp: bool| {
        let task =
            read_track(Rc::clone(worker), Rc::downgrade(home), track, Rc::clone(socket), check.clone(), rtcp);
        tokio::task::spawn_local(task).abort_handle()
    };
    Receiving(vec![read(&pair.rtp, false), read(&pair.rtcp, true)])
}

async fn read_track(
    worker: Rc<Worker>,
    home: Weak<Home>,
    track: usize,
    socket: Rc<UdpSocket>,
    check: PeerCheck,
    rtcp_socket: bool,
) {
    loop {
        let outcome = socket
            .receive(&worker.buffers, |received| {
                let Some(home) = home.upgrade() else { return };
                let now = Instant::now();
                let Received { bytes, stride, source, .. } = received;
                if !check.accepts(source, rtcp_socket) {
                    worker.count_foreign(bytes.len(), stride);
                    return;
                }
                if rtcp_socket || bytes.get(1).copied().is_some_and(is_rtcp) {
                    for datagram in bytes.chunks(stride.max(1)) {
                        home.handle_rtcp(now, track, datagram);
                    }
                } else {
                    home.handle_run(now, track, bytes, stride);
                }
            })
            .await;
        if let Err(error) = outcome {
            worker.count_receive_error(&error);
            tokio::time::sleep(RETRY).await;
        }
        worker.observe_drops(&socket);
        if home.strong_count() == 0 {
            return;
        }
    }
}

/// Reads what plain readers send to the shared pair: receiver reports, and dummies that open a NAT's way.
pub(crate) fn receive_readers(worker: &Rc<Worker>, pair: &Pair) -> Receiving {
    let rtcp =
        tokio::task::spawn_local(read_reports(Rc::clone(worker), Rc::clone(&pair.rtcp))).abort_handle();
    let rtp = tokio::task::spawn_local(read_dummies(Rc::clone(worker), Rc::clone(&pair.rtp))).abort_handle();
    Receiving(vec![rtcp, rtp])
}

async fn read_reports(worker: Rc<Worker>, socket: Rc<UdpSocket>) {
    loop {
        let outcome = socket
            .receive(&worker.buffers, |received| {
                reports(&worker, received.source, received.bytes, received.stride);
            })
            .await;
        if let Err(error) = outcome {
            worker.count_receive_error(&error);
            tokio::time::sleep(RETRY).await;
        }
        worker.observe_drops(&socket);
    }
}

/// What has come to the RTCP socket of a pair that readers share.
pub(crate) fn reports(worker: &Rc<Worker>, source: SocketAddr, bytes: &[u8], stride: usize) {
    let Some(reader) = worker.shared.reports.get(canonical(source)) else {
        return worker.foreign(Way::Reports, source, bytes, stride);
    };
    for datagram in bytes.chunks(stride.max(1)) {
        worker.handle_report(reader, datagram);
    }
}

/// What has come to the RTP socket of a pair that readers share.
pub(crate) fn dummies(worker: &Worker, source: SocketAddr, bytes: &[u8], stride: usize) {
    let from = canonical(source);
    let known = SocketAddr::new(from.ip(), from.port().wrapping_add(1));
    if worker.shared.reports.get(known).is_none() {
        worker.foreign(Way::Dummies, source, bytes, stride);
    }
}

async fn read_dummies(worker: Rc<Worker>, socket: Rc<UdpSocket>) {
    loop {
        let outcome = socket
            .receive(&worker.buffers, |received| {
                dummies(&worker, received.source, received.bytes, received.stride);
            })
            .await;
        if let Err(error) = outcome {
            worker.count_receive_error(&error);
            tokio::time::sleep(RETRY).await;
        }
        worker.observe_drops(&socket);
    }
}

/// Called with the source of the first datagram that reaches one socket of a pair.
pub(crate) type Latch = Rc<dyn Fn(SocketAddr, bool)>;

/// Called with each RTCP datagram of a reader.
pub(crate) type OnReport = Rc<dyn Fn(&[u8])>;

/// Reads a pair that serves one reader track only, whose packets may come from another port than it named
/// (`nat: same_ip`). `latch` is called for each change of the source port; reports go to the reader.
pub(crate) fn receive_latching(
    worker: &Rc<Worker>,
    pair: &Pair,
    ip: IpAddr,
    latch: &Latch,
    on_report: &OnReport,
) -> Receiving {
    let read = |socket: &Rc<UdpSocket>, rtcp: bool| {
        let (worker, socket) = (Rc::clone(worker), Rc::clone(socket));
        let (latch, on_report) = (Rc::clone(latch), Rc::clone(on_report));
        tokio::task::spawn_local(async move {
            let mut last = None;
            loop {
                let outcome = socket
                    .receive(&worker.buffers, |received| {
                        let from = canonical(received.source);
                        if from.ip() != ip {
                            worker.count_foreign(received.bytes.len(), received.stride);
                            return;
                        }
                        if last != Some(from) {
                            last = Some(from);
                            latch(from, rtcp);
                        }
                        if rtcp {
                            for datagram in received.bytes.chunks(received.stride.max(1)) {
                                on_report(datagram);
                            }
                        }
                    })
                    .await;
                if let Err(error) = outcome {
                    worker.count_receive_error(&error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        })
        .abort_handle()
    };
    Receiving(vec![read(&pair.rtp, false), read(&pair.rtcp, true)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sessions_peer_is_accepted() {
        let check = PeerCheck { ip: Some("192.0.2.7".parse().unwrap()), ports: Some((5000, 5001)) };
        assert!(check.accepts("192.0.2.7:5000".parse().unwrap(), false));
        assert!(check.accepts("[::ffff:192.0.2.7]:5001".parse().unwrap(), true));
        assert!(!check.accepts("192.0.2.7:5001".parse().unwrap(), false));
        assert!(!check.accepts("192.0.2.8:5000".parse().unwrap(), false));
    }
}
