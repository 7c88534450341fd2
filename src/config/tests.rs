use super::*;
use msm_core::route::{self, Action, RequestKey, RouteError};
use proptest::prelude::*;

fn load(yaml: &str) -> Result<Config, ConfigErrors> {
    Config::from_yaml(yaml, "msm.yaml", std::iter::empty())
}

fn load_env(yaml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::from_yaml(yaml, "msm.yaml", env.iter().map(|(name, value)| ((*name).into(), (*value).into())))
}

fn problems(yaml: &str) -> Vec<String> {
    load(yaml).expect_err(yaml).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn an_empty_file_is_the_default() {
    let config = load("").expect("valid");
    assert_eq!(config, Config::default());
    assert_eq!(config.listeners[0].address, "[::]:8554".parse().expect("address"));
    assert_eq!(config.listeners[0].port_pair(), (8000, 8001));
    let routing = config.routing().expect("valid");
    for action in [Action::Read, Action::Publish] {
        let key = RequestKey { host: "h", ..RequestKey::new("/a/b", action) };
        let found = routing.table.route(&key).expect("routed");
        assert!(found.route.is_local());
        assert_eq!(found.path, "/a/b");
    }
    Config::default().validate().expect("valid");
}

#[test]
fn the_design_s_example() {
    let config = load(
        r#"
listeners:
  - {name: apps, address: "0.0.0.0:8554", protocol: rtsp, interface: eth0, dscp: 34, ports: 9000, nat: same_ip,
     multicast: {group_pool: 239.1.0.0/16, ttl: 4, ports: 30000-30099}}
admin: {address: "127.0.0.1:18000", metrics: off}
workers: 2
routes:
  - name: news
    match: {url: "rtsp://*/news/{feed}", actions: [read]}
    rewrite: "/live/{feed}"
    backends:
      - {cluster: encoders, weight: 95}
      - {cluster: encoders-next, weight: 5}
    share: live
    coalesce: 2ms
    idle_timeout: 1m
clusters:
  encoders:
    endpoints: ["rtsp://10.0.0.11:8554", "rtsp://10.0.0.12:8554"]
    hop: plain
    auth: {user: mesh, password_file: /run/secrets/encoders}
    balance: round_robin
    transport: tcp
    ports: 40000-40999
    timeouts: {connect: 2s}
  encoders-next: {endpoints: ["rtsp://[fd00::1]"], start: on_demand}
limits: {header_bytes: 64KiB, setup_rate: 5}
log: {format: json, level: debug}
drain_timeout: 3s
"#,
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.workers, Workers::Count(2));
    assert_eq!(config.admin.metrics, Bind::Off);
    assert_eq!(config.admin.ready, AdminConfig::default().ready);
    assert_eq!(config.listeners[0].dscp, Some(34));
    assert_eq!(config.limits.header_bytes, 65_536);
    assert_eq!(config.limits.body_bytes, LimitsConfig::default().body_bytes);
    let Routing { table, clusters } = config.routing().expect("valid");
    assert_eq!(clusters.len(), 2);
    assert_eq!(clusters[1].endpoints[0].endpoint.to_string(), "rtsp://[fd00::1]:554");
    let mut key = RequestKey { host: "h", ..RequestKey::new("/news/eu", Action::Read) };
    let found = table.route(&key).expect("routed");
    assert_eq!(found.path, "/live/eu");
    assert_eq!(found.route.coalesce, Duration::from_millis(2));
    assert_eq!(found.route.backends[0].weight, 95);
    key.action = Action::Publish;
    assert!(matches!(table.route(&key), Err(RouteError::Action { .. })));
}

#[test]
fn all_problems_at_once_with_their_lines() {
    let yaml = "\
listener: []
listeners:
  - {name: a, address: '0.0.0.0:8554', ports: 8001}
  - {name: a, address: '[::]:8554', dscp: 64, multicast: {group_pool: 10.0.0.0/8, ttl: 0, ports: 5}}
workers: 0
routes:
  - name: x
    match: {url: 'rtsp://*/news/{feed}', actions: [reed]}
    rewrite: /live/{fed}
    backends: [{cluster: encoder}, {cluster: broken}, {wieght: 4}]
  - name: x
    match: {url: '/a/{b}.mp4'}
    rewrite: live
    coalesce: 2
  - {name: 'a b', match: {url: '/s', actions: []}, backends: [{cluster: encoders, weight: 0}]}
clusters:
  encoders:
    endpoints: ['rtsp://u:topsecret@h', 'http://h', 'rtsp://h/path', 'rtsp://h', 'rtsp://h:554']
    hop: mush
    auth: {password: topsecret, password_file: f}
    ports: 1001-1000
  none: {ports: 1001-1002, timeouts: {connect: 0}}
  broken: 5
limits: {tcp_queue: 1, readers: 0, session_timeout: 1s, body_bytes: 1KB, auth_failures_per_peer: 0, auth_failures_window: 0}
log: {level: loud}
";
    let found = problems(yaml);
    let expected = [
        "msm.yaml:1: listener: unknown key; did you mean `listeners`?",
        "msm.yaml:3: listeners[0].ports: RTP takes an even port and RTCP the next; write e.g. `8000` instead of `8001`",
        "msm.yaml:4: listeners[1].dscp: 64 is not possible; write a number from 0 to 63",
        "msm.yaml:4: listeners[1].multicast.group_pool: `10.0.0.0/8`: not multicast; write a range of multicast groups such as \
         `239.255.42.0/24`",
        "msm.yaml:4: listeners[1].multicast.ttl: 0 is not possible; write a number from 1 to 255",
        "msm.yaml:4: listeners[1].address: [::]:8554 collides with 0.0.0.0:8554, which is in use above; choose another port",
        "msm.yaml:4: listeners[1].name: `a` is another listener's name too; give each its own",
        "msm.yaml:4: listeners[1].multicast.ports: begins with the odd port 5; RTP takes an even port",
        "msm.yaml:5: workers: `0`: not possible; write `auto` or a number from 1 to 1024",
        "msm.yaml:8: routes[0].match.actions[0]: `reed` is not known; did you mean `read`? Known: `read`, `publish`",
        "msm.yaml:8: routes[0].match.actions: is empty; write `read`, `publish` or both",
        "msm.yaml:9: routes[0].rewrite: `{fed}` is not in the pattern, which has `{feed}`",
        "msm.yaml:10: routes[0].backends[2].wieght: unknown key; did you mean `weight`?",
        "msm.yaml:10: routes[0].backends[0].cluster: there is no cluster `encoder`; did you mean `encoders`?",
        "msm.yaml:10: routes[0].backends[2].cluster: names no cluster; write the name of one under `clusters`",
        "msm.yaml:11: routes[1].name: `x` is another route's name too; give each its own",
        "msm.yaml:12: routes[1].match.url: `{b}.mp4`: braces enclose a whole segment and a name of letters, digits and `_`",
        "msm.yaml:13: routes[1].rewrite: does not begin with `/`; write the path only, the host comes from the cluster's endpoints",
        "msm.yaml:14: routes[1].coalesce: `2` has no unit; write a duration such as `80ms`, `2s` or `1m`",
        "msm.yaml:15: routes[2].name: is not a name; write 1 to 63 letters, digits, `-`, `_` or `.`",
        "msm.yaml:15: routes[2].match.actions: is empty; write `read`, `publish` or both",
        "msm.yaml:15: routes[2].backends: has weight 0 everywhere, so nothing is served; give one a weight",
        "msm.yaml:18: clusters.encoders.endpoints[0]: has credentials in the URL; put them under the cluster's `auth`",
        "msm.yaml:18: clusters.encoders.endpoints[1]: not an `rtsp://host:port` or `rtsps://host:port` URL",
        "msm.yaml:18: clusters.encoders.endpoints[2]: has a path; an endpoint is `rtsp://host:port`, the path comes from the route's \
         `rewrite`",
        "msm.yaml:18: clusters.encoders.endpoints[4]: rtsp://h:554 stands twice; remove one",
        "msm.yaml:19: clusters.encoders.hop: `mush` is not known; did you mean `mesh`? Known: `plain`, `mesh`",
        "msm.yaml:20: clusters.encoders.auth.user: has no user; write its name",
        "msm.yaml:20: clusters.encoders.auth: has both `password` and `password_file`; remove one",
        "msm.yaml:21: clusters.encoders.ports: `1001-1000`: the last port is below the first; write a range of ports such as \
         `30000-30999`",
        "msm.yaml:22: clusters.none.ports: begins with the odd port 1001; RTP takes an even port",
        "msm.yaml:22: clusters.none.endpoints: names no server; write e.g. [\"rtsp://10.0.0.11:8554\"]",
        "msm.yaml:22: clusters.none.timeouts.connect: is 0, so nothing could succeed; write e.g. `5s`",
        "msm.yaml:23: clusters.broken: is a number; write keys with values",
        "msm.yaml:24: limits.body_bytes: `1KB`: `KB` is not a unit; write a size such as `64KiB` or `2MiB`",
        "msm.yaml:24: limits.tcp_queue: 1 bytes is not possible; write 64KiB to 1GiB",
        "msm.yaml:24: limits.auth_failures_per_peer: is 0, so nothing would be served; write at least 1",
        "msm.yaml:24: limits.readers: is 0, so nothing would be served; write at least 1",
        "msm.yaml:24: limits.auth_failures_window: is 0, so no failed login would count; write e.g. `1m`",
        "msm.yaml:24: limits.session_timeout: is shorter than `5s`, too short for keep-alives; write e.g. `60s`",
        "msm.yaml:25: log.level: `loud` is not known; write one of `error`, `warn`, `info`, `debug`, `trace`",
    ];
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}

#[test]
fn two_listeners_have_two_pairs_of_ports() {
    let with = |second: &str| {
        format!(
            "listeners: [{{name: a, address: '127.0.0.1:8554'}}, {{name: b, {second}}}, {{name: c, address: '127.0.0.2:8554'}}]"
        )
    };
    assert_eq!(
        problems(&with("address: '127.0.0.1:8555'")),
        [
            "msm.yaml:1: listeners[1].ports: 8000-8001 are the ports of listener `a`, too; give each its own pair"
        ]
    );
    let tls = "protocol: rtsps, address: '127.0.0.1:8322', tls: {certificate: c, key: k}";
    for second in ["address: '127.0.0.1:8555', ports: 8002", tls] {
        assert!(load(&with(second)).is_ok(), "{second}");
    }
}

#[test]
fn keys_of_later_versions_are_refused() {
    for (yaml, wanted) in [
        ("routes: [{fault: {abort: 1%}}]", "msm.yaml:1: routes[0].fault: unknown key;"),
        ("clusters: {a: {endpoints: ['rtsp://h'], balance: ring}}", "msm.yaml:1: clusters.a.balance: `ring`"),
    ] {
        let found = problems(yaml);
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{yaml}: {found:?}");
    }
}

#[test]
fn protection_is_one_number_and_what_is_pinned() {
    let yaml = "routes: [{protection: {latency: 80ms, overhead: 30%, fec: 20%, nack: off, \
        paths: {from: [10.0.0.1, 10.0.1.1], mode: spread}}}]";
    let config = Config::from_yaml(yaml, "msm.yaml", std::iter::empty()).unwrap();
    let table = config.routing().unwrap().table;
    let own = &table.routes()[0].protection;
    assert_eq!((own.latency, own.overhead, own.nack), (Duration::from_millis(80), 30, false));
    assert_eq!((own.fec, own.paths.mode), (route::Fec::Share(20), route::PathMode::Spread));
    let yaml = "routes: [{protection: {paths: {from: [wlp2s0.7, 2001:db8::1]}}}]";
    let config = Config::from_yaml(yaml, "msm.yaml", std::iter::empty()).unwrap();
    let named = &config.routing().unwrap().table.routes()[0].protection.paths.from.clone();
    assert_eq!(named[0], route::PathFrom::Interface("wlp2s0.7".into()));
    assert_eq!(named[1], route::PathFrom::Address("2001:db8::1".parse().unwrap()));
    assert!(own.is_on() && route::Protection::default().is_on() && !route::Protection::off().is_on());
    for (yaml, wanted) in [
        ("{latency: 11s}", "msm.yaml:1: routes[0].protection.latency: is longer than `10s`"),
        ("{latency: 999us}", "msm.yaml:1: routes[0].protection.latency: is shorter than `1ms`; write `0s`"),
        (
            "{nack: no}",
            "msm.yaml:1: routes[0].protection.nack: `no` is not known; write one of `auto`, `on`, `off`",
        ),
        (
            "{nack: false}",
            "msm.yaml:1: routes[0].protection.nack: is a truth value; write one of `auto`, `on`, `off`",
        ),
        ("{overhead: 10%, fec: 20%}", "msm.yaml:1: routes[0].protection.fec: `20%` is more than `overhead`"),
        ("{fec: 20}", "msm.yaml:1: routes[0].protection.fec: `20`: has no `%`"),
        ("{overhead: 101%}", "msm.yaml:1: routes[0].protection.overhead: `101%`: not possible"),
        (
            "{paths: {from: [10.0.0.1, 10.0.0.1]}}",
            "msm.yaml:1: routes[0].protection.paths.from[1]: is there twice",
        ),
        (
            "{paths: {from: [eth0, 10.0.0.300]}}",
            "msm.yaml:1: routes[0].protection.paths.from[1]: `10.0.0.300`: neither; write an address of",
        ),
    ] {
        let found = problems(&format!("routes: [{{protection: {yaml}}}]"));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{yaml}: {found:?}");
    }
    // What leaves by an address comes back to it, to the mesh port.
    let on = |address: &str| {
        format!(
            "identity: {{ephemeral: {{trust_domain: a.example, path: /a}}}}\n\
             listeners: [{{name: m, protocol: mesh, address: '{address}'}}]\n\
             routes: [{{protection: {{paths: {{from: [10.0.0.1, 10.0.1.1]}}}}}}]"
        )
    };
    for address in ["0.0.0.0:8050", "[::]:8050"] {
        assert!(Config::from_yaml(&on(address), "msm.yaml", std::iter::empty()).is_ok(), "{address}");
    }
    let found = problems(&on("10.0.0.1:8050"));
    let wanted =
        "msm.yaml:3: routes[0].protection.paths.from: has an address that the mesh listener is not on";
    assert!(found.len() == 1 && found[0].starts_with(wanted), "{found:?}");
}

#[test]
fn variables_override_and_are_named_in_problems() {
    let env = [
        ("MSM__ADMIN__ADDRESS", "127.0.0.1:1"),
        ("MSM__LISTENERS__0__ADDRESS", "[::1]:8555"),
        ("MSM__ROUTES__0__MATCH__ACTIONS", "[read]"),
        ("MSM__CLUSTERS__CAM_1__AUTH__PASSWORD", "12345"),
        ("MSM__WORKERS", "3"),
        ("MSM__ADMIN__READY", "off"),
        ("MSM_SERVICE_HOST", "10.0.0.1"),
    ];
    let yaml =
        "clusters: {cam-1: {endpoints: ['rtsp://h'], auth: {user: u}}}\nadmin: {address: '127.0.0.1:2'}\n";
    let config = load_env(yaml, &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:1");
    assert_eq!(config.admin.ready, Bind::Off);
    assert_eq!(config.listeners[0].address.to_string(), "[::1]:8555");
    assert_eq!(config.routes[0].r#match.actions, [ActionConfig::Read]);
    assert_eq!(config.workers, Workers::Count(3));
    let auth = config.clusters["cam-1"].auth.as_ref().expect("auth");
    assert_eq!(auth.secret().map(Secret::expose), Some("12345"));

    let errors = load_env("", &[("MSM__ADMIN__ADRESS", "x"), ("MSM__WORKERS", "-1"), ("MSM__LOG", "debug")]);
    assert_eq!(
        errors.expect_err("wrong").to_string(),
        "environment: MSM__ADMIN__ADRESS: admin.adress: unknown key; did you mean `address`?\n\
         environment: MSM__LOG: log: is text; write keys with values\n\
         environment: MSM__WORKERS: workers: `-1`: not possible; write `auto` or a number from 1 to 1024"
    );
}

#[test]
fn passwords_are_never_shown() {
    let config =
        load("clusters: {a: {endpoints: ['rtsp://h'], auth: {user: u, password: hunter2}}}").expect("valid");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&config).expect("json").contains("hunter2"));
    let errors = load("clusters: {a: {endpoints: ['rtsp://h'], auth: {user: u, password: 987654}}}")
        .expect_err("number");
    assert!(errors.to_string().contains("put it in quotes"), "{errors}");
    assert!(!errors.to_string().contains("987654"), "{errors}");
}

#[test]
fn start_always_needs_one_stream() {
    let yaml = |url: &str| {
        format!(
            "routes: [{{match: {{url: '{url}'}}, backends: [{{cluster: a}}]}}]\n\
             clusters: {{a: {{endpoints: ['rtsp://h'], start: always}}}}"
        )
    };
    load(&yaml("/cam")).expect("valid");
    let found = problems(&yaml("/cam/{n}"));
    assert!(found[0].starts_with("msm.yaml:1: routes[0].match.url: has placeholders"), "{found:?}");
}

#[test]
fn a_shadowed_route_is_a_problem() {
    let found = problems("routes:\n - {match: {url: /a}}\n - {match: {url: /a, actions: [read]}}");
    assert_eq!(
        found,
        [
            "msm.yaml:3: routes[1].match.url: is never reached: route `route-0` above takes the same URLs; remove one"
        ]
    );
    load("routes:\n - {match: {url: /a, actions: [read]}}\n - {match: {url: /a}}")
        .expect("the second publishes");
    assert_eq!(problems("routes:\n").len(), 1);
}

#[test]
fn files_are_loaded_with_their_passwords() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("msm.yaml");
    std::fs::write(&path, "clusters: {a: {endpoints: ['rtsp://h'], auth: {user: u, password_file: pw}}}")
        .expect("write");
    let errors = Config::load(Some(&path), std::iter::empty()).expect_err("no password file");
    assert!(
        errors.to_string().contains(":1: clusters.a.auth.password_file: pw cannot be read: "),
        "{errors}"
    );
    std::fs::write(dir.path().join("pw"), "s3cret \r\n").expect("write");
    let config = Config::load(Some(&path), std::iter::empty()).expect("valid");
    let auth = config.clusters["a"].auth.as_ref().expect("auth");
    assert_eq!(auth.secret().map(Secret::expose), Some("s3cret "));
    config.validate().expect("still valid");
    let errors = Config::load(Some(&dir.path().join("none.yaml")), std::iter::empty()).expect_err("no file");
    assert!(errors.to_string().contains("none.yaml: cannot be read: "), "{errors}");
    assert_eq!(Config::load(None, std::iter::empty()).expect("valid"), Config::default());
}

