//! What a file lists: `[{targets: ["host:port"], labels: {zone: a, weight: "2"}}]`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use msm_core::cluster::{Endpoint, EndpointSpec};
use serde::Deserialize;

use super::FilesSpec;
use crate::config::load::read_text;
use crate::config::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES};

/// Longest `zone`.
const MAX_ZONE: usize = 63;

/// Some servers that have the same labels.
#[derive(Deserialize)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reads a file as a whole, or not at all.
pub(super) fn read(path: &Path, spec: &FilesSpec) -> Result<Vec<EndpointSpec>, String> {
    parse(&read_text(path, MAX_FILE_BYTES).map_err(|error| error.to_string())?, spec)
}

fn parse(text: &str, spec: &FilesSpec) -> Result<Vec<EndpointSpec>, String> {
    let limits = serde_saphyr::budget! {
        max_nodes: MAX_NODES,
        max_events: MAX_NODES.saturating_mul(2),
        max_depth: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        max_documents: 1,
        // Nobody generates these, and they multiply what is read.
        max_aliases: 0,
        max_anchors: 0,
        max_merge_keys: 0,
        max_total_scalar_bytes: MAX_FILE_BYTES.saturating_mul(2),
    };
    let options = serde_saphyr::options! { budget: limits, with_snippet: false };
    let groups: Vec<Group> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let shown = error.without_snippet().to_string();
        shown.lines().next().unwrap_or_default().to_owned()
    })?;
    let mut specs = Vec::new();
    for group in groups {
        let scheme = group.labels.get("__scheme__").map_or("rtsp", String::as_str);
        let zone = group.labels.get("zone").filter(|zone| !zone.is_empty());
        if zone.is_some_and(|zone| zone.len() > MAX_ZONE) {
            return Err(format!("a `zone` is longer than {MAX_ZONE} bytes"));
        }
        let zone = zone.map(|zone| Arc::from(zone.as_str()));
        let weight = match group.labels.get("weight") {
            None => 1,
            Some(text) => text.parse().map_err(|_| format!("`weight` {text:?} is not a number"))?,
        };
        for target in &group.targets {
            let url = if target.contains("://") { target.clone() } else { format!("{scheme}://{target}") };
            // May hold credentials: it is not repeated.
            let endpoint = Endpoint::parse_with_port(&url, spec.port)
                .map_err(|error| format!("target {}: {error}", specs.len() + 1))?;
            if spec.tls_only && endpoint.scheme != "rtsps" {
                return Err(format!("{endpoint}: would get keys in the clear; write `rtsps://`"));
            }
            specs.push(EndpointSpec { weight, zone: zone.clone(), ..EndpointSpec::new(endpoint) });
        }
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> FilesSpec {
        FilesSpec { patterns: Vec::new(), port: None, tls_only: false }
    }

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let specs = parse(text, &spec())?;
        Ok(specs
            .iter()
            .map(|spec| format!("{} {} {}", spec.endpoint, spec.weight, spec.zone.as_deref().unwrap_or("-")))
            .collect())
    }

    #[test]
    fn json_and_yaml() {
        let json = r#"[{"targets": ["10.0.0.1:8554", "rtsps://h"], "labels": {"zone": "a", "weight": "3", "job": "x"}},
                       {"targets": ["[::1]:554"]}]"#;
        let wanted = ["rtsp://10.0.0.1:8554 3 a", "rtsps://h:322 3 a", "rtsp://[::1]:554 1 -"];
        assert_eq!(shown(json).unwrap(), wanted);
        let yaml = "- targets: [\"10.0.0.1:8554\", \"rtsps://h\"]\n  labels: {zone: a, weight: 3, __meta_x: y}\n\
                    - targets:\n  - '[::1]'\n";
        assert_eq!(shown(yaml).unwrap(), wanted);
        assert_eq!(shown("[]").unwrap(), [""; 0]);
        let tls = "[{targets: ['h:1'], labels: {__scheme__: rtsps}}]";
        assert_eq!(shown(tls).unwrap(), ["rtsps://h:1 1 -"]);
        let mesh = FilesSpec { port: Some(8050), ..spec() };
        assert_eq!(parse("[{targets: [h]}]", &mesh).unwrap()[0].endpoint.port, 8050);
    }

    #[test]
    fn refusals() {
        for (text, why) in [
            ("[{targets: ['u:secret@h:1']}]", "target 1: has credentials"),
            ("[{targets: ['h:1', 'h/live']}]", "target 2: has a path"),
            ("[{targets: ['http://h']}]", "target 1: not an `rtsp"),
            ("[{targets: [h], labels: {weight: many}}]", "`weight` \"many\" is not a number"),
            ("[{targets: [h], labels: {weight: -1}}]", "`weight` \"-1\" is not a number"),
            ("[{labels: {}}]", ""),
            ("{targets: [h]}", ""),
            ("[{targets: [h]}", ""),
            ("- &a {targets: [h]}\n- *a\n", ""),
        ] {
            let error = shown(text).expect_err(text);
            assert!(
                error.starts_with(why) && !error.is_empty() && !error.contains("secret"),
                "{text}: {error}"
            );
        }
        assert!(shown(&format!("[{{targets: [h], labels: {{zone: {}}}}}]", "z".repeat(64))).is_err());
        let many = format!("[{{targets: [{}]}}]", vec!["h"; MAX_NODES].join(","));
        assert!(shown(&many).is_err());
        let secret = FilesSpec { tls_only: true, ..spec() };
        assert!(parse("[{targets: [h]}]", &secret).unwrap_err().contains("in the clear"));
        assert!(parse("[{targets: ['rtsps://h']}]", &secret).is_ok());
    }
}
