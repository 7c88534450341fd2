//! `msm-proxy check`.

use crate::{EXIT_CONFIG, EXIT_OK};
use msm::config::{
    ActionConfig, Bind, ClusterConfig, Config, Fallback, Hop, ListenerConfig, Protocol, RouteConfig,
};
use std::fmt::{self, Display};
use std::io::Write;
use std::path::Path;

/// Checks a configuration file and the environment; writes `ok` and a summary to `out`, or all problems to `err`. Returns
/// the exit code.
pub fn check(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    match Config::load(Some(path), env) {
        Ok(config) => {
            let _ = write!(out, "ok\n{}", Summary(&config));
            EXIT_OK
        }
        Err(errors) => {
            let count = errors.problems().len();
            let _ = writeln!(err, "{errors}\n{count} {}", if count == 1 { "problem" } else { "problems" });
            EXIT_CONFIG
        }
    }
}

/// What a configuration says, in a few lines.
pub struct Summary<'a>(pub &'a Config);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let mut lines = Lines { f, label: "" };
        for listener in &config.listeners {
            lines.line("listener", &listener_line(listener))?;
        }
        for route in &config.routes {
            lines.line("route", &route_line(route))?;
        }
        for (name, cluster) in &config.clusters {
            let hop = match (cluster.hop, cluster.fallback) {
                (Hop::Plain, _) => "",
                (Hop::Mesh, Fallback::None) => " by mesh hops",
                (Hop::Mesh, Fallback::Rtsps) => {
                    " by mesh hops, or RTSP over TLS where an endpoint knows none"
                }
            };
            lines.line("cluster", &format!("{name}: {}{hop}", endpoints(cluster)))?;
        }
        let admin = &config.admin;
        for (what, bind) in [("admin", admin.address), ("metrics", admin.metrics), ("ready", admin.ready)] {
            let text = match bind {
                Bind::Off => "off".to_owned(),
                Bind::At(address) => format!("http://{address}"),
            };
            lines.line(what, &text)?;
        }
        let real_time = if config.real_time { ", real-time where that is allowed" } else { "" };
        lines.line("workers", &format!("{}{real_time}", config.workers))
    }
}

fn listener_line(listener: &ListenerConfig) -> String {
    let (rtp, rtcp) = listener.port_pair();
    let media = match listener.protocol {
        Protocol::Rtsp => format!("media on {rtp}/{rtcp} udp"),
        Protocol::Rtsps if listener.srtp => format!("TLS, SRTP in it or on {rtp}/{rtcp} udp"),
        Protocol::Rtsps => "TLS, media in it".to_owned(),
        Protocol::Mesh => "TLS, media on the same port, udp".to_owned(),
    };
    format!("{}: {} tcp, {media}", listener.name, listener.address)
}

fn endpoints(cluster: &ClusterConfig) -> String {
    match &cluster.dns {
        Some(dns) => format!("what {} stands for", dns.name),
        None if cluster.files.is_empty() => {
            let all: Vec<String> = cluster.endpoints.iter().map(ToString::to_string).collect();
            all.join(", ")
        }
        None => format!("those of {}", cluster.files.join(", ")),
    }
}

fn route_line(route: &RouteConfig) -> String {
    let actions: Vec<&str> = route
        .r#match
        .actions
        .iter()
        .map(|action| match action {
            ActionConfig::Read => "read",
            ActionConfig::Publish => "publish",
        })
        .collect();
    let mut target: Vec<String> = Vec::new();
    for backend in &route.backends {
        target.push(format!("{} (weight {})", backend.cluster, backend.weight));
    }
    if let Some(redirect) = &route.redirect {
        target.push(format!("{}, by {}", redirect.to, redirect.status));
    } else if target.is_empty() {
        target.push("here".to_owned());
    }
    let rewrite = route.rewrite.as_ref().map(|path| format!(" as {path}")).unwrap_or_default();
    let (name, url) = (&route.name, &route.r#match.url);
    format!("{name}: {} {url} -> {}{rewrite}", actions.join("/"), target.join(", "))
}

/// Lines with a label that is written once for a run of equal ones.
struct Lines<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    label: &'static str,
}

impl Lines<'_, '_> {
    fn line(&mut self, label: &'static str, text: &str) -> fmt::Result {
        let shown = if self.label == label { "" } else { label };
        self.label = label;
        writeln!(self.f, "{shown:<9} {text}")
    }
}
