//! Balancing and health of clusters: what fits together.

use super::{At, Report, name};
use crate::config::{
    ActiveConfig, BalanceConfig, CheckConfig, ClusterConfig, Config, EndpointConfig, MaglevConfig,
    OutlierConfig,
};
use msm_core::cluster::pick::{MAX_TABLE, is_table_size};
use msm_core::cluster::{ActiveOptions, ClusterOptions, Endpoint, EndpointSpec, OutlierOptions};
use std::time::Duration;

/// The shortest interval of checks.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest window and ejection of outliers.
const MIN_WINDOW: Duration = Duration::from_secs(1);

/// This process's own zone.
pub(super) fn own_zone(config: &Config, report: &mut Report<'_>) {
    if let Some(zone) = &config.zone {
        name(zone, &At::key("zone"), report);
    }
}

/// Weights and zones.
pub(super) fn endpoints(given: &[EndpointConfig], at: &At, report: &mut Report<'_>) {
    if !given.is_empty() && given.iter().all(|own| own.weight == 0) {
        report.add(at, "have weight 0 everywhere, so nothing is served; give one a weight");
    }
    for (index, own) in given.iter().enumerate() {
        if let Some(zone) = &own.zone {
            name(zone, &at.item(index).then("zone"), report);
        }
    }
}

/// What one is to the cluster.
pub(super) fn spec(endpoint: Endpoint, given: &EndpointConfig) -> EndpointSpec {
    let zone = given.zone.as_deref().map(Into::into);
    EndpointSpec { weight: given.weight, zone, ..EndpointSpec::new(endpoint) }
}

/// How the cluster behaves.
pub(super) fn options(
    config: &Config,
    cluster: &ClusterConfig,
    at: &At,
    report: &mut Report<'_>,
) -> ClusterOptions {
    balance(cluster, at, report);
    let health = at.then("health");
    if let Some(own) = &cluster.health.active {
        active(own, &health.then("active"), report);
    }
    outlier(&cluster.health.outlier, &health.then("outlier"), report);
    let outlier = OutlierOptions::from(&cluster.health.outlier);
    ClusterOptions {
        balance: cluster.balance.kind(cluster.maglev.unwrap_or_default()),
        zone: config.zone.as_deref().map(Into::into),
        slow_start: cluster.slow_start,
        limits: cluster.limits.into(),
        active: cluster.health.active.as_ref().map(ActiveOptions::from),
        outlier: (outlier.max_ejected > 0).then_some(outlier),
        panic_threshold: cluster.health.panic_threshold.0,
    }
}

fn balance(cluster: &ClusterConfig, at: &At, report: &mut Report<'_>) {
    if let Some(MaglevConfig { table, .. }) = cluster.maglev {
        let at = at.then("maglev");
        if cluster.balance != BalanceConfig::Maglev {
            report.add(&at, "is not used by this `balance`; write `balance: maglev`, or remove it");
        }
        if !is_table_size(table) {
            let message = format!("{table} is no prime from 3 to {MAX_TABLE}; write e.g. 65537");
            report.add(&at.then("table"), message);
        }
    }
    for (key, limit) in [
        ("sessions", cluster.limits.sessions),
        ("sessions_per_endpoint", cluster.limits.sessions_per_endpoint),
    ] {
        if limit == Some(0) {
            let message = "is 0, so nothing would be served; write at least 1, or remove the key";
            report.add(&at.then("limits").then(key), message);
        }
    }
}

fn active(own: &ActiveConfig, at: &At, report: &mut Report<'_>) {
    let of_stream = matches!(own.check, CheckConfig::Describe | CheckConfig::Rtp);
    match &own.path {
        None if of_stream => {
            report.add(
                &at.then("path"),
                "is missing: which stream is to be asked for? Write e.g. `/live/test`",
            );
        }
        Some(_) if !of_stream => {
            report
                .add(&at.then("path"), "is not used by this `check`; write `check: describe`, or remove it");
        }
        Some(path) if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == b'#') => {
            report.add(&at.then("path"), "is not the path of a URL; write e.g. `/live/test`");
        }
        _ => {}
    }
    if own.interval < MIN_INTERVAL {
        report.add(
            &at.then("interval"),
            "is shorter than `100ms`, which would load the servers; write e.g. `2s`",
        );
    }
    if own.timeout.is_zero() {
        report.add(&at.then("timeout"), "is 0, so no check could succeed; write e.g. `1s`");
    }
    for (key, count) in [("unhealthy_after", own.unhealthy_after), ("healthy_after", own.healthy_after)] {
        if count == 0 {
            report.add(&at.then(key), "is 0, and one check is the least that can decide; write at least 1");
        }
    }
}

fn outlier(own: &OutlierConfig, at: &At, report: &mut Report<'_>) {
    for (key, time) in [("window", own.window), ("ejection", own.ejection)] {
        if time < MIN_WINDOW {
            report.add(&at.then(key), "is shorter than `1s`; write e.g. `30s`");
        }
    }
    if own.max_ejection < own.ejection {
        report.add(&at.then("max_ejection"), "is shorter than `ejection`, the first one; write e.g. `5m`");
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
