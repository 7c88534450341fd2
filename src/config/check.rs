//! What the types cannot say: references, uniqueness, and what fits together.

mod cluster;
mod discovery;
mod identity;
mod mirror;
mod protection;
mod publish;
mod report;
mod route;
mod upgrade;

pub(super) use self::report::{At, Report};
use super::listener::{ListenerConfig, Protocol};
use super::units::PortRange;
use super::{ClusterConfig, Config, FailoverConfig, Fallback, Hop, OnChange, Standby, TransportConfig};
use msm_auth::identity::id::IdMatch;
use msm_core::cluster::{ClusterSpec, Endpoint};
use msm_core::route::{PeerPattern, RouteTable};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// What a checked configuration routes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// The routes, in order.
    pub table: RouteTable,
    /// The clusters, by name.
    pub clusters: Vec<ClusterSpec>,
}

/// Longest name of a listener, route or cluster: they are metric labels.
const MAX_NAME: usize = 63;

fn name(name: &str, at: &At, report: &mut Report<'_>) {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !good {
        report.add(at, format!("is not a name; write 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`"));
    }
}

/// Checks everything. What is returned is complete when the report has no problem.
pub(super) fn config(config: &Config, report: &mut Report<'_>) -> Routing {
    addresses(config, report);
    reader_ports(config, report);
    one_mesh_port(config, report);
    let mut names = BTreeSet::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let at = At::key("listeners").item(index);
        name(&listener.name, &at.then("name"), report);
        if !names.insert(listener.name.as_str()) {
            let message = format!("`{}` is another listener's name too; give each its own", listener.name);
            report.add(&at.then("name"), message);
        }
        check_listener(listener, &at, report);
    }
    let clusters =
        config.clusters.iter().map(|(name, cluster)| check_cluster(config, name, cluster, report)).collect();
    cluster::own_zone(config, report);
    let table = RouteTable::new(route::check(config, report));
    check_limits(config, report);
    identity::check(config, report);
    upgrade::check(config, report);
    Routing { table, clusters }
}

/// Whether two listening sockets cannot both be bound. `[::]` takes IPv4 as well.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

fn addresses(config: &Config, report: &mut Report<'_>) {
    let admin = At::key("admin");
    let listeners =
        config.listeners.iter().enumerate().map(|(index, listener)| {
            (At::key("listeners").item(index).then("address"), Some(listener.address))
        });
    let servers = [
        (admin.then("address"), config.admin.address.address()),
        (admin.then("metrics"), config.admin.metrics.address()),
        (admin.then("ready"), config.admin.ready.address()),
    ];
    let mut taken: Vec<SocketAddr> = Vec::new();
    for (at, address) in listeners.chain(servers) {
        let Some(address) = address else { continue };
        if let Some(other) = taken.iter().find(|&&other| collide(address, other)) {
            report.add(
                &at,
                format!("{address} collides with {other}, which is in use above; choose another port"),
            );
        }
        taken.push(address);
    }
}

/// What readers of one listener report must not come to another.
fn reader_ports(config: &Config, report: &mut Report<'_>) {
    let mut taken: Vec<(SocketAddr, &str)> = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate().filter(|(_, own)| own.serves_udp()) {
        let own = SocketAddr::new(listener.address.ip(), listener.port_pair().0);
        if let Some((_, other)) = taken.iter().find(|(other, _)| collide(own, *other)) {
            let ports = listener.ports;
            let message = format!("{ports} are the ports of listener `{other}`, too; give each its own pair");
            report.add(&At::key("listeners").item(index).then("ports"), message);
        }
        taken.push((own, &listener.name));
    }
}

/// A member is reached at one port number, for signalling and media.
fn one_mesh_port(config: &Config, report: &mut Report<'_>) {
    let mesh = |listener: &&(usize, &ListenerConfig)| listener.1.protocol == Protocol::Mesh;
    let all: Vec<_> = config.listeners.iter().enumerate().collect();
    for (index, listener) in all.iter().filter(mesh).skip(1) {
        report.add(
            &At::key("listeners").item(*index).then("protocol"),
            format!(
                "is `mesh` a second time, at {}: a member has one mesh port; bind it to all addresses (`[::]:8050`)",
                listener.address
            ),
        );
    }
}

