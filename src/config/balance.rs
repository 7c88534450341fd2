//! `clusters.*.balance` and what belongs to it: which endpoint an upstream session goes to, and how many there may be.

use msm_core::cluster::{BalanceKind, ClusterLimits, HashOn};
use serde::{Deserialize, Serialize};

/// How an endpoint is picked. Each kind heeds weights, zones, health and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum BalanceConfig {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest sessions.
    LeastStreams,
    /// The one that sends the fewest bits a second.
    LeastBitrate,
    /// Any.
    Random,
    /// The one with fewer sessions of any two: nearly as even as `least_streams`, and proxies that know nothing of each other do not all go to
    /// the same one.
    PowerOfTwo,
    /// The same one for the same URL, or the same client, in all proxies; see `maglev`.
    Maglev,
}

impl BalanceConfig {
    pub(super) fn kind(self, maglev: MaglevConfig) -> BalanceKind {
        match self {
            BalanceConfig::RoundRobin => BalanceKind::RoundRobin,
            BalanceConfig::LeastStreams => BalanceKind::LeastStreams,
            BalanceConfig::LeastBitrate => BalanceKind::LeastBitrate,
            BalanceConfig::Random => BalanceKind::Random,
            BalanceConfig::PowerOfTwo => BalanceKind::PowerOfTwo,
            BalanceConfig::Maglev => BalanceKind::Maglev {
                on: match maglev.on {
                    HashOnConfig::Url => HashOn::Url,
                    HashOnConfig::Client => HashOn::Client,
                },
                table: maglev.table,
            },
        }
    }
}

/// `balance: maglev`: consistent hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MaglevConfig {
    /// What stays together.
    pub on: HashOnConfig,
    /// Entries of the table, a prime: more are finer shares and less that moves when endpoints change. More than a hundred for each endpoint.
    #[cfg_attr(feature = "schema", schemars(range(min = 3, max = 5_000_011)))]
    pub table: u32,
}

impl Default for MaglevConfig {
    fn default() -> MaglevConfig {
        MaglevConfig { on: HashOnConfig::Url, table: 65_537 }
    }
}

/// What is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HashOnConfig {
    /// What is asked for: all sessions of a stream go to the same endpoint.
    #[default]
    Url,
    /// Who asks: all of its sessions go to the same endpoint. Readers who share a stream share its upstream session, which goes where the first
    /// one's did.
    Client,
}

/// How many upstream sessions a cluster may have. Those that there are when a limit is lowered stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterLimitsConfig {
    /// With all endpoints together; more are answered 453. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub sessions: Option<u32>,
    /// With one endpoint; where all have so many, more are answered 503. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub sessions_per_endpoint: Option<u32>,
}

impl From<ClusterLimitsConfig> for ClusterLimits {
    fn from(limits: ClusterLimitsConfig) -> ClusterLimits {
        ClusterLimits { sessions: limits.sessions, sessions_per_endpoint: limits.sessions_per_endpoint }
    }
}
