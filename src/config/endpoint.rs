//! `clusters.*.endpoints`: where servers are.

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// One server: its URL alone, or with a weight and a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// `rtsp://host:port`, or `rtsps://host:port` for TLS, without a path.
    pub url: String,
    /// Its share, relative to the others'; 0 gets nothing new.
    pub weight: u32,
    /// The failure domain that it is in.
    pub zone: Option<String>,
}

impl From<&str> for EndpointConfig {
    fn from(url: &str) -> EndpointConfig {
        EndpointConfig { url: url.to_owned(), weight: 1, zone: None }
    }
}

impl From<String> for EndpointConfig {
    fn from(url: String) -> EndpointConfig {
        EndpointConfig { url, weight: 1, zone: None }
    }
}

impl fmt::Display for EndpointConfig {
    /// The URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// An endpoint with all of its keys.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Whole {
    /// `rtsp://host:port`, or `rtsps://host:port` for TLS, without a path.
    url: String,
    /// Its share, relative to the others'; 0 gets nothing new.
    weight: u32,
    /// The failure domain that it is in, such as a datacentre. Proxies whose `zone` it is prefer it.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

impl Default for Whole {
    fn default() -> Whole {
        Whole { url: String::new(), weight: 1, zone: None }
    }
}

struct UrlOrKeys;

impl<'de> Visitor<'de> for UrlOrKeys {
    type Value = EndpointConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL such as `rtsp://10.0.0.11:8554`, or `{url: URL, weight: 1, zone: NAME}`")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<EndpointConfig, E> {
        Ok(url.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndpointConfig, A::Error> {
        let Whole { url, weight, zone } = Whole::deserialize(MapAccessDeserializer::new(map))?;
        Ok(EndpointConfig { url, weight, zone })
    }
}

impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<EndpointConfig, D::Error> {
        from.deserialize_any(UrlOrKeys)
    }
}

impl Serialize for EndpointConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.weight == 1 && self.zone.is_none() {
            return to.serialize_str(&self.url);
        }
        let EndpointConfig { url, weight, zone } = self.clone();
        Whole { url, weight, zone }.serialize(to)
    }
}
