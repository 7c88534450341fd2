//! `msm.example.yaml` stays valid and complete.

use msm::config::{ClusterConfig, Config, LimitsConfig, ListenerConfig, RouteConfig};
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../msm.example.yaml");

#[allow(clippy::panic)] // A helper of tests only.
fn load(yaml: &str) -> Config {
    Config::from_yaml(yaml, "msm.example.yaml", std::iter::empty())
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn it_is_valid() {
    let config = load(EXAMPLE);
    let default = Config::default();
    // What it shows as defaults are the defaults.
    assert_eq!(config.listeners, [ListenerConfig::default()]);
    assert_eq!(config.limits, LimitsConfig::default());
    assert_eq!((config.admin, config.log), (default.admin, default.log));
    assert_eq!((config.drain_delay, config.drain_timeout), (default.drain_delay, default.drain_timeout));
    assert_eq!(config.workers, default.workers);
    let cluster = &config.clusters["encoders"];
    let default_cluster = ClusterConfig { endpoints: cluster.endpoints.clone(), ..ClusterConfig::default() };
    assert_eq!(*cluster, default_cluster);
    let (route, default_route) = (&config.routes[0], RouteConfig::default());
    assert_eq!(route.protection, default_route.protection);
    assert_eq!((&route.publish, route.share), (&default_route.publish, default_route.share));
    assert_eq!((route.coalesce, route.idle_timeout), (default_route.coalesce, default_route.idle_timeout));
    assert_eq!(route.migrate, default_route.migrate);
    assert_eq!(config.routes.last(), default.routes.last());
}

#[test]
fn it_is_valid_with_the_keys_that_are_commented_out() {
    let uncommented: Vec<String> = EXAMPLE
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => line.replacen('#', "", 1),
            _ => line.to_owned(),
        })
        .collect();
    let config = load(&uncommented.join("\n"));
    assert_eq!(config.listeners[0].dscp, Some(34));
    assert!(config.clusters["encoders"].ports.is_some());
}

/// The names of all keys in a schema.
fn keys(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "properties"
                    && let Value::Object(properties) = value
                {
                    found.extend(properties.keys().cloned());
                }
                // A default is a value, not a schema.
                if name != "default" {
                    keys(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn it_mentions_each_key() {
    let schema: Value = serde_json::from_str(&msm::config::schema()).expect("JSON");
    let mut found = Vec::new();
    keys(&schema, &mut found);
    assert!(found.len() > 40, "{found:?}");
    let missing: Vec<&String> = found.iter().filter(|key| !EXAMPLE.contains(&format!("{key}:"))).collect();
    assert!(missing.is_empty(), "not in msm.example.yaml: {missing:?}");
}
