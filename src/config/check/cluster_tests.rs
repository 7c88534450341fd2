//! What is written is what a cluster does, and what cannot be is told.

use crate::config::Config;
use msm_core::cluster::{
    ActiveOptions, BalanceKind, CheckKind, ClusterLimits, ClusterOptions, ClusterSpec, HashOn, OutlierOptions,
};
use std::time::Duration;

fn load(yaml: &str) -> Result<Config, Vec<String>> {
    Config::from_yaml(yaml, "msm.yaml", std::iter::empty())
        .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
}

fn cluster(keys: &str) -> ClusterSpec {
    let yaml = format!("zone: x\nclusters: {{a: {{endpoints: ['rtsp://h', 'rtsp://i']{keys}}}}}");
    load(&yaml).unwrap_or_else(|errors| panic!("{errors:?}")).routing().expect("valid").clusters.remove(0)
}

/// The problems of a cluster with these keys, without file and line.
fn problems(keys: &str) -> Vec<String> {
    let yaml = format!("clusters: {{a: {{{keys}}}}}");
    let lines = load(&yaml).expect_err(keys);
    lines
        .iter()
        .map(|line| line.split_once(": clusters.a.").map_or(line.as_str(), |(_, own)| own).to_owned())
        .collect()
}

#[test]
fn by_default_sessions_speak_and_nobody_is_asked() {
    let wanted = ClusterOptions {
        zone: Some("x".into()),
        outlier: Some(OutlierOptions::default()),
        ..ClusterOptions::default()
    };
    assert_eq!(cluster("").options, wanted);
}

#[test]
fn all_keys() {
    let own = cluster(
        ", balance: maglev, maglev: {on: client, table: 1009}, slow_start: 30s, limits: {sessions: 100, sessions_per_endpoint: 10}, \
         health: {panic_threshold: 50%, active: {check: describe, path: /live/test?a=b, interval: 3s, timeout: 500ms, unhealthy_after: 4, \
         healthy_after: 5}, outlier: {window: 10s, failures: 2, failure_ratio: 3%, min_sessions: 4, silences: 5, resets: 6, loss: 7%, \
         min_packets: 8, garbage: 9, ejection: 11s, max_ejection: 12s, max_ejected: 13%}}",
    );
    let wanted = ClusterOptions {
        balance: BalanceKind::Maglev { on: HashOn::Client, table: 1009 },
        zone: Some("x".into()),
        slow_start: Duration::from_secs(30),
        limits: ClusterLimits { sessions: Some(100), sessions_per_endpoint: Some(10) },
        active: Some(ActiveOptions {
            kind: CheckKind::Describe { resource: "/live/test?a=b".into() },
            interval: Duration::from_secs(3),
            timeout: Duration::from_millis(500),
            unhealthy_after: 4,
            healthy_after: 5,
        }),
        outlier: Some(OutlierOptions {
            window: Duration::from_secs(10),
            failures: 2,
            failure_ratio: 3,
            min_sessions: 4,
            silences: 5,
            resets: 6,
            loss: 7,
            min_packets: 8,
            garbage: 9,
            ejection: Duration::from_secs(11),
            max_ejection: Duration::from_secs(12),
            max_ejected: 13,
        }),
        panic_threshold: 50,
    };
    assert_eq!(own.options, wanted);
    assert_eq!(cluster(", health: {outlier: {max_ejected: 0%}}").options.outlier, None);
    for (name, kind) in [
        ("round_robin", BalanceKind::RoundRobin),
        ("least_streams", BalanceKind::LeastStreams),
        ("least_bitrate", BalanceKind::LeastBitrate),
        ("random", BalanceKind::Random),
        ("power_of_two", BalanceKind::PowerOfTwo),
        ("maglev", BalanceKind::Maglev { on: HashOn::Url, table: 65_537 }),
    ] {
        assert_eq!(cluster(&format!(", balance: {name}")).options.balance, kind);
        assert_eq!(kind.name(), name);
    }
    for (check, kind) in
        [("tcp", CheckKind::Tcp), ("rtp, path: /a", CheckKind::Rtp { resource: "/a".into() })]
    {
        let own = cluster(&format!(", health: {{active: {{check: {check}}}}}")).options.active;
        assert_eq!(own, Some(ActiveOptions::new(kind)));
    }
}

