//! What a route does against loss.

use std::time::Duration;

use super::super::Config;
use super::super::listener::Protocol;
use super::super::protection::{FecConfig, PathsConfig, ProtectionConfig};
use super::{At, Report};
use msm_core::route::Protection;

/// Longest `protection.latency`.
const MAX_LATENCY: Duration = Duration::from_secs(10);

/// Shortest `protection.latency` that is not none: members tell each other whole milliseconds.
const MIN_LATENCY: Duration = Duration::from_millis(1);

/// What leaves by several addresses comes back to them: the member's port must be on each.
fn check_paths(config: &Config, given: &PathsConfig, at: &At, report: &mut Report<'_>) {
    let mesh = config.listeners.iter().find(|listener| listener.protocol == Protocol::Mesh);
    let Some(mesh) = mesh.filter(|mesh| !mesh.address.ip().is_unspecified()) else { return };
    if given.from.iter().any(|from| *from != mesh.address.ip()) {
        let message = format!(
            "has an address that the mesh listener is not on: it is on {} alone; write `[::]` there",
            mesh.address.ip()
        );
        report.add(at, message);
    }
}

/// Checks what a route does against loss.
pub(super) fn check(config: &Config, given: &ProtectionConfig, at: &At, report: &mut Report<'_>) {
    check_paths(config, &given.paths, &at.then("paths").then("from"), report);
    if given.latency > MAX_LATENCY {
        report.add(&at.then("latency"), "is longer than `10s`, more than is kept to be sent again");
    }
    if !given.latency.is_zero() && given.latency < MIN_LATENCY {
        report.add(&at.then("latency"), "is shorter than `1ms`; write `0s` for no protection");
    }
    if let FecConfig::Share(share) = given.fec
        && share > given.overhead
    {
        let message = format!("`{share}` is more than `overhead` allows: {}; raise it", given.overhead);
        report.add(&at.then("fec"), message);
    }
    let from = &given.paths.from;
    if from.len() > Protection::MAX_PATHS {
        report.add(&at.then("paths").then("from"), "has more than 4 addresses");
    }
    for (index, address) in from.iter().enumerate() {
        if from.iter().take(index).any(|earlier| earlier == address) {
            report
                .add(&at.then("paths").then("from").item(index), "is there twice; a path is another address");
        }
    }
}
