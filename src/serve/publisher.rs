//! A session that publishes: its sockets or channels, and the stream they feed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_rtsp::sdp::Description;

use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::handle::{HubHandle, HubParts};
use crate::hub::home::Home;
use crate::hub::receive::{PeerCheck, Receiving, receive_track};
use crate::hub::registry::HubKey;
use crate::net::pair::Pair;
use crate::net::tcp::Connection;
use crate::routing::Resolved;
use crate::upstream::push;
use crate::worker::Worker;

/// How a track comes in.
pub(crate) enum Inlet {
    Udp { pair: Pair, check: PeerCheck, reports_to: SocketAddr },
    Interleaved { connection: Rc<Connection>, rtcp_channel: u8 },
}

/// The publisher of a session.
pub(crate) struct PublisherRole {
    pub(crate) description: Arc<Description>,
    pub(crate) resolved: Resolved,
    pub(crate) name: String,
    pub(crate) inlets: Vec<(usize, Inlet)>,
    recording: Option<Recording>,
}

/// A stream that is being published; it ends when this is dropped.
struct Recording {
    home: Rc<Home>,
    worker: Rc<Worker>,
    key: HubKey,
    _receiving: Vec<Receiving>,
}

/// Takes a publisher's interleaved packets between requests.
pub(crate) struct FrameSink(Rc<Home>);

impl FrameSink {
    pub(crate) fn handle(&self, now: Instant, track: usize, rtcp: bool, packet: &mut [u8]) {
        if rtcp {
            self.0.handle_rtcp(now, track, packet);
        } else {
            let stride = packet.len();
            self.0.handle_run(now, track, packet, stride);
        }
    }

    pub(crate) fn last_media(&self) -> Option<Instant> {
        Some(self.0.last_media())
    }
}

impl PublisherRole {
    pub(crate) fn new(description: Arc<Description>, resolved: Resolved, name: String) -> Self {
        Self { description, resolved, name, inlets: Vec::new(), recording: None }
    }

    /// A publisher's session ends with its connection: none of them comes back to an old one, and a dead one would
    /// hold the URL.
    pub(crate) fn ends_with_connection(&self) -> bool {
        true
    }

    /// Starts the stream. With backends in the route, the upstream must have agreed to record it first.
    pub(crate) async fn record(&mut self, worker: &Rc<Worker>) -> Result<FrameSink, Error> {
        if let Some(recording) = &self.recording {
            return Ok(FrameSink(Rc::clone(&recording.home)));
        }
        let shared = &worker.shared;
        let handle = HubHandle::new(HubParts {
            id: shared.registry.next_id(),
            worker: worker.id,
            name: self.name.clone(),
            description: Arc::clone(&self.description),
            unshared: false,
            coalesce: self.resolved.coalesce,
            metrics: shared.metrics.route(&self.resolved.route, self.resolved.cluster_name()),
            control: None,
        });
        let key = self.resolved.publish_key();
        shared.registry.publish(&key, Arc::clone(&handle)).await?;
        let home = Home::start(worker, handle, shared.seed(), Instant::now());
        let recording = Recording {
            home: Rc::clone(&home),
            worker: Rc::clone(worker),
            key,
            _receiving: self.open(worker, &home),
        };
        self.recording = Some(recording);
        if self.resolved.is_upstream() {
            if let Err(error) = push::start(worker, &home, &self.resolved, &self.description).await {
                self.recording = None;
                return Err(error);
            }
        }
        Ok(FrameSink(home))
    }

    fn open(&self, worker: &Rc<Worker>, home: &Rc<Home>) -> Vec<Receiving> {
        let mut receiving = Vec::new();
        for (track, inlet) in &self.inlets {
            match inlet {
                Inlet::Udp { pair, check, reports_to } => {
                    home.set_upstream(
                        *track,
                        Dest::Udp {
                            rtp: Rc::clone(&pair.rtp),
                            rtcp: Rc::clone(&pair.rtcp),
                            rtp_to: *reports_to,
                            rtcp_to: *reports_to,
                            source: None,
                        },
                    );
                    receiving.push(receive_track(worker, home, *track, pair, check));
                }
                Inlet::Interleaved { connection, rtcp_channel } => home.set_upstream(
                    *track,
                    Dest::Tcp {
                        connection: Rc::clone(connection),
                        rtp_channel: rtcp_channel.wrapping_sub(1),
                        rtcp_channel: *rtcp_channel,
                    },
                ),
            }
        }
        receiving
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.home.handle.set_ended();
        self.worker.shared.registry.forget(&self.key, Some(self.home.handle.id));
        let home = Rc::clone(&self.home);
        // Later, as the caller may hold what the readers' ends need.
        tokio::task::spawn_local(async move { home.end(Instant::now()) });
    }
}