#[test]
fn endpoints_are_urls_or_have_keys() {
    let yaml = "clusters: {a: {endpoints: ['rtsp://h', {url: 'rtsp://i:1', weight: 3, zone: y}, {url: 'rtsp://j', weight: 0}]}}";
    let config = load(yaml).expect("valid");
    let own = config.routing().expect("valid").clusters.remove(0);
    let shown: Vec<_> = own
        .endpoints
        .iter()
        .map(|own| format!("{} {} {:?}", own.endpoint, own.weight, own.zone.as_deref()))
        .collect();
    assert_eq!(shown, ["rtsp://h:554 1 None", "rtsp://i:1 3 Some(\"y\")", "rtsp://j:554 0 None"]);
    let written = serde_json::to_string(&config.clusters["a"].endpoints).expect("JSON");
    assert_eq!(
        written,
        r#"["rtsp://h",{"url":"rtsp://i:1","weight":3,"zone":"y"},{"url":"rtsp://j","weight":0}]"#
    );
}

#[test]
fn the_zone_of_this_process_may_come_from_its_environment() {
    let env = [("MSM__ZONE".to_owned(), "berlin-2".to_owned())];
    let config = Config::from_yaml("", "msm.yaml", env.into_iter()).expect("valid");
    assert_eq!(config.zone.as_deref(), Some("berlin-2"));
    let found = load("zone: 'a b'").expect_err("a space");
    assert!(found[0].starts_with("msm.yaml:1: zone: is not a name; write 1 to 63"), "{found:?}");
}

#[test]
fn what_cannot_be_is_told() {
    const ONE: &str = "endpoints: ['rtsp://h']";
    for (keys, wanted) in [
        ("maglev: {on: url}", "maglev: is not used by this `balance`; write `balance: maglev`, or remove it"),
        (
            "balance: maglev, maglev: {table: 65536}",
            "maglev.table: 65536 is no prime from 3 to 5000011; write e.g. 65537",
        ),
        ("balance: maglev, maglev: {on: host}", "maglev.on: `host` is not known; did you mean"),
        ("balance: least_stream", "balance: `least_stream` is not known; did you mean `least_streams`?"),
        ("limits: {sessions: 0}", "limits.sessions: is 0, so nothing would be served; write at least 1"),
        ("limits: {sessions_per_endpoint: 0}", "limits.sessions_per_endpoint: is 0, so nothing"),
        (
            "health: {active: {check: describe}}",
            "health.active.path: is missing: which stream is to be asked for?",
        ),
        (
            "health: {active: {path: /a}}",
            "health.active.path: is not used by this `check`; write `check: describe`",
        ),
        (
            "health: {active: {check: rtp, path: a}}",
            "health.active.path: is not the path of a URL; write e.g.",
        ),
        (
            "health: {active: {check: rtp, path: '/a b'}}",
            "health.active.path: is not the path of a URL; write e.g.",
        ),
        ("health: {active: {interval: 99ms}}", "health.active.interval: is shorter than `100ms`"),
        ("health: {active: {timeout: 0}}", "health.active.timeout: is 0, so no check could succeed"),
        ("health: {active: {unhealthy_after: 0}}", "health.active.unhealthy_after: is 0, and one check"),
        ("health: {active: {healthy_after: 0}}", "health.active.healthy_after: is 0, and one check"),
        (
            "health: {outlier: {window: 999ms}}",
            "health.outlier.window: is shorter than `1s`; write e.g. `30s`",
        ),
        ("health: {outlier: {ejection: 0s}}", "health.outlier.ejection: is shorter than `1s`"),
        ("health: {outlier: {max_ejection: 29s}}", "health.outlier.max_ejection: is shorter than `ejection`"),
        (
            "health: {outlier: {loss: 5}}",
            "health.outlier.loss: `5`: has no `%`; write a share from `0%` to `100%`",
        ),
        ("health: {panic_threshold: 101%}", "health.panic_threshold: `101%`: not possible"),
    ] {
        let found = problems(&format!("{ONE}, {keys}"));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{keys}: {found:?}");
    }
    for (keys, wanted) in [
        (
            "endpoints: [{url: 'rtsp://h', weight: 0}]",
            "endpoints: have weight 0 everywhere, so nothing is served",
        ),
        ("endpoints: [{url: 'rtsp://h', zone: ''}]", "endpoints[0].zone: is not a name"),
        (
            "endpoints: [{url: 'rtsp://h', wieght: 2}]",
            "endpoints[0].wieght: unknown key; did you mean `weight`?",
        ),
        ("endpoints: [{weight: 2}]", "endpoints[0]: not an `rtsp://host:port` or `rtsps://host:port` URL"),
        ("endpoints: [7]", "endpoints[0]: is a number; write a URL such as"),
    ] {
        let found = problems(keys);
        assert!(found[0].starts_with(wanted), "{keys}: {found:?}");
    }
}
