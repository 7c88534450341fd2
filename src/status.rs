//! What runs now, for people and for the admin port.

use std::time::{Duration, Instant};

use msm_core::hub::TrackStats;
use msm_rtsp::sdp::Track;
use serde::Serialize;

use crate::hub::handle::HubHandle;
use crate::reload::ConfigurationStatus;
use crate::shared::Shared;
use crate::upgrade::PredecessorStatus;

mod clusters;

pub(crate) use self::clusters::word;
pub use self::clusters::{ClusterStatus, EndpointStatus};

/// A picture of a mesh at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Worker threads.
    pub workers: usize,
    /// Whether they are real-time.
    pub real_time: bool,
    /// RTSP sessions.
    pub sessions: i64,
    /// RTSP connections.
    pub connections: i64,
    /// The configuration in force, and the last one that was refused.
    pub configuration: ConfigurationStatus,
    /// Where requests come in.
    pub listeners: Vec<ListenerStatus>,
    /// Sets of servers.
    pub clusters: Vec<ClusterStatus>,
    /// The servers of all clusters.
    pub endpoints: Vec<EndpointStatus>,
    /// Backends on trial.
    pub canaries: Vec<CanaryStatus>,
    /// What is published or pulled.
    pub streams: Vec<StreamStatus>,
    /// Who this member is, where it has an identity: its SPIFFE ID.
    pub identity: Option<String>,
    /// What keeps the identity from being renewed, if anything.
    pub identity_problem: Option<String>,
    /// Associations with other members.
    pub hops: Vec<HopStatus>,
    /// Processes before this one whose sessions end by themselves.
    pub predecessors: Vec<PredecessorStatus>,
    /// Endpoints of mesh clusters that know no mesh hop, and are spoken to by RTSP over TLS (`fallback: rtsps`).
    pub fallbacks: Vec<FallbackStatus>,
}

/// The backend of a route that is on trial.
#[derive(Clone, Debug, Serialize)]
pub struct CanaryStatus {
    /// The route's name.
    pub route: String,
    /// Its cluster.
    pub cluster: String,
    /// Why its weight went to the others, if it did.
    pub rolled_back: Option<String>,
}

/// One endpoint that knows no mesh hop.
#[derive(Clone, Debug, Serialize)]
pub struct FallbackStatus {
    /// The cluster's name.
    pub cluster: String,
    /// Host and port.
    pub endpoint: String,
    /// Who is there: its SPIFFE ID.
    pub peer: String,
    /// What it was asked, and answered.
    pub answer: String,
    /// Seconds since that was first found.
    pub since: u64,
    /// Seconds until it is asked again, with the next session; 0 if it is to be asked now.
    pub asked_again_in: u64,
}

/// One association with another member.
#[derive(Clone, Debug, Serialize)]
pub struct HopStatus {
    /// The other member's SPIFFE ID.
    pub peer: String,
    /// Its address of the signalling.
    pub remote: String,
    /// Whether this member opened it.
    pub dialled: bool,
    /// Version, cipher suite and key exchange of the signalling.
    pub tls: String,
    /// The crypto suite of the media.
    pub srtp: String,
    /// Which of the association's TLS connections the keys are from, counted from 1.
    pub epoch: u32,
    /// How packets go: `udp` and the address that answered, `tcp` (through the TLS connection), or `unknown`.
    pub way: String,
    /// The largest UDP payload that the way takes.
    pub max_datagram: usize,
    /// The round trip by UDP.
    pub rtt_ms: Option<f64>,
    /// The paths that packets may go by, the main one first.
    pub paths: Vec<PathStatus>,
    /// Flows of all sessions, both ways.
    pub flows: usize,
    /// Seconds until the other member's SVID expires.
    pub peer_expires_in: u64,
    /// What is done against loss: one for each protected flow.
    pub protection: Vec<FlowProtection>,
}

/// Protection of one direction of one track between two members.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FlowProtection {
    /// What the receiving member calls the flow.
    pub label: String,
    /// The stream's name, and the track's number in it.
    pub stream: String,
    /// Whether this member receives it; otherwise it sends.
    pub receives: bool,
    /// The latency budget.
    pub latency_ms: f64,
    /// Packets that came, or were sent first.
    pub packets: u64,
    /// Packets that the way lost. Known to the receiver, as are the next four.
    pub lost: u64,
    /// Lost packets that forward error correction brought back.
    pub recovered_by_fec: u64,
    /// Lost packets that were sent again.
    pub recovered_by_nack: u64,
    /// Packets that the main path lost and another brought.
    pub recovered_by_path: u64,
    /// Lost packets that nothing brought back in time.
    pub unrecovered: u64,
    /// Repair packets that were sent. Known to the sender, as are the next two.
    pub repair_packets: u64,
    /// Packets that were sent again.
    pub retransmitted: u64,
    /// What was sent beside the media, as a share of it in bytes.
    pub overhead: f64,
    /// What is done and why, in one line.
    pub plan: String,
    /// What each path has brought, where packets come by several. Known to the receiver.
    pub paths: Vec<FlowPath>,
}