fn interface(interface: Option<&str>, at: &At, report: &mut Report<'_>) {
    // IFNAMSIZ is 16, with the final zero.
    if let Some(name) = interface
        && (name.is_empty() || name.len() > 15 || name.bytes().any(|b| b == b'/' || b <= b' '))
    {
        report.add(&at.then("interface"), "is not the name of a network interface; write e.g. `eth0`");
    }
}

/// RTP takes an even port and RTCP the next (RFC 3550 §11): a range for pairs begins with an even port and has two.
fn pairs(ports: PortRange, at: &At, report: &mut Report<'_>) {
    if !ports.first.is_multiple_of(2) {
        report.add(at, format!("begins with the odd port {}; RTP takes an even port", ports.first));
    } else if ports.count() < 2 {
        report.add(at, "has one port; RTP and RTCP take two");
    }
}

fn check_listener(listener: &ListenerConfig, at: &At, report: &mut Report<'_>) {
    interface(listener.interface.as_deref(), at, report);
    let ports = listener.ports;
    if !ports.first.is_multiple_of(2) {
        let even = ports.first.saturating_sub(1);
        let message =
            format!("RTP takes an even port and RTCP the next; write e.g. `{even}` instead of `{ports}`");
        report.add(&at.then("ports"), message);
    } else if ports.count() > 2 {
        report.add(&at.then("ports"), format!("is the pair for all readers; write `{}`", ports.first));
    }
    pairs(listener.multicast.ports, &at.then("multicast").then("ports"), report);
    if listener.users.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        report.add(
            &at.then("users"),
            "names no file; write the name of one, or remove the key to let everybody in",
        );
    }
    if listener.users.is_some() && listener.protocol == Protocol::Mesh {
        report.add(
            &at.then("users"),
            "is not used by `protocol: mesh`, where a route's `allow` decides; remove it",
        );
    }
    if listener.srtp && listener.protocol != Protocol::Rtsps {
        let why = match listener.protocol {
            Protocol::Mesh => "is not used by `protocol: mesh`, whose media is SRTP always; remove it",
            _ => "would send its keys in the clear; write `protocol: rtsps`, or remove it",
        };
        report.add(&at.then("srtp"), why);
    }
    let at = at.then("tls");
    match (&listener.tls, listener.protocol) {
        (None, Protocol::Rtsp | Protocol::Mesh) => {}
        (Some(_), Protocol::Mesh) => {
            report
                .add(&at, "is not used by `protocol: mesh`, whose certificate is the `identity`; remove it");
        }
        (None, Protocol::Rtsps) => {
            report.add(&at, "is missing; rtsps takes a certificate: write `{certificate: FILE, key: FILE}`");
        }
        (Some(_), Protocol::Rtsp) => {
            report.add(&at, "is not used by `protocol: rtsp`; write `protocol: rtsps`, or remove it");
        }
        (Some(tls), Protocol::Rtsps) => {
            for (key, file) in [("certificate", &tls.certificate), ("key", &tls.key)] {
                if file.as_os_str().is_empty() {
                    report.add(&at.then(key), "names no file; write the name of one in PEM");
                }
            }
        }
    }
}