#[test]
fn the_default_round_trips_through_its_serialization() {
    let text = serde_json::to_string(&Config::default()).expect("json");
    assert_eq!(load(&text).unwrap_or_else(|errors| panic!("{errors}")), Config::default());
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_describes_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("json");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["drain_timeout"]["default"], "20s");
    fn walk(at: &str, value: &serde_json::Value) {
        if let Some(properties) = value.get("properties").and_then(|p| p.as_object()) {
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{at}.{key} has no description");
            }
        }
        for (key, child) in value.get("$defs").and_then(|d| d.as_object()).into_iter().flatten() {
            walk(key, child);
        }
    }
    walk("", &schema);
}

/// A document that is valid and has most keys: the start of mutations.
const SEED: &str = "\
listeners:
  - {name: apps, address: '0.0.0.0:8554', ports: 9000, multicast: {group_pool: 239.1.0.0/16, ttl: 4}}
routes:
  - name: news
    match: {url: 'rtsp://*/news/{feed}', actions: [read]}
    rewrite: /live/{feed}
    backends: [{cluster: enc, weight: 95}]
    idle_timeout: 1m
clusters:
  enc: &enc
    endpoints: ['rtsp://10.0.0.11:8554']
    auth: {user: mesh, password: x}
  enc2: *enc
