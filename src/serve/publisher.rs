//! A session that publishes: its sockets or channels, and the stream they feed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::route::Publish;
use msm_rtsp::sdp::Description;

use crate::error::Error;
use crate::hop::inlet::{Inlet as HopInlet, Target};
use crate::hop::outlet::Outlet;
use crate::hub::dest::Dest;
use crate::hub::handle::{HubHandle, HubParts};
use crate::hub::home::Home;
use crate::hub::receive::{PeerCheck, Receiving, receive_track};
use crate::hub::registry::HubKey;
use crate::metrics::HopKind;
use crate::mirror::{Mirrored, Original, What};
use crate::net::pair::Pair;
use crate::quota::QuotaPass;
use crate::routing::Resolved;
use crate::serve::connection::Announced;
use crate::serve::succession;
use crate::srtp::{SecureTrack, SharedKey};
use crate::upstream::mend::{Mend, Offer};
use crate::upstream::push;
use crate::worker::Worker;

/// How a track comes in.
pub(crate) enum Inlet {
    Udp {
        pair: Pair,
        check: PeerCheck,
        reports: Dest,
    },
    Interleaved(Dest),
    /// From another member.
    Hop {
        inlet: Rc<HopInlet>,
        outlet: Rc<Outlet>,
    },
}

/// One track that was set up.
pub(crate) struct TrackInlet {
    pub(crate) track: usize,
    pub(crate) inlet: Inlet,
    /// Where it is SRTP, the source of our reports, and what opens it.
    pub(crate) secure: Option<(u32, Rc<SecureTrack>)>,
}

/// The publisher of a session.
pub(crate) struct PublisherRole {
    pub(crate) description: Arc<Description>,
    pub(crate) resolved: Resolved,
    name: String,
    via: Vec<String>,
    /// The keys of our reports that the publisher was told.
    pub(crate) keys: Rc<[Option<SharedKey>]>,
    pub(crate) inlets: Vec<TrackInlet>,
    recording: Option<Recording>,
}

/// A stream that is being published; it ends when this is dropped.
struct Recording {
    home: Rc<Home>,
    worker: Rc<Worker>,
    key: HubKey,
    publish: Publish,
    /// Its publisher has ended it by itself.
    torn_down: bool,
    /// The place of its shadow.
    mirror: Option<Mirrored>,
    _receiving: Vec<Receiving>,
    _quota: QuotaPass,
}

/// Takes a publisher's interleaved packets between requests.
pub(crate) struct FrameSink(Rc<Home>);

impl FrameSink {
    pub(crate) fn handle(
        &self,
        now: Instant,
        track: usize,
        rtcp: bool,
        bytes: &mut [u8],
        parts: &[(usize, usize)],
    ) {
        if !rtcp {
            self.0.handle_parts(now, track, bytes, parts);
            return;
        }
        for (offset, length) in parts {
            if let Some(datagram) = bytes.get(*offset..offset.saturating_add(*length)) {
                self.0.handle_rtcp(now, track, datagram);
            }
        }
    }

    pub(crate) fn last_media(&self) -> Option<Instant> {
        Some(self.0.last_media())
    }
}

impl PublisherRole {
    pub(crate) fn new(announced: Announced, resolved: Resolved, name: String) -> Self {
        let Announced { description, via, keys } = announced;
        Self { description, resolved, name, via, keys, inlets: Vec::new(), recording: None }
    }

