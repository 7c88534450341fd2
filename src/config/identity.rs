//! `identity`: who this member is towards others.

use super::units;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where the member's X.509-SVID comes from: one of `workload_api`, `files` and `ephemeral`. Without any, the Workload API
/// that `SPIFFE_ENDPOINT_SOCKET` names, if a mesh listener or cluster needs one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IdentityConfig {
    /// The SPIFFE Workload API of an agent such as SPIRE's: `unix:///run/spire/sockets/agent.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_api: Option<String>,
    /// PEM files, which are read again when they change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<IdentityFiles>,
    /// An authority inside this process, for demonstrations and tests: nobody outside can check what it issues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralConfig>,
    /// How long the first identity is waited for at start.
    #[serde(with = "units::duration")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::DurationText"))]
    pub initial_wait: Duration,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { workload_api: None, files: None, ephemeral: None, initial_wait: Duration::from_secs(30) }
    }
}

/// An identity from PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IdentityFiles {
    /// The X.509-SVID and its intermediates.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub certificate: PathBuf,
    /// Its key.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: PathBuf,
    /// The authorities of the own trust domain.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub bundle: PathBuf,
    /// The authorities of other trust domains, by their names.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub federated: BTreeMap<String, PathBuf>,
}

/// An identity that the process gives itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EphemeralConfig {
    /// The trust domain: `demo.local`.
    pub trust_domain: String,
    /// The path: `/proxy/a`.
    pub path: String,
}
