//! `msm-proxy check`.

use crate::{EXIT_CONFIG, EXIT_OK};
use msm::config::{ActionConfig, Bind, Config, Fallback, Hop, RouteConfig};
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
            let (rtp, rtcp) = listener.port_pair();
            let text = format!("{}: {} tcp, media on {rtp}/{rtcp} udp", listener.name, listener.address);
            lines.line("listener", &text)?;
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
            let endpoints: Vec<String> = cluster.endpoints.iter().map(ToString::to_string).collect();
            lines.line("cluster", &format!("{name}: {}{hop}", endpoints.join(", ")))?;
        }
        let admin = &config.admin;
        for (what, bind) in [("admin", admin.address), ("metrics", admin.metrics), ("ready", admin.ready)] {
            let text = match bind {
                Bind::Off => "off".to_owned(),
                Bind::At(address) => format!("http://{address}"),
            };
            lines.line(what, &text)?;
        }
        lines.line("workers", &config.workers.to_string())
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
    if target.is_empty() {
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
