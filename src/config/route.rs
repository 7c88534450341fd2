//! `routes`: which cluster serves a URL.

use super::protection::ProtectionConfig;
use super::publish::PublishConfig;
use super::units;
use msm_core::route::{Action, Route, Share};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One way from a URL to the clusters that serve it. The first route that matches counts.
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
    /// The path upstream, with the names of `match.url`: `/live/{feed}`. A query in it replaces the request's. Default:
    /// the request's own path and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    /// The clusters that requests go to. Without any the route is local: streams that are published to this process
    /// are read from it.
    pub backends: Vec<BackendConfig>,
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
            rewrite: None,
            backends: Vec::new(),
            share: ShareConfig::Auto,
            coalesce: Duration::ZERO,
            idle_timeout: Route::IDLE_TIMEOUT,
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
}

impl Default for MatchConfig {
    fn default() -> MatchConfig {
        MatchConfig {
            url: "/{path...}".to_owned(),
            actions: vec![ActionConfig::Read, ActionConfig::Publish],
            from: Vec::new(),
        }
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
