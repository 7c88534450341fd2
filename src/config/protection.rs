//! `protection` of a route: what is done against loss, under one latency budget.

use super::units::{self, Percent};
use msm_core::route::{self, Protection};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// What is done against loss on the hops behind a route, and towards readers that come by it. One number says how much:
/// `latency`. How it is used is found out from what the path does, unless it is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProtectionConfig {
    /// How much later than without loss a packet may be handed on: the delay that you can afford. At least the round trip, better three
    /// of them; at most `10s`. Without loss nothing waits. `0s` turns protection off.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub latency: Duration,
    /// Everything that may be sent beside the media, as a share of it.
    pub overhead: Percent,
    /// Forward error correction: `auto`, `off`, or always a share such as `20%`.
    pub fec: FecConfig,
    /// Whether lost packets are asked for again.
    pub nack: NackConfig,
    /// Several ways of one stream between two members.
    pub paths: PathsConfig,
}

impl Default for ProtectionConfig {
    fn default() -> ProtectionConfig {
        ProtectionConfig {
            latency: Protection::LATENCY,
            overhead: Percent(Protection::OVERHEAD),
            fec: FecConfig::Auto,
            nack: NackConfig::Auto,
            paths: PathsConfig::default(),
        }
    }
}

/// Forward error correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FecConfig {
    /// As much as is measured to be needed.
    #[default]
    Auto,
    /// None.
    Off,
    /// Always this share of the media.
    Share(Percent),
}

impl FromStr for FecConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<FecConfig, String> {
        match text {
            "auto" => Ok(FecConfig::Auto),
            "off" => Ok(FecConfig::Off),
            share => share.parse().map(FecConfig::Share),
        }
    }
}

impl fmt::Display for FecConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FecConfig::Auto => f.write_str("auto"),
            FecConfig::Off => f.write_str("off"),
            FecConfig::Share(share) => share.fmt(f),
        }
    }
}

/// Whether lost packets are asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NackConfig {
    /// While a round trip fits into the latency. GStreamer's players are not told, as they take packets that come in another rhythm
    /// than before for lost.
    #[default]
    Auto,
    /// The same, and GStreamer's players are told as well.
    On,
    /// Never.
    Off,
}

/// Several ways of one stream between two members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PathsConfig {
    /// Where the ways begin on this machine, the main one first; at most 4: addresses, or interfaces such as `eth0`, which stand for the
    /// address that they have when a member is connected to. Which link what comes from an address takes is for the system's routes to
    /// say (`ip rule add from …`). Default: one way, as the system routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<PathFrom>,
    /// How they are used.
    pub mode: PathModeConfig,
}

/// Where a way begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathFrom {
    /// An address of this machine.
    Address(IpAddr),
    /// A network interface.
    Interface(String),
}

/// An interface's name is shorter (`IFNAMSIZ`).
const INTERFACE_NAME: usize = 16;

impl FromStr for PathFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<PathFrom, String> {
        if let Ok(address) = text.parse() {
            return Ok(PathFrom::Address(address));
        }
        let is_odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'/' | b':');
        let is_name = (1..INTERFACE_NAME).contains(&text.len()) && !text.bytes().any(is_odd);
        // What looks like an address should have been one.
        if is_name && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return Ok(PathFrom::Interface(text.to_owned()));
        }
        Err("neither".to_owned())
    }
}

impl fmt::Display for PathFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathFrom::Address(address) => address.fmt(f),
            PathFrom::Interface(name) => f.write_str(name),
        }
    }
}

impl From<&PathFrom> for route::PathFrom {
    fn from(given: &PathFrom) -> route::PathFrom {
        match given {
            PathFrom::Address(address) => route::PathFrom::Address(*address),
            PathFrom::Interface(name) => route::PathFrom::Interface(name.clone()),
        }
    }
}

/// How several ways are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PathModeConfig {
    /// Everything goes by each of them.
    #[default]
    Duplicate,
    /// The media goes by the first, what protects it by the others.
    Spread,
}

impl From<&ProtectionConfig> for Protection {
    fn from(given: &ProtectionConfig) -> Protection {
        Protection {
            latency: given.latency,
            overhead: given.overhead.0,
            fec: match given.fec {
                FecConfig::Auto => route::Fec::Auto,
                FecConfig::Off => route::Fec::Off,
                FecConfig::Share(Percent(share)) => route::Fec::Share(share),
            },
            nack: given.nack != NackConfig::Off,
            nack_eager: given.nack == NackConfig::On,
            paths: route::Paths {
                from: given.paths.from.iter().map(route::PathFrom::from).collect(),
                mode: match given.paths.mode {
                    PathModeConfig::Duplicate => route::PathMode::Duplicate,
                    PathModeConfig::Spread => route::PathMode::Spread,
                },
            },
        }
    }
}
