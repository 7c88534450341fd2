//! `clusters.*.health`: when an endpoint counts as ill.

use super::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When an endpoint counts as ill, and streams leave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HealthConfig {
    /// A stream that plays and whose media has stopped coming for this long leaves its endpoint; 0 never. Streams that are silent by themselves
    /// for longer (data tracks, discontinuous audio alone) need more.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub media_timeout: Duration,
}

impl Default for HealthConfig {
    fn default() -> HealthConfig {
        HealthConfig { media_timeout: Duration::from_secs(2) }
    }
}
