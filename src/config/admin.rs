//! `admin` and `log`: how the process is watched.

use super::units::Bind;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The HTTP servers of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AdminConfig {
    /// Serves `/status` as JSON, and everything that the other two serve. Keep it on loopback: it asks for no password.
    pub address: Bind,
    /// Serves `/metrics` in OpenMetrics text.
    pub metrics: Bind,
    /// Serves `/ready` and `/live`.
    pub ready: Bind,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        let any = |port| Bind::At(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
        AdminConfig {
            address: Bind::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_000)),
            metrics: any(18_020),
            ready: any(18_021),
        }
    }
}

/// What is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severe level that is logged. `RUST_LOG` overrides it, and can set it by module.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Severity of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may need a hand.
    Warn,
    /// What happens to sessions and streams.
    #[default]
    Info,
    /// What happens to requests.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's word.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
