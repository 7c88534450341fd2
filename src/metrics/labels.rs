//! The labels, each of a bounded set: words of this module, or names of the configuration.

use prometheus_client::encoding::EncodeLabelSet;

use super::by_cluster::OfCluster;

/// What a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HopKind {
    /// With software that knows nothing of the mesh, or with the application itself.
    Plain,
    /// With another member.
    Mesh,
}

impl HopKind {
    pub(super) const ALL: [HopKind; 2] = [HopKind::Plain, HopKind::Mesh];

    /// As the label `hop` says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            HopKind::Plain => "plain",
            HopKind::Mesh => "mesh",
        }
    }
}

/// Labels of a stream's counters. Routes and clusters come from the configuration, so their number is bounded.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct StreamLabels {
    pub(super) route: String,
    pub(super) cluster: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RecoveredLabels {
    pub(super) route: String,
    pub(super) cluster: String,
    /// `fec` or `nack`.
    pub(super) by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FlowLabels {
    pub(super) route: String,
    pub(super) cluster: String,
    pub(super) hop: &'static str,
    /// `rx` or `tx`.
    pub(super) direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct OpeningLabels {
    pub(super) cluster: String,
    pub(super) hop: &'static str,
}

impl OfCluster for OpeningLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct DiscoveryLabels {
    pub(super) cluster: String,
    /// `dns` or `file`.
    pub(super) source: &'static str,
}

impl OfCluster for DiscoveryLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct CheckLabels {
    pub(super) cluster: String,
    pub(super) result: &'static str,
}

impl OfCluster for CheckLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct EjectionLabels {
    pub(super) cluster: String,
    pub(super) reason: &'static str,
}

impl OfCluster for EjectionLabels {
    fn cluster(&self) -> &str {
        &self.cluster
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct EndpointStateLabels {
    pub(super) cluster: String,
    pub(super) state: &'static str,
}

/// Of clusters whose endpoints are not too many.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct EndpointLabels {
    pub(super) cluster: String,
    pub(super) endpoint: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StatusLabels {
    pub(super) method: &'static str,
    pub(super) status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct SetupLabels {
    pub(super) hop: &'static str,
    /// `read` or `publish`.
    pub(super) action: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct HandshakeLabels {
    pub(super) hop: &'static str,
    /// `accepted` or `dialled`.
    pub(super) direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct DialLabels {
    pub(super) hop: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct WayLabels {
    pub(super) way: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RttLabels {
    /// Whose endpoint it is; empty where the other member dialled.
    pub(super) cluster: String,
    /// `accepted` or `dialled`.
    pub(super) direction: &'static str,
    /// The path, from 1 on.
    pub(super) path: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PathLabels {
    /// From 1 on.
    pub(super) path: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PathStateLabels {
    /// From 1 on.
    pub(super) path: u64,
    /// `up` or `down`.
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ListenerLabels {
    pub(super) listener: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}
