//! Where a cluster's endpoints come from: one place, and one that can be asked.

use super::{At, ClusterConfig, Hop, ListenerConfig, Report};
use crate::config::{DnsConfig, DnsKind};
use msm_core::cluster::Endpoint;
use std::time::Duration;

/// Shortest time between two questions.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest name (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// Name servers that are asked.
const MAX_SERVERS: usize = 8;

/// Checks them. What is returned stands for endpoints that are not known yet, in the checks of what fits together.
pub(super) fn check(cluster: &ClusterConfig, at: &At, report: &mut Report<'_>) -> Vec<Endpoint> {
    let given = [
        ("endpoints", !cluster.endpoints.is_empty()),
        ("dns", cluster.dns.is_some()),
        ("files", !cluster.files.is_empty()),
    ];
    let given: Vec<_> = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
    match given.as_slice() {
        [] => report.add(&at.then("endpoints"), "names no server; write e.g. [\"rtsp://10.0.0.11:8554\"]"),
        [_] => {}
        [first, second, ..] => {
            let message =
                format!("stands next to `{first}`; endpoints come from one place: remove one of them");
            report.add(&at.then(second), message);
        }
    }
    for (index, pattern) in cluster.files.iter().enumerate() {
        let at = at.then("files").item(index);
        let pattern = std::path::Path::new(pattern);
        let folders = pattern.parent().is_some_and(|folder| folder.to_string_lossy().contains('*'));
        if pattern.file_name().is_none() {
            report.add(&at, "names no file; write e.g. `targets/*.yaml`");
        } else if folders {
            report.add(&at, "has `*` in the name of a folder; write it in the file's name only");
        }
    }
    cluster.dns.as_ref().map(|dns| check_dns(dns, cluster.hop, &at.then("dns"), report)).into_iter().collect()
}

fn check_dns(dns: &DnsConfig, hop: Hop, at: &At, report: &mut Report<'_>) -> Endpoint {
    if cfg!(not(feature = "dns")) {
        report.add(at, "is not in this build; build it with the feature `dns`");
    }
    if !is_name(&dns.name) {
        report.add(
            &at.then("name"),
            "is no name that DNS can be asked for; write e.g. `encoders.studio.internal`",
        );
    } else if dns.name.parse::<std::net::IpAddr>().is_ok() {
        report.add(&at.then("name"), "is an address; write it in `endpoints`");
    } else if dns.kind == DnsKind::Srv && dns.server_name().is_empty() {
        report.add(&at.then("name"), "is no service's name; write e.g. `_rtsp._tcp.studio.internal`");
    }
    match (dns.port, dns.kind) {
        (Some(_), DnsKind::Srv) => {
            report.add(&at.then("port"), "is not used by `kind: srv`, whose records have it; remove it");
        }
        (Some(0), DnsKind::Address) => report.add(&at.then("port"), "is 0; write 1 to 65535"),
        _ => {}
    }
    if !dns.interval.is_zero() && dns.interval < SHORTEST {
        report.add(&at.then("interval"), "is shorter than `1s`; write at least that, or 0 for the TTL");
    }
    for (index, server) in dns.servers.iter().enumerate() {
        if DnsConfig::server(server).is_none() {
            report.add(
                &at.then("servers").item(index),
                "is no address of a name server; write e.g. `10.0.0.2`, or `10.0.0.2:5353`",
            );
        }
    }
    if dns.servers.len() > MAX_SERVERS {
        report.add(&at.then("servers"), format!("are more than {MAX_SERVERS}; remove some"));
    }
    let default = if hop == Hop::Mesh { ListenerConfig::MESH_ADDRESS.port() } else { 554 };
    Endpoint {
        scheme: dns.scheme.name().to_owned(),
        host: dns.name.clone(),
        port: dns.port.unwrap_or(default),
    }
}

fn is_name(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    labels.len() <= MAX_NAME && labels.split('.').all(is_label)
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
