//! Where endpoints may come from.

use crate::config::{Config, DnsKind, DnsScheme};

fn load(cluster: &str) -> Result<Config, Vec<String>> {
    let yaml = format!(
        "routes: [{{name: a, match: {{url: '/{{path...}}'}}, backends: [{{cluster: c}}]}}]\nclusters: {{c: {cluster}}}\n"
    );
    Config::from_yaml(&yaml, "msm.yaml", std::iter::empty())
        .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
}

#[test]
fn endpoints_come_from_one_place() {
    for (cluster, wanted) in [
        ("{}", "clusters.c.endpoints: names no server"),
        ("{endpoints: ['rtsp://h'], dns: {name: h.test}}", "clusters.c.dns: stands next to `endpoints`"),
        ("{endpoints: ['rtsp://h'], files: [a.json]}", "clusters.c.files: stands next to `endpoints`"),
        ("{dns: {name: h.test}, files: [a.json]}", "clusters.c.files: stands next to `dns`"),
        ("{files: ['']}", "clusters.c.files[0]: names no file"),
        ("{files: ['*/a.json']}", "clusters.c.files[0]: has `*` in the name of a folder"),
        ("{files: [a.json], hop: mesh}", "clusters.c.peers: names nobody"),
    ] {
        let problems = load(cluster).expect_err(cluster);
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{cluster}: {problems:?}");
    }
    let config =
        load("{files: ['targets/*.yaml', /etc/msm/b.json], srtp: true, tls: {insecure: true}}").unwrap();
    assert_eq!(config.clusters["c"].files.len(), 2);
    assert_eq!(config.routing().unwrap().clusters[0].endpoints, []);
}

#[cfg(feature = "dns")]
#[test]
fn names_are_asked_for_as_the_records_are() {
    for (dns, wanted) in [
        ("{}", "dns.name: is no name"),
        ("{name: 'a b'}", "dns.name: is no name"),
        ("{name: a..b}", "dns.name: is no name"),
        ("{name: 10.0.0.1}", "dns.name: is an address; write it in `endpoints`"),
        ("{name: _rtsp._tcp, kind: srv}", "dns.name: is no service's name"),
        ("{name: _rtsp._tcp.h, kind: srv, port: 5}", "dns.port: is not used by `kind: srv`"),
        ("{name: h, port: 0}", "dns.port: is 0"),
        ("{name: h, interval: 500ms}", "dns.interval: is shorter than `1s`"),
        ("{name: h, servers: [ns.test]}", "dns.servers[0]: is no address"),
        ("{name: h, servers: ['10.0.0.2:0']}", "dns.servers[0]: is no address"),
        (
            "{name: h, servers: ['::1', '::1', '::1', '::1', '::1', '::1', '::1', '::1', '::1']}",
            "dns.servers: are more than 8",
        ),
    ] {
        let problems = load(&format!("{{dns: {dns}}}")).expect_err(dns);
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{dns}: {problems:?}");
    }
    let text = "{name: _rtsps._tcp.studio.test., kind: srv, scheme: rtsps, interval: 1m, servers: [10.0.0.2, '[::1]:5353']}";
    let config = load(&format!("{{dns: {text}, tls: {{insecure: true}}}}")).unwrap();
    let dns = config.clusters["c"].dns.as_ref().unwrap();
    assert_eq!(
        (dns.kind, dns.scheme, dns.server_name().as_str()),
        (DnsKind::Srv, DnsScheme::Rtsps, "studio.test")
    );
}

#[cfg(feature = "dns")]
#[test]
fn what_dns_will_find_is_checked_like_what_is_written() {
    for (cluster, wanted) in [
        ("{dns: {name: h.test}, tls: {insecure: true}}", "tls: is not used, as no endpoint is `rtsps://"),
        ("{dns: {name: h.test}, srtp: true}", "srtp: would send its keys in the clear"),
        (
            "{dns: {name: h.test, scheme: rtsps}, transport: udp}",
            "transport: would send media of an `rtsps` endpoint",
        ),
    ] {
        let problems = load(cluster).expect_err(cluster);
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{cluster}: {problems:?}");
    }
}

#[cfg(not(feature = "dns"))]
#[test]
fn a_build_without_dns_says_so() {
    let problems = load("{dns: {name: h.test}}").unwrap_err();
    assert!(problems[0].contains("build it with the feature `dns`"), "{problems:?}");
}
