//! The configuration: a YAML file, overridden by the environment, checked as a whole.
//!
//! Every key has a default; an empty file is one RTSP listener on `[::]:8554` and one local route: whatever is
//! published can be read. A variable `MSM__` and the path of a key overrides it (`MSM__ADMIN__ADDRESS`,
//! `MSM__LISTENERS__0__ADDRESS`; a list or map is written in YAML: `[read, publish]`).
//!
//! [`Config::from_yaml`] reports **all** problems at once, each with its line or variable, its key, and what to do.
//!
//! ```
//! use msm::config::Config;
//!
//! let errors = Config::from_yaml("workers: many\nroute: []\n", "msm.yaml", std::iter::empty()).unwrap_err();
//! assert_eq!(errors.to_string(), "\
//! msm.yaml:1: workers: `many`: not possible; write `auto` or a number from 1 to 1024
//! msm.yaml:2: route: unknown key; did you mean `routes`?");
//! ```

mod admin;
mod balance;
mod check;
mod cluster;
mod de;
mod discovery;
mod endpoint;
mod env;
mod explain;
mod failover;
mod health;
mod identity;
mod limits;
mod listener;
pub(crate) mod load;
mod nearest;
mod problem;
mod protection;
mod publish;
mod route;
#[cfg(feature = "schema")]
mod schema;
mod secret;
mod tree;
mod units;
mod upgrade;

pub use admin::{AdminConfig, LogConfig, LogFormat, LogLevel};
pub use balance::{BalanceConfig, ClusterLimitsConfig, HashOnConfig, MaglevConfig};
pub use check::Routing;
pub use cluster::{
    AuthConfig, ClusterConfig, ClusterTls, Fallback, Hop, Start, TimeoutsConfig, TransportConfig,
};
pub use discovery::{DnsConfig, DnsKind, DnsScheme};
pub use endpoint::EndpointConfig;
pub use env::{ENV_PREFIX, environment};
pub use explain::{BackendChoice, EndpointChoice, Explanation, MirrorChoice, Question, RouteVerdict};
pub use failover::{FailoverConfig, OnChange, OnRedirect, Standby};
pub use health::{ActiveConfig, CheckConfig, HealthConfig, OutlierConfig};
pub use identity::{EphemeralConfig, IdentityConfig, IdentityFiles};
pub use limits::LimitsConfig;
pub use listener::{ListenerConfig, ListenerTls, MulticastConfig, Nat, Protocol};
pub use load::{MAX_CLUSTERS, MAX_LISTENERS, MAX_ROUTES};
pub use problem::{ConfigErrors, MAX_PROBLEMS, Origin, Problem};
pub use protection::{FecConfig, NackConfig, PathFrom, PathModeConfig, PathsConfig, ProtectionConfig};
pub use publish::PublishConfig;
pub use route::{
    ActionConfig, BackendConfig, CanaryConfig, MatchConfig, MirrorConfig, RedirectConfig, RouteConfig,
    RouteLimitsConfig, RouteTimeoutsConfig, ShareConfig,
};
#[cfg(feature = "schema")]
pub use schema::schema;
pub use secret::Secret;
pub use tree::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, MAX_SCALAR_BYTES};
pub use units::{Bind, GroupPool, Percent, PortRange, Workers};
pub use upgrade::UpgradeConfig;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration of a member of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(title = "Media Streaming Mesh configuration"))]
pub struct Config {
    /// Who this member is towards others. Needed for mesh listeners and mesh hops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityConfig>,
    /// Where readers and publishers connect. Default: RTSP on `[::]:8554`.
    pub listeners: Vec<ListenerConfig>,
    /// The HTTP servers for metrics, health and status.
    pub admin: AdminConfig,
    /// The threads that run media: `auto` is one for each core.
    pub workers: Workers,
    /// Has these threads go before all others of the machine that are not real-time, so that packets wait for nobody's turn. Takes the
    /// capability `CAP_SYS_NICE`, or a limit of real-time priorities (`RLIMIT_RTPRIO`, systemd's `LimitRTPRIO`) of 1 at least; where it is not
    /// allowed, a warning says so. Under full load they leave others a twentieth of each core that they are on.
    pub real_time: bool,
    /// From URLs to clusters. Of the routes that match, the one with the most exact URL counts, then the order of the file. Default: one
    /// local route for every URL.
    pub routes: Vec<RouteConfig>,
    /// Sets of servers, by name.
    pub clusters: BTreeMap<String, ClusterConfig>,
    /// The failure domain that this process is in, such as a datacentre: endpoints of the same zone are preferred as long as they can bear it.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What one peer, and the process, may use.
    pub limits: LimitsConfig,
    /// What is logged.
    pub log: LogConfig,
    /// How long new sessions are still let in after a request to stop, when `/ready` says no already: as long as those who send
    /// clients here take to notice, such as Kubernetes' endpoints.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "schema::DurationText"))]
    pub drain_delay: Duration,
    /// How long sessions may take to end after that; then they are ended. Together with `drain_delay` shorter than what whoever
    /// stops the process waits, such as Kubernetes' `terminationGracePeriodSeconds` of 30 s. Sessions of a listener that is removed
    /// from the configuration have as long.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "schema::DurationText"))]
    pub drain_timeout: Duration,
    /// Lets another process take over in the place of this one, with its sockets, while the sessions of this one end by themselves.
    /// Default: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeConfig>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            identity: None,
            listeners: vec![ListenerConfig::default()],
            admin: AdminConfig::default(),
            workers: Workers::Auto,
            real_time: false,
            routes: vec![RouteConfig { name: "local".to_owned(), ..RouteConfig::default() }],
            clusters: BTreeMap::new(),
            zone: None,
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(20),
            upgrade: None,
        }
    }
}

#[cfg(test)]
mod tests;
