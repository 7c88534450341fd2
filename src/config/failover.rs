//! `clusters.*.failover`: how streams outlive the endpoint that they come from.

use super::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of a stream whose endpoint fails: its readers keep their sessions, and another source takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FailoverConfig {
    /// How long readers wait for an endpoint that has the stream, the one that failed included; then they get their BYE. 0 ends
    /// them with their endpoint.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub hold: Duration,
    /// What becomes of readers when an endpoint has the stream in another form, which they cannot take: other tracks or codecs.
    pub on_change: OnChange,
    /// How long a client may take to answer when it is told of the other form by ANNOUNCE.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub announce_timeout: Duration,
    /// Whether a second endpoint is kept ready.
    pub standby: Standby,
    /// Where a stream goes whose server sends its sessions elsewhere: by REDIRECT, where readers stay with the old server until the new one has a
    /// keyframe, or by a redirect (3xx) of DESCRIBE.
    pub on_redirect: OnRedirect,
}

/// Where streams go that their server sends elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnRedirect {
    /// To the endpoint of the cluster that the server names; to the next one if it names something else.
    #[default]
    Endpoints,
    /// To whatever the server names, for servers that are trusted with that: without the credentials of the cluster, which are its endpoints', and
    /// never from TLS to a connection in the clear.
    Follow,
}

/// What is done when an endpoint describes a stream otherwise than its readers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnChange {
    /// The endpoint is passed over; readers end only when there is none with the form that they know.
    #[default]
    Skip,
    /// Readers end at once, so that they ask for the new description.
    End,
    /// Where no endpoint has the form that they know, clients are told of the other one by ANNOUNCE. Those that say yes go over to it in their
    /// session, all others end.
    Announce,
}

/// What is kept ready for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Standby {
    /// Nothing: the next endpoint is set up when it is needed.
    #[default]
    None,
    /// A session that plays, from another endpoint: it costs what the stream costs once more.
    Warm,
}

impl FailoverConfig {
    /// The longest `hold`.
    pub const LONGEST_HOLD: Duration = Duration::from_secs(3600);
    /// The longest `announce_timeout`.
    pub const LONGEST_ANNOUNCE: Duration = Duration::from_secs(60);
}

impl Default for FailoverConfig {
    fn default() -> FailoverConfig {
        FailoverConfig {
            hold: Duration::from_secs(10),
            on_change: OnChange::default(),
            announce_timeout: Duration::from_secs(2),
            standby: Standby::default(),
            on_redirect: OnRedirect::default(),
        }
    }
}
