//! Mesh hops: the legs between members. See *The mesh hop* in ARCHITECTURE.md.
//!
//! A datagram comes to the worker's [`port`], goes to the [`inlet`] that its label names, and on to a hub; what a hub sends
//! to another member goes through an [`outlet`]. Both belong to an [`association`], which [`dial`] or [`accept`] made. Where
//! [`reach`] finds no member, it may [`fallback`] to what `upstream` does.

pub(crate) mod accept;
pub(crate) mod association;
pub(crate) mod connect;
mod copies;
pub(crate) mod counters;
pub(crate) mod dial;
mod doubt;
pub(crate) mod fallback;
pub(crate) mod inlet;
pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod outlet;
pub(crate) mod paths;
pub(crate) mod port;
pub(crate) mod protect;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod reach;
mod report;
pub(crate) mod source;
mod tokens;
pub(crate) mod told;
pub(crate) mod trust;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use msm_auth::identity::source::IdentitySource;

/// What the workers' hops share.
pub(crate) struct HopShared {
    /// The member's UDP port, and how it is opened.
    pub(crate) settings: port::PortSettings,
    /// Where it is, once it is open.
    pub(crate) address: tokio::sync::OnceCell<SocketAddr>,
    /// Tells this process's labels from those of the one before.
    pub(crate) generation: u8,
    /// Who this member is.
    pub(crate) source: Option<Arc<dyn IdentitySource>>,
    pub(crate) associations: accept::AssociationDirectory,
    /// Endpoints of mesh clusters that are no members.
    pub(crate) fallbacks: fallback::Fallbacks,
}
