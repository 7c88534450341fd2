//! `clusters.*.health`: when an endpoint counts as ill.

use super::units::{self, Percent};
use msm_core::cluster::{ActiveOptions, CheckKind, ClusterOptions, OutlierOptions};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When an endpoint counts as ill, and streams leave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HealthConfig {
    /// A stream that plays and whose media has stopped coming for this long leaves its endpoint; 0 never. The only endpoint of a cluster is
    /// given 10 s at least. Streams that are silent by themselves for longer (data tracks, discontinuous audio alone) need more.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub media_timeout: Duration,
    /// Asks each endpoint at intervals whether it is well. Default: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveConfig>,
    /// Leaves out endpoints whose sessions fail, for a while.
    pub outlier: OutlierConfig,
    /// When fewer endpoints than this share are usable, all are used, and streams stay where they are: it is more likely that what is known of
    /// them is wrong than that nearly all are ill, and the few that are left would be next. 0% never.
    pub panic_threshold: Percent,
}

impl Default for HealthConfig {
    fn default() -> HealthConfig {
        HealthConfig {
            media_timeout: Duration::from_secs(2),
            active: None,
            outlier: OutlierConfig::default(),
            panic_threshold: Percent(ClusterOptions::PANIC_THRESHOLD),
        }
    }
}

/// Checks of each endpoint. The first one decides at once; until then the endpoint is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActiveConfig {
    /// What is asked.
    pub check: CheckConfig,
    /// The stream that is asked for by `describe` and `rtp`: a path, with a query if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From one check to the next, give or take a tenth.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub interval: Duration,
    /// How long an answer, or the first media, may take.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub timeout: Duration,
    /// So many failures in a row make an endpoint unhealthy.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub unhealthy_after: u32,
    /// So many successes in a row make it healthy again.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub healthy_after: u32,
}

impl Default for ActiveConfig {
    fn default() -> ActiveConfig {
        let ActiveOptions { interval, timeout, unhealthy_after, healthy_after, .. } =
            ActiveOptions::new(CheckKind::Options);
        ActiveConfig {
            check: CheckConfig::Options,
            path: None,
            interval,
            timeout,
            unhealthy_after,
            healthy_after,
        }
    }
}

impl From<&ActiveConfig> for ActiveOptions {
    fn from(own: &ActiveConfig) -> ActiveOptions {
        let resource = || own.path.as_deref().unwrap_or("/").into();
        ActiveOptions {
            kind: match own.check {
                CheckConfig::Tcp => CheckKind::Tcp,
                CheckConfig::Options => CheckKind::Options,
                CheckConfig::Describe => CheckKind::Describe { resource: resource() },
                CheckConfig::Rtp => CheckKind::Rtp { resource: resource() },
            },
            interval: own.interval,
            timeout: own.timeout,
            unhealthy_after: own.unhealthy_after,
            healthy_after: own.healthy_after,
        }
    }
}

/// What an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CheckConfig {
    /// Whether it takes a TCP connection.
    Tcp,
    /// Whether it answers OPTIONS.
    #[default]
    Options,
    /// Whether it describes the stream at `path`.
    Describe,
    /// Whether media of now comes of the stream at `path`, for 200 ms.
    Rtp,
}

/// When sessions say that an endpoint is ill. A threshold of 0 turns its rule off. What a client asks for that does not exist, and what readers
/// lose, never count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutlierConfig {
    /// What is older is forgotten; at least `1s`.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub window: Duration,
    /// So many sessions in a row that could not be set up: no connection, no answer, an error of the server's. A refusal such as 404 counts where
    /// the same URL has been set up in this cluster within ten minutes.
    pub failures: u32,
    /// This share of sessions that could not be set up.
    pub failure_ratio: Percent,
    /// So many sessions are needed before their share counts.
    pub min_sessions: u32,
    /// So many sessions whose media stopped, of more than one URL or the endpoint's only one.
    pub silences: u32,
    /// So many connections that broke off, of more than one URL or the endpoint's only one.
    pub resets: u32,
    /// This share of packets that did not come from it, and twice that of the cluster's other endpoints.
    pub loss: Percent,
    /// So many packets are needed before their share counts.
    pub min_packets: u64,
    /// So many packets that are no media.
    pub garbage: u64,
    /// How long an endpoint is left out the first time, and how much longer each further time; at least `1s`.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub ejection: Duration,
    /// How long it is left out at most.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub max_ejection: Duration,
    /// How many of the endpoints may be left out at a time: at least one, but never the last one that is usable. 0% turns all of this off.
    pub max_ejected: Percent,
}

impl Default for OutlierConfig {
    fn default() -> OutlierConfig {
        let own = OutlierOptions::default();
        OutlierConfig {
            window: own.window,
            failures: own.failures,
            failure_ratio: Percent(own.failure_ratio),
            min_sessions: own.min_sessions,
            silences: own.silences,
            resets: own.resets,
            loss: Percent(own.loss),
            min_packets: own.min_packets,
            garbage: own.garbage,
            ejection: own.ejection,
            max_ejection: own.max_ejection,
            max_ejected: Percent(own.max_ejected),
        }
    }
}

impl From<&OutlierConfig> for OutlierOptions {
    fn from(own: &OutlierConfig) -> OutlierOptions {
        OutlierOptions {
            window: own.window,
            failures: own.failures,
            failure_ratio: own.failure_ratio.0,
            min_sessions: own.min_sessions,
            silences: own.silences,
            resets: own.resets,
            loss: own.loss.0,
            min_packets: own.min_packets,
            garbage: own.garbage,
            ejection: own.ejection,
            max_ejection: own.max_ejection,
            max_ejected: own.max_ejected.0,
        }
    }
}
