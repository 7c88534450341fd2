//! `routes`: which cluster serves a URL.

use super::protection::ProtectionConfig;
use super::publish::PublishConfig;
use super::units::{self, Percent};
use msm_core::route::{Action, Route, RouteLimits, RouteTimeouts, Share};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One way from a URL to the clusters that serve it. Of the routes that match, the one with the most exact URL counts, then the order of
/// the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteConfig {
    /// The name in logs and metrics; unique. Default: `route-` and its index, from 0.
    pub name: String,
    /// Which requests are meant.
    pub r#match: MatchConfig,
    /// Who is served, of those that `match` means: SPIFFE IDs, or patterns such as `spiffe://studio.example/ns/edit/*`.
    /// Anyone else gets 403, never a later route. Default: plain clients all, other members none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Sends clients to another URL, instead of serving them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RedirectConfig>,
    /// The path upstream, with the names of `match.url`: `/live/{feed}`. A query in it replaces the request's. Default:
    /// the request's own path and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    /// The clusters that requests go to. Without any the route is local: streams that are published to this process
    /// are read from it.
    pub backends: Vec<BackendConfig>,
    /// Has one of the backends lose its weight to the others when its sessions cannot be set up, or lose packets: for streams that begin then, until the
    /// route's `backends` or `canary` change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryConfig>,
    /// Copies streams to another cluster, whose answers and failures nobody notices: what is read from a backend is read from it too and
    /// thrown away, what is published goes to it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorConfig>,
    /// Whether readers of one stream share one upstream session.
    pub share: ShareConfig,
    /// How long a packet may wait for others, so that more leave in one system call; at most `100ms`. 0 never waits.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub coalesce: Duration,
    /// How long the upstream session is kept after the last reader has left.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub idle_timeout: Duration,
    /// Whether readers go over to the stream of another backend when a changed file, or a canary that is rolled back, sends them there: at its next keyframe, without a new
    /// session. Without it they stay where they are, and only who comes then goes there. Readers of recordings and of multicast stay.
    pub migrate: bool,
    /// How long upstreams may take. Default: as the cluster says.
    pub timeouts: RouteTimeoutsConfig,
    /// What the route may use. Default: what the process may.
    pub limits: RouteLimitsConfig,
    /// What is done against loss: between members always, with others as far as they offer it.
    pub protection: ProtectionConfig,
    /// What becomes of readers when a publisher goes, and of a second publisher.
    pub publish: PublishConfig,
}

impl Default for RouteConfig {
    fn default() -> RouteConfig {
        RouteConfig {
            name: String::new(),
            r#match: MatchConfig::default(),
            allow: None,
            redirect: None,
            rewrite: None,
            backends: Vec::new(),
            canary: None,
            mirror: None,
            share: ShareConfig::Auto,
            coalesce: Duration::ZERO,
            idle_timeout: Route::IDLE_TIMEOUT,
            migrate: false,
            timeouts: RouteTimeoutsConfig::default(),
            limits: RouteLimitsConfig::default(),
            protection: ProtectionConfig::default(),
            publish: PublishConfig::default(),
        }
    }
}

/// Which requests a route is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MatchConfig {
    /// The URLs: `rtsp://*/news/{feed}`, or a path alone for any host. `{name}` is one segment, `{name...}` the rest, `*`
    /// in the host any label.
    pub url: String,
    /// What peers want to do.
    pub actions: Vec<ActionConfig>,
    /// Who asks: SPIFFE IDs, or patterns of them. Others are matched against the next route. Default: anybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// The names of the listeners that the request may come in by. Default: any, and requests of the application itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    /// Headers that DESCRIBE, ANNOUNCE and SETUP have, all of them, by name: the value, `VLC*` for a beginning, `*VLC*` for a part,
    /// `*` for any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How much of it: of all pairs of client and URL, each of which stays on its side. A client is a member's SPIFFE ID, else an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentage: Option<Percent>,
}

impl Default for MatchConfig {
    fn default() -> MatchConfig {
        MatchConfig {
            url: "/{path...}".to_owned(),
            actions: vec![ActionConfig::Read, ActionConfig::Publish],
            from: Vec::new(),
            listeners: Vec::new(),
            headers: BTreeMap::new(),
            percentage: None,
        }
    }
}

/// A backend on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CanaryConfig {
    /// Which of the backends. Default: the one with the least weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// How many of its sessions may fail to be set up, when those of the others do not fail as often.
    pub max_setup_failures: Percent,
    /// How many packets may be lost on the way from its endpoints, when those of the others do not lose as many. What readers lose does not
    /// count.
    pub max_loss: Percent,
    /// What is older does not count.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub window: Duration,
}

