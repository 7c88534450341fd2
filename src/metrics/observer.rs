//! From one stream's plain integers to the process's counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use msm_core::hub::{Fanout, Ingest, TrackStats};

use super::labels::HopKind;
use super::route::RouteMetrics;
use crate::hub::dest::Dest;
use crate::upstream::mend::Mended;

/// Remembers what of one stream's counters was added already.
pub(crate) struct HubObserver {
    /// Whether the stream comes from another member.
    from_member: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    tracks: Vec<TrackStats>,
    ingest: BTreeMap<&'static str, u64>,
    mended: Mended,
    /// By worker, as each has a fan-out of its own.
    fanout: BTreeMap<(usize, &'static str), u64>,
    /// Of it, what went to members.
    to_members: BTreeMap<usize, Sent>,
}

/// RTP packets that were sent, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Sent {
    pub(crate) fn add(self, packets: u64, bytes: u64) -> Self {
        Self { packets: self.packets.saturating_add(packets), bytes: self.bytes.saturating_add(bytes) }
    }

    fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

/// Counters of the hub that are not drops.
const NOT_DROPS: &[&str] = &[
    "keyframe_requests",
    "keyframe_requests_merged",
    "source_changes",
    "packets",
    "bytes",
    "rtcp_sent",
    "nacked",
    "retransmitted_bytes",
    "nack_unknown",
    "nack_suppressed",
    "nack_throttled",
    "nack_foreign",
    "cache_overflow",
    "catch_up_overflow",
    "keyframe_timeout",
];

impl HubObserver {
    pub(crate) fn new(tracks: usize, comes: HopKind) -> Self {
        let seen = Seen { tracks: vec![TrackStats::default(); tracks], ..Seen::default() };
        Self { from_member: AtomicBool::new(comes == HopKind::Mesh), seen: Mutex::new(seen) }
    }

    /// The stream comes by this from now on.
    pub(crate) fn set_comes(&self, comes: HopKind) {
        self.from_member.store(comes == HopKind::Mesh, Ordering::Relaxed);
    }

    /// Adds what the publisher's side counted since the last call.
    pub(crate) fn ingest(&self, metrics: &RouteMetrics, ingest: &Ingest) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let from_member = self.from_member.load(Ordering::Relaxed);
        let received = metrics.received(if from_member { HopKind::Mesh } else { HopKind::Plain });
        let mut jitter = Duration::ZERO;
        for (track, before) in seen.tracks.iter_mut().enumerate() {
            let Some(now) = ingest.stats(track) else { continue };
            received.packets.inc_by(now.packets.saturating_sub(before.packets));
            received.bytes.inc_by(now.bytes.saturating_sub(before.bytes));
            metrics.lost.inc_by(now.lost.saturating_sub(before.lost));
            metrics.unrecovered.inc_by(now.lost.saturating_sub(before.lost));
            metrics.duplicates.inc_by(now.duplicates.saturating_sub(before.duplicates));
            metrics.reordered.inc_by(now.reordered.saturating_sub(before.reordered));
            jitter = jitter.max(now.jitter);
            // A packet counted lost may still come: the total only grows when it exceeds what was counted before.
            *before = TrackStats { lost: now.lost.max(before.lost), ..now };
        }
        metrics.jitter.set(jitter.as_secs_f64());
        for (name, count) in ingest.counters().iter() {
            let before = seen.ingest.insert(name, count).unwrap_or(0);
            if !NOT_DROPS.contains(&name) {
                metrics.add_dropped(name, count.saturating_sub(before));
            }
        }
    }

    /// Adds what brought lost packets back since the last call: the ingest has not seen that they were lost.
    pub(crate) fn mended(&self, metrics: &RouteMetrics, mended: Mended) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut seen.mended, mended);
        let by_nack = mended.by_nack.saturating_sub(before.by_nack);
        let by_fec = mended.by_fec.saturating_sub(before.by_fec);
        metrics.lost.inc_by(by_nack + by_fec);
        metrics.recovered_by_nack.inc_by(by_nack);
        metrics.recovered_by_fec.inc_by(by_fec);
        metrics.add_dropped("repair_useless", mended.useless.saturating_sub(before.useless));
    }

    /// Adds what one worker's fan-out counted since the last call. `to_members` is what of it went to members so far, to
    /// readers that are gone too.
    pub(crate) fn fanout(
        &self,
        metrics: &RouteMetrics,
        worker: usize,
        fanout: &Fanout<Dest>,
        to_members: Sent,
    ) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Sent::default();
        for (name, count) in fanout.counters().iter() {
            let before = seen.fanout.insert((worker, name), count).unwrap_or(0);
            let fresh = count.saturating_sub(before);
            match name {
                "retransmitted" => {
                    metrics.retransmitted.inc_by(fresh);
                }
                "packets" => all.packets = fresh,
                "bytes" => all.bytes = fresh,
                _ if NOT_DROPS.contains(&name) => {}
                _ => metrics.add_dropped(name, fresh),
            }
        }
        let before = seen.to_members.insert(worker, to_members).unwrap_or_default();
        let mesh = to_members.since(before);
        for (hop, sent) in [(HopKind::Mesh, mesh), (HopKind::Plain, all.since(mesh))] {
            metrics.sent(hop).packets.inc_by(sent.packets);
            metrics.sent(hop).bytes.inc_by(sent.bytes);
        }
    }

    /// What the status shows of each track.
    pub(crate) fn tracks(&self) -> Vec<TrackStats> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).tracks.clone()
    }
}
