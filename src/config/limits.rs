//! `limits`: what one peer, and the process, may use.

use super::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bounds on what peers can make the process hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LimitsConfig {
    /// Start line and headers of one RTSP message.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::SizeText"))]
    pub header_bytes: usize,
    /// Body of one RTSP message, such as an SDP.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::SizeText"))]
    pub body_bytes: usize,
    /// TCP connections in all.
    pub connections: u32,
    /// TCP connections from one IP address.
    pub connections_per_peer: u32,
    /// RTSP sessions of one IP address.
    pub sessions_per_peer: u32,
    /// SETUP requests a second from one IP address.
    pub setup_rate: u32,
    /// Logins of one TCP connection that may fail; then it ends.
    pub auth_failures: u32,
    /// Logins from one IP address, of IPv6 one /64, that may fail within `auth_failures_window`. Then no login from there is
    /// looked at until the window is over, except on connections that have logged in.
    pub auth_failures_per_peer: u32,
    /// How long failed logins of an address count, from the first of them on; also the longest that an address is locked out.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub auth_failures_window: Duration,
    /// Readers in all.
    pub readers: u32,
    /// Streams in all.
    pub streams: u32,
    /// How long one RTSP message may take to arrive, and a new connection to send its first.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub request_timeout: Duration,
    /// How long a session lives without a sign of its peer; told to the peer in the Session header.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub session_timeout: Duration,
    /// What may wait to be sent to one reader over TCP; more is dropped and counted.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::SizeText"))]
    pub tcp_queue: usize,
    /// What is kept of one video track since its last keyframe, for readers that join late; a longer group of
    /// pictures is not kept.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::SizeText"))]
    pub gop_cache: usize,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig {
            header_bytes: 16 * 1024,
            body_bytes: 256 * 1024,
            connections: 10_000,
            connections_per_peer: 1_000,
            sessions_per_peer: 1_000,
            setup_rate: 1_000,
            auth_failures: 8,
            auth_failures_per_peer: 20,
            auth_failures_window: Duration::from_secs(60),
            readers: 10_000,
            streams: 1_000,
            request_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(60),
            tcp_queue: 1024 * 1024,
            gop_cache: 8 * 1024 * 1024,
        }
    }
}
