//! `routes.*.publish`: publishers that come back, and publishers that stand by.

use super::units;
use msm_core::route::Publish;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of readers when a publisher goes, and of a second publisher of the same stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PublishConfig {
    /// Two publishers of one stream come by two routes with the same `rewrite` and different priorities: the higher one is read, the other
    /// stands by, and takes over when the first has gone. A second one of the same priority is refused.
    pub priority: u32,
    /// How long readers wait for a publisher whose connection was lost; they keep their sessions. At most `1h`; 0 ends the stream at once.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub resume: Duration,
    /// The same for a publisher that has ended its session by itself (TEARDOWN), as encoders do that are restarted.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub resume_after_teardown: Duration,
}

impl Default for PublishConfig {
    fn default() -> Self {
        let Publish { priority, resume, resume_after_teardown } = Publish::default();
        PublishConfig { priority, resume, resume_after_teardown }
    }
}

impl From<&PublishConfig> for Publish {
    fn from(config: &PublishConfig) -> Publish {
        let PublishConfig { priority, resume, resume_after_teardown } = *config;
        Publish { priority, resume, resume_after_teardown }
    }
}