impl Default for CanaryConfig {
    fn default() -> CanaryConfig {
        CanaryConfig {
            cluster: None,
            max_setup_failures: Percent(2),
            max_loss: Percent(1),
            window: Duration::from_secs(60),
        }
    }
}

/// A cluster that gets copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MirrorConfig {
    /// Its name; none of the route's backends.
    pub cluster: String,
    /// How many of the route's streams: of all pairs of client and URL, each of which stays on its side.
    pub percentage: Percent,
}

impl Default for MirrorConfig {
    fn default() -> MirrorConfig {
        MirrorConfig { cluster: String::new(), percentage: Percent(100) }
    }
}

impl RouteConfig {
    /// The cluster that is on trial, if there is one.
    pub(super) fn canary_cluster(&self) -> Option<&str> {
        let canary = self.canary.as_ref()?;
        let weighted = self.backends.iter().filter(|own| own.weight > 0);
        let least = || weighted.min_by_key(|own| own.weight).map(|own| own.cluster.as_str());
        canary.cluster.as_deref().or_else(least)
    }
}

/// Where a route sends its clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RedirectConfig {
    /// The URL, with the names of `match.url` in its path: `rtsp://other.example/{feed}`. Without a path: the one that would be asked for
    /// upstream.
    pub to: String,
    /// 301: it has moved for good; 302: for now.
    pub status: u16,
    /// How long sessions that are up when this comes are given to leave by themselves. Their clients are asked to, by REDIRECT, and get their
    /// media until they do; then they end. At most `1h`; 0 ends them at once.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub leave_within: Duration,
}

impl RedirectConfig {
    /// The longest `leave_within`.
    pub const LONGEST_LEAVE: Duration = Duration::from_secs(3600);
}

impl Default for RedirectConfig {
    fn default() -> RedirectConfig {
        RedirectConfig { to: String::new(), status: 302, leave_within: Route::LEAVE_WITHIN }
    }
}

/// How long the upstreams of a route may take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteTimeoutsConfig {
    /// For the TCP connection, instead of the cluster's `timeouts.connect`.
    #[serde(with = "units::some_duration", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::DurationText>"))]
    pub connect: Option<Duration>,
    /// For the answer to one request, instead of the cluster's `timeouts.response`.
    #[serde(with = "units::some_duration", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::DurationText>"))]
    pub response: Option<Duration>,
    /// For everything until an endpoint has described the stream, or records it, however many are tried; then the client gets 504.
    #[serde(with = "units::some_duration", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::DurationText>"))]
    pub set_up: Option<Duration>,
}

impl From<&RouteTimeoutsConfig> for RouteTimeouts {
    fn from(own: &RouteTimeoutsConfig) -> RouteTimeouts {
        RouteTimeouts { connect: own.connect, response: own.response, set_up: own.set_up }
    }
}

/// What a route may use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteLimitsConfig {
    /// Sessions of clients, readers and publishers, at a time; the next one is answered 453.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Those of them that read, all streams together; the next one is answered 453.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<u32>,
}

impl From<&RouteLimitsConfig> for RouteLimits {
    fn from(own: &RouteLimitsConfig) -> RouteLimits {
        RouteLimits { sessions: own.sessions, readers: own.readers }
    }
}

/// What a peer wants to do with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ActionConfig {
    /// Receive it (DESCRIBE … PLAY).
    Read,
    /// Send it (ANNOUNCE … RECORD).
    Publish,
}

impl From<ActionConfig> for Action {
    fn from(action: ActionConfig) -> Action {
        match action {
            ActionConfig::Read => Action::Read,
            ActionConfig::Publish => Action::Publish,
        }
    }
}

/// A cluster and its share of a route's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BackendConfig {
    /// The name of a cluster.
    pub cluster: String,
    /// Its share, relative to the sum of the route's weights; 0 sends nothing.
    pub weight: u32,
}

impl Default for BackendConfig {
    fn default() -> BackendConfig {
        BackendConfig { cluster: String::new(), weight: 1 }
    }
}

/// Whether readers of one stream share one upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ShareConfig {
    /// Live streams do; streams with a finite range (VOD: seek, scale, pause) do not.
    #[default]
    Auto,
    /// They do: the stream is taken as live.
    Live,
    /// They do not.
    Never,
}

impl From<ShareConfig> for Share {
    fn from(share: ShareConfig) -> Share {
        match share {
            ShareConfig::Auto => Share::Auto,
            ShareConfig::Live => Share::Live,
            ShareConfig::Never => Share::Never,
        }
    }
}