    /// Starts the stream. With backends in the route, the upstream must have agreed to record it first.
    /// `on_end` is called if it ends while it is still being published.
    pub(crate) async fn record(
        &mut self,
        worker: &Rc<Worker>,
        on_end: impl FnOnce() + 'static,
    ) -> Result<FrameSink, Error> {
        if let Some(recording) = &self.recording {
            return Ok(FrameSink(Rc::clone(&recording.home)));
        }
        let shared = &worker.shared;
        let is_member = self.inlets.iter().any(|own| matches!(own.inlet, Inlet::Hop { .. }));
        let quota = shared.streams.take()?;
        let handle = HubHandle::new(HubParts {
            id: shared.registry.next_id(),
            worker: worker.id,
            name: self.name.clone(),
            description: Arc::clone(&self.description),
            unshared: false,
            coalesce: self.resolved.coalesce,
            metrics: shared.metrics.route(&self.resolved.route, self.resolved.cluster_name()),
            comes: if is_member { HopKind::Mesh } else { HopKind::Plain },
            control: None,
            events: Arc::clone(&shared.events),
        });
        let key = self.resolved.publish_key();
        let publish = self.resolved.publish_plan();
        let entrance = shared.registry.publish(&key, Arc::clone(&handle), publish.priority).await?;
        shared.metrics.streams.inc();
        let home = Home::start(worker, handle, shared.seed(), Instant::now());
        let recording = Recording {
            home: Rc::clone(&home),
            worker: Rc::clone(worker),
            key,
            publish,
            torn_down: false,
            mirror: None,
            _receiving: self.open(worker, &home),
            _quota: quota,
        };
        self.recording = Some(recording);
        if self.resolved.is_upstream()
            && let Err(error) =
                push::start(worker, &home, &self.resolved, &self.description, self.via.clone()).await
        {
            self.leave(false).await;
            return Err(error);
        }
        let what = What::Published { home: Rc::clone(&home), description: Arc::clone(&self.description) };
        let original = Original { what, resolved: self.resolved.clone(), via: self.via.clone() };
        if let Some(recording) = &mut self.recording {
            recording.mirror = Some(Mirrored::start(worker, original));
        }
        home.set_on_end(Box::new(on_end));
        succession::entered(worker, &home.handle, entrance);
        Ok(FrameSink(home))
    }

    /// Ends the stream: `torn_down` by its publisher. Another one is let in when this returns.
    pub(crate) async fn leave(&mut self, torn_down: bool) {
        let Some(mut recording) = self.recording.take() else { return };
        recording.torn_down = torn_down;
        let handle = Arc::clone(&recording.home.handle);
        drop(recording);
        handle.vacated.notified().await;
    }

    /// What the publisher offers against loss of a track.
    fn offer(&self, track: usize, over_udp: bool) -> Option<Offer> {
        let (budget, asks) = self.resolved.mending();
        Offer::of(self.description.tracks.get(track)?, budget, asks && over_udp)
    }

    fn open(&self, worker: &Rc<Worker>, home: &Rc<Home>) -> Vec<Receiving> {
        let mut receiving = Vec::new();
        for TrackInlet { track, inlet, secure } in &self.inlets {
            let offer = match inlet {
                Inlet::Udp { .. } => self.offer(*track, true),
                Inlet::Interleaved(_) => self.offer(*track, false),
                Inlet::Hop { .. } => None,
            };
            home.set_mend(*track, offer.map(Mend::new));
            let (ssrc, opener) = secure.as_ref().map_or((0, None), |(ssrc, opener)| (*ssrc, Some(opener)));
            match inlet {
                Inlet::Udp { pair, check, reports } => {
                    home.set_secure(*track, reports.clone(), opener, ssrc);
                    receiving.push(receive_track(worker, home, *track, pair, check));
                }
                Inlet::Interleaved(reports) => {
                    home.set_secure(*track, reports.clone(), opener, ssrc);
                }
                Inlet::Hop { inlet, outlet } => {
                    inlet.set_target(Target::Media { home: Rc::downgrade(home), track: *track });
                    home.set_upstream(*track, Dest::Hop(Rc::clone(outlet)));
                }
            }
        }
        receiving
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let (worker, key, home) = (Rc::clone(&self.worker), self.key.clone(), Rc::clone(&self.home));
        let (publish, torn_down) = (self.publish, self.torn_down);
        // Later, as the caller may hold what the readers' ends need.
        tokio::task::spawn_local(async move {
            succession::left(worker, key, home, publish, torn_down).await;
        });
    }
}
