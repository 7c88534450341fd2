//! What runs now, for people and for the admin port.

use std::time::Duration;

use serde::Serialize;

use crate::shared::Shared;

/// A picture of a mesh at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Worker threads.
    pub workers: usize,
    /// RTSP sessions.
    pub sessions: i64,
    /// RTSP connections.
    pub connections: i64,
    /// Where requests come in.
    pub listeners: Vec<ListenerStatus>,
    /// What is published or pulled.
    pub streams: Vec<StreamStatus>,
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
    pub(crate) fn of(shared: &Shared) -> Self {
        let streams = shared.registry.streams();
        Self {
            workers: shared.worker_count(),
            sessions: shared.metrics.sessions.get(),
            connections: shared.metrics.connections.get(),
            listeners: shared
                .listeners
                .iter()
                .map(|listener| ListenerStatus {
                    name: listener.settings.name.clone(),
                    address: listener.address().to_string(),
                })
                .collect(),
            streams: streams
                .iter()
                .map(|stream| StreamStatus {
                    name: stream.name.clone(),
                    readers: stream.readers(),
                    unshared: stream.unshared,
                    tracks: stream
                        .description
                        .tracks
                        .iter()
                        .zip(stream.observer().tracks())
                        .map(|(track, stats)| TrackStatus {
                            codec: track
                                .formats
                                .first()
                                .map(|format| format.encoding.clone())
                                .unwrap_or_default(),
                            packets: stats.packets,
                            lost: stats.lost,
                            jitter_ms: milliseconds(stats.jitter),
                        })
                        .collect(),
                })
                .collect(),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