fn check_cluster_tls(cluster: &ClusterConfig, endpoints: &[Endpoint], at: &At, report: &mut Report<'_>) {
    let over_tls = endpoints.iter().any(|endpoint| endpoint.scheme == "rtsps");
    let by_udp = matches!(cluster.transport, TransportConfig::Udp | TransportConfig::Multicast);
    if over_tls && by_udp && !cluster.srtp {
        let message = "would send media of an `rtsps` endpoint in the clear; write `tcp`, or `srtp: true` next to it, \
                       or `rtsp://` in the endpoint";
        report.add(&at.then("transport"), message);
    }
    if cluster.fallback == Fallback::Rtsps && by_udp {
        let message = "would send media of a fallback in the clear, which goes in its connection; write `auto` or `tcp`";
        report.add(&at.then("transport"), message);
    }
    if cluster.srtp && endpoints.iter().any(|endpoint| endpoint.scheme != "rtsps") {
        report.add(&at.then("srtp"), "would send its keys in the clear; write `rtsps://` in every endpoint");
    }
    if cluster.srtp && cluster.hop == Hop::Mesh {
        report.add(&at.then("srtp"), "is not used by `hop: mesh`, whose media is SRTP always; remove it");
    }
    let Some(tls) = &cluster.tls else { return };
    let at = at.then("tls");
    if cluster.hop == Hop::Mesh {
        report.add(&at, "is not used by `hop: mesh`, where `peers` says who may serve; remove it");
        return;
    }
    // Endpoints that could not be read, or are not known yet, may be the ones.
    if !over_tls && cluster.files.is_empty() && endpoints.len() >= cluster.endpoints.len() {
        report.add(&at, "is not used, as no endpoint is `rtsps://…`; change one, or remove the key");
    }
    if tls.insecure && tls.ca.is_some() {
        report.add(&at.then("insecure"), "takes any certificate, so `ca` has no effect; remove one of them");
    }
    if let Some(name) = &tls.server_name
        && rustls_pki_types::ServerName::try_from(name.as_str()).is_err()
    {
        report.add(&at.then("server_name"), "is no name that a certificate can have; write a host's name");
    }
}

fn check_failover(cluster: &ClusterConfig, at: &At, report: &mut Report<'_>) {
    let at = at.then("failover");
    if cluster.failover.hold > FailoverConfig::LONGEST_HOLD {
        report.add(
            &at.then("hold"),
            "is more than an hour, in which readers would see nothing; write e.g. `10s`",
        );
    }
    let timeout = cluster.failover.announce_timeout;
    if timeout.is_zero() || timeout > FailoverConfig::LONGEST_ANNOUNCE {
        report.add(
            &at.then("announce_timeout"),
            "is no time in which a client could answer, or more than a minute, in which readers would see nothing; write e.g. `2s`",
        );
    }
    if cluster.failover.on_change == OnChange::Announce && cluster.failover.hold.is_zero() {
        report.add(
            &at.then("on_change"),
            "is of no use with `hold: 0s`, which ends readers with their endpoint; remove one of the two",
        );
    }
    if cluster.failover.standby == Standby::Warm && cluster.failover.hold.is_zero() {
        report.add(
            &at.then("standby"),
            "is of no use with `hold: 0s`, which ends readers with their endpoint; remove one of the two",
        );
    }
}

