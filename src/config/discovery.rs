//! `clusters.*.dns` and `clusters.*.files`: where endpoints come from, other than from the configuration.

use super::units;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The servers that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DnsConfig {
    /// The name that is asked for: a host's, such as `encoders.studio.internal`; or, for `kind: srv`, a service's, such as
    /// `_rtsp._tcp.studio.internal`.
    pub name: String,
    /// Which records are asked for.
    pub kind: DnsKind,
    /// How the servers are spoken to. By `rtsps` their certificates must have the name that is asked for, without the labels that begin with
    /// `_`, unless `tls.server_name` says otherwise (RFC 9525).
    pub scheme: DnsScheme,
    /// The servers' port. Default: the scheme's, or 8050 for `hop: mesh`. With `kind: srv` the records have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub port: Option<u16>,
    /// How often the name is asked for, at least `1s`. 0: when the answer has expired, by its TTL; after 1 s at the earliest, after 5 min at
    /// the latest.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub interval: Duration,
    /// The name servers: addresses, with a port if that is not 53. Default: the system's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
}

/// Which records are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DnsKind {
    /// A and AAAA: each address is an endpoint.
    #[default]
    Address,
    /// SRV, and the addresses of its targets, by their weights; those of a higher priority number get nothing new while any of a lower one
    /// can be had (RFC 2782).
    Srv,
}

/// How servers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DnsScheme {
    /// In the clear, or by the mesh's own TLS with `hop: mesh`.
    #[default]
    Rtsp,
    /// Over TLS.
    Rtsps,
}

impl DnsScheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DnsScheme::Rtsp => "rtsp",
            DnsScheme::Rtsps => "rtsps",
        }
    }
}

impl DnsConfig {
    /// The name that the servers' certificates have, unless the configuration has another.
    pub(crate) fn server_name(&self) -> String {
        let labels = self.name.trim_end_matches('.').split('.');
        labels.skip_while(|label| label.starts_with('_')).collect::<Vec<_>>().join(".")
    }

    /// A name server as it is written.
    pub(crate) fn server(text: &str) -> Option<SocketAddr> {
        let address =
            text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53)))?;
        (address.port() != 0).then_some(address)
    }
}
