//! `upgrade`: another process in the place of this one.

use super::units;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// How processes find each other, of which one takes over from the other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpgradeConfig {
    /// The Unix socket at which a process that starts asks for the one that runs. Its directory is to be there, and only the user that
    /// the processes run as is to write to it.
    pub socket: PathBuf,
    /// How long sessions may take to end after another process has taken over. Default: `drain_timeout`. Longer is good for streams that
    /// live for hours: nobody waits for this process.
    #[serde(with = "units::some_duration", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::DurationText>"))]
    pub drain_timeout: Option<Duration>,
}