fn check_cluster(
    config: &Config,
    cluster_name: &str,
    cluster: &ClusterConfig,
    report: &mut Report<'_>,
) -> ClusterSpec {
    let at = At::key("clusters").then(cluster_name);
    name(cluster_name, &at, report);
    interface(cluster.interface.as_deref(), &at, report);
    if let Some(ports) = cluster.ports {
        pairs(ports, &at.then("ports"), report);
    }
    let list = at.then("endpoints");
    let unknown = discovery::check(cluster, &at, report);
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(cluster.endpoints.len());
    let mut specs = Vec::with_capacity(cluster.endpoints.len());
    let mut seen = BTreeSet::new();
    let port = (cluster.hop == Hop::Mesh).then(|| ListenerConfig::MESH_ADDRESS.port());
    for (index, given) in cluster.endpoints.iter().enumerate() {
        match Endpoint::parse_with_port(&given.url, port) {
            Ok(endpoint) if !seen.insert(endpoint.clone()) => {
                report.add(&list.item(index), format!("{endpoint} stands twice; remove one"));
            }
            Ok(endpoint) => {
                specs.push(cluster::spec(endpoint.clone(), given));
                endpoints.push(endpoint);
            }
            // The URL may hold credentials: it is not repeated.
            Err(error) => report.add(&list.item(index), error.to_string()),
        }
    }
    cluster::endpoints(&cluster.endpoints, &list, report);
    let all: Vec<_> = unknown.into_iter().chain(endpoints.iter().cloned()).collect();
    check_cluster_tls(cluster, &all, &at, report);
    peers(&cluster.peers, &at.then("peers"), report);
    match cluster.hop {
        Hop::Mesh if cluster.peers.is_empty() => report.add(
            &at.then("peers"),
            "names nobody, so no member may serve; write e.g. [\"spiffe://your.domain/*\"]",
        ),
        Hop::Plain if !cluster.peers.is_empty() => {
            report.add(&at.then("peers"), "is for `hop: mesh`; plain servers have no SPIFFE ID");
        }
        _ => {}
    }
    if cluster.fallback == Fallback::Rtsps && cluster.hop == Hop::Plain {
        let message = "is what a mesh hop falls back to, and there is none; write `hop: mesh` next to it, or `rtsps://` in the \
                       endpoints instead of it";
        report.add(&at.then("fallback"), message);
    }
    if let Some(auth) = &cluster.auth {
        let at = at.then("auth");
        if auth.user.is_empty() {
            report.add(&at.then("user"), "has no user; write its name");
        }
        match (&auth.password, &auth.password_file) {
            (Some(_), Some(_)) => report.add(&at, "has both `password` and `password_file`; remove one"),
            (None, None) => report.add(&at, "has no password; add `password_file` (or `password`)"),
            _ => {}
        }
    }
    check_failover(cluster, &at, report);
    for (key, timeout) in [("connect", cluster.timeouts.connect), ("response", cluster.timeouts.response)] {
        if timeout.is_zero() {
            report.add(&at.then("timeouts").then(key), "is 0, so nothing could succeed; write e.g. `5s`");
        }
    }
    ClusterSpec {
        name: cluster_name.to_owned(),
        endpoints: specs,
        options: cluster::options(config, cluster, &at, report),
    }
}

/// Identities and patterns of them, in their canonical form.
fn peers(texts: &[String], at: &At, report: &mut Report<'_>) -> Vec<PeerPattern> {
    let mut patterns = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match IdMatch::parse(text) {
            Ok(pattern) => patterns.push(PeerPattern::new(&pattern.to_string())),
            Err(error) => report.add(
                &at.item(index),
                format!(
                    "{error}; write e.g. `spiffe://studio.example/proxy/a`, or `/*` at its end for all below"
                ),
            ),
        }
    }
    patterns
}

fn check_limits(config: &Config, report: &mut Report<'_>) {
    let limits = &config.limits;
    let at = At::key("limits");
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    for (key, value, least, most) in [
        ("header_bytes", limits.header_bytes, KIB, MIB),
        ("body_bytes", limits.body_bytes, KIB, 16 * MIB),
        ("tcp_queue", limits.tcp_queue, 64 * KIB, 1024 * MIB),
        ("gop_cache", limits.gop_cache, 0, 1024 * MIB),
    ] {
        if !(least..=most).contains(&value) {
            let (least, most) = (super::units::show_size(least), super::units::show_size(most));
            report.add(&at.then(key), format!("{value} bytes is not possible; write {least} to {most}"));
        }
    }
    for (key, value) in [
        ("connections", limits.connections),
        ("connections_per_peer", limits.connections_per_peer),
        ("sessions_per_peer", limits.sessions_per_peer),
        ("setup_rate", limits.setup_rate),
        ("auth_failures", limits.auth_failures),
        ("auth_failures_per_peer", limits.auth_failures_per_peer),
        ("readers", limits.readers),
        ("streams", limits.streams),
    ] {
        if value == 0 {
            report.add(&at.then(key), "is 0, so nothing would be served; write at least 1");
        }
    }
    if limits.request_timeout.is_zero() {
        report.add(&at.then("request_timeout"), "is 0, so no request could arrive; write e.g. `10s`");
    }
    if limits.auth_failures_window.is_zero() {
        report.add(&at.then("auth_failures_window"), "is 0, so no failed login would count; write e.g. `1m`");
    }
    if limits.session_timeout < Duration::from_secs(5) {
        report.add(
            &at.then("session_timeout"),
            "is shorter than `5s`, too short for keep-alives; write e.g. `60s`",
        );
    }
}