limits: {header_bytes: 64KiB}
";

#[test]
fn every_cut_and_every_byte_changed_is_answered() {
    load(SEED).unwrap_or_else(|errors| panic!("{errors}"));
    for at in 0..SEED.len() {
        let _ = load(&SEED[..at]);
        for byte in [b'\n', b'\t', b':', b'{', b']', b'-', b'&', b'*', b'\'', b'0', b'~', 0] {
            let mut bytes = SEED.as_bytes().to_vec();
            bytes[at] = byte;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if let Err(errors) = load(&text) {
                assert!(!errors.problems().is_empty());
                assert!(errors.to_string().lines().count() <= MAX_PROBLEMS + 1);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ \\n:{}\\[\\]a-z0-9&*'\"|>!%#,-]{0,200}", name in "[A-Z_0-9]{0,20}", value in ".{0,40}") {
        let _ = Config::from_yaml(&text, "f", [(format!("MSM__{name}"), value)].into_iter());
    }
}

#[test]
fn identities_and_who_may_do_what_are_checked() {
    for (yaml, wanted) in [
        (
            "clusters: {far: {endpoints: ['rtsp://h'], hop: mesh}}",
            "msm.yaml:1: clusters.far.peers: names nobody, so no member may serve; write e.g. [\"spiffe://your.domain/*\"]",
        ),
        (
            "clusters: {far: {endpoints: ['rtsp://h'], peers: ['spiffe://a.example/x']}}",
            "msm.yaml:1: clusters.far.peers: is for `hop: mesh`; plain servers have no SPIFFE ID",
        ),
        ("routes: [{allow: ['https://a.example/x']}]", "msm.yaml:1: routes[0].allow[0]: "),
        ("routes: [{match: {from: ['spiffe://a.example/x*']}}]", "msm.yaml:1: routes[0].match.from[0]: "),
        (
            "identity: {workload_api: 'unix:///a', ephemeral: {trust_domain: a.example, path: /x}}",
            "msm.yaml:1: identity: has `workload_api` and `ephemeral`; a member has one identity: remove all but one",
        ),
        ("identity: {files: {certificate: a, key: b}}", "msm.yaml:1: identity.files.bundle: names no file"),
        (
            "identity: {ephemeral: {trust_domain: a.example}}",
            "msm.yaml:1: identity.ephemeral.path: is empty;",
        ),
        ("identity: {ephemeral: {trust_domain: A b, path: /x}}", "msm.yaml:1: identity.ephemeral: "),
        (
            "identity: {workload_api: 'unix:///a', initial_wait: 0s}",
            "msm.yaml:1: identity.initial_wait: is 0,",
        ),
        (
            "listeners:\n- {protocol: mesh}\n- {name: two, protocol: mesh, address: '0.0.0.0:8051'}",
            "msm.yaml:3: listeners[1].protocol: is `mesh` a second time, at 0.0.0.0:8051: a member has one",
        ),
    ] {
        let found = problems(yaml);
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{yaml}: {found:?}");
    }
    let good = "identity: {files: {certificate: a, key: b, bundle: c, federated: {other.example: d}}}\n\
                routes: [{allow: ['SPIFFE://A.example/x', 'spiffe://b.example'], match: {from: ['spiffe://a.example/*']}}]\n\
                listeners: [{protocol: mesh}]\n\
                clusters: {far: {endpoints: ['rtsp://h'], hop: mesh, peers: ['spiffe://a.example/far']}}";
    let config = Config::from_yaml(good, "msm.yaml", std::iter::empty()).unwrap();
    let table = config.routing().unwrap().table;
    let allow: Vec<_> = table.routes()[0].allow.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(allow, ["spiffe://a.example/x", "spiffe://b.example/*"]);
}

#[test]
fn members_are_at_their_own_port_unless_it_is_named() {
    let config = load(
        "clusters: {far: {endpoints: ['rtsp://h', 'rtsp://[2001:db8::1]', 'rtsp://h:8051'], hop: mesh, peers: ['spiffe://d/*']}}",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let clusters = config.routing().expect("valid").clusters;
    let shown: Vec<_> = clusters[0].endpoints.iter().map(|own| own.endpoint.to_string()).collect();
    assert_eq!(shown, ["rtsp://h:8050", "rtsp://[2001:db8::1]:8050", "rtsp://h:8051"]);
}

#[test]
fn tls_on_either_side() {
    let config = load(
        "listeners:\n- {protocol: rtsps, tls: {certificate: a.pem, key: a.key}}\n- {name: plain}\n\
         - {name: other, protocol: rtsps, address: '[::]:8555', tls: {certificate: a, key: b, client_ca: c}}\n\
         clusters:\n  a: {endpoints: ['rtsps://h'], tls: {ca: ca.pem, server_name: camera.example}}\n  \
         b: {endpoints: ['rtsps://h:8322'], transport: tcp}\n",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let [rtsps, plain, other] = &config.listeners[..] else { panic!("three listeners") };
    assert_eq!((rtsps.name.as_str(), rtsps.address), ("rtsps", ListenerConfig::TLS_ADDRESS));
    assert_eq!((plain.protocol, plain.address), (Protocol::Rtsp, ListenerConfig::ADDRESS));
    assert_eq!(other.address.port(), 8555);
    let clusters = config.routing().expect("valid").clusters;
    assert_eq!(clusters[0].endpoints[0].endpoint.to_string(), "rtsps://h:322");
}

#[test]
fn a_fallback_is_for_mesh_hops() {
    let cluster = |more: &str| {
        format!("clusters: {{far: {{endpoints: ['rtsp://h'], hop: mesh, peers: ['spiffe://d/*']{more}}}}}")
    };
    let read = |more: &str| {
        load(&cluster(more)).unwrap_or_else(|errors| panic!("{errors}")).clusters["far"].fallback
    };
    assert_eq!(read(""), Fallback::None);
    assert_eq!(read(", fallback: none"), Fallback::None);
    assert_eq!(read(", fallback: rtsps, auth: {user: a, password: b}, transport: tcp"), Fallback::Rtsps);
    for (yaml, expected) in [
        (
            "clusters: {far: {endpoints: ['rtsps://h'], fallback: rtsps}}".to_owned(),
            "clusters.far.fallback: is what a mesh hop falls back to, and there is none; write `hop: mesh` next to it, or \
             `rtsps://` in the endpoints instead of it",
        ),
        (
            cluster(", fallback: rtsp"),
            "clusters.far.fallback: `rtsp` is not known; did you mean `rtsps`? Known: `none`, `rtsps`",
        ),
        (
            cluster(", fallback: rtsps, transport: udp"),
            "clusters.far.transport: would send media of a fallback in the clear, which goes in its connection; write `auto` \
             or `tcp`",
        ),
        (
            cluster(", tls: {insecure: true}"),
            "clusters.far.tls: is not used by `hop: mesh`, where `peers` says who may serve; remove it",
        ),
    ] {
        assert_eq!(problems(&yaml), [format!("msm.yaml:1: {expected}")]);
    }
}

#[test]
fn keys_are_told_over_tls_alone() {
    load(
        "listeners: [{protocol: rtsps, srtp: true, tls: {certificate: a.pem, key: a.key}}]\n\
         clusters: {a: {endpoints: ['rtsps://h'], srtp: true, transport: udp}}\n",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let found = problems(
        "listeners:\n- {name: a, srtp: true}\n- {name: b, protocol: mesh, srtp: true}\n\
         clusters:\n  a: {endpoints: ['rtsps://h', 'rtsp://h'], srtp: true}\n  \
         b: {endpoints: ['rtsps://h'], hop: mesh, peers: ['spiffe://d/*'], srtp: true}\n",
    );
    for expected in [
        "listeners[0].srtp: would send its keys in the clear; write `protocol: rtsps`, or remove it",
        "listeners[1].srtp: is not used by `protocol: mesh`, whose media is SRTP always; remove it",
        "clusters.a.srtp: would send its keys in the clear; write `rtsps://` in every endpoint",
        "clusters.b.srtp: is not used by `hop: mesh`, whose media is SRTP always; remove it",
    ] {
        assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn tls_that_does_not_fit_together() {
    let found = problems(
        "listeners:\n- {name: a, protocol: rtsps, tls: {certificate: a.pem}}\n- {name: b, protocol: rtsps, address: '[::]:1'}\n\
         - {name: c, tls: {certificate: a, key: b}}\n\
         clusters:\n  a: {endpoints: ['rtsp://h'], tls: {ca: f}}\n  \
         b: {endpoints: ['rtsps://h'], transport: udp, tls: {ca: f, insecure: true, server_name: 'a b'}}\n",
    );
    let expected = [
        "msm.yaml:2: listeners[0].tls.key: names no file; write the name of one in PEM",
        "msm.yaml:3: listeners[1].tls: is missing; rtsps takes a certificate: write `{certificate: FILE, key: FILE}`",
        "msm.yaml:4: listeners[2].tls: is not used by `protocol: rtsp`; write `protocol: rtsps`, or remove it",
        "msm.yaml:6: clusters.a.tls: is not used, as no endpoint is `rtsps://…`; change one, or remove the key",
        "msm.yaml:7: clusters.b.transport: would send media of an `rtsps` endpoint in the clear; write `tcp`, or \
         `srtp: true` next to it, or `rtsp://` in the endpoint",
        "msm.yaml:7: clusters.b.tls.insecure: takes any certificate, so `ca` has no effect; remove one of them",
        "msm.yaml:7: clusters.b.tls.server_name: is no name that a certificate can have; write a host's name",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_s_own_files_are_beside_it_and_tried() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("msm.yaml");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect(name);
    write(
        "msm.yaml",
        "listeners:\n- {protocol: rtsps, users: users,\n   tls: {certificate: a.pem, key: a.key}}\n\
         clusters:\n  a: {endpoints: ['rtsps://h'], tls: {ca: ca.pem}}\n",
    );
    write("users", "alice:site:wrong\n");
    write("ca.pem", "");
    let errors = Config::load(Some(&file), std::iter::empty()).expect_err("wrong files").to_string();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(
        lines[0].contains(&format!(":2: listeners[0].users: {} line 1: the secret", at("users"))),
        "{errors}"
    );
    let certificate = format!(":3: listeners[0].tls.certificate: {} cannot be read: ", at("a.pem"));
    assert!(lines[1].contains(&certificate), "{errors}");
    assert!(
        lines[2].contains(&format!(":5: clusters.a.tls.ca: {} has no certificate", at("ca.pem"))),
        "{errors}"
    );

    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["h".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    write("a.pem", &certificate);
    write("ca.pem", &certificate);
    write("a.key", &key.serialize_pem());
    write("users", "alice:site:939e7578ed9e3c518a452acee763bce9\n");
    let config = Config::load(Some(&file), std::iter::empty()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.listeners[0].users, Some(dir.path().join("users")));
    assert_eq!(
        config.clusters["a"].tls.as_ref().and_then(|tls| tls.ca.clone()),
        Some(dir.path().join("ca.pem"))
    );
}

#[test]
fn failover_keys_are_checked() {
    let with = |failover: &str| {
        format!(
            "routes: [{{name: r, backends: [{{cluster: c}}]}}]\nclusters: {{c: {{endpoints: [\"rtsp://a\"], failover: {{{failover}}}}}}}\n"
        )
    };
    let config = load(&with("hold: 3s, on_change: end, standby: warm")).expect("valid");
    let given = &config.clusters["c"].failover;
    assert_eq!(
        (given.hold, given.on_change, given.standby),
        (Duration::from_secs(3), OnChange::End, Standby::Warm)
    );
    assert_eq!(given.on_redirect, OnRedirect::Endpoints, "no server has others asked by default");
    let follows = load(&with("on_redirect: follow")).expect("valid");
    assert_eq!(follows.clusters["c"].failover.on_redirect, OnRedirect::Follow);
    assert_eq!(load(&with("")).expect("valid").clusters["c"].failover.hold, Duration::from_secs(10));
    let announces = load(&with("on_change: announce, announce_timeout: 500ms")).expect("valid");
    let given = &announces.clusters["c"].failover;
    assert_eq!((given.on_change, given.announce_timeout), (OnChange::Announce, Duration::from_millis(500)));
    assert_eq!(
        problems(&with("hold: 0s, on_change: announce, announce_timeout: 2m")),
        [
            "msm.yaml:2: clusters.c.failover.announce_timeout: is no time in which a client could answer, or more than a minute, in which readers would see nothing; write e.g. `2s`",
            "msm.yaml:2: clusters.c.failover.on_change: is of no use with `hold: 0s`, which ends readers with their endpoint; remove one of the two"
        ]
    );
    assert_eq!(problems(&with("announce_timeout: 0s")).len(), 1);
    assert_eq!(
        problems(&with("hold: 2h")),
        [
            "msm.yaml:2: clusters.c.failover.hold: is more than an hour, in which readers would see nothing; write e.g. `10s`"
        ]
    );
    assert_eq!(
        problems(&with("hold: 0s, standby: warm")),
        [
            "msm.yaml:2: clusters.c.failover.standby: is of no use with `hold: 0s`, which ends readers with their endpoint; remove one of the two"
        ]
    );
}

#[test]
fn what_routes_ask_for_is_checked() {
    let yaml = "\
listeners: [{name: apps, address: '127.0.0.1:0'}]
routes:
  - {name: a, match: {url: '/a', listeners: [app], headers: {'User Agent': '*', X: 'a*b'}, percentage: 0%}}
  - {name: b, match: {url: '/b/{x}'}, redirect: {to: 'rtsp://u:p@h/{x}', status: 303}, backends: [{cluster: c}]}
  - {name: d, match: {url: '/d/{x}'}, redirect: {to: 'rtsp://h/{y}', leave_within: 2h}, limits: {sessions: 0}}
  - {name: e, match: {url: 'rtsp://own.example/e'}, redirect: {to: 'rtsps://own.example/e'}}
  - {name: f, match: {url: '/f'}, redirect: {}}
  - {name: g, match: {url: '/g'}, timeouts: {set_up: 1s}}
  - {name: h, match: {url: '/h'}, backends: [{cluster: c}], timeouts: {connect: 0s, set_up: 5}}
clusters: {c: {endpoints: ['rtsp://10.0.0.1']}}
";
    assert_eq!(
        problems(yaml),
        [
            "msm.yaml:3: routes[0].match.listeners[0]: there is no listener `app`; did you mean `apps`?",
            "msm.yaml:3: routes[0].match.headers.User Agent: `User Agent` is not the name of a header; write e.g. `User-Agent`",
            "msm.yaml:3: routes[0].match.headers.X: has a `*` in the middle; `*` may stand at the beginning and at the end: \
             `VLC*`, `*VLC*`",
            "msm.yaml:3: routes[0].match.percentage: is 0%, so nothing comes to the route; remove the route, or write more",
            "msm.yaml:4: routes[1].redirect: stands next to `backends`, and a client is either sent away or served; remove one",
            "msm.yaml:4: routes[1].redirect.to: has a user or password, which every client would be told; remove it",
            "msm.yaml:5: routes[2].limits.sessions: is 0, so nothing would be served; write at least 1",
            "msm.yaml:5: routes[2].redirect: stands next to `limits`, and who is sent away has no session; remove one",
            "msm.yaml:5: routes[2].redirect.leave_within: is longer than an hour; write e.g. `10s`",
            "msm.yaml:5: routes[2].redirect.to: `{y}` is not in the pattern, which has `{x}`",
            "msm.yaml:6: routes[3].redirect.to: sends clients to rtsps://own.example/e, which is this route's again; \
             `match.listeners` tells those who came by one listener from others",
            "msm.yaml:7: routes[4].redirect.to: says nothing; write e.g. `rtsp://other.example/{name}`",
            "msm.yaml:8: routes[5].timeouts.set_up: is for routes with `backends`: nothing is waited for here; remove it",
            "msm.yaml:9: routes[6].timeouts.set_up: `5` has no unit; write a duration such as `80ms`, `2s` or `1m`",
            "msm.yaml:9: routes[6].timeouts.connect: is 0, so nothing could succeed; write e.g. `5s`",
        ]
    );
}

#[test]
fn a_route_that_nothing_comes_to_is_refused_and_one_with_conditions_first_is_not() {
    let yaml = "\
routes:
  - {name: vlc, match: {url: '/a/{x}', headers: {User-Agent: 'VLC*'}}}
  - {name: half, match: {url: '/a/{y}', percentage: 50%}}
  - {name: all, match: {url: '/a/{z}'}}
  - {name: late, match: {url: '/a/{w}/', actions: [read]}}
  - {name: broad, match: {url: '/{p...}'}}
  - {name: exact, match: {url: '/b'}}
";
    assert_eq!(
        problems(yaml),
        [
            "msm.yaml:5: routes[3].match.url: is never reached: route `all` above takes the same URLs; remove one"
        ]
    );
}

#[test]
fn what_starts_by_itself_asks_for_nothing() {
    let yaml = "\
routes: [{name: a, match: {url: '/a', percentage: 5%}, backends: [{cluster: c}]}]
clusters: {c: {endpoints: ['rtsp://10.0.0.1'], start: always}}
";
    let found = problems(yaml);
    assert!(found[0].contains("has `start: always`, which nobody asks for"), "{found:?}");
}

#[test]
fn times_of_members_connections_are_the_cluster_s() {
    let yaml = "\
identity: {ephemeral: {trust_domain: a.example, path: /me}}
routes: [{name: a, match: {url: '/a'}, backends: [{cluster: c}], timeouts: {response: 1s, set_up: 2s}}]
clusters: {c: {endpoints: ['rtsp://10.0.0.1'], hop: mesh, peers: ['spiffe://a.example/b']}}
";
    assert_eq!(
        problems(yaml),
        [
            "msm.yaml:2: routes[0].timeouts.response: is of connections to members, which routes share; write `timeouts: \
          {response: …}` in the cluster instead"
        ]
    );
}

#[test]
fn a_canary_is_a_backend_with_somewhere_to_go_back_to() {
    let of = |route: &str| {
        format!(
            "routes: [{{name: r, match: {{url: /a}}, {route}}}]\nclusters: {{a: {{endpoints: ['rtsp://10.0.0.1']}}, b: \
             {{endpoints: ['rtsp://10.0.0.2']}}}}\n"
        )
    };
    let two = "backends: [{cluster: a, weight: 95}, {cluster: b, weight: 5}]";
    let config = load(&of(&format!("{two}, canary: {{max_setup_failures: 10%}}"))).expect("valid");
    let rule = config.routing().expect("valid").table.routes()[0].canary.clone().expect("a canary");
    assert_eq!((rule.cluster.as_str(), rule.max_setup_failures, rule.window.as_secs()), ("b", 10, 60));
    let found = problems(&of(&format!("{two}, canary: {{cluster: c, window: 5ms}}")));
    assert!(found[0].ends_with("`c` is no backend with a weight; write one of a, b"), "{found:?}");
    assert!(found[1].contains("canary.window: is shorter than `1s`"), "{found:?}");
    let found = problems(&of("backends: [{cluster: a}, {cluster: b, weight: 0}], canary: {}"));
    assert!(found[0].contains("needs two backends with a weight"), "{found:?}");
}

#[test]
fn the_examples_of_the_documentation_are_valid() {
    let text = include_str!("../../docs/traffic.md");
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(examples.len() >= 4);
    for example in &examples {
        load(example).unwrap_or_else(|errors| panic!("{errors}\n{example}"));
    }
    let config = load(examples[0]).expect("valid");
    let serves = |path: &str, agent: &str| {
        let headers = vec![("User-Agent".to_owned(), agent.to_owned())];
        let (listener, headers) = (Some("outside".to_owned()), headers);
        let question = Question { listener, headers, ..Question::read(format!("rtsp://h{path}")) };
        let found = config.explain(&question).expect("explained");
        found.routes.into_iter().find(|own| own.decides).map(|own| own.route)
    };
    assert_eq!(serves("/news/eu", "LibVLC/3").as_deref(), Some("eu"));
    assert_eq!(serves("/news/uk", "LibVLC/3").as_deref(), Some("vlc"));
    assert_eq!(serves("/other", "LibVLC/3").as_deref(), Some("rest"));
}
