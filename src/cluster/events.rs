//! What clusters tell people of their endpoints.

use msm_core::cluster::ClusterEvent;

use crate::metrics::Clusters;

/// Logs an event, and counts it.
pub(super) fn tell(cluster: &str, event: &ClusterEvent, metrics: Option<&Clusters>) {
    match event {
        ClusterEvent::Removed { endpoint, .. } => {
            tracing::info!(cluster, %endpoint, "endpoint removed: its sessions leave it");
        }
        ClusterEvent::Unhealthy { endpoint, why, .. } => {
            tracing::warn!(cluster, %endpoint, %why, "endpoint unhealthy: its sessions leave it");
        }
        ClusterEvent::Healthy { endpoint, .. } => tracing::info!(cluster, %endpoint, "endpoint healthy"),
        ClusterEvent::Ejected { endpoint, why, .. } => {
            tracing::warn!(cluster, %endpoint, %why, "endpoint ejected for a while: its sessions leave it");
            if let Some(metrics) = metrics {
                metrics.count_ejection(cluster, *why);
            }
        }
        ClusterEvent::Returned { endpoint, .. } => {
            tracing::info!(cluster, %endpoint, "endpoint is used again");
        }
        ClusterEvent::Panic { usable, of } => tracing::warn!(
            cluster,
            usable,
            of,
            "too few endpoints are usable: all of them are used until there are more"
        ),
        ClusterEvent::Calm => tracing::info!(cluster, "enough endpoints are usable again"),
        other => tracing::info!(cluster, event = ?other, "endpoints have changed"),
    }
}