/// What one path has brought of a flow whose packets come by several.
#[derive(Clone, Debug, Serialize)]
pub struct FlowPath {
    /// The path's number in the association.
    pub path: usize,
    /// Packets that came by it, copies among them.
    pub packets: u64,
    /// Those that came by it first.
    pub first: u64,
    /// Those of them that another path had lost, or brought later.
    pub recovered: u64,
    /// Packets that it lost.
    pub lost: u64,
    /// How much later than by the fastest path packets come.
    pub skew_ms: f64,
}

/// One path of an association.
#[derive(Clone, Debug, Serialize)]
pub struct PathStatus {
    /// Its number, from 1 on.
    pub path: usize,
    /// The own address that packets leave by; without one the system chooses.
    pub from: Option<String>,
    /// The other member's address, while it is up.
    pub to: Option<String>,
    /// Whether packets pass.
    pub up: bool,
    /// The round trip.
    pub rtt_ms: Option<f64>,
    /// The largest UDP payload that it takes.
    pub max_datagram: usize,
}

/// One listener.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamStatus {
    /// Where it comes from, without credentials.
    pub name: String,
    /// Readers that hold it.
    pub readers: usize,
    /// Whether it is one reader's own (VOD).
    pub unshared: bool,
    /// The endpoint that it comes from now, where it comes from one.
    pub endpoint: Option<String>,
    /// The endpoint that is kept ready to take over, or why there is none, where the cluster has a standby.
    pub standby: Option<String>,
    /// Whether that one brings the same packets, so that it takes over without a gap.
    pub standby_identical: bool,
    /// Where the stream is copied to, or why it is not, where its route has a mirror that takes it.
    pub mirror: Option<String>,
    /// How often another source has taken over.
    pub failovers: u64,
    /// How long nothing came then, the last time.
    pub last_gap_ms: Option<f64>,
    /// Its tracks.
    pub tracks: Vec<TrackStatus>,
}

/// One track.
#[derive(Clone, Debug, Serialize)]
pub struct TrackStatus {
    /// The encoding name of its first payload type.
    pub codec: String,
    /// Packets received.
    pub packets: u64,
    /// Packets lost on the way here.
    pub lost: u64,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f64,
}

impl Status {
    pub(crate) fn of(shared: &Shared, hops: Vec<HopStatus>) -> Self {
        let streams = shared.registry.streams();
        let source = shared.hop.source.as_ref();
        let routing = shared.routing();
        let (clusters, endpoints) = clusters::of(routing.clusters().values(), Instant::now());
        let canary = |(route, canary): (&str, &crate::canary::Canary)| CanaryStatus {
            route: route.to_owned(),
            cluster: canary.cluster().to_owned(),
            rolled_back: canary.rolled_back(),
        };
        Self {
            identity: source.and_then(|source| source.snapshot()).map(|own| own.svid.id().to_string()),
            identity_problem: source.and_then(|source| source.problem()).map(|problem| problem.to_string()),
            hops,
            predecessors: shared.upgrade.predecessors(),
            fallbacks: shared.hop.fallbacks.status(Instant::now()),
            clusters,
            endpoints,
            canaries: routing.canaries().map(canary).collect(),
            workers: shared.worker_count(),
            real_time: shared.workers().iter().any(|worker| worker.is_real_time().is_ok_and(|is| is)),
            sessions: shared.metrics.sessions.get(),
            connections: shared.metrics.connections.get(),
            configuration: shared.history.status(),
            listeners: shared
                .listeners
                .load()
                .iter()
                .map(|listener| ListenerStatus {
                    name: listener.settings.name.clone(),
                    address: listener.address().to_string(),
                })
                .collect(),
            streams: streams.iter().map(|stream| StreamStatus::of(stream)).collect(),
        }
    }
}

impl StreamStatus {
    /// As its worker has published it.
    pub(crate) fn of(stream: &HubHandle) -> Self {
        let source = stream.source.status();
        let track = |(track, stats): (&Track, TrackStats)| TrackStatus {
            codec: track.formats.first().map(|format| format.encoding.clone()).unwrap_or_default(),
            packets: stats.packets,
            lost: stats.lost,
            jitter_ms: milliseconds(stats.jitter),
        };
        Self {
            endpoint: (!source.endpoint.is_empty()).then_some(source.endpoint),
            standby: source.standby,
            standby_identical: source.identical,
            mirror: source.mirror,
            failovers: source.failovers,
            last_gap_ms: source.last_gap.map(milliseconds),
            name: stream.name.clone(),
            readers: stream.readers(),
            unshared: stream.unshared,
            tracks: stream.description.tracks.iter().zip(stream.observer().tracks()).map(track).collect(),
        }
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
