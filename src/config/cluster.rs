//! `clusters`: where streams come from, or go to.

use super::balance::{BalanceConfig, ClusterLimitsConfig, MaglevConfig};
use super::discovery::DnsConfig;
use super::endpoint::EndpointConfig;
use super::failover::FailoverConfig;
use super::health::HealthConfig;
use super::secret::Secret;
use super::units::{self, PortRange};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A named set of interchangeable endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterConfig {
    /// The servers: `rtsp://host:port`, or `rtsps://host:port` for TLS, without a path; or `{url: URL, weight: 1, zone: NAME}`.
    pub endpoints: Vec<EndpointConfig>,
    /// The servers that a name stands for, asked for again when the answer expires. Instead of `endpoints`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsConfig>,
    /// Files that list the servers in the format of Prometheus' `file_sd`, JSON or YAML, read again when they change; `*` in a file's name
    /// takes all that match. The labels `zone` and `weight` are those of the endpoints. Relative to the configuration file. Instead of
    /// `endpoints`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What is on the other side.
    pub hop: Hop,
    /// What becomes of an endpoint that knows no mesh hop, for `hop: mesh`. Whoever is there must prove to be one of `peers` in
    /// any case, over TLS 1.3.
    pub fallback: Fallback,
    /// Which members may serve, for `hop: mesh`: SPIFFE IDs, or patterns such as `spiffe://studio.example/proxy/*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// The credentials for Digest or Basic, when the servers ask for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthConfig>,
    /// How the certificates of `rtsps` servers are checked. Default: by the system's authorities and the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
    /// Publishes to `rtsps` servers as SRTP, with keys by SDES and MIKEY, and reads nothing else from them. Without it, what
    /// a server describes as SRTP is read as that, and everything else as it is.
    pub srtp: bool,
    /// When the upstream session is opened.
    pub start: Start,
    /// How an endpoint is picked for an upstream session.
    pub balance: BalanceConfig,
    /// How `balance: maglev` hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maglev: Option<MaglevConfig>,
    /// How long an endpoint that joins, or is well again, takes to get its whole weight: a tenth of it at first, all of it after this long. 0
    /// gives it all at once.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub slow_start: Duration,
    /// How many upstream sessions there may be.
    pub limits: ClusterLimitsConfig,
    /// How media comes from the servers.
    pub transport: TransportConfig,
    /// The network interface for media from the servers, such as `eth0`. Default: what the system routes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The DSCP of what is sent to the servers, 0 to 63 (RFC 2474). Default: unmarked.
    #[serde(deserialize_with = "units::dscp", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u8>", range(max = 63)))]
    pub dscp: Option<u8>,
    /// The UDP ports on which media from the servers is received, an even and an odd one for each track, for firewalls.
    /// Default: free ones from 16384 to 32767.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// When an endpoint counts as ill.
    pub health: HealthConfig,
    /// How streams outlive their endpoint.
    pub failover: FailoverConfig,
    /// How long to wait for the servers.
    pub timeouts: TimeoutsConfig,
}

/// What is on the other side of a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Hop {
    /// Unmodified software.
    #[default]
    Plain,
    /// Other members: mutual TLS, SRTP, one UDP port.
    Mesh,
}

/// What becomes of an endpoint that knows no mesh hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Fallback {
    /// It is not used.
    #[default]
    None,
    /// It is spoken to by plain RTSP over TLS, with its media in that connection.
    Rtsps,
}

/// TLS towards servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterTls {
    /// The authorities that the servers' certificates are checked by, in PEM, or a self-signed certificate itself; read
    /// again when the file changes. Relative to the configuration file. Default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub ca: Option<PathBuf>,
    /// The name that the certificates must have. Default: the endpoint's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Takes any certificate: whoever is in between can read and change everything. For tests, and for cameras that
    /// leave no choice.
    pub insecure: bool,
}

/// Credentials towards servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuthConfig {
    /// The user's name.
    pub user: String,
    /// The password. Better in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file with the password; a line end after it is ignored. Relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub password_file: Option<PathBuf>,
    #[serde(skip)]
    pub(super) from_file: Option<Secret>,
}

impl AuthConfig {
    /// The password, from the key or, after [`Config::load`](super::Config::load), from the file.
    pub fn secret(&self) -> Option<&Secret> {
        self.password.as_ref().or(self.from_file.as_ref())
    }
}

/// When an upstream session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Start {
    /// With the first reader.
    #[default]
    OnDemand,
    /// At once, and kept. Only for routes whose URL names one stream.
    Always,
}

/// How media comes from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TransportConfig {
    /// UDP; TCP where the server refuses UDP or no packet arrives.
    #[default]
    Auto,
    /// UDP unicast.
    Udp,
    /// Interleaved in the RTSP connection.
    Tcp,
    /// UDP multicast.
    Multicast,
}

/// How long to wait for a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimeoutsConfig {
    /// For the TCP connection.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub connect: Duration,
    /// For the answer to one request.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub response: Duration,
}

impl Default for TimeoutsConfig {
    fn default() -> TimeoutsConfig {
        TimeoutsConfig { connect: Duration::from_secs(5), response: Duration::from_secs(10) }
    }
}
